//! A call: what is asked, and what came of it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{CallError, headers, wire};
use crate::exchange::Timings;

/// A tool's name, prepared once for all calls: escaped for JSON, encoded for the `Mcp-Name` header. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolName(Arc<Prepared>);

#[derive(PartialEq, Eq)]
struct Prepared {
    plain: Box<str>,
    json: Box<str>,
    header: HeaderValue,
}

impl ToolName {
    /// Prepares a name.
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Prepared {
            plain: name.into(),
            json: wire::json_string(name).into(),
            header: headers::encode(name),
        }))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0.plain
    }

    /// The name as a JSON string, quotes included.
    pub(crate) fn json(&self) -> &str {
        &self.0.json
    }

    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0.header
    }
}

impl From<&str> for ToolName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The tool.
    pub name: ToolName,
    /// The arguments: a JSON object, serialised. It is sent as it stands.
    pub arguments: Bytes,
}

impl ToolCall {
    /// A call of `name` with `arguments`, a serialised JSON object.
    pub fn new(name: impl Into<ToolName>, arguments: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            arguments: arguments.into(),
        }
    }
}

/// How a call is made.
#[derive(Debug, Clone)]
pub struct CallOptions {
    /// Time allowed for the whole call, connecting and the end of an event stream included.
    pub timeout: Duration,
    /// More headers, for instance `baggage` and `traceparent`. In the stateless era, `traceparent`, `tracestate` and
    /// `baggage` also go into the message's `_meta`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Default for CallOptions {
    /// 30 s, no more headers.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            headers: Vec::new(),
        }
    }
}

impl CallOptions {
    /// Only a limit in time.
    pub fn timeout(timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::default()
        }
    }
}

/// What came of a call, and when.
#[derive(Debug)]
#[must_use]
pub struct Call<T> {
    /// When it happened; `None` if nothing was sent. `ended` is the end of the response: of an event stream, its end, or
    /// the response event if the server left the stream open.
    pub timings: Option<Timings>,
    /// When the response event of an event stream was there, which may be before `timings.ended`; `None` for JSON.
    pub response_event: Option<Instant>,
    /// Bytes of HTTP sent (see [`Exchange::sent`](crate::Exchange::sent)), answers to the server's requests not counted.
    pub sent: u32,
    /// Bytes of HTTP received, as `sent`.
    pub received: u32,
    /// How often a broken or ended event stream was resumed with `Last-Event-ID`.
    pub resumed: u32,
    /// Whether a request was sent twice (see [`Exchange::resent`](crate::Exchange::resent)).
    pub resent: bool,
    /// The result, or why there is none.
    pub result: Result<T, CallError>,
}

impl<T> Call<T> {
    /// Goes on with the result, if there is one.
    pub fn and_then<U>(self, next: impl FnOnce(T) -> Result<U, CallError>) -> Call<U> {
        Call {
            timings: self.timings,
            response_event: self.response_event,
            sent: self.sent,
            received: self.received,
            resumed: self.resumed,
            resent: self.resent,
            result: self.result.and_then(next),
        }
    }

    /// When the answer was known: at the response event, else at the end of the response.
    pub fn answered(&self) -> Option<Instant> {
        self.response_event
            .or_else(|| self.timings.map(|timings| timings.ended))
    }
}

/// The result of `tools/call`. Only what is asked for is parsed.
#[derive(Debug, Clone)]
pub struct ToolResult {
    /// The tool says that it failed. To be counted as an error.
    pub is_error: bool,
    raw: Bytes,
    /// A part of `raw`.
    structured: Option<Bytes>,
}

#[derive(Deserialize)]
struct ToolHead<'a> {
    #[serde(default, rename = "isError")]
    is_error: Option<bool>,
    #[serde(borrow, default, rename = "structuredContent")]
    structured: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolContents {
    #[serde(default)]
    content: Vec<Content>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: Option<String>,
}

impl ToolResult {
    pub(crate) fn parse(raw: Bytes) -> Result<Self, CallError> {
        let head: ToolHead<'_> = serde_json::from_slice(&raw).map_err(|error| {
            CallError::protocol(format_args!("the result is no tool result: {error}"))
        })?;
        Ok(Self {
            is_error: head.is_error.unwrap_or(false),
            structured: head
                .structured
                .map(|part| raw.slice_ref(part.get().as_bytes())),
            raw,
        })
    }

    /// The result as received, JSON.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The whole result (`content`, `structuredContent`, `isError`, ...).
    pub fn value(&self) -> Value {
        parsed(&self.raw)
    }

    /// `structuredContent`, if there is any.
    pub fn structured(&self) -> Option<Value> {
        self.structured
            .as_deref()
            .and_then(|part| serde_json::from_slice(part).ok())
    }

    /// All text parts of `content`, joined by line feeds.
    pub fn text(&self) -> String {
        let contents = serde_json::from_slice::<ToolContents>(&self.raw)
            .map_or_else(|_| Vec::new(), |parsed| parsed.content);
        let texts: Vec<String> = contents.into_iter().filter_map(|part| part.text).collect();
        texts.join("\n")
    }
}

/// The result of `resources/read`.
#[derive(Debug, Clone)]
pub struct ResourceResult {
    raw: Bytes,
}

#[derive(Deserialize)]
struct ResourceContents {
    #[serde(default)]
    contents: Vec<Content>,
}

impl ResourceResult {
    pub(crate) fn new(raw: Bytes) -> Self {
        Self { raw }
    }

    /// The result as received, JSON.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The whole result (`contents`, ...).
    pub fn value(&self) -> Value {
        parsed(&self.raw)
    }

    /// All text contents, joined by line feeds.
    pub fn text(&self) -> String {
        let contents = serde_json::from_slice::<ResourceContents>(&self.raw)
            .map_or_else(|_| Vec::new(), |parsed| parsed.contents);
        let texts: Vec<String> = contents.into_iter().filter_map(|part| part.text).collect();
        texts.join("\n")
    }
}

/// Whoever holds such bytes has parsed them as JSON before, at least in passing.
fn parsed(raw: &[u8]) -> Value {
    serde_json::from_slice(raw).unwrap_or(Value::Null)
}
