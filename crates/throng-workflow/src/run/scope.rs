//! The values of one execution.
//!
//! Each execution has its own; a `for_each` gives each of its users a scope of its own. Nothing is shared with other
//! executions. The locks are never contended: all branches of an execution run in one task.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use throng_engine::IterCx;

use super::driver::{Driver, UserNames};
use super::example::Trace;
use super::pattern::{Marks, Origin};
use crate::program::{ActorField, ActorRef, Program, SaveTarget, Source, Workflow};

/// A panic while a value was stored leaves the others as they were.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Variables, and the user of the loop that they belong to.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    parent: Option<&'a Scope<'a>>,
    /// Index among the participants.
    user: usize,
    variables: Mutex<Vec<Option<Kept>>>,
}

/// A value that was saved.
#[derive(Clone, Debug)]
struct Kept {
    value: Value,
    origin: Origin,
}

impl<'a> Scope<'a> {
    pub(super) fn root(size: usize) -> Self {
        Self {
            parent: None,
            user: 0,
            variables: Mutex::new(vec![None; size]),
        }
    }

    pub(super) fn inner(parent: &'a Scope<'a>, user: usize, size: usize) -> Self {
        Self {
            parent: Some(parent),
            user,
            variables: Mutex::new(vec![None; size]),
        }
    }

    fn outwards(&self, up: usize) -> &Scope<'a> {
        let mut scope = self;
        for _ in 0..up {
            // The compiler counted the scopes.
            scope = scope.parent.unwrap_or(scope);
        }
        scope
    }
}

impl Kept {
    fn seen<R>(&self, marks: Option<&Marks>, look: impl FnOnce(Seen<'_>) -> R) -> R {
        let stand_in = marks.and_then(|marks| marks.stand_in(self.origin, &self.value));
        look(Seen::Json(stand_in.as_ref().unwrap_or(&self.value)))
    }
}

/// One execution of a workflow.
pub(super) struct Execution<'a, D> {
    pub(super) driver: &'a D,
    pub(super) cx: &'a IterCx,
    pub(super) program: &'a Program,
    pub(super) workflow: &'a Workflow,
    /// Users, by participant.
    participants: Vec<u32>,
    /// Participants, by actor.
    groups: Vec<Range<usize>>,
    /// By participant, then property.
    properties: Mutex<Vec<Option<Kept>>>,
    lists: Mutex<Vec<Vec<Value>>>,
    /// Made when they are asked for.
    uid: OnceLock<String>,
    iteration: OnceLock<String>,
    /// A step has failed: other branches start nothing more.
    pub(super) failed: AtomicBool,
    /// Where each call is noted, when somebody wants to know.
    pub(super) trace: Option<&'a Trace>,
}

/// A value while it is looked at.
pub(super) enum Seen<'a> {
    Text(&'a str),
    Json(&'a Value),
    List(&'a [Value]),
}

impl Seen<'_> {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Seen::Text(text) => Value::from(*text),
            Seen::Json(value) => (*value).clone(),
            Seen::List(items) => Value::Array(items.to_vec()),
        }
    }

    pub(super) fn is_truthy(&self) -> bool {
        match self {
            Seen::Text(text) => !text.is_empty(),
            Seen::Json(Value::Null | Value::Bool(false)) => false,
            Seen::Json(Value::String(text)) => !text.is_empty(),
            Seen::Json(Value::Array(items)) => !items.is_empty(),
            Seen::Json(_) => true,
            Seen::List(items) => !items.is_empty(),
        }
    }
}

impl<'a, D: Driver> Execution<'a, D> {
    pub(super) fn new(
        driver: &'a D,
        cx: &'a IterCx,
        program: &'a Program,
        workflow: &'a Workflow,
        participants: Vec<u32>,
        groups: Vec<Range<usize>>,
        trace: Option<&'a Trace>,
    ) -> Self {
        Self {
            trace,
            uid: OnceLock::new(),
            iteration: OnceLock::new(),
            properties: Mutex::new(vec![None; participants.len() * workflow.properties]),
            lists: Mutex::new(vec![Vec::new(); workflow.lists]),
            driver,
            cx,
            program,
            workflow,
            participants,
            groups,
            failed: AtomicBool::new(false),
        }
    }

