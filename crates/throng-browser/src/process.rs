//! Processes that end with us, however we end.
//!
//! Each program runs in a process group of its own, where no Ctrl-C of the terminal reaches it. Beside them runs a small shell
//! script, the keeper: it reads from a pipe whose other end we hold, and when that closes, because we closed it, panicked or were
//! killed, it kills the groups and removes the directory with the profile. A program starts through a shell that waits for a
//! word from us before it becomes the program: by then the keeper knows its group, so that there is no moment in which a
//! program runs that nobody would end.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::BrowserError;

/// The variable that all processes of a browser have in their environment, with the directory of its profile as its value.
pub const MARKER: &str = "THRONG_BROWSER";

/// What a browser is told of our environment. The rest may hold passwords, which it has no use for.
const HANDED_ON: [&str; 14] = [
    "DISPLAY",
    "FONTCONFIG_FILE",
    "FONTCONFIG_PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LIBGL_ALWAYS_SOFTWARE",
    "PATH",
    "TZ",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
];

/// Kept lines of a program's standard error.
const LAST_LINES: usize = 6;
/// Longest kept line, in bytes.
const LINE_BYTES: usize = 300;
/// How long the keeper is waited for.
const KEEPER_LIMIT: Duration = Duration::from_secs(10);

/// Reads `+ GROUP` and `- GROUP`; at the end of its input kills the groups that are left and removes `$1`.
const KEEPER: &str = r#"
trap '' INT TERM HUP QUIT
groups=
while read -r sign group; do
  rest=
  for one in $groups; do [ "$one" = "$group" ] || rest="$rest $one"; done
  groups=$rest
  [ "$sign" = + ] && groups="$groups $group"
done
for one in $groups; do kill -s KILL -- "-$one" 2>/dev/null; done
tries=0
while [ $tries -lt 40 ]; do
  tries=$((tries + 1))
  left=
  for one in $groups; do kill -s 0 -- "-$one" 2>/dev/null && left=1; done
  [ -z "$left" ] && rm -rf -- "$1" 2>/dev/null && exit 0
  sleep 0.05
done
rm -rf -- "$1"
"#;

/// Waits for a word and becomes the program.
const STARTER: &str = r#"read -r go && exec "$@" </dev/null"#;
/// The same, with what we write as the program's descriptor 3 and what we read as 4.
const PIPED_STARTER: &str = r#"read -r go && exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

/// The directory of one browser, and the keeper of its processes.
#[derive(Debug)]
pub(crate) struct Keeper {
    directory: PathBuf,
    /// Taken when it is told to end.
    lifeline: Option<ChildStdin>,
    child: Child,
}

impl Keeper {
    /// Makes the directory and starts the keeper.
    pub(crate) fn start(temporary: &Path) -> Result<Self, BrowserError> {
        let profile = |error: io::Error| BrowserError::Profile {
            directory: temporary.to_owned(),
            reason: error.to_string(),
        };
        // Readable by its owner alone.
        let made = tempfile::Builder::new()
            .prefix("throng-browser-")
            .tempdir_in(temporary)
            .map_err(profile)?;
        for below in ["home", "tmp"] {
            std::fs::create_dir(made.path().join(below)).map_err(profile)?;
        }
        let mut child = Command::new("/bin/sh")
            .args(["-c", KEEPER, "throng-browser-keeper"])
            .arg(made.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| BrowserError::start(Path::new("/bin/sh"), &error))?;
        let lifeline = child.stdin.take();
        Ok(Self {
            // From here on the keeper's.
            directory: made.keep(),
            lifeline,
            child,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    async fn tell(&mut self, line: &str) -> io::Result<()> {
        let lifeline = self.lifeline.as_mut();
        let lifeline = lifeline.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        lifeline.write_all(line.as_bytes()).await?;
        lifeline.flush().await
    }

    /// Starts a program with the directory as its home. `pipes` gives it descriptors 3 and 4 to talk by.
    pub(crate) async fn spawn(&mut self, wanted: &Program<'_>) -> Result<Process, BrowserError> {
        let failed = |error: io::Error| BrowserError::start(wanted.program, &error);
        let home = self.directory.join("home");
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(if wanted.pipes { PIPED_STARTER } else { STARTER })
            .arg("sh")
            .arg(wanted.program)
            .args(&wanted.arguments)
            .env_clear()
            .envs(handed_on())
            .env(MARKER, &self.directory)
            // Nothing of it stays behind in the user's home, nor in the common temporary directory.
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("TMPDIR", self.directory.join("tmp"))
            // No message bus is started for it.
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .env("NO_AT_BRIDGE", "1")
            .env("GTK_A11Y", "none")
            .envs(wanted.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = group.ok_or_else(|| failed(io::Error::other("it has no process id")))?;
        self.tell(&format!("+ {}\n", group.as_raw_nonzero()))
            .await
            .map_err(failed)?;
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            stdin.write_all(b"go\n").await.map_err(failed)?;
            stdin.flush().await.map_err(failed)?;
        }
        let words = LastWords::default();
        let mut tasks = JoinSet::new();
        let (line_out, lines) = watch::channel(None);
        if let Some(stderr) = child.stderr.take() {
            tasks.spawn(listen(stderr, words.clone(), wanted.awaited, line_out));
        }
        Ok(Process {
            program: wanted.program.to_owned(),
            group,
            stdout: child.stdout.take(),
            stdin,
            child,
            words,
            line: lines,
            tasks,
        })
    }

    /// Ends a program that was started, whatever of it still runs.
    pub(crate) async fn end(&mut self, mut process: Process, patience: Duration) {
        // As long as it is not waited for, its number can be nobody else's.
        let exited = tokio::time::timeout(patience, process.child.wait()).await;
        let _gone = rustix::process::kill_process_group(process.group, Signal::KILL);
        if exited.is_err() {
            // Killed: it ends at once.
            if let Err(error) = process.child.wait().await {
                tracing::debug!(%error, "waiting for a browser that was killed");
            }
        }
        if let Err(error) = self
            .tell(&format!("- {}\n", process.group.as_raw_nonzero()))
            .await
        {
            tracing::debug!(%error, "the keeper of a browser has gone");
        }
    }

    /// Has the directory removed, and waits for that.
    pub(crate) async fn finish(mut self) {
        self.lifeline = None;
        match tokio::time::timeout(KEEPER_LIMIT, self.child.wait()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "waiting for the keeper of a browser"),
            Err(_) => tracing::warn!(
                directory = %self.directory.display(),
                "a browser's profile is not gone yet"
            ),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "handed on to a program, nothing is decided by it"
)]
fn handed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| HANDED_ON.iter().any(|known| name == known))
}

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// It talks by its descriptors 3 and 4.
    pub(crate) pipes: bool,
    /// What the line of standard error has that is waited for.
    pub(crate) awaited: Option<&'static str>,
}

