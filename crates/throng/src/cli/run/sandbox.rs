//! The sandbox of a run on one: started before it, stopped after it.

use super::prepare::Prepared;
use crate::cli::CommandError;
use crate::cli::args::RunArgs;
use crate::cli::narrator::Narrator;
use crate::cli::sandbox_process::SandboxProcess;
use crate::cli::settings::{Place, SandboxKind};

/// Starts the sandbox, if the run is on one, and puts its addresses into the scenario.
pub(super) async fn start(
    prepared: &mut Prepared<'_>,
    args: &RunArgs,
    narrator: &Narrator,
) -> Result<Option<SandboxProcess>, CommandError> {
    if prepared.place == Place::Target {
        return Ok(None);
    }
    let kind = SandboxKind::of(args);
    let issuer = args.issuer.issuer.as_deref();
    if let Some(issuer) = issuer {
        narrator.say(&format!(
            "Users are those of {issuer}: the scenario's directory, and what it sends after logins, are left out"
        ));
    }
    narrator.say(match kind {
        SandboxKind::Nextcloud if issuer.is_some() => {
            "Starting a sandbox: a Nextcloud and its MCP server..."
        }
        SandboxKind::Nextcloud => {
            "Starting a sandbox: a Nextcloud, its OpenID provider and its MCP server..."
        }
        SandboxKind::Integr8scode => "Starting a sandbox: Integr8sCode's API...",
    });
    let bugs = args.target.sandbox_bugs.as_ref();
    let knobs = prepared.knobs.as_ref();
    let sandbox = SandboxProcess::start(kind, knobs, bugs, &args.issuer, prepared.seed)
        .await
        .map_err(CommandError::failed)?;
    let ready = &sandbox.ready;
    prepared.place_at(args, &ready.address())?;
    match &ready.nextcloud {
        Some(nextcloud) => {
            narrator.done(&format!("Nextcloud at {}", ready.url));
            narrator.done(&format!("MCP server at {}", nextcloud.mcp_url));
        }
        None => narrator.done(&format!("Integr8sCode at {}", ready.url)),
    }
    Ok(Some(sandbox))
}

/// Stops it.
pub(super) async fn stop(sandbox: Option<SandboxProcess>, narrator: &Narrator) {
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        narrator.warn(&format!("{error:#}"));
    }
}
