//! What happened in one exchange, and when.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};

use crate::{
    client::{Client, Progress},
    connection::{Body, Connection},
    error::{Phase, TransportError, TransportFailure},
    request::Origin,
    sse,
};

/// When the parts of an exchange happened, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// The exchange was asked for; connecting, if needed, comes after this.
    pub started: Instant,
    /// A connection was made for this exchange (TLS handshake included); `None` if a kept-alive one served.
    pub connected: Option<Instant>,
    /// The response head was there; `None` if it never came.
    pub first_byte: Option<Instant>,
    /// The last byte of the response was there, or the exchange failed.
    pub ended: Instant,
}

impl Timings {
    /// From the start to the end.
    pub fn elapsed(&self) -> Duration {
        self.ended.duration_since(self.started)
    }
}

/// A complete response.
#[derive(Debug)]
pub struct Exchange {
    /// The HTTP status, whatever it is.
    pub status: StatusCode,
    /// The response headers. They may hold secrets (`Set-Cookie`): do not print them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// When it happened.
    pub timings: Timings,
    /// Bytes of HTTP sent, above TLS. With HTTP/2 those of exchanges at the same time on the connection are included.
    pub sent: u32,
    /// Bytes of HTTP received, above TLS, as `sent`.
    pub received: u32,
    /// Whether a kept-alive connection served.
    pub reused: bool,
    /// Whether the request was sent twice: first on a kept-alive connection that was closed without an answer. Only what may
    /// be repeated (RFC 9110, section 9.2.2), or was not acted on for all that is known, is sent again.
    pub resent: bool,
    /// The HTTP version spoken.
    pub version: Version,
}

/// A response whose body is still coming.
///
/// Dropping it before the end closes an HTTP/1.1 connection, or resets the stream of an HTTP/2 one.
pub struct OpenExchange {
    /// The HTTP status, whatever it is.
    pub status: StatusCode,
    /// The response headers. They may hold secrets (`Set-Cookie`): do not print them.
    pub headers: HeaderMap,
    /// The HTTP version spoken.
    pub version: Version,
    pub(crate) body: Body,
    /// Until the body has ended, when the connection goes back to the client.
    pub(crate) connection: Option<Connection>,
    pub(crate) client: Client,
    pub(crate) origin: Origin,
    pub(crate) progress: Progress,
    pub(crate) ended: Option<Instant>,
}

impl OpenExchange {
    /// The next piece of the body, or `None` at its end; waits at most `timeout`.
    ///
    /// # Errors
    /// If the connection fails or the time runs out. Size is not limited here, but each piece is at most 64 KiB.
    pub async fn chunk(&mut self, timeout: Duration) -> Result<Option<Bytes>, TransportError> {
        let result = tokio::time::timeout(timeout, self.next()).await;
        let failure = match result {
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => TransportFailure::Timeout {
                after: timeout,
                phase: Phase::Body,
            },
        };
        Err(self.fail(failure))
    }

    /// Reads the body as an event stream.
    pub fn into_events(self) -> EventStream {
        let limit = self.client.connector().options().max_body;
        EventStream {
            exchange: self,
            parser: sse::Parser::new(limit),
        }
    }

    /// Reads the rest of the body, waiting at most `timeout`.
    ///
    /// # Errors
    /// If the connection fails, the time runs out, or the body is larger than allowed.
    pub async fn collect(mut self, timeout: Duration) -> Result<Exchange, TransportError> {
        let result = tokio::time::timeout(timeout, self.read_all()).await;
        let failure = match result {
            Ok(Ok(body)) => return Ok(self.finish(body)),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => TransportFailure::Timeout {
                after: timeout,
                phase: Phase::Body,
            },
        };
        Err(self.fail(failure))
    }

    /// When it happened so far; `ended` is now until the body has ended.
    pub fn timings(&self) -> Timings {
        self.progress
            .timings(self.ended.unwrap_or_else(Instant::now))
    }

    /// Bytes of HTTP sent so far (see [`Exchange::sent`]).
    pub fn sent(&self) -> u32 {
        self.progress.traffic().0
    }

