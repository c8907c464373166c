//! How often anybody may ask: a bucket a device, a user, a peer that fails to authenticate.
//!
//! Invariants: buckets live in memory only and are forgotten when full again; a key is a keyed hash, so that a
//! table of buckets is no list of devices. A bucket holds `burst` requests and refills by `per_minute`.
//! Source: REFERENCE §8 (60 a minute for a device), RFC 9110 §10.2.3 (`Retry-After`).
//! Not here: limits on sizes and counts (`config`, and constants where they bind).

use crate::config::Settings;
use crate::errors::ApiError;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Every bucket of the edge.
pub struct Limits {
    devices: Buckets<DefaultClock>,
    users: Buckets<DefaultClock>,
    failures: Buckets<DefaultClock>,
    shut_out: Mutex<HashMap<u64, Instant>>,
    sign_ins: Buckets<DefaultClock>,
    links: Buckets<DefaultClock>,
    asked: Buckets<DefaultClock>,
    signings: Buckets<DefaultClock>,
}

/// Sign-in links that one address may ask for in a minute: people need one, and each may become an e-mail.
const SIGN_INS_PER_MINUTE: u32 = 5;

/// Links of messages that one address may follow in a minute: a mail provider unsubscribes for many people from one.
const LINKS_PER_MINUTE: u32 = 120;

/// After how long somebody may be asked once more by hand, so that nobody is mailed as often as a stranger likes.
const ASK_AGAIN: Duration = Duration::from_secs(20 * 60);
/// Messages by hand to one address before that counts: adding it, a second request, a few tests.
const ASKS_AT_ONCE: u32 = 5;

/// After how long a person may ask for one more code to sign with.
const SIGN_AGAIN: Duration = Duration::from_secs(60);
/// Codes before that counts: a night's alarms, each signed.
const SIGNINGS_AT_ONCE: u32 = 20;

/// Peers that are shut out at once; more are a flood from everywhere, against which an address says nothing.
const SHUT_OUT_MAX: usize = 100_000;

impl Limits {
    /// With the configured rates.
    pub fn new(settings: &Settings) -> Self {
        let clock = DefaultClock::default();
        Self {
            devices: Buckets::new(settings.rate_per_minute, settings.rate_burst, clock.clone()),
            users: Buckets::new(
                settings.user_rate_per_minute,
                settings.user_rate_per_minute,
                clock.clone(),
            ),
            failures: Buckets::new(
                settings.peer_failures_per_minute,
                settings.peer_failures_per_minute,
                clock.clone(),
            ),
            shut_out: Mutex::default(),
            sign_ins: Buckets::new(SIGN_INS_PER_MINUTE, SIGN_INS_PER_MINUTE, clock.clone()),
            links: Buckets::new(LINKS_PER_MINUTE, LINKS_PER_MINUTE, clock.clone()),
            asked: Buckets::every(ASK_AGAIN, ASKS_AT_ONCE, clock.clone()),
            signings: Buckets::every(SIGN_AGAIN, SIGNINGS_AT_ONCE, clock),
        }
    }

    /// One request with this device's token.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn device(&self, token: &str) -> Result<(), ApiError> {
        self.devices.take(&token).map_err(ApiError::rate_limited)
    }

    /// One uplink of this device behind an integration.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn behind(&self, integration: &str, device: &str) -> Result<(), ApiError> {
        self.devices
            .take(&(integration, device))
            .map_err(ApiError::rate_limited)
    }

    /// One request with this user's token or session.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn user(&self, user: &str) -> Result<(), ApiError> {
        self.users.take(&user).map_err(ApiError::rate_limited)
    }

    /// What a request costs beyond itself, because it asks for as much as so many more.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn further_requests(&self, user: &str, requests: usize) -> Result<(), ApiError> {
        match u32::try_from(requests).ok().and_then(NonZeroU32::new) {
            Some(requests) => self
                .users
                .take_many(&user, requests)
                .map_err(ApiError::rate_limited),
            None => Ok(()),
        }
    }

    /// Whether a peer may try a token that nobody has verified yet: not for a while after it failed too often.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn may_attempt(&self, peer: IpAddr) -> Result<(), ApiError> {
        let until = self.shut_out.lock().get(&network(peer)).copied();
        match until.and_then(|until| until.checked_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => {
                let seconds = u32::try_from(left.as_secs()).unwrap_or(u32::MAX);
                Err(ApiError::rate_limited(seconds.saturating_add(1)))
            }
            _ => Ok(()),
        }
    }

    /// A peer showed a token that is not good.
    pub fn failed(&self, peer: IpAddr) {
        let network = network(peer);
        if let Err(wait_s) = self.failures.take(&network) {
            let mut shut_out = self.shut_out.lock();
            if shut_out.len() >= SHUT_OUT_MAX {
                shut_out.clear();
            }
            shut_out.insert(network, Instant::now() + Duration::from_secs(wait_s.into()));
        }
    }

    /// One request for a sign-in link.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn sign_in(&self, peer: IpAddr) -> Result<(), ApiError> {
        self.sign_ins.take(&network(peer)).map_err(ApiError::rate_limited)
    }

    /// One use of a message's link.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn link(&self, peer: IpAddr) -> Result<(), ApiError> {
        self.links.take(&network(peer)).map_err(ApiError::rate_limited)
    }

    /// One message to an address that somebody of an account asks for by hand: a request to confirm, a test. Another
    /// account's requests do not count, so that nobody can use up what theirs may.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn ask(&self, account: &str, address: &str) -> Result<(), ApiError> {
        let key = format!("{account}\n{}", address.trim().to_lowercase());
        self.asked.take(&key).map_err(ApiError::rate_limited)
    }

    /// One code that this person signs with.
    ///
    /// # Errors
    /// 429 with when to come back.
    pub fn signing(&self, user: &str) -> Result<(), ApiError> {
        self.signings.take(&user).map_err(ApiError::rate_limited)
    }

    /// Forgets buckets that are full again; called about once a minute.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.shut_out.lock().retain(|_, until| *until > now);
        for buckets in [
            &self.devices,
            &self.users,
            &self.failures,
            &self.sign_ins,
            &self.links,
            &self.asked,
            &self.signings,
        ] {
            buckets.sweep();
        }
    }
}

