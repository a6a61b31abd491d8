//! A property in a test of one's own: `cargo test` without a scenario file.

use std::fmt::Display;
use std::future::Future;

use serde_json::Value;

use super::{Alike, Settings, Tried, Verdict, check};
use crate::value::Values;

/// Tries a property, and panics with the smallest example where it does not hold, or where it is vacuous.
///
/// What is awaited in `attempt` runs on a tokio runtime of this call's own, which lives on this thread.
///
/// # Panics
///
/// When the property fails, is vacuous, or has no examples; and when no runtime can be made.
pub fn hold<E, F, T>(name: &str, values: &Values, settings: &Settings, attempt: F)
where
    E: Alike + Display,
    F: Fn(Value) -> T,
    T: Future<Output = Tried<E>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("{name}: no runtime: {error}"));
    let outcome = runtime.block_on(check(values, settings, attempt));
    let (accepted, tried) = (outcome.accepted, outcome.tried);
    match &outcome.verdict {
        Verdict::Passed => {}
        Verdict::Failed(all) => {
            let words = all.iter().map(|found| {
                format!(
                    "{name} does not hold (seed {}): {}\n  for {}\n  first seen with {}; failed in {} of {} further tries",
                    settings.seed,
                    found.failure,
                    found.example,
                    found.first,
                    found.repeated,
                    found.repeated_of,
                )
            });
            panic!("{}", words.collect::<Vec<_>>().join("\n"))
        }
        Verdict::Vacuous => {
            let reason = outcome
                .refusals
                .first()
                .map_or(String::new(), |(reason, count)| {
                    format!("; {count} times: {reason}")
                });
            panic!("{name} is vacuous: {accepted} of {tried} examples were accepted{reason}")
        }
        Verdict::NoExamples(reason) => panic!("{name}: no examples can be made: {reason}"),
        Verdict::Stopped => panic!("{name} was stopped"),
    }
}
