//! `throng sandbox integr8scode`: the HTTP API that runs scripts.

use std::process::ExitCode;

use anyhow::Context;
use throng_sandbox::{ExecutionTimes, Integr8scodeConfig, Integr8scodeSandbox};

use super::{Stops, Trouble, in_foreground, validate};
use crate::cli::args::Integr8scodeArgs;
use crate::cli::{CommandError, print};

/// Runs the Integr8sCode sandbox until it's told to stop.
pub(crate) fn integr8scode(args: &Integr8scodeArgs) -> Result<ExitCode, CommandError> {
    let config = config(args).map_err(CommandError::usage)?;
    in_foreground(async {
        let sandbox = Integr8scodeSandbox::start(config)
            .await
            .map_err(|error| CommandError::failed(error.into()))?;
        save_certificate(&sandbox, args).map_err(CommandError::failed)?;
        let stops = Stops::heed()?;
        announce(&sandbox, args)?;
        stops
            .until_told(sandbox.stopped(), args.stop_at_eof)
            .await?;
        sandbox.stop().await;
        Ok(())
    })
}

/// What the flags and the knobs file ask for; flags win over the file.
fn config(args: &Integr8scodeArgs) -> anyhow::Result<Integr8scodeConfig> {
    let trouble = Trouble {
        pattern: "/api/*",
        latency: args.latency,
        jitter: args.jitter,
        error_rate: args.error_rate,
        seed: args.seed,
    };
    let knobs = trouble.in_front_of(args.knobs.as_deref())?;
    validate(&knobs)?;
    let usual = ExecutionTimes::default();
    Ok(Integr8scodeConfig {
        listen: args.listen,
        port: args.port,
        tls: !args.http,
        rate_limits: args.rate_limits,
        alerts: !args.no_alerts,
        times: ExecutionTimes {
            running: args.script_time.unwrap_or(usual.running),
            limit: args.script_limit.unwrap_or(usual.limit),
            ..usual
        },
        bugs: args.bugs.clone().unwrap_or_default(),
        knobs,
        ..Integr8scodeConfig::default()
    })
}

fn save_certificate(sandbox: &Integr8scodeSandbox, args: &Integr8scodeArgs) -> anyhow::Result<()> {
    if let (Some(path), Some(certificate)) = (&args.cert, sandbox.certificate()) {
        std::fs::write(path, certificate)
            .with_context(|| format!("writing the certificate to {}", path.display()))?;
    }
    Ok(())
}

/// Says where it is: one line of JSON for a program, or text with a command to go on with.
fn announce(sandbox: &Integr8scodeSandbox, args: &Integr8scodeArgs) -> Result<(), CommandError> {
    let ready = sandbox.ready();
    if args.json {
        let line =
            serde_json::to_string(&ready).map_err(|error| CommandError::failed(error.into()))?;
        return print(&format!("{line}\n"));
    }
    let trust = match &args.cert {
        None if args.http => String::new(),
        None => "--insecure ".to_owned(),
        Some(path) => format!("--cacert {} ", path.display()),
    };
    let mut text = format!(
        "Integr8sCode          {url}/api/v1\n\
         Its OpenAPI document  {openapi}\n\
         What reached it       {url}/__sandbox/journal/counts\n",
        url = ready.url,
        openapi = ready.openapi,
    );
    if !ready.bugs.is_empty() {
        text.push_str(&format!(
            "Planted bugs          {}\n",
            ready.bugs.join(", ")
        ));
    }
    text.push_str(&format!(
        "\nIn another terminal:\n  curl {trust}{}/api/v1/health/live\n\nCtrl-C stops it.\n",
        ready.url
    ));
    print(&text)
}
