//! What a run produces while it runs: events, each a plain value made by whoever did the work.
//!
//! Every offset is the time since the start of the measured window (the engine subtracts the warm-up before it
//! records). This module does not aggregate; see [`crate::Tally`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Index of a step in [`crate::Catalog::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u32);

/// Index of a workflow in [`crate::Catalog::workflows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowId(pub u32);

/// Index of a user in [`crate::Catalog::users`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserId(pub u32);

/// Index of a counter in [`crate::Catalog::counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CounterId(pub u32);

/// One thing that happened in the measured window.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// One measured step: a single operation by one user.
    Step(Sample),
    /// One execution of a workflow. The engine records it; scenarios do not.
    Iteration(IterationSample),
    /// Time spent waiting for something to become visible, or at a barrier. Never server latency.
    Wait(WaitSample),
    /// A named counter went up (`lost_updates`, `conflicts`, `token_refreshes`, ...).
    Count(CountSample),
    /// A step waited for a new token, before or between its attempts. In no latency of the target's.
    TokenWait(TokenWaitSample),
    /// An event stream was listened to.
    Stream(Box<crate::StreamSample>),
    /// A start of the open model was taken up by a user. The engine records it.
    Start(StartSample),
    /// A start of the open model was given up. The engine records it.
    Dropped(DroppedStart),
}

/// One measured step.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which step.
    pub step: StepId,
    /// Who did it (the actor, not necessarily the virtual user that runs the workflow).
    pub user: UserId,
    /// When it should have started. Equal to `started` in a closed model.
    pub intended: Duration,
    /// When it started.
    pub started: Duration,
    /// When its answer was complete, or when it was given up.
    pub ended: Duration,
    /// Bytes sent on the wire, as far as the client counts them.
    pub sent: u32,
    /// Bytes received.
    pub received: u32,
    /// The HTTP status, where the step is an HTTP request that was answered.
    pub status: Option<u16>,
    /// It failed before anything was sent, so that the target knows nothing of it.
    pub unsent: bool,
    /// How it went.
    pub outcome: Outcome,
}

impl Sample {
    /// `started` to `ended`: what the server (and the network) took.
    pub fn service(&self) -> Duration {
        self.ended.saturating_sub(self.started)
    }

    /// `intended` to `ended`: what a user who wanted it at `intended` would have waited.
    pub fn response(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }
}

/// How a step went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// As expected.
    Success,
    /// A refusal that the action declared as expected (a 404 that was provoked). No error.
    Refused,
    /// An error.
    Failed(Box<Failure>),
    /// Cut off by a signal that stopped the run, or by the run's own end before it had its time. Neither success nor error, but counted.
    Unfinished,
}

/// Why a step or an iteration failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of trouble.
    pub kind: FailureKind,
    /// The normalised cause: what groups failures in the report. No identifiers, no numbers that vary.
    pub cause: String,
    /// One concrete message. Must hold no secrets.
    pub example: String,
}

/// The kinds of failure, in the order of how far the operation came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No connection, or it broke.
    Transport,
    /// No answer in the time allowed.
    Timeout,
    /// An unexpected HTTP status.
    Http,
    /// A JSON-RPC error.
    Rpc,
    /// The tool answered `isError`.
    Tool,
    /// The answer did not pass a check.
    Check,
    /// A call that must be refused was not: an access violation.
    NotRefused,
    /// No valid token, or the target refused it.
    Auth,
    /// A value to save was not in the answer.
    Capture,
    /// The scenario no longer fits the target: the suite's fault, not the server's.
    Drift,
    /// The scenario itself went wrong (an error or a panic outside any step).
    Scenario,
}

impl FailureKind {
    /// All kinds, in order.
    pub const ALL: [FailureKind; 11] = [
        FailureKind::Transport,
        FailureKind::Timeout,
        FailureKind::Http,
        FailureKind::Rpc,
        FailureKind::Tool,
        FailureKind::Check,
        FailureKind::NotRefused,
        FailureKind::Auth,
        FailureKind::Capture,
        FailureKind::Drift,
        FailureKind::Scenario,
    ];

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Transport => "transport",
            FailureKind::Timeout => "timeout",
            FailureKind::Http => "http",
            FailureKind::Rpc => "rpc",
            FailureKind::Tool => "tool",
            FailureKind::Check => "check",
            FailureKind::NotRefused => "not_refused",
            FailureKind::Auth => "auth",
            FailureKind::Capture => "capture",
            FailureKind::Drift => "drift",
            FailureKind::Scenario => "scenario",
        }
    }

    /// Whether the target gave no answer at all.
    pub fn is_unanswered(self) -> bool {
        matches!(self, FailureKind::Transport | FailureKind::Timeout)
    }
}

/// One execution of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct IterationSample {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// The virtual user that ran it.
    pub user: UserId,
    /// When it should have started.
    pub intended: Duration,
    /// When it started.
    pub started: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How it went.
    pub outcome: IterationOutcome,
}

/// How an execution of a workflow went.
#[derive(Debug, Clone, PartialEq)]
pub enum IterationOutcome {
    /// All steps did what they should.
    Success,
    /// A step failed, or the scenario did. The failure is given only where no step recorded one.
    Failed(Option<Box<Failure>>),
    /// Cut off by a signal that stopped the run, or by the run's own end before it had its time. Neither success nor failure, but counted.
    Interrupted,
}

/// One wait for something to become visible (`until`), or for others (a barrier).
#[derive(Debug, Clone, PartialEq)]
pub struct WaitSample {
    /// The step that waited.
    pub step: StepId,
    /// Who waited.
    pub user: UserId,
    /// When the wait began.
    pub started: Duration,
    /// How long it took until the condition was seen, or until it was given up.
    pub waited: Duration,
    /// The polling interval, which bounds the error of `waited`. Zero for a barrier.
    pub resolution: Duration,
    /// How many times the condition was looked at.
    pub attempts: u32,
    /// Whether the condition was met.
    pub met: bool,
}

/// A named counter went up.
#[derive(Debug, Clone, PartialEq)]
pub struct CountSample {
    /// Which counter.
    pub counter: CounterId,
    /// On whose behalf.
    pub user: UserId,
    /// When.
    pub at: Duration,
    /// By how much.
    pub by: u64,
}

/// A step waited until its user had a token that was good.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWaitSample {
    /// Who waited.
    pub user: UserId,
    /// When it was over.
    pub at: Duration,
    /// How long it took.
    pub waited: Duration,
}

/// A start of the open model that a user took up.
#[derive(Debug, Clone, PartialEq)]
pub struct StartSample {
    /// The virtual user.
    pub user: UserId,
    /// When the schedule wanted it.
    pub due: Duration,
    /// When it started.
    pub started: Duration,
    /// The generator's share of the delay: the time in which the start was due and the user was free.
    pub lag: Duration,
    /// The rest of the delay: no user was free (too few users, or a slow target).
    pub waited: Duration,
}

/// A start of the open model that never happened.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedStart {
    /// When the schedule wanted it.
    pub due: Duration,
    /// Why it was given up.
    pub reason: DropReason,
}

/// Why a start was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue of due starts was full: no user was free for too long.
    QueueFull,
    /// It was still queued when the run stopped starting iterations.
    RunEnded,
}
