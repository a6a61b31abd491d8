//! What an answer proves. Each check has an id that stays, and the fault code of the Web Fuzzing Commons where there is one
//! (<https://github.com/WebFuzzing/Commons>, `faults.md`).
//!
//! Nothing in here waits or sends: a judge sees a probe and the answers to it, and says what is wrong with them.

mod answer;
mod likeness;
mod relation;
#[cfg(test)]
mod scenes;
mod stack_trace;

use std::{collections::HashMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    answer::Sending,
    openapi::{Document, Validators},
    probe::{Probe, Role, Trace},
};

/// A check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// A 5xx; a 503 that says when to come back is none.
    ServerError,
    /// The connection broke, or what came was no HTTP.
    TransportFault,
    /// No answer in time.
    Hang,
    /// A status that the document does not have.
    UndocumentedStatus,
    /// A media type that the document does not have for this status.
    WrongContentType,
    /// A body that does not fit its schema.
    BodyAgainstSchema,
    /// A 405 that does not say which methods there are.
    MethodWithoutAllow,
    /// The inside of the program in an answer.
    StackTrace,
    /// A change was made without the token against forgery, or with another session's.
    CsrfNotChecked,
    /// An operation that declares to need a login is done for nobody.
    LoginNotNeeded,
    /// One user's thing is given to another.
    ForeignRead,
    /// A session goes on after its end.
    SessionAfterLogout,
    /// A deleted thing is still served.
    UseAfterDelete,
    /// A refused creation leaves something.
    RefusedWithEffect,
    /// A privileged member of a body is believed.
    MassAssignment,
    /// Several at the same time get what only one can have.
    UniqueRace,
    /// An answer larger than the limit.
    OversizedAnswer,
}

impl Check {
    /// All of them, in the order of the documentation.
    pub const ALL: [Check; 17] = [
        Check::ServerError,
        Check::TransportFault,
        Check::Hang,
        Check::UndocumentedStatus,
        Check::WrongContentType,
        Check::BodyAgainstSchema,
        Check::MethodWithoutAllow,
        Check::StackTrace,
        Check::CsrfNotChecked,
        Check::LoginNotNeeded,
        Check::ForeignRead,
        Check::SessionAfterLogout,
        Check::UseAfterDelete,
        Check::RefusedWithEffect,
        Check::MassAssignment,
        Check::UniqueRace,
        Check::OversizedAnswer,
    ];

