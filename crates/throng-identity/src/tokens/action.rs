//! What a step may want of an identity's token, as an action of its own that is measured.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use throng_client::Exchange;

use crate::login::{Login, Tokens};

/// An action on an identity's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAction {
    /// Uses the refresh token (RFC 6749 section 6).
    Refresh,
    /// Logs in anew, whatever the tokens are worth.
    LogIn,
    /// Revokes the access token (RFC 7009). The identity keeps it.
    Revoke,
    /// Revokes the refresh token (RFC 7009), and with it whatever the provider takes to follow from it. The identity keeps both.
    RevokeRefresh,
}

/// Headers that go along with an action, such as `baggage`.
pub type MoreHeaders = Vec<(HeaderName, HeaderValue)>;

/// What an action came to, for whoever measures it.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    /// How long was waited for other work on the same tokens, and for a place in the browser.
    pub waited: Duration,
    /// When its first request began.
    pub started: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// Bytes sent; 0 for a login.
    pub sent: u32,
    /// Bytes received; 0 for a login.
    pub received: u32,
    /// The status; none for a login.
    pub status: Option<StatusCode>,
    /// What may be shown of the answer: never a token. Else what the server said instead, without secrets.
    pub result: Result<Value, String>,
}

impl TokenAnswer {
    pub(super) fn of(exchange: &Exchange, result: Result<Value, String>) -> Self {
        Self {
            waited: Duration::ZERO,
            started: exchange.timings.started,
            ended: exchange.timings.ended,
            sent: exchange.sent,
            received: exchange.received,
            status: Some(exchange.status),
            result,
        }
    }

    pub(super) fn of_login(started: Instant, login: &Login) -> Self {
        let mut value = shown(&login.tokens);
        value["hops"] = login.hops.len().into();
        Self {
            waited: login.queued,
            started: started + login.queued,
            ended: started + login.queued + login.took,
            sent: 0,
            received: 0,
            status: None,
            result: Ok(value),
        }
    }
}

/// What checks may see of tokens.
pub(super) fn shown(tokens: &Tokens) -> Value {
    json!({
        "expires_in": tokens.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        "scope": tokens.scope,
        "refresh_token": tokens.refresh.is_some(),
    })
}
