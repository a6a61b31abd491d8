//! The whole result of a run as one JSON document, and as text for a terminal.
//!
//! The document is a superset of what the Python framework for the Nextcloud MCP server exported: `summary`,
//! `workflows`, `users` and `baseline` have its keys and units (seconds; rates of success in percent). All latencies
//! are of successes, measured from the intended start (response time), unless their key says otherwise.

pub(crate) mod build;
pub mod console;
mod findings;
pub mod json;
mod tables;
mod text;

pub use findings::{FindingReport, MonkeyReport};
pub use text::clean;

use serde::{Deserialize, Serialize};

use crate::{
    Catalog, GeneratorHealth, Holding, Latency, PhaseTally, Table, Tally, Verdict, Verdicts,
};

/// The version of the document. It goes up when a key changes its meaning or goes away, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that was measured: what reports and thresholds are made from.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// The names.
    pub catalog: &'a Catalog,
    /// The measured window.
    pub tally: &'a Tally,
    /// The set-up.
    pub phases: &'a [PhaseTally],
    /// The generator; its `wall` is the length of the measured window.
    pub generator: &'a GeneratorHealth,
}

/// The whole result of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Which run this was.
    pub run: RunInfo,
    /// What it is worth.
    pub verdict: VerdictReport,
    /// Its size.
    pub summary: Summary,
    /// By workflow. Workflows of the baseline role are under `baseline` instead.
    pub workflows: Table<WorkflowReport>,
    /// By user.
    pub users: Table<UserReport>,
    /// The steps of workflows of the baseline role.
    pub baseline: OperationsReport,
    /// The set-up, by phase.
    pub setup: Table<PhaseReport>,
    /// By `workflow/step`.
    pub steps: Table<StepReport>,
    /// By tool or route template.
    pub endpoints: Table<EndpointReport>,
    /// Waits for something to become visible, by `workflow/step`.
    pub propagation: Table<PropagationReport>,
    /// Event streams, by `workflow/step`; only where there are some.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub streams: Table<StreamReport>,
    /// Counters of the scenario.
    pub counters: Table<u64>,
    /// How long steps waited for new tokens; only where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_wait: Option<TokenWaitReport>,
    /// Failures by kind and cause, most frequent first.
    pub errors: Vec<ErrorReport>,
    /// By the second.
    pub timeline: Vec<TimelineReport>,
    /// The load generator's own health.
    pub generator: GeneratorReport,
    /// The thresholds' results.
    pub thresholds: Vec<ThresholdReport>,
    /// What became of what the run created; `null` if it created nothing.
    pub cleanup: Option<Cleanup>,
    /// The target's own account of the run, where it keeps one (the embedded sandbox does).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground_truth: Option<GroundTruth>,
    /// What monkeys did and found; only where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monkey: Option<MonkeyReport>,
}

/// The measured calls against the target's own journal, per step and user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroundTruth {
    /// Whether every count is the same.
    pub agrees: bool,
    /// Calls that were measured.
    pub calls_measured: u64,
    /// Calls that the journal has.
    pub calls_in_journal: u64,
    /// How many pairs of step and user differ.
    pub differing: u64,
    /// The first of them, in words.
    pub differences: Vec<String>,
}

impl RunInfo {
    /// Who worked, in words: `workload mixed`, `monkeys`, `workload user, and monkeys`.
    pub fn who(&self) -> String {
        match self.mode.as_str() {
            "monkey" => "monkeys".to_owned(),
            "both" => format!("workload {}, and monkeys", self.workload),
            _ => format!("workload {}", self.workload),
        }
    }
}

/// Which run a report is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Unique.
    pub id: String,
    /// The scenario's name.
    pub scenario: String,
    /// Who worked: `user`, `monkey`, `both`.
    #[serde(default)]
    pub mode: String,
    /// The workload's name.
    pub workload: String,
    /// The load model in words: `constant-vus`, `constant-arrival-rate 200/s`.
    pub executor: String,
    /// How users logged in: `oauth`, `request`, `none`.
    pub login: String,
    /// The seed of random choices.
    pub seed: u64,
    /// The target's URL, without credentials.
    pub target: String,
    /// When the run started (RFC 3339, UTC).
    pub started_at: String,
    /// Length of the warm-up in seconds.
    pub warmup: f64,
    /// Versions of what took part: `throng`, the target's server, the protocol.
    pub versions: Table<String>,
}

/// The verdict in the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictReport {
    /// The exit code.
    pub code: u8,
    /// The first that holds.
    pub name: Verdict,
    /// All that hold, in order, with reasons. Empty for a pass.
    pub all: Vec<Holding>,
}

impl VerdictReport {
    /// What the verdicts come to.
    pub fn of(verdicts: &Verdicts) -> Self {
        Self {
            code: verdicts.exit_code(),
            name: verdicts.first(),
            all: verdicts.holding().to_vec(),
        }
    }

