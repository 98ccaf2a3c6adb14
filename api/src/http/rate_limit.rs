//! Requests a second for each caller.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter as Governor};

use super::Problem;

const SWEEP_INTERVAL_MS: u64 = 10_000;

/// A bucket for each caller: the limit is also its burst.
pub(super) struct RateLimit {
    buckets: Option<Governor<u64, DashMapStateStore<u64>, DefaultClock>>,
    clock: DefaultClock,
    // Keys are hashes with a secret seed: nothing is allocated for a request, and nobody can aim at another's bucket.
    seed: RandomState,
    started: Instant,
    swept_ms: AtomicU64,
}

/// Whose bucket a request is counted in: a terminal's only where terminals are recognised, and when its key holds.
#[derive(Hash)]
pub(super) enum Who<'a> {
    Subject(&'a str),
    Terminal(&'a str),
    Address(IpAddr),
}

impl<'a> Who<'a> {
    /// A network of one IPv6 caller is one caller: addresses inside a /64 are free to take.
    pub(super) fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Self::Address(v4.into()),
                None => Self::Address(IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into())),
            },
            v4 => Self::Address(v4),
        }
    }
}

impl RateLimit {
    /// `per_second` requests for each caller; 0 is no limit.
    pub(super) fn new(per_second: u32) -> Self {
        let clock = DefaultClock::default();
        let buckets = NonZeroU32::new(per_second)
            .map(|limit| Governor::new(Quota::per_second(limit), DashMapStateStore::default(), clock.clone()));
        Self { buckets, clock, seed: RandomState::new(), started: Instant::now(), swept_ms: AtomicU64::new(0) }
    }

    /// Counts one request, or says when the next one may come.
    pub(super) fn check(&self, who: &Who<'_>) -> Result<(), Problem> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        self.sweep(buckets);
        buckets.check_key(&self.seed.hash_one(who)).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            Problem::too_many_requests(whole_seconds(wait))
        })
    }

    // Full buckets say nothing: they are dropped every ten seconds by whoever comes then, so memory follows the
    // number of callers of the last seconds.
    fn sweep(&self, buckets: &Governor<u64, DashMapStateStore<u64>, DefaultClock>) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(swept_ms) >= SWEEP_INTERVAL_MS
            && self.swept_ms.compare_exchange(swept_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_over_the_limit_waits_and_another_one_does_not() {
        let limit = RateLimit::new(2);
        let refused = (0..3).map(|_| limit.check(&Who::Subject("a"))).filter(Result::is_err).count();
        assert_eq!(refused, 1);
        assert!(limit.check(&Who::Subject("b")).is_ok());
        assert!(limit.check(&Who::Address("10.0.0.1".parse().unwrap())).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = RateLimit::new(0);
        assert!((0..10_000).all(|_| limit.check(&Who::Subject("a")).is_ok()));
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let limit = RateLimit::new(1);
        let check = |address: &str| limit.check(&Who::address(address.parse().unwrap())).is_ok();
        assert!(check("2001:db8:1:2::1") && !check("2001:db8:1:2:ffff::9") && check("2001:db8:1:3::1"));
        assert!(check("::ffff:10.0.0.1") && !check("10.0.0.1"));
    }

    #[test]
    fn waits_are_whole_seconds_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
    }
}
