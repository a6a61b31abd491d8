//! Thresholds: conditions on a run's result, as `note_share.p95<500ms`.
//!
//! ```text
//! [scope.][kind.]figure  <  value          (or <=, >, >=, ==, !=)
//!
//! scope   nothing (all steps), a workflow, `workflow.step`, an endpoint, `baseline` (its operations), or a phase of
//!         the set-up (`login`, `session`, `provision`)
//! kind    `response` (from the intended start; the default), `service` (from the actual one), `failures`,
//!         `propagation` (waits for something to become visible)
//! figure  min, max, mean, median, p50, p95, p99.9 ...       with us, ms, s or m
//!         success_rate, error_rate                          with %
//!         rate                                              with /s, /m or /h
//!         count, errors, refused, not_refused               whole numbers
//!         dropped_starts, late_starts, a scenario's counter whole numbers, without a scope
//!         lag.p99 and so on                                 the generator's lag, without a scope
//! ```
//!
//! Blanks do not matter. Percentiles are read from the histograms, so any will do. A threshold on something that has
//! no samples does not hold.

mod evaluate;
mod parse;

use std::{fmt, time::Duration};

use crate::{Catalog, StepId, WorkflowId, WorkflowRole, phase::PHASES};

/// A condition on a run's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    text: String,
    /// Everything before the kind and the figure; empty for all steps. Names may hold dots.
    scope: String,
    kind: Kind,
    figure: Figure,
    comparison: Comparison,
    /// In the figure's unit: seconds, percent, a second, pieces.
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Response,
    Service,
    Failures,
    Propagation,
}

