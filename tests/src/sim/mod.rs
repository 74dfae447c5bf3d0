//! Deterministic simulation of the whole node: real gateways, routers, owners, journals and clients, on a simulated clock,
//! disk and network, one thread, one seed a world.
//!
//! A world lives through operations and faults, is healed, comes to rest, and is audited. What must stay true: everything
//! follows from the seed, so `simulate --seed S` shows a failure again, and less of its world shows it too; every fault and every guard has a counter, so a run
//! can show that it met them.

pub mod case;
pub mod counts;
pub mod coverage;
pub mod plan;
pub mod shrink;
pub mod trace;

mod account;
mod amending;
mod clients;
mod device;
mod env;
mod faults;
mod finish;
mod grouping;
mod listed;
mod model;
mod operate;
mod revoking;
mod roster;
mod secrets;
mod server;
mod shown;
mod store;
mod strangers;
mod talk;
mod ticking;
mod tokens;
mod told;
mod world;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::case::Case;
use self::counts::Counts;
use self::plan::Lie;
use self::trace::Trace;
use self::world::World;

/// How one seed went.
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// Hash of all events: equal for equal runs.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Operations until it was healed, or failed.
    pub operations: u64,
    /// What was counted; incomplete after a failure.
    pub counts: Counts,
    /// What broke, with the last events.
    pub failure: Option<Failure>,
}

/// What broke.
pub struct Failure {
    /// The invariant, and where in the code it is checked.
    pub what: String,
    /// The last events, one a line.
    pub tail: String,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Lets panics of this process's simulations be told by [`Outcome::failure`] alone. Call it once, at the start.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a panic without a text");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PANIC.with_borrow_mut(|panic| *panic = Some(format!("{text}\n  at {place}")));
    }));
}

/// Lives through one seed. `keep`: events shown after a failure.
pub fn run_seed(seed: u64, lie: Lie, keep: usize) -> Outcome {
    run_case(&Case::whole(seed, lie), keep)
}

/// As [`run_seed`], with what the case leaves out.
pub fn run_case(case: &Case, keep: usize) -> Outcome {
    let trace = Trace::new(keep);
    let shared = trace.clone();
    let operations = Cell::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(case, shared);
        world.live(&operations);
        world.finish();
        core::mem::take(&mut world.env.counts)
    }));
    let (counts, failure) = match result {
        Ok(counts) => (counts, None),
        Err(payload) => {
            let text = || payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into());
            let what = PANIC.with_borrow_mut(Option::take).unwrap_or_else(text);
            (Counts::default(), Some(Failure { what, tail: trace.tail() }))
        }
    };
    Outcome {
        seed: case.seed,
        operations: operations.get(),
        hash: trace.hash(),
        events: trace.events(),
        counts,
        failure,
    }
}
