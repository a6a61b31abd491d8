//! The scalar values of the file: texts, counts, durations, rates, regular expressions, secrets.

use std::borrow::Cow;
use std::time::Duration;

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use throng_identity::secret::Secret;

use crate::decode::Decode;
use crate::node::{Kind, Node};
use crate::problem::Problems;

/// Gives a type an inlined schema.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:tt) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}
pub(crate) use schema;

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Text(text) => text.clone(),
            _ => {
                problems.wrong_kind(node, "a text");
                Self::default()
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Bool(value) => *value,
            Kind::Text(text) if soft(node) && text == "true" => true,
            Kind::Text(text) if soft(node) && text == "false" => false,
            _ => {
                problems.wrong_kind(node, "true or false");
                Self::default()
            }
        }
    }
}

/// Whether a text may stand for a number or a boolean: what the environment and flags give is always text.
fn soft(node: &Node) -> bool {
    node.from_environment || node.mark.flag.is_some()
}

fn whole_number(node: &Node) -> Option<u64> {
    match &node.kind {
        Kind::Number(number) => number.as_u64(),
        Kind::Text(text) if soft(node) => text.trim().parse().ok(),
        _ => None,
    }
}

macro_rules! whole {
    ($type:ty) => {
        impl Decode for $type {
            fn decode(node: &Node, problems: &mut Problems) -> Self {
                match whole_number(node).and_then(|n| <$type>::try_from(n).ok()) {
                    Some(number) => number,
                    None => {
                        let expected = match node.kind {
                            Kind::Number(_) => format!("a whole number from 0 to {}", <$type>::MAX),
                            _ => "a whole number".to_owned(),
                        };
                        problems.wrong_kind(node, &expected);
                        Self::default()
                    }
                }
            }
        }
    };
}
whole!(u16);
whole!(u32);
whole!(u64);

impl Decode for f64 {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let number = match &node.kind {
            Kind::Number(number) => number.as_f64(),
            Kind::Text(text) if soft(node) => text.trim().parse().ok(),
            _ => None,
        };
        number.unwrap_or_else(|| {
            problems.wrong_kind(node, "a number");
            Self::default()
        })
    }
}

/// The message for a scalar of the wrong form. What came from the environment is not quoted.
fn found(node: &Node, expected: &str, why: &str) -> String {
    let found = crate::problem::describe(node);
    if node.from_environment {
        return format!("expected {expected}, found {found}");
    }
    format!("expected {expected}, found {found}: {why}")
}

/// A length of time: `50ms`, `10s`, `2m`, `1h`, or several of these in a row (`1m30s`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

schema!(Span, "Duration", {
    "type": ["string", "integer"],
    "pattern": r"^((\d+(\.\d+)?(us|ms|s|m|h))+|0|.*\$\{.*)$",
    "maximum": 0, "minimum": 0,
    "description": "a duration: 50ms, 10s, 2m, 1h, 1m30s"
});

impl Span {
    /// A span of `n` milliseconds.
    pub const fn milliseconds(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// A span of `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

/// Reads a duration such as `1m30s`. The error says what was wrong, in a lowercase fragment.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return Err("an empty duration".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits]
            .parse()
            .map_err(|_| format!("expected a number before {rest:?}"))?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return Err("the unit is missing".to_owned()),
                other => return Err(format!("unknown unit `{other}`")),
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| "too long".to_owned())
}

impl Decode for Span {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        const FORMS: &str = "a duration such as 50ms, 10s, 2m or 1m30s";
        let text = match &node.kind {
            Kind::Text(text) => text,
            Kind::Number(number) if number.as_u64() == Some(0) => return Self::default(),
            Kind::Number(number) => {
                let help =
                    format!("write `{number}s` for seconds, or `{number}ms` for milliseconds");
                problems.add_with_help(
                    node.mark,
                    format!("expected {FORMS}, found the number {number}"),
                    help,
                );
                return Self::default();
            }
            _ => {
                problems.wrong_kind(node, FORMS);
                return Self::default();
            }
        };
        match parse_duration(text) {
            Ok(duration) => Self(duration),
            Err(why) => {
                problems.add_with_help(
                    node.mark,
                    found(node, FORMS, &why),
                    "the units are us, ms, s, m and h",
                );
                Self::default()
            }
        }
    }
}

