//! What is printed: a line for each property, more for one that fails, and the verdict.

use serde_json::{Value, json};
use throng_fuzz::property::{Counterexample, Verdict as Worth};
use throng_metrics::{Verdict, clean};
use throng_workflow::program::Property;

use super::failure::{Failure, Request, values};
use super::{Tested, Trial};

/// As much of a long value is shown, in characters.
const LONGEST: usize = 300;
/// A run of one character that is longer than this is written as a loop of the shell.
const LONGEST_RUN: usize = 100;
/// A request that is longer than this is not written out: it's in the file of kept examples, value by value.
const LONGEST_LINE: usize = 4_000;

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
pub(super) fn tested(tested: &Tested, seed: u64, origin: &str) -> String {
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
                    details(found, seed, origin)
                )
            })
            .collect(),
    }
}

/// The smallest example, how it was come by, and how it is repeated.
pub(super) fn details(found: &Counterexample<Failure>, seed: u64, origin: &str) -> String {
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
    for line in script(&found.failure.requests, origin) {
        let line = match line.len() > LONGEST_LINE {
            true => cut(&line),
            false => line,
        };
        text.push_str(&format!("             {line}\n"));
    }
    text
}

/// The requests as lines for a shell. Cookies are read from the jar `cookies.txt` of a user who is logged in.
pub(super) fn script(requests: &[Request], origin: &str) -> Vec<String> {
    let origin = origin.trim_end_matches('/');
    requests
        .iter()
        .map(|request| curl(request, origin))
        .collect()
}

fn curl(request: &Request, origin: &str) -> String {
    let mut line = format!("curl -sk -b cookies.txt -X {}", request.method);
    for (name, value) in &request.headers {
        // Curl sends no header that is empty, unless it ends like this.
        let header = match value.trim() {
            "" => format!("{name};"),
            _ => format!("{name}: {value}"),
        };
        line.push_str(&format!(" -H {}", quoted(&header)));
    }
    if let Some((header, cookie)) = &request.double_submit {
        line.push_str(&format!(
            " -H \"{header}: $(awk '$6==\"{cookie}\"{{print $7}}' cookies.txt)\""
        ));
    }
    if !request.body.is_empty() {
        line.push_str(&format!(
            " -H {} --data-binary {}",
            quoted(&format!("Content-Type: {}", request.content_type)),
            quoted(&request.body)
        ));
    }
    // Only scheme, host and port: the path begins with what the URL has behind them.
    let origin = url::Url::parse(origin).map_or_else(
        |_| origin.to_owned(),
        |url| url.origin().ascii_serialization(),
    );
    line.push_str(&format!(
        " {}",
        quoted(&format!("{origin}{}", request.path))
    ));
    line
}

/// A word of bash (or zsh): what a terminal would not show is written as an escape, a long run of one character as a loop.
pub(super) fn quoted(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut word = String::new();
    let mut plain = String::new();
    for run in characters.chunk_by(PartialEq::eq) {
        let character = run[0];
        if run.len() > LONGEST_RUN && character.is_ascii_alphanumeric() {
            word.push_str(&part(&std::mem::take(&mut plain)));
            word.push_str(&format!(
                "\"$(printf '{character}%.0s' {{1..{}}})\"",
                run.len()
            ));
        } else {
            plain.extend(run);
        }
    }
    word.push_str(&part(&plain));
    match word.is_empty() {
        true => "''".to_owned(),
        false => word,
    }
}

fn part(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{80}'..='\u{a0}' | '\u{300}'..='\u{36f}' | '\u{590}'..='\u{8ff}' | '\u{2000}'..='\u{206f}' | '\u{e000}'..)
    };
    if text.is_empty() {
        return String::new();
    }
    if text.chars().all(plain) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut shown = "$'".to_owned();
    for character in text.chars() {
        match character {
            '\'' | '\\' => shown.extend(['\\', character]),
            character if plain(character) => shown.push(character),
            // Bytes and not code points: those depend on the shell's locale.
            character => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    shown.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    shown.push('\'');
    shown
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
    let failed = |tested: &Tested| matches!(tested.outcome.verdict, Worth::Failed(_));
    if let Some(trial) = trial.filter(|trial| trial.tested.iter().any(failed)) {
        text.extend(trial.login.iter().map(|line| format!("{line}\n")));
    }
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
    fn words_of_a_shell() {
        for (text, expected) in [
            ("", "''"),
            ("plain {\"a\":1}", "'plain {\"a\":1}'"),
            ("it's", r"'it'\''s'"),
            ("a\u{1f600}'\\\n", r"$'a\xf0\x9f\x98\x80\'\\\x0a'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5_000));
        assert_eq!(
            quoted(&long),
            r#"'{"a":"'"$(printf 'x%.0s' {1..5000})"'"}'"#
        );
    }

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
