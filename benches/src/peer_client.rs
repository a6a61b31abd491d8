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

use crate::peer::{Calling, all_done, on_one_thread};

#[derive(Args)]
pub(crate) struct Options {
    /// The MCP endpoint.
    url: url::Url,
    #[command(flatten)]
    calling: Calling,
}

/// Open the sessions, then call until the time is over.
pub(crate) fn run(options: &Options) -> Result<()> {
    on_one_thread(call(options))
}

async fn call(options: &Options) -> Result<()> {
    let connector = Connector::new(ConnectorOptions::default()).context("no connector")?;
    let server = Server::new(&options.url, ServerOptions::default()).context("no server")?;
    let bearer: Arc<dyn Authorize> =
        Arc::new(Bearer(format!("Bearer {}", options.calling.token).parse()?));
    let opening = OpenOptions::default();
    let mut sessions = Vec::with_capacity(options.calling.sessions);
    for _ in 0..options.calling.sessions {
        let client = Client::new(&connector);
        let bearer = bearer.clone();
        let session = Session::open(server.clone(), client, bearer, &opening);
        sessions.push(session.await.context("a session could not be opened")?);
    }
    let (until, pause) = options.calling.times();
    let mut users = JoinSet::new();
    for session in sessions {
        users.spawn(user(session, until, pause));
    }
    all_done(users).await
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