    /// Bytes of HTTP received so far (see [`Exchange::received`]).
    pub fn received(&self) -> u32 {
        self.progress.traffic().1
    }

    /// Whether a kept-alive connection served.
    pub fn reused(&self) -> bool {
        self.progress.reused
    }

    /// Whether the request was sent twice (see [`Exchange::resent`]).
    pub fn resent(&self) -> bool {
        self.progress.resent
    }

    pub(crate) fn fail(&self, failure: TransportFailure) -> TransportError {
        self.progress.fail(failure, &self.origin)
    }

    /// The next piece of the body without a limit in time.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, TransportFailure> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let body = &mut self.body;
        let piece = std::future::poll_fn(|cx| connection.poll_piece(body, cx)).await;
        match piece {
            None => {
                self.release();
                Ok(None)
            }
            Some(piece) => {
                let piece = piece?;
                if connection.has_ended(body) {
                    self.release();
                }
                Ok(Some(piece))
            }
        }
    }

    /// The rest of the body without a limit in time. A body of one piece is not copied.
    pub(crate) async fn read_all(&mut self) -> Result<Bytes, TransportFailure> {
        let limit = self.client.connector().options().max_body;
        let within = |length: usize| {
            if length > limit {
                Err(TransportFailure::BodyTooLarge { limit })
            } else {
                Ok(())
            }
        };
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        within(first.len())?;
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        // Beside a transfer coding it says nothing (RFC 9112, section 6.3, item 3).
        let coded = self.headers.contains_key(header::TRANSFER_ENCODING);
        let length = self.headers.get(header::CONTENT_LENGTH);
        let announced = length
            .filter(|_| !coded)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        within(announced.max(first.len() + second.len()))?;
        let mut whole = BytesMut::with_capacity(announced.max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.next().await? {
            within(whole.len() + piece.len())?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    pub(crate) fn finish(mut self, body: Bytes) -> Exchange {
        let (sent, received) = self.progress.traffic();
        Exchange {
            status: self.status,
            headers: std::mem::take(&mut self.headers),
            body,
            timings: self.timings(),
            sent,
            received,
            reused: self.progress.reused,
            resent: self.progress.resent,
            version: self.version,
        }
    }

    /// The body has ended: notes when, and gives the connection back.
    pub(crate) fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            let now = Instant::now();
            self.ended = Some(now);
            self.progress.fix_traffic();
            self.client.give_back(&self.origin, connection);
        }
    }
}

/// The events of a response, as they come.
pub struct EventStream {
    exchange: OpenExchange,
    parser: sse::Parser,
}

impl EventStream {
    /// The next event, or `None` at the end of the stream; waits at most `timeout`.
    ///
    /// # Errors
    /// If the connection fails, the time runs out, or an event is larger than
    /// [`ConnectorOptions::max_body`](crate::ConnectorOptions::max_body).
    pub async fn event(&mut self, timeout: Duration) -> Result<Option<sse::Event>, TransportError> {
        let result = tokio::time::timeout(timeout, self.next()).await;
        let failure = match result {
            Ok(Ok(event)) => return Ok(event),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => TransportFailure::Timeout {
                after: timeout,
                phase: Phase::Body,
            },
        };
        Err(self.exchange.fail(failure))
    }

    pub(crate) async fn next(&mut self) -> Result<Option<sse::Event>, TransportFailure> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Ok(Some(event));
            }
            let Some(chunk) = self.exchange.next().await? else {
                return Ok(None);
            };
            // A piece that ended the stream came when it ended.
            let received = self.exchange.ended.unwrap_or_else(Instant::now);
            self.parser
                .push(chunk, received)
                .map_err(|error| TransportFailure::BodyTooLarge { limit: error.limit })?;
        }
    }

    /// The exchange that carries the stream.
    pub fn exchange(&self) -> &OpenExchange {
        &self.exchange
    }

    /// The id of the last event that had one, and the reconnection time the server asked for.
    pub fn parser(&self) -> &sse::Parser {
        &self.parser
    }
}
