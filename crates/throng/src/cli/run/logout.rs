//! How users' sessions end: by the scenario's `login.logout`, also of those who were logged in for a run that never began.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use throng_engine::StopSignals;
use throng_identity::hooks::Hook;
use throng_identity::provision::{HalfReady, Identity};
use throng_workflow::{Logout, Scenario};

use super::hooks::Places;
use super::setup::Wanted;
use crate::cli::narrator::Narrator;

/// How long ending all sessions may take.
const LIMIT: Duration = Duration::from_secs(15);
/// The same when somebody waits for it.
const LIMIT_AFTER_ABORT: Duration = Duration::from_secs(2);

/// The request by which each user logs out.
pub(super) fn request(scenario: &Scenario) -> anyhow::Result<Option<Arc<Hook>>> {
    let Some(request) = &scenario.login.logout else {
        return Ok(None);
    };
    let hook = Places::of(scenario)?.hook("logout", request)?;
    Ok(Some(Arc::new(hook)))
}

/// Waits for sessions to end, but not at any price: a target that hangs must not keep the users from being removed.
pub(super) async fn in_time<T>(stop: &StopSignals, ending: impl Future<Output = T>) -> Option<T> {
    let aborted = stop.abort.is_cancelled();
    let limit = if aborted { LIMIT_AFTER_ABORT } else { LIMIT };
    tokio::select! {
        ended = ending => Some(ended),
        () = tokio::time::sleep(limit) => None,
        () = stop.abort.cancelled(), if !aborted => None,
    }
}

/// Says how it went: how many users were to log out, and of which sessions the end failed, if it was waited for.
pub(super) fn tell(logouts: usize, failed: Option<Vec<String>>, narrator: &Narrator) {
    match failed.as_deref() {
        Some([]) if logouts > 0 => narrator.done(&format!("{logouts} users logged out")),
        Some([]) => {}
        Some(failed @ [first, ..]) => narrator.warn(&format!(
            "{} sessions were not ended properly; the first: {first}",
            failed.len()
        )),
        None => narrator.warn("the target is slow to end the sessions: some are left to it"),
    }
}

/// Logs out users who are not to work after all, since some of them could not be made ready or a signal came. Of the
/// `half_ready` nobody knows whether they have a session, so that a logout of theirs that fails says nothing.
pub(super) async fn after_all(
    wanted: &Wanted<'_>,
    identities: Vec<Identity>,
    half_ready: Vec<HalfReady>,
    narrator: &Narrator,
) -> anyhow::Result<()> {
    let Some(request) = request(wanted.scenario)? else {
        return Ok(());
    };
    let timeout = wanted.scenario.target.timeout.0;
    let logouts = identities.len();
    let ready = identities.into_iter().map(|identity| {
        let values = identity.values();
        (identity.name, identity.client, values, true)
    });
    let others = half_ready
        .into_iter()
        .map(|user| (user.name, user.client, user.values, false));
    let ending = stream::iter(ready.chain(others))
        .map(|(name, client, values, ready)| {
            let logout = Logout {
                request: request.clone(),
                values,
            };
            async move {
                let error = logout.send(&client, timeout).await.err()?;
                let words = format!("ending the session of {name}: {error}");
                tracing::debug!(ready, "{words}");
                ready.then_some(words)
            }
        })
        .buffer_unordered(wanted.login_concurrency.max(1) as usize)
        .filter_map(|failed| async move { failed })
        .collect();
    tell(logouts, in_time(wanted.stop, ending).await, narrator);
    Ok(())
}
