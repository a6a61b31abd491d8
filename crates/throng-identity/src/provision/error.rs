//! Why a user is not ready.

use http::StatusCode;

use crate::directory::DirectoryError;
use crate::hooks::{self, HookError};
use crate::ledger::LedgerError;
use crate::login::{LoginError, Problem};

/// Where provisioning a user failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The ledger could not be written; nothing was created.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The directory did not create the user.
    #[error("creating {name}: {source}")]
    Create {
        /// The user.
        name: String,
        /// What went wrong.
        source: DirectoryError,
    },
    /// The user could not log in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// There is no token for the user, and nothing that could bring one.
    #[error(
        "{name} has no token: give one for all with `login.token`, or one for each in `users.from`"
    )]
    NoToken {
        /// The user.
        name: String,
    },
    /// The declared request of the login failed.
    #[error("logging in {name}: {source}")]
    SignIn {
        /// The user.
        name: String,
        /// What went wrong.
        source: HookError,
    },
    /// A hook failed.
    #[error("after the login of {name}: {source}")]
    Hook {
        /// The user.
        name: String,
        /// What went wrong.
        source: HookError,
    },
    /// Given up because the run was.
    #[error("{name}: interrupted")]
    Interrupted {
        /// The user.
        name: String,
        /// In the middle of a login that may begin a session which was to be ended: whether there is one is not known.
        abandoned: bool,
    },
    /// The user's task died, which is a bug.
    #[error("provisioning user {n} ended without a result: {reason}")]
    Lost {
        /// Number in the name.
        n: u32,
        /// What the runtime says.
        reason: String,
    },
}

impl ProvisionError {
    /// The name of the user who is not ready, where it is known.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Create { name, .. }
            | Self::NoToken { name }
            | Self::SignIn { name, .. }
            | Self::Hook { name, .. }
            | Self::Interrupted { name, .. } => Some(name),
            Self::Login(error) => Some(error.user()),
            Self::Ledger(_) | Self::Lost { .. } => None,
        }
    }

    /// The login failed because the password is another one, as far as can be told.
    pub(super) fn refuses_password(&self) -> bool {
        match self {
            Self::Login(error) => match error.problem() {
                Problem::Credentials => true,
                // Any other may be a form's token, or a page that is missing.
                Problem::Status { status, .. } => {
                    *status == StatusCode::UNAUTHORIZED && error.answers_the_form()
                }
                _ => false,
            },
            Self::SignIn { source, .. } => matches!(
                source,
                HookError::Status { status, .. } if status.is_client_error() && !hooks::is_passing(*status)
            ),
            // What a refused password made of a registration.
            Self::Create { source, .. } => matches!(source, DirectoryError::NotOurs { .. }),
            _ => false,
        }
    }
}
