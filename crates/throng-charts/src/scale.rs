//! Axes: from which value to which, and where there is a mark with which words.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged};
use plotters::coord::types::RangedCoordf64;

use crate::unit;

/// The largest of the values is so many times the smallest: a linear axis would show the small ones as nothing.
const WIDE: f64 = 25.0;
/// No time is shown as shorter than this on a logarithmic axis; the clocks that measure are no finer.
const SHORTEST: f64 = 1e-6;

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    start: f64,
    end: f64,
    logarithmic: bool,
    ticks: Vec<Tick>,
}

/// A mark on an axis, and its words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) text: String,
}

impl Scale {
    /// From 0 to a round value that is no less than the largest, with about so many steps of 1, 2 or 5.
    pub(crate) fn linear(largest: f64, steps: usize, words: fn(f64) -> String) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 {
            largest
        } else {
            1.0
        };
        let step = round_up(largest / steps.max(1) as f64);
        // What misses a step by an error of rounding is on it.
        let count = (largest / step - 1e-9).ceil().max(1.0) as usize;
        Self {
            start: 0.0,
            end: step * count as f64,
            logarithmic: false,
            ticks: ticks((0..=count).map(|n| step * n as f64), words),
        }
    }

    /// From 0 to a little more than the largest, wherever that is: for bars, which need no line at their end.
    pub(crate) fn reaching(largest: f64, steps: usize, words: fn(f64) -> String) -> Self {
        let mut scale = Self::linear(largest, steps, words);
        if largest.is_finite() && largest > 0.0 {
            scale.end = largest * 1.04;
            scale.ticks.retain(|tick| tick.value <= scale.end);
        }
        scale
    }

    /// Logarithmic, from and to 1, 2 or 5 times a power of ten.
    pub(crate) fn logarithmic(range: Range<f64>, words: fn(f64) -> String) -> Self {
        let start = round_down(range.start.max(SHORTEST));
        // One step at least, where all values are the same.
        let end = round_up(range.end.max(start)).max(round_up(start * 1.5));
        Self {
            start,
            end,
            logarithmic: true,
            ticks: ticks(steps_between(start, end).into_iter(), words),
        }
    }

    /// An axis for values that there are none of: it says nothing.
    pub(crate) fn blank() -> Self {
        Self {
            start: 0.0,
            end: 1.0,
            logarithmic: false,
            ticks: Vec::new(),
        }
    }

    /// For durations in seconds: logarithmic where `largest` is many times `typical`.
    pub(crate) fn durations(typical: f64, largest: f64, steps: usize) -> Self {
        let typical = typical.max(SHORTEST);
        if largest > typical * WIDE {
            Self::logarithmic(typical..largest, unit::round_duration)
        } else {
            Self::linear(largest, steps, unit::round_duration)
        }
    }

    /// For the time since the start of a run, in seconds; it ends where the run does. Also returns what its marks
    /// count.
    pub(crate) fn time(span: f64, most: usize) -> (Self, &'static str) {
        const STEPS: [f64; 21] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_200.0,
            1_800.0, 3_600.0, 7_200.0, 10_800.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0,
        ];
        let span = if span.is_finite() && span > 0.0 {
            span
        } else {
            1.0
        };
        let fits = |step: &&f64| span / **step <= most as f64;
        let step = match STEPS.iter().find(fits) {
            Some(step) if span >= 1.0 => *step,
            Some(_) => round_up(span / 5.0),
            None => 86_400.0 * (span / 86_400.0 / most as f64).ceil(),
        };
        let (words, unit): (fn(f64) -> String, _) = match span {
            span if span <= 120.0 => (unit::round_number, "seconds"),
            _ if step < 60.0 => (|at| clock(at, 60.0), "minutes:seconds"),
            span if span <= 10_800.0 => (|at| unit::round_number(at / 60.0), "minutes"),
            _ if step < 3_600.0 => (|at| clock(at / 60.0, 60.0), "hours:minutes"),
            _ => (|at| unit::round_number(at / 3_600.0), "hours"),
        };
        let count = (span / step + 1e-9).floor() as usize;
        let scale = Self {
            start: 0.0,
            end: span,
            logarithmic: false,
            ticks: ticks((0..=count).map(|n| step * n as f64), words),
        };
        (scale, unit)
    }

    pub(crate) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    pub(crate) fn start(&self) -> f64 {
        self.start
    }

    pub(crate) fn end(&self) -> f64 {
        self.end
    }

    pub(crate) fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    /// Which marks get their words on an axis of this length, so that no words touch: all of them, or else powers of ten
    /// alone (logarithmic), or else every second, third ... of those.
    pub(crate) fn worded(&self, length: f64, room: impl Fn(&str) -> f64) -> Vec<&Tick> {
        let is_power =
            |tick: &&Tick| (tick.value.log10() - tick.value.log10().round()).abs() < 1e-6;
        let all: Vec<&Tick> = self.ticks.iter().collect();
        let powers: Vec<&Tick> = self.ticks.iter().filter(is_power).collect();
        let fit = |chosen: &[&Tick]| {
            chosen.windows(2).all(|pair| {
                let apart = (self.fraction(pair[1].value) - self.fraction(pair[0].value)) * length;
                apart >= (room(&pair[0].text) + room(&pair[1].text)) / 2.0
            })
        };
        if fit(&all) {
            return all;
        }
        let chosen = if self.logarithmic && powers.len() > 1 {
            powers
        } else {
            all
        };
        let every = |step| chosen.iter().copied().step_by(step).collect::<Vec<_>>();
        (1..chosen.len())
            .map(every)
            .find(|some| fit(some))
            .unwrap_or_else(|| every(chosen.len().max(1)))
    }

    /// Where a value is between the axis' start (0) and end (1). Values beyond are at the nearer end.
    pub(crate) fn fraction(&self, value: f64) -> f64 {
        let fraction = if self.logarithmic {
            (value.max(self.start) / self.start).ln() / (self.end / self.start).ln()
        } else {
            (value - self.start) / (self.end - self.start)
        };
        if fraction.is_finite() {
            fraction.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// An axis of the plotting crate.
impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(0.0..1.0).map(&self.fraction(*value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let most = hint.max_num_points();
        self.ticks
            .iter()
            .map(|tick| tick.value)
            .take(most)
            .collect()
    }

    fn range(&self) -> Range<f64> {
        self.start..self.end
    }
}

fn ticks(values: impl Iterator<Item = f64>, words: fn(f64) -> String) -> Vec<Tick> {
    values
        .map(|value| Tick {
            value,
            text: words(value),
        })
        .collect()
}

/// `1:30` of 90 and 60.
fn clock(value: f64, base: f64) -> String {
    format!("{:.0}:{:02.0}", (value / base).floor(), value % base)
}

/// 1, 2 or 5 times the power of ten, no less than the value.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let found = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|digit| digit * power >= value * (1.0 - 1e-9));
    found.unwrap_or(10.0) * power
}

/// 1, 2 or 5 times the power of ten, no more than the value.
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let found = [10.0, 5.0, 2.0, 1.0]
        .into_iter()
        .find(|digit| digit * power <= value * (1.0 + 1e-9));
    found.unwrap_or(1.0) * power
}

