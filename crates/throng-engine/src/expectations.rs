//! How long each step usually takes, and from that when the next step of a workflow should have started.
//!
//! In an open model the first step's intended start is the schedule's. A later step's follows from its
//! predecessor's *intended* start plus the predecessor's expected duration, never from the actual one: otherwise a
//! stall would show in the stalled step only, and every step behind it would look prompt (HdrHistogram issue 148).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use throng_metrics::StepId;

/// Cells for each power of two: the median is known within 1.6 %.
const CELLS_PER_OCTAVE: u64 = 32;
/// Up to 2^36 microseconds.
const CELLS: usize = 1_056;
const UNKNOWN: u64 = u64::MAX;

/// The running median of each step's service time, over the whole run, warm-up included.
///
/// Over the whole run, not over its last seconds: what a stall does to the median would otherwise become what is
/// expected, and hide the stall.
#[derive(Debug)]
pub struct Expectations {
    steps: Box<[Expectation]>,
}

#[derive(Debug)]
struct Expectation {
    cells: Box<[AtomicU32]>,
    count: AtomicU32,
    median_micros: AtomicU64,
}

impl Expectations {
    /// Nothing known yet about any of so many steps.
    pub fn new(steps: usize) -> Self {
        Self {
            steps: (0..steps)
                .map(|_| Expectation {
                    cells: (0..CELLS).map(|_| AtomicU32::new(0)).collect(),
                    count: AtomicU32::new(0),
                    median_micros: AtomicU64::new(UNKNOWN),
                })
                .collect(),
        }
    }

    /// Learns from one success.
    pub fn learn(&self, step: StepId, service: Duration) {
        let Some(step) = self.steps.get(step.0 as usize) else {
            return;
        };
        step.cells[cell_of(service)].fetch_add(1, Ordering::Relaxed);
        let count = step.count.fetch_add(1, Ordering::Relaxed) + 1;
        // Often while it is young, then seldom: it hardly moves any more, and finding it reads all cells.
        if count <= 16 || count.is_multiple_of(64) {
            step.median_micros
                .store(step.find_median(), Ordering::Relaxed);
        }
    }

    /// The expected duration of a step; `None` before its first success.
    pub fn expected(&self, step: StepId) -> Option<Duration> {
        let micros = self
            .steps
            .get(step.0 as usize)?
            .median_micros
            .load(Ordering::Relaxed);
        (micros != UNKNOWN).then(|| Duration::from_micros(micros))
    }
}

impl Expectation {
    fn find_median(&self) -> u64 {
        let count = |cell: &AtomicU32| u64::from(cell.load(Ordering::Relaxed));
        let total: u64 = self.cells.iter().map(count).sum();
        let mut seen = 0;
        self.cells
            .iter()
            .position(|cell| {
                seen += count(cell);
                seen * 2 >= total
            })
            .map_or(UNKNOWN, middle_of)
    }
}

fn cell_of(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let shift = u64::from((u64::BITS - micros.leading_zeros()).saturating_sub(6));
    let cell = shift * CELLS_PER_OCTAVE + (micros >> shift);
    usize::try_from(cell).map_or(CELLS - 1, |cell| cell.min(CELLS - 1))
}

fn middle_of(cell: usize) -> u64 {
    let cell = cell as u64;
    let shift = (cell / CELLS_PER_OCTAVE).saturating_sub(1);
    let base = (cell - shift * CELLS_PER_OCTAVE) << shift;
    base + ((1 << shift) >> 1)
}

/// Says when each step of one actor's chain of steps should have started. Get one from [`crate::IterCx::step_clock`].
///
/// For parallel branches clone it for each, and [`StepClock::join`] them after.
#[derive(Debug, Clone)]
pub struct StepClock {
    /// Intended start of the next step; `None` in a closed model, where intended is actual.
    chain: Option<Duration>,
    expectations: Arc<Expectations>,
}

impl StepClock {
    /// Whether what is intended is what happens.
    pub(crate) fn is_closed(&self) -> bool {
        self.chain.is_none()
    }

    pub(crate) fn closed(expectations: Arc<Expectations>) -> Self {
        Self {
            chain: None,
            expectations,
        }
    }

    pub(crate) fn open(intended: Duration, expectations: Arc<Expectations>) -> Self {
        Self {
            chain: Some(intended),
            expectations,
        }
    }

