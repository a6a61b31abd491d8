//! What carries a step out: the seam between the interpreter and the protocols.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;
use serde_json::Value;
use throng_client::mcp::ToolName;
use throng_engine::{Head, Permit};
use throng_identity::tokens::{Refusal, TokenAction};
use throng_metrics::{Failure, StreamEnd};

use super::scope::lock;
use crate::program::{Listen, Request};

/// Carries steps out on behalf of users.
pub trait Driver: Send + Sync + 'static {
    /// What is known of a user.
    fn names(&self, user: u32) -> UserNames<'_>;

    /// What the requests of a user's login saved, in the order of [`crate::accounts::Login::saved`].
    fn saved(&self, _user: u32, _index: usize) -> Option<&str> {
        None
    }

    /// A text that is unique to this run.
    fn run_id(&self) -> &str;

    /// Makes a user ready for a step, off the measured path: renews a token that is due. That takes `limit` at most.
    fn ready(&self, user: u32, limit: Duration) -> impl Future<Output = Readied> + Send;

    /// A message about a step without what only this user may know: cookies, tokens, keys.
    fn conceal(&self, _user: u32, _task: &Prepared<'_>, text: String) -> String {
        text
    }

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
    /// The refusal that the step expects: it says nothing against the user's token.
    pub refused: Option<&'a Regex>,
    /// Whether a token that is refused is renewed and the call sent again.
    pub renew: bool,
}

/// What making a user ready came to.
#[derive(Debug)]
pub struct Readied {
    /// What became of the user's token.
    pub tokens: Option<Box<TokenUse>>,
    /// Whether the step can begin.
    pub result: Result<(), Failure>,
}

impl Default for Readied {
    /// Nothing had to be done.
    fn default() -> Self {
        Self {
            tokens: None,
            result: Ok(()),
        }
    }
}

/// What became of a user's token since it was last told, and what a step met of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUse {
    /// Renewals by the refresh token.
    pub refreshes: u32,
    /// Renewals by a login.
    pub logins: u32,
    /// Renewals by another grant of the kind that brought the first token.
    pub grants: u32,
    /// Logins for more scopes.
    pub step_ups: u32,
    /// Renewals and step-ups that failed.
    pub failures: u32,
    /// Answers that refused the call for its token.
    pub refusals: u32,
    /// How often the call was sent again with another token.
    pub retries: u32,
    /// How long the step waited for a token, before its start or between its attempts.
    pub waited: Option<Duration>,
}

/// What is done.
#[derive(Debug)]
pub enum Task<'a> {
    /// An MCP tool is called with these arguments, a JSON object.
    Call(&'a ToolName, Bytes),
    /// An MCP resource is read.
    Resource(String),
    /// An HTTP request is sent.
    Request(HttpTask<'a>),
    /// Server-sent events are listened to.
    Listen(ListenTask<'a>),
    /// Something is done with the user's token.
    Token(TokenAction),
}

impl<'a> Task<'a> {
    /// The HTTP request, where it is or begins with one.
    pub(crate) fn http(&self) -> Option<&HttpTask<'a>> {
        match self {
            Self::Request(task) => Some(task),
            Self::Listen(task) => Some(&task.request),
            Self::Call(..) | Self::Resource(_) | Self::Token(_) => None,
        }
    }
}

/// An HTTP request, put together.
#[derive(Debug)]
pub struct HttpTask<'a> {
    /// What was known before the run.
    pub request: &'a Request,
    /// Path and query.
    pub path: Bytes,
    /// Headers that were put together.
    pub more: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// Listening, put together.
pub struct ListenTask<'a> {
    /// What was known before the run.
    pub listen: &'a Listen,
    /// What is asked for.
    pub request: HttpTask<'a>,
    /// Whether an event, decoded, ends it; only where something is waited for.
    pub ends: Option<&'a (dyn Fn(&Value) -> bool + Send + Sync)>,
    /// Where the driver puts the head of the stream once it is there: should the step be given up later, that was its answer.
    pub open: Arc<OnceLock<Head>>,
    /// Held until the head is there: a stream that goes on is no request in flight.
    pub(crate) permit: Mutex<Option<Permit>>,
}

impl ListenTask<'_> {
    /// Keeps the right to have a request in flight.
    pub(crate) fn hold(&self, permit: Option<Permit>) {
        *lock(&self.permit) = permit;
    }

    /// Gives it back: the answer has begun, or won't.
    pub(crate) fn head_is_there(&self) {
        self.hold(None);
    }
}

impl fmt::Debug for ListenTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenTask")
            .field("listen", &self.listen)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The answer to a step.
#[derive(Debug, Default)]
pub struct Reply {
    /// What paths see: the result of a tool, the body of an answer, an event.
    pub value: Value,
    /// What else HTTP has.
    pub http: Option<Box<HttpReply>>,
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        Self { value, http: None }
    }
}

/// What an HTTP answer has besides a value.
#[derive(Debug)]
pub struct HttpReply {
    /// The status.
    pub status: u16,
    /// The headers. They may hold secrets.
    pub headers: HeaderMap,
    /// The body as it was received.
    pub body: Bytes,
    /// The cookies that were asked for, as the user has them now.
    pub cookies: Vec<Option<String>>,
}

/// What came of listening.
#[derive(Debug)]
pub struct Streamed {
    /// From the request to the first event.
    pub first_event: Option<Duration>,
    /// From each event to the next.
    pub gaps: Vec<Duration>,
    /// Events received.
    pub events: u64,
    /// How often the stream was taken up again.
    pub reconnects: u32,
    /// How it ended.
    pub end: StreamEnd,
    /// From the request to the end.
    pub lasted: Duration,
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
    /// The HTTP status, where the step is an HTTP request that was answered.
    pub status: Option<u16>,
    /// The stream, where the step listened to one.
    pub stream: Option<Box<Streamed>>,
    /// The answer, or why it is a failure.
    pub result: Result<Reply, Failure>,
    /// Calls that were sent again.
    pub retries: u32,
    /// Why the call was refused, where another token may help.
    pub denied: Option<Box<Refusal>>,
    /// What became of the user's token. Time waited for it between two attempts is no part of the step's own.
    pub tokens: Option<Box<TokenUse>>,
}

impl Performed {
    /// Nothing was sent: it failed before.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            ended: None,
            sent: 0,
            received: 0,
            status: None,
            stream: None,
            result: Err(failure),
            retries: 0,
            denied: None,
            tokens: None,
        }
    }
}
