//! Whether a turn is due, and the main task that runs it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker as TaskWaker};

/// Something happened: a turn is due.
#[derive(Default)]
pub(in crate::shard) struct Dirty {
    pub(super) set: Cell<bool>,
    main: RefCell<Option<TaskWaker>>,
}

impl Dirty {
    pub(in crate::shard) fn mark(&self) {
        if !self.set.replace(true)
            && let Some(main) = &*self.main.borrow()
        {
            main.wake_by_ref();
        }
    }

    /// Ready once something has happened since the last time.
    pub(in crate::shard) async fn wait(&self) {
        poll_fn(|context| {
            if self.set.take() {
                return Poll::Ready(());
            }
            let mut main = self.main.borrow_mut();
            if !main.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                *main = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
