//! What came of a swarm, for the report and for people.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::Finding;

/// What came of a swarm.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// What is wrong and showed itself again. Any of them is a finding: the verdict.
    pub findings: Vec<Finding>,
    /// What was seen under load and not again: told apart, and no verdict.
    pub seen_once: Vec<Finding>,
    /// What was seen and is accepted by the scenario; not sent again.
    pub accepted: Vec<Finding>,
    /// Probes that were sent under load.
    pub probes: u64,
    /// Requests of theirs that were answered, or not answered.
    pub requests: u64,
    /// Requests that no connection could be made for: they are not among the others.
    #[serde(default)]
    pub unreachable: u64,
    /// The seed.
    pub seed: u64,
    /// What else was counted: what it is, and how often.
    pub remarks: BTreeMap<String, u64>,
    /// What could not be used of the document, in words.
    pub notes: Vec<String>,
}

impl Found {
    /// Whether anything is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Groups that were shrunk to the same requests are one finding.
    pub(super) fn merge_same(&mut self) {
        let mut merged: Vec<Finding> = Vec::new();
        for finding in std::mem::take(&mut self.findings) {
            let same = merged.iter_mut().find(|known| {
                known.check == finding.check
                    && known.operation == finding.operation
                    && known.status == finding.status
                    && known.requests == finding.requests
            });
            match same {
                Some(known) => known.count += finding.count,
                None => merged.push(finding),
            }
        }
        self.findings = merged;
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} probes, {} requests, seed {}: {} findings, {} seen once, {} accepted",
            self.probes,
            self.requests,
            self.seed,
            self.findings.len(),
            self.seen_once.len(),
            self.accepted.len()
        )?;
        for (what, count) in &self.remarks {
            writeln!(f, "  {count} {what}")?;
        }
        for finding in &self.findings {
            writeln!(f, "\n{finding}")?;
        }
        if !self.seen_once.is_empty() {
            writeln!(f, "\nSeen under load, and not again:")?;
            for finding in &self.seen_once {
                writeln!(f, "\n{finding}")?;
            }
        }
        if !self.accepted.is_empty() {
            writeln!(f, "\nAccepted:")?;
            for finding in &self.accepted {
                let reason = finding.accepted.as_deref().unwrap_or_default();
                writeln!(
                    f,
                    "  {} {}, seen {} times: {reason}",
                    finding.check, finding.operation, finding.count
                )?;
            }
        }
        Ok(())
    }
}