#[derive(Debug, Clone, PartialEq)]
enum Figure {
    Min,
    Max,
    Mean,
    /// From 0 to 1.
    Quantile(f64),
    SuccessRate,
    ErrorRate,
    Rate,
    Count,
    Errors,
    /// Refused as expected.
    Refused,
    /// Access violations.
    NotRefused,
    DroppedStarts,
    LateStarts,
    /// Looked up in the catalog.
    Counter(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Percent,
    PerSecond,
    Pieces,
}

impl Figure {
    fn unit(&self) -> Unit {
        match self {
            Figure::Min | Figure::Max | Figure::Mean | Figure::Quantile(_) => Unit::Seconds,
            Figure::SuccessRate | Figure::ErrorRate => Unit::Percent,
            Figure::Rate => Unit::PerSecond,
            Figure::Count
            | Figure::Errors
            | Figure::Refused
            | Figure::NotRefused
            | Figure::DroppedStarts
            | Figure::LateStarts
            | Figure::Counter(_) => Unit::Pieces,
        }
    }
}

impl Comparison {
    fn holds(self, actual: f64, value: f64) -> bool {
        match self {
            Comparison::Less => actual < value,
            Comparison::LessOrEqual => actual <= value,
            Comparison::Greater => actual > value,
            Comparison::GreaterOrEqual => actual >= value,
            Comparison::Equal => actual == value,
            Comparison::NotEqual => actual != value,
        }
    }
}

impl Unit {
    /// A value with its unit, for people.
    fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds => format!("{:?}", Duration::from_secs_f64((value * 1e6).round() / 1e6)),
            Unit::Percent => format!("{}%", rounded(value, 2)),
            Unit::PerSecond => format!("{}/s", rounded(value, 2)),
            Unit::Pieces => format!("{value}"),
        }
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// What is wrong with a threshold: what, where, and what was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdError {
    /// The threshold as it was written.
    pub text: String,
    /// Where in it, in characters from 1.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// The nearest right word, if one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for ThresholdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            text,
            at,
            message,
            nearest,
        } = self;
        write!(f, "threshold {text:?}, character {at}: {message}")?;
        match nearest {
            Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ThresholdError {}

/// What a scope is, once it has been looked up.
#[derive(Debug, Clone, PartialEq)]
enum Scope {
    All,
    Lag,
    Baseline,
    Workflow(WorkflowId),
    Step(StepId),
    Endpoint(String),
    Phase(String),
}

impl Threshold {
    /// Whether it limits the errors of the run as a whole, not only those of one workflow or step.
    pub fn is_on_all_errors(&self) -> bool {
        self.scope.is_empty()
            && matches!(
                self.figure,
                Figure::ErrorRate | Figure::SuccessRate | Figure::Errors
            )
    }

    /// Whether it limits access violations: calls that must be refused and were not.
    pub fn is_on_access(&self) -> bool {
        self.figure == Figure::NotRefused
    }

    /// The threshold as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks that everything it names is in the catalog. Do this before the run.
    ///
    /// # Errors
    /// Says what is unknown, and what was probably meant.
    pub fn check(&self, catalog: &Catalog) -> Result<(), ThresholdError> {
        let scope = self.resolve(catalog)?;
        if let Figure::Counter(name) = &self.figure
            && !catalog.counters.iter().any(|counter| counter.name == *name)
        {
            let known: Vec<&str> = parse::FIGURES
                .into_iter()
                .chain(catalog.counters.iter().map(|counter| counter.name.as_str()))
                .collect();
            return Err(self.error(
                name,
                parse::unknown_figure("figure or counter", name, &known),
                parse::nearest(name, known.iter().copied()),
            ));
        }
        let problem = match (&scope, self.kind, &self.figure) {
            (Scope::Phase(_), Kind::Service | Kind::Failures | Kind::Propagation, _) => {
                Some("a phase of the set-up has neither service, failures nor propagation")
            }
            (Scope::Phase(_), _, Figure::Rate) => Some("a phase of the set-up has no rate"),
            (Scope::Phase(_), _, Figure::Refused | Figure::NotRefused) => {
                Some("a phase of the set-up has no refusals")
            }
            (Scope::Lag, _, figure) if figure.unit() != Unit::Seconds => {
                Some("lag has percentiles, min, max and mean only")
            }
            _ => None,
        };
        match problem {
            Some(problem) => Err(self.error(&self.scope, problem.to_owned(), None)),
            None => Ok(()),
        }
    }

    fn resolve(&self, catalog: &Catalog) -> Result<Scope, ThresholdError> {
        let scope = self.scope.as_str();
        if scope.is_empty() {
            return Ok(Scope::All);
        }
        if scope == "lag" {
            return Ok(Scope::Lag);
        }
        let has_baseline = catalog
            .workflows
            .iter()
            .any(|workflow| workflow.role == WorkflowRole::Baseline);
        if scope == "baseline" && has_baseline {
            return Ok(Scope::Baseline);
        }
        if let Some(index) = catalog.workflows.iter().position(|w| w.name == scope) {
            return Ok(Scope::Workflow(WorkflowId(index as u32)));
        }
        let step = (0..catalog.steps.len() as u32)
            .map(StepId)
            .find(|id| step_scope(catalog, *id) == scope);
        if let Some(step) = step {
            return Ok(Scope::Step(step));
        }
        if catalog.steps.iter().any(|step| step.endpoint == scope) {
            return Ok(Scope::Endpoint(scope.to_owned()));
        }
        if PHASES.contains(&scope) {
            return Ok(Scope::Phase(scope.to_owned()));
        }
        let steps: Vec<_> = (0..catalog.steps.len() as u32)
            .map(|id| step_scope(catalog, StepId(id)))
            .collect();
        let known = steps
            .iter()
            .map(String::as_str)
            .chain(catalog.workflows.iter().map(|w| w.name.as_str()))
            .chain(catalog.steps.iter().map(|step| step.endpoint.as_str()))
            .chain(PHASES)
            .chain(has_baseline.then_some("baseline"));
        let mut error = self.unknown(scope, "workflow, step or phase", known);
        if let Some(step) = step_by_its_own_name(catalog, scope) {
            error.nearest = Some(step_scope(catalog, step));
        }
        Err(error)
    }

    fn unknown<'a>(
        &self,
        word: &str,
        what: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> ThresholdError {
        self.error(
            word,
            format!("unknown {what} {word:?}"),
            parse::nearest(word, known),
        )
    }

    /// An error at the place of a word.
    fn error(&self, word: &str, message: String, nearest: Option<String>) -> ThresholdError {
        let byte = self.text.find(word).unwrap_or(0);
        ThresholdError {
            text: self.text.clone(),
            at: self.text[..byte].chars().count() + 1,
            message,
            nearest,
        }
    }
}

/// The step that was named without its workflow, which is easily left out.
fn step_by_its_own_name(catalog: &Catalog, name: &str) -> Option<StepId> {
    let index = catalog.steps.iter().position(|step| step.name == name)?;
    Some(StepId(index as u32))
}

fn step_scope(catalog: &Catalog, step: StepId) -> String {
    catalog.step_key(step).replacen('/', ".", 1)
}
