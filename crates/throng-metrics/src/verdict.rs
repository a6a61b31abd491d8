//! What a run is worth: verdicts in their order, their exit codes, and the rules by which they hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Cleanup, Distribution, ErrorGroup, FailureKind, GeneratorHealth, GroundTruth, Measured, Tally,
    Threshold, ThresholdReport,
};

/// What a run is worth, most important first (after [`Verdict::Pass`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing below holds.
    Pass,
    /// The command line or the configuration was wrong; nothing was done.
    Usage,
    /// The target or the provisioning of users failed.
    TargetFailed,
    /// The scenario calls tools that the target doesn't have, or not as it has them. Nothing was measured.
    Drift,
    /// Somebody stopped it. Before the thresholds: what was cut short says nothing of how it would have gone on.
    Interrupted,
    /// A threshold did not hold.
    ThresholdsFailed,
    /// Worse than the run it was compared with.
    Regression,
    /// Fuzzing found something.
    Findings,
    /// Nothing was measured. Never a pass.
    NoData,
    /// The generator could not do what was asked: the figures cannot be believed.
    GeneratorUnhealthy,
    /// Something that the run created is still on the target.
    CleanupIncomplete,
    /// The report could not be written where it was wanted.
    ReportNotWritten,
}

impl Verdict {
    /// All verdicts in order.
    pub const ALL: [Verdict; 12] = [
        Verdict::Pass,
        Verdict::Usage,
        Verdict::TargetFailed,
        Verdict::Drift,
        Verdict::Interrupted,
        Verdict::ThresholdsFailed,
        Verdict::Regression,
        Verdict::Findings,
        Verdict::NoData,
        Verdict::GeneratorUnhealthy,
        Verdict::CleanupIncomplete,
        Verdict::ReportNotWritten,
    ];

    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Usage => 2,
            Verdict::TargetFailed => 3,
            Verdict::Drift => 93,
            Verdict::ThresholdsFailed => 99,
            Verdict::Regression => 98,
            Verdict::Findings => 97,
            Verdict::NoData => 96,
            Verdict::GeneratorUnhealthy => 95,
            Verdict::CleanupIncomplete => 94,
            Verdict::ReportNotWritten => 92,
            Verdict::Interrupted => 105,
        }
    }

    /// The name in the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Usage => "usage",
            Verdict::TargetFailed => "target_failed",
            Verdict::Drift => "drift",
            Verdict::ThresholdsFailed => "thresholds_failed",
            Verdict::Regression => "regression",
            Verdict::Findings => "findings",
            Verdict::NoData => "no_data",
            Verdict::GeneratorUnhealthy => "generator_unhealthy",
            Verdict::CleanupIncomplete => "cleanup_incomplete",
            Verdict::ReportNotWritten => "report_not_written",
            Verdict::Interrupted => "interrupted",
        }
    }

    /// The words on the console.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Usage => "usage or configuration error",
            Verdict::TargetFailed => "target or provisioning failed",
            Verdict::Drift => "the scenario does not fit the target",
            Verdict::ThresholdsFailed => "thresholds failed",
            Verdict::Regression => "regression",
            Verdict::Findings => "fuzz findings",
            Verdict::NoData => "no data",
            Verdict::GeneratorUnhealthy => "generator unhealthy",
            Verdict::CleanupIncomplete => "cleanup incomplete",
            Verdict::ReportNotWritten => "report not written",
            Verdict::Interrupted => "interrupted",
        }
    }
}

/// The verdicts that hold, in order, each with its reasons. Empty: a pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    holding: Vec<Holding>,
}

/// A verdict that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Which.
    pub name: Verdict,
    /// Its exit code.
    pub code: u8,
    /// Why it holds.
    pub reasons: Vec<String>,
}

