//! The target's user directory: creating, finding and deleting the users of a run.
//!
//! [`Directory`] is the seam between kinds: [`nextcloud`], [`scim`], [`keycloak`], [`declared`]. What belongs to us is decided by [`names`], what was
//! created is written down by [`crate::ledger`]; a directory only does what it is told.

pub mod declared;
pub mod keycloak;
pub mod names;
pub mod nextcloud;
pub mod password;
pub mod scim;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use throng_client::TransportError;
use url::Url;

use crate::hooks::HookError;
use crate::login::{LoginError, Problem};
use crate::secret::Secret;

/// A user to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Login name.
    pub name: String,
    /// Shown name.
    pub display_name: String,
    /// Mail address.
    pub email: String,
    /// Login password.
    pub password: Secret,
}

/// What a creation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// There is such a user now, and it is ours.
    Created,
    /// There was such a user, whose password we know: it is used, and is not ours to delete.
    Reused,
    /// The answer was no refusal, but doesn't prove that there is such a user now, or whose it is. It is ours if the
    /// password logs in.
    Unproven {
        /// What the answer said, without secrets.
        said: String,
        /// It is like that to a success, and not like the one for a user who is there: taken for ours unless the password
        /// is refused, also if no login ever tells.
        likely: bool,
    },
}

/// What a deletion found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// There was such a user, and now there isn't.
    Deleted,
    /// There was no such user.
    AlreadyGone,
}

/// An API for users.
pub trait Directory: fmt::Debug + Send + Sync {
    /// The word for its kind in scenario files and in the ledger, e.g. `nextcloud`.
    fn kind(&self) -> &'static str;
    /// Its address, as in the ledger.
    fn url(&self) -> &Url;
    /// As whom we act, as in the ledger.
    fn admin(&self) -> &str;
    /// Finds out whether it can be reached and whether we may create users.
    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>>;
    /// Creates a user. One attempt: a repetition could meet the user that the first one created.
    fn create<'a>(&'a self, user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>>;
    /// Whether it can delete users. Where it cannot, those of a run stay, and are named in its report.
    fn can_delete(&self) -> bool {
        true
    }
    /// Deletes a user. One attempt.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>>;
    /// Whether it can say who is there. Where it cannot, a name that is taken may be a stranger's at any time.
    fn can_list(&self) -> bool {
        true
    }
    /// All user names that may begin with `stem`: strangers among them, since searching is fuzzy. Nobody, where users
    /// cannot be listed.
    fn list<'a>(&'a self, stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>>;
}

