//! The sandbox's own account of a run, held against what was measured: same calls, per step and per user, or not.
//!
//! Only the sandbox can do this, because only it keeps a journal; on it, a run that miscounts shows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Request, StatusCode};
use serde::Deserialize;
use throng_client::Client;
use throng_metrics::{Catalog, GroundTruth, StepId, Tally, UserId};

/// Time allowed for the journal's answer.
const LIMIT: Duration = Duration::from_secs(10);
/// The endpoint of steps that log in.
const TOKEN_LOGIN: &str = "token login";
/// More differences than this are only counted.
const SHOWN: usize = 10;

#[derive(Deserialize)]
struct Counts {
    counts: Vec<Count>,
}

/// What the comparison needs of the journal's counts; declared here and not shared with the sandbox on purpose.
#[derive(Deserialize)]
struct Count {
    server: String,
    phase: Option<String>,
    step: Option<String>,
    user: Option<String>,
    status: u16,
    count: u64,
}

/// Calls by step and user.
type Calls = BTreeMap<(String, String), u64>;

/// Asks the sandbox at `url` and compares.
///
/// # Errors
/// Where the journal can't be read.
pub(crate) async fn compare(
    client: &Client,
    url: &str,
    catalog: &Catalog,
    tally: &Tally,
) -> anyhow::Result<GroundTruth> {
    let request = Request::get(format!(
        "{}/__sandbox/journal/counts",
        url.trim_end_matches('/')
    ))
    .body(Default::default())?;
    let exchange = client
        .send(request, LIMIT)
        .await
        .context("reading the sandbox's journal")?;
    if exchange.status != StatusCode::OK {
        bail!("the sandbox's journal answers {}", exchange.status);
    }
    let counts: Counts = serde_json::from_slice(&exchange.body).context("the sandbox's journal")?;
    let (redirects, calls): (Vec<Count>, Vec<Count>) = counts
        .counts
        .into_iter()
        .partition(|count| (300..400).contains(&count.status));
    Ok(differences(
        &journal(&calls),
        &journal(&redirects),
        &measured(catalog, tally),
    ))
}

/// The journal's calls in the measured phase. What was sent again with another token is in none of these phases: it is one
/// call with what it was sent for. At the provider only steps about tokens say whose they are.
fn journal(counts: &[Count]) -> Calls {
    let mut calls = Calls::new();
    for count in counts {
        let measured = matches!(count.phase.as_deref(), Some("measured" | "finally"));
        if let Some(step) = &count.step
            && matches!(count.server.as_str(), "mcp" | "integr8scode" | "nextcloud")
            && measured
        {
            *calls
                .entry((step.clone(), count.user.clone().unwrap_or_default()))
                .or_default() += count.count;
        }
    }
    calls
}

fn measured(catalog: &Catalog, tally: &Tally) -> Calls {
    let mut calls = Calls::new();
    for (index, name) in catalog.users.iter().enumerate() {
        let Some(user) = tally.user(UserId(index as u32)) else {
            continue;
        };
        for (step, done) in &user.steps {
            // A login is several requests, and none of them says so.
            let endpoint = catalog.steps.get(step.0 as usize);
            if endpoint.is_some_and(|step| step.endpoint == TOKEN_LOGIN) {
                continue;
            }
            calls.insert(
                (catalog.step_key(StepId(step.0)), name.clone()),
                done.sent(),
            );
        }
    }
    calls
}

