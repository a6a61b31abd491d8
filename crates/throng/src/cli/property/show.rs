//! What is printed: a line for each property, more for one that fails, and the verdict.

use serde_json::{Value, json};
use throng_fuzz::property::{Counterexample, Verdict as Worth};
use throng_fuzz::shell;
use throng_metrics::{Verdict, clean};
use throng_workflow::program::Property;

use super::failure::{Failure, Request, values, visible};
use super::script::{self, Target};
use super::{Tested, Trial};

/// As much of a long value is shown, in characters.
const LONGEST: usize = 300;

/// All properties of a file, a line each.
pub(super) fn list(properties: &[Property]) -> String {
    let width = properties
        .iter()
        .map(|property| property.name.len())
        .max()
        .unwrap_or(0);
    let lines = properties.iter().map(|property| {
        let about = property.description.as_deref().unwrap_or_default();
        let by_name = if property.by_name {
            " (only when named)"
        } else {
            ""
        };
        let line = format!("{:width$}  {about}{by_name}", property.name);
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

/// `0 of 150 examples were accepted (0 %, at least 50 % must be)`
pub(super) fn share(tested: &Tested) -> String {
    let outcome = &tested.outcome;
    format!(
        "{} of {} examples were accepted ({}, at least {} must be)",
        outcome.accepted,
        outcome.tried,
        percent(outcome.share()),
        percent(tested.min_accepted),
    )
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// What came of one property.
pub(super) fn tested(tested: &Tested, seed: u64, target: Option<&Target>) -> String {
    let outcome = &tested.outcome;
    let took = outcome.took.as_secs_f64();
    let name = &tested.name;
    match &outcome.verdict {
        Worth::Passed => format!(
            "  passed   {name}: {} examples, {} accepted, {took:.1} s\n",
            outcome.tried,
            percent(outcome.share())
        ),
        Worth::Vacuous => {
            let mut text = format!("  VACUOUS  {name}: {}: it proves nothing\n", share(tested));
            for (reason, count) in outcome.refusals.iter().take(3) {
                let example = tested.refusals.iter().find(|(known, _)| known == reason);
                let example = example.map_or("", |(_, example)| example.as_str());
                text.push_str(&format!(
                    "             {count} times {}, such as: {}\n",
                    clean(reason),
                    clean(&cut(example))
                ));
            }
            text
        }
        Worth::NoExamples(why) => format!(
            "  ERROR    {name}: no examples can be made: {}\n",
            clean(why)
        ),
        Worth::Stopped => format!("  stopped  {name}: after {} examples\n", outcome.tried),
        Worth::Failed(all) => all
            .iter()
            .map(|found| {
                let words = clean(&cut(&found.failure.to_string()));
                format!(
                    "  FAILED   {name}: {words}\n{}",
                    details(found, seed, target)
                )
            })
            .collect(),
    }
}

/// The smallest example, how it was come by, and how it is repeated.
pub(super) fn details(
    found: &Counterexample<Failure>,
    seed: u64,
    target: Option<&Target>,
) -> String {
    let mut text = String::new();
    for (name, value) in values(&found.example) {
        text.push_str(&format!("             {name} = {}\n", cut(&value)));
    }
    let from = match found.case {
        Some(case) => format!(
            "example {} of seed {seed}, {} tries of shrinking",
            case + 1,
            found.shrinks
        ),
        None => "an example that was kept from an earlier run".to_owned(),
    };
    text.push_str(&format!(
        "             {from}; of {} further tries {} failed\n",
        found.repeated_of, found.repeated
    ));
    let failure = &found.failure;
    for (index, request) in failure.requests.iter().enumerate() {
        let words = in_words(request, &failure.requests);
        text.push_str(&format!("             {}. {words}\n", index + 1));
    }
    if let Some(line) = target.and_then(|target| script::line(failure, target)) {
        text.push_str(&format!("             {line}\n"));
    }
    match &failure.file {
        Some(file) => {
            let file = shell::word(&file.display().to_string());
            text.push_str(&format!("             bash {file}\n"));
        }
        None => text.push_str("             no script: its calls are no HTTP requests\n"),
    }
    text
}

/// A request in a line.
fn in_words(request: &Request, all: &[Request]) -> String {
    let mut text = format!("{} {}", request.method, request.path);
    // That every change names the page it comes from says nothing.
    let usual = ["origin", "referer"];
    let headers = request.headers.iter();
    for (name, value) in headers.filter(|(name, _)| !usual.contains(&name.as_str())) {
        text.push_str(format!(", {name}: {value}").trim_end());
    }
    if !request.body.is_empty() {
        text.push_str(&format!(" {}", visible(&request.body)));
    }
    let mut text = clean(&cut(&text));
    if all.iter().any(|other| other.user != request.user) {
        text.push_str(&format!(" as user {}", request.user + 1));
    }
    if all
        .iter()
        .filter(|other| other.group == request.group)
        .count()
        > 1
    {
        text.push_str(", at the same time");
    }
    match request.status {
        Some(status) => text + &format!(" -> {status}"),
        None => text + " -> no answer",
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

/// The last lines: where examples were kept, and what it's all worth.
pub(super) fn conclusion(
    trial: Option<&Trial>,
    verdict: Verdict,
    verdicts: &[(Verdict, String)],
) -> String {
    let mut text = String::new();
    if let Some(path) = trial.and_then(|trial| trial.kept.as_ref()) {
        text.push_str(&format!(
            "Failing examples were kept in {}; they are tried first next time.\n",
            path.display()
        ));
    }
    for (other, reason) in verdicts.iter().filter(|_| verdicts.len() > 1) {
        text.push_str(&format!(
            "  {} ({}): {}\n",
            other.words(),
            other.exit_code(),
            clean(&cut(reason))
        ));
    }
    let reason = match verdicts {
        [(_, reason)] => format!(": {}", clean(&cut(reason))),
        _ => String::new(),
    };
    text.push_str(&format!(
        "VERDICT: {} (exit code {}){reason}\n",
        verdict.words(),
        verdict.exit_code()
    ));
    text
}

/// The same for programs.
pub(super) fn json(trial: &Trial, verdict: Verdict, verdicts: &[(Verdict, String)]) -> String {
    let properties: Vec<Value> = trial.tested.iter().map(one).collect();
    let reasons: Vec<Value> = verdicts
        .iter()
        .map(|(verdict, reason)| json!({ "verdict": verdict.name(), "code": verdict.exit_code(), "reason": reason }))
        .collect();
    let document = json!({
        "schema_version": 1,
        "scenario": trial.scenario,
        "seed": trial.seed,
        "properties": properties,
        "verdict": verdict.name(),
        "exit_code": verdict.exit_code(),
        "reasons": reasons,
    });
    format!("{document:#}\n")
}

/// The name of what a property is worth.
pub(super) fn worth<E>(verdict: &Worth<E>) -> &'static str {
    match verdict {
        Worth::Passed => "passed",
        Worth::Failed(_) => "failed",
        Worth::Vacuous => "vacuous",
        Worth::NoExamples(_) => "no_examples",
        Worth::Stopped => "stopped",
    }
}

fn one(tested: &Tested) -> Value {
    let outcome = &tested.outcome;
    let refusals: Vec<Value> = outcome
        .refusals
        .iter()
        .map(|(reason, count)| {
            let example = tested.refusals.iter().find(|(known, _)| known == reason);
            json!({ "reason": reason, "count": count, "example": example.map(|(_, example)| example) })
        })
        .collect();
    json!({
        "name": tested.name,
        "result": worth(&outcome.verdict),
        "examples": outcome.tried,
        "accepted": outcome.accepted,
        "share_accepted": outcome.share(),
        "min_accepted": tested.min_accepted,
        "seconds": outcome.took.as_secs_f64(),
        "refusals": refusals,
        "counterexamples": match &outcome.verdict {
            Worth::Failed(all) => json!(all),
            _ => json!([]),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shown_in_percent() {
        for (share, expected) in [
            (0.0, "0 %"),
            (0.5, "50 %"),
            (0.9666, "96.7 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), expected);
        }
    }
}
