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
use super::{start_sandbox, steps, teardown, work};
use crate::cli::CommandError;
use crate::cli::args::RunArgs;
use crate::cli::narrator::{Detail, Narrator};
use crate::cli::settings::Place;
use crate::cli::signals::{Remains, SignalWatch};

/// What came of a visit.
pub(crate) struct Visited<T> {
    /// What was done with the users, or why nothing could be; `None` if a signal came before.
    pub(crate) result: Option<anyhow::Result<T>>,
    /// What was taken away.
    pub(crate) cleanup: Cleanup,
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
    };
    let sandbox = match prepared.place {
        Place::Sandbox => {
            let started = start_sandbox(&mut prepared, args, &narrator);
            match unless_stopped(stop, started).await {
                Ok(sandbox) => Some(sandbox?),
                Err(_) => return Ok(nothing()),
            }
        }
        Place::Target => None,
    };
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
    let (place, concurrency) = (prepared.place, prepared.login_concurrency);
    let cleanup = if prepared.cleans_up {
        teardown::clean_up(&made, place, concurrency, &stop.abort, &narrator).await
    } else {
        let command = prepared.cleanup_command();
        teardown::keep(&made, place, command.as_deref(), &narrator).await
    };
    watch.would_leave(Remains::Nothing);
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        narrator.warn(&format!("{error:#}"));
    }
    drop(watch);
    Ok(Visited {
        // Words about a signal add nothing to the verdict that says so.
        result: match worked {
            Err(_) if stop.drain.is_cancelled() => None,
            worked => Some(worked),
        },
        cleanup,
    })
}
