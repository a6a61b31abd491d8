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

use crate::peer::{Calling, all_done, on_one_thread};

#[derive(Args)]
pub(crate) struct Options {
    /// The MCP endpoint.
    url: String,
    #[command(flatten)]
    calling: Calling,
    /// One HTTP client for all sessions instead of one each, which is the crate's default.
    #[arg(long)]
    shared: bool,
}

/// Open the sessions, then call until the time is over.
pub(crate) fn run(options: &Options) -> Result<()> {
    on_one_thread(call(options))
}

async fn call(options: &Options) -> Result<()> {
    let http = reqwest::Client::builder()
        .build()
        .context("no HTTP client")?;
    let mut sessions = Vec::with_capacity(options.calling.sessions);
    for _ in 0..options.calling.sessions {
        let config = StreamableHttpClientTransportConfig::with_uri(options.url.as_str())
            .auth_header(options.calling.token.as_str());
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
    let (until, pause) = options.calling.times();
    let mut users = JoinSet::new();
    for session in &sessions {
        users.spawn(user(session.clone(), until, pause));
    }
    all_done(users).await
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
