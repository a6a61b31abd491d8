//! What an example's answers mean: accepted, refused, or a failure of the property.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use throng_fuzz::property::{Alike, Tried};
use throng_metrics::FailureKind;
use throng_workflow::program::Property;
use throng_workflow::property::Statuses;
use throng_workflow::run::{Answer, Halt, Pattern, Played, Sent};

/// Why a property doesn't hold for an example.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    /// The step whose answer shows it.
    pub(super) step: String,
    /// What is wrong with it.
    pub(super) message: String,
    /// The status of its answer.
    pub(super) status: Option<u16>,
    /// What was sent up to there, in order.
    pub(super) requests: Vec<Request>,
    /// A script for bash and curl that shows it; empty where it can't be shown so. Passwords are not in it.
    pub(super) curl: String,
    /// The file with it.
    pub(super) file: Option<PathBuf>,
    /// Whether it's the answer's body that shows it.
    #[serde(skip)]
    pub(super) in_body: bool,
    /// Whether there were calls that are no HTTP requests.
    #[serde(skip)]
    pub(super) other_calls: bool,
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
    /// Which user sent it, from 0.
    pub(super) user: u32,
    /// Those that have the same number were under way at the same time.
    pub(super) group: usize,
    /// What is expected of the answer, in words.
    pub(super) expected: String,
    /// The time between two calls, and for all of them, where it was sent until something is the case.
    #[serde(skip)]
    pub(super) polls: Option<(Duration, Duration)>,
    /// Which of the example's calls it was.
    #[serde(skip)]
    pub(super) call: usize,
    /// How it is made again.
    #[serde(skip)]
    pub(super) pattern: Option<Pattern>,
}

impl Failure {
    /// The name of the file with its script: the same from run to run.
    pub(super) fn file_name(&self, property: &str) -> String {
        let status = self
            .status
            .map_or_else(|| "none".to_owned(), |status| status.to_string());
        let plain = |c: char| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        };
        let step: String = self.step.chars().map(plain).collect();
        format!("{property}-{step}-{status}.sh")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.message)
    }
}

impl Alike for Failure {
    /// The same step, answered with the same status.
    fn alike(&self, other: &Self) -> bool {
        self.step == other.step && self.status == other.status
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
                return Tried::Failed(self.failure(&answer.name, wrong, &played.answers, Some(at)));
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
                Some(Tried::Failed(self.failure(
                    "exactly_one",
                    message,
                    answers,
                    None,
                )))
            }
        }
    }

    fn failed_step(&self, step: &str, cause: &str, answers: &[Answer]) -> Tried<Failure> {
        let at = answers
            .iter()
            .position(|answer| answer.name == step && answer.failure.is_some());
        let Some((at, found)) = at.and_then(|at| Some((at, answers[at].failure.as_ref()?))) else {
            return Tried::Failed(self.failure(step, cause.to_owned(), answers, None));
        };
        let status = answers[at].status.unwrap_or_default();
        // Too many requests: that says nothing of the example, whatever the step expects.
        let silent = !answers[at].expects || status == 429;
        if (400..500).contains(&status) && silent && found.kind == FailureKind::Http {
            return self.refused(format!("{step}: HTTP {status}"), found.example.clone());
        }
        Tried::Failed(self.failure(step, found.example.clone(), answers, Some(at)))
    }

    /// A failure that the answer number `at` shows, or all of them together.
    fn failure(
        &self,
        step: &str,
        message: String,
        answers: &[Answer],
        at: Option<usize>,
    ) -> Failure {
        let shows = at.map(|at| &answers[at]);
        // Nothing that was asked afterwards has anything to do with it.
        let before = |answer: &Answer| shows.is_none_or(|shows| answer.began <= shows.ended);
        let calls = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| before(answer));
        let calls: Vec<(usize, &Answer)> = calls.collect();
        let last = shows.or(calls.last().map(|(_, answer)| *answer));
        let kind = shows
            .and_then(|shows| shows.failure.as_ref())
            .map(|failure| failure.kind);
        Failure {
            step: step.to_owned(),
            message,
            status: last.and_then(|answer| answer.status),
            requests: self.requests(&calls),
            curl: String::new(),
            file: None,
            in_body: matches!(kind, Some(FailureKind::Check | FailureKind::Capture)),
            other_calls: calls.iter().any(|(_, answer)| answer.sent.is_none()),
        }
    }

    /// The requests in the order in which they were sent; of those that were sent until something was the case, one.
    fn requests(&self, calls: &[(usize, &Answer)]) -> Vec<Request> {
        let mut calls = calls.to_vec();
        calls.sort_by_key(|(call, answer)| (answer.began, *call));
        let mut requests: Vec<Request> = Vec::new();
        let mut group = 0;
        // When the first of those that are under way together had its answer.
        let mut until = Duration::ZERO;
        for (call, answer) in calls {
            let Some(sent) = &answer.sent else {
                continue;
            };
            let same = |request: &Request| {
                answer.polls.is_some() && request.step == answer.name && request.user == answer.user
            };
            if let Some(request) = requests.iter_mut().find(|request| same(request)) {
                request.status = answer.status;
                request.call = call;
                continue;
            }
            if requests.is_empty() || answer.began >= until {
                group += 1;
                until = answer.ended;
            }
            until = until.min(answer.ended);
            let expected = self.expected(answer);
            requests.push(request(answer, sent, call, group, expected));
        }
        requests
    }

    /// What is expected of an answer.
    fn expected(&self, answer: &Answer) -> String {
        let list = |all: &[String]| all.join(", ");
        let statuses = |all: &[Statuses]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let property = self.property;
        if property.exactly_one.contains(&answer.step) {
            let several = property.exactly_one.len();
            return format!("only one of {several} may be accepted");
        }
        if answer.expects && !answer.expected.is_empty() {
            let expected: Vec<String> = answer.expected.iter().map(ToString::to_string).collect();
            return format!("expected {}", list(&expected));
        }
        match (property.status.as_slice(), property.never.as_slice()) {
            ([], []) => "any".to_owned(),
            ([], never) => format!("never {}", list(&statuses(never))),
            (status, _) => format!("expected {}", list(&statuses(status))),
        }
    }

    fn refused(&self, reason: String, example: String) -> Tried<Failure> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.entry(reason.clone()).or_insert(example);
        Tried::Refused(reason)
    }
}

fn request(answer: &Answer, sent: &Sent, call: usize, group: usize, expected: String) -> Request {
    Request {
        step: answer.name.clone(),
        method: sent.method.clone(),
        path: sent.path.clone(),
        headers: sent.headers.clone(),
        content_type: sent.content_type.clone(),
        body: sent.body.clone(),
        double_submit: sent.double_submit.clone(),
        status: answer.status,
        user: answer.user,
        group,
        expected,
        polls: answer.polls,
        call,
        pattern: answer.pattern.clone(),
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
    visible(&value.to_string())
}

/// The same of any text.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
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
