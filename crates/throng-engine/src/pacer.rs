//! Schedules: when the nth iteration should start. Pure arithmetic on offsets, no clock.

use std::time::Duration;

use crate::Rate;

/// An absolute schedule of starts.
pub trait Pacer: Send + Sync {
    /// When the nth start (from 0) is due, from the start of the load. Never decreases with `n`; `None` from the
    /// point where the schedule ends.
    fn due(&self, n: u64) -> Option<Duration>;
}

/// Starts evenly spaced: the nth is due at `n / rate`, computed from `n` each time, so that nothing adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConstantRate {
    rate: Rate,
    until: Duration,
}

impl ConstantRate {
    /// A schedule at `rate` whose last start is due before `until`.
    pub fn new(rate: Rate, until: Duration) -> Self {
        Self { rate, until }
    }
}

impl Pacer for ConstantRate {
    fn due(&self, n: u64) -> Option<Duration> {
        let (starts, per) = self.rate.parts();
        let nanos = u128::from(n).checked_mul(per.as_nanos())? / u128::from(starts);
        let due = Duration::from_nanos(u64::try_from(nanos).ok()?);
        (due < self.until).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(starts: u64, per: Duration) -> Rate {
        Rate::new(starts, per).unwrap()
    }

    #[test]
    fn starts_are_due_by_the_table() {
        let second = Duration::from_secs(1);
        for (starts, per, n, due) in [
            (1, second, 0, Some(Duration::ZERO)),
            (1, second, 9, Some(Duration::from_secs(9))),
            (1, second, 10, None),
            (3, second, 1, Some(Duration::from_nanos(333_333_333))),
            (3, second, 3, Some(second)),
            (
                50_000,
                second,
                499_999,
                Some(Duration::from_micros(9_999_980)),
            ),
            (50_000, second, 500_000, None),
            (30, Duration::from_secs(60), 4, Some(Duration::from_secs(8))),
            (1, second, u64::MAX, None),
        ] {
            let pacer = ConstantRate::new(rate(starts, per), Duration::from_secs(10));
            assert_eq!(pacer.due(n), due, "{starts} in {per:?}, start {n}");
        }
    }

    proptest! {
        #[test]
        fn exactly_rate_times_time_starts_are_due_and_in_order(
            starts in 1_u64..10_000,
            per in 1_u64..100,
            until in 1_u64..10,
        ) {
            let pacer = ConstantRate::new(rate(starts, Duration::from_secs(per)), Duration::from_secs(until));
            let dues: Vec<_> = (0..).map_while(|n| pacer.due(n)).collect();
            // Starts at 0, per/starts, 2 per/starts, ...: as many as lie before `until`.
            let expected = (starts * until).div_ceil(per);
            prop_assert_eq!(dues.len() as u64, expected);
            prop_assert!(dues.is_sorted());
            // No start is off its ideal time by a nanosecond or more.
            for (n, due) in dues.iter().enumerate() {
                let ideal = n as u128 * u128::from(per) * 1_000_000_000;
                let actual = due.as_nanos() * u128::from(starts);
                prop_assert!(actual <= ideal && ideal - actual < u128::from(starts));
            }
        }
    }
}