/// What went wrong with a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// No complete response; whether something was done is not known.
    #[error("{method} {url}: {source}")]
    Transport {
        /// HTTP method.
        method: &'static str,
        /// Address.
        url: String,
        /// What went wrong.
        source: TransportError,
    },
    /// The user is there already.
    #[error(
        "user {name} exists already at {url}; {}choose another --user-prefix",
        if *.cleanable { "remove what an earlier run left with `throng cleanup`, or " } else { "" }
    )]
    Exists {
        /// The name.
        name: String,
        /// The directory.
        url: String,
        /// A later cleanup could remove it.
        cleanable: bool,
    },
    /// There is no such user to delete, or the request for it goes to the wrong place: its answer is the same.
    #[error(
        "{method} {url}: {status}: the target says that there is no such user, or no such path"
    )]
    NoSuchUser {
        /// HTTP method.
        method: String,
        /// Address.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The administrator's credentials are wrong.
    #[error("{url} refused {refused} (401); check {check}")]
    Unauthorized {
        /// The directory.
        url: String,
        /// What was refused, in words.
        refused: String,
        /// What to look at.
        check: &'static str,
    },
    /// Two users have one name, so that nobody can say which is ours.
    #[error("{url} has several users called {name}; none of them is deleted")]
    Ambiguous {
        /// The name.
        name: String,
        /// The directory.
        url: String,
    },
    /// The answer to a listing is not what the listing says.
    #[error("hook {what}: the answer of {url} has no {wanted}")]
    NoList {
        /// The request.
        what: String,
        /// The directory.
        url: String,
        /// What was looked for.
        wanted: String,
    },
    /// The declared request could not be made, or refused the user.
    #[error(transparent)]
    Request(Box<HookError>),
    /// The form could not be sent, or refused the user.
    // All of it is in the message: no source.
    #[error("registering failed{}", .0.reason())]
    Form(LoginError),
    /// The answer to a registration was no refusal, but the password is refused afterwards.
    #[error(
        "registering was answered without an error, but the password is refused: the name is taken, or nobody was made; the page said: {said}"
    )]
    NotOurs {
        /// The user.
        name: String,
        /// What the answer to the registration said.
        said: String,
    },
    /// It has no way to delete users.
    #[error("{url} has no way to delete users; {name} stays")]
    NoDeletion {
        /// The directory.
        url: String,
        /// The user.
        name: String,
    },
    /// The account may not manage users.
    #[error("{admin} is not allowed to manage users at {url} (403); an administrator is needed")]
    Forbidden {
        /// The directory.
        url: String,
        /// As whom we tried.
        admin: String,
    },
    /// The directory does not accept the user as described.
    #[error("{url} refused user {name}: {explanation} (statuscode {code}: {said})")]
    Refused {
        /// The directory.
        url: String,
        /// The user.
        name: String,
        /// What the code means.
        explanation: &'static str,
        /// The directory's own code.
        code: i64,
        /// What it said.
        said: String,
    },
    /// Too many requests, or the server failed; may pass.
    #[error("{method} {url}: {status}{}; it said: {said}", retry_after.map_or(String::new(), |wait| format!(" (try again after {} s)", wait.as_secs())))]
    Busy {
        /// HTTP method.
        method: &'static str,
        /// Address.
        url: String,
        /// The status.
        status: StatusCode,
        /// How long it wants us to wait.
        retry_after: Option<Duration>,
        /// What the body says.
        said: String,
    },
    /// Anything else.
    #[error("{method} {url}: expected {expected}, got {status}; it said: {said}")]
    Unexpected {
        /// HTTP method.
        method: &'static str,
        /// Address.
        url: String,
        /// What would have been right.
        expected: &'static str,
        /// The status.
        status: StatusCode,
        /// What the body says.
        said: String,
    },
}

impl From<HookError> for DirectoryError {
    fn from(error: HookError) -> Self {
        Self::Request(Box::new(error))
    }
}

impl From<LoginError> for DirectoryError {
    fn from(error: LoginError) -> Self {
        Self::Form(error)
    }
}

impl DirectoryError {
    /// A further attempt may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Busy { .. } => true,
            Self::Request(error) => error.is_passing(),
            Self::Form(error) => error.problem().is_passing(),
            _ => false,
        }
    }

    /// How long the directory asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            Self::Request(error) => match &**error {
                HookError::Status { retry_after, .. } => *retry_after,
                _ => None,
            },
            Self::Form(error) => error.problem().retry_after(),
            _ => None,
        }
    }

    /// It is certain that the failed creation left no user of ours.
    pub fn nothing_was_created(&self) -> bool {
        match self {
            Self::Exists { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotOurs { .. }
            | Self::Refused { .. } => true,
            Self::Busy { status, .. } | Self::Unexpected { status, .. } => status.is_client_error(),
            Self::NoDeletion { .. }
            | Self::NoSuchUser { .. }
            | Self::Ambiguous { .. }
            | Self::NoList { .. } => true,
            Self::Request(error) => match &**error {
                HookError::Status { status, .. } => status.is_client_error(),
                HookError::Transport { source, .. } => source.is_connect(),
                // Nothing could be sent.
                _ => true,
            },
            Self::Form(error) => {
                let refused = match error.problem() {
                    Problem::Again => true,
                    Problem::Status { status, .. } => status.is_client_error(),
                    _ => false,
                };
                // What a page further on says is not about the registration.
                (refused && error.answers_the_form()) || !error.sent_a_form()
            }
            // Without a connection nothing was sent.
            Self::Transport { source, .. } => source.is_connect(),
        }
    }
}
