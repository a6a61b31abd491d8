//! Failures below HTTP: no complete response arrived. An HTTP error status is not one of them.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{exchange::Timings, http1::Broken};

/// An exchange that ended without a complete response.
///
/// It carries the same facts as an [`Exchange`](crate::Exchange), so that a failure is a sample like any other. It never
/// holds header values, bodies or the path of the request, hence no secrets.
pub struct TransportError(Box<Inner>);

struct Inner {
    failure: TransportFailure,
    origin: Arc<str>,
    timings: Timings,
    sent: u32,
    received: u32,
    reused: bool,
    resent: bool,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportFailure {
    /// The request could not be sent as given (no host, unsupported scheme, ...).
    #[error("invalid request: {0}")]
    Request(String),
    /// The host name did not resolve to an address.
    #[error("cannot resolve the host name: {0}")]
    Resolve(#[source] io::Error),
    /// No address accepted the connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed (protocol version, cipher suites, ...).
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// The server's certificate is not believed.
    #[error(
        "the certificate is not trusted: {0}; name its authority with --cacert, or accept any certificate with --insecure"
    )]
    Certificate(#[source] io::Error),
    /// The time allowed ran out.
    #[error("no {phase} within {after:?}")]
    Timeout {
        /// The time that was allowed.
        after: Duration,
        /// What was being waited for.
        phase: Phase,
    },
    /// The server closed the connection before its response was complete.
    #[error("connection closed before the response was complete")]
    Closed,
    /// The connection was reset or failed while in use.
    #[error("connection failed: {0}")]
    Reset(#[source] io::Error),
    /// What the server sent is not HTTP.
    #[error("invalid HTTP: {0}")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The response body exceeded [`ConnectorOptions::max_body`](crate::ConnectorOptions::max_body).
    #[error("response body larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The server redirected again and again.
    #[error("redirected more than {limit} times")]
    TooManyRedirects {
        /// How many redirects were allowed.
        limit: u32,
    },
}

/// The part of an exchange that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Resolving, connecting or shaking hands.
    Connect,
    /// The request was being sent, or its response head awaited.
    Head,
    /// The response body was being received.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connection",
            Phase::Head => "response",
            Phase::Body => "end of the response",
        })
    }
}

impl TransportError {
    pub(crate) fn new(
        failure: TransportFailure,
        origin: Arc<str>,
        timings: Timings,
        sent: u32,
        received: u32,
        reused: bool,
    ) -> Self {
        Self(Box::new(Inner {
            failure,
            origin,
            timings,
            sent,
            received,
            reused,
            resent: false,
        }))
    }

    pub(crate) fn after_resending(mut self, resent: bool) -> Self {
        self.0.resent |= resent;
        self
    }

    /// Nothing could be sent at all.
    pub(crate) fn unsent(failure: TransportFailure, started: Instant) -> Self {
        let timings = Timings {
            started,
            connected: None,
            first_byte: None,
            ended: Instant::now(),
        };
        Self::new(failure, Arc::from("request"), timings, 0, 0, false)
    }

    /// What went wrong.
    pub fn failure(&self) -> &TransportFailure {
        &self.0.failure
    }

    /// The origin spoken to, `scheme://host:port`.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// When the exchange started, how far it came, and when it failed.
    pub fn timings(&self) -> Timings {
        self.0.timings
    }

    /// Bytes of HTTP sent for this exchange before it failed.
    pub fn sent(&self) -> u32 {
        self.0.sent
    }

    /// Bytes of HTTP received for this exchange before it failed.
    pub fn received(&self) -> u32 {
        self.0.received
    }

    /// Whether the connection had served an earlier exchange.
    pub fn reused(&self) -> bool {
        self.0.reused
    }

    /// Whether the request had been sent before, on a kept-alive connection that was closed (see [`Exchange::resent`]).
    ///
    /// [`Exchange::resent`]: crate::Exchange::resent
    pub fn resent(&self) -> bool {
        self.0.resent
    }

    /// Whether the time allowed ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.failure, TransportFailure::Timeout { .. })
    }

    /// Whether no connection could be made at all.
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.failure,
            TransportFailure::Resolve(_)
                | TransportFailure::Connect(_)
                | TransportFailure::Tls(_)
                | TransportFailure::Certificate(_)
                | TransportFailure::Timeout {
                    phase: Phase::Connect,
                    ..
                }
        )
    }

    /// A short text without addresses, numbers or durations, by which equal causes can be grouped.
    pub fn cause(&self) -> &'static str {
        match &self.0.failure {
            TransportFailure::Request(_) => "invalid request",
            TransportFailure::Resolve(_) => "cannot resolve the host name",
            TransportFailure::Connect(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused",
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => {
                    "no local port left to connect from"
                }
                _ => "cannot connect",
            },
            TransportFailure::Tls(_) => "TLS handshake failed",
            TransportFailure::Certificate(_) => "certificate not trusted",
            TransportFailure::Timeout { phase, .. } => match phase {
                Phase::Connect => "timeout while connecting",
                Phase::Head => "timeout while waiting for the response",
                Phase::Body => "timeout while receiving the response",
            },
            TransportFailure::Closed => "connection closed before the response was complete",
            TransportFailure::Reset(_) => "connection reset",
            TransportFailure::Protocol(_) => "invalid HTTP",
            TransportFailure::BodyTooLarge { .. } => "response body too large",
            TransportFailure::TooManyRedirects { .. } => "too many redirects",
        }
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError")
            .field("failure", &self.0.failure)
            .field("origin", &self.0.origin)
            .field("timings", &self.0.timings)
            .field("sent", &self.0.sent)
            .field("received", &self.0.received)
            .field("reused", &self.0.reused)
            .finish()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.origin, self.0.failure)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.failure.source()
    }
}

impl From<Broken> for TransportFailure {
    /// Sorts what went wrong by what it means for the exchange.
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            Broken::Io(error) => Self::Reset(error),
            Broken::Closed => Self::Closed,
            Broken::Malformed(malformed) => Self::Protocol(malformed.into()),
        }
    }
}

impl TransportFailure {
    /// The same for HTTP/2.
    pub(crate) fn from_hyper(error: hyper::Error) -> Self {
        if let Some(source) = find_io(&error) {
            return match source.kind() {
                io::ErrorKind::UnexpectedEof => Self::Closed,
                _ => Self::Reset(io::Error::new(source.kind(), source.to_string())),
            };
        }
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::Closed;
        }
        Self::Protocol(error.into())
    }
}

fn find_io(error: &hyper::Error) -> Option<&io::Error> {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        current = error.source();
    }
    None
}
