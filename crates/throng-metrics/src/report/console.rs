//! The report as text: 80 columns, the tables of the first framework and more, the verdict last.
//!
//! It returns a string and prints nothing. Everything that came from outside is cleaned before it is shown.

use std::fmt::Write as _;

use super::text::{cell, fit, wrap};
use crate::{Cleanup, OperationsReport, Report, StepReport, StreamReport, Table, Verdict, clean};

/// Width of rules and tables.
const COLUMNS: usize = 80;
/// More users than this are only in the document.
const MOST_USERS: usize = 50;
/// More groups of errors than this are only in the document.
const MOST_ERRORS: usize = 20;

/// Longer examples are cut; they are whole in the document.
const EXAMPLE_COLUMNS: usize = 400;

/// How to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal, for running text. Tables are always 80 wide.
    pub width: usize,
    /// Whether to colour.
    pub color: bool,
}

impl Default for Style {
    /// Plain text of 80 columns.
    fn default() -> Self {
        Self {
            width: COLUMNS,
            color: false,
        }
    }
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Red,
    Green,
    Yellow,
}

/// The report as text, ending with the verdict.
pub fn render(report: &Report, style: Style) -> String {
    let mut page = Page {
        out: String::new(),
        style: Style {
            width: style.width.max(40),
            ..style
        },
    };
    page.title(report);
    page.workflows(report);
    page.users(report);
    page.baseline(report);
    page.steps(report);
    page.setup(report);
    page.propagation(report);
    page.streams(report);
    page.counters(report);
    page.errors(report);
    page.generator(report);
    page.thresholds(report);
    page.cleanup(report);
    page.ground_truth(report);
    page.verdict(report);
    page.out
}