impl Verdicts {
    /// Adds a verdict or, if it holds already, a reason for it. [`Verdict::Pass`] cannot be added: it is what is
    /// left when nothing is.
    pub fn add(&mut self, verdict: Verdict, reason: impl Into<String>) {
        if verdict == Verdict::Pass {
            return;
        }
        match self
            .holding
            .binary_search_by_key(&verdict, |holding| holding.name)
        {
            Ok(at) => self.holding[at].reasons.push(reason.into()),
            Err(at) => self.holding.insert(
                at,
                Holding {
                    name: verdict,
                    code: verdict.exit_code(),
                    reasons: vec![reason.into()],
                },
            ),
        }
    }

    /// The first that holds: the run's verdict.
    pub fn first(&self) -> Verdict {
        self.holding
            .first()
            .map_or(Verdict::Pass, |holding| holding.name)
    }

    /// Its exit code.
    pub fn exit_code(&self) -> u8 {
        self.first().exit_code()
    }

    /// All that hold, in order.
    pub fn holding(&self) -> &[Holding] {
        &self.holding
    }
}

/// Of what a report holds.
impl From<Vec<Holding>> for Verdicts {
    fn from(mut holding: Vec<Holding>) -> Self {
        holding.sort_by_key(|holding| holding.name);
        Self { holding }
    }
}

/// From where on a generator is unhealthy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The 99th percentile of the generator's own lag in an open model.
    pub lag_p99: Duration,
    /// The share of all processors that the generator's process may use.
    pub cpu_share: f64,
    /// The share of the due starts of an open model that may be dropped.
    pub dropped_share: f64,
}

impl Default for Limits {
    /// A lag of 10 ms at p99, 90 % of all processors, 1 % of the starts.
    fn default() -> Self {
        Self {
            lag_p99: Duration::from_millis(10),
            cpu_share: 0.9,
            dropped_share: 0.01,
        }
    }
}

/// Why a generator's figures cannot be believed; empty if they can.
pub(crate) fn unhealthy_reasons(generator: &GeneratorHealth, limits: &Limits) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(lag) = generator.starts.lag.quantile(0.99)
        && lag > limits.lag_p99
    {
        reasons.push(format!(
            "starts lagged behind their schedule by {lag:.1?} at p99 (limit {:?}): give the generator more CPU or ask for less",
            limits.lag_p99
        ));
    }
    let dropped = generator.starts.dropped();
    let due = generator.starts.taken + dropped;
    if dropped as f64 > limits.dropped_share * due as f64 {
        reasons.push(format!(
            "{dropped} of {due} due starts were dropped, for want of a free user: the rate asked for was not reached (ask for more users or a lower rate)"
        ));
    }
    let cores = f64::from(generator.cores.max(1));
    // In less than a second the share is mostly the start itself.
    if generator.wall >= Duration::from_secs(1) && generator.cpu_share() > limits.cpu_share * cores
    {
        reasons.push(format!(
            "the generator used {:.2} of {} cores (limit {:.0} %): its own load is in the latencies",
            generator.cpu_share(),
            generator.cores,
            limits.cpu_share * 100.0
        ));
    }
    reasons
}

/// All that a verdict rests on.
#[derive(Debug, Clone, Default)]
pub struct Evidence<'a> {
    /// Why the run could not be set up: provisioning, login, sessions, users that did not start. Empty if it could.
    pub setup_failures: &'a [String],
    /// Every place where the scenario does not fit the target. Empty if it fits.
    pub drift: &'a [String],
    /// What was measured; `None` if no load was put on the target.
    pub measured: Option<&'a Measured<'a>>,
    /// Access violations of the warm-up, which are in no tally.
    pub let_in_warming_up: Option<&'a Violations>,
    /// The target's own account of what was measured, where it keeps one.
    pub ground_truth: Option<&'a GroundTruth>,
    /// The thresholds' results.
    pub thresholds: &'a [ThresholdReport],
    /// What is worse than in the run it was compared with.
    pub regressions: &'a [String],
    /// All that was measured, where `measured` is only a part of it: what the target's own account is of.
    pub counted: Option<&'a Tally>,
    /// What fuzzing found.
    pub findings: &'a [String],
    /// What became of what the run created; `None` if it created nothing or was told to keep it.
    pub cleanup: Option<&'a Cleanup>,
    /// Who or what stopped the run before its time.
    pub interrupted: Option<&'a str>,
    /// From where on the generator is unhealthy.
    pub limits: Limits,
}

