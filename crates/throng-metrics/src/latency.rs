//! Histograms of durations, and the one way in which percentiles are read from them.
//!
//! Two sizes, one method: [`Latencies`] is an HDR histogram with three significant digits, for steps and workflows;
//! [`CompactLatencies`] is an HDR histogram with two digits kept sparsely, for each user and each second. Both count
//! whole microseconds, keep minimum, maximum and mean exactly, and read a percentile as the nearest rank: the
//! smallest recorded value (to the histogram's precision) that at least that share of all values does not exceed.
//! Nothing here ever averages percentiles; histograms are merged instead.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Durations beyond this are kept as this (about 19 hours): they only stretch the histogram.
const LONGEST_MICROS: u64 = 1 << 36;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).map_or(LONGEST_MICROS, |m| m.min(LONGEST_MICROS))
}

/// Minimum, maximum and sum, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Extent {
    count: u64,
    min: u64,
    max: u64,
    sum: u128,
}

impl Extent {
    fn add(&mut self, micros: u64) {
        self.min = if self.count == 0 {
            micros
        } else {
            self.min.min(micros)
        };
        self.max = self.max.max(micros);
        self.sum += u128::from(micros);
        self.count += 1;
    }

    fn merge(&mut self, other: &Extent) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
    }

    fn mean_seconds(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            // To whole microseconds, as all other figures.
            (self.sum as f64 / self.count as f64).round() / 1e6
        }
    }
}

/// The figures of a histogram that go into reports, all in seconds. All zero where nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The 50th percentile.
    pub median: f64,
    /// The same, by the name that it has everywhere else.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
}

/// What both histograms can say.
pub trait Distribution {
    /// How many values were recorded.
    fn count(&self) -> u64;
    /// The value at a quantile (0 to 1) by nearest rank; `None` where nothing was recorded.
    fn quantile(&self, quantile: f64) -> Option<Duration>;
    /// The smallest value; zero where nothing was recorded.
    fn min(&self) -> Duration;
    /// The largest value; zero where nothing was recorded.
    fn max(&self) -> Duration;
    /// The mean in seconds; zero where nothing was recorded.
    fn mean_seconds(&self) -> f64;

    /// The figures for a report.
    fn summary(&self) -> Latency {
        let at = |quantile| self.quantile(quantile).unwrap_or_default().as_secs_f64();
        Latency {
            min: self.min().as_secs_f64(),
            max: self.max().as_secs_f64(),
            mean: self.mean_seconds(),
            median: at(0.50),
            p50: at(0.50),
            p90: at(0.90),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

/// An HDR histogram of durations with three significant digits. Grows with the largest value; empty it is tiny.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Option<Histogram<u64>>,
    extent: Extent,
}

impl Latencies {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            histogram: None,
            extent: Extent::default(),
        }
    }

    /// Records a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = micros(duration);
        self.histogram()
            .record(micros)
            .expect("an auto-resizing histogram takes any value");
        self.extent.add(micros);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        if let Some(theirs) = &other.histogram {
            self.histogram()
                .add(theirs)
                .expect("an auto-resizing histogram takes any other's values");
            self.extent.merge(&other.extent);
        }
    }

    /// Forgets all values but keeps the memory.
    pub fn clear(&mut self) {
        if self.extent.count > 0 {
            if let Some(histogram) = &mut self.histogram {
                histogram.reset();
            }
            self.extent = Extent::default();
        }
    }

    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.histogram
            .get_or_insert_with(|| Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution for Latencies {
    fn count(&self) -> u64 {
        self.extent.count
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        let histogram = self.histogram.as_ref().filter(|_| self.extent.count > 0)?;
        let value = histogram.value_at_quantile(quantile.clamp(0.0, 1.0));
        Some(Duration::from_micros(
            value.clamp(self.extent.min, self.extent.max),
        ))
    }

    fn min(&self) -> Duration {
        Duration::from_micros(self.extent.min)
    }

    fn max(&self) -> Duration {
        Duration::from_micros(self.extent.max)
    }

    fn mean_seconds(&self) -> f64 {
        self.extent.mean_seconds()
    }
}

/// An HDR histogram of durations with two significant digits, kept sparsely: 8 bytes for each value in use instead
/// of 10 KiB. What it says equals what a dense one would (there is a test).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CompactLatencies {
    /// Cells in use, by index.
    cells: Vec<Cell>,
    extent: Extent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    index: u16,
    count: u32,
}

/// Two digits: each power of two is split into 128 cells, the lowest 256 values have one each.
const HALF: u64 = 128;

impl CompactLatencies {
    /// An empty histogram.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = micros(duration);
        self.add(cell_of(micros), 1);
        self.extent.add(micros);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &CompactLatencies) {
        if self.cells.is_empty() {
            self.cells.clone_from(&other.cells);
        } else {
            for cell in &other.cells {
                self.add(cell.index, cell.count);
            }
        }
        self.extent.merge(&other.extent);
    }

    /// Forgets all values but keeps the memory.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.extent = Extent::default();
    }

    fn add(&mut self, index: u16, count: u32) {
        match self.cells.binary_search_by_key(&index, |cell| cell.index) {
            Ok(at) => self.cells[at].count = self.cells[at].count.saturating_add(count),
            Err(at) => self.cells.insert(at, Cell { index, count }),
        }
    }
}

