//! The server that every client is measured against: one tool, `echo`, on the `rmcp` crate's streamable HTTP server,
//! without sessions, so that a plain HTTP tool can post the same bytes. It runs on one thread as a process of its
//! own, counts the calls it answered, and can stall once, keeping a journal of when it completed each call.
//!
//! It wants an `Authorization` header and says where tokens come from, but believes any: what checking one costs is not
//! what is measured.
//!
//! Beside `/mcp` it answers, in plain text:
//! - `GET /calls`: the number of calls completed;
//! - `POST /capture`: the head and body of the next `tools/call`, as JSON `{"headers": [[name, value]...], "body"}`;
//! - `GET /journal`: a line `received completed` per call, in ns of CLOCK_MONOTONIC.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use clap::Args;
use http_body_util::BodyExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// How the server answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Replies {
    Json,
    Sse,
}

#[derive(Args)]
pub(crate) struct Options {
    /// Whose tokens it asks for: an OpenID provider.
    authorization_server: String,
    /// How calls are answered.
    #[arg(long, value_enum, default_value = "json")]
    replies: Replies,
    /// Stall once, this many milliseconds after the first call arrived, and keep the journal.
    #[arg(long, requires = "stall_ms")]
    stall_after_ms: Option<u64>,
    /// How long the stall lasts.
    #[arg(long, requires = "stall_after_ms")]
    stall_ms: Option<u64>,
}

/// Serve until killed; the first line of the standard output is the URL.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    let stall = options
        .stall_after_ms
        .zip(options.stall_ms)
        .map(|(after, lasts)| Stall {
            after: Duration::from_millis(after),
            lasts: Duration::from_millis(lasts),
            journal: Mutex::default(),
        });
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .context("no port")?;
    let origin = format!("http://{}", listener.local_addr().context("no address")?);
    let metadata = json!({"resource": format!("{origin}/mcp"), "authorization_servers": [options.authorization_server]});
    let challenge = format!("Bearer resource_metadata=\"{origin}{METADATA}\"");
    let shared = Arc::new(Shared {
        calls: AtomicU64::new(0),
        stall,
        capture: Capture::default(),
        challenge: challenge.parse().context("the challenge is no header")?,
    });
    let echo = Echo {
        shared: shared.clone(),
        tool: Arc::new(tool()?),
    };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(options.replies == Replies::Json);
    let mcp = StreamableHttpService::new(
        move || Ok(echo.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let router = Router::new()
        .route_service("/mcp", mcp)
        .layer(middleware::from_fn_with_state(shared.clone(), enter))
        .route(METADATA, get(async move || Json(metadata)))
        .route(
            "/calls",
            get(async |State(shared): State<Arc<Shared>>| {
                shared.calls.load(Ordering::Relaxed).to_string()
            }),
        )
        .route("/journal", get(journal))
        .route("/capture", post(captured))
        .with_state(shared);
    println!("{origin}/mcp");
    // Without it the end of a streamed reply waits for the client's delayed acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router)
        .await
        .context("the server ended")
}

/// Where RFC 9728, section 3, puts the metadata of `/mcp`.
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

struct Shared {
    calls: AtomicU64,
    stall: Option<Stall>,
    capture: Capture,
    /// The `WWW-Authenticate` of a 401.
    challenge: HeaderValue,
}

struct Stall {
    after: Duration,
    lasts: Duration,
    /// When each call was received and completed, in ns of CLOCK_MONOTONIC, in the order of completion.
    journal: Mutex<Vec<(u64, u64)>>,
}

impl Stall {
    /// Stop the whole server if it is time and it has not stalled yet: its only thread sleeps, so that connections,
    /// requests and replies all wait.
    fn pass(&self, received: u64) -> u64 {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = journal
            .first()
            .map(|(first, _)| first + nanoseconds(self.after));
        let stalls_now = begins.is_some_and(|begins| {
            received >= begins && journal.last().is_some_and(|last| last.0 < begins)
        });
        if stalls_now {
            std::thread::sleep(self.lasts);
        }
        let completed = monotonic();
        journal.push((received, completed));
        completed
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, in ns of CLOCK_MONOTONIC: the clock that `Instant` reads in every process.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[derive(Clone)]
struct Echo {
    shared: Arc<Shared>,
    tool: Arc<Tool>,
}

/// `echo(text)`: returns the text with a number, about 200 bytes in all.
fn tool() -> Result<Tool> {
    let schema =
        json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let Value::Object(schema) = schema else {
        anyhow::bail!("the schema is an object")
    };
    Ok(Tool::new("echo", "Returns its text.", schema))
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![Tool::clone(
            &self.tool,
        )]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = request
            .arguments
            .as_ref()
            .and_then(|arguments| arguments.get("text"));
        let Some(text) = text
            .and_then(Value::as_str)
            .filter(|_| request.name == "echo")
        else {
            return Err(ErrorData::invalid_params(
                "call `echo` with a string `text`",
                None,
            ));
        };
        let id = self.shared.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(stall) = &self.shared.stall {
            stall.pass(monotonic());
        }
        Ok(CallToolResult::structured(json!({"id": id, "text": text})).into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == self.tool.name).then(|| Tool::clone(&self.tool))
    }
}

async fn journal(State(shared): State<Arc<Shared>>) -> String {
    let Some(stall) = &shared.stall else {
        return String::new();
    };
    let journal = stall.journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal
        .iter()
        .map(|(received, completed)| format!("{received} {completed}\n"))
        .collect()
}

/// Who waits for the next call's bytes, if anybody does.
#[derive(Default)]
struct Capture {
    wanted: Mutex<Option<oneshot::Sender<String>>>,
    /// Looked at on every request, the mutex only when it is not 0.
    waiting: AtomicU64,
}

async fn captured(State(shared): State<Arc<Shared>>) -> Result<String, StatusCode> {
    let (sender, receiver) = oneshot::channel();
    *shared
        .capture
        .wanted
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(sender);
    shared.capture.waiting.store(1, Ordering::Relaxed);
    receiver.await.map_err(|_| StatusCode::CONFLICT)
}

/// Ask for a token if there is none, hand a call's bytes to whoever waits for them, and pass it on.
async fn enter(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if !request.headers().contains_key(header::AUTHORIZATION) {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, shared.challenge.clone())],
        )
            .into_response();
    }
    if shared.capture.waiting.load(Ordering::Relaxed) == 0 {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    if let Some(text) = call_as_json(&head.headers, &body) {
        let wanted = shared
            .capture
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        shared.capture.waiting.store(0, Ordering::Relaxed);
        // Whoever waited may have gone.
        drop(wanted.map(|wanted| wanted.send(text)));
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}

/// The request as JSON if it is a `tools/call`.
fn call_as_json(headers: &HeaderMap, body: &Bytes) -> Option<String> {
    let message: Value = serde_json::from_slice(body).ok()?;
    if message["method"] != "tools/call" {
        return None;
    }
    let headers: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let body = std::str::from_utf8(body).ok()?;
    Some(json!({"headers": headers, "body": body}).to_string())
}
