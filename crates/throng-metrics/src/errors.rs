//! Failures grouped by kind and cause, with one example of each; and the target's silence at the end of a run.

use std::{collections::BTreeMap, time::Duration};

use crate::{Failure, FailureKind, Outcome, Sample, StepId, WorkflowId};

/// More groups than this are folded into one for each kind: a cause that was not normalised must not eat the memory.
const MOST_GROUPS: usize = 500;

/// Longer examples are cut: one may be a whole page of a server's.
const LONGEST_EXAMPLE: usize = 2_000;

/// The cause under which failures beyond the first groups are counted.
pub const OTHER_CAUSES: &str = "(other causes)";

/// Failures by kind and cause.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorGroups {
    groups: BTreeMap<FailureKind, BTreeMap<String, ErrorGroup>>,
    size: usize,
}

/// Failures of one kind and cause.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorGroup {
    /// How many.
    pub count: u64,
    /// One message.
    pub example: String,
    /// In which steps, and how often.
    pub steps: BTreeMap<StepId, u64>,
    /// In which workflows outside of any step, and how often.
    pub workflows: BTreeMap<WorkflowId, u64>,
}

impl ErrorGroups {
    pub(crate) fn add(
        &mut self,
        failure: &Failure,
        step: Option<StepId>,
        workflow: Option<WorkflowId>,
    ) {
        let group = self.group(failure.kind, &failure.cause);
        group.count += 1;
        if group.example.is_empty() {
            group.example = failure.example.chars().take(LONGEST_EXAMPLE).collect();
        }
        if let Some(step) = step {
            *group.steps.entry(step).or_default() += 1;
        }
        if let Some(workflow) = workflow {
            *group.workflows.entry(workflow).or_default() += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &ErrorGroups) {
        for (kind, cause, theirs) in other.iter() {
            let group = self.group(kind, cause);
            group.count += theirs.count;
            if group.example.is_empty() {
                group.example.clone_from(&theirs.example);
            }
            for (step, count) in &theirs.steps {
                *group.steps.entry(*step).or_default() += count;
            }
            for (workflow, count) in &theirs.workflows {
                *group.workflows.entry(*workflow).or_default() += count;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn group(&mut self, kind: FailureKind, cause: &str) -> &mut ErrorGroup {
        let causes = self.groups.entry(kind).or_default();
        // Looked up by `&str` first: only a new cause costs a string.
        if !causes.contains_key(cause) {
            let cause = if self.size >= MOST_GROUPS {
                OTHER_CAUSES
            } else {
                cause
            };
            if !causes.contains_key(cause) {
                causes.insert(cause.to_owned(), ErrorGroup::default());
                self.size += 1;
            }
            return causes.get_mut(cause).expect("it was inserted just now");
        }
        causes.get_mut(cause).expect("it was found just now")
    }

    /// All groups, by kind and cause.
    pub fn iter(&self) -> impl Iterator<Item = (FailureKind, &str, &ErrorGroup)> {
        self.groups.iter().flat_map(|(kind, causes)| {
            causes
                .iter()
                .map(|(cause, group)| (*kind, cause.as_str(), group))
        })
    }

    /// Whether there was no failure.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

/// Since when the target has given no answer at all: calls without an answer after the last one with an answer.
///
/// An answer is anything that came back, an error status included. No answer: no connection, or a timeout. Kept by the second, and dropped as soon as an answer comes in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Silence {
    last_answer: Option<Duration>,
    unanswered: BTreeMap<u64, Unanswered>,
}

#[derive(Debug, Clone, PartialEq)]
struct Unanswered {
    count: u64,
    /// When the first of them began.
    began: Duration,
    first: Duration,
    last: Duration,
    cause: String,
}

/// A stretch without answers up to the end of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct SilentTail {
    /// The end of the first call that got no answer.
    pub since: Duration,
    /// The end of the last one.
    pub until: Duration,
    /// From when on one of them was waited for, and none was answered.
    pub waiting_since: Duration,
    /// How many calls got none.
    pub count: u64,
    /// What the first of them met.
    pub cause: String,
}

impl Silence {
    pub(crate) fn add(&mut self, sample: &Sample) {
        let cause = match &sample.outcome {
            // With a status, what it waited for came too late, but an answer came.
            Outcome::Failed(failure) if failure.kind.is_unanswered() && sample.status.is_none() => {
                failure.cause.as_str()
            }
            // Whoever cut it off did not let the target answer.
            Outcome::Unfinished => return,
            Outcome::Success | Outcome::Refused | Outcome::Failed(_) => {
                return self.answered(sample.ended);
            }
        };
        if self.last_answer.is_some_and(|at| sample.ended <= at) {
            return;
        }
        let second = self
            .unanswered
            .entry(sample.ended.as_secs())
            .or_insert_with(|| Unanswered {
                count: 0,
                began: sample.started,
                first: sample.ended,
                last: sample.ended,
                cause: cause.to_owned(),
            });
        second.count += 1;
        second.began = second.began.min(sample.started);
        second.first = second.first.min(sample.ended);
        second.last = second.last.max(sample.ended);
    }

    fn answered(&mut self, at: Duration) {
        if self.last_answer.is_some_and(|last| at <= last) {
            return;
        }
        self.last_answer = Some(at);
        if !self.unanswered.is_empty() {
            self.unanswered.retain(|_, second| second.last > at);
        }
    }

    pub(crate) fn merge(&mut self, other: &Silence) {
        for (second, theirs) in &other.unanswered {
            self.unanswered
                .entry(*second)
                .and_modify(|ours| {
                    ours.count += theirs.count;
                    ours.began = ours.began.min(theirs.began);
                    ours.first = ours.first.min(theirs.first);
                    ours.last = ours.last.max(theirs.last);
                })
                .or_insert_with(|| theirs.clone());
        }
        if let Some(at) = self.last_answer.max(other.last_answer) {
            self.last_answer = Some(at);
            self.unanswered.retain(|_, second| second.last > at);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The stretch without answers at the end, if the last calls got none.
    ///
    /// Within the second of the last answer the count may be a little high: it is kept by the second.
    pub fn tail(&self) -> Option<SilentTail> {
        let (_, first) = self.unanswered.first_key_value()?;
        let (_, last) = self.unanswered.last_key_value()?;
        let last_answer = self.last_answer.unwrap_or_default();
        let began = self.unanswered.values().map(|second| second.began).min()?;
        Some(SilentTail {
            since: first.first.max(last_answer),
            waiting_since: began.max(last_answer),
            until: last.last,
            count: self.unanswered.values().map(|second| second.count).sum(),
            cause: first.cause.clone(),
        })
    }
}
