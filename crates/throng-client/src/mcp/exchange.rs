//! One message and what comes back: the HTTP request, the response in its several shapes, event streams resumed.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    Call, CallError, Era, Session, headers,
    server::{SESSION_ID, Said},
    trace::Trace,
    wire::{self, Message, Outcome},
};
use crate::{
    error::{Phase, TransportFailure},
    exchange::EventStream,
    request::{Outgoing, Target},
};

/// How long the end of an event stream is awaited after the response: servers should end it at once.
const LINGER: Duration = Duration::from_millis(250);
/// How long to wait before resuming a stream that names no time.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

impl Session {
    /// One POST and its response, however it comes.
    pub(crate) async fn round_trip(
        &self,
        post: &Post<'_>,
        id: u64,
        trace: &mut Trace,
    ) -> Result<Bytes, CallError> {
        let begun = self.client.begin(post, &mut trace.progress).await;
        let mut exchange =
            begun.map_err(|failure| trace.progress.fail(failure, &post.target.origin))?;
        if self.id.is_none() && self.negotiated.era == Era::Sessions {
            trace.session_id = exchange.headers.get(SESSION_ID).cloned();
        }
        let status = exchange.status;
        if status == StatusCode::OK && is(&exchange.headers, "text/event-stream") {
            return self.read_stream(exchange.into_events(), id, trace).await;
        }
        let body = exchange.read_all().await;
        trace.take(&exchange);
        let body = body.map_err(|failure| exchange.fail(failure))?;
        if status != StatusCode::OK {
            return Err(self.refusal(status, &exchange.headers, &body));
        }
        if !is(&exchange.headers, "application/json") {
            return Err(CallError::protocol(format_args!(
                "the response is neither JSON nor an event stream: {}",
                super::error::excerpt(&body)
            )));
        }
        match wire::parse(&body) {
            Ok(Message::Response { id: of, outcome }) => concerning(of, id, outcome, status),
            Ok(_) => Err(CallError::protocol(
                "the response is a request or a notification",
            )),
            Err(reason) => Err(CallError::protocol(format_args!(
                "the response is no JSON-RPC message: {reason}"
            ))),
        }
    }

    /// What a status other than 200 means.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> CallError {
        if status == StatusCode::NOT_FOUND && self.id.is_some() {
            return CallError::SessionLost;
        }
        if status.is_success() {
            return CallError::protocol(format_args!("HTTP {status} instead of a response"));
        }
        // Whatever the body says, the challenge is in the headers.
        if status != StatusCode::UNAUTHORIZED
            && status != StatusCode::FORBIDDEN
            && let Ok(Message::Response {
                outcome: Outcome::Error(error),
                ..
            }) = wire::parse(body)
        {
            return error.into_call_error(status);
        }
        CallError::http(status, headers, body)
    }

    /// Reads an event stream up to the response, resuming it where the protocol allows.
    async fn read_stream(
        &self,
        mut events: EventStream,
        id: u64,
        trace: &mut Trace,
    ) -> Result<Bytes, CallError> {
        loop {
            let failure = match self.read_events(&mut events, id, trace).await? {
                Read::Response(outcome) => {
                    trace.take(events.exchange());
                    return outcome;
                }
                Read::Ended(failure) => failure,
            };
            trace.take(events.exchange());
            let resume = events.parser().last_event_id().map(str::to_owned);
            let (Some(last), Era::Sessions) = (resume, self.negotiated.era) else {
                return Err(match failure {
                    Some(failure) => events.exchange().fail(failure).into(),
                    None => CallError::protocol("the event stream ended without a response"),
                });
            };
            tokio::time::sleep(events.parser().retry().unwrap_or(DEFAULT_RETRY)).await;
            trace.next_exchange();
            trace.resumed += 1;
            events = self.resume(Some(&last), trace).await?;
        }
    }

    /// Reads events until the response or the end of the stream.
    async fn read_events(
        &self,
        events: &mut EventStream,
        id: u64,
        trace: &mut Trace,
    ) -> Result<Read, CallError> {
        loop {
            let event = match events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(Read::Ended(None)),
                Err(failure @ TransportFailure::BodyTooLarge { .. }) => {
                    return Err(events.exchange().fail(failure).into());
                }
                Err(failure) => return Ok(Read::Ended(Some(failure))),
            };
            if event.data.is_empty() {
                continue;
            }
            match wire::parse(&event.data) {
                Ok(Message::Response {
                    id: Some(of),
                    outcome,
                }) if of == id => {
                    trace.response_event = Some(event.received);
                    self.read_rest(events).await;
                    return Ok(Read::Response(concerning(
                        Some(of),
                        id,
                        outcome,
                        StatusCode::OK,
                    )));
                }
                // A resumed stream may repeat the response to an earlier call.
                Ok(Message::Response { .. }) => {}
                Ok(message) => self.heed(message).await?,
                Err(reason) => {
                    return Err(CallError::protocol(format_args!(
                        "an event is no JSON-RPC message: {reason}"
                    )));
                }
            }
        }
    }

    /// Waits a moment for the end of the stream, so that its connection can serve again. What else comes is of no
    /// consequence for the call; if the stream stays open or breaks, its connection is dropped.
    async fn read_rest(&self, events: &mut EventStream) {
        let rest = async {
            while let Ok(Some(event)) = events.next().await {
                if let Ok(message) = wire::parse(&event.data)
                    && let Err(error) = self.heed(message).await
                {
                    tracing::debug!(%error, "a request of the server could not be answered");
                }
            }
        };
        if tokio::time::timeout(LINGER, rest).await.is_err() {
            tracing::debug!("an event stream stays open after its response");
        }
    }

    pub(crate) fn post<'a>(
        &'a self,
        method: &str,
        name: Option<&'a HeaderValue>,
        mirrored: &'a [(HeaderName, HeaderValue)],
        more: &'a [(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Post<'a> {
        let rpc_method = match (self.negotiated.era, method) {
            (Era::Sessions, _) => None,
            (Era::Stateless, "tools/call") => Some(HeaderValue::from_static("tools/call")),
            (Era::Stateless, other) => Some(headers::encode(other)),
        };
        Post {
            target: &self.server.target,
            method: Method::POST,
            template: &self.negotiated.headers,
            authorization: self.authorize.authorization(),
            session: self.id.as_ref(),
            rpc_method,
            name,
            mirrored,
            more,
            body,
        }
    }

    /// Sends what is answered by a status only.
    pub(crate) async fn acknowledged(&self, post: &Post<'_>, timeout: Duration) -> Call<()> {
        let mut trace = Trace::new();
        let whole = async {
            let begun = self.client.begin(post, &mut trace.progress).await;
            let mut exchange =
                begun.map_err(|failure| trace.progress.fail(failure, &post.target.origin))?;
            let body = exchange.read_all().await;
            trace.take(&exchange);
            let body = body.map_err(|failure| exchange.fail(failure))?;
            if exchange.status.is_success() {
                Ok(())
            } else {
                Err(self.refusal(exchange.status, &exchange.headers, &body))
            }
        };
        let result = match tokio::time::timeout(timeout, whole).await {
            Ok(result) => result,
            Err(_elapsed) => Err(CallError::Timeout {
                after: timeout,
                phase: Phase::Head,
            }),
        };
        trace.into_call(result)
    }

    /// Opens the server's own stream, or resumes one (GET).
    pub(crate) async fn resume(
        &self,
        last_event_id: Option<&str>,
        trace: &mut Trace,
    ) -> Result<EventStream, CallError> {
        let mut more = vec![(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        )];
        if let Some(id) = last_event_id {
            let value = HeaderValue::from_str(id)
                .map_err(|_| CallError::protocol("the event id is no header value"))?;
            more.push((HeaderName::from_static("last-event-id"), value));
        }
        let mut post = self.post("", None, &[], &more, Bytes::new());
        post.method = Method::GET;
        let begun = self.client.begin(&post, &mut trace.progress).await;
        let mut exchange =
            begun.map_err(|failure| trace.progress.fail(failure, &post.target.origin))?;
        if exchange.status == StatusCode::OK && is(&exchange.headers, "text/event-stream") {
            return Ok(exchange.into_events());
        }
        let body = exchange.read_all().await;
        trace.take(&exchange);
        let body = body.map_err(|failure| exchange.fail(failure))?;
        Err(self.refusal(exchange.status, &exchange.headers, &body))
    }
}

