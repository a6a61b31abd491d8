//! What the sandbox's journal says of a run.

use std::collections::BTreeMap;

use throng_sandbox::{Count, Entry, Journal, Server};

/// Calls by step (`workflow/step`) and user.
pub(crate) type Calls = BTreeMap<(String, String), u64>;

/// Whether a call counts for the report: made in the measured window, or to tidy up after an execution in it.
fn is_measured(phase: Option<&str>) -> bool {
    matches!(phase, Some("measured" | "finally"))
}

/// The calls of a run that it has to report.
pub(crate) fn measured(journal: &Journal) -> Calls {
    calls(journal, |count| is_measured(count.phase.as_deref()))
}

/// The calls of steps that a condition holds for.
pub(crate) fn calls(journal: &Journal, wanted: impl Fn(&Count) -> bool) -> Calls {
    let mut calls = Calls::new();
    for count in journal.counts().counts {
        if count.server == Server::Mcp && wanted(&count) {
            let step = count.step.as_deref().unwrap_or_default().to_owned();
            let user = count.user.as_deref().unwrap_or_default().to_owned();
            *calls.entry((step, user)).or_default() += count.count;
        }
    }
    calls
}

/// How many measured calls were failed by a knob, and how.
pub(crate) fn planted(journal: &Journal, error: &str) -> u64 {
    calls(journal, |count| {
        is_measured(count.phase.as_deref()) && count.planted.as_deref() == Some(error)
    })
    .values()
    .sum()
}

/// How many measured calls there were.
pub(crate) fn total(journal: &Journal) -> u64 {
    measured(journal).values().sum()
}

/// The measured calls, one by one, in the order of their arrival.
pub(crate) fn entries(journal: &Journal) -> Vec<Entry> {
    let mut entries = journal.entries();
    entries.retain(|entry| {
        entry.server == Server::Mcp
            && is_measured(entry.baggage.get("throng.phase").map(String::as_str))
    });
    entries.sort_by_key(|entry| entry.started_ns);
    entries
}

/// The step that an entry names.
pub(crate) fn step(entry: &Entry) -> &str {
    entry.baggage.get("throng.step").map_or("", String::as_str)
}
