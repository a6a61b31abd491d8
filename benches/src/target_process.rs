//! The target server as seen from outside: started as a process on its core, asked over HTTP for what it saw.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::child::{Child, SERVER};
use crate::sandbox_process::Sandbox;
use crate::target::Replies;
use crate::window::Target;

/// How long the server may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running server.
pub(crate) struct TargetProcess {
    child: Child,
    /// Its MCP endpoint.
    pub(crate) url: String,
    address: String,
}

/// The bytes of one `tools/call`, for a plain HTTP tool to post again.
pub(crate) struct CapturedCall {
    /// Without those that the HTTP tool makes itself.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl CapturedCall {
    /// The access token in it.
    pub(crate) fn token(&self) -> Result<&str> {
        let value = self
            .headers
            .iter()
            .find(|(name, _)| name == "authorization")
            .map(|(_, value)| value.as_str());
        value
            .and_then(|value| value.strip_prefix("Bearer "))
            .context("the captured call has no token")
    }
}

impl TargetProcess {
    /// Start it; it asks for tokens of `sandbox`. `more` are further arguments.
    pub(crate) fn start(
        replies: Replies,
        sandbox: &Sandbox,
        more: &[&str],
        output: &Path,
    ) -> Result<Self> {
        let replies = match replies {
            Replies::Json => "json",
            Replies::Sse => "sse",
        };
        let log = output.join("target.log");
        let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
        command
            .args(["target", &sandbox.url, "--replies", replies])
            .args(more);
        let mut child = Child::start(&mut command, SERVER, &log)?;
        let url = child.first_line(PATIENCE)?;
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches("/mcp")
            .to_owned();
        Ok(Self {
            child,
            url,
            address,
        })
    }

    /// When each call was received and completed, in ns of CLOCK_MONOTONIC, in the order of completion.
    pub(crate) fn journal(&self) -> Result<Vec<(u64, u64)>> {
        let line = |line: &str| {
            let (received, completed) = line
                .split_once(' ')
                .context("a line of the target's journal")?;
            Ok((received.parse()?, completed.parse()?))
        };
        self.ask("GET", "/journal")?.lines().map(line).collect()
    }

    /// The next call's bytes; `make` has to cause one.
    pub(crate) fn capture(&self, make: impl FnOnce() -> Result<()>) -> Result<CapturedCall> {
        let text = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| self.ask("POST", "/capture"));
            make()?;
            waiting
                .join()
                .map_err(|_| anyhow::anyhow!("the capturing thread panicked"))?
        })?;
        let captured: Value = serde_json::from_str(&text).context("the captured call")?;
        let mut headers: Vec<(String, String)> =
            serde_json::from_value(captured["headers"].clone()).context("the captured headers")?;
        headers
            .retain(|(name, _)| !["host", "content-length", "connection"].contains(&name.as_str()));
        let body = captured["body"]
            .as_str()
            .context("the captured body")?
            .to_owned();
        Ok(CapturedCall { headers, body })
    }

    fn ask(&self, method: &str, path: &str) -> Result<String> {
        http(&self.address, method, path).with_context(|| format!("{method} {path} of the target"))
    }
}

impl Target for TargetProcess {
    fn calls(&self) -> Result<u64> {
        self.ask("GET", "/calls")?
            .parse()
            .context("the target's count of calls")
    }

    fn cpu(&self) -> Result<Duration> {
        self.child.cpu()
    }
}

/// One HTTP request without a body; the body of its 200 reply.
pub(crate) fn http(address: &str, method: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let host = format!("Host: {address}\r\nConnection: close\r\nContent-Length: 0\r\n");
    write!(stream, "{method} {path} HTTP/1.1\r\n{host}\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    match reply.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => bail!(
            "unexpected reply: {}",
            reply.lines().next().unwrap_or("none")
        ),
    }
}
