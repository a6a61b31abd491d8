//! What monkeys found, for the report and the verdict.

use throng_fuzz::{Finding, Found};
use throng_metrics::{FindingReport, MonkeyReport, Verdict};

/// A line for each finding: the verdict's reasons.
pub(super) fn reasons(found: &Found) -> Vec<String> {
    found.findings.iter().map(reason).collect()
}

fn reason(finding: &Finding) -> String {
    let status = finding
        .status
        .map_or(String::new(), |status| format!(" -> {status}"));
    format!(
        "{}: {}{status} ({} of {}): {}",
        finding.check, finding.operation, finding.repeated, finding.tried, finding.message
    )
}

/// Why what monkeys did says nothing of the target, if so: they had no answer.
pub(super) fn unanswered(found: &Found) -> Option<(Verdict, String)> {
    if found.requests > 0 {
        return None;
    }
    Some(match found.unreachable {
        0 => (
            Verdict::NoData,
            "no request of the monkeys was answered".to_owned(),
        ),
        count => (
            Verdict::TargetFailed,
            format!("none of {count} requests of the monkeys got a connection"),
        ),
    })
}

/// The section of the report.
pub(super) fn report(found: &Found) -> MonkeyReport {
    let all = |findings: &[Finding]| findings.iter().map(one).collect();
    MonkeyReport {
        seed: found.seed,
        probes: found.probes,
        requests: found.requests,
        findings: all(&found.findings),
        seen_once: all(&found.seen_once),
        accepted: all(&found.accepted),
        remarks: found
            .remarks
            .iter()
            .map(|(what, count)| (what.clone(), *count))
            .collect(),
        notes: found.notes.clone(),
    }
}

fn one(finding: &Finding) -> FindingReport {
    FindingReport {
        id: finding.id.clone(),
        check: finding.check.to_string(),
        about: finding.about.clone(),
        wfc: finding.wfc,
        operation: finding.operation.clone(),
        status: finding.status,
        message: finding.message.clone(),
        answer: finding.answer.clone(),
        count: finding.count,
        first_seen: finding.first_seen,
        repeated: finding.repeated,
        tried: finding.tried,
        seed: finding.seed,
        probe: finding.probe.number,
        requests: finding.requests.clone(),
        curl: finding.curl.clone(),
        accepted: finding.accepted.clone(),
        file: finding.file.as_ref().map(|file| file.display().to_string()),
    }
}
