//! One user's HTTP requests: sent, received whole, judged by their status.
//!
//! A body is decompressed and parsed only where something looks at it, after the answer was timed.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use throng_client::{
    Base, Client, Exchange, Listened, Listener, Message, Next, TransportError, content,
    cookies::strike_out, sse,
};
use throng_engine::Head;
use throng_identity::Secret;
use throng_metrics::{Failure, FailureKind, StreamEnd};

use crate::http::Redirects;
use crate::markup;
use crate::program::Request;
use crate::renewal::refusal;
use crate::run::failure::{cut, failure_with, names_a_secret, shown};
use crate::run::{HttpReply, HttpTask, ListenTask, Performed, Reply, Streamed};

/// Redirects that are followed at most.
const MOST_REDIRECTS: u32 = 10;
/// As much of a body is shown with a status that was not expected, in characters.
const LONGEST_BODY: usize = 200;
/// How long after the event that it waited for a listener waits for the end of the stream, which often follows at once.
const LAST_WORD: Duration = Duration::from_millis(2);
/// As much of a page is looked through for its text, in bytes: styles come before it.
const LARGEST_PAGE: usize = 16 * 1024;

/// What a user sends with.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    /// Connections and cookies.
    pub(crate) client: &'a Client,
    /// The target.
    pub(crate) base: &'a Base,
    /// Time allowed for each request.
    pub(crate) timeout: Duration,
    /// Whether anything looks at the body.
    pub(crate) wants_value: bool,
    /// The user's token, which is never shown.
    pub(crate) authorization: Option<&'a HeaderValue>,
    /// What the login's requests saved, which is never shown either.
    pub(crate) saved: &'a [Secret],
    pub(crate) baggage: Option<&'a HeaderValue>,
}

