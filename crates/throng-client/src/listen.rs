//! Listening to a server's events over reconnections (WHATWG HTML, section 9.2).
//!
//! A stream that ends or breaks is taken up again where the server has given ids or a reconnection time, which is how it
//! says that it can resume; one without either has ended. How long to listen is the caller's to say: every wait ends at
//! its deadline, however silent the stream.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{
    client::Client,
    error::TransportError,
    exchange::{EventStream, Exchange, OpenExchange, Timings},
    message::{Addressed, Base, Message},
    sse,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long to wait before connecting again, where the stream did not say (the specification leaves it open).
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// Whatever the stream said: a server that asks for no pause at all is not meant to be stormed.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);

/// What came of asking for a stream.
#[derive(Debug)]
pub enum Listened {
    /// The stream.
    Stream(Box<Listener>),
    /// Another answer: not a 200, or not an event stream.
    Answer(Box<Exchange>),
}

/// An open stream of events.
pub struct Listener {
    client: Client,
    base: Base,
    request: Owned,
    stream: EventStream,
    timeout: Duration,
    head: Timings,
    status: StatusCode,
    /// Bytes sent and received on streams before this one.
    before: (u32, u32),
    reconnects: u32,
    resent: bool,
    last_id: Option<String>,
    retry: Option<Duration>,
}

/// A message that outlives its borrowed parts.
struct Owned {
    method: http::Method,
    path: bytes::Bytes,
    headers: http::HeaderMap,
    body: bytes::Bytes,
    double_submit: Option<crate::DoubleSubmit>,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    /// An event.
    Event(sse::Event),
    /// The stream ended and cannot be resumed, or the server refused to resume it.
    Ended,
    /// The deadline came first.
    Deadline,
    /// The stream broke and cannot be resumed, or could not be until the deadline.
    Broken(TransportError),
}

impl Client {
    /// Asks for a stream of events and waits, at most `timeout`, for the head of the response. An answer that is no event
    /// stream is read to its end.
    ///
    /// # Errors
    /// If no response arrives in time.
    pub async fn listen(
        &self,
        base: &Base,
        message: &Message<'_>,
        timeout: Duration,
    ) -> Result<Listened, TransportError> {
        let started = Instant::now();
        let outgoing = Addressed::new(self, base, message, started)?;
        let open = self.open_outgoing(&outgoing, started, timeout).await?;
        if !is_stream(&open) {
            let left = timeout.saturating_sub(started.elapsed());
            return Ok(Listened::Answer(Box::new(open.collect(left).await?)));
        }
        let mut headers = message.headers.clone();
        for (name, value) in message.more {
            headers.insert(name.clone(), value.clone());
        }
        Ok(Listened::Stream(Box::new(Listener {
            client: self.clone(),
            base: base.clone(),
            request: Owned {
                method: message.method.clone(),
                path: message.path.clone(),
                headers,
                body: message.body.clone(),
                double_submit: message.double_submit.cloned(),
            },
            timeout,
            head: open.timings(),
            status: open.status,
            resent: open.resent(),
            stream: open.into_events(),
            before: (0, 0),
            reconnects: 0,
            last_id: None,
            retry: None,
        })))
    }
}

fn is_stream(open: &OpenExchange) -> bool {
    open.status == StatusCode::OK
        && open
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl Listener {
    /// The next event; waits until `deadline`, reconnections included.
    pub async fn next(&mut self, deadline: Instant) -> Next {
        loop {
            let waited = tokio::time::timeout_at(deadline.into(), self.stream.next()).await;
            let parser = self.stream.parser();
            // A new connection that broke off before its first id takes nothing back.
            if let Some(id) = parser.last_event_id() {
                self.last_id = Some(id.to_owned());
            }
            self.retry = parser.retry().or(self.retry);
            let end = match waited {
                Err(_elapsed) => return Next::Deadline,
                Ok(Ok(Some(event))) => return Next::Event(event),
                Ok(Ok(None)) => Next::Ended,
                Ok(Err(failure)) => Next::Broken(self.stream.exchange().fail(failure)),
            };
            if self.last_id.is_none() && self.retry.is_none() {
                return end;
            }
            // A server that restarts refuses connections for a while.
            let mut refused = None;
            let resumed = tokio::time::timeout_at(deadline.into(), async {
                loop {
                    match self.reconnect().await {
                        Ok(resumed) => return resumed,
                        Err(error) => refused = Some(error),
                    }
                }
            });
            match resumed.await {
                Err(_elapsed) => return refused.map_or(Next::Deadline, Next::Broken),
                Ok(false) => return Next::Ended,
                Ok(true) => {}
            }
        }
    }

    /// After the last event that anybody wants: waits at most `grace` for the stream's end. A server that has said its last
    /// word ends the stream at once, and then its connection serves the next request; one that has more to say, or is
    /// silent, costs a new connection, as closing an `EventSource` does.
    pub async fn conclude(&mut self, grace: Duration) {
        // Whatever comes: nobody looks at it any more.
        let _ = tokio::time::timeout(grace, self.stream.next()).await;
    }

    /// Connects again after the time that the server asked for. `false` if it answers with anything but a stream, which is
    /// how it says that there is no more.
    async fn reconnect(&mut self) -> Result<bool, TransportError> {
        let wait = self.retry.unwrap_or(DEFAULT_RETRY).max(SHORTEST_RETRY);
        tokio::time::sleep(wait).await;
        let id = self.last_id.as_deref();
        let more: Vec<(HeaderName, HeaderValue)> = id
            .and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok())
            .map(|id| (LAST_EVENT_ID, id))
            .into_iter()
            .collect();
        let message = Message {
            method: &self.request.method,
            path: self.request.path.clone(),
            headers: &self.request.headers,
            more: &more,
            body: self.request.body.clone(),
            double_submit: self.request.double_submit.as_ref(),
        };
        let started = Instant::now();
        let outgoing = Addressed::new(&self.client, &self.base, &message, started)?;
        let open = self
            .client
            .open_outgoing(&outgoing, started, self.timeout)
            .await?;
        self.reconnects += 1;
        self.before = (self.sent(), self.received());
        let resumed = is_stream(&open);
        self.stream = open.into_events();
        Ok(resumed)
    }

    /// When the first connection's response head was there.
    pub fn head(&self) -> Timings {
        self.head
    }

    /// The status of the first connection's response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers of the response that is being read. They may hold secrets.
    pub fn headers(&self) -> &http::HeaderMap {
        &self.stream.exchange().headers
    }

    /// Whether the first request was sent twice (see [`Exchange::resent`]).
    pub fn resent(&self) -> bool {
        self.resent
    }

    /// How often it connected again.
    pub fn reconnects(&self) -> u32 {
        self.reconnects
    }

    /// Bytes of HTTP sent so far, on all connections.
    pub fn sent(&self) -> u32 {
        self.before.0.saturating_add(self.stream.exchange().sent())
    }

    /// Bytes of HTTP received so far, on all connections.
    pub fn received(&self) -> u32 {
        self.before
            .1
            .saturating_add(self.stream.exchange().received())
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("origin", &self.base.origin())
            .field("status", &self.status)
            .field("reconnects", &self.reconnects)
            .finish_non_exhaustive()
    }
}
