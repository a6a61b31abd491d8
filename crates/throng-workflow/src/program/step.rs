//! A step: one measured operation, and what it sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use throng_client::mcp::ToolName;
use throng_client::{Base, DoubleSubmit};
use throng_identity::tokens::TokenAction;
use throng_metrics::StepId;

use super::{ActorRef, Condition, Pieces, Refused, Save, SaveFrom, Source, Statement, Until};
use crate::http::Redirects;

/// One measured operation.
#[derive(Debug)]
pub struct Step {
    /// Its index.
    pub id: StepId,
    /// Its name.
    pub name: String,
    /// Who does it.
    pub actor: ActorRef,
    /// The same as it is called in the file.
    pub actor_name: String,
    /// Only when this has a value.
    pub when: Option<Pieces>,
    /// Only when this has none.
    pub unless: Option<Pieces>,
    /// What is done.
    pub action: Action,
    /// How long one call may take.
    pub timeout: Duration,
    /// The `baggage` header of each phase; `None` when the target wants none.
    pub baggage: Option<Baggage>,
    /// What is waited for.
    pub until: Option<Until>,
    /// An expected refusal.
    pub refused: Option<Refused>,
    /// What must hold.
    pub checks: Vec<Condition>,
    /// What is kept.
    pub saves: Vec<Save>,
    /// What is added to lists.
    pub appends: Vec<(usize, Pieces)>,
    /// What is done when it was refused.
    pub or_else: Vec<Statement>,
    /// Whether a token that is over or refused is renewed for it.
    pub renew: bool,
    /// Whether the file says which answers it expects.
    pub expects: bool,
    /// The values that it cannot do without: in `finally`, it is left out when one was never saved.
    pub needs: Vec<Source>,
}

impl Step {
    /// Whether anything looks at the result; else it need not even be parsed.
    pub(crate) fn reads_result(&self) -> bool {
        let until = self.until.iter().map(|until| &until.condition);
        until.chain(&self.checks).any(Condition::reads_result)
            || self
                .saves
                .iter()
                .any(|save| matches!(save.from, SaveFrom::Path(_)))
            // The answer to a call that should have been refused is shown.
            || self.refused.as_ref().is_some_and(|refused| refused.must)
    }
}

/// The `baggage` header, by phase.
#[derive(Clone, Debug)]
pub struct Baggage {
    /// While the samples are thrown away.
    pub warmup: HeaderValue,
    /// While they count.
    pub measured: HeaderValue,
    /// In `finally`, while they count.
    pub finally: HeaderValue,
}

/// What is done.
#[derive(Debug)]
pub enum Action {
    /// An MCP tool is called.
    Call {
        /// Its name.
        tool: ToolName,
        /// Its arguments: a JSON object.
        arguments: Pieces,
    },
    /// An MCP resource is read.
    Resource {
        /// Its URI.
        uri: Pieces,
    },
    /// An HTTP request is sent.
    Request(Box<Request>),
    /// Server-sent events are listened to.
    Listen(Box<Listen>),
    /// Something is done with the user's token.
    Token(TokenAction),
}

/// An HTTP request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where it goes when that is not the target.
    pub base: Option<Base>,
    /// Path and query, percent-encoded.
    pub path: Content,
    /// Headers that are the same each time.
    pub headers: HeaderMap,
    /// The others.
    pub more: Vec<(HeaderName, Pieces)>,
    /// The body.
    pub body: Content,
    /// The statuses that are no error; any 2xx when there is none.
    pub expect: Vec<u16>,
    /// The cookie that a header repeats.
    pub double_submit: Option<Arc<DoubleSubmit>>,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// Cookies whose values are kept after the answer.
    pub cookies: Vec<String>,
}

impl Request {
    /// Whether a status is no error.
    pub fn expects(&self, status: u16) -> bool {
        match self.expect.as_slice() {
            [] => (200..300).contains(&status),
            expected => expected.contains(&status),
        }
    }
}

/// Listening to server-sent events.
#[derive(Debug)]
pub struct Listen {
    /// What is asked for.
    pub request: Request,
    /// The event that ends it.
    pub until: Option<Condition>,
    /// The number of events that ends it.
    pub events: Option<u64>,
    /// How long it lasts at most.
    pub within: Duration,
}

/// What is sent: known when the file is read, or put together.
#[derive(Debug)]
pub enum Content {
    /// Known.
    Fixed(Bytes),
    /// Put together.
    Made(Pieces),
}
