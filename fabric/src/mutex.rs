//! A lock that a panic elsewhere does not break.
//!
//! What must stay true: what such a lock protects is whole whenever it is free, also after a panic of who held it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whoever has panicked before. Blocks.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
