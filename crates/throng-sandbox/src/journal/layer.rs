//! The layer around every route: journals the request, and plants what the knobs say.
//!
//! An entry is written when the answer is complete: at once for an answer of known length, with the
//! last byte for a stream, and as `aborted` when the client leaves. It is written *before* the client
//! can see the end of the answer, so that whoever reads the journal after its last reply finds it all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Baggage, Entry, Journal, Note, Outcome, Planted, Server, monotonic_ns};
use crate::connection::{CloseSilently, ResetConnection};
use crate::frame;
use crate::knobs::{ErrorKind, Plan, Subject};

/// The largest MCP message that is read; the largest tool argument is a file of a few megabytes.
const MESSAGE_LIMIT: usize = 32 * 1024 * 1024;

/// Puts the journal and the knobs around all routes of `app`. It must have a fallback: without one,
/// unmatched requests would pass the layer by.
pub(crate) fn layered(app: Router, server: Server, frame: &frame::Frame) -> Router {
    app.layer(middleware::from_fn_with_state(
        (server, frame.clone()),
        journalled,
    ))
}

/// The fallback of a server that has nothing to say about it.
pub(crate) async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

async fn journalled(
    State((server, frame)): State<(Server, frame::Frame)>,
    mut request: Request,
    next: Next,
) -> Response {
    let note = Note::default();
    let mut pending = Pending::new(&frame.journal, server, &request, note.clone());
    let mut message = Message::default();
    if server == Server::Mcp && request.method() == Method::POST {
        match read_message(request).await {
            Ok((read, rebuilt)) => (message, request) = (read, rebuilt),
            Err(response) => return pending.answered(response),
        }
        pending.entry.rpc_method = message.rpc_method.clone();
        pending.entry.tool = message.tool.clone();
    }

    let plan = frame.knobs.plan(&Subject {
        method: &pending.entry.method,
        route: &pending.entry.route,
        tool: message.tool.as_deref(),
        rpc_method: message.rpc_method.as_deref(),
    });
    if let Some(held) = hold(&plan).await {
        pending.planted().latency_ns = held;
    }
    if let Some(error) = plan.error {
        let (mut response, name) = planted_failure(&error, &message);
        if server == Server::Integr8scode && response.status() == StatusCode::INTERNAL_SERVER_ERROR
        {
            // As after every unhandled exception of this server.
            response.extensions_mut().insert(CloseSilently);
        }
        pending.planted().error = Some(name);
        pending.entry.outcome = Outcome::PlantedError;
        return pending.answered(response);
    }
    request.extensions_mut().insert(note);
    let response = next.run(request).await;
    pending.answered(response)
}

