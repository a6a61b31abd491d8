//! Requests to one origin, put together of parts that were made before the run.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri};

use crate::{
    client::Client,
    error::{TransportError, TransportFailure},
    exchange::Exchange,
    request::{Outgoing, Target},
};

/// Scheme, host and port, taken apart once for all the requests that go there.
#[derive(Debug, Clone)]
pub struct Base {
    target: Target,
    scheme: uri::Scheme,
    authority: uri::Authority,
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
        let target = Target::new(uri)?;
        let parts = target.absolute.clone().into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(TransportFailure::Request("the URL has no host".to_owned()));
        };
        Ok(Self {
            target,
            scheme,
            authority,
        })
    }

    /// `scheme://host:port`
    pub fn origin(&self) -> &str {
        self.target.origin.text()
    }

    fn at(&self, path: Bytes) -> Result<Target, TransportFailure> {
        let invalid = |error: &dyn std::fmt::Display| TransportFailure::Request(error.to_string());
        let path = uri::PathAndQuery::from_maybe_shared(path).map_err(|error| invalid(&error))?;
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.clone());
        Ok(Target {
            relative: Uri::from(path),
            absolute: Uri::from_parts(parts).map_err(|error| invalid(&error))?,
            ..self.target.clone()
        })
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

impl Outgoing for Addressed<'_> {
    fn target(&self) -> &Target {
        &self.target
    }

    fn method(&self) -> Method {
        self.message.method.clone()
    }

    fn headers(&self) -> HeaderMap {
        let Message { headers, more, .. } = self.message;
        // With room for host, user agent, cookie and CSRF token: a map that grows is moved whole.
        let mut all = HeaderMap::with_capacity(headers.len() + more.len() + 4);
        all.insert(header::HOST, self.target.host.clone());
        if let Some(agent) = self.user_agent {
            all.insert(header::USER_AGENT, agent.clone());
        }
        for (name, value) in headers.iter() {
            all.insert(name.clone(), value.clone());
        }
        for (name, value) in more.iter() {
            all.insert(name.clone(), value.clone());
        }
        all
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
