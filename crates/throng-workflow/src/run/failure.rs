//! Why an execution ended early, and how causes of failures are told apart.

use serde_json::Value;
use throng_metrics::{Failure, FailureKind};

/// Longest example of a failure that is kept, in characters.
const LONGEST: usize = 500;

/// As much of an answer is shown that should have been a refusal, in characters.
const LONGEST_ANSWER: usize = 160;

/// Why an execution ended early.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Halt {
    /// A step failed; it was recorded.
    #[error("the step `{step}` failed: {cause}")]
    Step {
        /// Its name.
        step: String,
        /// The normalised cause.
        cause: String,
    },
    /// A step could not even be tried. Nothing was sent or recorded.
    #[error("the step `{step}` could not be tried: {why}")]
    Untried {
        /// Its name.
        step: String,
        /// What is missing.
        why: String,
    },
    /// There are too few users for the actors.
    #[error("the workflow `{workflow}` needs {needed} users, but there are {found}")]
    TooFewUsers {
        /// The workflow.
        workflow: String,
        /// How many it needs.
        needed: u32,
        /// How many there are.
        found: u32,
    },
    /// The run was aborted.
    #[error("the run was aborted")]
    Aborted,
}

/// A failure whose cause is its message with everything that varies folded.
pub(crate) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        cause: fold(message),
        example: shorten(message),
    }
}

/// A failure with a cause of its own.
pub(crate) fn failure_with(kind: FailureKind, cause: impl Into<String>, message: &str) -> Failure {
    Failure {
        kind,
        cause: cause.into(),
        example: shorten(message),
    }
}

/// An access violation: a step that must be refused was not. `who` is a user with its part, `done` what it did.
pub(crate) fn violation(
    step: &str,
    who: &str,
    done: &str,
    refusal: &str,
    answer: &Value,
) -> Failure {
    let answer = cut(&shown(answer), LONGEST_ANSWER);
    failure_with(
        FailureKind::NotRefused,
        format!("was not refused, and must be with /{refusal}/"),
        &format!("{step}: {who} {done} and was NOT refused; answer: {answer}"),
    )
}

/// A value as it may be shown.
pub(crate) fn shown(value: &Value) -> String {
    let mut value = value.clone();
    hide_secrets(&mut value);
    value.to_string()
}

/// Whether a name, or a path, is that of a secret.
pub(crate) fn names_a_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace(['_', '-'], "");
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// Takes out of an answer what its keys say is secret: whoever is let in where he should not be may well be given some.
fn hide_secrets(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A validator's complaint (FastAPI): which field, and what was in it.
            if map
                .get("loc")
                .is_some_and(|at| names_a_secret(&at.to_string()))
                && let Some(input) = map.get_mut("input")
            {
                *input = Value::from("***");
            }
            for (key, inner) in map {
                if names_a_secret(key) {
                    *inner = Value::from("***");
                } else {
                    hide_secrets(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        // JSON within JSON, as gateways and logs have it.
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                let before = inner.clone();
                hide_secrets(&mut inner);
                if inner != before {
                    *text = inner.to_string();
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Parts of the names of secrets, in small letters, without `_` and `-`.
const SECRETS: [&str; 12] = [
    "password",
    "passwd",
    "secret",
    "token",
    "cookie",
    "authorization",
    "credential",
    "apikey",
    "privatekey",
    "passphrase",
    "jwt",
    "session",
];

/// The start of a long text.
pub(crate) fn shorten(text: &str) -> String {
    cut(text, LONGEST)
}

pub(crate) fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Folds what varies between failures of the same cause: every word with a digit in it (numbers, ids, names of users)
/// becomes `#`, except a status code after "HTTP", "status", "code" or "error". At most 160 characters of one line.
pub fn fold(message: &str) -> String {
    let line = message.trim().lines().next().unwrap_or_default();
    let mut out = String::with_capacity(line.len().min(200));
    let mut previous = String::new();
    let mut rest = line;
    let word_end = |text: &str| text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let mut count = 0;
    while let Some(first) = rest.chars().next() {
        if count >= 160 {
            out.push('…');
            break;
        }
        if !is_word(first) {
            out.push(first);
            count += 1;
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let word = &rest[..word_end(rest)];
        rest = &rest[word.len()..];
        let code = word.len() == 3
            && word.bytes().all(|b| b.is_ascii_digit())
            && matches!(previous.as_str(), "http" | "status" | "code" | "error");
        if code || !word.bytes().any(|b| b.is_ascii_digit()) {
            out.push_str(word);
            count += word.chars().count();
        } else if out.ends_with("#-") || out.ends_with("#.") {
            // Parts of one id are one mark.
            out.pop();
        } else {
            out.push('#');
            count += 1;
        }
        previous = word.to_lowercase();
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_folded() {
        for (message, expected) in [
            ("Note 5 not found", "Note # not found"),
            ("Note 17 not found\nmore", "Note # not found"),
            (
                "share of loadtest_user_12 (HTTP 404)",
                "share of # (HTTP 404)",
            ),
            ("server error (412)", "server error (412)"),
            ("id 0f3a-11-2b7 gone", "id # gone"),
            ("at 127.0.0.1:8080", "at #:#"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(fold(message), expected, "{message}");
        }
        assert!(fold(&"ä".repeat(1000)).chars().count() <= 1001);
        assert!(fold(&"ä ".repeat(1000)).chars().count() <= 161);
    }

    #[test]
    fn a_violation_shows_the_start_of_the_answer_and_no_secret() {
        let answer = serde_json::json!({
            "list": [{ "access_token": "t0ps3cret", "Password": 5 }],
            "text": "x".repeat(1000),
        });
        let failure = violation("write", "u2 (reviewer)", "called put", "403", &answer);
        assert_eq!(failure.kind, FailureKind::NotRefused);
        assert!(!failure.example.contains("t0ps3cret"));
        let hidden = serde_json::json!({
            "x-api-key": "s3cr3t", "private_key": "s3cr3t", "JWT": "s3cr3t", "session": { "id": "s3cr3t" },
            "inner": "{\"passphrase\": \"s3cr3t\", \"n\": 1}",
            "detail": [{ "loc": ["body", "new_password"], "input": "s3cr3t", "msg": "too short" }],
        });
        let shown = shown(&hidden);
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(
            shown.contains("too short") && shown.contains(r#"\"n\":1"#),
            "{shown}"
        );
    }

    #[test]
    fn a_violation_shows_the_start_of_the_answer() {
        let answer = serde_json::json!({
            "list": [{ "access_token": "t0ps3cret", "Password": 5 }],
            "text": "x".repeat(1000),
        });
        let failure = violation("write", "u2 (reviewer)", "called put", "403", &answer);
        assert_eq!(failure.kind, FailureKind::NotRefused);
        assert_eq!(failure.cause, "was not refused, and must be with /403/");
        assert!(
            failure.example.starts_with(
                r#"write: u2 (reviewer) called put and was NOT refused; answer: {"list":[{"access_token":"***","Password":"***"}],"#
            ),
            "{}",
            failure.example
        );
        assert!(failure.example.chars().count() < 240);
    }

    #[test]
    fn long_examples_are_cut_between_characters() {
        assert_eq!(shorten(&"ü".repeat(600)).chars().count(), LONGEST + 1);
    }
}
