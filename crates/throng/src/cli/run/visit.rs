//! A visit to a target: users made and logged in as a run does, something done with them, everything taken away again. No load,
//! and no report.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use throng_engine::StopSignals;
use throng_identity::provision::Identity;
use throng_metrics::Cleanup;
use throng_workflow::Crowd;

use super::prepare::Prepared;
use super::setup::{Made, unless_stopped};
use super::{sandbox, steps, teardown, work};
use crate::cli::args::RunArgs;
use crate::cli::narrator::{Detail, Narrator};
use crate::cli::signals::{Remains, SignalWatch};
use crate::cli::{CommandError, tell};

/// Random letters in a visit's own prefix.
const LETTERS: usize = 8;

/// What came of a visit.
pub(crate) struct Visited<T> {
    /// What was done with the users, or why nothing could be; `None` if a signal came before.
    pub(crate) result: Option<anyhow::Result<T>>,
    /// What was taken away.
    pub(crate) cleanup: Cleanup,
    /// The command that takes away what is left.
    removal: Option<String>,
}

impl<T> Visited<T> {
    /// Words about what is left on the target, if anything is.
    pub(crate) fn left(&self) -> Option<String> {
        let removal = self.removal.as_ref();
        let removal = removal.map_or(String::new(), |command| {
            format!("; remove it with: {command}")
        });
        (self.cleanup.left > 0).then(|| format!("what was created is still on the target{removal}"))
    }

    /// Says what is left, and gives what came of it: `None` if a signal came before the end.
    ///
    /// # Errors
    /// Where nothing could be done with the users.
    pub(crate) fn ended(self, stop: &StopSignals) -> Result<Option<T>, CommandError> {
        if let Some(left) = self.left() {
            tell(&format!("  ! {left}\n"));
        }
        match self.result {
            Some(worked) if !stop.drain.is_cancelled() => {
                worked.map(Some).map_err(CommandError::failed)
            }
            _ => Ok(None),
        }
    }
}

/// A prefix of users' names that no run has: a visit must not be in the way of a load that is going on.
pub(crate) fn own_prefix() -> String {
    let letters = (0..LETTERS).map(|_| char::from(b'a' + rand::random::<u8>() % 26));
    format!("throng-{}", letters.collect::<String>())
}

/// Sets up so many users with what a run's users work with, lets `work` do what it will with them, and takes them away,
/// whatever came of it. Where nobody logs in, there are no identities.
///
/// # Errors
/// Where the sandbox can't be started or nothing could be entered in the ledger.
pub(crate) async fn visit<T>(
    prepared: Prepared<'_>,
    args: &RunArgs,
    users: u32,
    detail: Detail,
    stop: &StopSignals,
    watch: SignalWatch,
    work: impl AsyncFnOnce(&Prepared<'_>, Arc<Crowd>, Vec<Identity>, &Narrator) -> anyhow::Result<T>,
) -> Result<Visited<T>, CommandError> {
    let with_crowd = async |prepared: &Prepared<'_>, made: &mut Made, narrator: &mut Narrator| {
        let (crowd, identities) = work::connect(prepared, made, stop, narrator).await?;
        let crowd = Arc::new(crowd);
        let worked = work(prepared, crowd.clone(), identities, narrator).await;
        work::close_sessions(crowd, stop, narrator).await;
        worked
    };
    attend(prepared, args, users, detail, stop, watch, with_crowd).await
}

/// From the sandbox, if one is wanted, to the cleanup: `work` makes so many users itself, and enters in [`Made`] what it makes.
///
/// # Errors
/// Where the sandbox can't be started or nothing could be entered in the ledger.
pub(crate) async fn attend<T>(
    mut prepared: Prepared<'_>,
    args: &RunArgs,
    users: u32,
    detail: Detail,
    stop: &StopSignals,
    watch: SignalWatch,
    work: impl AsyncFnOnce(&Prepared<'_>, &mut Made, &mut Narrator) -> anyhow::Result<T>,
) -> Result<Visited<T>, CommandError> {
    let steps = steps(&prepared.file.scenario, 0);
    let mut narrator = Narrator::new(detail, steps);
    let nothing = || Visited {
        result: None,
        cleanup: Cleanup::default(),
        removal: None,
    };
    let started = sandbox::start(&mut prepared, args, &narrator);
    let Ok(sandbox) = unless_stopped(stop, started).await else {
        return Ok(nothing());
    };
    let sandbox = sandbox?;
    if stop.drain.is_cancelled() {
        return Ok(nothing());
    }
    // Only now: the file was read again with the sandbox's address.
    prepared.file.scenario.users.count.value = users;
    let mut made = prepared.begin().await?;
    watch.would_leave(prepared.remains());
    let worked = AssertUnwindSafe(work(&prepared, &mut made, &mut narrator))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(work::bug(&*panic)));
    narrator.clear();
    let cleanup = teardown::leave(&prepared, &made, stop, &narrator).await;
    watch.would_leave(Remains::Nothing);
    sandbox::stop(sandbox, &narrator).await;
    drop(watch);
    Ok(Visited {
        // Words about a signal add nothing to the verdict that says so.
        result: match worked {
            Err(_) if stop.drain.is_cancelled() => None,
            worked => Some(worked),
        },
        cleanup,
        removal: prepared.cleanup_command(),
    })
}
