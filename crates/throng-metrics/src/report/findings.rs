//! What a swarm of monkeys did and found, as the document and the text have it. Sending, judging and shrinking is done elsewhere.

use serde::{Deserialize, Serialize};

use super::console::Page;
use crate::{Report, Table, clean};

/// What monkeys did and found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MonkeyReport {
    /// The seed of their requests.
    pub seed: u64,
    /// Probes that were sent under load: single requests, or short sequences that belong together.
    pub probes: u64,
    /// Their requests.
    pub requests: u64,
    /// What is wrong, and showed itself again when it was sent again. Each of them is a reason for the verdict.
    pub findings: Vec<FindingReport>,
    /// What was seen under load and not again. No verdict.
    pub seen_once: Vec<FindingReport>,
    /// What the scenario accepts. No verdict.
    pub accepted: Vec<FindingReport>,
    /// What else was counted: what it is, and how often.
    pub remarks: Table<u64>,
    /// What could not be used of the OpenAPI document, in words.
    pub notes: Vec<String>,
}

/// Something that is wrong with a target, with the smallest requests that show it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FindingReport {
    /// A name that stays the same from run to run.
    pub id: String,
    /// The check.
    pub check: String,
    /// What the check says, in a line.
    pub about: String,
    /// The fault code of the Web Fuzzing Commons; `null` where there is none.
    pub wfc: Option<u16>,
    /// The operation, `METHOD template`.
    pub operation: String,
    /// The status of the answer; `null` where there was none.
    pub status: Option<u16>,
    /// What was seen, without what varies.
    pub message: String,
    /// The start of the answer that shows it, without secrets.
    pub answer: String,
    /// How often it was seen under load.
    pub count: u64,
    /// How long after the swarm's start it was seen first, in seconds.
    pub first_seen: f64,
    /// How often the requests showed it again.
    pub repeated: u32,
    /// Of so many tries.
    pub tried: u32,
    /// The seed.
    pub seed: u64,
    /// The number of the probe that first showed it.
    pub probe: u64,
    /// The smallest requests that show it, in words, in order.
    pub requests: Vec<String>,
    /// A script for bash and curl that shows it.
    pub curl: String,
    /// Why it is accepted; `null` where it isn't.
    pub accepted: Option<String>,
    /// Its file in the corpus; `null` where none was written.
    pub file: Option<String>,
}

impl Page {
    /// What monkeys found; each finding whole, since it is the result.
    pub(super) fn findings(&mut self, report: &Report) {
        let Some(monkey) = &report.monkey else { return };
        self.heading("FINDINGS OF THE MONKEYS");
        self.line(format!(
            "Probes: {}, requests: {}, seed {}",
            monkey.probes, monkey.requests, monkey.seed
        ));
        for (what, count) in monkey.remarks.iter() {
            self.wrapped(&format!("{count} {}", clean(what)), "  ");
        }
        if monkey.findings.is_empty() {
            self.line("Nothing found");
        }
        for finding in &monkey.findings {
            self.finding(finding);
        }
        if !monkey.seen_once.is_empty() {
            self.line("");
            self.line("Seen under load, and not again (no verdict):");
        }
        for finding in &monkey.seen_once {
            self.wrapped(&headline(finding), "  ");
        }
        if !monkey.accepted.is_empty() {
            self.line("");
            self.line("Accepted by the scenario:");
        }
        for finding in &monkey.accepted {
            let why = finding.accepted.as_deref().unwrap_or_default();
            let text = format!("{}, seen {} times: {why}", headline(finding), finding.count);
            self.wrapped(&clean(&text), "  ");
        }
    }

    fn finding(&mut self, finding: &FindingReport) {
        self.line("");
        self.wrapped(&headline(finding), "");
        let words = format!("{}: {}", finding.about, finding.message);
        self.wrapped(&clean(&words), "  ");
        for (index, request) in finding.requests.iter().enumerate() {
            self.wrapped(&format!("{}. {}", index + 1, clean(request)), "  ");
        }
        if !finding.answer.is_empty() {
            self.wrapped(&format!("answered: {}", clean(&finding.answer)), "  ");
        }
        self.line(format!(
            "  repeats {} of {}; seen {} times; seed {}, probe {}",
            finding.repeated, finding.tried, finding.count, finding.seed, finding.probe
        ));
        // As it is to be given to a shell: no line is wrapped.
        for line in finding.curl.lines() {
            self.line(format!("  | {}", clean(line)));
        }
        if let Some(file) = &finding.file {
            self.line(format!("  throng replay {}", clean(file)));
        }
    }
}

fn headline(finding: &FindingReport) -> String {
    let code = finding
        .wfc
        .map_or(String::new(), |code| format!(" (WFC {code})"));
    let status = finding
        .status
        .map_or(String::new(), |status| format!(" -> {status}"));
    clean(&format!(
        "{}{code}: {}{status}",
        finding.check, finding.operation
    ))
}
