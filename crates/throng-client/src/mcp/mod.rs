//! The Model Context Protocol over streamable HTTP, as one identity speaks it.
//!
//! Both eras are spoken: sessions begun by `initialize` (2024-11-05 to 2025-11-25) and the stateless protocol
//! (2026-07-28), where every message stands alone. Which one a server speaks is found out once and kept in its
//! [`Server`], shared by all sessions.
//!
//! A [`Session`] never retries a call, never logs in and never opens itself anew: what happened is reported, with times,
//! as a [`Call`]. Requests of the server that nobody here supports are refused with -32601 while the call waits, since a
//! server may otherwise wait for an answer without limit.

mod call;
mod error;
mod exchange;
mod headers;
mod listen;
mod open;
mod server;
mod session;
mod tools;
mod trace;
mod wire;

use http::HeaderValue;

pub use call::{Call, CallOptions, ResourceResult, ToolCall, ToolName, ToolResult};
pub use error::CallError;
pub use listen::{Listener, Notification};
pub use open::OpenOptions;
pub use server::{Answer, Era, EraChoice, Handler, InvalidUrl, Server, ServerOptions};
pub use session::Session;
pub use tools::{HeaderParam, Tool, Tools};

/// The latest protocol version with sessions.
pub(crate) const LATEST_WITH_SESSIONS: &str = "2025-11-25";
/// The protocol version without sessions.
pub(crate) const STATELESS: &str = "2026-07-28";
/// Versions with sessions, in the order of their publication.
pub const WITH_SESSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// Says who calls. Refreshing a token is the implementor's business: it is asked at every request.
pub trait Authorize: Send + Sync {
    /// The current value of the `Authorization` header, marked sensitive; `None` to send none.
    fn authorization(&self) -> Option<HeaderValue>;
}

/// Nobody: no `Authorization` header is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl Authorize for Anonymous {
    fn authorization(&self) -> Option<HeaderValue> {
        None
    }
}
