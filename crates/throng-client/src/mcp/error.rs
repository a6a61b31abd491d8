//! What can go wrong with a call, told apart by who is to blame.

use std::{fmt, time::Duration};

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::error::{Phase, TransportError};

/// Longest excerpt of a body kept in an error, in bytes.
const EXCERPT: usize = 400;

/// A call that brought no result. A tool that answers `isError` is a result: see
/// [`ToolResult::is_error`](super::ToolResult::is_error).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No complete HTTP response arrived.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The time allowed for the call ran out.
    #[error("no {phase} within {after:?}")]
    Timeout {
        /// The time that was allowed.
        after: Duration,
        /// What was being waited for.
        phase: Phase,
    },
    /// An HTTP error status whose body is no JSON-RPC error.
    #[error("HTTP {status}{}", excerpt_suffix(.body_excerpt))]
    Http {
        /// The status.
        status: StatusCode,
        /// The start of the body.
        body_excerpt: String,
        /// The `WWW-Authenticate` header: a 401 or 403 says there what it wants.
        www_authenticate: Option<String>,
        /// The `Retry-After` header as sent.
        retry_after: Option<String>,
    },
    /// The server knows this session no more (HTTP 404 to a request with a session id).
    #[error("the server has lost this session")]
    SessionLost,
    /// A JSON-RPC error.
    #[error("JSON-RPC error {code}: {message}")]
    Rpc {
        /// The JSON-RPC error code.
        code: i64,
        /// The server's message.
        message: String,
        /// The server's `data`.
        data: Option<Box<Value>>,
        /// The HTTP status it came with: 200, or 400 and 404 in the stateless era.
        status: StatusCode,
    },
    /// The server wants answers (`resultType: input_required`) to requests that nobody here supports.
    #[error("the server wants input: {}", methods.join(", "))]
    InputRequired {
        /// The methods asked for.
        methods: Vec<String>,
    },
    /// What came back is not what the protocol allows.
    #[error("{0}")]
    Protocol(String),
}

impl CallError {
    /// A text by which equal causes can be grouped: without addresses, ids or the server's wording.
    pub fn cause(&self) -> String {
        match self {
            Self::Transport(error) => error.cause().to_owned(),
            Self::Timeout { phase, .. } => format!("timeout: no {phase}"),
            Self::Http { status, .. } => format!("HTTP {}", status.as_u16()),
            Self::SessionLost => "session lost".to_owned(),
            Self::Rpc { code, .. } => format!("JSON-RPC error {code}"),
            Self::InputRequired { .. } => "input required".to_owned(),
            Self::Protocol(_) => "protocol violated".to_owned(),
        }
    }

    /// Whether the server asked for other credentials (HTTP 401).
    pub fn is_unauthorized(&self) -> bool {
        matches!(
            self,
            Self::Http {
                status: StatusCode::UNAUTHORIZED,
                ..
            }
        )
    }

    /// Whether the time allowed ran out.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Transport(error) => error.is_timeout(),
            _ => false,
        }
    }

    pub(crate) fn http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &http::HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        Self::Http {
            status,
            body_excerpt: excerpt(body),
            www_authenticate: text(header::WWW_AUTHENTICATE),
            retry_after: text(header::RETRY_AFTER),
        }
    }

    pub(crate) fn protocol(what: impl fmt::Display) -> Self {
        Self::Protocol(what.to_string())
    }
}

/// The start of a body as one line of text.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let cut = &body[..body.len().min(EXCERPT)];
    let text = String::from_utf8_lossy(cut);
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if body.len() > EXCERPT {
        line.push('…');
    }
    line
}

fn excerpt_suffix(excerpt: &str) -> String {
    if excerpt.is_empty() {
        String::new()
    } else {
        format!(": {excerpt}")
    }
}
