//! Flags, environment and scenario file, resolved once into what a run needs.
//!
//! A flag beats the environment, which beats the file. Everything is validated here, before anything is touched.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use throng_client::Trust;
use throng_identity::secret::Secret;
use throng_workflow::model::Protocol;
use throng_workflow::{DirectoryOverrides, Environment, Overrides, Problem, ScenarioFile, builtin};

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

/// Where the run goes: a bare `throng run` takes the sandbox, and says so; so does a built-in scenario that is about what the
/// sandbox plants.
pub(crate) fn place(args: &RunArgs) -> Place {
    let TargetArgs {
        sandbox,
        sandbox_knobs,
        sandbox_bugs,
        url,
        host,
        ..
    } = &args.target;
    let at_home = args
        .scenario
        .as_deref()
        .is_none_or(builtin::is_at_home_in_the_sandbox);
    let bare = at_home && url.is_none() && host.is_none();
    if args.issuer.issuer.is_some()
        || *sandbox
        || sandbox_knobs.is_some()
        || sandbox_bugs.is_some()
        || bare
    {
        Place::Sandbox
    } else {
        Place::Target
    }
}

/// Whether an outside issuer fits the rest: it's the sandbox's MCP server that takes its tokens, and nobody can create users
/// there.
pub(crate) fn check_issuer(args: &RunArgs) -> anyhow::Result<()> {
    if args.issuer.issuer.is_none() {
        return Ok(());
    }
    let TargetArgs { url, host, .. } = &args.target;
    if url.is_some() || host.is_some() {
        bail!(
            "--issuer is for the sandbox, whose MCP server then takes that provider's tokens; at a --url of your own the server says itself where its users log in"
        );
    }
    if SandboxKind::of(args) != SandboxKind::Nextcloud {
        bail!(
            "--issuer is for scenarios with `protocol: mcp`: nobody logs in by OAuth at the sandbox of this one"
        );
    }
    if args.issuer.issuer_client.is_some() {
        super::sandbox::issuer_secret()?;
    }
    Ok(())
}

/// Which of the embedded sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SandboxKind {
    /// For MCP scenarios.
    Nextcloud,
    /// For HTTP scenarios.
    Integr8scode,
}

impl SandboxKind {
    /// The one that speaks a scenario's protocol.
    pub(crate) fn of(args: &RunArgs) -> Self {
        match throng_workflow::protocol_of(name(args)) {
            Protocol::Mcp => Self::Nextcloud,
            Protocol::Http => Self::Integr8scode,
        }
    }

    /// Its name on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nextcloud => "nextcloud",
            Self::Integr8scode => "integr8scode",
        }
    }

    /// For validating a file before the sandbox is up: addresses that nothing is ever sent to.
    pub(crate) fn pending(self) -> SandboxAddress<'static> {
        match self {
            Self::Nextcloud => SandboxAddress {
                target: "http://127.0.0.1:9/mcp",
                directory: Some(SandboxDirectory {
                    url: "http://127.0.0.1:9",
                    admin: "admin",
                    password: "pending",
                }),
            },
            Self::Integr8scode => SandboxAddress {
                target: "https://127.0.0.1:9",
                directory: None,
            },
        }
    }
}

/// What of a sandbox stands in for what the file says.
pub(crate) struct SandboxAddress<'a> {
    /// The target's URL.
    pub(crate) target: &'a str,
    /// Where its users are made, unless they register by requests to the target.
    pub(crate) directory: Option<SandboxDirectory<'a>>,
}

/// The directory of a sandbox.
pub(crate) struct SandboxDirectory<'a> {
    pub(crate) url: &'a str,
    pub(crate) admin: &'a str,
    pub(crate) password: &'a str,
}

/// The scenario's file, or the name of a built-in one.
fn name(args: &RunArgs) -> &str {
    args.scenario.as_deref().unwrap_or(DEFAULT_SCENARIO)
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
    let name = name(args);
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
    let outside_issuer = args.issuer.issuer.is_some();
    let directory = match sandbox {
        Some(_) if outside_issuer => DirectoryOverrides::default(),
        Some(sandbox) => {
            sandbox
                .directory
                .as_ref()
                .map_or_else(DirectoryOverrides::default, |directory| {
                    DirectoryOverrides {
                        url: Some(directory.url.to_owned()),
                        admin: Some(directory.admin.to_owned()),
                        password: Some(Secret::new(directory.password)),
                        scim: Some("/scim/v2"),
                    }
                })
        }
        // The environment stands in for these flags only where the file itself names it as `${NEXTCLOUD_HOST}`.
        None => DirectoryOverrides {
            url: args.target.host.clone(),
            admin: args.target.admin.clone(),
            password: args.target.admin_password.as_deref().map(Secret::new),
            scim: None,
        },
    };
    Overrides {
        url: sandbox
            .map(|sandbox| sandbox.target.to_owned())
            .or_else(|| args.target.url.clone()),
        users: args.users,
        prefix: args.user_prefix.clone(),
        duration: args.duration,
        warmup: args.warmup,
        pause: args.pause,
        rate: args.rate.clone(),
        queue: args.queue,
        concurrency: args.concurrency,
        mode: args.mode.map(Into::into),
        users_from: args.users_from.clone(),
        outside_issuer,
        create_users: args.auto_register,
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

/// The same: what a flag says, else the file.
pub(crate) fn trust_of(insecure: bool, cacert: Option<&PathBuf>, file: &ScenarioFile) -> Trust {
    match &file.scenario.target.tls {
        Some(tls) if !insecure && cacert.is_none() => {
            let beside = Path::new(&file.origin).parent().unwrap_or(Path::new(""));
            let authority = tls.ca.as_ref().map(|ca| beside.join(&ca.value));
            trust(!tls.verify, authority.as_ref())
        }
        _ => trust(insecure, cacert),
    }
}
