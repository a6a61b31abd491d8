//! The load generators that are compared, and how each is told to do the same work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use rmcp::model::Implementation;

use crate::sandbox_process::Sandbox;
use crate::target_process::CapturedCall;

const SDK_VERSION: &str = "import importlib.metadata as m, platform
print('Python', platform.python_version() + ', mcp', m.version('mcp'))";

/// Where the programs are. `cargo xtask bench` knows.
#[derive(Args)]
pub(crate) struct Programs {
    /// The throng program, a release build.
    #[arg(long)]
    pub(crate) throng: PathBuf,
    /// A Python that has the `mcp` SDK.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// oha.
    #[arg(long, default_value = "oha")]
    pub(crate) oha: PathBuf,
    /// The directory `benches` of the checkout.
    #[arg(long)]
    pub(crate) benches: PathBuf,
    /// Where results and logs go.
    #[arg(long)]
    pub(crate) output: PathBuf,
}

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Throng,
    /// throng's client library, without engine, workflows and metrics.
    Library,
    /// The `rmcp` crate's client, all sessions on one HTTP client.
    RmcpShared,
    /// The `rmcp` crate's client, an HTTP client for each session.
    RmcpEach,
    PythonSdk,
    /// Plain HTTP, posting the bytes that throng sends.
    Oha,
    /// As oha.
    Wrk,
}

/// What a generator has to do.
pub(crate) struct Work<'a> {
    /// Where throng's users come from.
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) url: &'a str,
    pub(crate) sessions: usize,
    pub(crate) seconds: u64,
    pub(crate) pause_ms: u64,
    /// What throng sends: some post it again, all send its token.
    pub(crate) call: &'a CapturedCall,
}

impl Client {
    pub(crate) const ALL: [Self; 7] = [
        Self::Throng,
        Self::Library,
        Self::Oha,
        Self::Wrk,
        Self::RmcpShared,
        Self::RmcpEach,
        Self::PythonSdk,
    ];
    /// Those that have sessions.
    pub(crate) const WITH_SESSIONS: [Self; 5] = [
        Self::Throng,
        Self::Library,
        Self::RmcpShared,
        Self::RmcpEach,
        Self::PythonSdk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throng => "throng",
            Self::Library => "throng's client alone",
            Self::RmcpShared => "rmcp, one HTTP client",
            Self::RmcpEach => "rmcp, one each",
            Self::PythonSdk => "Python mcp SDK",
            Self::Oha => "oha, same bytes",
            Self::Wrk => "wrk, same bytes",
        }
    }

    /// The command that does `work`.
    pub(crate) fn command(self, programs: &Programs, work: &Work) -> Result<Command> {
        let (url, token, call) = (work.url, work.call.token()?, work.call);
        let [sessions, seconds, pause] = [
            work.sessions.to_string(),
            work.seconds.to_string(),
            work.pause_ms.to_string(),
        ];
        let this = std::env::current_exe().context("where is this program?")?;
        let peer = |name: &str| {
            let mut command = Command::new(&this);
            command.args([name, url, "--token", token, "--sessions", &sessions]);
            command.args(["--seconds", &seconds, "--pause-ms", &pause]);
            command
        };
        Ok(match self {
            Self::Throng => {
                let mut command = programs.calls(work.sandbox, url);
                command.args([
                    "--users",
                    &sessions,
                    "--duration",
                    &seconds,
                    "--pause",
                    &format!("{pause}ms"),
                ]);
                command
            }
            Self::Library => peer("peer-client"),
            Self::RmcpEach => peer("peer-rmcp"),
            Self::RmcpShared => {
                let mut command = peer("peer-rmcp");
                command.arg("--shared");
                command
            }
            Self::PythonSdk => {
                let mut command = Command::new(&programs.python);
                command.arg(programs.benches.join("peers/mcp_sdk.py"));
                command.args([url, token, &sessions, &seconds, &pause]);
                command
            }
            Self::Oha => oha(programs, call, &sessions, &format!("{seconds}s"), url),
            Self::Wrk => wrk(programs, call, &sessions, &format!("{seconds}s"), url)?,
        })
    }
}

impl Programs {
    /// A call of throng whose state stays in the output directory.
    pub(crate) fn throng(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.throng);
        command
            .env("XDG_STATE_HOME", self.output.join("state"))
            .args(arguments);
        command
    }

    /// throng calling the target's tool, with users of its own; how many, how long and how often is to be added.
    pub(crate) fn calls(&self, sandbox: &Sandbox, url: &str) -> Command {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        // A run that was ended early leaves its users behind.
        let prefix = format!("bench{}", RUNS.fetch_add(1, Ordering::Relaxed));
        let mut command = self.throng(&["run"]);
        command
            .arg(self.benches.join("scenarios/mcp-call.yaml"))
            .args(["--url", url, "--user-prefix", &prefix]);
        command.args(["--warmup", "0", "--no-thresholds"]);
        sandbox.introduce(&mut command);
        command
    }

    /// What each of the clients' programs says of its version.
    pub(crate) fn versions(&self, clients: &[Client]) -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for client in clients {
            versions.push(match client {
                Client::Throng => first_line(Command::new(&self.throng).arg("--version"))?,
                Client::RmcpShared => format!("rmcp {}", Implementation::from_build_env().version),
                Client::Library | Client::RmcpEach => continue,
                Client::PythonSdk => {
                    first_line(Command::new(&self.python).args(["-c", SDK_VERSION]))?
                }
                Client::Oha => first_line(Command::new(&self.oha).arg("--version"))?,
                Client::Wrk => first_line(Command::new("wrk").arg("-v"))?,
            });
        }
        Ok(versions)
    }

    /// The log of a client.
    pub(crate) fn log(&self, client: Client) -> PathBuf {
        self.output
            .join(Path::new(
                client.name().split([' ', ',']).next().unwrap_or("client"),
            ))
            .with_extension("log")
    }
}

/// `oha` with so many connections, sending the same call again and again.
pub(crate) fn oha(
    programs: &Programs,
    call: &CapturedCall,
    connections: &str,
    duration: &str,
    url: &str,
) -> Command {
    let mut command = Command::new(&programs.oha);
    command.args(["--no-tui", "--disable-compression"]);
    command.args(["--output-format", "json"]);
    command.args(["-z", duration, "-c", connections, "-m", "POST"]);
    command.args(["-d", &call.body]);
    for (name, value) in &call.headers {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    command.arg(url);
    command
}

/// The same by `wrk`, with one thread.
pub(crate) fn wrk(
    programs: &Programs,
    call: &CapturedCall,
    connections: &str,
    duration: &str,
    url: &str,
) -> Result<Command> {
    let script = programs.output.join("wrk.lua");
    std::fs::write(&script, wrk_script(call)).context("cannot write wrk's script")?;
    let mut command = Command::new("wrk");
    command.args(["-t", "1", "-c", connections, "-d", duration, "-s"]);
    command.arg(script).arg(url);
    Ok(command)
}

fn wrk_script(call: &CapturedCall) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut script = format!("wrk.method = \"POST\"\nwrk.body = {}\n", quoted(&call.body));
    for (name, value) in &call.headers {
        script += &format!("wrk.headers[{}] = {}\n", quoted(name), quoted(value));
    }
    script
}

/// The first line that a command prints, whatever it ends with (`wrk -v` ends with 1).
pub(crate) fn first_line(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let text = String::from_utf8(output.stdout).context("a version that is not UTF-8")?;
    Ok(text.lines().next().unwrap_or("unknown").trim().to_owned())
}
