//! A stay at a target: users made and logged in as a run does, something done with them, everything taken away again. No
//! sessions of a workflow, no load, no report.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use throng_engine::StopSignals;
use throng_identity::provision::Identity;
use throng_workflow::model::LoginKind;

use super::prepare::Prepared;
use super::setup::{Wanted, set_up, unless_stopped};
use super::{start_sandbox, steps, teardown, work};
use crate::cli::CommandError;
use crate::cli::args::RunArgs;
use crate::cli::narrator::{Detail, Narrator};
use crate::cli::settings::Place;
use crate::cli::signals::{Remains, SignalWatch};

/// Sets up so many users (none where nobody logs in), lets `work` do what it will with them, and takes them away, whatever
/// came of it. `None` if a signal came before the end.
///
/// # Errors
/// Where the sandbox can't be started, nothing could be entered in the ledger, or the set-up or `work` failed.
pub(crate) async fn stay<T>(
    mut prepared: Prepared<'_>,
    args: &RunArgs,
    users: u32,
    detail: Detail,
    stop: &StopSignals,
    watch: SignalWatch,
    work: impl AsyncFnOnce(&Prepared<'_>, Vec<Identity>, &Narrator) -> anyhow::Result<T>,
) -> Result<Option<T>, CommandError> {
    let mut narrator = Narrator::new(detail, steps(&prepared.file.scenario, 0));
    let sandbox = match prepared.place {
        Place::Sandbox => {
            let started = start_sandbox(&mut prepared, args, &narrator);
            match unless_stopped(stop, started).await {
                Ok(sandbox) => Some(sandbox?),
                Err(_) => return Ok(None),
            }
        }
        Place::Target => None,
    };
    if stop.drain.is_cancelled() {
        return Ok(None);
    }
    // Only now: the file was read again with the sandbox's address.
    prepared.file.scenario.users.count.value = users;
    let mut made = prepared.begin().await?;
    watch.would_leave(prepared.remains());
    let worked = AssertUnwindSafe(async {
        let identities = identities(&prepared, &mut made, stop, &mut narrator).await?;
        work(&prepared, identities, &narrator).await
    });
    let worked = worked
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(work::bug(&*panic)));
    narrator.clear();
    let (place, concurrency) = (prepared.place, prepared.login_concurrency);
    let cleanup = teardown::clean_up(&made, place, concurrency, &stop.abort, &narrator).await;
    watch.would_leave(Remains::Nothing);
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        narrator.warn(&format!("{error:#}"));
    }
    drop(watch);
    if cleanup.left > 0 {
        let removal = prepared.cleanup_command().map_or(String::new(), |command| {
            format!("; remove it with: {command}")
        });
        narrator.warn(&format!("what was created is still on the target{removal}"));
    }
    match worked {
        _ if stop.drain.is_cancelled() => Ok(None),
        worked => worked.map(Some).map_err(CommandError::failed),
    }
}

/// Makes the users of a scenario and logs them in.
async fn identities(
    prepared: &Prepared<'_>,
    made: &mut super::setup::Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<Vec<Identity>> {
    let scenario = &prepared.file.scenario;
    if scenario.login.kind == LoginKind::None {
        return Ok(Vec::new());
    }
    let (names, prefix) = throng_workflow::users::templates(&scenario.users)?;
    let wanted = Wanted {
        scenario,
        names,
        prefix,
        connector: prepared.connector.clone(),
        login_concurrency: prepared.login_concurrency,
        cleanup_command: prepared.cleanup_command(),
        stop,
    };
    set_up(&wanted, made, narrator).await
}
