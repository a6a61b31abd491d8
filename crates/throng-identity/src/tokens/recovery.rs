//! What helps after a request was refused because of its token, in what order, and how often at most.

use http::{HeaderValue, StatusCode};
use throng_client::mcp::CallError;

use super::{Renewal, TokenCell, TokenError};
use crate::challenge::Challenge;

/// A refusal for which the token is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP 401: the token is over, revoked, or was never good.
    Unauthorized,
    /// HTTP 403 with `insufficient_scope` (RFC 6750 section 3.1): it is good, but for less. With the scopes that are needed.
    InsufficientScope(Vec<String>),
}

impl Refusal {
    /// What an answer says by its status and its challenge; nothing where another token would not help.
    pub fn of(status: StatusCode, challenge: Option<&Challenge>) -> Option<Self> {
        match (status, challenge) {
            (StatusCode::UNAUTHORIZED, _) => Some(Self::Unauthorized),
            (StatusCode::FORBIDDEN, Some(challenge))
                if challenge.error.as_deref() == Some("insufficient_scope") =>
            {
                Some(Self::InsufficientScope(challenge.scope.clone()))
            }
            _ => None,
        }
    }

    /// That of an MCP call.
    pub fn of_call(error: &CallError) -> Option<Self> {
        match error {
            CallError::Http {
                status,
                www_authenticate,
                ..
            } => {
                let challenge = www_authenticate.as_deref().and_then(Challenge::parse);
                Self::of(*status, challenge.as_ref())
            }
            _ => None,
        }
    }
}

/// What was tried for one request. Each remedy is tried once, so that a target that refuses everything is not asked for ever.
#[derive(Debug, Default)]
pub struct Recovery {
    /// A renewal of one's own was made, or earlier ones waited for twice.
    renewed: bool,
    waited: bool,
    stepped_up: bool,
    followed: bool,
}

impl Recovery {
    /// Does what may help after a request that carried `stale` was refused. True if it is worth sending again.
    ///
    /// # Errors
    /// Why there is no better token.
    pub async fn after(
        &mut self,
        cell: &TokenCell,
        stale: &HeaderValue,
        refusal: &Refusal,
    ) -> Result<bool, TokenError> {
        match refusal {
            Refusal::Unauthorized if !self.renewed => {
                match cell.renew(stale).await {
                    // Another's renewal that had begun before: its token may have been revoked with the old one.
                    Ok(Renewal::Earlier) if !self.waited => {
                        self.waited = true;
                        Ok(true)
                    }
                    Ok(_) => {
                        self.renewed = true;
                        Ok(true)
                    }
                    // The authorization server may be the wrong one by now.
                    Err(error) => {
                        (self.renewed, self.followed) = (true, true);
                        match cell.follow(stale).await {
                            Ok(true) => Ok(true),
                            Ok(false) => Err(error),
                            Err(follow) => {
                                tracing::debug!(%follow, "nor is there another authorization server");
                                Err(error)
                            }
                        }
                    }
                }
            }
            Refusal::Unauthorized if !self.followed => {
                self.followed = true;
                cell.follow(stale).await
            }
            Refusal::InsufficientScope(wanted) if !self.stepped_up => {
                self.stepped_up = true;
                cell.step_up(stale, wanted).await.map(|()| true)
            }
            Refusal::Unauthorized | Refusal::InsufficientScope(_) => Ok(false),
        }
    }
}
