//! The report's tables: each a heading, the columns' names, and a row for each name. No name is cut: two steps never
//! look the same; one that is wider than its column has a line of its own.

use super::console::{COLUMNS, Page};
use super::text::{self, cell, wrap};
use crate::{Latency, Report, StepReport, StreamReport, TokenCounters, clean};

/// More users than this are only in the document.
const MOST_USERS: usize = 50;
/// Width of the column of names.
const NAMES: usize = 30;
/// The same where the names are those of users and phases.
const SHORT_NAMES: usize = 20;

/// A duration where there is one, in the unit that suits it.
fn time(seconds: f64, count: u64) -> String {
    if count == 0 {
        "-".to_owned()
    } else {
        text::seconds(seconds)
    }
}

fn rate(percent: f64, count: u64) -> String {
    if count == 0 {
        "-".to_owned()
    } else {
        format!("{percent:.1}%")
    }
}

impl Page {
    fn columns(&mut self, heading: &str, names: &str) {
        self.heading(heading);
        self.line(names);
        self.rule("-");
    }

    /// A row whose first column is a name; one that doesn't fit stands on lines of its own.
    fn row(&mut self, name: &str, indent: &str, width: usize, figures: &str) {
        let name = format!("{indent}{}", clean(name));
        if unicode_width::UnicodeWidthStr::width(name.as_str()) <= width {
            self.line(cell(&name, width) + figures);
        } else {
            for line in wrap(&name, COLUMNS, indent) {
                self.line(line);
            }
            self.line(" ".repeat(width) + figures);
        }
    }

