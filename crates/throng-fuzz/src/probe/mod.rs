//! Probes: short sequences of requests, and what is to be judged on their answers.
//!
//! A probe is whole in itself: what it reads or deletes it has created before, so that it can be sent again at any time,
//! on another day and by curl. Nothing in here is random but what `single` draws.

mod plain_request;
mod related;
mod relations;
mod run;
mod single;

use serde::{Deserialize, Serialize};

pub(crate) use relations::Relations;
pub(crate) use run::{Baggage, Cast, Meter, Names, Trace, execute};
pub(crate) use single::Singles;

use crate::request::{Request, Who};

/// A sequence of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Its number in the swarm, from 0: with the seed it says all.
    pub number: u64,
    /// What is judged on it beside each answer by itself.
    pub kind: Kind,
    /// The members of a body that it tries to have believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<String>,
    /// The requests, in order.
    pub steps: Vec<Step>,
}

/// A request of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The request.
    #[serde(flatten)]
    pub request: Request,
    /// What it is for.
    pub role: Role,
    /// Whether it is sent at the same time as the one before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
}

/// What a request of a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It makes what the others need.
    Setup,
    /// It shows how the target behaves where all is well. What is found holds without it, once it has been seen.
    Control,
    /// It is what the probe is about.
    Act,
    /// It clears up.
    Cleanup,
}

/// What is judged on a probe beside each answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing.
    Single,
    /// Whether a change is made without the token against forgery.
    Csrf,
    /// Whether it is done for nobody.
    Login,
    /// Whether one user's thing is given to another.
    Foreign,
    /// Whether a session goes on after its end.
    Logout,
    /// Whether a deleted thing is still there.
    Deleted,
    /// Whether a refused creation leaves something.
    Refused,
    /// Whether a privileged member of a body is believed.
    Privileged,
    /// Whether only one of several at the same time wins.
    Race,
}

impl Probe {
    /// The users that it takes, beside the first.
    pub(crate) fn others(&self) -> impl Iterator<Item = u8> {
        self.steps.iter().filter_map(|step| match step.request.who {
            Who::Other(n) => Some(n),
            _ => None,
        })
    }

    /// Whether a session is opened for it.
    pub(crate) fn needs_fresh(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.request.who, Who::Fresh | Who::Kept))
    }

    /// The steps of a role, with their positions.
    pub(crate) fn of(&self, role: Role) -> impl DoubleEndedIterator<Item = (usize, &Step)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, step)| step.role == role)
    }
}

impl Step {
    /// A request in a role, on its own.
    pub(crate) fn new(request: Request, role: Role) -> Self {
        Self {
            request,
            role,
            together: false,
        }
    }
}
