//! Properties: what must hold for every example of a kind, tried on generated examples, and shrunk where it doesn't.
//!
//! A property is a strategy for examples and a way to try one ([`check`]); what trying means is the caller's: a request, or the
//! steps of a workflow. An example that the target refuses before anything was done proves nothing. Where nearly all
//! are refused, the property is called **vacuous**, and not passed.
//!
//! Nothing here sends a request, prints or knows a target.

mod given;
mod hold;
mod kept;
mod runner;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub use given::{GivenError, fits, needs_document, strategy, together};
pub use hold::hold;
pub use kept::{Kept, KeptError, Regressions};
pub use runner::check;

/// How many examples are tried where nobody says it.
pub const DEFAULT_CASES: u32 = 100;
/// The share of examples that must be accepted where nobody says it: below, hardly any came to what is to be tested.
pub const DEFAULT_MIN_ACCEPTED: f64 = 0.1;

/// How a property is tried.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many examples are generated.
    pub cases: u32,
    /// The share of them, from 0 to 1, that must be accepted; below, the property is vacuous.
    pub min_accepted: f64,
    /// The same seed gives the same examples.
    pub seed: u64,
    /// How many are tried at the same time. Shrinking tries one after the other.
    pub concurrency: usize,
    /// How many examples shrinking tries at most.
    pub shrinks: u32,
    /// How long shrinking takes at most.
    pub shrink_time: Duration,
    /// Examples that failed before: they are tried first.
    pub kept: Vec<Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cases: DEFAULT_CASES,
            min_accepted: DEFAULT_MIN_ACCEPTED,
            seed: 0,
            concurrency: 1,
            shrinks: 600,
            shrink_time: Duration::from_secs(60),
            kept: Vec::new(),
        }
    }
}

/// What came of one example.
#[derive(Clone, Debug, PartialEq)]
pub enum Tried<E> {
    /// The target took it, and all that must hold did.
    Accepted,
    /// The target refused it before there was anything to look at; its words, so that a vacuous property can be mended.
    Refused(String),
    /// What must hold did not.
    Failed(E),
    /// Somebody wants to stop: it says nothing.
    Stopped,
}

/// Failures that are told apart: shrinking keeps to the one that it began with, or it would end at another, simpler one.
pub trait Alike {
    /// Whether both are the same failure, as far as can be told.
    fn alike(&self, other: &Self) -> bool;
}

impl Alike for String {
    /// Words may well quote the example: any two are alike.
    fn alike(&self, _: &Self) -> bool {
        true
    }
}

/// What came of a property.
#[derive(Clone, Debug)]
pub struct Outcome<E> {
    /// What it is worth.
    pub verdict: Verdict<E>,
    /// How many examples were tried, shrinking not counted.
    pub tried: u32,
    /// How many of them the target accepted.
    pub accepted: u32,
    /// Why examples were refused, the most frequent reason first.
    pub refusals: Vec<(String, u32)>,
    /// How long it took.
    pub took: Duration,
}

impl<E> Outcome<E> {
    /// The share of examples that were accepted, from 0 to 1; 0 where none was tried.
    pub fn share(&self) -> f64 {
        match self.tried {
            0 => 0.0,
            tried => f64::from(self.accepted) / f64::from(tried),
        }
    }
}

/// What a property is worth.
#[derive(Clone, Debug)]
pub enum Verdict<E> {
    /// It held for every example, and enough were accepted.
    Passed,
    /// It did not hold: an example of each failure that could be told apart, the earliest first. Never empty.
    Failed(Vec<Counterexample<E>>),
    /// It held, but fewer examples were accepted than must be: it proves nothing.
    Vacuous,
    /// No examples could be made; why.
    NoExamples(String),
    /// Somebody stopped it before it was through.
    Stopped,
}

/// An example for which a property does not hold.
#[derive(Clone, Debug, Serialize)]
pub struct Counterexample<E> {
    /// The smallest that was found.
    pub example: Value,
    /// The one that failed first.
    pub first: Value,
    /// What happened to the smallest.
    pub failure: E,
    /// Which example failed, from 0; `None` for one that was kept from an earlier run.
    pub case: Option<u32>,
    /// How many examples shrinking tried.
    pub shrinks: u32,
    /// Of so many further tries of the smallest...
    pub repeated_of: u32,
    /// ... so many failed, too.
    pub repeated: u32,
}
