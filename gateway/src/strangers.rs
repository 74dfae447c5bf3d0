//! How often one address may bring tokens that nobody signed for this server, over all shards of a host.
//!
//! GCRA, as [`crate::rates`]: one number an address. What must stay true: while nobody is over the bound, a login costs one
//! read of a number that nobody writes; who has a token that merely ended is no stranger.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fabric::hash::{Map, map};
use fabric::mutex::lock;
use fabric::throttle::Throttle;
use fabric::time::Now;

use crate::auth::AuthError;

/// The map is swept when it has so many addresses, then whenever it has doubled.
const SWEEP_AT: usize = 4_096;
/// A network of IPv6 counts as one address: whoever has one has all of it.
const IPV6_BITS: u32 = 64;

#[derive(Debug)]
struct Cells {
    /// When each bucket would be empty, ns of the monotonic clock.
    empty_ns: Map<IpAddr, u64>,
    sweep_at: usize,
}

/// One for all shards of a host. Any thread.
#[derive(Debug)]
pub struct Strangers {
    /// ns between two refused tokens at the allowed rate; 0 = unlimited.
    period_ns: u64,
    cells: Mutex<Cells>,
    /// Until when some address is over the bound, ns.
    some_until_ns: AtomicU64,
    said: Throttle,
}

/// The part of an address that counts.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - IPV6_BITS)))),
        v4 => v4,
    }
}

impl Strangers {
    /// `per_second`: refused tokens an address may bring, twice as many at once; 0 = unlimited. `hash_seed`: for the map.
    pub fn new(per_second: u32, hash_seed: u64) -> Self {
        Self {
            period_ns: 1_000_000_000u64.checked_div(per_second.into()).unwrap_or(0),
            cells: Mutex::new(Cells { empty_ns: map(hash_seed), sweep_at: SWEEP_AT }),
            some_until_ns: AtomicU64::new(0),
            said: Throttle::default(),
        }
    }

    /// How far ahead of now a bucket's end may be for one more: two seconds' worth, less that one.
    const fn tolerance_ns(&self) -> u64 {
        2_000_000_000 - self.period_ns
    }

    /// Whether a token of this address is looked at now.
    ///
    /// # Errors
    /// ms (at least 1) after which one would be.
    pub fn check(&self, address: IpAddr, now: Now) -> Result<(), u32> {
        if self.some_until_ns.load(Ordering::Relaxed) <= now.mono_ns {
            return Ok(());
        }
        let cells = lock(&self.cells);
        let empty_ns = cells.empty_ns.get(&key(address)).copied().unwrap_or_default();
        match empty_ns.saturating_sub(now.mono_ns + self.tolerance_ns()) {
            0 => Ok(()),
            wait_ns => Err(u32::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX)),
        }
    }

    /// A token of this address was refused. Said in the log once a second, with the address and no more.
    pub fn refused(&self, address: IpAddr, error: AuthError, now: Now) {
        if matches!(error, AuthError::Expired | AuthError::Revoked | AuthError::NotYetValid) {
            return;
        }
        if let Some(unsaid) = self.said.next(now) {
            tracing::info!(client = %address, unsaid, "a token is refused: {error}");
        }
        if self.period_ns == 0 {
            return;
        }
        let mut cells = lock(&self.cells);
        let Cells { empty_ns, sweep_at } = &mut *cells;
        if empty_ns.len() >= *sweep_at {
            empty_ns.retain(|_, empty_ns| *empty_ns > now.mono_ns);
            *sweep_at = (empty_ns.len() * 2).max(SWEEP_AT);
        }
        let cell = empty_ns.entry(key(address)).or_default();
        // Those under way when the bound was reached do not push it further away than a full bucket.
        *cell = ((*cell).max(now.mono_ns) + self.period_ns).min(now.mono_ns + 2_000_000_000 + self.period_ns);
        if *cell > now.mono_ns + self.tolerance_ns() {
            self.some_until_ns.fetch_max(*cell - self.tolerance_ns(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_ns: 1_000_000_000 + ms * 1_000_000, wall_ticks: 0 }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let strangers = Strangers::new(10, 1);
        let guesser = ip("203.0.113.7");
        for guess in 0..20 {
            assert_eq!(strangers.check(guesser, at(0)), Ok(()), "{guess}");
            strangers.refused(guesser, AuthError::Signature, at(0));
        }
        assert_eq!(strangers.check(guesser, at(0)), Err(100));
        assert_eq!(strangers.check(ip("::ffff:203.0.113.7"), at(99)), Err(1), "the same in IPv6's clothes");
        assert_eq!(strangers.check(ip("203.0.113.8"), at(0)), Ok(()));
        assert_eq!(strangers.check(guesser, at(100)), Ok(()), "one more");
        strangers.refused(guesser, AuthError::Malformed, at(100));
        assert_eq!(strangers.check(guesser, at(100)), Err(100));
        assert_eq!(strangers.check(guesser, at(5_000)), Ok(()));
    }

    #[test]
    fn tokens_that_ended_are_no_guesses_and_zero_is_unlimited() {
        let (strangers, unlimited) = (Strangers::new(1, 1), Strangers::new(0, 1));
        let client = ip("203.0.113.7");
        for _ in 0..100 {
            strangers.refused(client, AuthError::Expired, at(0));
            strangers.refused(client, AuthError::Revoked, at(0));
            unlimited.refused(client, AuthError::Signature, at(0));
        }
        assert_eq!((strangers.check(client, at(0)), unlimited.check(client, at(0))), (Ok(()), Ok(())));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let strangers = Strangers::new(1, 1);
        for host in 0..2 {
            strangers.refused(ip(&format!("2001:db8::{host}")), AuthError::NoKey, at(0));
        }
        assert!(strangers.check(ip("2001:db8::ffff:1"), at(0)).is_err());
        assert_eq!(strangers.check(ip("2001:db8:0:1::1"), at(0)), Ok(()));
    }

    #[test]
    fn who_has_waited_is_forgotten() {
        let strangers = Strangers::new(1_000, 1);
        for n in 0..100_000u32 {
            strangers.refused(IpAddr::from(n.to_be_bytes()), AuthError::Signature, at(n.into()));
        }
        assert!(strangers.cells.lock().unwrap().empty_ns.len() <= 2 * SWEEP_AT);
    }
}