/// Says which verdicts hold.
pub fn judge(evidence: &Evidence<'_>) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for reason in evidence.setup_failures {
        verdicts.add(Verdict::TargetFailed, reason);
    }
    for mistake in evidence.drift {
        verdicts.add(Verdict::Drift, mistake);
    }
    judge_thresholds(evidence, &mut verdicts);
    for reason in evidence.regressions {
        verdicts.add(Verdict::Regression, reason);
    }
    for reason in evidence.findings {
        verdicts.add(Verdict::Findings, reason);
    }
    match evidence.measured {
        Some(measured) => judge_measured(measured, evidence, &mut verdicts),
        // Without set-up there is no data either, nor after a signal, but that says nothing new.
        None if evidence.interrupted.is_none()
            && evidence.setup_failures.is_empty()
            && evidence.drift.is_empty() =>
        {
            verdicts.add(Verdict::NoData, "no load was put on the target");
        }
        None => {}
    }
    if let Some(cleanup) = evidence.cleanup
        && cleanup.left > 0
    {
        verdicts.add(
            Verdict::CleanupIncomplete,
            format!(
                "{} of {} created are still on the target",
                cleanup.left, cleanup.created
            ),
        );
    }
    if let Some(reason) = evidence.interrupted {
        verdicts.add(Verdict::Interrupted, reason);
    }
    verdicts
}

/// An access violation fails a run whatever its thresholds are, and is told in full.
fn judge_thresholds(evidence: &Evidence<'_>, verdicts: &mut Verdicts) {
    let violations = evidence
        .measured
        .map(violations)
        .filter(|found| found.count > 0);
    let mut told = false;
    for result in evidence.thresholds.iter().filter(|result| !result.passed) {
        let threshold: Option<Threshold> = result.expression.parse().ok();
        let violations = violations
            .as_ref()
            .filter(|_| threshold.is_some_and(|it| it.is_on_access()));
        told |= violations.is_some();
        let detail = violations.map_or(String::new(), |found| {
            format!(", access violation: {}", found.example)
        });
        verdicts.add(
            Verdict::ThresholdsFailed,
            format!("{}{detail}", result.words()),
        );
    }
    if let Some(found) = violations.filter(|_| !told) {
        verdicts.add(
            Verdict::ThresholdsFailed,
            format!(
                "not_refused: {}, access violation: {}",
                found.count, found.example
            ),
        );
    }
    if let Some(found) = evidence.let_in_warming_up.filter(|found| found.count > 0) {
        verdicts.add(
            Verdict::ThresholdsFailed,
            format!(
                "not_refused: {} in the warm-up, access violation: {}",
                found.count, found.example
            ),
        );
    }
}

/// Access violations: calls that had to be refused and were not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    /// How many.
    pub count: u64,
    /// One of them, in words; where there are several causes, one of the most frequent.
    pub example: String,
}

fn violations(measured: &Measured<'_>) -> Violations {
    let groups: Vec<&ErrorGroup> = measured
        .tally
        .errors()
        .iter()
        .filter(|(kind, _, _)| *kind == FailureKind::NotRefused)
        .map(|(_, _, group)| group)
        .collect();
    Violations {
        count: groups.iter().map(|group| group.count).sum(),
        example: groups
            .iter()
            .max_by_key(|group| group.count)
            .map_or(String::new(), |group| group.example.clone()),
    }
}

/// At least so many calls without an answer ...
const SILENT_CALLS: u64 = 5;
/// ... over at least so long make a target that stopped answering.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// However few they were: no call answered for so long, though one waited, makes one too. They may all have been given up at
/// once, with the end of the run.
const WAITED_FOR: Duration = Duration::from_secs(5);

