//! One identity's session: calls, and the messages that come while they wait.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    Answer, Authorize, Call, CallError, CallOptions, Era, ResourceResult, Server, ToolCall,
    ToolResult, Tools, headers,
    server::Negotiated,
    trace::Trace,
    wire::{self, Message, Writer},
};
use crate::client::{Client, Progress};

/// How often one call may be asked for input.
const MAX_ROUNDS: usize = 8;
/// Looks for what a result that wants input must contain.
static INPUT_REQUIRED: LazyLock<memchr::memmem::Finder<'static>> =
    LazyLock::new(|| memchr::memmem::Finder::new("input_required"));

/// One identity's open session. Calls may run concurrently, each on a connection of its own.
///
/// In the stateless era there is nothing to hold open, but it is used in the same way.
pub struct Session {
    pub(crate) server: Arc<Server>,
    pub(crate) client: Client,
    pub(crate) authorize: Arc<dyn Authorize>,
    pub(crate) negotiated: Arc<Negotiated>,
    pub(crate) id: Option<HeaderValue>,
    pub(crate) next: AtomicU64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("origin", &self.server.target.origin.text())
            .field("era", &self.negotiated.era)
            .field("version", &self.negotiated.version)
            .field("has_id", &self.id.is_some())
            .finish_non_exhaustive()
    }
}

