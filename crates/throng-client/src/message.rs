//! Requests to one origin, put together of parts that were made before the run.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri};

use crate::{
    client::Client,
    error::{TransportError, TransportFailure},
    exchange::Exchange,
    request::{Origin, Outgoing, Target},
};

/// Scheme, host and port, taken apart once for all the requests that go there.
#[derive(Debug, Clone)]
pub struct Base {
    origin: Origin,
}

impl Base {
    /// The origin of an absolute http or https URL; its path is ignored.
    ///
    /// # Errors
    /// If it is not one.
    pub fn new(url: &str) -> Result<Self, TransportFailure> {
        let uri: Uri = url
            .parse()
            .map_err(|error: uri::InvalidUri| TransportFailure::Request(error.to_string()))?;
        let Target { origin, .. } = Target::new(&uri)?;
        Ok(Self { origin })
    }

    /// `scheme://host:port`
    pub fn origin(&self) -> &str {
        self.origin.text()
    }

    fn at(&self, path: Bytes) -> Result<Target, TransportFailure> {
        let path = uri::PathAndQuery::from_maybe_shared(path)
            .map_err(|error| TransportFailure::Request(error.to_string()))?;
        Target::at(self.origin.clone(), path)
    }
}

/// A cookie that a request repeats in a header, against cross-site request forgery: the value is read from the jar when
/// the request is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoubleSubmit {
    /// Name of the cookie.
    pub cookie: String,
    /// Name of the header.
    pub header: HeaderName,
}

/// A request to a [`Base`].
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, percent-encoded, starting with `/`.
    pub path: Bytes,
    /// Headers that are the same each time, one value to a name.
    pub headers: &'a HeaderMap,
    /// Further headers; they replace those of the same name.
    pub more: &'a [(HeaderName, HeaderValue)],
    /// The body.
    pub body: Bytes,
    /// The cookie that a header repeats. Without such a cookie in the jar there is no such header.
    pub double_submit: Option<&'a DoubleSubmit>,
}

/// A message and where it goes.
pub(crate) struct Addressed<'a> {
    message: &'a Message<'a>,
    target: Target,
    user_agent: Option<&'a HeaderValue>,
}

impl<'a> Addressed<'a> {
    pub(crate) fn new(
        client: &'a Client,
        base: &Base,
        message: &'a Message<'a>,
        started: Instant,
    ) -> Result<Self, TransportError> {
        let target = base
            .at(message.path.clone())
            .map_err(|failure| TransportError::unsent(failure, started))?;
        Ok(Self {
            message,
            target,
            user_agent: client.connector().options().user_agent.as_ref(),
        })
    }
}

impl Addressed<'_> {
    /// The header that is sent by this name, if the message says one.
    fn said(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let Message { headers, more, .. } = self.message;
        // They are few, and the last one counts.
        let replaced = more.iter().rev().find(|(of, _)| of == name);
        replaced.map_or_else(|| headers.get(name), |(_, value)| Some(value))
    }
}

impl Outgoing for Addressed<'_> {
    fn target(&self) -> &Target {
        &self.target
    }

    fn method(&self) -> &Method {
        self.message.method
    }

    fn each_header(&self, see: &mut dyn FnMut(&HeaderName, &HeaderValue)) {
        let Message { headers, more, .. } = self.message;
        let host = self.target.origin.host_header();
        see(&header::HOST, self.said(&header::HOST).unwrap_or(host));
        if let Some(agent) = self.said(&header::USER_AGENT).or(self.user_agent) {
            see(&header::USER_AGENT, agent);
        }
        let first = |name: &HeaderName| matches!(*name, header::HOST | header::USER_AGENT);
        for (name, value) in headers.iter() {
            if !first(name) && more.iter().all(|(of, _)| of != name) {
                see(name, value);
            }
        }
        for (at, (name, value)) in more.iter().enumerate() {
            if !first(name) && more[at + 1..].iter().all(|(of, _)| of != name) {
                see(name, value);
            }
        }
    }

    fn says(&self, name: &HeaderName) -> bool {
        self.said(name).is_some()
    }

    fn body(&self) -> Bytes {
        self.message.body.clone()
    }

    fn double_submit(&self) -> Option<&crate::DoubleSubmit> {
        self.message.double_submit
    }
}

impl Client {
    /// Sends a message and receives the whole response; at most `timeout` long, connecting included. Redirects are
    /// answers like any other.
    ///
    /// # Errors
    /// If no complete response arrives in time, or its body is larger than allowed.
    pub async fn send_to(
        &self,
        base: &Base,
        message: &Message<'_>,
        timeout: Duration,
    ) -> Result<Exchange, TransportError> {
        let started = Instant::now();
        let outgoing = Addressed::new(self, base, message, started)?;
        self.exchange(&outgoing, started, timeout).await
    }
}