/// Waits for the planted latency and for stalls to end; says how long that really took.
async fn hold(plan: &Plan) -> Option<u64> {
    if plan.latency.is_zero() && plan.stalled_until.is_none() {
        return None;
    }
    let begin = Instant::now();
    if let Some(until) = plan.stalled_until {
        tokio::time::sleep_until(until.into()).await;
    }
    if !plan.latency.is_zero() {
        tokio::time::sleep(plan.latency).await;
    }
    Some(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// What the journal and the knobs need to know of a JSON-RPC message.
#[derive(Default)]
struct Message {
    id: Option<Value>,
    rpc_method: Option<Arc<str>>,
    tool: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct MessageHead {
    id: Option<Value>,
    method: Option<String>,
    params: Option<MessageParams>,
}

#[derive(Deserialize)]
struct MessageParams {
    name: Option<Value>,
}

impl Message {
    /// Anything that is no JSON-RPC message stays unnamed: refusing it is the MCP server's business.
    fn parse(bytes: &[u8]) -> Self {
        let Ok(head) = serde_json::from_slice::<MessageHead>(bytes) else {
            return Self::default();
        };
        let tool = match (head.method.as_deref(), head.params) {
            (
                Some("tools/call"),
                Some(MessageParams {
                    name: Some(Value::String(name)),
                }),
            ) => Some(name.into()),
            _ => None,
        };
        Self {
            id: head.id,
            rpc_method: head.method.map(Arc::from),
            tool,
        }
    }
}

async fn read_message(request: Request) -> Result<(Message, Request), Response> {
    let (parts, body) = request.into_parts();
    match axum::body::to_bytes(body, MESSAGE_LIMIT).await {
        Ok(bytes) => {
            let message = Message::parse(&bytes);
            Ok((message, Request::from_parts(parts, Body::from(bytes))))
        }
        Err(error) => Err((StatusCode::BAD_REQUEST, error.to_string()).into_response()),
    }
}

/// The planted answer and its name in the journal. A tool or JSON-RPC error can only answer a message
/// that has an id; anything else gets a plain 500 and is journalled as such.
fn planted_failure(error: &ErrorKind, message: &Message) -> (Response, String) {
    const TEXT: &str = "planted by the sandbox";
    match (error, &message.id) {
        (ErrorKind::Reset, _) => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(ResetConnection);
            (response, "reset".to_owned())
        }
        (ErrorKind::ToolError, Some(id)) if message.tool.is_some() => {
            let content = json!([{ "type": "text", "text": TEXT }]);
            let result = json!({ "content": content, "isError": true });
            let reply = json!({ "jsonrpc": "2.0", "id": id, "result": result });
            (event(&reply), "tool_error".to_owned())
        }
        (ErrorKind::RpcError, Some(id)) => {
            let error = json!({ "code": -32603, "message": TEXT });
            let reply = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            (event(&reply), "rpc_error".to_owned())
        }
        (ErrorKind::Http(status), _) => {
            let code = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (
                (code, TEXT).into_response(),
                format!("http_{}", code.as_u16()),
            )
        }
        (ErrorKind::ToolError | ErrorKind::RpcError, _) => (
            (StatusCode::INTERNAL_SERVER_ERROR, TEXT).into_response(),
            "http_500".to_owned(),
        ),
    }
}

/// A reply as the one event of a stream, which is how the MCP server answers.
fn event(reply: &Value) -> Response {
    let body = format!("event: message\ndata: {reply}\n\n");
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// A request that has begun; dropping it before it is finished journals it as aborted.
struct Pending {
    journal: Journal,
    entry: Entry,
    note: Note,
    finished: bool,
}

impl Pending {
    fn new(journal: &Journal, server: Server, request: &Request, note: Note) -> Self {
        journal.0.in_flight.fetch_add(1, Ordering::Relaxed);
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("(none)", MatchedPath::as_str);
        Self {
            journal: journal.clone(),
            entry: Entry {
                seq: 0,
                server,
                method: request.method().as_str().to_owned(),
                route: route.into(),
                status: 0,
                bytes: 0,
                user: None,
                tool: None,
                rpc_method: None,
                outcome: Outcome::Aborted,
                baggage: parse_baggage(request.headers()),
                started_ns: monotonic_ns(),
                ended_ns: 0,
                planted: None,
            },
            note,
            finished: false,
        }
    }

    fn planted(&mut self) -> &mut Planted {
        self.entry.planted.get_or_insert_default()
    }

    /// Finishes now where the length is known, else when the body ends.
    fn answered(mut self, response: Response) -> Response {
        if response.extensions().get::<ResetConnection>().is_none() {
            self.entry.status = response.status().as_u16();
        }
        if let Some(bytes) = response.body().size_hint().exact() {
            self.entry.bytes = bytes;
            self.finish();
            return response;
        }
        response.map(|inner| {
            Body::new(WatchedBody {
                inner,
                pending: self,
            })
        })
    }

    fn finish(&mut self) {
        if self.entry.outcome != Outcome::PlantedError {
            self.entry.outcome = match self.note.0.outcome.get() {
                Some(outcome) => *outcome,
                None if self.entry.status >= 400 => Outcome::HttpError,
                None => Outcome::Ok,
            };
        }
        self.record();
    }

    fn record(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.entry.ended_ns = monotonic_ns();
        self.entry.user = self.note.0.user.get().cloned();
        if let Some(error) = self.note.0.planted_error.get().cloned() {
            self.planted().error.get_or_insert(error);
        }
        self.journal.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.journal.push(self.entry.clone());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Not finished: the handler or the body was dropped, so the client is gone.
        self.record();
    }
}

/// A streamed answer that finishes its request when it ends.
struct WatchedBody {
    inner: Body,
    pending: Pending,
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.pending.entry.bytes += u64::try_from(length).unwrap_or(u64::MAX);
            }
            Poll::Ready(None) => self.pending.finish(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    // `is_end_stream` stays false, so that the end is always polled and seen above.

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Parses the W3C `baggage` headers; members without `=` and properties (`;...`) are left out.
fn parse_baggage(headers: &http::HeaderMap) -> Baggage {
    headers
        .get_all("baggage")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|member| {
            let member = member.split(';').next()?;
            let (key, value) = member.split_once('=')?;
            Some((key.trim().to_owned(), percent_decoded(value.trim())))
        })
        .collect()
}

/// Decodes `%XX`; malformed escapes stay as they are, bytes that are not UTF-8 are replaced.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high * 16 + low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baggage_is_split_and_decoded() {
        let mut headers = http::HeaderMap::new();
        headers.append(
            "baggage",
            http::HeaderValue::from_static("throng.step=share%2Flist;p=1, throng.phase=measured"),
        );
        headers.append(
            "baggage",
            http::HeaderValue::from_static("odd,x=100%,y=%zz"),
        );
        let parsed = parse_baggage(&headers);
        let expected = [
            ("throng.phase", "measured"),
            ("throng.step", "share/list"),
            ("x", "100%"),
            ("y", "%zz"),
        ];
        assert_eq!(
            parsed
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect::<Vec<_>>(),
            expected
        );
    }

    /// An answer of two chunks, of unknown length.
    fn streamed(journal: &Journal, note: &Note) -> Response {
        let request = Request::new(Body::empty());
        let pending = Pending::new(journal, Server::Mcp, &request, note.clone());
        let chunks = [Ok::<_, std::convert::Infallible>("one"), Ok("two")];
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        pending.answered(Response::new(body))
    }

    #[tokio::test]
    async fn a_stream_is_journalled_with_its_end_or_as_aborted() {
        use http_body_util::BodyExt as _;
        let journal = Journal::new(10);
        let note = Note::default();
        let mut body = streamed(&journal, &note).into_body();
        assert!(body.frame().await.is_some());
        assert!(body.frame().await.is_some());
        let counts = journal.counts();
        assert_eq!((counts.in_flight, counts.total), (1, 0));
        // What is said while the answer streams still counts.
        note.outcome(Outcome::ToolError);
        assert!(body.frame().await.is_none());
        let counts = journal.counts();
        assert_eq!((counts.in_flight, counts.total), (0, 1));
        drop(body);
        let mut left = streamed(&journal, &Note::default()).into_body();
        assert!(left.frame().await.is_some());
        drop(left);
        let outcomes: Vec<_> = journal.entries().iter().map(|e| e.outcome).collect();
        assert_eq!(outcomes, [Outcome::ToolError, Outcome::Aborted]);
        assert_eq!(journal.counts().in_flight, 0);
    }

    #[test]
    fn only_tool_calls_name_a_tool() {
        let call = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"name":1}}}"#;
        let message = Message::parse(call);
        assert_eq!(message.tool.as_deref(), Some("t"));
        assert_eq!(message.id, Some(json!(7)));
        let prompt = Message::parse(br#"{"id":1,"method":"prompts/get","params":{"name":"p"}}"#);
        assert_eq!(prompt.tool, None);
        assert_eq!(prompt.rpc_method.as_deref(), Some("prompts/get"));
        assert!(Message::parse(b"[]").rpc_method.is_none());
    }
}
