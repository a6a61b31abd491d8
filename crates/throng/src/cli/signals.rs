//! Ctrl-C and SIGTERM: the first drains, the second aborts, the third leaves at once.
//!
//! Draining starts nothing new and lets what runs finish; aborting gives up what is in flight. Either
//! way sessions are closed and users removed. Only the third signal skips that, and says what to do then.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use throng_engine::StopSignals;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CommandError;

/// Exit code of a process that was told to go at once: 128 + SIGINT, the shell's convention.
const LEFT_AT_ONCE: i32 = 130;

/// What a third signal leaves behind, as far as it's known by then.
#[derive(Clone, Debug)]
pub(crate) enum Remains {
    /// Nothing has been made yet, or all of it has been removed.
    Nothing,
    /// What was made ends with the sandbox, which ends with this process. Its ledger doesn't: this directory.
    Sandbox(PathBuf),
    /// Users and registrations on the target, which this command removes.
    OnTarget(String),
    /// Users on the target, which no command of throng's removes.
    ForGood,
}

/// All that a third signal would leave behind.
#[derive(Clone, Debug)]
struct Left {
    remains: Remains,
    /// The report's file while it is none yet.
    part: Option<PathBuf>,
}

/// Watches for signals and turns them into `stop`'s tokens for as long as the returned guard lives.
///
/// # Errors
/// Where the handlers can't be installed.
pub(crate) fn watch(stop: StopSignals) -> Result<SignalWatch, CommandError> {
    let heed = |kind| {
        signal(kind).map_err(|error| {
            CommandError::failed(anyhow::Error::new(error).context("watching for signals"))
        })
    };
    let mut interrupt = heed(SignalKind::interrupt())?;
    let mut terminate = heed(SignalKind::terminate())?;
    let mut hangup = heed(SignalKind::hangup())?;
    let left = Arc::new(Mutex::new(Left {
        remains: Remains::Nothing,
        part: None,
    }));
    let known = left.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "the guard holds its handle and ends it"
    )]
    let task = tokio::task::spawn(async move {
        let mut next = async || either(&mut interrupt, &mut terminate, &mut hangup).await;
        next().await;
        super::tell(
            "\nstopping: letting what runs finish, then cleaning up\n(a second time: without waiting for it)\n",
        );
        stop.drain.cancel();
        next().await;
        super::tell(
            "\nstopping now: giving up what is in flight, then cleaning up\n(a third time: leaving without cleaning up)\n",
        );
        stop.abort.cancel();
        next().await;
        let Left { remains, part } = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        super::tell(&format!("\n{}\n", farewell(&remains)));
        // Best effort, in a hurry; the directory is a temporary one, and the file may have got its name by now.
        if let Remains::Sandbox(directory) = remains {
            let _ = std::fs::remove_dir_all(directory);
        }
        if let Some(part) = part {
            let _ = std::fs::remove_file(part);
        }
        super::exit::leave(LEFT_AT_ONCE);
    });
    Ok(SignalWatch { task, left })
}

fn farewell(remains: &Remains) -> String {
    match remains {
        Remains::Nothing => "left at once; nothing that was created is left".to_owned(),
        Remains::Sandbox(_) => {
            "left at once; all that was created is gone with the sandbox".to_owned()
        }
        Remains::OnTarget(command) => {
            format!("left without cleaning up; remove what stayed with\n  {command}")
        }
        Remains::ForGood => {
            "left without cleaning up; users that registered at the target stay there".to_owned()
        }
    }
}

async fn either(one: &mut Signal, two: &mut Signal, three: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = two.recv() => {}
        _ = three.recv() => {}
    }
}

/// Ends the watching when dropped.
pub(crate) struct SignalWatch {
    task: tokio::task::JoinHandle<()>,
    left: Arc<Mutex<Left>>,
}

impl SignalWatch {
    /// Says what a third signal would leave behind from now on.
    pub(crate) fn would_leave(&self, remains: Remains) {
        self.left().remains = remains;
    }

    /// Says which half-written report a third signal is to remove.
    pub(crate) fn would_leave_part(&self, part: Option<&Path>) {
        self.left().part = part.map(Path::to_owned);
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
