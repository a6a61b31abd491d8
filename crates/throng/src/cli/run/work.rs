//! The run proper: set-up, sessions, load. Whatever goes wrong in it, a panic included, comes back as words, so that
//! what was made can still be taken away and the report written.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use throng_engine::{RunOutcome, StopSignals};

use super::prepare::Prepared;
use super::setup::{Made, Wanted, set_up};
use crate::cli::narrator::Narrator;

/// What a run came to.
#[derive(Default)]
pub(crate) struct Worked {
    /// The load's outcome; none if it never began.
    pub(crate) outcome: Option<RunOutcome>,
    /// Why the set-up failed; empty if it didn't.
    pub(crate) failures: Vec<String>,
    /// Versions of the parties involved, by name.
    pub(crate) versions: Vec<(String, String)>,
}

/// Sets up and runs the load.
pub(crate) async fn work(
    prepared: &Prepared,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> Worked {
    let mut worked = Worked::default();
    let result = AssertUnwindSafe(load(prepared, made, stop, narrator, &mut worked))
        .catch_unwind()
        .await;
    narrator.clear();
    match result {
        Ok(Ok(())) => {}
        // Words about a signal add nothing to the verdict that says so.
        Ok(Err(_)) if stop.drain.is_cancelled() => {}
        Ok(Err(error)) => {
            let words = format!("{error:#}");
            narrator.warn(&words);
            worked.failures.push(words);
        }
        Err(panic) => worked
            .failures
            .push(format!("this is a bug in throng: {}", words_of(&*panic))),
    }
    worked
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

async fn load(
    prepared: &Prepared,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
    worked: &mut Worked,
) -> anyhow::Result<()> {
    let scenario = &prepared.file.scenario;
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
    let identities = set_up(&wanted, made, narrator).await?;
    let _ = (identities, worked);
    Ok(())
}
