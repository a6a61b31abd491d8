//! A stay at a target: users made and logged in as a run does, something done with them, everything taken away again. No
//! sessions of a workflow, no load, no report.

use throng_engine::StopSignals;
use throng_identity::provision::Identity;
use throng_workflow::model::LoginKind;

use super::prepare::Prepared;
use super::setup::{Made, Wanted, set_up};
use super::visit::attend;
use crate::cli::CommandError;
use crate::cli::args::RunArgs;
use crate::cli::narrator::{Detail, Narrator};
use crate::cli::signals::SignalWatch;

/// Sets up so many users (none where nobody logs in), lets `work` do what it will with them, and takes them away, whatever
/// came of it. `None` if a signal came before the end.
///
/// # Errors
/// Where the sandbox can't be started, nothing could be entered in the ledger, or the set-up or `work` failed.
pub(crate) async fn stay<T>(
    prepared: Prepared<'_>,
    args: &RunArgs,
    users: u32,
    detail: Detail,
    stop: &StopSignals,
    watch: SignalWatch,
    work: impl AsyncFnOnce(&Prepared<'_>, Vec<Identity>, &Narrator) -> anyhow::Result<T>,
) -> Result<Option<T>, CommandError> {
    let with_users = async |prepared: &Prepared<'_>, made: &mut Made, narrator: &mut Narrator| {
        let identities = identities(prepared, made, stop, narrator).await?;
        work(prepared, identities, narrator).await
    };
    attend(prepared, args, users, detail, stop, watch, with_users)
        .await?
        .ended(stop)
}

/// Makes the users of a scenario and logs them in.
pub(crate) async fn identities(
    prepared: &Prepared<'_>,
    made: &mut Made,
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
        driver: prepared.driver.clone(),
        known: prepared.known.clone(),
        login_concurrency: prepared.login_concurrency,
        phases: "",
        cleanup_command: prepared.cleanup_command(),
        stop,
        revokes: false,
    };
    let (_, identities) = set_up(&wanted, made, narrator).await?;
    Ok(identities)
}
