//! A third party's server, run for one test: its log kept and shown if the test fails, and nothing of it left afterwards.

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

use super::programs::{Group, target_directory};

/// They take some 4 s to start on an idle machine, most of it for Python's imports.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Lines of its log that a failed test shows.
const SHOWN: usize = 60;

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

    pub(super) fn number(&self) -> u16 {
        self.address.port()
    }
}

/// A running server. Dropping it kills it, and shows the end of its log if the test has failed.
pub(super) struct Served {
    // Fields are dropped in this order: no more is written when the log's reader is waited for.
    group: Option<Group>,
    _child: Child,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
    _home: TempDir,
}

impl Served {
    /// Starts a program in a home of its own, and waits until its log has a line with `ready` in it, which is returned. The
    /// log is kept under the name of the test.
    pub(super) async fn start(
        mut command: Command,
        home: TempDir,
        ready: &'static str,
        test: &str,
    ) -> (Self, String) {
        let log = log_file(test);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let child = command
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .stdout(writer.try_clone().expect("a pipe"))
            .stderr(writer)
            .spawn()
            .expect("the server starts");
        // It holds the writing ends, and with them the reader's end would never come.
        drop(command);
        let (announce, announced) = oneshot::channel();
        let file = File::create(&log).expect("a file for the log");
        let server = Self {
            group: Some(Group::of(&child)),
            _child: child,
            reader: Some(std::thread::spawn(move || {
                keep(reader, file, ready, Some(announce));
            })),
            log,
            _home: home,
        };
        match tokio::time::timeout(START_LIMIT, announced).await {
            Ok(Ok(line)) => (server, line),
            Ok(Err(_)) => panic!("the server ended before it was ready"),
            Err(_) => panic!("the server isn't ready after {START_LIMIT:?}"),
        }
    }
}

impl Drop for Served {
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

/// Writes the log down until the server and all that it started have ended.
fn keep(
    reader: PipeReader,
    mut file: File,
    ready: &str,
    mut announce: Option<oneshot::Sender<String>>,
) {
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.expect("the server's log");
        let line = String::from_utf8_lossy(&line);
        writeln!(file, "{line}").expect("the log's file");
        if line.contains(ready)
            && let Some(announce) = announce.take()
        {
            // Whoever no longer waits has failed already.
            let _ = announce.send(line.into_owned());
        }
    }
}

fn log_file(test: &str) -> PathBuf {
    let directory = target_directory().join("test-logs");
    std::fs::create_dir_all(&directory).expect("a directory for logs");
    directory.join(format!("{test}.log"))
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
