//! Why there is no fresh token.

use std::sync::Arc;

use http::StatusCode;
use throng_client::TransportError;

use crate::enrolment::FollowError;
use crate::login::{LoginError, Problem};

/// Why there is no fresh token, or why what a step wanted of it could not be done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The authorization server did not answer.
    #[error("{doing} the token of {user}: {source}")]
    Transport {
        /// Whose token.
        user: String,
        /// `refreshing` or `revoking`.
        doing: &'static str,
        /// What went wrong.
        source: Arc<TransportError>,
    },
    /// The token endpoint refused for another reason than the refresh token.
    #[error(
        "refreshing the token of {user}: expected 200 with tokens, got {status}; the server said: {said}"
    )]
    Refused {
        /// Whose token.
        user: String,
        /// The status.
        status: StatusCode,
        /// What the body says.
        said: String,
    },
    /// The answer is no token response.
    #[error("refreshing the token of {user}: expected a token response, got {problem}")]
    Invalid {
        /// Whose token.
        user: String,
        /// What is wrong.
        problem: String,
    },
    /// The full login that a renewal needs failed.
    #[error("renewing the token of {user} by a new login: {source}")]
    Login {
        /// Whose token.
        user: String,
        /// What went wrong.
        source: Arc<LoginError>,
    },
    /// Renewing was given up; the last error.
    #[error("gave up after {failures} failed renewals, the last: {last}")]
    GivenUp {
        /// How many failed, one after the other.
        failures: u32,
        /// Why the last one did.
        last: Box<TokenError>,
    },
    /// The token is fixed, and was refused.
    #[error("the token given for {user} was refused, and there is no way to renew it")]
    Fixed {
        /// Whose token.
        user: String,
    },
    /// More scopes were demanded, which the identity has asked for already: a further login would change nothing.
    #[error(
        "the target demands the scopes `{demanded}`, which {user} has asked for already, and was not granted"
    )]
    Scopes {
        /// Whose token.
        user: String,
        /// What the target's challenge names.
        demanded: String,
    },
    /// The target may have moved to another authorization server, and cannot be followed.
    #[error("looking where {user} gets tokens for the target by now: {source}")]
    Moved {
        /// Whose token.
        user: String,
        /// What went wrong.
        source: Arc<FollowError>,
    },
    /// There is nothing that it could be done with.
    #[error("{user} has no {what}")]
    Missing {
        /// Whose token.
        user: String,
        /// What is missing.
        what: &'static str,
    },
    /// The authorization server has no endpoint for it.
    #[error("{issuer} offers no revocation (no revocation_endpoint in its metadata)")]
    NoRevocation {
        /// The authorization server.
        issuer: String,
    },
    /// The renewal's task died, which is a bug.
    #[error("the renewal for {user} ended without a result")]
    Lost {
        /// Whose token.
        user: String,
    },
}

impl TokenError {
    /// Whether a later renewal may succeed, as when the provider is down.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Refused { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
            }
            Self::Login { source, .. } => source.problem().is_passing(),
            _ => false,
        }
    }

    /// Whether the password was refused: trying it again helps nobody, and may lock the account.
    pub fn refuses_password(&self) -> bool {
        matches!(self, Self::Login { source, .. } if matches!(source.problem(), Problem::Credentials))
    }
}
