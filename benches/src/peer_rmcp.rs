//! The `rmcp` crate's own client as a load generator: N sessions, each calling `echo` again and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rmcp::model::CallToolRequestParams;
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

#[derive(Args)]
pub(crate) struct Options {
    /// The MCP endpoint.
    url: String,
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
    /// One HTTP client for all sessions instead of one each, which is the crate's default.
    #[arg(long)]
    shared: bool,
}

/// Open the sessions, then call until the time is over.
pub(crate) fn run(options: &Options) -> Result<()> {
    // One thread: it gets one core, and a work-stealing runtime would only cost the crate's client more.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(call(options))
}

async fn call(options: &Options) -> Result<()> {
    let http = reqwest::Client::builder()
        .build()
        .context("no HTTP client")?;
    let mut sessions = Vec::with_capacity(options.sessions);
    for _ in 0..options.sessions {
        let config = StreamableHttpClientTransportConfig::with_uri(options.url.as_str())
            .auth_header(options.token.as_str());
        let transport = if options.shared {
            StreamableHttpClientTransport::with_client(http.clone(), config)
        } else {
            StreamableHttpClientTransport::from_config(config)
        };
        sessions.push(Arc::new(
            ().serve(transport)
                .await
                .context("a session could not be opened")?,
        ));
    }
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let pause = Duration::from_millis(options.pause_ms);
    let mut users = JoinSet::new();
    for session in &sessions {
        users.spawn(user(session.clone(), until, pause));
    }
    while let Some(user) = users.join_next().await {
        user.context("a session's task failed")??;
    }
    Ok(())
}

async fn user(
    session: Arc<RunningService<RoleClient, ()>>,
    until: Instant,
    pause: Duration,
) -> Result<()> {
    while Instant::now() < until {
        let arguments =
            Map::from_iter([("text".to_owned(), Value::from("hello from a virtual user"))]);
        let call = CallToolRequestParams::new("echo").with_arguments(arguments);
        let result = session.call_tool(call).await.context("a call failed")?;
        ensure!(result.is_error != Some(true), "the tool failed");
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