impl Sender<'_> {
    /// Sends a request.
    pub(crate) async fn request(self, task: &HttpTask<'_>) -> Performed {
        let more = self.more(task);
        let message = message(task, &more);
        let base = task.request.base.as_ref().unwrap_or(self.base);
        let sent = match task.request.redirects {
            Redirects::Keep => self.client.send_to(base, &message, self.timeout).await,
            Redirects::Follow => self
                .client
                .send_following(base, &message, self.timeout, MOST_REDIRECTS)
                .await
                .map(|followed| followed.exchange),
        };
        match sent {
            Ok(exchange) => self.answered(task.request, &message, exchange),
            Err(error) => broken(&error),
        }
    }

    /// Listens to a stream until its event, its number of events or the end of its time.
    pub(crate) async fn listen(self, task: &ListenTask<'_>) -> Performed {
        let more = self.more(&task.request);
        let message = message(&task.request, &more);
        let base = task.request.request.base.as_ref().unwrap_or(self.base);
        let started = Instant::now();
        let deadline = started + task.listen.within;
        let timeout = self.timeout.min(task.listen.within);
        let mut listener = match self.client.listen(base, &message, timeout).await {
            Ok(Listened::Stream(listener)) => listener,
            Ok(Listened::Answer(exchange)) => {
                let status = exchange.status;
                let mut performed = self.answered(task.request.request, &message, *exchange);
                // Only what the step asks for by name instead of a stream.
                let request = task.request.request;
                let named = status != StatusCode::OK
                    && task.ends.is_none()
                    && request.expect.contains(&status.as_u16());
                if !named && performed.result.is_ok() {
                    let cause = "the answer is no event stream";
                    performed.result = Err(failure_with(FailureKind::Http, cause, cause));
                }
                return performed;
            }
            Err(error) => return broken(&error),
        };
        let status = listener.status().as_u16();
        if !task.request.request.expects(status) {
            let failure = unexpected(status, "an event stream");
            let denied = refusal(listener.status(), listener.headers());
            return Performed {
                denied,
                ..performed_on(&listener, Err(failure), None)
            };
        }
        let head = listener.head();
        task.head_is_there();
        // Only one listens by this task, so that nothing is set twice.
        let _ = task.open.set(Head {
            at: head.first_byte.unwrap_or(head.ended),
            status: Some(status),
            sent: listener.sent(),
            received: listener.received(),
        });
        let (stream, last, broken) = self.hear(task, &mut listener, started, deadline).await;
        let result = match broken {
            Some(error) => Err(transport_failure(&error)),
            None => Ok(Reply {
                value: last,
                http: Some(Box::new(HttpReply {
                    status,
                    headers: listener.headers().clone(),
                    body: bytes::Bytes::new(),
                    cookies: self.cookies(task.request.request, &message),
                })),
            }),
        };
        performed_on(&listener, result, Some(Box::new(stream)))
    }

    /// Takes in events until the end.
    async fn hear(
        &self,
        task: &ListenTask<'_>,
        listener: &mut Listener,
        started: Instant,
        deadline: Instant,
    ) -> (Streamed, Value, Option<TransportError>) {
        let mut stream = Streamed {
            first_event: None,
            gaps: Vec::new(),
            events: 0,
            reconnects: 0,
            end: StreamEnd::Window,
            lasted: Duration::ZERO,
        };
        let mut previous: Option<Instant> = None;
        let mut last = Value::Null;
        let mut error = None;
        let mut ended = None;
        loop {
            let event = match listener.next(deadline).await {
                Next::Event(event) => event,
                Next::Deadline => break,
                Next::Ended => {
                    stream.end = StreamEnd::Closed;
                    break;
                }
                Next::Broken(why) => {
                    stream.end = StreamEnd::Broken;
                    error = Some(why);
                    break;
                }
            };
            match previous {
                None => stream.first_event = Some(event.received.duration_since(started)),
                Some(at) => stream.gaps.push(event.received.duration_since(at)),
            }
            previous = Some(event.received);
            stream.events += 1;
            if task.ends.is_some() || self.wants_value {
                last = event_value(&event);
            }
            let met = task.ends.is_some_and(|ends| ends(&last))
                || task.listen.events.is_some_and(|most| stream.events >= most);
            if met {
                stream.end = StreamEnd::Met;
                ended = Some(event.received);
                listener.conclude(LAST_WORD).await;
                break;
            }
        }
        stream.reconnects = listener.reconnects();
        stream.lasted = ended.unwrap_or_else(Instant::now).duration_since(started);
        (stream, last, error)
    }

    fn more(&self, task: &HttpTask<'_>) -> Vec<(HeaderName, HeaderValue)> {
        const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
        let mut more = Vec::with_capacity(task.more.len() + 2);
        more.extend(self.baggage.map(|value| (BAGGAGE, value.clone())));
        if carries_token(task) {
            let token = self.authorization.cloned();
            more.extend(token.map(|value| (header::AUTHORIZATION, value)));
        }
        more.extend_from_slice(&task.more);
        more
    }

    fn answered(&self, request: &Request, message: &Message<'_>, exchange: Exchange) -> Performed {
        let status = exchange.status.as_u16();
        let denied = refusal(exchange.status, &exchange.headers);
        let result = if request.expects(status) {
            self.value(&exchange)
        } else {
            Err(unexpected(status, &self.start_of(&exchange)))
        };
        Performed {
            ended: Some(exchange.timings.ended),
            sent: exchange.sent,
            received: exchange.received,
            status: Some(status),
            stream: None,
            result: result.map(|value| Reply {
                value,
                http: Some(Box::new(HttpReply {
                    status,
                    headers: exchange.headers,
                    body: exchange.body,
                    cookies: self.cookies(request, message),
                })),
            }),
            retries: exchange.resent.into(),
            denied,
            tokens: None,
        }
    }

    /// The value that paths see.
    fn value(&self, exchange: &Exchange) -> Result<Value, Failure> {
        if !self.wants_value {
            return Ok(Value::Null);
        }
        let limit = self.client.connector().options().max_body;
        let body = content::decode(&exchange.headers, &exchange.body, limit).map_err(|error| {
            let text = error.to_string();
            failure_with(FailureKind::Http, "the body cannot be decoded", &text)
        })?;
        Ok(body_value(&exchange.headers, &body))
    }

    fn cookies(&self, request: &Request, message: &Message<'_>) -> Vec<Option<String>> {
        if request.cookies.is_empty() {
            return Vec::new();
        }
        let base = request.base.as_ref().unwrap_or(self.base);
        let url = url::Url::parse(base.origin())
            .and_then(|origin| origin.join(&String::from_utf8_lossy(&message.path)));
        let jar = self.client.cookies();
        let value = |name: &String| jar?.get(url.as_ref().ok()?, name);
        request.cookies.iter().map(value).collect()
    }

    /// The start of a body in one line, without what the user must keep to himself.
    fn start_of(&self, exchange: &Exchange) -> String {
        let limit = self.client.connector().options().max_body;
        let Ok(body) = content::decode(&exchange.headers, &exchange.body, limit) else {
            return "a body that cannot be decoded".to_owned();
        };
        if let Some(value) = small_json(&body) {
            return cut(&self.mask(&shown(&value)), LONGEST_BODY);
        }
        if looks_like_json(&body) && body.len() > LARGEST_JSON {
            // Its keys say what is secret, and nobody has looked at them.
            return format!("{} bytes of JSON", body.len());
        }
        let start = &body[..body.len().min(8 * LONGEST_BODY)];
        if markup::is_page(&String::from_utf8_lossy(start)) {
            let start = &body[..body.len().min(LARGEST_PAGE)];
            let text = markup::visible(&String::from_utf8_lossy(start));
            return cut(&self.mask(&text), LONGEST_BODY);
        }
        let text = String::from_utf8_lossy(start)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        cut(&self.mask(&text), LONGEST_BODY)
    }

    fn mask(&self, text: &str) -> String {
        let text = mask(self.client, self.authorization, &[], text);
        hide_saved(self.saved, text)
    }
}

/// Strikes out what a login's requests saved, but for short values, which are no secrets and may stand anywhere.
pub(crate) fn hide_saved(saved: &[Secret], text: String) -> String {
    const SHORTEST: usize = 8;
    let secrets = saved.iter().map(Secret::expose);
    secrets
        .filter(|secret| secret.len() >= SHORTEST)
        .fold(text, strike_out)
}