impl<'a> Program<'a> {
    pub(crate) fn new(program: &'a Path) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            pipes: false,
            awaited: None,
        }
    }
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) program: PathBuf,
    group: Pid,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    child: Child,
    pub(crate) words: LastWords,
    line: watch::Receiver<Option<String>>,
    tasks: JoinSet<()>,
}

impl Process {
    /// The awaited line of standard error.
    pub(crate) async fn line(&mut self, limit: Duration) -> Result<String, BrowserError> {
        let line = async {
            match self.line.wait_for(Option::is_some).await {
                Ok(line) => line.clone(),
                Err(_) => None,
            }
        };
        match tokio::time::timeout(limit, line).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(self.ended()),
            Err(_) => Err(BrowserError::NotReady {
                program: self.program.clone(),
                waited: limit,
                said: self.words.said(),
            }),
        }
    }

    pub(crate) fn ended(&self) -> BrowserError {
        BrowserError::Ended {
            program: self.program.clone(),
            said: self.words.said(),
        }
    }

    /// Waits until the program has ended, and says so.
    pub(crate) async fn ended_soon_if_it_ends(&mut self) -> BrowserError {
        if let Err(error) = self.child.wait().await {
            tracing::debug!(%error, "waiting for a browser");
        }
        self.ended_soon().await
    }

    /// The error of a program that closed its pipes: its last words may still be on their way.
    pub(crate) async fn ended_soon(&mut self) -> BrowserError {
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        let _elapsed = tokio::time::timeout(Duration::from_secs(1), rest).await;
        self.ended()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

async fn listen(
    stderr: tokio::process::ChildStderr,
    words: LastWords,
    awaited: Option<&'static str>,
    found: watch::Sender<Option<String>>,
) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        if let Some(at) = awaited.and_then(|awaited| line.find(awaited)) {
            found.send_replace(Some(line[at..].trim().to_owned()));
        } else {
            words.add(&line);
        }
    }
}

/// The last lines that a program wrote to standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn add(&self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let mut lines = self.0.lock().expect("no panic while locked");
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(without_secrets(line));
    }

    pub(crate) fn said(&self) -> String {
        let lines = self.0.lock().expect("no panic while locked");
        lines.iter().cloned().collect::<Vec<_>>().join(" | ")
    }
}

/// A browser may write addresses, and these have codes in their queries; and anything long is cut.
fn without_secrets(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        let word = match word.find(['?', '#']).filter(|_| word.contains("://")) {
            Some(at) => &word[..=at],
            None => word,
        };
        out.push_str(word);
    }
    let end = (0..=LINE_BYTES.min(out.len()))
        .rev()
        .find(|at| out.is_char_boundary(*at));
    out.truncate(end.unwrap_or(0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_have_no_queries_and_are_few() {
        let words = LastWords::default();
        for n in 0..10 {
            words.add(&format!(
                "line {n} of http://h/callback?code=s3cret&state=x"
            ));
        }
        let said = words.said();
        assert!(said.starts_with("line 4 of http://h/callback?"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(said.matches(" | ").count(), LAST_LINES - 1);
        assert!(without_secrets(&"ä".repeat(500)).len() <= LINE_BYTES);
    }
}
