//! What a step demands of its answer: checks, what is waited for, expected refusals.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use jsonschema::Validator;
use regex::Regex;
use serde_json::Value;
use throng_metrics::CounterId;

use super::{PathProgram, Pieces};
use crate::model::JsonType;

/// What must hold for a result.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Where.
    pub place: Place,
    /// What.
    pub tests: Vec<Test>,
}

impl Condition {
    /// Whether it looks at the result, and not only at what came with it.
    pub(super) fn reads_result(&self) -> bool {
        matches!(self.place, Place::Path(_))
            && self
                .tests
                .iter()
                .any(|test| !matches!(test, Test::Status(_)))
    }
}

/// Where something must hold.
#[derive(Clone, Debug)]
pub enum Place {
    /// At a path of the result.
    Path(PathProgram),
    /// In a header of the answer.
    Header(HeaderName),
}

/// One thing that must hold.
#[derive(Clone, Debug)]
pub enum Test {
    /// The answer's status is one of these.
    Status(Vec<u16>),
    /// It fits a JSON Schema.
    Schema(Arc<Validator>),
    /// There is something, or nothing.
    Exists(bool),
    /// Equal.
    Equals(Expected),
    /// Not equal.
    NotEquals(Expected),
    /// Has in it.
    Contains(Expected),
    /// Does not have in it.
    NotContains(Expected),
    /// Has every element in it; what is missing fails, or is counted.
    ContainsEach(Expected, Option<CounterId>),
    /// Matches.
    Matches(Regex),
    /// Has a type.
    Type(JsonType),
    /// Has a length.
    Length(u64),
    /// Number or length from.
    AtLeast(f64),
    /// Number or length up to.
    AtMost(f64),
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Known when the file is read.
    Fixed(Value),
    /// JSON to be put together.
    Computed(Pieces),
}

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Until {
    /// It; nothing where a refusal is waited for.
    pub condition: Condition,
    /// The refusal that is waited for, by its words.
    pub refused: Option<Regex>,
    /// Time between two calls.
    pub every: Duration,
    /// How long it is waited for.
    pub within: Duration,
}

/// An expected refusal.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error matches this.
    pub error: Regex,
    /// It is counted here.
    pub count: Option<CounterId>,
    /// The step fails without it.
    pub must: bool,
}