/// Strikes out a user's cookies and token, and other header values that are secret.
pub(crate) fn mask(
    client: &Client,
    authorization: Option<&HeaderValue>,
    more: &[&HeaderValue],
    text: &str,
) -> String {
    /// What is shorter is no secret and may stand anywhere.
    const SHORTEST: usize = 8;
    let jar = client.cookies();
    let text = jar.map_or_else(|| text.to_owned(), |jar| jar.mask(text));
    let values = authorization.into_iter().chain(more.iter().copied());
    values
        .filter_map(|value| value.to_str().ok())
        .fold(text, |text, value| {
            // `Bearer TOKEN`: the token is the secret, and may stand alone.
            let bare = value.split_once(' ').map_or(value, |(_, bare)| bare);
            [value, bare]
                .into_iter()
                .filter(|secret| secret.len() >= SHORTEST)
                .fold(text, strike_out)
        })
}

/// The header values of a request that no message may show.
pub(crate) fn secret_headers<'a>(task: &'a HttpTask<'_>) -> Vec<&'a HeaderValue> {
    let fixed = task.request.headers.iter();
    let all = fixed.chain(task.more.iter().map(|(name, value)| (name, value)));
    all.filter(|(name, value)| {
        let plain = name.as_str().starts_with("accept")
            || matches!(**name, header::CONTENT_TYPE | header::USER_AGENT);
        !plain && (value.is_sensitive() || names_a_secret(name.as_str()))
    })
    .map(|(_, value)| value)
    .collect()
}

/// Whether the user's token goes along: to the target only, and not over what the step says itself.
pub(crate) fn carries_token(task: &HttpTask<'_>) -> bool {
    task.request.base.is_none()
        && !task.request.headers.contains_key(header::AUTHORIZATION)
        && !task
            .more
            .iter()
            .any(|(name, _)| *name == header::AUTHORIZATION)
}

fn unexpected(status: u16, body: &str) -> Failure {
    let cause = format!("HTTP {status}");
    let message = if body.is_empty() {
        cause.clone()
    } else {
        format!("{cause}: {body}")
    };
    failure_with(FailureKind::Http, cause, &message)
}

fn message<'a>(task: &'a HttpTask<'_>, more: &'a [(HeaderName, HeaderValue)]) -> Message<'a> {
    Message {
        method: &task.request.method,
        path: task.path.clone(),
        headers: &task.request.headers,
        more,
        body: task.body.clone(),
        double_submit: task.request.double_submit.as_deref(),
    }
}

fn performed_on(
    listener: &Listener,
    result: Result<Reply, Failure>,
    stream: Option<Box<Streamed>>,
) -> Performed {
    let head = listener.head();
    Performed {
        // The answer is there when its head is: the rest is the stream's own time.
        ended: Some(head.first_byte.unwrap_or(head.ended)),
        sent: listener.sent(),
        received: listener.received(),
        status: Some(listener.status().as_u16()),
        stream,
        result,
        retries: listener.resent().into(),
        denied: None,
        tokens: None,
    }
}

/// No complete answer came.
fn broken(error: &TransportError) -> Performed {
    Performed {
        ended: Some(error.timings().ended),
        sent: error.sent(),
        received: error.received(),
        retries: error.resent().into(),
        ..Performed::failed(transport_failure(error))
    }
}

fn transport_failure(error: &TransportError) -> Failure {
    let kind = if error.is_timeout() {
        FailureKind::Timeout
    } else {
        FailureKind::Transport
    };
    failure_with(kind, error.cause(), &error.to_string())
}

/// A body as a value: JSON where it says so or looks like it, else a text.
fn body_value(headers: &HeaderMap, body: &[u8]) -> Value {
    let says_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|kind| kind.trim_end().ends_with("json"));
    if (says_json || looks_like_json(body))
        && let Ok(value) = serde_json::from_slice(body)
    {
        return value;
    }
    String::from_utf8_lossy(body).into_owned().into()
}

/// Largest body that is looked through for secrets, in bytes.
const LARGEST_JSON: usize = 64 << 10;

/// A body that is an object or an array, and not too large to be looked through for secrets.
fn small_json(body: &[u8]) -> Option<Value> {
    let small = looks_like_json(body) && body.len() <= LARGEST_JSON;
    small.then(|| serde_json::from_slice(body).ok())?
}

fn looks_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn event_value(event: &sse::Event) -> Value {
    serde_json::from_slice(&event.data).unwrap_or_else(|_| event.text().into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_json_where_it_says_so_or_looks_like_it() {
        for (kind, body, expected) in [
            ("application/json", "5", json!(5)),
            (
                "application/problem+json; charset=utf-8",
                "\"a\"",
                json!("a"),
            ),
            ("text/plain", "5", json!("5")),
            ("text/plain", " [1]", json!([1])),
            ("application/json", "{broken", json!("{broken")),
            ("text/html", "<p>", json!("<p>")),
            ("application/json", "", json!("")),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(body_value(&headers, body.as_bytes()), expected, "{kind}");
        }
    }
}