/// All 1, 2 and 5 times powers of ten from one to the other.
fn steps_between(start: f64, end: f64) -> Vec<f64> {
    let mut steps = vec![start];
    let mut last = start;
    while last < end * (1.0 - 1e-9) {
        last = round_up(last * 1.1);
        steps.push(last);
    }
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(ticks: Vec<&Tick>) -> Vec<&str> {
        ticks.into_iter().map(|tick| tick.text.as_str()).collect()
    }

    fn words(scale: &Scale) -> Vec<&str> {
        texts(scale.ticks.iter().collect())
    }

    #[test]
    fn linear_axes_begin_at_nought_and_end_beyond_the_largest() {
        for (largest, expected) in [
            (617.0, vec!["0", "200", "400", "600", "800"]),
            (10.0, vec!["0", "2", "4", "6", "8", "10"]),
            (0.03, vec!["0", "0.01", "0.02", "0.03"]),
            (0.0, vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
            (f64::NAN, vec!["0", "0.2", "0.4", "0.6", "0.8", "1"]),
            (
                23_000.0,
                vec!["0", "5,000", "10,000", "15,000", "20,000", "25,000"],
            ),
        ] {
            let scale = Scale::linear(largest, 5, unit::round_number);
            assert_eq!(words(&scale), expected, "{largest}");
            assert_eq!(scale.fraction(0.0), 0.0);
            assert_eq!(scale.fraction(scale.end), 1.0);
        }
    }

    #[test]
    fn bars_have_most_of_the_room() {
        let scale = Scale::reaching(102.0, 5, unit::round_number);
        assert_eq!(words(&scale), ["0", "50", "100"]);
        assert!((scale.fraction(102.0) - 1.0 / 1.04).abs() < 1e-9);
        let nothing = Scale::reaching(0.0, 5, unit::round_number);
        assert_eq!(nothing, Scale::linear(0.0, 5, unit::round_number));
    }

    #[test]
    fn durations_far_apart_get_a_logarithmic_axis() {
        let near = Scale::durations(0.010, 0.120, 6);
        assert!(!near.is_logarithmic());
        assert_eq!(
            words(&near),
            ["0", "20 ms", "40 ms", "60 ms", "80 ms", "100 ms", "120 ms"]
        );
        let far = Scale::durations(0.003, 1.7, 8);
        assert!(far.is_logarithmic());
        assert_eq!((far.start, far.end), (0.002, 2.0));
        assert_eq!(
            words(&far),
            [
                "2 ms", "5 ms", "10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s",
                "2 s"
            ]
        );
        let nothing = Scale::durations(0.0, 3_000.0, 8);
        assert_eq!((nothing.start, nothing.end), (1e-6, 5_000.0));
    }

    #[test]
    fn words_that_would_touch_are_left_out() {
        let scale = Scale::durations(0.003, 1.7, 8);
        let shown = |length| texts(scale.worded(length, |_| 40.0));
        assert_eq!(shown(600.0).len(), 10);
        assert_eq!(shown(300.0), ["10 ms", "100 ms", "1 s"]);
        assert_eq!(shown(100.0), ["10 ms", "1 s"]);
        assert_eq!(shown(10.0), ["10 ms"]);
        let scale = Scale::linear(10.0, 5, unit::round_number);
        let shown = |length| texts(scale.worded(length, |_| 40.0));
        assert_eq!(shown(300.0), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(shown(150.0), ["0", "4", "8"]);
        assert_eq!(shown(0.0), ["0"]);
        assert!(Scale::blank().worded(100.0, |_| 1.0).is_empty());
    }

    #[test]
    fn a_logarithmic_axis_gives_each_power_the_same_room() {
        let scale = Scale::logarithmic(0.001..1.0, unit::round_duration);
        assert_eq!(scale.fraction(0.001), 0.0);
        assert!((scale.fraction(0.01) - 1.0 / 3.0).abs() < 1e-9);
        assert!((scale.fraction(0.1) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(scale.fraction(1.0), 1.0);
        assert_eq!(scale.fraction(0.0), 0.0, "nothing is left of the axis");
        assert_eq!(scale.fraction(50.0), 1.0, "nothing is right of the axis");
    }

    #[test]
    fn time_is_counted_in_what_suits_it() {
        for (span, unit, expected) in [
            (5.0, "seconds", vec!["0", "1", "2", "3", "4", "5"]),
            (
                20.3,
                "seconds",
                vec!["0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20"],
            ),
            (
                90.0,
                "seconds",
                vec!["0", "10", "20", "30", "40", "50", "60", "70", "80", "90"],
            ),
            (
                180.0,
                "minutes:seconds",
                vec![
                    "0:00", "0:15", "0:30", "0:45", "1:00", "1:15", "1:30", "1:45", "2:00", "2:15",
                    "2:30", "2:45", "3:00",
                ],
            ),
            (
                600.0,
                "minutes",
                vec!["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
            ),
            (
                7_200.0,
                "minutes",
                vec![
                    "0", "10", "20", "30", "40", "50", "60", "70", "80", "90", "100", "110", "120",
                ],
            ),
            (
                14_400.0,
                "hours:minutes",
                vec![
                    "0:00", "0:20", "0:40", "1:00", "1:20", "1:40", "2:00", "2:20", "2:40", "3:00",
                    "3:20", "3:40", "4:00",
                ],
            ),
            (
                36_000.0,
                "hours",
                vec!["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"],
            ),
        ] {
            let (scale, found) = Scale::time(span, 12);
            assert_eq!((words(&scale), found), (expected, unit), "{span}");
            assert_eq!(scale.end, span);
        }
    }

    proptest! {
        #[test]
        fn every_axis_holds_its_values(largest in 1e-9..1e12_f64, share in 1e-9..1.0_f64) {
            let scale = Scale::linear(largest, 6, unit::round_number);
            prop_assert!(scale.end >= largest * (1.0 - 1e-9));
            prop_assert!(scale.end <= largest * 2.5, "half of it would be empty");
            prop_assert!((2..=8).contains(&scale.ticks.len()), "{:?}", scale);
            let scale = Scale::durations(largest * share, largest, 8);
            prop_assert!(scale.end >= largest * (1.0 - 1e-9));
            prop_assert!(scale.ticks.len() >= 2, "{:?}", scale);
            prop_assert!(scale.ticks.windows(2).all(|pair| pair[0].value < pair[1].value));
        }

        #[test]
        fn every_time_axis_has_a_few_marks(span in 0.001..1e7_f64) {
            let (scale, _) = Scale::time(span, 12);
            prop_assert!((2..=13).contains(&scale.ticks.len()), "{:?}", scale);
        }
    }
}