    /// Adds one that was found to hold after the others, in its order. The first in order is the code still.
    pub fn add(&mut self, verdict: Verdict, reason: impl Into<String>) {
        let mut verdicts = Verdicts::from(std::mem::take(&mut self.all));
        verdicts.add(verdict, reason);
        *self = Self::of(&verdicts);
    }
}

/// A run's size. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Length of the measured window, with the time that the last iterations took to end.
    pub duration: f64,
    /// Executions of workflows, without those of the baseline role.
    pub total_workflows: u64,
    /// Steps of workflows of the baseline role.
    pub total_baseline_ops: u64,
    /// Users.
    pub total_users: u64,
    /// Steps of all workflows.
    pub total_operations: u64,
    /// Those that failed.
    pub failed_operations: u64,
    /// Those that were refused as expected. No failures.
    #[serde(default)]
    pub refused_operations: u64,
    /// Those that were cut off by a signal or by the run's own end.
    pub unfinished_operations: u64,
    /// Percent of the steps that were not cut off that did what they should.
    pub success_rate: f64,
    /// Steps a second.
    pub operations_per_second: f64,
    /// Bytes.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes.
    #[serde(default)]
    pub received_bytes: u64,
    /// Failed steps and executions by the kind of trouble; only kinds that there were.
    #[serde(default)]
    pub failures_by_kind: Table<u64>,
}

/// One workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowReport {
    /// Executions.
    pub total_executions: u64,
    /// Those that succeeded.
    pub successful_executions: u64,
    /// Those that failed.
    pub failed_executions: u64,
    /// Those that were cut off by a signal or by the run's own end. Neither of the others.
    pub interrupted_executions: u64,
    /// Percent of the executions that were not cut off that succeeded.
    pub success_rate: f64,
    /// Of successes, from the intended start.
    pub latency: Latency,
    /// Of successes, from the actual start. Equal to `latency` in a closed model.
    pub service_latency: Latency,
    /// Of failures.
    pub failed_latency: Latency,
    /// By step.
    pub step_latencies: Table<Latency>,
}

/// Operations of one user, or of the baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationsReport {
    /// Steps.
    pub total_operations: u64,
    /// Those that did what they should, expected refusals included.
    pub successful_operations: u64,
    /// Those that failed.
    pub failed_operations: u64,
    /// Those that were cut off by a signal or by the run's own end. Neither of the others.
    pub unfinished_operations: u64,
    /// Percent of the steps that were not cut off that did what they should.
    pub success_rate: f64,
    /// Of successes.
    pub latency: Latency,
    /// Steps by name.
    pub operations_breakdown: Table<u64>,
    /// Failed steps by name; only those that failed.
    pub errors_breakdown: Table<u64>,
    /// Counters that went up on this user's behalf; none for the baseline.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub counters: Table<u64>,
}

/// One user: the same as the baseline.
pub type UserReport = OperationsReport;

/// One phase of the set-up. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Users that went through it, failures included.
    pub count: u64,
    /// Those that failed.
    pub failures: u64,
    /// How long the whole phase took.
    pub wall_seconds: f64,
    /// Of each success.
    pub latency: Latency,
    /// How long successes waited for a place in the browser before, which `latency` does not contain; only where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait: Option<LagReport>,
    /// The first failures' messages.
    pub first_errors: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The tool or route template.
    pub endpoint: String,
    /// All calls.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were refused as expected. No errors.
    pub refused: u64,
    /// Of the errors, the access violations: calls that must be refused and were not.
    pub not_refused: u64,
    /// Those that were cut off by a signal or by the run's own end. No errors.
    pub unfinished: u64,
    /// Of successes, from the intended start.
    pub response: Latency,
    /// Of successes, from the actual start.
    pub service: Latency,
    /// Of failures.
    pub failures: Latency,
    /// Bytes.
    pub sent_bytes: u64,
    /// Bytes.
    pub received_bytes: u64,
    /// How often each HTTP status was answered; only where there are some.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub statuses: Table<u64>,
    /// Calls a second.
    pub calls_per_second: f64,
}

/// One tool or route template, whichever steps call it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// All calls.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were refused as expected.
    pub refused: u64,
    /// Of the errors, the access violations.
    pub not_refused: u64,
    /// Those that were cut off by a signal or by the run's own end. No errors.
    pub unfinished: u64,
    /// Of successes, from the intended start.
    pub response: Latency,
    /// Of successes, from the actual start.
    pub service: Latency,
    /// Of failures.
    #[serde(default)]
    pub failures: Latency,
    /// Bytes.
    pub sent_bytes: u64,
    /// Bytes.
    pub received_bytes: u64,
    /// How often each HTTP status was answered; only where there are some.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub statuses: Table<u64>,
    /// Calls a second.
    pub calls_per_second: f64,
}