fn judge_measured(measured: &Measured<'_>, evidence: &Evidence<'_>, verdicts: &mut Verdicts) {
    let tally = measured.tally;
    let succeeded: u64 = tally.workflows().iter().map(|w| w.succeeded).sum();
    let failed: u64 = tally.workflows().iter().map(|w| w.failed).sum();
    if tally.calls() == 0 && tally.iterations() == 0 {
        if evidence.interrupted.is_none() && evidence.setup_failures.is_empty() {
            verdicts.add(
                Verdict::NoData,
                "nothing was measured: no step ended in the measured window",
            );
        }
    } else if succeeded == 0 && (failed > 0 || evidence.interrupted.is_none()) {
        // Whoever stops a run before its first execution has ended learns nothing about the target, and one that lets in
        // whom it should not is no target that failed; nor is one that is asked for what it does not have.
        if !mostly_violations(measured) && evidence.drift.is_empty() {
            verdicts.add(Verdict::TargetFailed, nothing_succeeded(measured));
        }
    }
    if let Some(tail) = evidence.counted.unwrap_or(tally).silence().tail() {
        let lasted = |since: Duration| tail.until.saturating_sub(since);
        let refused = tail.count >= SILENT_CALLS && lasted(tail.since) >= SILENT_FOR;
        let hangs = lasted(tail.waiting_since) >= WAITED_FOR;
        if refused || hangs {
            let since = if refused {
                tail.since
            } else {
                tail.waiting_since
            };
            verdicts.add(
                Verdict::TargetFailed,
                format!(
                    "stopped answering at {:.1} s: {}",
                    since.as_secs_f64(),
                    tail.cause
                ),
            );
        }
    }
    for reason in unhealthy_reasons(measured.generator, &evidence.limits) {
        verdicts.add(Verdict::GeneratorUnhealthy, reason);
    }
    if let Some(reason) = evidence
        .ground_truth
        .and_then(|truth| miscounted(truth, evidence.counted.unwrap_or(tally)))
    {
        verdicts.add(Verdict::GeneratorUnhealthy, reason);
    }
}

/// What is wrong with the counts, held against the target's own ones.
///
/// Of a call without an answer nobody can say whether it reached the target, so that each may make one count differ; a stream
/// that was taken up again is one call and several requests.
fn miscounted(truth: &GroundTruth, tally: &Tally) -> Option<String> {
    let unanswered: u64 = tally
        .errors()
        .iter()
        .filter(|(kind, _, _)| kind.is_unanswered())
        .map(|(_, _, group)| group.count)
        .sum();
    let all = tally.all_steps();
    let reconnects = all.streams.map_or(0, |streams| streams.reconnects);
    if truth.agrees || truth.differing <= unanswered + all.unfinished + reconnects {
        return None;
    }
    let first = truth.differences.first().map_or("", String::as_str);
    Some(format!(
        "{} calls were measured, but the target's journal has {}; {} counts differ, the first: {first}",
        truth.calls_measured, truth.calls_in_journal, truth.differing
    ))
}

/// The most frequent cause of failures.
fn most_frequent<'a>(measured: &Measured<'a>) -> Option<(FailureKind, &'a str, &'a ErrorGroup)> {
    let errors = measured.tally.errors().iter();
    errors.max_by_key(|(_, _, group)| group.count)
}

fn mostly_violations(measured: &Measured<'_>) -> bool {
    most_frequent(measured).is_some_and(|(kind, _, _)| kind == FailureKind::NotRefused)
}

fn nothing_succeeded(measured: &Measured<'_>) -> String {
    let executions: u64 = measured
        .tally
        .workflows()
        .iter()
        .map(|workflow| workflow.succeeded + workflow.failed)
        .sum();
    let cause = most_frequent(measured).map_or(String::new(), |(kind, cause, group)| {
        format!(
            "; most often ({} times): {}: {cause}",
            group.count,
            kind.name()
        )
    });
    if executions == 0 {
        format!("no execution of a workflow ended{cause}")
    } else {
        format!("not one of {executions} executions succeeded{cause}")
    }
}
