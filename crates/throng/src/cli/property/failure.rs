//! What an example's answers mean: accepted, refused, or a failure of the property.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;
use throng_fuzz::property::{Alike, Tried};
use throng_metrics::FailureKind;
use throng_workflow::program::Property;
use throng_workflow::run::{Answer, Halt, Played, Sent};

/// Why a property doesn't hold for an example.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    /// The step whose answer shows it.
    pub(super) step: String,
    /// What is wrong with it.
    pub(super) message: String,
    /// What was sent up to there, in order.
    pub(super) requests: Vec<Request>,
}

/// A request as it is shown: without cookies and tokens.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Request {
    pub(super) step: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) content_type: String,
    pub(super) body: String,
    /// The header that repeats a cookie, and that cookie.
    pub(super) double_submit: Option<(String, String)>,
    pub(super) status: Option<u16>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.message)
    }
}

impl Alike for Failure {
    /// The same step, answered with the same status.
    fn alike(&self, other: &Self) -> bool {
        let status = |failure: &Self| failure.requests.last().and_then(|request| request.status);
        self.step == other.step && status(self) == status(other)
    }
}

/// Judges the examples of one property.
pub(super) struct Judge<'a> {
    property: &'a Property,
    /// One example of each refusal.
    refusals: Mutex<BTreeMap<String, String>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(property: &'a Property) -> Self {
        Self {
            property,
            refusals: Mutex::default(),
        }
    }

    pub(super) fn into_refusals(self) -> Vec<(String, String)> {
        let refusals = self.refusals.into_inner();
        refusals
            .unwrap_or_else(PoisonError::into_inner)
            .into_iter()
            .collect()
    }

    /// What one example came to.
    pub(super) fn judged(&self, played: &Played) -> Tried<Failure> {
        if matches!(played.result, Err(Halt::Aborted)) {
            return Tried::Stopped;
        }
        for (at, answer) in played.answers.iter().enumerate() {
            if let Some(wrong) = self.wrong_status(answer) {
                return Tried::Failed(failure(&answer.name, wrong, &played.answers[..=at]));
            }
        }
        let steps = &played.answers[..played.steps];
        if let Some(tried) = self.several_winners(steps) {
            return tried;
        }
        match &played.result {
            Ok(()) => Tried::Accepted,
            Err(Halt::Step { step, cause }) => self.failed_step(step, cause, steps),
            // A value that can't stand where it is to be put: nothing was sent.
            Err(halt) => self.refused(halt.to_string(), halt.to_string()),
        }
    }

    /// An answer that must never be.
    fn wrong_status(&self, answer: &Answer) -> Option<String> {
        let status = answer.status?;
        if answer.expected.contains(&status) {
            return None;
        }
        let words = answer.failure.as_ref().map_or_else(
            || format!("HTTP {status}"),
            |failure| failure.example.clone(),
        );
        if let Some(never) = self.property.never.iter().find(|never| never.has(status)) {
            return Some(format!("{words} (never {never})"));
        }
        let allowed = &self.property.status;
        if allowed.is_empty() || answer.expects || allowed.iter().any(|allowed| allowed.has(status))
        {
            return None;
        }
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        Some(format!("{words} (expected {})", allowed.join(", ")))
    }

    /// Steps of which exactly one may win.
    fn several_winners(&self, answers: &[Answer]) -> Option<Tried<Failure>> {
        let rivals = &self.property.exactly_one;
        if rivals.is_empty() {
            return None;
        }
        let won = |answer: &&Answer| {
            rivals.contains(&answer.step)
                && answer
                    .status
                    .is_some_and(|status| (200..300).contains(&status))
        };
        let winners: Vec<&str> = answers
            .iter()
            .filter(won)
            .map(|answer| answer.name.as_str())
            .collect();
        match winners.len() {
            0 => {
                let first = answers.iter().find(|answer| rivals.contains(&answer.step));
                let status = first.and_then(|answer| answer.status);
                let reason = format!("no step was accepted (HTTP {})", status.unwrap_or_default());
                Some(self.refused(reason.clone(), reason))
            }
            1 => None,
            several => {
                let message = format!(
                    "{several} of {} were accepted, and only one may be: {}",
                    rivals.len(),
                    winners.join(", ")
                );
                Some(Tried::Failed(failure("exactly_one", message, answers)))
            }
        }
    }

    fn failed_step(&self, step: &str, cause: &str, answers: &[Answer]) -> Tried<Failure> {
        let at = answers
            .iter()
            .position(|answer| answer.name == step && answer.failure.is_some());
        let Some((at, found)) = at.and_then(|at| Some((at, answers[at].failure.as_ref()?))) else {
            return Tried::Failed(failure(step, cause.to_owned(), answers));
        };
        let status = answers[at].status.unwrap_or_default();
        // Too many requests: that says nothing of the example, whatever the step expects.
        let silent = !answers[at].expects || status == 429;
        if (400..500).contains(&status) && silent && found.kind == FailureKind::Http {
            return self.refused(format!("{step}: HTTP {status}"), found.example.clone());
        }
        Tried::Failed(failure(step, found.example.clone(), &answers[..=at]))
    }

    fn refused(&self, reason: String, example: String) -> Tried<Failure> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.entry(reason.clone()).or_insert(example);
        Tried::Refused(reason)
    }
}

fn failure(step: &str, message: String, answers: &[Answer]) -> Failure {
    let requests = answers
        .iter()
        .filter_map(|answer| Some((answer, answer.sent.as_ref()?)));
    Failure {
        step: step.to_owned(),
        message,
        requests: requests
            .map(|(answer, sent)| request(answer, sent))
            .collect(),
    }
}

fn request(answer: &Answer, sent: &Sent) -> Request {
    Request {
        step: answer.name.clone(),
        method: sent.method.clone(),
        path: sent.path.clone(),
        headers: sent.headers.clone(),
        content_type: sent.content_type.clone(),
        body: sent.body.clone(),
        double_submit: sent.double_submit.clone(),
        status: answer.status,
    }
}

/// The values of an example, a line each.
pub(super) fn values(example: &Value) -> Vec<(String, String)> {
    example
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), escaped(value)))
        .collect()
}

/// JSON with everything escaped that isn't seen as what it is: controls, marks without width, what combines with its
/// neighbour, and what isn't in the basic plane.
fn escaped(value: &Value) -> String {
    let mut shown = String::new();
    for character in value.to_string().chars() {
        let odd = character.is_control()
            || matches!(character, '\u{80}'..='\u{a0}' | '\u{300}'..='\u{36f}' | '\u{590}'..='\u{8ff}' | '\u{2000}'..='\u{206f}' | '\u{e000}'..);
        if odd {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}
