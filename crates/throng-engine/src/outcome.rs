//! What a run says of itself while it is on (ticks) and when it has ended (the outcome).

use std::time::Duration;

use throng_metrics::{GeneratorHealth, Tally, UserId, Violations};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Users are starting.
    Starting,
    /// Load is run, but not measured.
    Warmup,
    /// Load is run and measured.
    Measured,
    /// Nothing new starts; iterations in flight may end.
    Draining,
    /// Iterations in flight are asked to give up.
    Aborting,
    /// Users are being stopped.
    Stopping,
}

/// A look at a run, about four times a second.
#[derive(Debug)]
pub struct Tick<'a> {
    /// Where the run is.
    pub stage: Stage,
    /// Time since the start of the load; zero while users are starting.
    pub elapsed: Duration,
    /// Users that have started.
    pub users: u32,
    /// Iterations running now.
    pub busy: u32,
    /// Starts of an open model that wait for a free user.
    pub waiting: usize,
    /// What was measured since the last complete window, for live views.
    pub window: &'a Tally,
    /// Whether this window is complete: it is a second long (the last one may be shorter) and the next tick begins a
    /// new one. Complete windows are disjoint and add up to the whole run.
    pub complete: bool,
    /// What was measured before this window.
    pub total: &'a Tally,
}

impl Tick<'_> {
    /// Steps measured so far.
    pub fn calls(&self) -> u64 {
        self.total.calls() + self.window.calls()
    }

    /// Of these, those that failed.
    pub fn failed_calls(&self) -> u64 {
        self.total.failed_calls() + self.window.failed_calls()
    }

    /// Iterations measured so far.
    pub fn iterations(&self) -> u64 {
        self.total.iterations() + self.window.iterations()
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct RunOutcome {
    /// All that was measured. Offsets count from the start of the measured window.
    pub tally: Tally,
    /// What the generator itself did and cost in the measured window.
    pub generator: GeneratorHealth,
    /// Users whose start succeeded.
    pub users_started: u32,
    /// Length of the measured window, with the time that the last iterations in flight took to end. Zero if the run
    /// ended before it.
    pub measured: Duration,
    /// How much of the measured window had passed when its time was up or the first signal came: from then on nothing new
    /// was started.
    pub let_out: Duration,
    /// Steps of the warm-up that were let in where they must not be: of its samples these are not thrown away.
    pub let_in_warming_up: Violations,
    /// Steps of the warm-up, whose samples were thrown away.
    pub discarded: u64,
    /// Why it ended.
    pub ended_by: EndedBy,
    /// Users whose start or stop failed.
    pub user_errors: Vec<UserError>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Its time was up.
    Finished,
    /// It was asked to drain.
    Drained,
    /// It was asked to abort.
    Aborted,
    /// No user could be started, or the load could not.
    NotStarted,
}

/// A user's start or stop that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError {
    /// Which user.
    pub user: UserId,
    /// Which of the two.
    pub stage: UserStage,
    /// What happened.
    pub message: String,
}

/// The two calls outside of iterations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStage {
    /// [`crate::Scenario::start`].
    Start,
    /// [`crate::Scenario::stop`].
    Stop,
}
