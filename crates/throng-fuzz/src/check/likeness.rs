//! What JSON says of a thing: whether two answers are about the same one, and whether it is said to be gone or refused.
//!
//! No schema says it, so it goes by names and words, on the safe side: rather nothing is found than something that is none.

use serde_json::{Map, Value};

use crate::request::scalar;

/// In the names of members that differ from one answer to the next without anything having changed.
const PASSING: [&str; 16] = [
    "time", "date", "creat", "modif", "access", "seen", "request", "trace", "correlat", "version",
    "etag", "revision", "count", "view", "expir", "exist",
];
/// Names of what a thing is known by.
const IDS: [&str; 6] = ["id", "_id", "uuid", "guid", "key", "slug"];
/// In words for what is no more.
const GONE: [&str; 9] = [
    "delet", "remov", "archiv", "trash", "tombston", "expired", "inactiv", "revok", "cancel",
];
/// Members that say how a thing is.
const STATES: [&str; 5] = ["status", "state", "outcome", "result", "phase"];
/// In words for what did not come about.
const REFUSED: [&str; 8] = [
    "refus", "reject", "fail", "invalid", "error", "denied", "declin", "discard",
];

fn has(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn passes(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    has(name, &PASSING)
        || name.ends_with("_at")
        || name.ends_with("At")
        || matches!(lower.as_str(), "new" | "is_new" | "isnew")
}

/// Whether two values are the same but for what passes: times, counts, ids of requests.
pub(super) fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other
                        .get(name)
                        .is_some_and(|other| passes(name) || alike(value, other))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (one, other) => one == other,
    }
}

/// Whether two answers are about the same thing: by what it's known by; where there's no such thing, by all that doesn't pass.
pub(super) fn same_thing(one: &Value, other: &Value) -> bool {
    let plain = |name: &str| IDS.contains(&name.to_ascii_lowercase().as_str());
    let longer = |name: &str| !passes(name) && (name.ends_with("_id") || name.ends_with("Id"));
    for known_by in [&plain as &dyn Fn(&str) -> bool, &longer] {
        let (one, other) = (named(one, known_by), named(other, known_by));
        if !one.is_empty() && !other.is_empty() {
            return one == other;
        }
    }
    alike(one, other)
}

/// The plain values of members of such names, at any depth.
fn named<'a>(json: &'a Value, wanted: &dyn Fn(&str) -> bool) -> Vec<(&'a str, String)> {
    match json {
        Value::Object(members) => members
            .iter()
            .flat_map(
                |(name, value)| match scalar(value).filter(|_| wanted(name)) {
                    Some(value) => vec![(name.as_str(), value)],
                    None => named(value, wanted),
                },
            )
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| named(item, wanted)).collect(),
        _ => Vec::new(),
    }
}

/// Whether a thing says of itself that it was deleted: then it's kept on purpose.
pub(super) fn says_it_is_gone(json: &Value) -> bool {
    let Some(members) = json.as_object() else {
        return false;
    };
    members.iter().any(|(name, value)| match value {
        Value::Bool(true) => has(name, &GONE),
        Value::Bool(false) => matches!(
            name.to_ascii_lowercase().as_str(),
            "active" | "is_active" | "isactive"
        ),
        Value::String(text) => {
            (has(name, &GONE) && !text.is_empty()) || (is_state(name) && has(text, &GONE))
        }
        Value::Number(number) => has(name, &GONE) && number.as_f64() != Some(0.0),
        Value::Object(_) => says_it_is_gone(value),
        _ => false,
    })
}

fn is_state(name: &str) -> bool {
    STATES.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether all that holds a text says of itself, or stands in something that says, that it was refused.
pub(super) fn says_it_was_refused(json: &Value, text: &str) -> bool {
    let holds = |value: &Value| value.to_string().contains(text);
    match json {
        Value::Object(members) => {
            let mut holding = members.values().filter(|value| holds(value)).peekable();
            told_refused(members, text)
                || (holding.peek().is_some()
                    && holding.all(|value| says_it_was_refused(value, text)))
        }
        Value::Array(items) => {
            let mut holding = items.iter().filter(|item| holds(item)).peekable();
            holding.peek().is_some() && holding.all(|item| says_it_was_refused(item, text))
        }
        _ => false,
    }
}

fn told_refused(members: &Map<String, Value>, text: &str) -> bool {
    members.iter().any(|(name, value)| match value {
        Value::Bool(true) => has(name, &REFUSED),
        Value::Bool(false) => matches!(name.to_ascii_lowercase().as_str(), "success" | "ok"),
        // What was sent may have any words.
        Value::String(said) if !said.contains(text) => {
            (has(name, &REFUSED) && !said.is_empty()) || (is_state(name) && has(said, &REFUSED))
        }
        _ => false,
    })
}
