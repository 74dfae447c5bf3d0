//! Worker threads: started together, joined together.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::{Outcome, Worker};
use crate::fail::Failure;
use crate::measure::Shown;
use crate::plan::Plan;
use crate::tokens::Source;

/// Threads of this process, and what they show.
pub struct Threads {
    /// One a thread, in order.
    pub shown: Vec<Arc<Shown>>,
    threads: Vec<JoinHandle<Result<Outcome, Failure>>>,
}

impl Threads {
    /// Starts the run's workers of these numbers: they begin to connect their users at once.
    ///
    /// # Errors
    /// [`Failure::Host`]: a thread cannot be had.
    pub fn start(plan: &Arc<Plan>, tokens: &Source, numbers: core::ops::Range<u16>) -> Result<Self, Failure> {
        let (mut shown, mut threads) = (Vec::new(), Vec::new());
        for index in numbers {
            let own = Arc::new(Shown::default());
            shown.push(Arc::clone(&own));
            let (plan, tokens) = (Arc::clone(plan), tokens.clone());
            let thread = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || Ok(Worker::new(plan, own, index, tokens)?.run()))
                .map_err(|e| Failure::Host(format!("a worker thread: {e}")))?;
            threads.push(thread);
        }
        Ok(Self { shown, threads })
    }

    /// Waits until each has left; what they bring home.
    ///
    /// # Errors
    /// One could not begin, or panicked: without its part the audit would be of something else.
    pub fn join(self) -> Result<Vec<Outcome>, Failure> {
        let panicked = |panic: Box<dyn core::any::Any + Send>| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause");
            Failure::Lost(format!("a worker thread panicked: {text}"))
        };
        self.threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| Err(panicked(panic)))).collect()
    }
}
