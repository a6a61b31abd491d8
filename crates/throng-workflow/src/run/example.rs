//! One example of a property: its values are put in place, its steps are run once, and each call is noted, so that a failure
//! can be shown and repeated by hand.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use throng_engine::IterCx;
use throng_metrics::{Failure, Outcome, StepId};

use super::block::{Branch, Mode};
use super::draw;
use super::driver::{Driver, HttpTask, Prepared};
use super::failure::Halt;
use super::pattern::{Marks, Origin, Pattern};
use super::scope::{Execution, Scope, lock};
use crate::program::{Program, Property, Step};

/// What came of an example.
#[derive(Debug)]
pub struct Played {
    /// How its steps ended; those of `finally` change nothing.
    pub result: Result<(), Halt>,
    /// The answers to its calls, in the order in which they came; those of `finally` at the end.
    pub answers: Vec<Answer>,
    /// How many of them belong to the steps.
    pub steps: usize,
}

/// The answer to one call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The step.
    pub step: StepId,
    /// Its name.
    pub name: String,
    /// Whether the file says which answers the step expects.
    pub expects: bool,
    /// The statuses that the step expects, where it says so.
    pub expected: Vec<u16>,
    /// What was sent; `None` where it wasn't an HTTP request.
    pub sent: Option<Sent>,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// Why it is a failure; `None` where it isn't.
    pub failure: Option<Failure>,
    /// Whether it was a refusal that the step expects.
    pub refused: bool,
    /// Who asked.
    pub user: u32,
    /// When it was asked.
    pub began: Duration,
    /// When the answer was there.
    pub ended: Duration,
    /// Between two calls, and altogether, where it's called again until something is the case.
    pub polls: Option<(Duration, Duration)>,
    /// The request as it can be made again; `None` where it wasn't an HTTP request.
    pub pattern: Option<Pattern>,
}

/// Who asked, when, and what can be asked again.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) user: u32,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) pattern: Option<Pattern>,
}

/// An HTTP request as it was sent, without cookies and without what only the user may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers that the step itself has.
    pub headers: Vec<(String, String)>,
    /// The media type of the body; empty where there is no body.
    pub content_type: String,
    /// The body, as text.
    pub body: String,
    /// The header that repeats a cookie against forgery, and that cookie.
    pub double_submit: Option<(String, String)>,
}

/// Where the calls of one execution are noted.
#[derive(Debug, Default)]
pub(super) struct Trace {
    answers: Mutex<Vec<Answer>>,
    pub(super) marks: Marks,
}

impl Trace {
    fn taken(&self) -> Vec<Answer> {
        std::mem::take(&mut *lock(&self.answers))
    }

    /// How many calls were noted: the index of the next one.
    pub(super) fn len(&self) -> usize {
        lock(&self.answers).len()
    }

    pub(super) fn note(
        &self,
        step: &Step,
        prepared: &Prepared<'_>,
        status: Option<u16>,
        outcome: &Outcome,
        asked: Asked,
        conceal: impl Fn(String) -> String,
    ) {
        let task = prepared.task.http();
        let answer = Answer {
            step: step.id,
            name: step.name.clone(),
            expects: step.expects,
            expected: task.map_or_else(Vec::new, |task| task.request.expect.clone()),
            sent: task.map(|task| sent(task, conceal)),
            status,
            failure: match outcome {
                Outcome::Failed(failure) => Some((**failure).clone()),
                Outcome::Success | Outcome::Refused | Outcome::Unfinished => None,
            },
            refused: matches!(outcome, Outcome::Refused),
            user: asked.user,
            began: asked.began,
            ended: asked.ended,
            polls: step.until.as_ref().map(|until| (until.every, until.within)),
            pattern: asked.pattern,
        };
        lock(&self.answers).push(answer);
    }
}

fn sent(task: &HttpTask<'_>, conceal: impl Fn(String) -> String) -> Sent {
    let text = |bytes: &[u8]| conceal(String::from_utf8_lossy(bytes).into_owned());
    let fixed = task.request.headers.iter();
    let content_type = task
        .request
        .headers
        .get(http::header::CONTENT_TYPE)
        .map_or_else(String::new, |value| text(value.as_bytes()));
    let ordinary = [
        http::header::CONTENT_TYPE,
        http::header::ACCEPT,
        http::header::ACCEPT_ENCODING,
    ];
    let own = fixed
        .chain(task.more.iter().map(|(name, value)| (name, value)))
        // Whatever the target's `headers` say may come from the environment.
        .filter(|(name, value)| !value.is_sensitive() && !ordinary.contains(name));
    let shown = own.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
    Sent {
        method: task.request.method.as_str().to_owned(),
        path: text(&task.path),
        headers: shown.collect(),
        content_type,
        body: text(&task.body),
        double_submit: task
            .request
            .double_submit
            .as_ref()
            .map(|csrf| (csrf.header.as_str().to_owned(), csrf.cookie.clone())),
    }
}

/// Tries one example: `values` are those of the property's `given`, by name; one that is missing is null.
///
/// `users` are those that the driver has. What is recorded belongs to the property's workflow.
pub async fn play<D: Driver>(
    program: &Program,
    property: &Property,
    values: &Value,
    driver: &D,
    users: u32,
    cx: &IterCx,
) -> Played {
    let workflow = &program.workflows[property.workflow];
    cx.began(workflow.id);
    let needed = workflow.minimum_users();
    if users < needed {
        let workflow = workflow.name.clone();
        return Played {
            result: Err(Halt::TooFewUsers {
                workflow,
                needed,
                found: users,
            }),
            answers: Vec::new(),
            steps: 0,
        };
    }
    let mut rng = cx.rng();
    let (participants, groups) = draw::participants(&workflow.actors, cx.user().0, users, &mut rng);
    let trace = Trace::default();
    let execution = Execution::new(
        driver,
        cx,
        program,
        workflow,
        participants,
        groups,
        Some(&trace),
    );
    let scope = Scope::root(workflow.variables);
    for (name, target, _) in &property.given {
        execution.save(*target, values[name].clone(), Origin::Given, &scope);
    }
    let mut branch = Branch {
        scope: &scope,
        clock: cx.step_clock(),
        rng,
        mode: Mode::Steps,
    };
    let abort = &cx.stop().abort;
    let result = tokio::select! {
        biased;
        result = execution.statements(&workflow.steps, &mut branch) => result,
        () = abort.cancelled() => Err(Halt::Aborted),
    };
    let steps = trace.len();
    if !workflow.finally.is_empty() {
        cx.completed();
        branch.mode = Mode::Finally;
        if let Err(halt) = execution.statements(&workflow.finally, &mut branch).await {
            tracing::debug!(property = property.name, %halt, "in `finally`");
        }
    }
    Played {
        result,
        answers: trace.taken(),
        steps,
    }
}
