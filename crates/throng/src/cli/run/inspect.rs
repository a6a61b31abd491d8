//! A look at what a target offers: connects as a run does, with one user, lists the tools, and takes everything away again.
//! No load, and no report.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use futures_util::FutureExt;
use throng_client::mcp::Tools;
use throng_engine::StopSignals;
use throng_fuzz::shell;
use throng_metrics::Verdict;
use throng_workflow::Problem;
use throng_workflow::model::{DirectoryKind, LoginKind, Protocol};

use super::job::FileJob;
use super::prepare::Prepared;
use super::setup::{Made, unless_stopped};
use super::{start_sandbox, teardown, work};
use crate::cli::args::{ClientArgs, RunArgs, TargetArgs};
use crate::cli::narrator::Narrator;
use crate::cli::settings::Place;
use crate::cli::signals::{self, Remains, SignalWatch};
use crate::cli::{CommandError, Output, runtime};

/// Random letters in the prefix of the user's name.
const LETTERS: usize = 8;

/// What was seen.
pub(crate) struct Seen {
    /// Where.
    pub(crate) url: String,
    /// What the target offers.
    pub(crate) tools: Arc<Tools>,
    /// Every place where the scenario doesn't fit it.
    pub(crate) problems: Vec<Problem>,
}

/// Connects to the target of a scenario, with one user, and looks at its tools.
///
/// # Errors
/// Where the scenario is faulty, the target can't be reached, a signal came, or what was made could not be taken away.
pub(crate) fn inspect(
    scenario: Option<&str>,
    target: &TargetArgs,
    oauth_client: &ClientArgs,
    output: Output,
) -> Result<Seen, CommandError> {
    let args = RunArgs {
        scenario: scenario.map(str::to_owned),
        target: target.clone(),
        oauth_client: oauth_client.clone(),
        ..RunArgs::default()
    };
    runtime()?.block_on(async {
        let stop = StopSignals::default();
        let watch = signals::watch(stop.clone()).map_err(|error| {
            CommandError::failed(anyhow!(error).context("watching for signals"))
        })?;
        let prepared = Prepared::new(&args, output, &FileJob)?;
        // Before anything is created, since not every target deletes its users.
        if prepared.file.scenario.target.protocol == Protocol::Http {
            return Err(CommandError::usage(anyhow!(
                "{}: an HTTP target can't be asked what it offers; its paths are known once they are tried: throng run {}{} -u 1 -d 1",
                prepared.file.origin,
                shell::word(&prepared.file.origin),
                flags(target),
            )));
        }
        if would_leave_a_user(&prepared) {
            return Err(CommandError::usage(anyhow!(
                "{}: a look needs a user, who would stay for good: `directory` has no `delete`",
                prepared.file.origin,
            )));
        }
        look(prepared, &args, &stop, watch).await
    })
}

/// The flags that name a target, as they were given.
fn flags(target: &TargetArgs) -> String {
    let mut text = String::new();
    let mut add = |flag: &str, value: Option<&str>| {
        text.push_str(&format!(" {flag}"));
        if let Some(value) = value {
            text.push_str(&format!(" {}", shell::word(value)));
        }
    };
    if target.sandbox {
        add("--sandbox", None);
    }
    let path = |path: &PathBuf| path.display().to_string();
    let knobs = target.sandbox_knobs.as_ref().map(path);
    let cacert = target.cacert.as_ref().map(path);
    let given = [
        ("--sandbox-knobs", &knobs),
        ("--url", &target.url),
        ("--host", &target.host),
        ("--admin", &target.admin),
        ("--cacert", &cacert),
    ];
    for (flag, value) in given {
        if let Some(value) = value {
            add(flag, Some(value));
        }
    }
    if let Some(bugs) = &target.sandbox_bugs {
        let names: Vec<&str> = bugs.iter().map(throng_sandbox::Bug::name).collect();
        add("--sandbox-bugs", Some(&names.join(",")));
    }
    if target.insecure {
        add("--insecure", None);
    }
    text
}

/// Whether the user with whom a look is taken could not be taken away again.
fn would_leave_a_user(prepared: &Prepared<'_>) -> bool {
    let scenario = &prepared.file.scenario;
    prepared.place == Place::Target
        && scenario.login.kind != LoginKind::None
        && scenario.directory.as_ref().is_some_and(|directory| {
            directory.kind == DirectoryKind::Register && directory.delete.is_none()
        })
}

async fn look(
    mut prepared: Prepared<'_>,
    args: &RunArgs,
    stop: &StopSignals,
    watch: SignalWatch,
) -> Result<Seen, CommandError> {
    let steps = super::steps(&prepared.file.scenario, 0);
    // What is listed is the output; how it was come by is of interest only where it fails.
    let mut narrator = Narrator::new(prepared.output.detail_if_verbose(), steps);
    let sandbox = match prepared.place {
        Place::Sandbox => {
            let started = start_sandbox(&mut prepared, args, &narrator);
            let started = unless_stopped(stop, started).await;
            Some(started.map_err(|_| stopped())??)
        }
        Place::Target => None,
    };
    if stop.drain.is_cancelled() {
        return Err(stopped());
    }
    take_one_user(&mut prepared);
    let mut made = prepared.begin().await?;
    watch.would_leave(prepared.remains());
    let seen = AssertUnwindSafe(see(&prepared, &mut made, stop, &mut narrator))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(work::bug(&*panic)));
    narrator.clear();
    let concurrency = prepared.login_concurrency;
    let place = prepared.place;
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
    if stop.drain.is_cancelled() {
        return Err(stopped());
    }
    let seen = seen.map_err(CommandError::failed)?;
    if cleanup.left > 0 {
        return Err(CommandError {
            code: Verdict::CleanupIncomplete.exit_code(),
            error: anyhow!("cleanup incomplete"),
        });
    }
    Ok(seen)
}

fn stopped() -> CommandError {
    CommandError {
        code: Verdict::Interrupted.exit_code(),
        error: anyhow!("stopped by a signal"),
    }
}

/// One user is enough to look, under a name that no run has: a look must not be in the way of a load that is going on.
fn take_one_user(prepared: &mut Prepared<'_>) {
    let users = &mut prepared.file.scenario.users;
    users.count.value = 1;
    let letters = (0..LETTERS).map(|_| char::from(b'a' + rand::random::<u8>() % 26));
    users.prefix.value = format!("throng-{}", letters.collect::<String>());
}

async fn see(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<Seen> {
    let (crowd, _) = work::connect(prepared, made, stop, narrator).await?;
    let crowd = Arc::new(crowd);
    let tools = unless_stopped(stop, work::tools(&crowd)).await.flatten();
    work::close_sessions(crowd, stop, narrator).await;
    let tools = tools?;
    Ok(Seen {
        url: prepared.file.scenario.target.url.value.clone(),
        problems: throng_workflow::drift(&prepared.file, &tools),
        tools,
    })
}
