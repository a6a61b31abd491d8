//! `throng monkey`: `throng run --mode monkey`, and also without a scenario, on any API that has an OpenAPI document.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use futures_util::future::BoxFuture;
use throng_engine::{Load, RunOutcome, StopSignals, Tick};
use throng_workflow::{Crowd, Environment, Overrides, Problem, Program, ScenarioFile};
use url::Url;

use super::args::{ModeChoice, MonkeyArgs, RunArgs};
use super::run::job::{FileJob, Job};
use super::{CommandError, Output, run};

/// What holds where no scenario says otherwise: nobody logs in, and as much is sent as a small server bears.
const ALONE: &str = r#"
name: monkey
target: { protocol: http, url: "http://localhost" }
login: { kind: none }
users: { count: 10, prefix: throng }
load: { mode: monkey, duration: 30s, warmup: 0s, pause: 0s, graceful_stop: 500ms }
workflows:
  monkey:
    actors: [nobody]
    steps: [{ look: { get: / } }]
"#;

/// Lets monkeys loose.
pub(crate) fn monkey(args: &MonkeyArgs, output: Output) -> Result<ExitCode, CommandError> {
    let mut run_args = RunArgs {
        scenario: args.scenario.clone(),
        target: args.target.clone(),
        mode: Some(ModeChoice::Monkey),
        openapi: args.openapi.clone(),
        users: args.users,
        duration: args.duration,
        concurrency: args.concurrency,
        seed: args.seed,
        user_prefix: args.user_prefix.clone(),
        oauth_client: args.oauth_client.clone(),
        output: args.output.clone(),
        corpus: args.corpus.clone(),
        plots: args.plots,
        quiet: args.quiet,
        ..RunArgs::default()
    };
    let target = &args.target;
    let sandbox = target.sandbox || target.sandbox_bugs.is_some() || target.sandbox_knobs.is_some();
    if args.scenario.is_some() || sandbox {
        // The sandbox that has an OpenAPI document.
        let name = args.scenario.as_deref().unwrap_or("integr8scode");
        run_args.scenario = Some(name.to_owned());
        return run::run(&run_args, output, &FileJob);
    }
    let address = address(args).map_err(CommandError::usage)?;
    run_args.target.url = Some(address);
    run_args.scenario = Some("monkey".to_owned());
    run::run(&run_args, output, &Alone)
}

/// Where an API is that no scenario describes: where its document is, unless a flag says so.
fn address(args: &MonkeyArgs) -> anyhow::Result<String> {
    let Some(document) = &args.openapi else {
        return Err(anyhow!(
            "say where the API's OpenAPI document is with --openapi URL|FILE, or name a scenario, or try it with --sandbox"
        ));
    };
    if let Some(url) = &args.target.url {
        return Ok(url.clone());
    }
    Url::parse(document)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| url.origin().ascii_serialization())
        .ok_or_else(|| {
            anyhow!("--openapi {document}: a file doesn't say where the API is: add --url")
        })
}

/// Monkeys without a scenario.
struct Alone;

impl Job for Alone {
    fn read(
        &self,
        name: &str,
        overrides: &Overrides,
        environment: &Environment<'_>,
    ) -> Result<ScenarioFile, Vec<Problem>> {
        ScenarioFile::parse(name, ALONE, overrides, environment)
    }

    fn run<'a>(
        &'a self,
        load: &'a Load,
        program: &'a Arc<Program>,
        crowd: Arc<Crowd>,
        stop: StopSignals,
        on_tick: &'a mut (dyn FnMut(&Tick<'_>) + Send),
    ) -> BoxFuture<'a, RunOutcome> {
        FileJob.run(load, program, crowd, stop, on_tick)
    }
}
