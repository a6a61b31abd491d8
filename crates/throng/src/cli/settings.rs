//! Flags, environment and scenario file, resolved once into what a run needs.
//!
//! A flag beats the environment, which beats the file. Everything is validated here, before anything is touched.

use std::path::PathBuf;

use anyhow::anyhow;
use throng_client::Trust;
use throng_identity::secret::Secret;
use throng_workflow::{DirectoryOverrides, Environment, Overrides, Problem, ScenarioFile};

use super::args::{ClientArgs, RunArgs, TargetArgs};
use super::run::job::Job;

/// The scenario that runs when none is named.
pub(crate) const DEFAULT_SCENARIO: &str = "nextcloud";

/// What decides where a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A system that is there already.
    Target,
    /// A sandbox that is started for the run.
    Sandbox,
}

/// Where the run goes: a bare `throng run` takes the sandbox, and says so.
pub(crate) fn place(args: &RunArgs) -> Place {
    let TargetArgs {
        sandbox,
        sandbox_knobs,
        url,
        host,
        ..
    } = &args.target;
    let bare = args.scenario.is_none() && url.is_none() && host.is_none();
    if *sandbox || sandbox_knobs.is_some() || bare {
        Place::Sandbox
    } else {
        Place::Target
    }
}

/// The addresses and the administrator of a sandbox, which stand in for the file's.
pub(crate) struct SandboxAddress<'a> {
    pub(crate) url: &'a str,
    pub(crate) mcp_url: &'a str,
    pub(crate) admin: &'a str,
    pub(crate) password: &'a str,
}

impl SandboxAddress<'static> {
    /// For validating a file before the sandbox is up: addresses that nothing is ever sent to.
    pub(crate) const PENDING: Self = Self {
        url: "http://127.0.0.1:9",
        mcp_url: "http://127.0.0.1:9/mcp",
        admin: "admin",
        password: "pending",
    };
}

/// Reads the scenario with what the flags (and a sandbox) say put in.
///
/// # Errors
/// Every mistake, with its place.
pub(crate) fn scenario(
    job: &dyn Job,
    args: &RunArgs,
    sandbox: Option<&SandboxAddress<'_>>,
    seed: u64,
) -> anyhow::Result<ScenarioFile> {
    let name = args.scenario.as_deref().unwrap_or(DEFAULT_SCENARIO);
    let lookup = |name: &str| std::env::var(name).ok();
    job.read(
        name,
        &overrides(args, sandbox, seed),
        &Environment::new(&lookup),
    )
    .map_err(|problems| {
        let unset = problems.iter().any(|problem| problem.to_string().contains("the environment variable"));
        let error = list(&problems);
        if unset && sandbox.is_none() {
            anyhow!("{error}\nOr try it on the embedded sandbox, which needs none of them: add --sandbox")
        } else {
            error
        }
    })
}

/// The mistakes of a file as one error.
pub(crate) fn list(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow!("{}", lines.join("\n"))
}

fn overrides(args: &RunArgs, sandbox: Option<&SandboxAddress<'_>>, seed: u64) -> Overrides {
    let directory = match sandbox {
        Some(sandbox) => DirectoryOverrides {
            url: Some(sandbox.url.to_owned()),
            admin: Some(sandbox.admin.to_owned()),
            password: Some(Secret::new(sandbox.password)),
        },
        // The environment stands in for these flags only where the file itself names it as `${NEXTCLOUD_HOST}`.
        None => DirectoryOverrides {
            url: args.target.host.clone(),
            admin: args.target.admin.clone(),
            password: args.target.admin_password.as_deref().map(Secret::new),
        },
    };
    Overrides {
        url: sandbox
            .map(|sandbox| sandbox.mcp_url.to_owned())
            .or_else(|| args.target.url.clone()),
        users: args.users,
        prefix: args.user_prefix.clone(),
        duration: args.duration,
        warmup: args.warmup,
        pause: args.pause,
        rate: args.rate.clone(),
        queue: args.queue,
        seed: Some(seed),
        timeout: args.target.timeout,
        workload: args.workload.clone(),
        thresholds: args.thresholds.clone(),
        directory,
        client_id: args.oauth_client.client_id.clone(),
        client_secret: client_secret(&args.oauth_client),
    }
}

/// The secret of the client that is named on the command line.
fn client_secret(client: &ClientArgs) -> Option<Secret> {
    let environment = || {
        let value = std::env::var("THRONG_CLIENT_SECRET").ok();
        value.filter(|secret| client.client_id.is_some() && !secret.is_empty())
    };
    let secret = client.client_secret.clone().or_else(environment);
    secret.map(Secret::new)
}

/// Whose certificates are believed.
pub(crate) fn trust(insecure: bool, cacert: Option<&PathBuf>) -> Trust {
    match (insecure, cacert) {
        (true, _) => Trust::Anything,
        (false, Some(file)) => Trust::NativeAnd(vec![file.clone()]),
        (false, None) => Trust::Native,
    }
}
