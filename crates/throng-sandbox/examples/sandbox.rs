//! Runs a Nextcloud sandbox until stdin ends: one line of JSON says where it is.
//!
//! Arguments, each optional: `fixtures` (the conformance suite's tools), `open` (no OAuth on the MCP server), `elicit` (ask for a
//! missing app password and wait), `forbidden` (missing scopes are HTTP 403), `fast` (no limits on logins and registrations),
//! `port=N`, `mcp-port=N`, and `mcp-url=ORIGIN` (where another MCP server in front of this Nextcloud is).

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program"
)]

use std::io::Write as _;

use throng_sandbox::{McpAuth, NextcloudConfig, NextcloudSandbox, ScopeErrors};
use tokio::io::AsyncReadExt as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut config = NextcloudConfig::default();
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        match name {
            "fixtures" => config.mcp.fixtures = true,
            "open" => {
                config.mcp.auth = McpAuth::Open {
                    user: "open".to_owned(),
                };
            }
            "elicit" => config.mcp.elicit_app_password = true,
            "forbidden" => config.mcp.scope_errors = ScopeErrors::Forbidden,
            "fast" => {
                config.throttle = false;
                config.registrations_per_minute = None;
            }
            "port" => config.port = value.parse()?,
            "mcp-port" => config.mcp_port = value.parse()?,
            "mcp-url" => config.mcp_public_url = Some(value.to_owned()),
            _ => anyhow::bail!("unknown argument {argument:?}"),
        }
    }
    let sandbox = NextcloudSandbox::start(config).await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(&sandbox.ready())?)?;
    stdout.flush()?;
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            read = stdin.read(&mut buffer) => if read? == 0 { break },
            () = sandbox.stopped() => break,
        }
    }
    sandbox.stop().await;
    Ok(())
}
