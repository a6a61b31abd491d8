//! A sandbox in this process, the binary against it, and what came of it.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use throng_sandbox::{NextcloudConfig, NextcloudSandbox, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// The administrator's password. Long and odd, so that finding it in an output is no accident.
pub(crate) const ADMIN_PASSWORD: &str = "Aq7-sesame-opens-nothing-Zx9";

/// Nothing that is waited for takes so long on any machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(
            begin.elapsed() < DEADLINE,
            "still not so after {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A sandbox, and a home for a user who works with it.
pub(crate) struct World {
    pub(crate) sandbox: NextcloudSandbox,
    pub(crate) home: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration than the default, which lifts the limits that tests would run into.
    pub(crate) async fn with(change: impl FnOnce(&mut NextcloudConfig)) -> Self {
        let mut config = NextcloudConfig {
            registrations_per_minute: None,
            throttle: false,
            ..NextcloudConfig::default()
        };
        config.admin.password = Secret::new(ADMIN_PASSWORD);
        change(&mut config);
        Self {
            sandbox: NextcloudSandbox::start(config).await.expect("a sandbox"),
            home: home(),
        }
    }

    /// A path in this user's home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The binary with arguments, and the environment of this user.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = throng(self.home.path(), arguments);
        command
            .env("NEXTCLOUD_HOST", self.sandbox.url())
            .env("NEXTCLOUD_USERNAME", "admin")
            .env("NEXTCLOUD_PASSWORD", ADMIN_PASSWORD);
        command
    }

    /// Starts it.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        Running::start(self.command(arguments), self.home.path())
    }

    /// Starts `throng run nextcloud` on this sandbox, with a report. Further arguments are separated by blanks.
    pub(crate) fn run(&self, arguments: &str) -> Running {
        self.run_scenario("nextcloud", arguments)
    }

    /// [`World::run`] to its end, which must be by this exit code.
    pub(crate) async fn ran(&self, arguments: &str, code: i32) -> Ended {
        self.run(arguments).ended().await.with_code(code)
    }

    /// [`World::run`] by a process that finds other programs.
    pub(crate) fn run_with_path(&self, arguments: &str) -> Running {
        self.run_command("nextcloud", arguments, |command| {
            command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
        })
    }

    pub(crate) fn run_scenario(&self, scenario: &str, arguments: &str) -> Running {
        self.run_command(scenario, arguments, |_| {})
    }

    /// Starts `throng run SCENARIO` by a command that is changed before.
    pub(crate) fn run_command(
        &self,
        scenario: &str,
        arguments: &str,
        change: impl FnOnce(&mut Command),
    ) -> Running {
        let report = self.path("report.json");
        let _ = std::fs::remove_file(&report);
        let mut all = vec![
            "run".to_owned(),
            scenario.to_owned(),
            "--url".to_owned(),
            self.sandbox.mcp_url().to_owned(),
            "--output".to_owned(),
            report.to_str().expect("a UTF-8 path").to_owned(),
        ];
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let mut command = self.command(all);
        change(&mut command);
        let mut running = Running::start(command, self.home.path());
        running.report = Some(report);
        running
    }

    /// `throng cleanup` with further arguments.
    pub(crate) async fn cleanup(&self, arguments: &str) -> Ended {
        let arguments = std::iter::once("cleanup").chain(arguments.split_whitespace());
        self.start(arguments).ended().await
    }

    /// All users of the sandbox but its administrator, sorted.
    pub(crate) async fn users(&self) -> Vec<String> {
        let (status, body) = request(self.sandbox.url(), "GET", "/__sandbox/users", "").await;
        assert_eq!(status, 200, "{body}");
        let mut users: Vec<String> = serde_json::from_str(&body).expect("a list of users");
        users.retain(|user| user != "admin");
        users.sort();
        users
    }

    /// Creates a user as an administrator would.
    pub(crate) async fn create_user(&self, name: &str) {
        let form = format!("userid={name}&password=not-one-of-ours-8Kd");
        let path = "/ocs/v2.php/cloud/users?format=json";
        let (status, body) = request(self.sandbox.url(), "POST", path, &form).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// Writes a scenario of an HTTP target whose users log in by a request, with the lines of its directory; gives back the file's path.
pub(crate) fn small_scenario(
    home: &Path,
    url: &str,
    directory: &str,
    users: &str,
    duration: &str,
) -> String {
    let source = format!(
        "name: small
target: {{ protocol: http, url: \"{url}\" }}
directory:
{directory}
login: {{ kind: request, request: {{ post: /login }} }}
users: {{ count: {users}, prefix: reg }}
load: {{ duration: {duration}, warmup: 0s, pause: 10ms }}
workflows:
  w:
    actors: [me]
    steps:
      - read: {{ get: /things }}
"
    );
    let file = home.join("small.yaml");
    std::fs::write(&file, source).expect("written");
    file.to_str().expect("a plain path").to_owned()
}

/// An empty home directory.
pub(crate) fn home() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The binary in a home directory of its own, as in a terminal of 80 columns and with nothing else in its environment.
pub(crate) fn throng<S: AsRef<OsStr>>(
    home: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("TMPDIR", home)
        .env("COLUMNS", "80")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A started process, whose outputs go to files.
pub(crate) struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    pub(crate) report: Option<PathBuf>,
    begun: Instant,
}

impl Running {
    pub(crate) fn start(mut command: Command, home: &Path) -> Self {
        let (stdout, stderr) = (home.join("stdout.txt"), home.join("stderr.txt"));
        let file = |path: &Path| File::create(path).expect("a file for the output");
        command.stdout(file(&stdout)).stderr(file(&stderr));
        Self {
            child: command.spawn().expect("the binary starts"),
            stdout,
            stderr,
            report: None,
            begun: Instant::now(),
        }
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().expect("not collected yet");
        Pid::from_raw(id.cast_signed()).expect("a process id")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it still runs");
    }

    /// What it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        read(&self.stderr)
    }

    /// Whether it ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it can be waited for")
            .is_some()
    }

    /// Waits until something holds; the process must not end before.
    pub(crate) async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            let waited = begin.elapsed();
            if self.has_ended() || waited > DEADLINE {
                panic!(
                    "{what}: not so after {waited:?}, when it {}; it said:\n{}",
                    if self.has_ended() {
                        "ended"
                    } else {
                        "still ran"
                    },
                    self.said()
                );
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(DEADLINE, self.child.wait())
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "it didn't end within {DEADLINE:?}; it said:\n{}",
                    self.said()
                )
            })
            .expect("it can be waited for");
        Ended {
            code: status.code(),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
            report: self
                .report
                .filter(|path| path.exists())
                .map(|path| serde_json::from_str(&read(&path)).expect("a report in JSON")),
            took: self.begun.elapsed(),
        }
    }
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("an output");
    String::from_utf8(bytes).expect("output in UTF-8")
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Option<Value>,
    pub(crate) took: Duration,
}

impl Ended {
    /// Asserts how it ended, and shows what it said if otherwise.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn report(&self) -> &Value {
        self.report
            .as_ref()
            .unwrap_or_else(|| panic!("no report: {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {:?} after {:?}\n--- standard output\n{}\n--- standard error\n{}",
            self.code, self.took, self.stdout, self.stderr
        )
    }
}

/// One request as the sandbox's administrator, on a connection of its own; nothing of what is tested takes part.
pub(crate) async fn request(origin: &str, method: &str, path: &str, form: &str) -> (u16, String) {
    // `admin:` and the password above in base64.
    const BASIC: &str = "YWRtaW46QXE3LXNlc2FtZS1vcGVucy1ub3RoaW5nLVp4OQ==";
    let address = origin.strip_prefix("http://").expect("a plain origin");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nOCS-APIRequest: true\r\n\
         Accept: application/json\r\nAuthorization: Basic {BASIC}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("an answer in UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// An address at which nothing listens and, while this lives, nothing can: its port is the near end of a connection.
pub(crate) struct NobodyThere {
    near: TcpStream,
    _far: TcpListener,
}

impl NobodyThere {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).await;
        Self {
            near: near.expect("a connection"),
            _far: listener,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.near.local_addr().expect("an address"))
    }
}
