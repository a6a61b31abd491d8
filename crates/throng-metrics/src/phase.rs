//! The set-up of a run, measured: provisioning, logging in and opening sessions are phases of their own.

use std::time::Duration;

use crate::Latencies;

/// Names of the phases that every run may have; thresholds may name them (`login.p95<2s`).
pub const PHASES: [&str; 3] = ["provision", "login", "session"];

/// So many messages of failures are kept for each phase.
const FIRST_ERRORS: usize = 5;

/// One phase of the set-up.
#[derive(Debug, Clone, Default)]
pub struct PhaseTally {
    name: String,
    failures: u64,
    wall: Duration,
    latencies: Latencies,
    queue_waits: Latencies,
    first_errors: Vec<String>,
}

impl PhaseTally {
    /// An empty phase. Use one of [`PHASES`] where it fits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// One user's part succeeded in that time.
    pub fn succeeded(&mut self, took: Duration) {
        self.latencies.record(took);
    }

    /// A user waited so long until his part could begin, which is no part of what it took.
    pub fn queued(&mut self, waited: Duration) {
        self.queue_waits.record(waited);
    }

    /// One user's part failed. `error` must hold no secrets.
    pub fn failed(&mut self, error: impl Into<String>) {
        self.failures += 1;
        if self.first_errors.len() < FIRST_ERRORS {
            self.first_errors.push(error.into());
        }
    }

    /// How long the whole phase took, all users together.
    pub fn set_wall(&mut self, wall: Duration) {
        self.wall = wall;
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Failures.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// How long the whole phase took.
    pub fn wall(&self) -> Duration {
        self.wall
    }

    /// How long each success took.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// How long users waited until their part could begin, where that was looked at.
    pub(crate) fn queue_waits(&self) -> &Latencies {
        &self.queue_waits
    }

    /// The first failures' messages.
    pub fn first_errors(&self) -> &[String] {
        &self.first_errors
    }
}
