//! A look at what a target offers: connects as a run does, with one user, lists the tools, and takes everything away again.
//! No load, and no report.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use throng_client::mcp::Tools;
use throng_engine::StopSignals;
use throng_fuzz::shell;
use throng_metrics::Verdict;
use throng_workflow::Problem;
use throng_workflow::model::{DirectoryKind, LoginKind, Protocol};

use super::job::FileJob;
use super::prepare::Prepared;
use super::setup::unless_stopped;
use super::visit::{own_prefix, visit};
use super::work;
use crate::cli::args::{ClientArgs, RunArgs, TargetArgs};
use crate::cli::narrator::Narrator;
use crate::cli::settings::Place;
use crate::cli::{CommandError, Output, runtime, signals};

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
        user_prefix: Some(own_prefix()),
        ..RunArgs::default()
    };
    runtime()?.block_on(async {
        let stop = StopSignals::default();
        let watch = signals::watch(stop.clone())?;
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
        // What is listed is the output; how it was come by is of interest only where it fails.
        let detail = output.detail_if_verbose();
        let visited = visit(prepared, &args, 1, detail, &stop, watch, {
            async |prepared: &Prepared<'_>, crowd, _, _: &Narrator| {
                let tools = unless_stopped(&stop, work::tools(&crowd)).await.flatten()?;
                Ok(Seen {
                    url: prepared.file.scenario.target.url.value.clone(),
                    problems: throng_workflow::drift(&prepared.file, &tools),
                    tools,
                })
            }
        })
        .await?;
        let is_clean = visited.left().is_none();
        let seen = visited.ended(&stop)?.ok_or_else(CommandError::interrupted)?;
        if is_clean {
            Ok(seen)
        } else {
            Err(CommandError {
                code: Verdict::CleanupIncomplete.exit_code(),
                error: anyhow!("cleanup incomplete"),
            })
        }
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