enum Read {
    Response(Result<Bytes, CallError>),
    Ended(Option<TransportFailure>),
}

/// The outcome, if it is that of request `id`. An error may come without an id (JSON-RPC 2.0, section 5).
fn concerning(
    of: Option<u64>,
    id: u64,
    outcome: Outcome,
    status: StatusCode,
) -> Result<Bytes, CallError> {
    match outcome {
        Outcome::Error(error) if of.is_none() || of == Some(id) => {
            Err(error.into_call_error(status))
        }
        Outcome::Result(result) if of == Some(id) => Ok(result),
        _ => Err(CallError::protocol("the response is to another request")),
    }
}

/// Whether the content type is `kind`, whatever its parameters.
fn is(headers: &HeaderMap, kind: &str) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        match value.as_bytes().get(..kind.len()) {
            Some(start) => {
                start.eq_ignore_ascii_case(kind.as_bytes())
                    && matches!(value.as_bytes().get(kind.len()), None | Some(b';' | b' '))
            }
            None => false,
        }
    })
}

/// A message as an HTTP request.
pub(crate) struct Post<'a> {
    pub(crate) target: &'a Target,
    pub(crate) method: Method,
    template: &'a [(HeaderName, Said)],
    authorization: Option<HeaderValue>,
    session: Option<&'a HeaderValue>,
    rpc_method: Option<HeaderValue>,
    name: Option<&'a HeaderValue>,
    mirrored: &'a [(HeaderName, HeaderValue)],
    more: &'a [(HeaderName, HeaderValue)],
    body: Bytes,
}

impl Post<'_> {
    /// What a header of the template says here, if it is sent.
    fn value<'a>(&'a self, name: &HeaderName, said: &'a Said) -> Option<&'a HeaderValue> {
        match said {
            // Only a POST has a body.
            Said::Always(_) if *name == header::CONTENT_TYPE && self.method != Method::POST => None,
            Said::Always(value) => Some(value),
            Said::Authorization => self.authorization.as_ref(),
            Said::Session => self.session,
            Said::Method => self.rpc_method.as_ref(),
            Said::Name => self.name,
        }
    }
}

impl Outgoing for Post<'_> {
    fn target(&self) -> &Target {
        self.target
    }

    fn method(&self) -> &Method {
        &self.method
    }

    fn each_header(&self, see: &mut dyn FnMut(&HeaderName, &HeaderValue)) {
        // They are few, and the last one of a name counts.
        let more = || self.mirrored.iter().chain(self.more);
        for (name, said) in self.template {
            if let Some(value) = self.value(name, said)
                && more().all(|(of, _)| of != name)
            {
                see(name, value);
            }
        }
        for (at, (name, value)) in more().enumerate() {
            if more().skip(at + 1).all(|(of, _)| of != name) {
                see(name, value);
            }
        }
    }

    fn body(&self) -> Bytes {
        self.body.clone()
    }
}
