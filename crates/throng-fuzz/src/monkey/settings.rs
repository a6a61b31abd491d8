//! How a swarm goes about it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use throng_metrics::UserId;

use crate::{answer::Sending, check::Check, openapi::Document};

/// How a swarm goes about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How requests are sent.
    pub sending: Sending,
    /// The seed of all random choices.
    pub seed: u64,
    /// Whether each request under load carries a W3C `baggage` header that names its step and phase.
    pub baggage: bool,
    /// The first monkey's place in the catalog's users; the others follow it.
    pub first_user: UserId,
    /// What is known and accepted.
    pub accept: Vec<Accepted>,
    /// The operation that ends a session; guessed where it's not named.
    pub logout: Option<String>,
    /// Operations that are never sent.
    pub skip: Vec<String>,
    /// How many probes at most; as many as there is time for where it's not said.
    pub probes: Option<u64>,
    /// The directory that findings are written to, a JSON file and a script each.
    pub corpus: Option<PathBuf>,
    /// The scenario by which the users of a finding can be set up again.
    pub scenario: Option<String>,
    /// Where the OpenAPI document was read, so that a finding can be judged again.
    pub openapi: Option<String>,
}

impl Settings {
    /// A swarm that sends like this, with nothing accepted, skipped or written.
    pub fn new(sending: Sending, seed: u64) -> Self {
        Self {
            sending,
            seed,
            baggage: true,
            first_user: UserId(0),
            accept: Vec::new(),
            logout: None,
            skip: Vec::new(),
            probes: None,
            corpus: None,
            scenario: None,
            openapi: None,
        }
    }

    /// Names of operations that the document does not have, each with where it was given.
    pub fn problems(&self, document: &Document) -> Vec<UnknownOperation> {
        let accepted = self.accept.iter().filter_map(|accepted| {
            let name = accepted.operation.as_ref()?;
            // Of a path that there is, a method that there isn't may be accepted, too.
            (!document.has_path(name)).then_some(("accept", name))
        });
        let logout = self.logout.iter().map(|name| ("logout", name));
        let skip = self.skip.iter().map(|name| ("skip", name));
        accepted
            .chain(logout)
            .chain(skip)
            .filter(|(_, name)| document.operation(name).is_none())
            .map(|(key, name)| UnknownOperation {
                key,
                name: name.clone(),
            })
            .collect()
    }
}

/// An operation that the document does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("monkey: {key}: the OpenAPI document has no operation `{name}`")]
pub struct UnknownOperation {
    /// Where it was given.
    pub key: &'static str,
    /// What it was called.
    pub name: String,
}

/// Something that is known and no finding. What is left out stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The check.
    pub check: Option<Check>,
    /// The operation, `METHOD template`.
    pub operation: Option<String>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it is accepted.
    pub reason: String,
}

impl Accepted {
    pub(crate) fn covers(
        &self,
        document: &Document,
        check: Check,
        operation: Option<&str>,
        status: Option<u16>,
    ) -> bool {
        let same_operation = |given: &String| {
            operation == Some(given)
                || operation
                    .and_then(|name| document.operation(name))
                    .is_some_and(|operation| operation.is_called(given))
        };
        self.check.is_none_or(|given| given == check)
            && self.operation.as_ref().is_none_or(same_operation)
            && self.status.is_none_or(|given| Some(given) == status)
    }
}
