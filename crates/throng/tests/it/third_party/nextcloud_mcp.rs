//! The Nextcloud MCP server in OAuth mode, in front of a sandbox's Nextcloud and OpenID provider.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::programs::{Group, Program, target_directory};

/// It takes some 4 s to start on an idle machine, most of it for Python's imports.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What it logs once its port answers.
const READY: &str = "Uvicorn running on";
/// Lines of its log that a failed test shows.
const SHOWN: usize = 60;
/// What its database of app passwords is encrypted with: 32 bytes in base64, of no use elsewhere.
const ENCRYPTION_KEY: &str = "dGhyb25nLXRlc3RzLTMyLWJ5dGVzLWxvbmcta2V5LTA=";

/// A port of this machine, taken by nobody else as long as this lives: it is bound here, but nobody listens, and a
/// server that allows the reuse of addresses (as servers do) can still bind it, too.
pub(super) struct Port {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    pub(super) fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option of a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        let address = socket.local_addr().expect("an address");
        Self {
            _socket: socket,
            address,
        }
    }

    /// Where a server on this port is to be found.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The running server. Dropping it kills it, and shows the end of its log if the test has failed.
pub(super) struct NextcloudMcp {
    // Fields are dropped in this order: no more is written when the log's reader is waited for.
    group: Option<Group>,
    _child: Child,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
    _home: TempDir,
    _port: Port,
}

impl NextcloudMcp {
    /// Starts it in front of the Nextcloud at `nextcloud`, and waits until it answers. Its log is kept under the name of
    /// the test.
    pub(super) async fn start(port: Port, nextcloud: &str, test: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let log = log_file(test);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = command(&port, nextcloud, home.path());
        let child = command
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .spawn()
            .expect("the server starts");
        // It holds the writing ends, and with them the reader's end would never come.
        drop(command);
        let (announce, ready) = oneshot::channel();
        let file = File::create(&log).expect("a file for the log");
        let server = Self {
            group: Some(Group::of(&child)),
            _child: child,
            reader: Some(std::thread::spawn(move || {
                keep(reader, file, Some(announce));
            })),
            log,
            _home: home,
            _port: port,
        };
        match tokio::time::timeout(START_LIMIT, ready).await {
            Ok(Ok(())) => server,
            Ok(Err(_)) => panic!("the server ended before it was ready"),
            Err(_) => panic!("the server isn't ready after {START_LIMIT:?}"),
        }
    }
}

impl Drop for NextcloudMcp {
    fn drop(&mut self) {
        self.group.take();
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            eprintln!("the log of the server was not written to its end");
        }
        if std::thread::panicking() {
            show(&self.log);
        }
    }
}

fn command(port: &Port, nextcloud: &str, home: &Path) -> Command {
    let (host, number) = (port.address.ip().to_string(), port.address.port());
    let mut command = Command::new(Program::NextcloudMcp.path());
    command
        .args(["run", "--transport", "streamable-http", "--oauth", "--host"])
        .arg(host)
        .args(["--port", &number.to_string()])
        .current_dir(home)
        // Whatever Nextcloud the tester works with is none of its business.
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("PYTHONUNBUFFERED", "1")
        .env("MCP_DEPLOYMENT_MODE", "login_flow")
        .env("NEXTCLOUD_HOST", nextcloud)
        .env("NEXTCLOUD_PUBLIC_ISSUER_URL", nextcloud)
        .env("NEXTCLOUD_MCP_SERVER_URL", port.origin())
        .env("NEXTCLOUD_OIDC_TOKEN_TYPE", "jwt")
        .env("TOKEN_ENCRYPTION_KEY", ENCRYPTION_KEY)
        .env("TOKEN_STORAGE_DB", home.join("tokens.db"))
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Writes the log down until the server and all that it started have ended.
fn keep(reader: PipeReader, mut file: File, mut announce: Option<oneshot::Sender<()>>) {
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.expect("the server's log");
        let line = String::from_utf8_lossy(&line);
        writeln!(file, "{line}").expect("the log's file");
        if line.contains(READY)
            && let Some(announce) = announce.take()
        {
            // Whoever no longer waits has failed already.
            let _ = announce.send(());
        }
    }
}

fn log_file(test: &str) -> PathBuf {
    let directory = target_directory().join("test-logs");
    std::fs::create_dir_all(&directory).expect("a directory for logs");
    directory.join(format!("{test}.nextcloud-mcp-server.log"))
}

/// The end of the log, among the test's own output.
fn show(log: &Path) {
    let text = match std::fs::read_to_string(log) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", log.display());
            return;
        }
    };
    let lines: Vec<&str> = text.lines().collect();
    let left_out = lines.len().saturating_sub(SHOWN);
    eprintln!("--- the end of {} ({left_out} lines before)", log.display());
    for line in &lines[left_out..] {
        eprintln!("{line}");
    }
}