fn cell_of(value: u64) -> u16 {
    // The highest bit beyond the eighth says how far the value is shifted.
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(8);
    let cell = u64::from(shift) * HALF + (value >> shift);
    u16::try_from(cell).expect("2^36 microseconds fit into 4,000 cells")
}

fn highest_of(cell: u16) -> u64 {
    let cell = u64::from(cell);
    let shift = (cell / HALF).saturating_sub(1);
    let base = cell - shift * HALF;
    ((base + 1) << shift) - 1
}

impl Distribution for CompactLatencies {
    fn count(&self) -> u64 {
        self.extent.count
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total: u64 = self.cells.iter().map(|cell| u64::from(cell.count)).sum();
        let rank = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let cell = self.cells.iter().find(|cell| {
            seen += u64::from(cell.count);
            seen >= rank
        })?;
        let value = highest_of(cell.index);
        Some(Duration::from_micros(
            value.clamp(self.extent.min, self.extent.max),
        ))
    }

    fn min(&self) -> Duration {
        Duration::from_micros(self.extent.min)
    }

    fn max(&self) -> Duration {
        Duration::from_micros(self.extent.max)
    }

    fn mean_seconds(&self) -> f64 {
        self.extent.mean_seconds()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Latencies of all magnitudes, from a microsecond to hours.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(
            (0_u32..36).prop_flat_map(|bits| 0..(1_u64 << bits).max(2)),
            1..200,
        )
    }

    fn exact_rank(sorted: &[u64], quantile: f64) -> u64 {
        let rank = ((quantile * sorted.len() as f64).ceil() as usize).max(1);
        sorted[rank - 1]
    }

    proptest! {
        #[test]
        fn compact_says_what_a_dense_two_digit_histogram_says(values in values()) {
            let mut dense = Histogram::<u64>::new(2).unwrap();
            let mut compact = CompactLatencies::new();
            for &value in &values {
                dense.record(value).unwrap();
                compact.record(Duration::from_micros(value));
            }
            let (min, max) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
            for quantile in [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
                prop_assert_eq!(
                    compact.quantile(quantile),
                    Some(Duration::from_micros(dense.value_at_quantile(quantile).clamp(min, max)))
                );
            }
        }

        #[test]
        fn both_are_within_their_precision_of_the_nearest_rank(values in values()) {
            let mut full = Latencies::new();
            let mut compact = CompactLatencies::new();
            for &value in &values {
                full.record(Duration::from_micros(value));
                compact.record(Duration::from_micros(value));
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for quantile in [0.1, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let exact = exact_rank(&sorted, quantile) as f64;
                let full = full.quantile(quantile).unwrap().as_micros() as f64;
                let compact = compact.quantile(quantile).unwrap().as_micros() as f64;
                prop_assert!(full >= exact && full <= exact * 1.001 + 1.0, "{full} for {exact}");
                prop_assert!(compact >= exact && compact <= exact * 1.01 + 1.0, "{compact} for {exact}");
            }
        }

        #[test]
        fn merging_equals_recording_together(left in values(), right in values()) {
            let mut merged = (Latencies::new(), CompactLatencies::new());
            let mut other = (Latencies::new(), CompactLatencies::new());
            let mut together = (Latencies::new(), CompactLatencies::new());
            for (index, &value) in left.iter().chain(&right).enumerate() {
                let duration = Duration::from_micros(value);
                let part = if index < left.len() { &mut merged } else { &mut other };
                part.0.record(duration);
                part.1.record(duration);
                together.0.record(duration);
                together.1.record(duration);
            }
            merged.0.merge(&other.0);
            merged.1.merge(&other.1);
            prop_assert_eq!(merged.0.summary(), together.0.summary());
            prop_assert_eq!(merged.1, together.1);
        }
    }

    #[test]
    fn empty_histograms_say_nothing() {
        assert_eq!(Latencies::new().quantile(0.5), None);
        assert_eq!(CompactLatencies::new().quantile(0.5), None);
        assert_eq!(Latencies::new().summary(), Latency::default());
    }

    #[test]
    fn clearing_leaves_nothing_of_the_past() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(3));
        latencies.clear();
        assert_eq!(latencies.count(), 0);
        assert_eq!(latencies.quantile(1.0), None);
        latencies.record(Duration::from_millis(1));
        assert_eq!(latencies.summary().max, 0.001);
        assert_eq!(latencies.quantile(1.0), Some(Duration::from_millis(1)));
    }

    #[test]
    fn absurd_durations_do_not_stretch_the_histogram() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::MAX);
        assert_eq!(latencies.max(), Duration::from_micros(LONGEST_MICROS));
    }
}
