//! How fast a user may send, over all of their sessions on this host.
//!
//! GCRA: one number a user, the time at which the bucket would be empty. Shared by all shards; a session takes the cell
//! once and keeps it, so that a send costs one compare-and-swap. What must stay true: a cell is only forgotten when no
//! session holds it and it would allow a full burst, so that forgetting changes nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fabric::hash::{Map, map};
use fabric::mutex::lock;
use schema::ids::UserId;

/// Parts of the map, each behind its own lock.
const PARTS: usize = 64;
/// A part is swept when it has this many cells, then whenever it has doubled.
const SWEEP_AT: usize = 1_024;

/// One user's rate.
#[derive(Debug, Default)]
pub struct UserRate(AtomicU64);

struct Part {
    cells: Map<UserId, Arc<UserRate>>,
    sweep_at: usize,
}

/// The rates of all users of a host.
pub struct UserRates {
    parts: Vec<Mutex<Part>>,
    /// ns between two sends at the allowed rate; 0 = unlimited.
    period_ns: AtomicU64,
    /// How far ahead of now the bucket's end may be.
    tolerance_ns: AtomicU64,
}

/// `sends_per_second` or `burst` 0 = unlimited.
fn times(sends_per_second: u32, burst: u32) -> (u64, u64) {
    let period_ns = if burst == 0 { 0 } else { 1_000_000_000u64.checked_div(sends_per_second.into()).unwrap_or(0) };
    (period_ns, period_ns * u64::from(burst))
}

impl UserRates {
    /// `sends_per_second` or `burst` 0 = unlimited. `hash_seed`: for the map.
    pub fn new(sends_per_second: u32, burst: u32, hash_seed: u64) -> Self {
        let (period_ns, tolerance_ns) = times(sends_per_second, burst);
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(Part { cells: map(hash_seed), sweep_at: SWEEP_AT })).collect(),
            period_ns: AtomicU64::new(period_ns),
            tolerance_ns: AtomicU64::new(tolerance_ns),
        }
    }

    /// Other bounds from now on; who has sent more than they allow waits. Any thread.
    pub fn set(&self, sends_per_second: u32, burst: u32) {
        let (period_ns, tolerance_ns) = times(sends_per_second, burst);
        // A send between the two stores is judged by one old and one new number: no harm, and gone with the next.
        self.tolerance_ns.store(tolerance_ns, Ordering::Relaxed);
        self.period_ns.store(period_ns, Ordering::Relaxed);
    }

    /// Whether anything is limited at all.
    pub fn unlimited(&self) -> bool {
        self.period_ns.load(Ordering::Relaxed) == 0
    }

    /// The user's cell, made now if there is none. Any thread; takes a lock for the look-up. Keep it for the session.
    pub fn of(&self, user: UserId, now_ns: u64) -> Arc<UserRate> {
        let part = (user.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        let mut part = self.parts[part].lock().unwrap_or_else(PoisonError::into_inner);
        if part.cells.len() >= part.sweep_at && !part.cells.contains_key(&user) {
            part.cells.retain(|_, cell| Arc::strong_count(cell) > 1 || cell.0.load(Ordering::Relaxed) > now_ns);
            part.sweep_at = (part.cells.len() * 2).max(SWEEP_AT);
        }
        Arc::clone(part.cells.entry(user).or_default())
    }

    /// Takes one send. `Err`: ms (at least 1) after which it would be allowed.
    ///
    /// # Errors
    /// The user is over the rate; nothing was taken.
    pub fn take(&self, cell: &UserRate, now_ns: u64) -> Result<(), u32> {
        let (period_ns, tolerance_ns) =
            (self.period_ns.load(Ordering::Relaxed), self.tolerance_ns.load(Ordering::Relaxed));
        if period_ns == 0 {
            return Ok(());
        }
        let mut at = cell.0.load(Ordering::Relaxed);
        loop {
            let next = at.max(now_ns) + period_ns;
            let ahead = next - now_ns;
            if ahead > tolerance_ns {
                let wait_ms = (ahead - tolerance_ns).div_ceil(1_000_000);
                return Err(u32::try_from(wait_ms).unwrap_or(u32::MAX));
            }
            match cell.0.compare_exchange_weak(at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => at = seen,
            }
        }
    }

    /// Cells held.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).cells.len()).sum()
    }

    /// No cell is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rates = UserRates::new(10, 5, 1);
        let cell = rates.of(user(1), 0);
        for _ in 0..5 {
            rates.take(&cell, 1_000).unwrap();
        }
        let wait_ms = rates.take(&cell, 1_000).unwrap_err();
        assert_eq!(wait_ms, 100);
        assert!(rates.take(&cell, 1_000 + 99_000_000).is_err());
        rates.take(&cell, 1_000 + 100_000_000).unwrap();
        assert!(rates.take(&cell, 1_000 + 100_000_000).is_err());
    }

    #[test]
    fn two_sessions_of_a_user_share_one_rate() {
        let rates = UserRates::new(1, 2, 1);
        let (a, b) = (rates.of(user(7), 0), rates.of(user(7), 0));
        rates.take(&a, 1).unwrap();
        rates.take(&b, 1).unwrap();
        assert!(rates.take(&a, 1).is_err());
        rates.take(&rates.of(user(8), 0), 1).unwrap();
    }

    #[test]
    fn zero_is_unlimited() {
        for rates in [UserRates::new(0, 5, 1), UserRates::new(5, 0, 1)] {
            let cell = rates.of(user(1), 0);
            for _ in 0..10_000 {
                rates.take(&cell, 1).unwrap();
            }
        }
    }

    #[test]
    fn another_rate_counts_from_the_next_send_on() {
        let rates = UserRates::new(1, 1, 1);
        let cell = rates.of(user(1), 0);
        rates.take(&cell, 1).unwrap();
        assert!(rates.take(&cell, 1).is_err());
        rates.set(0, 0);
        rates.take(&cell, 1).unwrap();
        rates.set(10, 100);
        (0..40).for_each(|_| rates.take(&cell, 1).unwrap());
        rates.set(10, 5);
        assert!(rates.take(&cell, 1).is_err(), "what was sent still counts");
    }

    #[test]
    fn forgotten_cells_were_full() {
        let rates = UserRates::new(1, 1, 1);
        let busy = rates.of(user(1), 0);
        rates.take(&busy, 1).unwrap();
        drop(busy);
        for id in 2..200_000 {
            drop(rates.of(user(id), 2));
        }
        assert!(rates.len() <= PARTS * 2 * SWEEP_AT, "{} cells", rates.len());
        assert!(rates.take(&rates.of(user(1), 3), 3).is_err(), "the used one is still known");
    }
}
