//! `throng sandbox`: an embedded target in the foreground, until a signal, standard input's end, or a request to
//! its `/__sandbox/stop`.

mod integr8scode;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use throng_sandbox::{
    Admin, EndpointKnob, IssuerConfig, Jitter, Knobs, Latency, McpAuth, McpConfig, NextcloudConfig,
    NextcloudSandbox, Secret,
};
use throng_workflow::ScenarioFile;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{IssuerArgs, SandboxArgs};
use super::{CommandError, runtime};

pub(crate) use integr8scode::integr8scode;

/// Whose notes and files everybody works on where nobody has to log in.
const OPEN_USER: &str = "open";

/// Holds the secret of the client that may ask an outside provider about tokens.
const ISSUER_SECRET: &str = "THRONG_ISSUER_CLIENT_SECRET";

/// Runs the Nextcloud sandbox until it's told to stop.
pub(crate) fn nextcloud(args: &SandboxArgs) -> Result<ExitCode, CommandError> {
    let config = config(args).map_err(CommandError::usage)?;
    in_foreground(async {
        let sandbox = NextcloudSandbox::start(config)
            .await
            .map_err(|error| CommandError::failed(error.into()))?;
        let stops = Stops::heed()?;
        announce(&sandbox, args)?;
        stops
            .until_told(sandbox.stopped(), args.stop_at_eof)
            .await?;
        sandbox.stop().await;
        Ok(())
    })
}

/// Does what a sandbox does from its start to its stop.
fn in_foreground(
    whole: impl Future<Output = Result<(), CommandError>>,
) -> Result<ExitCode, CommandError> {
    let runtime = runtime()?;
    let done = runtime.block_on(whole);
    // A read of standard input can't be cancelled; waiting for it would hang until somebody types.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

/// What the flags and the knobs file ask for; flags win over the file.
fn config(args: &SandboxArgs) -> anyhow::Result<NextcloudConfig> {
    let trouble = Trouble {
        pattern: "nc_*",
        latency: args.latency,
        jitter: args.jitter,
        error_rate: args.error_rate,
        seed: args.seed,
    };
    let mut knobs = trouble.in_front_of(args.knobs.as_deref())?;
    if let Some(delay) = args.share_propagation {
        knobs.share_propagation_ms =
            u64::try_from(delay.as_millis()).context("--share-propagation")?;
    }
    if let Some(lifetime) = args.token_lifetime {
        knobs.token_lifetime_s = lifetime.as_secs();
    }
    if let Some(share) = args.lost_appends {
        knobs.lost_appends = share;
    }
    validate(&knobs)?;
    let mut admin = Admin::default();
    if let Some(password) = &args.admin_password {
        admin.password = Secret::new(password);
    }
    Ok(NextcloudConfig {
        listen: args.listen,
        port: args.port,
        mcp_port: args.mcp_port,
        data: args.data.clone(),
        admin,
        knobs,
        mcp: mcp(args)?,
        registrations_per_minute: Some(args.registrations_per_minute.unwrap_or(10)),
        ..NextcloudConfig::default()
    })
}

/// The real server's behaviour, or that of one under the conformance suite's test, or of one with users of another provider.
fn mcp(args: &SandboxArgs) -> anyhow::Result<McpConfig> {
    if let Some(issuer) = outside_issuer(&args.issuer)? {
        return Ok(McpConfig {
            auth: McpAuth::Outside(issuer),
            ..McpConfig::default()
        });
    }
    if !args.open_mcp {
        return Ok(McpConfig::default());
    }
    Ok(McpConfig {
        auth: McpAuth::Open {
            user: OPEN_USER.to_owned(),
        },
        fixtures: true,
        ..McpConfig::default()
    })
}

/// The secret of the client that may ask an outside provider about tokens.
///
/// # Errors
/// Where it is nowhere.
pub(crate) fn issuer_secret() -> anyhow::Result<Secret> {
    let secret = std::env::var(ISSUER_SECRET).ok();
    let secret = secret.filter(|secret| !secret.is_empty());
    let missing = || format!("--issuer-client: its secret isn't in {ISSUER_SECRET}");
    Ok(Secret::new(secret.with_context(missing)?))
}

fn outside_issuer(args: &IssuerArgs) -> anyhow::Result<Option<IssuerConfig>> {
    let Some(issuer) = &args.issuer else {
        return Ok(None);
    };
    let introspection = match &args.issuer_client {
        Some(client) => Some((client.clone(), issuer_secret()?)),
        None => None,
    };
    let plain = IssuerConfig::new(issuer);
    Ok(Some(IssuerConfig {
        audience: args.issuer_audience.clone(),
        user_claim: args.issuer_user_claim.clone().unwrap_or(plain.user_claim),
        introspection,
        issuer: plain.issuer,
    }))
}

/// The trouble that flags of any sandbox ask for.
struct Trouble {
    /// Which calls it befalls.
    pattern: &'static str,
    latency: Option<Duration>,
    jitter: Option<Duration>,
    error_rate: Option<f64>,
    seed: Option<u64>,
}

impl Trouble {
    /// The knobs of a file, if there is one, with the flags' trouble in front of the file's, whose first match wins.
    fn in_front_of(&self, file: Option<&Path>) -> anyhow::Result<Knobs> {
        let mut knobs: Knobs = file.map(read_knobs).transpose()?.unwrap_or_default();
        knobs.seed = self.seed.unwrap_or(knobs.seed);
        if self.latency.is_none() && self.jitter.is_none() && self.error_rate.is_none() {
            return Ok(knobs);
        }
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        knobs.endpoints.insert(
            0,
            EndpointKnob {
                pattern: self.pattern.to_owned(),
                latency: (self.latency.is_some() || self.jitter.is_some()).then(|| Latency {
                    fixed_ms: self.latency.map_or(0.0, milliseconds),
                    jitter: self.jitter.map(|jitter| Jitter::Uniform {
                        max_ms: milliseconds(jitter),
                    }),
                }),
                error_rate: self.error_rate,
                error: throng_sandbox::ErrorKind::default(),
                stall: None,
            },
        );
        Ok(knobs)
    }
}

fn validate(knobs: &Knobs) -> anyhow::Result<()> {
    knobs.validate().map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
        anyhow!("the knobs don't make sense:\n{}", lines.join("\n"))
    })
}

