//! How much load, for how long: plain values, validated before anything is touched.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use crate::InFlightLimit;

/// A load to put on a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// What starts iterations.
    pub executor: Executor,
    /// Virtual users: each runs one iteration at a time.
    pub users: u32,
    /// Load that is really run, before the measured window, and whose samples are thrown away.
    pub warmup: Duration,
    /// The measured window. After it nothing new starts.
    pub duration: Duration,
    /// Pause of a user between two iterations. Only in a closed model: in an open one the schedule decides.
    pub pause: Duration,
    /// After the window, or after a drain: how long iterations in flight may take to end by themselves.
    pub graceful_stop: Duration,
    /// After an abort: how long iterations have to give up by themselves before they are dropped.
    pub abort_grace: Duration,
    /// Seed of all random choices. The same seed gives the same choices to the same user's same iteration.
    pub seed: u64,
    /// How many calls may be in flight at once; `None` for as many as there are users (and their parallel steps). Runs that
    /// go on side by side may share one limit.
    pub in_flight: Option<InFlightLimit>,
}

impl Default for Load {
    /// Two users for 30 s after 5 s of warm-up, with a pause of 50 ms.
    fn default() -> Self {
        Self {
            executor: Executor::ConstantVus,
            users: 2,
            warmup: Duration::from_secs(5),
            duration: Duration::from_secs(30),
            pause: Duration::from_millis(50),
            graceful_stop: Duration::from_secs(10),
            abort_grace: Duration::from_secs(2),
            seed: 0,
            in_flight: None,
        }
    }
}

/// What starts iterations. Both run on the same users' loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// A closed model: each user starts its next iteration when its last one has ended.
    ConstantVus,
    /// An open model: iterations start by an absolute schedule, however long the last ones take.
    ConstantArrivalRate {
        /// How many starts in how much time.
        rate: Rate,
        /// How many due starts may wait for a free user; any beyond are dropped, and counted.
        max_queue: u32,
    },
}

/// A problem with a [`Load`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Nobody to run iterations.
    #[error("at least one user is needed")]
    NoUsers,
    /// Nothing would be measured.
    #[error("the duration must be longer than zero")]
    NoDuration,
    /// The schedule would be too long to be kept in nanoseconds (more than a year).
    #[error("warm-up and duration together are limited to a year")]
    TooLong,
}

impl Load {
    /// All problems of this load; empty if it can be run.
    pub fn problems(&self) -> Vec<LoadError> {
        let mut problems = Vec::new();
        if self.users == 0 {
            problems.push(LoadError::NoUsers);
        }
        if self.duration.is_zero() {
            problems.push(LoadError::NoDuration);
        }
        if self.end() > Duration::from_secs(366 * 86_400) {
            problems.push(LoadError::TooLong);
        }
        problems
    }

    /// When nothing new starts any more, from the start of the load: warm-up and measured window.
    pub fn end(&self) -> Duration {
        self.warmup.saturating_add(self.duration)
    }

    /// Whether an absolute schedule starts the iterations.
    pub fn is_open(&self) -> bool {
        matches!(self.executor, Executor::ConstantArrivalRate { .. })
    }
}

/// A rate of starts, kept as whole starts in a span of time so that the schedule has no rounding that adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    starts: u64,
    per: Duration,
}

/// Why a rate could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RateError {
    /// Not a number and a unit.
    #[error(
        "cannot understand rate {0:?}: expected a number and a unit, as in 200/s, 30/m, 2.5/s or 100/h"
    )]
    Syntax(String),
    /// The unit is none of `s`, `m`, `h`.
    #[error("unknown unit {unit:?} in rate {rate:?}: expected s, m or h")]
    Unit {
        /// The whole text.
        rate: String,
        /// What stands after the slash.
        unit: String,
    },
    /// Zero, negative, or beyond a million starts a second.
    #[error("rate {0:?} is out of range: more than zero and at most 1000000/s")]
    Range(String),
}

impl Rate {
    /// So many starts in so much time.
    ///
    /// # Errors
    /// [`RateError::Range`] if either is zero or it comes to more than a million starts a second.
    pub fn new(starts: u64, per: Duration) -> Result<Self, RateError> {
        let rate = Self { starts, per };
        if starts == 0 || per.is_zero() || rate.per_second() > 1_000_000.0 {
            return Err(RateError::Range(format!("{starts}/{per:?}")));
        }
        Ok(rate)
    }

    /// Starts a second.
    pub fn per_second(&self) -> f64 {
        self.starts as f64 / self.per.as_secs_f64()
    }

    pub(crate) fn parts(&self) -> (u64, Duration) {
        (self.starts, self.per)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// `200/s`, `30/m`, `2.5/s`, `100/h`; a bare number is a rate per second.
    fn from_str(text: &str) -> Result<Self, RateError> {
        let syntax = || RateError::Syntax(text.to_owned());
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let unit = match unit.trim() {
            "s" | "sec" | "second" => Duration::from_secs(1),
            "m" | "min" | "minute" => Duration::from_secs(60),
            "h" | "hour" => Duration::from_secs(3600),
            other => {
                return Err(RateError::Unit {
                    rate: text.to_owned(),
                    unit: other.to_owned(),
                });
            }
        };
        // A decimal fraction is kept exactly: 2.5/s is 25 starts in 10 s.
        let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(syntax());
        }
        if fraction.len() > 6 {
            return Err(RateError::Range(text.to_owned()));
        }
        let starts = digits.parse().map_err(|_| syntax())?;
        let per = unit * 10_u32.pow(fraction.len() as u32);
        Rate::new(starts, per).map_err(|_| RateError::Range(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_exactly() {
        for (text, starts, per) in [
            ("200/s", 200, 1),
            ("200", 200, 1),
            (" 30 / m", 30, 60),
            ("2.5/s", 25, 10),
            ("0.1/s", 1, 10),
            ("100/h", 100, 3600),
        ] {
            assert_eq!(
                text.parse(),
                Rate::new(starts, Duration::from_secs(per)),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_rates_say_what_is_wrong() {
        for (text, error) in [
            ("", "expected a number and a unit"),
            ("fast", "expected a number and a unit"),
            ("-1/s", "expected a number and a unit"),
            ("1/y", "unknown unit \"y\""),
            ("0/s", "out of range"),
            ("2000000/s", "out of range"),
            ("1.00000001/s", "out of range"),
        ] {
            let found = text.parse::<Rate>().unwrap_err().to_string();
            assert!(found.contains(error), "{text}: {found}");
        }
    }

    #[test]
    fn all_problems_of_a_load_are_found_at_once() {
        assert_eq!(Load::default().problems(), []);
        let load = Load {
            users: 0,
            duration: Duration::ZERO,
            warmup: Duration::MAX,
            ..Load::default()
        };
        assert_eq!(
            load.problems(),
            [
                LoadError::NoUsers,
                LoadError::NoDuration,
                LoadError::TooLong
            ]
        );
    }
}
