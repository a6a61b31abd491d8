//! What carries a step out: the seam between the interpreter and the protocols.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use throng_client::mcp::ToolName;
use throng_metrics::Failure;

/// Carries steps out on behalf of users.
pub trait Driver: Send + Sync + 'static {
    /// What is known of a user.
    fn names(&self, user: u32) -> UserNames<'_>;

    /// A text that is unique to this run.
    fn run_id(&self) -> &str;

    /// Makes a user ready for a step, off the measured path: renews a token that is due. Returns how many were renewed.
    fn ready(&self, user: u32) -> impl Future<Output = Result<u32, Failure>> + Send;

    /// Does it. Dropping the future gives it up.
    fn perform(&self, user: u32, task: &Prepared<'_>) -> impl Future<Output = Performed> + Send;
}

/// What is known of a user.
#[derive(Clone, Copy, Debug)]
pub struct UserNames<'a> {
    /// Login name.
    pub name: &'a str,
    /// Display name.
    pub display_name: &'a str,
    /// Mail address.
    pub email: &'a str,
}

/// A step that is ready to be carried out: nothing is rendered after this.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// What is done.
    pub task: Task<'a>,
    /// How long one call may take.
    pub timeout: Duration,
    /// The `baggage` header.
    pub baggage: Option<&'a HeaderValue>,
    /// Whether anybody looks at the result; else it need not be parsed.
    pub wants_value: bool,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Task<'a> {
    /// An MCP tool is called with these arguments, a JSON object.
    Call(&'a ToolName, Bytes),
    /// An MCP resource is read.
    Resource(String),
}

/// What came of it.
#[derive(Debug)]
pub struct Performed {
    /// When the answer was there; `None` for now.
    pub ended: Option<Instant>,
    /// Bytes sent.
    pub sent: u32,
    /// Bytes received.
    pub received: u32,
    /// The value that paths see, or why there is none.
    pub result: Result<Value, Failure>,
    /// Calls that were sent again.
    pub retries: u32,
    /// Tokens that were renewed.
    pub token_refreshes: u32,
}

impl Performed {
    /// Nothing was sent: it failed before.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            ended: None,
            sent: 0,
            received: 0,
            result: Err(failure),
            retries: 0,
            token_refreshes: 0,
        }
    }
}