/// The verdict in one line, as it ends the report.
pub fn verdict_line(report: &Report) -> String {
    let name = report.verdict.name;
    let reason = report
        .verdict
        .all
        .first()
        .and_then(|holding| holding.reasons.first());
    let others = report
        .verdict
        .all
        .iter()
        .map(|holding| holding.reasons.len())
        .sum::<usize>()
        .saturating_sub(1);
    let mut line = format!(
        "VERDICT: {} (exit code {})",
        name.words(),
        report.verdict.code
    );
    if name == Verdict::Drift {
        // They were told whole, with their lines, when they were found.
        let mistakes = report.verdict.all[0].reasons.len();
        let s = if mistakes == 1 { "" } else { "s" };
        let _ = write!(line, ": {mistakes} mistake{s}, see above");
        return line;
    }
    if let Some(reason) = reason {
        let _ = write!(line, ": {}", clean(reason));
    }
    if others > 0 {
        let _ = write!(line, " (+{others} more above)");
    }
    line
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    fn rule(&mut self, of: &str) {
        self.line(of.repeat(COLUMNS));
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.style.color {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Red => 31,
            Ink::Green => 32,
            Ink::Yellow => 33,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.rule("-");
        self.line(self.ink(Ink::Bold, text));
        self.rule("-");
    }

    fn wrapped(&mut self, text: &str, indent: &str) {
        for line in wrap(text, self.style.width, indent) {
            self.line(line);
        }
    }

    fn title(&mut self, report: &Report) {
        let login = clean(&report.run.login).to_uppercase();
        let title = match login.as_str() {
            "" | "NONE" => "MULTI-USER BENCHMARK RESULTS".to_owned(),
            login => fit(&format!("{login} MULTI-USER BENCHMARK RESULTS"), COLUMNS),
        };
        self.line("");
        self.rule("=");
        self.line(self.ink(Ink::Bold, &title));
        self.rule("=");
        self.line("");
        let summary = &report.summary;
        self.line(format!("Duration: {:.2}s", summary.duration));
        self.line(format!("Total Users: {}", summary.total_users));
        self.line(format!(
            "Total Workflows Executed: {}",
            summary.total_workflows
        ));
        self.line(format!(
            "Total Baseline Operations: {}",
            summary.total_baseline_ops
        ));
    }

    fn workflows(&mut self, report: &Report) {
        if report.workflows.is_empty() {
            return;
        }
        self.heading("WORKFLOW STATISTICS");
        self.line(format!(
            "{:<30} {:>8} {:>8} {:>8} {:>10} {:>10}",
            "Workflow", "Total", "Success", "Rate", "P50", "P95"
        ));
        self.rule("-");
        for (name, workflow) in report.workflows.iter() {
            self.line(format!(
                "{} {:>8} {:>8} {:>7.1}% {:>9.4}s {:>9.4}s",
                cell(&clean(name), 30),
                workflow.total_executions,
                workflow.successful_executions,
                workflow.success_rate,
                workflow.latency.median,
                workflow.latency.p95,
            ));
        }
    }

    fn users(&mut self, report: &Report) {
        self.heading("PER-USER STATISTICS");
        self.line(format!(
            "{:<20} {:>10} {:>10} {:>8} {:>8} {:>10}",
            "User", "Total Ops", "Success", "Errors", "Rate", "P50"
        ));
        self.rule("-");
        for (name, user) in report.users.iter().take(MOST_USERS) {
            self.line(format!(
                "{} {:>10} {:>10} {:>8} {:>7.1}% {:>9.4}s",
                cell(&clean(name), 20),
                user.total_operations,
                user.successful_operations,
                user.failed_operations,
                user.success_rate,
                user.latency.median,
            ));
        }
        if report.users.len() > MOST_USERS {
            self.line(format!(
                "... and {} more users, in the JSON report",
                report.users.len() - MOST_USERS
            ));
        }
    }

    fn baseline(&mut self, report: &Report) {
        let baseline: &OperationsReport = &report.baseline;
        if baseline.total_operations == 0 {
            return;
        }
        self.heading("BASELINE OPERATIONS");
        self.line(format!("Total Operations: {}", baseline.total_operations));
        self.line(format!("Success Rate: {:.1}%", baseline.success_rate));
        let latency = &baseline.latency;
        self.line(format!(
            "Latency: min={:.4}s, p50={:.4}s, p95={:.4}s, max={:.4}s",
            latency.min, latency.median, latency.p95, latency.max
        ));
    }

    fn steps(&mut self, report: &Report) {
        let called: Vec<_> = report
            .steps
            .iter()
            .filter(|(_, step)| step.count > 0)
            .collect();
        if called.is_empty() {
            return;
        }
        // In a closed model both clocks say the same.
        let open = called.iter().any(|(_, step)| step.response != step.service);
        if open {
            self.step_table(
                "STEPS, RESPONSE TIME (from the intended start)",
                &called,
                |step| step.response,
            );
            self.step_table(
                "STEPS, SERVICE TIME (from the actual start)",
                &called,
                |step| step.service,
            );
        } else {
            self.step_table("STEPS", &called, |step| step.response);
        }
        let total =
            |of: fn(&StepReport) -> u64| called.iter().map(|(_, step)| of(step)).sum::<u64>();
        let (refused, unfinished) = (total(|step| step.refused), total(|step| step.unfinished));
        self.statuses(&called);
        if refused > 0 {
            self.line(format!("Refused as expected (no errors): {refused}"));
        }
        if unfinished > 0 {
            self.line(format!("Cut off by the end of the run: {unfinished}"));
        }
    }

    fn step_table(
        &mut self,
        heading: &str,
        steps: &[(&str, &StepReport)],
        latency: fn(&StepReport) -> crate::Latency,
    ) {
        self.heading(heading);
        self.line(format!(
            "{:<30} {:>8} {:>7} {:>10} {:>10} {:>10}",
            "Step", "Count", "Errors", "P50", "P95", "P99"
        ));
        self.rule("-");
        for (name, step) in steps {
            let latency = latency(step);
            self.line(format!(
                "{} {:>8} {:>7} {:>9.4}s {:>9.4}s {:>9.4}s",
                cell(&clean(name), 30),
                step.count,
                step.errors,
                latency.median,
                latency.p95,
                latency.p99,
            ));
        }
    }

    fn setup(&mut self, report: &Report) {
        if report.setup.is_empty() {
            return;
        }
        self.heading("SET-UP");
        self.line(format!(
            "{:<20} {:>8} {:>8} {:>10} {:>10} {:>10}",
            "Phase", "Users", "Failed", "Wall", "P50", "P95"
        ));
        self.rule("-");
        for (name, phase) in report.setup.iter() {
            self.line(format!(
                "{} {:>8} {:>8} {:>9.4}s {:>9.4}s {:>9.4}s",
                cell(&clean(name), 20),
                phase.count,
                phase.failures,
                phase.wall_seconds,
                phase.latency.median,
                phase.latency.p95,
            ));
        }
        for (name, phase) in report.setup.iter() {
            for error in &phase.first_errors {
                self.wrapped(&format!("{}: {}", clean(name), clean(error)), "  ");
            }
        }
    }

    fn propagation(&mut self, report: &Report) {
        if report.propagation.is_empty() {
            return;
        }
        self.heading("PROPAGATION (waiting until something became visible)");
        self.line(format!(
            "{:<30} {:>8} {:>8} {:>10} {:>10} {:>9}",
            "Step", "Waits", "Not met", "P50", "P95", "Error"
        ));
        self.rule("-");
        for (name, wait) in report.propagation.iter() {
            // The error is one-sided: it was visible up to one polling interval before it was seen.
            self.line(format!(
                "{} {:>8} {:>8} {:>9.4}s {:>9.4}s {:>9}",
                cell(&clean(name), 30),
                wait.waits,
                wait.not_met,
                wait.latency.median,
                wait.latency.p95,
                format!("-{:.3}s", wait.polling_error),
            ));
        }
    }

    fn streams(&mut self, report: &Report) {
        if report.streams.is_empty() {
            return;
        }
        self.heading("EVENT STREAMS (their length is in no latency)");
        self.line(format!(
            "{:<30} {:>8} {:>8} {:>10} {:>10} {:>9}",
            "Step", "Streams", "Events", "First P50", "First P95", "Gap P95"
        ));
        self.rule("-");
        for (name, stream) in report.streams.iter() {
            self.line(format!(
                "{} {:>8} {:>8} {:>9.4}s {:>9.4}s {:>8.4}s",
                cell(&clean(name), 30),
                stream.streams,
                stream.events,
                stream.first_event.median,
                stream.first_event.p95,
                stream.gap.p95,
            ));
        }
        let total = |of: fn(&StreamReport) -> u64| -> u64 {
            report.streams.iter().map(|(_, stream)| of(stream)).sum()
        };
        for (what, count) in [
            (
                "Ended by the server",
                total(|stream| stream.closed_by_server),
            ),
            ("Broken", total(|stream| stream.broken)),
            ("Taken up again", total(|stream| stream.reconnects)),
        ] {
            if count > 0 {
                self.line(format!("{what}: {count}"));
            }
        }
    }

    /// What was answered where, unless it is one and the same 2xx everywhere.
    fn statuses(&mut self, steps: &[(&str, &StepReport)]) {
        for (name, step) in steps {
            let answered: Vec<String> = step
                .statuses
                .iter()
                .map(|(status, count)| format!("{status}: {count}"))
                .collect();
            let plain = matches!(
                step.statuses.iter().collect::<Vec<_>>().as_slice(),
                [] | [("200" | "201" | "202" | "204", _)]
            );
            if !plain {
                self.wrapped(
                    &format!("Statuses of {}: {}", clean(name), answered.join(", ")),
                    "  ",
                );
            }
        }
    }

    fn counters(&mut self, report: &Report) {
        if report.counters.is_empty() {
            return;
        }
        self.heading("COUNTERS");
        for (name, count) in report.counters.iter() {
            self.line(format!("{} {count:>10}", cell(&clean(name), 30)));
        }
    }

    fn errors(&mut self, report: &Report) {
        if report.errors.is_empty() {
            return;
        }
        self.heading("ERRORS BY CAUSE");
        for error in report.errors.iter().take(MOST_ERRORS) {
            let count = self.ink(Ink::Red, &format!("{:>6} x", error.count));
            let cause = format!("{}: {}", error.kind.name(), clean(&error.cause));
            let mut lines = wrap(&cause, self.style.width.saturating_sub(9), "").into_iter();
            self.line(format!("{count} {}", lines.next().unwrap_or_default()));
            for line in lines {
                self.line(format!("         {line}"));
            }
            self.wrapped(&format!("in {}", places(&error.r#where)), "         ");
            let example = fit(&clean(&error.example), EXAMPLE_COLUMNS);
            self.wrapped(&format!("e.g. {example}"), "         ");
        }
        if report.errors.len() > MOST_ERRORS {
            self.line(format!(
                "... and {} more causes, in the JSON report",
                report.errors.len() - MOST_ERRORS
            ));
        }
    }

    fn generator(&mut self, report: &Report) {
        let generator = &report.generator;
        self.heading("GENERATOR HEALTH");
        let memory = generator
            .peak_rss_bytes
            .map_or("unknown".to_owned(), |bytes| {
                format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
            });
        self.line(format!(
            "CPU: {:.2}s, {:.1}% of one core ({} available); peak memory: {memory}",
            generator.cpu_seconds,
            generator.cpu_share * 100.0,
            generator.cores,
        ));
        if generator.starts > 0 || generator.dropped_starts > 0 {
            self.line(format!(
                "Starts: {}, late: {} (no user was free), dropped: {}",
                generator.starts, generator.late_starts, generator.dropped_starts
            ));
            for (name, lag) in [
                ("Lag of starts", &generator.lag),
                ("Wait for a free user", &generator.user_wait),
            ] {
                self.line(format!(
                    "{name}: p50={:.4}s, p99={:.4}s, max={:.4}s",
                    lag.p50, lag.p99, lag.max
                ));
            }
        }
        if generator.discarded_samples > 0 {
            self.line(format!(
                "Warm-up: {} samples thrown away",
                generator.discarded_samples
            ));
        }
        for reason in &generator.unhealthy {
            let reason = format!("unhealthy: {}", clean(reason));
            for line in wrap(&reason, self.style.width, "  ") {
                let line = self.ink(Ink::Yellow, &line);
                self.line(line);
            }
        }
    }

    fn thresholds(&mut self, report: &Report) {
        if report.thresholds.is_empty() {
            return;
        }
        self.heading("THRESHOLDS");
        for threshold in &report.thresholds {
            let mark = if threshold.passed {
                self.ink(Ink::Green, "ok    ")
            } else {
                self.ink(Ink::Red, "FAILED")
            };
            let found = threshold
                .reason
                .as_deref()
                .unwrap_or(&threshold.actual_text);
            self.line(format!(
                "{mark} {} {}",
                cell(&clean(&threshold.expression), 50),
                clean(found)
            ));
        }
    }

    fn cleanup(&mut self, report: &Report) {
        let Some(cleanup) = &report.cleanup else {
            return;
        };
        self.heading("CLEANUP");
        let created = format!(
            "Created: {} ({}, {})",
            cleanup.created,
            counted(cleanup.users.created, "user"),
            counted(cleanup.clients.created, "OAuth client"),
        );
        self.line(if cleanup.ended_with_sandbox {
            format!("{created}, gone with the sandbox: nothing is left")
        } else if cleanup.kept {
            format!("{created}, kept as asked")
        } else {
            let Cleanup { deleted, left, .. } = cleanup;
            format!("{created}, deleted: {deleted}, left: {left}")
        });
        if !cleanup.names.is_empty() {
            let names: Vec<_> = cleanup.names.iter().map(|name| clean(name)).collect();
            self.wrapped(&names.join(", "), "  ");
        }
    }

    fn ground_truth(&mut self, report: &Report) {
        let Some(truth) = &report.ground_truth else {
            return;
        };
        self.heading("GROUND TRUTH");
        if truth.agrees {
            self.line(format!(
                "The target's journal agrees: {} calls, per user and per step",
                truth.calls_in_journal
            ));
            return;
        }
        self.line(format!(
            "The target's journal has {} calls, measured were {}; {} counts differ:",
            truth.calls_in_journal, truth.calls_measured, truth.differing
        ));
        for difference in &truth.differences {
            self.wrapped(&clean(difference), "  ");
        }
    }

    fn verdict(&mut self, report: &Report) {
        let reasons: usize = report.verdict.all.iter().map(|h| h.reasons.len()).sum();
        if reasons > 1 {
            self.heading("VERDICTS");
            for holding in &report.verdict.all {
                for reason in &holding.reasons {
                    let text = format!(
                        "{} ({}): {}",
                        holding.name.words(),
                        holding.code,
                        clean(reason)
                    );
                    self.wrapped(&text, "  ");
                }
            }
        }
        self.line("");
        self.rule("=");
        let ink = match report.verdict.name {
            Verdict::Pass => Ink::Green,
            Verdict::Interrupted | Verdict::GeneratorUnhealthy => Ink::Yellow,
            _ => Ink::Red,
        };
        for line in wrap(&verdict_line(report), self.style.width, "") {
            let line = self.ink(ink, &line);
            self.line(line);
        }
    }
}

/// "1 user", "2 users".
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn places(places: &Table<u64>) -> String {
    let named: Vec<_> = places
        .iter()
        .map(|(name, count)| format!("{} ({count})", clean(name)))
        .collect();
    named.join(", ")
}
