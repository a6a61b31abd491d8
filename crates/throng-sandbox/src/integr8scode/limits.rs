//! Rate limits (a sliding window per client address and raw path) and the lockout after bad logins.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::routes::PREFIX;

/// The window of all limits.
const WINDOW: Duration = Duration::from_secs(60);
/// How many bad logins lock a username.
const BAD_LOGINS: usize = 5;
/// Above so many entries, those of the past are thrown away.
const TIDY_ABOVE: usize = 10_000;

/// How many requests a path takes per window; `None` for those without a limit.
pub(super) fn limit(path: &str) -> Option<usize> {
    let path = path.strip_prefix(PREFIX).unwrap_or(path);
    match path {
        "/auth/login" | "/auth/register" | "/auth/logout" => None,
        "/execute" => Some(10),
        _ if path.starts_with("/auth/") => Some(20),
        _ if path.starts_with("/admin/") => Some(100),
        _ if path.starts_with("/events/") => Some(5),
        _ => Some(60),
    }
}

/// What a limiter says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) limit: usize,
    pub(super) remaining: usize,
    /// Until the oldest request leaves the window.
    pub(super) reset: Duration,
    pub(super) allowed: bool,
}

/// The requests of the last window.
#[derive(Debug, Default)]
pub(super) struct RateLimiter(Mutex<HashMap<(IpAddr, String), VecDeque<Instant>>>);

impl RateLimiter {
    /// Counts a request; `None` where there is no limit.
    pub(super) fn ask(&self, address: IpAddr, path: &str, now: Instant) -> Option<Allowance> {
        let limit = limit(path)?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |at: &Instant| now.saturating_duration_since(*at) >= WINDOW;
        if seen.len() > TIDY_ABOVE {
            seen.retain(|_, times| times.back().is_some_and(|last| !old(last)));
        }
        let times = seen.entry((address, path.to_owned())).or_default();
        while times.front().is_some_and(old) {
            times.pop_front();
        }
        let allowed = times.len() < limit;
        if allowed {
            times.push_back(now);
        }
        let oldest = times.front().copied().unwrap_or(now);
        Some(Allowance {
            limit,
            remaining: limit - times.len(),
            reset: WINDOW.saturating_sub(now.saturating_duration_since(oldest)),
            allowed,
        })
    }
}

/// Whose word a forwarded address is taken from: peers of private networks and this machine.
pub(super) fn client_address(peer: IpAddr, forwarded: Option<&str>) -> IpAddr {
    let private = match peer {
        IpAddr::V4(peer) => peer.is_private() || peer.is_loopback() || peer.is_link_local(),
        IpAddr::V6(peer) => peer.is_loopback() || peer.is_unique_local(),
    };
    forwarded
        .filter(|_| private)
        .and_then(|list| list.split(',').next())
        .and_then(|first| first.trim().parse().ok())
        .unwrap_or(peer)
}

/// Bad logins by username.
#[derive(Debug, Default)]
pub(super) struct Lockout(Mutex<HashMap<String, Vec<Instant>>>);

impl Lockout {
    fn bad(&self) -> MutexGuard<'_, HashMap<String, Vec<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last bad logins lock this username.
    pub(super) fn locked(&self, username: &str, time: Duration) -> bool {
        self.bad().get(username).is_some_and(|bad| {
            bad.len() >= BAD_LOGINS && bad.last().is_some_and(|last| last.elapsed() < time)
        })
    }

    pub(super) fn failed(&self, username: &str, time: Duration) {
        let mut bad = self.bad();
        if bad.len() > TIDY_ABOVE {
            bad.retain(|_, times| times.last().is_some_and(|last| last.elapsed() < time));
        }
        let times = bad.entry(username.to_owned()).or_default();
        times.retain(|at| at.elapsed() < time);
        times.push(Instant::now());
    }

    pub(super) fn succeeded(&self, username: &str) {
        self.bad().remove(username);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_window_slides_per_address_and_path() {
        let limiter = RateLimiter::default();
        let start = Instant::now();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let ask = |address, second| {
            let now = start + Duration::from_secs(second);
            limiter.ask(address, "/api/v1/execute", now)
        };
        for second in 0..10 {
            let allowance = ask(here, second).expect("a limit");
            assert!(allowance.allowed);
            assert_eq!(
                allowance.remaining,
                9 - usize::try_from(second).expect("small")
            );
        }
        let refused = ask(here, 20).expect("a limit");
        assert_eq!(refused.reset, Duration::from_secs(40));
        assert!(!refused.allowed && refused.remaining == 0);
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert!(ask(other, 20).expect("a limit").allowed);
        assert!(ask(here, 60).expect("a limit").allowed);
        assert!(!ask(here, 60).expect("a limit").allowed);
        assert_eq!(limiter.ask(here, "/api/v1/auth/login", start), None);
    }

    #[test]
    fn a_forwarded_address_counts_from_a_private_peer_only() {
        let private = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 1));
        let public = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
        let other = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(client_address(private, Some("10.1.2.3, 1.1.1.1")), other);
        assert_eq!(client_address(public, Some("10.1.2.3")), public);
        assert_eq!(client_address(private, Some("nonsense")), private);
        assert_eq!(client_address(private, None), private);
    }
}