/// How many starts in a given time: `200/s`, `90/m`, `10/h`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateText {
    /// Starts in each period.
    pub count: f64,
    /// The period: a second, a minute or an hour.
    pub per: Duration,
}

schema!(RateText, "Rate", {
    "type": "string",
    "pattern": r"^(\d+(\.\d+)?/(s|m|h)|.*\$\{.*)$",
    "description": "starts per second, minute or hour: 200/s, 90/m, 10/h"
});

/// Reads a rate such as `200/s`. The error says what was wrong, in a lowercase fragment.
pub(crate) fn parse_rate(text: &str) -> Result<RateText, String> {
    let (count, per) = text.trim().split_once('/').ok_or("the `/s` is missing")?;
    let count: f64 = count
        .trim()
        .parse()
        .map_err(|_| format!("{count:?} is not a number"))?;
    if !(count.is_finite() && count > 0.0) {
        return Err("it must be more than 0".to_owned());
    }
    let per = match per.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        other => return Err(format!("unknown unit `{other}`")),
    };
    Ok(RateText { count, per })
}

impl Decode for RateText {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        const FORMS: &str = "a rate such as 200/s, 90/m or 10/h";
        let Kind::Text(text) = &node.kind else {
            problems.wrong_kind(node, FORMS);
            return Self::default();
        };
        parse_rate(text).unwrap_or_else(|why| {
            problems.add(node.mark, found(node, FORMS, &why));
            Self::default()
        })
    }
}

/// A regular expression (syntax of the `regex` crate).
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl Default for Pattern {
    fn default() -> Self {
        Self(Regex::new("").expect("the empty pattern is valid"))
    }
}

schema!(Pattern, "Pattern", { "type": "string", "description": "a regular expression" });

impl Decode for Pattern {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match Regex::new(&String::decode(node, problems)) {
            Ok(regex) => Self(regex),
            Err(error) => {
                let why = error.to_string();
                let why = why
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                problems.add(
                    node.mark,
                    format!("this is not a valid regular expression: {why}"),
                );
                Self::default()
            }
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretText(pub Secret);

impl Default for SecretText {
    fn default() -> Self {
        Self(Secret::from(""))
    }
}

schema!(SecretText, "Secret", { "type": "string", "description": "a secret; better given as ${NAME}" });

impl Decode for SecretText {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Text(text) => Self(Secret::from(text.as_str())),
            Kind::Number(_) | Kind::Bool(_) => {
                problems.add_with_help(node.mark, "expected a text", "put the value in quotes");
                Self::default()
            }
            _ => {
                problems.wrong_kind(node, "a text");
                Self::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("50ms", Some(Duration::from_millis(50))),
            ("10s", Some(Duration::from_secs(10))),
            ("2m", Some(Duration::from_secs(120))),
            ("1m30s", Some(Duration::from_secs(90))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("250us", Some(Duration::from_micros(250))),
            ("1h", Some(Duration::from_secs(3600))),
            ("0", Some(Duration::ZERO)),
            ("10", None),
            ("10 sec", None),
            ("-1s", None),
            ("", None),
            ("s", None),
            ("1e9s", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn rates() {
        for (text, expected) in [
            ("200/s", Some((200.0, 1))),
            ("0.5/s", Some((0.5, 1))),
            ("90/m", Some((90.0, 60))),
            ("10/h", Some((10.0, 3600))),
            ("200", None),
            ("0/s", None),
            ("-3/s", None),
            ("x/s", None),
            ("5/d", None),
        ] {
            let rate = parse_rate(text)
                .ok()
                .map(|rate| (rate.count, rate.per.as_secs()));
            assert_eq!(rate, expected, "{text:?}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(
            format!("{:?}", SecretText("hunter2".into())),
            "SecretText([secret])"
        );
    }
}
