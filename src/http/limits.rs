//! How often one user, or one address without a token, may ask each endpoint.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use schema::errors::ErrorCode;
use schema::ids::UserId;

use super::problem::Problem;
use crate::config;

/// See [`Limit::sweep_at`].
const SWEEP_AT: usize = 4_096;

/// One limit, per key. Any thread.
struct Limit<K: Hash + Eq + Clone> {
    limiter: Option<RateLimiter<K, HashMapStateStore<K>, DefaultClock>>,
    /// It forgets who is idle when it holds so many, and again whenever they have doubled.
    sweep_at: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// 0 = none. A burst is twice a second's worth.
    fn new(per_second: u32) -> Self {
        let quota = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        let limiter = NonZeroU32::new(per_second).map(|rate| RateLimiter::hashmap(quota(rate)));
        Self { limiter, sweep_at: AtomicUsize::new(SWEEP_AT) }
    }

    fn check(&self, key: &K, what: &'static str) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() >= self.sweep_at.load(Ordering::Relaxed) {
            limiter.retain_recent();
            self.sweep_at.store((2 * limiter.len()).max(SWEEP_AT), Ordering::Relaxed);
        }
        let refused = limiter.check_key(key).map_err(|until| until.wait_time_from(limiter.clock().now()));
        refused.map_err(|wait| {
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1);
            Problem::of(ErrorCode::RateLimited, what).retry_after(wait_ms)
        })
    }
}

/// Bursts, in seconds' worth.
const BURST: NonZeroU32 = NonZeroU32::new(2).expect("not 0");

/// The limits of all endpoints. Any thread.
pub struct Limits {
    sends: Limit<UserId>,
    reads: Limit<UserId>,
    tokens: Limit<IpAddr>,
    strangers: Limit<IpAddr>,
}

impl Limits {
    /// As configured.
    pub fn new(http: &config::Http) -> Self {
        Self {
            sends: Limit::new(http.sends_per_second_per_user),
            reads: Limit::new(http.reads_per_second_per_user),
            tokens: Limit::new(http.tokens_per_second_per_address),
            strangers: Limit::new(http.refused_tokens_per_second_per_address),
        }
    }

    /// One message.
    ///
    /// # Errors
    /// `rate_limited`, with the wait.
    pub fn send(&self, user: UserId) -> Result<(), Problem> {
        self.sends.check(&user, "too many messages by HTTP; slow down")
    }

    /// One page, or one look at the console.
    ///
    /// # Errors
    /// `rate_limited`, with the wait.
    pub fn read(&self, user: UserId) -> Result<(), Problem> {
        self.reads.check(&user, "too many reads by HTTP; slow down")
    }

    /// One development token.
    ///
    /// # Errors
    /// `rate_limited`, with the wait.
    pub fn token(&self, address: IpAddr) -> Result<(), Problem> {
        self.tokens.check(&address, "too many tokens asked for; slow down")
    }

    /// One refused token.
    ///
    /// # Errors
    /// `rate_limited`, with the wait.
    pub fn stranger(&self, address: IpAddr) -> Result<(), Problem> {
        self.strangers.check(&address, "too many requests with tokens that are not valid; slow down")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_nothing_more_of_this_user() {
        let limit = Limit::new(1);
        limit.check(&user(1), "x").unwrap();
        limit.check(&user(1), "x").unwrap();
        assert_eq!(limit.check(&user(1), "x").map_err(|p| p.code()), Err(ErrorCode::RateLimited));
        limit.check(&user(2), "x").unwrap();
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = Limit::new(0);
        for _ in 0..10_000 {
            limit.check(&user(1), "x").unwrap();
        }
    }
}