/// Whom an address stands for: a single IPv4 address, or the /64 that an IPv6 host can roam in.
fn network(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => u64::from(v4.to_bits()),
            None => (v6.to_bits() >> 64) as u64,
        },
    }
}

struct Buckets<C: Clock> {
    limiter: Option<Limiter<C>>,
    burst: NonZeroU32,
    keys: RandomState,
    clock: C,
}

type Limiter<C> = RateLimiter<u64, DashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock + Clone> Buckets<C> {
    /// `per_minute` 0: no limit.
    fn new(per_minute: u32, burst: u32, clock: C) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
        Self::of(quota, burst, clock)
    }

    /// One in each such time.
    fn every(time: Duration, burst: u32, clock: C) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Self::of(Quota::with_period(time), burst, clock)
    }

    fn of(quota: Option<Quota>, burst: NonZeroU32, clock: C) -> Self {
        let limiter =
            quota.map(|quota| RateLimiter::dashmap_with_clock(quota.allow_burst(burst), clock.clone()));
        Self {
            limiter,
            burst,
            keys: RandomState::new(),
            clock,
        }
    }

    /// Takes one, or says in how many seconds one will be there.
    fn take(&self, key: &impl Hash) -> Result<(), u32> {
        self.take_many(key, NonZeroU32::MIN)
    }

    /// Takes several at once, or none; never more than a full bucket holds, which nobody could wait for.
    fn take_many(&self, key: &impl Hash, count: NonZeroU32) -> Result<(), u32> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let taken = limiter.check_key_n(&self.keys.hash_one(key), count.min(self.burst));
        let Ok(Err(not_until)) = taken else {
            return Ok(());
        };
        let wait = not_until.wait_time_from(self.clock.now());
        // Rounded up: who comes back after that many seconds is let in.
        let wait_s = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        Err(wait_s.max(1))
    }

    fn sweep(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_one_a_second_and_retry_after_is_true() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(60, 60, clock.clone());
        assert!((0..60).all(|_| buckets.take(&"a").is_ok()));
        let wait_s = buckets.take(&"a").expect_err("empty");
        assert_eq!(wait_s, 1);
        assert!(buckets.take(&"b").is_ok(), "another device has its own bucket");
        clock.advance(Duration::from_secs(u64::from(wait_s)));
        assert!(buckets.take(&"a").is_ok());
        assert!(buckets.take(&"a").is_err());
    }

    #[test]
    fn several_are_taken_at_once_or_none_of_them() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(60, 40, clock.clone());
        let many = |n| NonZeroU32::new(n).expect("some");
        assert!(buckets.take_many(&"a", many(31)).is_ok());
        assert_eq!(buckets.take_many(&"a", many(31)), Err(22));
        assert!(
            (0..9).all(|_| buckets.take(&"a").is_ok()),
            "what was refused took nothing"
        );
        assert!(buckets.take(&"a").is_err());
        clock.advance(Duration::from_secs(600));
        assert!(
            buckets.take_many(&"a", many(1000)).is_ok(),
            "a full bucket is enough"
        );
        assert!(buckets.take(&"a").is_err());
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::new(60, 2, clock.clone());
        for device in 0..100 {
            assert!(buckets.take(&device).is_ok());
        }
        clock.advance(Duration::from_secs(600));
        buckets.sweep();
        assert_eq!(buckets.limiter.as_ref().map(RateLimiter::len), Some(0));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let buckets = Buckets::new(0, 1, FakeRelativeClock::default());
        assert!((0..1000).all(|_| buckets.take(&"a").is_ok()));
    }

    #[test]
    fn a_host_cannot_roam_in_its_own_network() {
        let a: IpAddr = "2001:db8::1".parse().expect("address");
        let b: IpAddr = "2001:db8::2".parse().expect("address");
        let c: IpAddr = "2001:db8:1::2".parse().expect("address");
        assert_eq!(network(a), network(b));
        assert_ne!(network(a), network(c));
        let v4: IpAddr = "192.0.2.1".parse().expect("address");
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("address");
        assert_eq!(network(v4), network(mapped));
    }
}