/// Waits of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropagationReport {
    /// Waits.
    pub waits: u64,
    /// Those that were given up.
    pub not_met: u64,
    /// How often the conditions were looked at.
    pub attempts: u64,
    /// Until the condition was seen to be met.
    pub latency: Latency,
    /// The polling interval in seconds: it was met up to so much earlier.
    pub polling_error: f64,
}

/// Waits of steps for new tokens: no latency of the target's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenWaitReport {
    /// Waits.
    pub waits: u64,
    /// How long they took.
    pub latency: Latency,
}

/// The event streams of one step. How long they lasted is in no latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Streams listened to.
    pub streams: u64,
    /// Those that ended with what they were for: the event waited for, or the number of events.
    pub met: u64,
    /// Those that were listened to until the time was over.
    pub window_over: u64,
    /// Those that the server ended.
    pub closed_by_server: u64,
    /// Those whose connection failed.
    pub broken: u64,
    /// How often a stream was taken up again after it broke off.
    pub reconnects: u64,
    /// Events received.
    pub events: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// From the request to the first event.
    pub first_event: Latency,
    /// From one event to the next.
    pub gap: Latency,
}

/// Failures of one kind and cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The kind of trouble.
    pub kind: crate::FailureKind,
    /// What they have in common.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// One of them.
    pub example: String,
    /// How often in which `workflow/step`.
    pub r#where: Table<u64>,
}

/// One entry of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimelineReport {
    /// Its start, in seconds since the start of the measured window.
    pub second: u64,
    /// Its width in seconds: 1, or more in a run of hours.
    pub width: u32,
    /// Steps that ended in it.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Median response time of those that did what they should, in seconds; `null` if there are none.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// The generator's own health. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorReport {
    /// How far starts lagged behind their schedule by the generator's own fault (open model).
    pub lag: LagReport,
    /// How long starts waited for a free user (open model): too few users, or a slow target.
    pub user_wait: LagReport,
    /// How many requests might be in flight at once; `null` where nothing limited that.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// How long requests waited until one more might be in flight.
    #[serde(default)]
    pub permit_wait: LagReport,
    /// Starts of the open model.
    pub starts: u64,
    /// Those for which no user was free when they were due.
    pub late_starts: u64,
    /// Those that never happened.
    pub dropped_starts: u64,
    /// Processor time in the measured window.
    pub cpu_seconds: f64,
    /// The same as a share of one core.
    pub cpu_share: f64,
    /// Processors that the generator may use.
    pub cores: u32,
    /// The most memory that was resident, in bytes; `null` where that is not known.
    pub peak_rss_bytes: Option<u64>,
    /// Steps of the warm-up, whose samples were thrown away.
    pub discarded_samples: u64,
    /// Why the figures cannot be believed; empty if they can.
    pub unhealthy: Vec<String>,
}

/// A lag in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LagReport {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// A threshold's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdReport {
    /// As it was written.
    pub expression: String,
    /// What was found, in seconds, percent, a second, or pieces; `null` if there were no samples.
    pub actual: Option<f64>,
    /// The same with its unit.
    pub actual_text: String,
    /// Whether it held.
    pub passed: bool,
    /// Why it could not be decided (`no samples`).
    pub reason: Option<String>,
}

impl ThresholdReport {
    /// The result in words.
    pub fn words(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.expression),
            None => format!("{}: {}", self.expression, self.actual_text),
        }
    }
}

/// What became of what the run created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// How many things it created: users and client registrations together, as in the next two.
    pub created: u64,
    /// How many of them were deleted.
    pub deleted: u64,
    /// How many are still there against its will.
    pub left: u64,
    /// The users among them.
    pub users: CleanupCount,
    /// The registrations of OAuth clients among them.
    pub clients: CleanupCount,
    /// The names of those that are left.
    pub names: Vec<String>,
    /// The names of users that the run created and that nothing can delete: they stay, and it is nobody's fault.
    pub staying: Vec<String>,
    /// Whether it was told to keep them (`--no-cleanup`).
    pub kept: bool,
    /// Whether they were not deleted because they ended with the sandbox that the run had started.
    pub ended_with_sandbox: bool,
}

/// What became of the things of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupCount {
    /// How many the run created.
    pub created: u64,
    /// How many of them were deleted.
    pub deleted: u64,
    /// How many are still there against its will.
    pub left: u64,
}

impl Cleanup {
    /// Adds users and registrations up.
    pub fn new(users: CleanupCount, clients: CleanupCount) -> Self {
        Self {
            created: users.created + clients.created,
            deleted: users.deleted + clients.deleted,
            left: users.left + clients.left,
            users,
            clients,
            ..Self::default()
        }
    }
}
