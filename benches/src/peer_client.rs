//! throng's own client library without the rest of throng: N sessions, each calling `echo` again and again. What
//! throng costs more than this is its engine, its workflows and its metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::http::HeaderValue;
use clap::Args;
use throng_client::mcp::{
    Authorize, CallOptions, OpenOptions, Server, ServerOptions, Session, ToolCall, ToolName,
};
use throng_client::{Client, Connector, ConnectorOptions};
use tokio::task::JoinSet;

#[derive(Args)]
pub(crate) struct Options {
    /// The MCP endpoint.
    url: url::Url,
    /// The access token to send.
    #[arg(long)]
    token: String,
    /// Sessions open at once.
    #[arg(long)]
    sessions: usize,
    /// How long to call, once every session is open.
    #[arg(long)]
    seconds: u64,
    /// The pause of a session between two calls.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
}

/// Open the sessions, then call until the time is over.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(call(options))
}

async fn call(options: &Options) -> Result<()> {
    let connector = Connector::new(ConnectorOptions::default()).context("no connector")?;
    let server = Server::new(&options.url, ServerOptions::default()).context("no server")?;
    let bearer: Arc<dyn Authorize> = Arc::new(Bearer(format!("Bearer {}", options.token).parse()?));
    let opening = OpenOptions::default();
    let mut sessions = Vec::with_capacity(options.sessions);
    for _ in 0..options.sessions {
        let client = Client::new(&connector);
        let bearer = bearer.clone();
        let session = Session::open(server.clone(), client, bearer, &opening);
        sessions.push(session.await.context("a session could not be opened")?);
    }
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let pause = Duration::from_millis(options.pause_ms);
    let mut users = JoinSet::new();
    for session in sessions {
        users.spawn(user(session, until, pause));
    }
    while let Some(user) = users.join_next().await {
        user.context("a session's task failed")??;
    }
    Ok(())
}

struct Bearer(HeaderValue);

impl Authorize for Bearer {
    fn authorization(&self) -> Option<HeaderValue> {
        Some(self.0.clone())
    }
}

async fn user(session: Session, until: Instant, pause: Duration) -> Result<()> {
    let call = ToolCall::new(
        ToolName::new("echo"),
        r#"{"text":"hello from a virtual user"}"#,
    );
    let options = CallOptions::timeout(Duration::from_secs(10));
    while Instant::now() < until {
        let result = session
            .call_tool(&call, &options)
            .await
            .result
            .context("a call failed")?;
        ensure!(!result.is_error, "the tool failed");
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    session
        .close(Duration::from_secs(10))
        .await
        .result
        .context("a session could not be closed")
}