/// A redirect is a call of its own where the step takes it as its answer; where the step follows it, it's one call with what
/// it leads to.
fn differences(journal: &Calls, redirects: &Calls, measured: &Calls) -> GroundTruth {
    // Where the sandbox failed a call before it knew whose it was, only the sums of a step can be compared; and a monkey acts as
    // others, too, or as nobody.
    let of_monkeys = format!("{}/", throng_fuzz::monkey::WORKFLOW);
    let nameless: Vec<&str> = journal
        .keys()
        .chain(redirects.keys())
        .filter(|(_, user)| user.is_empty())
        .map(|(step, _)| step.as_str())
        .collect();
    let grouped = |calls: &Calls| {
        let mut grouped = Calls::new();
        for ((step, user), count) in calls {
            let sum = nameless.contains(&step.as_str()) || step.starts_with(&of_monkeys);
            let user = if sum { "all users" } else { user };
            *grouped.entry((step.clone(), user.to_owned())).or_default() += count;
        }
        grouped
    };
    let (journal, redirects, measured) = (grouped(journal), grouped(redirects), grouped(measured));
    let mut different = Vec::new();
    let mut calls_in_journal = 0;
    let keys: std::collections::BTreeSet<_> = journal
        .keys()
        .chain(redirects.keys())
        .chain(measured.keys())
        .collect();
    for key in keys {
        let of = |calls: &Calls| calls.get(key).copied().unwrap_or(0);
        let (ours, followed) = (of(&measured), of(&journal));
        let theirs = if ours == followed {
            followed
        } else {
            followed + of(&redirects)
        };
        calls_in_journal += theirs;
        if theirs != ours {
            different.push(format!(
                "{} by {}: {ours} measured, {theirs} in the journal",
                key.0, key.1
            ));
        }
    }
    GroundTruth {
        agrees: different.is_empty(),
        calls_measured: measured.values().sum(),
        calls_in_journal,
        differing: different.len() as u64,
        differences: different.into_iter().take(SHOWN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(entries: &[(&str, &str, u64)]) -> Calls {
        entries
            .iter()
            .map(|(step, user, count)| (((*step).to_owned(), (*user).to_owned()), *count))
            .collect()
    }

    #[test]
    fn equal_counts_agree() {
        let both = calls(&[("a/x", "u1", 3), ("a/y", "u2", 1)]);
        let truth = differences(&both, &Calls::new(), &both);
        assert!(truth.agrees);
        assert_eq!((truth.calls_measured, truth.calls_in_journal), (4, 4));
    }

    #[test]
    fn a_call_under_the_wrong_user_differs_twice() {
        let truth = differences(
            &calls(&[("a/x", "u1", 3)]),
            &Calls::new(),
            &calls(&[("a/x", "u2", 3)]),
        );
        assert!(!truth.agrees);
        assert_eq!(truth.differing, 2);
    }

    #[test]
    fn nameless_calls_are_compared_by_step() {
        let journal = calls(&[("a/x", "", 1), ("a/x", "u1", 2), ("a/y", "u1", 1)]);
        let agrees = |measured| differences(&journal, &Calls::new(), &calls(measured)).agrees;
        assert!(agrees(&[("a/x", "u1", 3), ("a/y", "u1", 1)]));
        assert!(!agrees(&[("a/x", "u1", 2), ("a/y", "u1", 1)]));
    }

    #[test]
    fn a_redirect_is_a_call_unless_it_was_followed() {
        let (answers, redirects) = (calls(&[("a/x", "u1", 3)]), calls(&[("a/x", "", 3)]));
        let truth =
            |measured| differences(&answers, &redirects, &calls(&[("a/x", "u1", measured)]));
        assert_eq!((truth(3).agrees, truth(3).calls_in_journal), (true, 3));
        assert_eq!((truth(6).agrees, truth(6).calls_in_journal), (true, 6));
        assert!(!truth(4).agrees);
    }

    #[test]
    fn what_is_sent_again_is_no_other_call() {
        let count = |phase: &str, status: u16, count: u64| Count {
            server: "mcp".to_owned(),
            phase: Some(phase.to_owned()),
            step: Some("a/x".to_owned()),
            user: Some("u1".to_owned()),
            status,
            count,
        };
        // Of five that were refused, two were sent again, and one of these was refused once more; the others ended so.
        let counts = [
            count("measured", 403, 4),
            count("measured", 401, 1),
            count("again", 200, 1),
            count("again", 403, 1),
            count("finally", 200, 2),
            count("warmup", 200, 9),
        ];
        assert_eq!(journal(&counts), calls(&[("a/x", "u1", 7)]));
    }
}