    /// Its id in reports, scenarios and the corpus.
    pub fn id(self) -> &'static str {
        match self {
            Self::ServerError => "server_error",
            Self::TransportFault => "transport_fault",
            Self::Hang => "hang",
            Self::UndocumentedStatus => "undocumented_status",
            Self::WrongContentType => "wrong_content_type",
            Self::BodyAgainstSchema => "body_against_schema",
            Self::MethodWithoutAllow => "method_without_allow",
            Self::StackTrace => "stack_trace",
            Self::CsrfNotChecked => "csrf_not_checked",
            Self::LoginNotNeeded => "login_not_needed",
            Self::ForeignRead => "foreign_read",
            Self::SessionAfterLogout => "session_after_logout",
            Self::UseAfterDelete => "use_after_delete",
            Self::RefusedWithEffect => "refused_with_effect",
            Self::MassAssignment => "mass_assignment",
            Self::UniqueRace => "unique_race",
            Self::OversizedAnswer => "oversized_answer",
        }
    }

    /// The fault code of the Web Fuzzing Commons, where there is one. `safe` tells whether the method only reads.
    pub fn wfc(self, safe: bool) -> Option<u16> {
        match self {
            Self::ServerError => Some(100),
            Self::UndocumentedStatus | Self::WrongContentType | Self::BodyAgainstSchema => {
                Some(200)
            }
            Self::MethodWithoutAllow => Some(110),
            Self::UseAfterDelete => Some(113),
            Self::RefusedWithEffect => Some(114),
            Self::MassAssignment => Some(303),
            Self::ForeignRead => Some(306),
            Self::LoginNotNeeded if safe => Some(307),
            Self::LoginNotNeeded => Some(308),
            Self::StackTrace => Some(309),
            Self::TransportFault
            | Self::Hang
            | Self::CsrfNotChecked
            | Self::SessionAfterLogout
            | Self::UniqueRace
            | Self::OversizedAnswer => None,
        }
    }

    /// What it says, in a line.
    pub fn about(self) -> &'static str {
        match self {
            Self::ServerError => "the server failed (5xx; a 503 with Retry-After is no failure)",
            Self::TransportFault => "the connection broke, or what came was no HTTP",
            Self::Hang => "no answer in the time allowed",
            Self::UndocumentedStatus => "a status that the document doesn't have",
            Self::WrongContentType => "a media type that the document doesn't have for this status",
            Self::BodyAgainstSchema => "a body that doesn't fit its schema",
            Self::MethodWithoutAllow => "a 405 that doesn't say which methods are allowed",
            Self::StackTrace => "a stack trace in an answer",
            Self::CsrfNotChecked => {
                "a change was made without the token against forgery, or with another session's"
            }
            Self::LoginNotNeeded => "what is declared to need a login is done for nobody",
            Self::ForeignRead => {
                "what one user created is given to another, whose list doesn't have it"
            }
            Self::SessionAfterLogout => "a session goes on after it was logged out",
            Self::UseAfterDelete => "what was deleted is still served",
            Self::RefusedWithEffect => "a creation that was refused has left something in the list",
            Self::MassAssignment => {
                "a body sets what it isn't documented to set, or a privilege beyond its default"
            }
            Self::UniqueRace => {
                "a repetition is refused with 409, but several at the same time all succeed"
            }
            Self::OversizedAnswer => "an answer larger than the limit",
        }
    }

    /// Whether it depends on chance, so that a few tries without it say little.
    pub(crate) fn is_race(self) -> bool {
        matches!(self, Self::UniqueRace | Self::TransportFault | Self::Hang)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A text that is no check's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no check `{0}`")]
pub struct UnknownCheck(pub String);

impl FromStr for Check {
    type Err = UnknownCheck;

    fn from_str(text: &str) -> Result<Self, UnknownCheck> {
        Self::ALL
            .into_iter()
            .find(|check| check.id() == text)
            .ok_or_else(|| UnknownCheck(text.to_owned()))
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Something that is wrong with the answers to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) check: Check,
    /// The step whose answer shows it.
    pub(crate) step: usize,
    /// What groups it with its like: no ids, no numbers that vary, nothing of what was sent.
    pub(crate) message: String,
    /// The member of a body that it is about.
    pub(crate) member: Option<String>,
}

/// What a judge goes by.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) document: &'a Document,
    pub(crate) sending: &'a Sending,
    by_name: HashMap<&'a str, usize>,
    validators: Validators,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(document: &'a Document, sending: &'a Sending) -> Self {
        let operations = document.operations().iter().enumerate();
        Self {
            document,
            sending,
            by_name: operations
                .map(|(index, it)| (it.name.as_str(), index))
                .collect(),
            validators: Validators::default(),
        }
    }

    /// All that is wrong with the answers to a probe.
    pub(crate) fn judge(&mut self, probe: &Probe, trace: &Trace) -> Vec<Violation> {
        let mut found = Vec::new();
        for (index, step) in probe.steps.iter().enumerate() {
            let Some(answer) = trace.answers.get(index).and_then(Option::as_ref) else {
                continue;
            };
            // What clears up after a probe is not what the probe is about.
            if step.role != Role::Cleanup {
                let by_key = trace.by_key.get(index).copied().unwrap_or_default();
                self.judge_answer(
                    (index, by_key),
                    &step.request,
                    answer,
                    &trace.secrets,
                    &mut found,
                );
            }
        }
        relation::judge(self, probe, trace, &mut found);
        found
    }

    /// What could not be used of the document, in words.
    pub(crate) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.validators.notes)
    }

    fn operation(&self, name: Option<&str>) -> Option<(usize, &'a crate::openapi::Operation)> {
        let index = *self.by_name.get(name?)?;
        Some((index, &self.document.operations()[index]))
    }
}

/// A text that is the same for the same trouble: without what varies from one request to the next.
pub(crate) fn normalised(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let hex = word.chars().filter(char::is_ascii_hexdigit).count();
        let looks_random = word.len() >= 12 && digits >= 2 && hex * 2 > word.len();
        if looks_random {
            out.push('#');
        } else {
            let mut in_number = false;
            for c in word.chars() {
                if c.is_ascii_digit() {
                    if !in_number {
                        out.push('#');
                    }
                    in_number = true;
                } else {
                    in_number = false;
                    out.push(c);
                }
            }
        }
        if out.chars().count() > longest {
            out = out.chars().take(longest).collect();
            out.push('…');
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back() {
        for check in Check::ALL {
            assert_eq!(check.id().parse(), Ok(check));
            assert!(!check.about().is_empty());
        }
        assert_eq!(
            "nonsense".parse::<Check>(),
            Err(UnknownCheck("nonsense".to_owned()))
        );
    }

    #[test]
    fn what_varies_is_left_out() {
        let one = normalised("Script 3f2a9c1b7d4e5f60 not  found after 12 ms", 80);
        let two = normalised("Script 99aa88bb77cc66dd not found after 7 ms", 80);
        assert_eq!(one, two);
        assert_eq!(one, "Script # not found after # ms");
    }
}