/// What is asked.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// The value of `Mcp-Name`.
    pub(crate) name: Option<HeaderValue>,
    pub(crate) params: Params<'a>,
    /// `Mcp-Param-...`
    pub(crate) mirrored: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) enum Params<'a> {
    Tool(&'a ToolCall),
    /// A JSON object.
    Object(&'a [u8]),
}

/// What the server wanted to know, and the answers.
struct Input {
    responses: Value,
    state: Option<Box<RawValue>>,
}

/// A call for which nothing was sent.
fn unsent<T>(result: Result<T, CallError>) -> Call<T> {
    Call {
        timings: None,
        response_event: None,
        sent: 0,
        received: 0,
        resumed: 0,
        resent: false,
        result,
    }
}

impl Session {
    /// Calls a tool.
    pub async fn call_tool(&self, call: &ToolCall, options: &CallOptions) -> Call<ToolResult> {
        let mirrored = match self.mirrored(call) {
            Ok(mirrored) => mirrored,
            Err(reason) => return unsent(Err(CallError::Protocol(reason))),
        };
        let request = Request {
            method: "tools/call",
            name: Some(call.name.header().clone()),
            params: Params::Tool(call),
            mirrored,
        };
        self.call(&request, options)
            .await
            .and_then(ToolResult::parse)
    }

    /// Reads a resource.
    pub async fn read_resource(&self, uri: &str, options: &CallOptions) -> Call<ResourceResult> {
        let params = json!({ "uri": uri }).to_string();
        let request = Request {
            method: "resources/read",
            name: Some(headers::encode(uri)),
            params: Params::Object(params.as_bytes()),
            mirrored: Vec::new(),
        };
        self.call(&request, options)
            .await
            .and_then(|raw| Ok(ResourceResult::new(raw)))
    }

    /// Sends any request; `params` is a JSON object or null. The result comes as JSON, unparsed.
    pub async fn request(
        &self,
        method: &str,
        params: &Value,
        options: &CallOptions,
    ) -> Call<Bytes> {
        if !params.is_object() && !params.is_null() {
            let reason = format!("the parameters of {method} are no JSON object");
            return unsent(Err(CallError::Protocol(reason)));
        }
        let key = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
            _ => "",
        };
        let name = params.get(key).and_then(Value::as_str).map(headers::encode);
        let serialised = params.to_string();
        let request = Request {
            method,
            name,
            params: Params::Object(serialised.as_bytes()),
            mirrored: Vec::new(),
        };
        self.call(&request, options).await
    }

    /// Sends a notification; `params` is a JSON object or null.
    pub(crate) async fn notify(
        &self,
        method: &str,
        params: &Value,
        options: &CallOptions,
    ) -> Call<()> {
        let serialised = params.to_string();
        let mut writer = Writer::notification(method, serialised.len() + self.room_for_meta());
        writer.members(serialised.as_bytes());
        if self.negotiated.era == Era::Stateless {
            writer.member("_meta", &self.negotiated.meta);
        }
        let post = self.post(method, None, &[], &options.headers, writer.finish());
        self.acknowledged(&post, options.timeout).await
    }

    /// The tools of the server, listed by the first session that asks and kept in its [`Server`].
    ///
    /// # Errors
    /// If a page of the list cannot be had; the next session to ask tries again.
    pub async fn list_tools(&self, options: &CallOptions) -> Result<Arc<Tools>, CallError> {
        let list = || async {
            let mut tools = Tools::default();
            let mut cursor: Option<String> = None;
            loop {
                let params = match &cursor {
                    Some(cursor) => json!({ "cursor": cursor }),
                    None => Value::Null,
                };
                let result = self.request("tools/list", &params, options).await.result?;
                let mut page = Tools::parse_page(&result)?;
                let next = page.next_cursor.take();
                tools.add(page, self.negotiated.era);
                match next {
                    Some(next) if Some(&next) == cursor.as_ref() => {
                        return Err(CallError::protocol(
                            "tools/list leads back to the same page",
                        ));
                    }
                    Some(next) => cursor = Some(next),
                    None => return Ok(Arc::new(tools)),
                }
            }
        };
        self.server.tools.get_or_try_init(list).await.cloned()
    }

    /// Ends the session with DELETE, if there is one. A server that does not allow it (HTTP 405) is content as well.
    pub async fn close(self, timeout: Duration) -> Call<()> {
        if self.id.is_none() {
            return unsent(Ok(()));
        }
        let mut post = self.post("", None, &[], &[], Bytes::new());
        post.method = Method::DELETE;
        let mut call = self.acknowledged(&post, timeout).await;
        if let Err(CallError::Http {
            status: StatusCode::METHOD_NOT_ALLOWED,
            ..
        }) = call.result
        {
            call.result = Ok(());
        }
        call
    }

    /// The protocol version agreed on.
    pub fn protocol_version(&self) -> &str {
        &self.negotiated.version
    }

    /// The server this session is with.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The client whose connections this session uses.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn call(&self, request: &Request<'_>, options: &CallOptions) -> Call<Bytes> {
        let mut trace = Trace::new();
        let result = self.traced(request, options, &mut trace).await;
        trace.into_call(result)
    }

    pub(crate) async fn traced(
        &self,
        request: &Request<'_>,
        options: &CallOptions,
        trace: &mut Trace,
    ) -> Result<Bytes, CallError> {
        let ended = {
            // Pinned where it is made: it is large, and would else be moved on every call.
            let rounds = pin!(self.rounds(request, options, trace));
            tokio::time::timeout(options.timeout, rounds).await
        };
        match ended {
            Ok(result) => result,
            Err(_elapsed) => Err(CallError::Timeout {
                after: options.timeout,
                phase: trace.progress.phase(),
            }),
        }
    }

    /// Asks, and asks again as long as the server wants input that the handler can give.
    async fn rounds(
        &self,
        request: &Request<'_>,
        options: &CallOptions,
        trace: &mut Trace,
    ) -> Result<Bytes, CallError> {
        let mut input = None;
        for _ in 0..MAX_ROUNDS {
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let body = self.write(id, request, options, input.as_ref());
            let post = self.post(
                request.method,
                request.name.as_ref(),
                &request.mirrored,
                &options.headers,
                body,
            );
            let result = self.round_trip(&post, id, trace).await?;
            input = self.wanted(&result)?;
            if input.is_none() {
                return Ok(result);
            }
            trace.next_exchange();
        }
        Err(CallError::protocol(format_args!(
            "{} asked for input {MAX_ROUNDS} times",
            request.method
        )))
    }

    /// Answers a request of the server; takes note of a notification.
    pub(crate) async fn heed(&self, message: Message) -> Result<(), CallError> {
        let (id, method, params) = match message {
            Message::Response { .. } => return Ok(()),
            Message::Notification { method, params } => {
                if let Some(handler) = &self.server.options.handler {
                    handler.notified(&method, params.as_deref());
                }
                return Ok(());
            }
            Message::Request { id, method, params } => (id, method, params),
        };
        if self.negotiated.era == Era::Stateless {
            tracing::debug!(
                method,
                "a request of the server, which this protocol version does not know"
            );
            return Ok(());
        }
        let params = params.map_or(Value::Null, |raw| {
            serde_json::from_slice(&raw).unwrap_or(Value::Null)
        });
        let body = match self.answer(&method, &params) {
            Answer::Result(result) => wire::answer(&id, Ok(&result)),
            Answer::Unsupported => wire::answer(&id, Err((-32601, "Method not found"))),
        };
        let post = self.post(&method, None, &[], &[], body);
        let mut progress = Progress::new(Instant::now());
        let begun = self.client.begin(&post, &mut progress).await;
        let mut exchange = begun.map_err(|failure| progress.fail(failure, &post.target.origin))?;
        exchange
            .read_all()
            .await
            .map_err(|failure| exchange.fail(failure))?;
        if !exchange.status.is_success() {
            tracing::debug!(status = %exchange.status, method, "an answer was not accepted");
        }
        Ok(())
    }

    fn answer(&self, method: &str, params: &Value) -> Answer {
        match (method, &self.server.options.handler) {
            ("ping", _) => Answer::Result(json!({})),
            (_, Some(handler)) => handler.answer(method, params),
            (_, None) => Answer::Unsupported,
        }
    }

    /// Answers what an `input_required` result asks for; `None` if the result is complete.
    fn wanted(&self, result: &[u8]) -> Result<Option<Input>, CallError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct InputRequired {
            #[serde(default)]
            result_type: Option<String>,
            #[serde(default)]
            input_requests: Map<String, Value>,
            #[serde(default)]
            request_state: Option<Box<RawValue>>,
        }
        // The look at the bytes spares complete results the parsing.
        if self.negotiated.era == Era::Sessions || INPUT_REQUIRED.find(result).is_none() {
            return Ok(None);
        }
        let required: InputRequired = serde_json::from_slice(result)
            .map_err(|error| CallError::protocol(format_args!("input_required: {error}")))?;
        if required.result_type.as_deref() != Some("input_required") {
            return Ok(None);
        }
        let mut responses = Map::new();
        let mut unsupported = Vec::new();
        for (key, request) in &required.input_requests {
            let method = request.get("method").and_then(Value::as_str).unwrap_or("");
            let params = request.get("params").unwrap_or(&Value::Null);
            match self.answer(method, params) {
                Answer::Result(result) => {
                    responses.insert(key.clone(), result);
                }
                Answer::Unsupported => unsupported.push(method.to_owned()),
            }
        }
        if !unsupported.is_empty() {
            return Err(CallError::InputRequired {
                methods: unsupported,
            });
        }
        Ok(Some(Input {
            responses: Value::Object(responses),
            state: required.request_state,
        }))
    }

    fn write(
        &self,
        id: u64,
        request: &Request<'_>,
        options: &CallOptions,
        input: Option<&Input>,
    ) -> Bytes {
        let room = self.room_for_meta()
            + match request.params {
                Params::Tool(call) => call.name.json().len() + call.arguments.len() + 24,
                Params::Object(object) => object.len(),
            };
        let mut writer = Writer::request(id, request.method, room);
        let mut meta_written = self.negotiated.era == Era::Sessions;
        match request.params {
            Params::Tool(call) => {
                writer.member("name", call.name.json().as_bytes());
                writer.member("arguments", &call.arguments);
            }
            Params::Object(object) => {
                if !meta_written
                    && memchr::memmem::find(object, b"\"_meta\"").is_some()
                    && let Some(merged) = self.merge_meta(object)
                {
                    writer.members(merged.as_bytes());
                    meta_written = true;
                } else {
                    writer.members(object);
                }
            }
        }
        if let Some(input) = input {
            writer.member("inputResponses", input.responses.to_string().as_bytes());
            if let Some(state) = &input.state {
                writer.member("requestState", state.get().as_bytes());
            }
        }
        if !meta_written {
            if options.headers.is_empty() {
                writer.member("_meta", &self.negotiated.meta);
            } else {
                writer.member("_meta", &self.meta_with_trace(&options.headers));
            }
        }
        writer.finish()
    }

    fn room_for_meta(&self) -> usize {
        match self.negotiated.era {
            Era::Sessions => 0,
            Era::Stateless => self.negotiated.meta.len() + 10,
        }
    }

    /// `_meta` with the trace context that the headers carry. None of these names is in ours.
    fn meta_with_trace(&self, headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
        let ours = &self.negotiated.meta;
        let room: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 8)
            .sum();
        let mut meta = Vec::with_capacity(ours.len() + room);
        // It is an object that has members: ours to write, so that its end is known.
        meta.extend_from_slice(ours.strip_suffix(b"}").unwrap_or(ours));
        for (at, (name, value)) in headers.iter().enumerate() {
            // Of a header that is given twice the last one is sent.
            let overridden = || headers[at + 1..].iter().any(|(later, _)| later == name);
            if matches!(name.as_str(), "traceparent" | "tracestate" | "baggage")
                && let Ok(text) = value.to_str()
                && !overridden()
            {
                meta.extend_from_slice(b",\"");
                meta.extend_from_slice(name.as_str().as_bytes());
                meta.extend_from_slice(b"\":");
                wire::write_json_string(text, &mut meta);
            }
        }
        meta.push(b'}');
        meta
    }

    /// Parameters that bring a `_meta` of their own: both together, ours first.
    fn merge_meta(&self, object: &[u8]) -> Option<String> {
        let mut params: Map<String, Value> = serde_json::from_slice(object).ok()?;
        let Some(Value::Object(theirs)) = params.get_mut("_meta") else {
            return None;
        };
        for (key, value) in self.meta() {
            theirs.insert(key, value);
        }
        Some(Value::Object(params).to_string())
    }

    fn meta(&self) -> Map<String, Value> {
        match serde_json::from_slice(&self.negotiated.meta) {
            Ok(Value::Object(meta)) => meta,
            _ => Map::new(),
        }
    }

    fn mirrored(&self, call: &ToolCall) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        if self.negotiated.era == Era::Sessions {
            return Ok(Vec::new());
        }
        match self
            .server
            .tools()
            .and_then(|tools| tools.get(call.name.as_str()))
        {
            Some(tool) if !tool.header_params.is_empty() => {
                headers::from_arguments(&tool.header_params, &call.arguments)
            }
            _ => Ok(Vec::new()),
        }
    }
}