    /// The intended start of a step that starts at `started`. Never after it.
    pub fn intended(&self, started: Duration) -> Duration {
        self.chain.map_or(started, |chain| chain.min(started))
    }

    /// A step has run: the next one should start when this one was expected to end.
    pub fn completed(&mut self, step: StepId, started: Duration, ended: Duration) {
        if self.chain.is_some() {
            let actual = ended.saturating_sub(started);
            // Before anything is known the step took what it took: the lag before it is still carried on.
            let expected = self.expectations.expected(step).unwrap_or(actual);
            self.chain = Some(self.intended(started) + expected);
        }
    }

    /// The actor waited on purpose (a pause, a barrier, polling): the next step is meant to start so much later.
    pub fn waited(&mut self, by: Duration) {
        if let Some(chain) = &mut self.chain {
            *chain += by;
        }
    }

    /// Parallel branches have ended: the next step was meant to start after the last of them.
    pub fn join(&mut self, branches: impl IntoIterator<Item = StepClock>) {
        for branch in branches {
            self.chain = self.chain.max(branch.chain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepId = StepId(0);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn expecting(millis: u64) -> Arc<Expectations> {
        let expectations = Expectations::new(1);
        for _ in 0..100 {
            expectations.learn(STEP, ms(millis));
        }
        Arc::new(expectations)
    }

    fn assert_close(actual: Duration, expected: Duration) {
        let (actual, expected) = (actual.as_secs_f64(), expected.as_secs_f64());
        assert!(
            (actual - expected).abs() <= expected * 0.016 + 1e-6,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn the_median_is_known_at_all_magnitudes() {
        for micros in [0, 1, 5, 63, 64, 65, 1_000, 123_456, 60_000_000, 1 << 35] {
            let expectations = Expectations::new(1);
            assert_eq!(expectations.expected(STEP), None);
            expectations.learn(STEP, Duration::from_micros(micros));
            assert_close(
                expectations.expected(STEP).unwrap(),
                Duration::from_micros(micros),
            );
        }
    }

    #[test]
    fn a_stall_does_not_become_the_expectation() {
        let expectations = expecting(10);
        for _ in 0..50 {
            expectations.learn(STEP, ms(1_000));
        }
        assert_close(expectations.expected(STEP).unwrap(), ms(10));
    }

    #[test]
    fn in_a_closed_model_intended_is_actual() {
        let mut clock = StepClock::closed(expecting(10));
        assert_eq!(clock.intended(ms(5)), ms(5));
        clock.completed(STEP, ms(5), ms(500));
        clock.waited(ms(3));
        assert_eq!(clock.intended(ms(501)), ms(501));
    }

    #[test]
    fn the_step_after_a_stalled_one_was_meant_to_start_earlier() {
        let mut clock = StepClock::open(ms(100), expecting(10));
        assert_eq!(clock.intended(ms(100)), ms(100));
        clock.completed(STEP, ms(100), ms(1_100));
        assert_close(clock.intended(ms(1_100)), ms(110));
    }

    #[test]
    fn a_step_is_never_meant_to_start_after_it_did() {
        let mut clock = StepClock::open(ms(100), expecting(10));
        clock.completed(STEP, ms(100), ms(102));
        assert_eq!(clock.intended(ms(102)), ms(102));
        clock.completed(STEP, ms(102), ms(112));
        assert_close(clock.intended(ms(200)), ms(112));
    }

    #[test]
    fn lag_is_carried_on_while_nothing_is_expected() {
        let mut clock = StepClock::open(ms(100), Arc::new(Expectations::new(1)));
        clock.completed(STEP, ms(150), ms(160));
        assert_eq!(clock.intended(ms(160)), ms(110));
    }

    #[test]
    fn deliberate_waits_are_no_lag() {
        let mut clock = StepClock::open(ms(100), expecting(10));
        clock.completed(STEP, ms(100), ms(110));
        clock.waited(ms(300));
        assert_close(clock.intended(ms(410)), ms(410));
    }

    #[test]
    fn after_parallel_branches_the_slowest_expectation_counts() {
        let mut clock = StepClock::open(ms(0), expecting(10));
        let mut left = clock.clone();
        let mut right = clock.clone();
        left.completed(STEP, ms(0), ms(900));
        right.completed(STEP, ms(0), ms(10));
        right.completed(STEP, ms(10), ms(20));
        clock.join([left, right]);
        assert_close(clock.intended(ms(900)), ms(20));
    }
}
