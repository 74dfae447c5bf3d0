//! What this host allows a shard thread, found out by doing it.

use super::runtime::{self, Driver, DriverChoice};
use super::thread;

/// What a shard thread would have here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ability {
    /// How it would talk to the kernel.
    pub driver: Driver,
    /// Whether it may ask for a long time slice.
    pub long_slice: bool,
}

/// Tries both on a thread that ends again. `None` when no thread or no runtime can be had.
pub fn ability() -> Option<Ability> {
    let tried = std::thread::Builder::new().name("ability".to_owned()).spawn(|| {
        let driver = runtime::build(DriverChoice::Auto, 8).ok()?.driver;
        Some(Ability { driver, long_slice: thread::long_slice().is_ok() })
    });
    tried.ok()?.join().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_some_driver() {
        assert!(ability().is_some());
    }
}
