//! Probes that the end of a run cut off: an answer that takes longer than the run had left may be one that never comes.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::probe::Probe;

/// So many are kept: who was cut off is in flight for each user.
const MOST: usize = 1_024;

/// The probes that were cut off, and since when each was under way.
#[derive(Debug, Default)]
pub(crate) struct CutOff(Mutex<Vec<(Instant, Probe)>>);

impl CutOff {
    /// Keeps a probe unless it is said to have ended.
    pub(super) fn watch<'a>(&'a self, probe: &'a Probe) -> Watched<'a> {
        Watched {
            kept_in: self,
            probe,
            since: Instant::now(),
            ended: false,
        }
    }

    /// Takes those out that were under way the longest, one for all of the same requests, at most `most`.
    pub(crate) fn take(&self, most: usize) -> Vec<Probe> {
        let mut all = std::mem::take(&mut *self.lock());
        all.sort_by_key(|(since, _)| *since);
        let mut seen = HashSet::new();
        let asks = |probe: &Probe| -> Vec<Option<String>> {
            let steps = probe.steps.iter();
            steps.map(|step| step.request.operation.clone()).collect()
        };
        let probes = all.into_iter().map(|(_, probe)| probe);
        probes
            .filter(|probe| seen.insert(asks(probe)))
            .take(most)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Probe)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe under way.
pub(super) struct Watched<'a> {
    kept_in: &'a CutOff,
    probe: &'a Probe,
    since: Instant,
    ended: bool,
}

impl Watched<'_> {
    /// It came to its end.
    pub(super) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut kept = self.kept_in.lock();
        if kept.len() < MOST {
            kept.push((self.since, self.probe.clone()));
        }
    }
}