    /// Unique in the run by user and iteration, and between runs by the run's own part.
    fn uid(&self) -> &str {
        self.uid.get_or_init(|| {
            let (run, user) = (self.driver.run_id(), self.cx.user().0 + 1);
            format!("{run}-{user}-{}", self.cx.iteration())
        })
    }

    fn iteration(&self) -> &str {
        self.iteration
            .get_or_init(|| self.cx.iteration().to_string())
    }

    /// The participants that an actor is.
    pub(super) fn members(&self, actor: usize) -> Range<usize> {
        self.groups[actor].clone()
    }

    fn participant(&self, actor: ActorRef, scope: &Scope<'_>) -> usize {
        match actor {
            ActorRef::One(actor) => self.groups[actor].start,
            ActorRef::Loop(up) => scope.outwards(up).user,
        }
    }

    /// The user that an actor is.
    pub(super) fn user(&self, actor: ActorRef, scope: &Scope<'_>) -> u32 {
        self.participants[self.participant(actor, scope)]
    }

    /// Looks at a value; `None` when it was never saved.
    pub(super) fn see<R>(
        &self,
        source: &Source,
        scope: &Scope<'_>,
        look: impl FnOnce(Seen<'_>) -> R,
    ) -> Option<R> {
        let marks = self.trace.map(|trace| &trace.marks);
        let marks = marks.filter(|marks| marks.on());
        match source {
            Source::Uid => Some(match marks {
                Some(marks) => look(Seen::Text(&marks.uid())),
                None => look(Seen::Text(self.uid())),
            }),
            Source::Run => Some(look(Seen::Text(self.driver.run_id()))),
            Source::Iteration => Some(look(Seen::Text(self.iteration()))),
            Source::Actor(actor, ActorField::Saved(index)) => {
                let user = self.user(*actor, scope);
                let saved = self.driver.saved(user, *index)?;
                Some(match marks {
                    Some(marks) => look(Seen::Text(&marks.login(*index))),
                    None => look(Seen::Text(saved)),
                })
            }
            Source::Actor(actor, field) => {
                let UserNames {
                    name,
                    display_name,
                    email,
                } = self.driver.names(self.user(*actor, scope));
                Some(look(Seen::Text(match field {
                    ActorField::Name | ActorField::Saved(_) => name,
                    ActorField::DisplayName => display_name,
                    ActorField::Email => email,
                })))
            }
            Source::Property(actor, slot) => {
                let at = self.participant(*actor, scope) * self.workflow.properties + slot;
                lock(&self.properties)[at]
                    .as_ref()
                    .map(|kept| kept.seen(marks, look))
            }
            Source::Variable { up, slot } => lock(&scope.outwards(*up).variables)[*slot]
                .as_ref()
                .map(|kept| kept.seen(marks, look)),
            Source::List(list) => Some(look(Seen::List(&lock(&self.lists)[*list]))),
        }
    }

    /// Keeps a value.
    pub(super) fn save(&self, target: SaveTarget, value: Value, origin: Origin, scope: &Scope<'_>) {
        let kept = Some(Kept { value, origin });
        match target {
            SaveTarget::Variable { up, slot } => {
                lock(&scope.outwards(up).variables)[slot] = kept;
            }
            SaveTarget::Property(actor, slot) => {
                let at = self.participant(actor, scope) * self.workflow.properties + slot;
                lock(&self.properties)[at] = kept;
            }
        }
    }

    /// Adds a value to a list.
    pub(super) fn append(&self, list: usize, value: Value) {
        lock(&self.lists)[list].push(value);
    }
}
