//! The report as text: 80 columns, the tables of the first framework and more, the verdict last.
//!
//! It returns a string and prints nothing. Everything that came from outside is cleaned before it is shown.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use super::text::{cell, fit, seconds, wrap};
use crate::{Cleanup, OperationsReport, Report, Table, Verdict, clean};

/// Width of rules and tables.
pub(super) const COLUMNS: usize = 80;
/// More groups of errors than this are only in the document.
const MOST_ERRORS: usize = 20;

/// Width of the column of thresholds.
const EXPRESSIONS: usize = 50;

/// Longer examples are cut; they are whole in the document.
const EXAMPLE_COLUMNS: usize = 400;

/// How to render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal, for running text: no more than 80. Tables are always 80 wide.
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
            width: style.width.clamp(40, COLUMNS),
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
    page.findings(report);
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

pub(super) struct Page {
    out: String,
    style: Style,
}

impl Page {
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    pub(super) fn rule(&mut self, of: &str) {
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

    pub(super) fn heading(&mut self, text: &str) {
        self.line("");
        self.rule("-");
        self.line(self.ink(Ink::Bold, text));
        self.rule("-");
    }

    pub(super) fn wrapped(&mut self, text: &str, indent: &str) {
        for line in wrap(text, self.style.width, indent) {
            self.line(line);
        }
    }

    fn title(&mut self, report: &Report) {
        // The first framework's title names the way to log in.
        let title = match report.run.login.as_str() {
            "oauth" => "OAUTH MULTI-USER BENCHMARK RESULTS".to_owned(),
            _ => {
                let scenario = clean(&report.run.scenario).to_uppercase();
                fit(&format!("{scenario}: MULTI-USER RESULTS"), COLUMNS)
            }
        };
        self.line("");
        self.rule("=");
        self.line(self.ink(Ink::Bold, &title));
        self.rule("=");
        self.line("");
        self.which_run(report);
        let summary = &report.summary;
        self.line(format!("Duration: {:.2}s", summary.duration));
        self.line(format!("Total Users: {}", summary.total_users));
        self.line(format!(
            "Total Workflows Executed: {}",
            summary.total_workflows
        ));
        if summary.total_baseline_ops > 0 {
            self.line(format!(
                "Total Baseline Operations: {}",
                summary.total_baseline_ops
            ));
        }
    }

    /// So that a saved report says what it is about.
    fn which_run(&mut self, report: &Report) {
        let run = &report.run;
        let warmup = if run.warmup > 0.0 {
            format!(", after {} s of warm-up", run.warmup)
        } else {
            String::new()
        };
        for line in [
            format!("Scenario: {}, {}", run.scenario, run.who()),
            format!("Target: {}", run.target),
            format!("Load: {}{warmup}", run.executor),
            format!("Started: {}", run.started_at),
            format!("Run: {}, seed {}", run.id, run.seed),
        ] {
            self.wrapped(&clean(&line), "");
        }
        self.line("");
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
        self.line(if baseline.successful_operations == 0 {
            "Latency: -".to_owned()
        } else {
            format!(
                "Latency: min={}, p50={}, p95={}, max={}",
                seconds(latency.min),
                seconds(latency.p50),
                seconds(latency.p95),
                seconds(latency.max)
            )
        });
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
            if error.example != error.cause {
                let example = fit(&clean(&error.example), EXAMPLE_COLUMNS);
                self.wrapped(&format!("e.g. {example}"), "         ");
            }
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
        if let Some(most) = generator.concurrency {
            let wait = &generator.permit_wait;
            self.line(format!("Requests in flight: at most {most}"));
            self.line(format!(
                "Wait for a turn: p50={}, p99={}, max={}",
                seconds(wait.p50),
                seconds(wait.p99),
                seconds(wait.max)
            ));
        }
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
                    "{name}: p50={}, p99={}, max={}",
                    seconds(lag.p50),
                    seconds(lag.p99),
                    seconds(lag.max)
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
            let (expression, found) = (clean(&threshold.expression), clean(found));
            if expression.width() <= EXPRESSIONS && found.width() <= COLUMNS - EXPRESSIONS - 8 {
                self.line(format!("{mark} {} {found}", cell(&expression, EXPRESSIONS)));
                continue;
            }
            // Neither is cut: what was found stands below.
            let mut lines = wrap(&expression, COLUMNS - 7, "").into_iter();
            self.line(format!("{mark} {}", lines.next().unwrap_or_default()));
            for line in lines.chain([found]) {
                self.wrapped(&line, "       ");
            }
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
        if !cleanup.staying.is_empty() {
            let users = counted(cleanup.staying.len() as u64, "user");
            self.line(format!("{users} on the target for good: it deletes none"));
            let names: Vec<_> = cleanup.staying.iter().map(|name| clean(name)).collect();
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
