//! What happened when: one entry for each second of the measured window, quiet seconds included.
//!
//! Long runs widen the entries (1 s, 2 s, 4 s, ...) instead of growing without end.

use crate::{CompactLatencies, Outcome, Sample};

/// With more entries than this, neighbours are merged and each entry becomes twice as wide.
const MOST_ENTRIES: usize = 7_200;

/// Calls by the time at which they ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    width: u32,
    entries: Vec<Entry>,
}

/// One entry of the timeline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Steps that ended in it.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Response times of those that did what they should.
    pub latencies: CompactLatencies,
}

impl Entry {
    fn merge(&mut self, other: &Entry) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.latencies.merge(&other.latencies);
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            width: 1,
            entries: Vec::new(),
        }
    }
}

impl Timeline {
    /// Width of an entry in seconds.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The entries from the window's start on; the nth covers `n * width` to `(n + 1) * width` seconds.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn add(&mut self, sample: &Sample) {
        let entry = self.entry(sample.ended.as_secs());
        entry.calls += 1;
        match sample.outcome {
            Outcome::Success | Outcome::Refused => entry.latencies.record(sample.response()),
            Outcome::Failed(_) => entry.errors += 1,
            Outcome::Unfinished => {}
        }
    }

    pub(crate) fn merge(&mut self, other: &Timeline) {
        while self.width < other.width {
            self.widen();
        }
        for (index, entry) in other.entries.iter().enumerate() {
            // A tick's timeline is empty up to its own second.
            if entry.calls > 0 {
                self.entry(index as u64 * u64::from(other.width))
                    .merge(entry);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn entry(&mut self, second: u64) -> &mut Entry {
        while second / u64::from(self.width) >= MOST_ENTRIES as u64 {
            self.widen();
        }
        let index = (second / u64::from(self.width)) as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, Entry::default);
        }
        &mut self.entries[index]
    }

    fn widen(&mut self) {
        self.width *= 2;
        let narrow = std::mem::take(&mut self.entries);
        for pair in narrow.chunks(2) {
            let mut wide = pair[0].clone();
            if let Some(second) = pair.get(1) {
                wide.merge(second);
            }
            self.entries.push(wide);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Failure, FailureKind, StepId, UserId};

    /// A call that ended in this second.
    fn call(second: u64, outcome: Outcome) -> Sample {
        let ended = Duration::from_secs(second);
        Sample {
            step: StepId(0),
            user: UserId(0),
            intended: ended,
            started: ended,
            ended,
            sent: 0,
            received: 0,
            status: None,
            unsent: false,
            outcome,
        }
    }

    fn good(second: u64) -> Sample {
        call(second, Outcome::Success)
    }

    fn bad(second: u64) -> Sample {
        let failure = Failure {
            kind: FailureKind::Check,
            cause: String::new(),
            example: String::new(),
        };
        call(second, Outcome::Failed(Box::new(failure)))
    }

    #[test]
    fn quiet_seconds_are_kept() {
        let mut timeline = Timeline::default();
        timeline.add(&good(0));
        timeline.add(&bad(3));
        timeline.add(&call(3, Outcome::Unfinished));
        let calls: Vec<_> = timeline
            .entries()
            .iter()
            .map(|entry| (entry.calls, entry.errors))
            .collect();
        assert_eq!(calls, [(1, 0), (0, 0), (0, 0), (2, 1)]);
    }

    #[test]
    fn long_runs_widen_the_entries_and_lose_nothing() {
        let mut timeline = Timeline::default();
        for second in 0..20_000 {
            timeline.add(&good(second));
        }
        assert_eq!(timeline.width(), 4);
        assert_eq!(timeline.entries().len(), 5_000);
        assert!(timeline.entries().iter().all(|entry| entry.calls == 4));
    }

    #[test]
    fn timelines_of_different_widths_merge() {
        let mut long = Timeline::default();
        long.add(&good(10_000));
        let mut short = Timeline::default();
        short.add(&bad(3));
        let mut merged = short.clone();
        merged.merge(&long);
        long.merge(&short);
        assert_eq!(long, merged);
        assert_eq!(long.width(), 2);
        assert_eq!(long.entries()[1].errors, 1);
    }
}