/// Whether a sandbox would take this file.
///
/// # Errors
/// Where it can't be read, or says what makes no sense.
pub(crate) fn check_knobs(path: &Path) -> anyhow::Result<()> {
    validate(&read_knobs(path)?)
}

/// The knobs of a scenario, those of a file put over them one by one; none where neither says any.
///
/// # Errors
/// With the place in the scenario file where its part makes no sense, or the name of the knobs file.
pub(crate) fn knobs_of(file: &ScenarioFile, flag: Option<&Path>) -> anyhow::Result<Option<Knobs>> {
    let Some(part) = &file.scenario.sandbox else {
        return flag.map(read_knobs).transpose();
    };
    let mark = part.knobs.mark;
    let said = |error: &dyn std::fmt::Display| {
        anyhow!(
            "{}:{}:{}: the knobs in `sandbox` make no sense: {error}",
            file.origin,
            mark.line,
            mark.column
        )
    };
    let mut knobs = part.knobs.0.clone();
    let own: Knobs = serde_json::from_value(knobs.clone()).map_err(|error| said(&error))?;
    own.validate().map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        said(&faults.join(", "))
    })?;
    let over = match flag {
        // All its mistakes first: put over the others, only the key would be known.
        Some(path) => {
            read_knobs::<Knobs>(path)?;
            read_knobs(path)?
        }
        None => serde_json::Value::Null,
    };
    if let (Some(knobs), serde_json::Value::Object(over)) = (knobs.as_object_mut(), over) {
        knobs.extend(over);
    }
    let knobs: Knobs = serde_json::from_value(knobs)?;
    validate(&knobs)?;
    Ok(Some(knobs))
}

/// Knobs, or their file as it stands.
fn read_knobs<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading the knobs file {}", path.display()))?;
    // JSON is YAML, so one reader does for both.
    serde_saphyr::from_str(&text).map_err(|error| {
        anyhow!(
            "the knobs file {}: {}",
            path.display(),
            error.without_snippet()
        )
    })
}

/// Says where it is: one line of JSON for a program, or text with commands to go on with.
fn announce(sandbox: &NextcloudSandbox, args: &SandboxArgs) -> Result<(), CommandError> {
    let say = |line: &str| super::print(&format!("{line}\n"));
    let ready = sandbox.ready();
    if args.json {
        let line =
            serde_json::to_string(&ready).map_err(|error| CommandError::failed(error.into()))?;
        say(&line)?;
        return Ok(());
    }
    let (admin, password) = sandbox.admin();
    say(&format!(
        "Nextcloud (API and OpenID provider)  {}",
        ready.url
    ))?;
    say(&format!(
        "MCP server                           {}",
        ready.mcp_url
    ))?;
    say(&format!(
        "What reached it                      {}/__sandbox/journal/counts",
        ready.url
    ))?;
    say("")?;
    if args.open_mcp {
        say("The MCP server asks nobody who he is. Ctrl-C stops it.")?;
        return Ok(());
    }
    if let Some(issuer) = &args.issuer.issuer {
        say(&format!("The MCP server takes access tokens of {issuer}."))?;
        say("In another terminal, with a scenario that creates nobody:")?;
        say(&format!(
            "  throng run SCENARIO --url {} --users-from users.csv",
            ready.mcp_url
        ))?;
        say("")?;
        say("Ctrl-C stops it.")?;
        return Ok(());
    }
    say("In another terminal:")?;
    say(&format!(
        "  export NEXTCLOUD_HOST={} NEXTCLOUD_USERNAME={admin}",
        ready.url
    ))?;
    if args.admin_password.is_some() {
        say("  export NEXTCLOUD_PASSWORD=...        # the one given with --admin-password")?;
    } else {
        // The sandbox's own throw-away password, of use to nobody but the person at this terminal.
        say(&format!("  export NEXTCLOUD_PASSWORD={password}"))?;
    }
    say(&format!("  throng run nextcloud --url {}", ready.mcp_url))?;
    say("")?;
    say("Ctrl-C stops it.")?;
    Ok(())
}

/// What stops a sandbox. Made before it says where it is: whoever reads that may send a signal at once.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    fn heed() -> Result<Self, CommandError> {
        let heed = |kind| signal(kind).map_err(|error| CommandError::failed(error.into()));
        Ok(Self {
            interrupt: heed(SignalKind::interrupt())?,
            terminate: heed(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal, for the sandbox to be told to stop, or for the end of standard input.
    async fn until_told(
        mut self,
        stopped: impl Future<Output = ()>,
        stop_at_eof: bool,
    ) -> Result<(), CommandError> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
            () = stopped => Ok(()),
            read = end_of_input(), if stop_at_eof => {
                read.map_err(|error| CommandError::failed(error.into()))
            }
        }
    }
}

async fn end_of_input() -> std::io::Result<()> {
    let mut input = tokio::io::stdin();
    let mut sink = [0_u8; 64];
    while input.read(&mut sink).await? > 0 {}
    Ok(())
}