    /// The row of a step, under the name of its workflow if that is another than the last one's.
    fn step_row<'a>(&mut self, key: &'a str, under: &mut Option<&'a str>, figures: &str) {
        let (workflow, step) = key.split_once('/').unwrap_or(("", key));
        if *under != Some(workflow) {
            *under = Some(workflow);
            self.wrapped(&clean(workflow), "");
        }
        self.row(step, "  ", NAMES, figures);
    }

    pub(super) fn workflows(&mut self, report: &Report) {
        if report.workflows.is_empty() {
            return;
        }
        self.columns(
            "WORKFLOW STATISTICS",
            &format!(
                "{:<30} {:>8} {:>8} {:>8} {:>10} {:>10}",
                "Workflow", "Total", "Success", "Rate", "P50", "P95"
            ),
        );
        let mut interrupted = 0;
        for (name, workflow) in report.workflows.iter() {
            interrupted += workflow.interrupted_executions;
            let good = workflow.successful_executions;
            let figures = format!(
                " {:>8} {:>8} {:>8} {:>10} {:>10}",
                workflow.total_executions,
                good,
                rate(workflow.success_rate, good + workflow.failed_executions),
                time(workflow.latency.p50, good),
                time(workflow.latency.p95, good),
            );
            self.row(name, "", NAMES, &figures);
        }
        self.cut_off(interrupted);
    }

    pub(super) fn users(&mut self, report: &Report) {
        self.columns(
            "PER-USER STATISTICS",
            &format!(
                "{:<20} {:>10} {:>10} {:>8} {:>8} {:>10}",
                "User", "Total Ops", "Success", "Errors", "Rate", "P50"
            ),
        );
        for (name, user) in report.users.iter().take(MOST_USERS) {
            let good = user.successful_operations;
            let figures = format!(
                " {:>10} {:>10} {:>8} {:>8} {:>10}",
                user.total_operations,
                good,
                user.failed_operations,
                rate(user.success_rate, good + user.failed_operations),
                time(user.latency.p50, good),
            );
            self.row(name, "", SHORT_NAMES, &figures);
        }
        if report.users.len() > MOST_USERS {
            self.line(format!(
                "... and {} more users, in the JSON report",
                report.users.len() - MOST_USERS
            ));
        }
        let users = report.users.iter();
        self.cut_off(users.map(|(_, user)| user.unfinished_operations).sum());
    }

    fn cut_off(&mut self, count: u64) {
        if count > 0 {
            self.line(format!(
                "Cut off by a signal or the end of the run (no errors): {count}"
            ));
        }
    }

    pub(super) fn steps(&mut self, report: &Report) {
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
        self.statuses(&called);
        let refused: u64 = called.iter().map(|(_, step)| step.refused).sum();
        if refused > 0 {
            self.line(format!("Refused as expected (no errors): {refused}"));
        }
        self.cut_off(called.iter().map(|(_, step)| step.unfinished).sum());
    }

    fn step_table(
        &mut self,
        heading: &str,
        steps: &[(&str, &StepReport)],
        latency: fn(&StepReport) -> Latency,
    ) {
        self.columns(
            heading,
            &format!(
                "{:<30}{:>8}{:>7}{:>8}{:>9}{:>9}{:>9}",
                "Step", "Count", "Errors", "Refused", "P50", "P95", "P99"
            ),
        );
        let mut workflow = None;
        for (key, step) in steps {
            let latency = latency(step);
            let good = step.count - step.errors - step.unfinished;
            let figures = format!(
                "{:>8}{:>7}{:>8}{:>9}{:>9}{:>9}",
                step.count,
                step.errors,
                step.refused,
                time(latency.p50, good),
                time(latency.p95, good),
                time(latency.p99, good),
            );
            self.step_row(key, &mut workflow, &figures);
        }
    }

    pub(super) fn setup(&mut self, report: &Report) {
        if report.setup.is_empty() {
            return;
        }
        self.columns(
            "SET-UP",
            &format!(
                "{:<20} {:>8} {:>8} {:>10} {:>10} {:>10}",
                "Phase", "Users", "Failed", "Wall", "P50", "P95"
            ),
        );
        for (name, phase) in report.setup.iter() {
            let good = phase.count - phase.failures;
            let figures = format!(
                " {:>8} {:>8} {:>10} {:>10} {:>10}",
                phase.count,
                phase.failures,
                text::seconds(phase.wall_seconds),
                time(phase.latency.p50, good),
                time(phase.latency.p95, good),
            );
            self.row(name, "", SHORT_NAMES, &figures);
        }
        for (name, phase) in report.setup.iter() {
            if let Some(wait) = &phase.queue_wait {
                self.wrapped(
                    &format!(
                        "{}: users waited for a place in the browser: p50 {}, p99 {}, max {} (in no latency of the phase)",
                        clean(name),
                        text::seconds(wait.p50),
                        text::seconds(wait.p99),
                        text::seconds(wait.max),
                    ),
                    "  ",
                );
            }
            for error in &phase.first_errors {
                self.wrapped(&format!("{}: {}", clean(name), clean(error)), "  ");
            }
        }
    }

    pub(super) fn propagation(&mut self, report: &Report) {
        if report.propagation.is_empty() {
            return;
        }
        self.columns(
            "PROPAGATION (waiting until something became visible)",
            &format!(
                "{:<30}{:>8}{:>9}{:>10}{:>10}{:>13}",
                "Step", "Waits", "Not met", "P50", "P95", "Polled every"
            ),
        );
        let mut workflow = None;
        for (key, wait) in report.propagation.iter() {
            let met = wait.waits - wait.not_met;
            let figures = format!(
                "{:>8}{:>9}{:>10}{:>10}{:>13}",
                wait.waits,
                wait.not_met,
                time(wait.latency.p50, met),
                time(wait.latency.p95, met),
                if wait.polling_error > 0.0 {
                    text::seconds(wait.polling_error)
                } else {
                    "not polled".to_owned()
                },
            );
            self.step_row(key, &mut workflow, &figures);
        }
    }

    pub(super) fn streams(&mut self, report: &Report) {
        if report.streams.is_empty() {
            return;
        }
        self.columns(
            "EVENT STREAMS (their length is in no latency)",
            &format!(
                "{:<30}{:>8}{:>9}{:>11}{:>11}{:>11}",
                "Step", "Streams", "Events", "First P50", "First P95", "Gap P95"
            ),
        );
        let mut workflow = None;
        for (key, stream) in report.streams.iter() {
            let figures = format!(
                "{:>8}{:>9}{:>11}{:>11}{:>11}",
                stream.streams,
                stream.events,
                time(stream.first_event.p50, stream.events),
                time(stream.first_event.p95, stream.events),
                // There is a gap between two events of one stream only.
                time(stream.gap.p95, u64::from(stream.gap.max > 0.0)),
            );
            self.step_row(key, &mut workflow, &figures);
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

    pub(super) fn counters(&mut self, report: &Report) {
        if report.counters.is_empty() {
            return;
        }
        self.heading("COUNTERS");
        // One that is always there stands for the tokens of a run in which nothing became of them.
        let quiet = &TokenCounters::NAMES[1..];
        let shown = report.counters.iter();
        for (name, count) in shown.filter(|(name, count)| **count > 0 || !quiet.contains(name)) {
            self.row(name, "", NAMES, &format!(" {count:>10}"));
        }
        if let Some(wait) = &report.token_wait {
            self.wrapped(
                &format!(
                    "Steps waited {} times for a new token: p50 {}, p95 {}, max {} (in no latency of a step)",
                    wait.waits,
                    text::seconds(wait.latency.p50),
                    text::seconds(wait.latency.p95),
                    text::seconds(wait.latency.max),
                ),
                "",
            );
        }
    }
}
