//! Reading reports: figures by path, and calls in the journal's shape.

use serde_json::Value;

use crate::journal::Calls;

/// The value at a path such as `/summary/duration`.
#[track_caller]
pub(crate) fn at<'a>(report: &'a Value, path: &str) -> &'a Value {
    report
        .pointer(path)
        .unwrap_or_else(|| panic!("no {path} in {report:#}"))
}

/// The number at a path.
#[track_caller]
pub(crate) fn number(report: &Value, path: &str) -> f64 {
    let value = at(report, path);
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{path} is no number: {value}"))
}

/// The whole number at a path.
#[track_caller]
pub(crate) fn count(report: &Value, path: &str) -> u64 {
    let value = at(report, path);
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{path} is no whole number: {value}"))
}

/// The entries of the object at a path.
#[track_caller]
pub(crate) fn entries<'a>(
    report: &'a Value,
    path: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let value = at(report, path);
    let entries = value
        .as_object()
        .unwrap_or_else(|| panic!("{path} is no object: {value}"));
    entries.iter().map(|(key, value)| (key.as_str(), value))
}

/// A pointer's segment for a key that has slashes in it.
pub(crate) fn key(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What it says by step and user; a step goes by its bare name, since that is how a user's are broken down.
#[track_caller]
pub(crate) fn by_step_and_user(report: &Value) -> Calls {
    let mut calls = Calls::new();
    for (user, _) in entries(report, "/users") {
        for (step, times) in entries(report, &format!("/users/{user}/operations_breakdown")) {
            let times = times.as_u64().expect("a count");
            calls.insert((step.to_owned(), user.to_owned()), times);
        }
    }
    calls
}

/// All verdicts that hold, by name, with their reasons.
#[track_caller]
pub(crate) fn verdicts(report: &Value) -> Vec<(String, String)> {
    let all = at(report, "/verdict/all").as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.iter()
        .map(|holding| {
            let reasons = holding["reasons"].as_array().expect("a list");
            let reasons: Vec<String> = reasons.iter().map(text).collect();
            (text(&holding["name"]), reasons.join("\n"))
        })
        .collect()
}

/// Why a verdict holds.
#[track_caller]
pub(crate) fn reasons(report: &Value, name: &str) -> String {
    let verdicts = verdicts(report);
    let found = verdicts.iter().find(|(verdict, _)| verdict == name);
    found
        .map(|(_, reasons)| reasons.clone())
        .unwrap_or_else(|| panic!("no verdict {name} among {verdicts:?}"))
}
