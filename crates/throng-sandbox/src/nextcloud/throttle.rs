//! Slowing down whoever sends wrong passwords: the delay of an address doubles with each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this long without a wrong password an address is forgiven.
const MEMORY: Duration = Duration::from_secs(12 * 3600);
/// No delay is longer.
const LONGEST: Duration = Duration::from_secs(25);

/// The wrong passwords of each address.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Vec<Failure>>>);

#[derive(Debug)]
struct Failure {
    user: String,
    at: Instant,
}

impl Throttle {
    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Failure>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The delay for the next login from here: 200 ms after one wrong password, then doubling.
    pub(crate) fn delay(&self, address: IpAddr) -> Duration {
        let mut failures = self.failures();
        let Some(list) = failures.get_mut(&address) else {
            return Duration::ZERO;
        };
        list.retain(|failure| failure.at.elapsed() < MEMORY);
        match u32::try_from(list.len()) {
            Ok(0) => Duration::ZERO,
            Ok(count @ 1..=16) => LONGEST.min(Duration::from_millis(100) * 2_u32.pow(count)),
            _ => LONGEST,
        }
    }

    /// Waits for the address's delay, where the throttle is on.
    pub(crate) async fn wait(&self, address: IpAddr, on: bool) {
        let delay = self.delay(address);
        if on && !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Notes a wrong password.
    pub(crate) fn failed(&self, address: IpAddr, user: &str) {
        let failure = Failure {
            user: user.to_owned(),
            at: Instant::now(),
        };
        self.failures().entry(address).or_default().push(failure);
    }

    /// Forgives an address the wrong passwords of a user that has now logged in.
    pub(crate) fn succeeded(&self, address: IpAddr, user: &str) {
        if let Some(list) = self.failures().get_mut(&address) {
            list.retain(|failure| !failure.user.eq_ignore_ascii_case(user));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_delay_doubles_and_a_login_forgives_its_own_user() {
        let throttle = Throttle::default();
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let there = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let mut delays = Vec::new();
        for _ in 0..9 {
            delays.push(throttle.delay(here).as_millis());
            throttle.failed(here, "alice");
        }
        assert_eq!(delays, [0, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_000]);
        throttle.failed(here, "bob");
        throttle.succeeded(here, "Alice");
        assert_eq!(throttle.delay(here).as_millis(), 200);
        assert_eq!(throttle.delay(there).as_millis(), 0);
    }
}
