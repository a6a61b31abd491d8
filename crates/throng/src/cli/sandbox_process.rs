//! The embedded sandbox as a process of its own, so that target and generator don't share a runtime.
//!
//! The child is this same executable (`throng sandbox NAME --stop-at-eof --json`). It holds the read end of a
//! pipe whose write end is here: when this process ends, however it ends, the pipe closes and the child stops.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tempfile::NamedTempFile;
use throng_sandbox::{Bug, Bugs, Knobs};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::args::IssuerArgs;
use super::settings::{SandboxAddress, SandboxDirectory, SandboxKind};

/// How long the sandbox may take to come up (it makes an RSA key first).
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to go.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What the child prints when it's ready.
#[derive(Deserialize)]
pub(crate) struct Ready {
    /// The sandbox itself, `http://127.0.0.1:PORT`; its journal is there.
    pub(crate) url: String,
    /// Of a Nextcloud.
    #[serde(flatten)]
    pub(crate) nextcloud: Option<ReadyNextcloud>,
}

/// What a Nextcloud says besides.
#[derive(Deserialize)]
pub(crate) struct ReadyNextcloud {
    /// The MCP endpoint.
    pub(crate) mcp_url: String,
    /// The administrator's name.
    admin: String,
    /// The administrator's password. Never printed.
    password: String,
}

impl Ready {
    /// What of it stands in for what a scenario says.
    pub(crate) fn address(&self) -> SandboxAddress<'_> {
        match &self.nextcloud {
            Some(nextcloud) => SandboxAddress {
                target: &nextcloud.mcp_url,
                directory: Some(SandboxDirectory {
                    url: &self.url,
                    admin: &nextcloud.admin,
                    password: &nextcloud.password,
                }),
            },
            None => SandboxAddress {
                target: &self.url,
                directory: None,
            },
        }
    }
}

/// Knobs as a file, which goes when it's dropped.
fn write(knobs: &Knobs) -> anyhow::Result<NamedTempFile> {
    let file = NamedTempFile::new().context("making a file for the sandbox's knobs")?;
    serde_json::to_writer(file.as_file(), knobs).context("writing the sandbox's knobs")?;
    Ok(file)
}

/// A running sandbox; dropping it kills it.
pub(crate) struct SandboxProcess {
    child: Child,
    pub(crate) ready: Ready,
}

impl SandboxProcess {
    /// Starts one on free ports and waits until it's ready.
    ///
    /// # Errors
    /// Where the child can't be started, ends early or doesn't come up in time; with what it said.
    pub(crate) async fn start(
        kind: SandboxKind,
        knobs: Option<&Knobs>,
        bugs: Option<&Bugs>,
        issuer: &IssuerArgs,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let executable =
            std::env::current_exe().context("finding this executable to start the sandbox")?;
        let mut command = Command::new(executable);
        command
            .args(["sandbox", kind.word(), "--port", "0"])
            .args(["--json", "--stop-at-eof"])
            .arg("--seed")
            .arg(seed.to_string());
        if kind == SandboxKind::Nextcloud {
            command.args(["--mcp-port", "0"]);
        }
        // Read by the time that it says where it is.
        let written = knobs.map(write).transpose()?;
        if let Some(file) = &written {
            command.arg("--knobs").arg(file.path());
        }
        // The secret, if there is one, is in the environment, which the child inherits.
        let IssuerArgs {
            issuer,
            issuer_audience,
            issuer_user_claim,
            issuer_client,
        } = issuer;
        for (flag, value) in [
            ("--issuer", issuer),
            ("--issuer-audience", issuer_audience),
            ("--issuer-user-claim", issuer_user_claim),
            ("--issuer-client", issuer_client),
        ] {
            if let Some(value) = value {
                command.arg(flag).arg(value);
            }
        }
        match (bugs, kind) {
            (None, _) => {}
            (Some(bugs), SandboxKind::Integr8scode) => {
                let names: Vec<&str> = bugs.iter().map(Bug::name).collect();
                command.arg("--bugs").arg(names.join(","));
            }
            (Some(_), SandboxKind::Nextcloud) => {
                bail!(
                    "--sandbox-bugs is for HTTP scenarios: this one's sandbox has no bugs to plant"
                )
            }
        }
        // Its own process group: a Ctrl-C at the terminal must reach the generator only, which still
        // needs the target for draining and cleaning up.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting the sandbox")?;
        let stdout = child
            .stdout
            .take()
            .context("the sandbox's standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_LIMIT, lines.next_line())
            .await
            .with_context(|| format!("the sandbox didn't come up within {START_LIMIT:?}"))?
            .context("reading what the sandbox says")?;
        let Some(line) = line else {
            let status = child.wait().await?;
            bail!("the sandbox ended before it was ready ({status})");
        };
        let ready = serde_json::from_str(&line)
            .context("the sandbox said something other than its addresses")?;
        Ok(Self { child, ready })
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// Where it doesn't stop in time (it's killed then) or ends with a failure.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("the sandbox ended with {status}");
                }
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                bail!("the sandbox didn't stop within {STOP_LIMIT:?} and was killed")
            }
        }
    }
}
