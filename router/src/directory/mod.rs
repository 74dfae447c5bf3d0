//! The directory: user → sessions.
//!
//! Soft state. One device has at most one registration; the highest epoch wins, whatever order they arrive in.

mod memory;

#[cfg(test)]
pub(crate) mod contract;

pub use memory::{Change, MemoryDirectory, MirrorCounts};

use schema::envelope::Address;
use schema::ids::{DeviceId, UserId};

/// Where one device's session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Which of the user's devices.
    pub device: DeviceId,
    /// The session.
    pub address: Address,
    /// Rises with every session of the device; the highest wins.
    pub epoch: u64,
}

/// What became of a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The device had none.
    Added,
    /// It was there already, at the same address and epoch.
    Unchanged,
    /// It took the place of an older session, which must end.
    Replaced(Registration),
    /// A newer session holds the place: the one that came must end.
    Stale(Registration),
}

/// A directory as one router partition uses it.
pub trait Directory {
    /// Registers a session.
    fn register(&mut self, user: UserId, registration: Registration) -> Outcome;

    /// Removes a device's registration if epoch and address still match; says whether it did.
    fn unregister(&mut self, user: UserId, registration: Registration) -> bool;

    /// Shows the sessions of a user, in no order. `see` does nothing with the directory.
    fn each_session(&self, user: UserId, see: impl FnMut(&Registration));

    /// Number of sessions held.
    fn session_count(&self) -> usize;

    /// A gateway is gone: what is registered of this incarnation now is removed, in steps of [`Self::sweep`]. What it registers
    /// later stays.
    fn lose(&mut self, incarnation: u64);

    /// A bounded step of what [`Self::lose`] began; returns whether there is more to do.
    fn sweep(&mut self) -> bool;
}
