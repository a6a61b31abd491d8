//! When to try again: attempts, waiting with jitter, `Retry-After`, and a budget that ends it all.
//!
//! Nothing here sends anything; it only says how long to wait, or that it is time to give up.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use rand::Rng;
use tokio::time::Instant;

/// How often and how long one piece of work (a login, a registration, a deletion) may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included; at least 1 is always made.
    pub attempts: u32,
    /// Time from the first attempt after which no further one is started.
    pub budget: Duration,
    /// The first wait (before jitter); it doubles each time.
    pub first_wait: Duration,
    /// The longest wait (before jitter) where the server named none.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    /// 5 attempts within 90 s, waiting 0.25 s to 10 s: enough to sit out a limit counted per minute once the server
    /// names the wait, and short enough that a dead server ends a run soon.
    fn default() -> Self {
        Self {
            attempts: 5,
            budget: Duration::from_secs(90),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// For a limit that is counted per minute without the server saying so (Nextcloud's client registration): 12 attempts
    /// within 2 minutes.
    pub const fn patient() -> Self {
        Self {
            attempts: 12,
            budget: Duration::from_secs(120),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(15),
        }
    }

    /// No second attempt.
    pub const fn once() -> Self {
        Self {
            attempts: 1,
            budget: Duration::ZERO,
            first_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
        }
    }

    /// Starts counting now.
    pub fn start(&self) -> Attempts {
        Attempts {
            policy: *self,
            started: Instant::now(),
            made: 1,
        }
    }
}

/// The attempts of one piece of work.
#[derive(Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    started: Instant,
    made: u32,
}

impl Attempts {
    /// Attempts made so far, the running one included.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// What is left of the budget.
    pub fn left(&self) -> Duration {
        self.policy.budget.saturating_sub(self.started.elapsed())
    }

    /// Takes a time out of the budget's: nobody did anything for the work.
    pub(crate) fn put_off(&mut self, waited: Duration) {
        self.started += waited;
    }

    /// How long to wait before the next attempt, which is counted; `None` when there shall be none. A wait that the server
    /// asked for is kept to (never shortened), unless it is longer than the budget.
    pub(crate) fn next_wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.made >= self.policy.attempts {
            return None;
        }
        let wait = match asked {
            // Up to a tenth more, so that a thousand users told the same second do not come back in the same instant.
            Some(asked) => asked.mul_f64(1.0 + rand::rng().random_range(0.0..0.1)),
            None => {
                let doubled = self
                    .policy
                    .first_wait
                    .saturating_mul(1 << (self.made - 1).min(20));
                // Equal jitter: half fixed, half random.
                doubled
                    .min(self.policy.longest_wait)
                    .mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        if wait > self.left() {
            return None;
        }
        self.made += 1;
        Some(wait)
    }
}

/// The `Retry-After` header in seconds or as a date (RFC 9110 section 10.2.3); nothing when absent or unreadable.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim();
    if let Ok(seconds) = value.parse::<u64>() {
        // A day is as good as never, and keeps arithmetic on instants from overflowing.
        return Some(Duration::from_secs(seconds.min(86_400)));
    }
    let at = http_date(value)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(now).min(Duration::from_secs(86_400)))
}

/// What time it is at the server, since 1970: the `Date` header (RFC 9110 section 6.6.1); nothing when absent or unreadable.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(http::header::DATE)?.to_str().ok()?;
    http_date(value.trim())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as time since 1970 (the preferred form of RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<Duration> {
    let mut parts = text.split(' ');
    let _weekday = parts.next()?;
    let day: i64 = parts.next()?.parse().ok()?;
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let name = parts.next()?;
    let month = month.iter().position(|m| *m == name)? as i64 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.splitn(3, ':').map(|p| p.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next()? != "GMT" || !(1970..=9999).contains(&year) {
        return None;
    }
    // Days from the civil calendar, counting years from March (Howard Hinnant's algorithm).
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted / 400;
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(784_111_777))
        );
        assert_eq!(
            http_date("Thu, 01 Jan 1970 00:00:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(
            http_date("Thu, 29 Feb 2024 12:00:00 GMT"),
            Some(Duration::from_secs(1_709_208_000))
        );
        assert_eq!(http_date("soon"), None);
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49 GMT"), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(with("7"), Some(Duration::from_secs(7)));
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(with("whenever"), None);
        assert_eq!(with("99999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_and_budget_both_end_it() {
        let policy = RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        };
        let mut attempts = policy.start();
        let first = attempts.next_wait(None).unwrap();
        assert!((125..=250).contains(&first.as_millis()));
        assert!(attempts.next_wait(None).unwrap() > first / 2);
        assert_eq!(attempts.next_wait(None), None);
        assert_eq!(attempts.made(), 3);

        let mut attempts = RetryPolicy::default().start();
        let asked = attempts.next_wait(Some(Duration::from_secs(10))).unwrap();
        assert!(asked >= Duration::from_secs(10) && asked <= Duration::from_secs(11));
        tokio::time::advance(Duration::from_secs(85)).await;
        assert_eq!(
            attempts.next_wait(Some(Duration::from_secs(10))),
            None,
            "longer than what is left"
        );
        attempts.put_off(Duration::from_secs(50));
        assert_eq!(attempts.left(), Duration::from_secs(55));
        assert!(
            attempts.next_wait(Some(Duration::from_secs(10))).is_some(),
            "what was waited before is no part of it"
        );
        assert_eq!(RetryPolicy::once().start().next_wait(None), None);
    }
}
