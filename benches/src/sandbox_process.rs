//! The sandbox in a process of its own: throng's users come from it, and it keeps a journal of what reached it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::child::{Child, SERVER};
use crate::clients::Programs;
use crate::target_process::http;

/// Requests of the journal fetched at once.
const PAGE: u64 = 10_000;

/// The running sandbox.
pub(crate) struct Sandbox {
    child: Child,
    /// Nextcloud's origin, which is the OpenID provider's too.
    pub(crate) url: String,
    /// Its own MCP server.
    pub(crate) mcp_url: String,
    admin: String,
    password: String,
}

impl Sandbox {
    /// Start it on the server's core.
    pub(crate) fn start(programs: &Programs) -> Result<Self> {
        let log = programs.output.join("sandbox.log");
        let mut command = programs.throng(&[
            "sandbox",
            "nextcloud",
            "--port",
            "0",
            "--mcp-port",
            "0",
            "--json",
        ]);
        // Every run registers a client.
        command.args(["--registrations-per-minute", "1000"]);
        let mut child = Child::start(&mut command, SERVER, &log)?;
        let line = child.first_line(Duration::from_secs(30))?;
        let ready: Value = serde_json::from_str(&line).context("the sandbox's first line")?;
        // It holds the sandbox's password.
        fs::remove_file(&log).context("cannot remove the sandbox's log")?;
        let text = |name: &str| {
            ready[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no {name}"))
        };
        let (url, mcp_url, admin, password) = (
            text("url")?,
            text("mcp_url")?,
            text("admin")?,
            text("password")?,
        );
        Ok(Self {
            child,
            url,
            mcp_url,
            admin,
            password,
        })
    }

    /// Tell a call of throng where its users come from.
    pub(crate) fn introduce(&self, throng: &mut Command) {
        throng.env("NEXTCLOUD_HOST", &self.url);
        throng
            .env("NEXTCLOUD_USERNAME", &self.admin)
            .env("NEXTCLOUD_PASSWORD", &self.password);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that reached the sandbox.
    pub(crate) fn journal(&self) -> Result<Vec<Value>> {
        let mut entries = Vec::new();
        loop {
            let after = entries
                .last()
                .map_or(0, |entry: &Value| entry["seq"].as_u64().unwrap_or(u64::MAX));
            let path = format!("/__sandbox/journal?after={after}&limit={PAGE}");
            let text = http(self.url.trim_start_matches("http://"), "GET", &path)?;
            let mut page: Value = serde_json::from_str(&text).context("a page of the journal")?;
            ensure!(
                page["dropped"] == 0,
                "the sandbox's journal has dropped entries"
            );
            let Value::Array(more) = page["entries"].take() else {
                bail!("the journal has no entries")
            };
            if more.is_empty() {
                return Ok(entries);
            }
            entries.extend(more);
        }
    }
}
