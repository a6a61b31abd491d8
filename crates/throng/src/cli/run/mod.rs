//! `throng run`: parse, validate, open outputs, set up, load, clean up, judge, report.

mod export;
mod ground_truth;
mod hooks;
pub(crate) mod job;
mod live;
mod prepare;
mod setup;
mod teardown;
mod work;

use std::process::ExitCode;

use throng_engine::{EndedBy, Executor, StopSignals};
use throng_metrics::report::console;
use throng_metrics::{
    Cleanup, Evidence, GeneratorHealth, Limits, Measured, Report, RunInfo, Table, Tally, Verdict,
    clean, judge,
};

use throng_workflow::model::LoginKind;

use self::job::Job;
use self::prepare::Prepared;
use self::setup::Made;
use self::work::Worked;
use super::args::RunArgs;
use super::narrator::Narrator;
use super::{CommandError, Output, runtime, sandbox_process::SandboxProcess, settings, signals};

/// Set-up steps that are announced: login discovery, directory, client, users, sessions, load.
const STEPS: u32 = 6;
/// The same where nobody logs in: sessions, load.
const STEPS_WITHOUT_LOGIN: u32 = 2;

/// Runs a scenario.
pub(crate) fn run(args: &RunArgs, output: Output, job: &dyn Job) -> Result<ExitCode, CommandError> {
    let prepared = Prepared::new(args, output, job)?;
    runtime()?.block_on(execute(prepared, args))
}

/// From the first request to the exit code.
async fn execute(mut prepared: Prepared<'_>, args: &RunArgs) -> Result<ExitCode, CommandError> {
    let steps = match prepared.file.scenario.login.kind {
        LoginKind::OAuth => STEPS,
        LoginKind::None => STEPS_WITHOUT_LOGIN,
    };
    let mut narrator = Narrator::new(prepared.output.detail(args.quiet), steps);
    let stop = StopSignals::default();
    let sandbox = match prepared.place {
        settings::Place::Sandbox => Some(start_sandbox(&mut prepared, args, &narrator).await?),
        settings::Place::Target => None,
    };
    let mut made = prepared.begin().await?;
    let watch = signals::watch(stop.clone(), prepared.cleanup_command())
        .map_err(|error| CommandError::failed(error.into()))?;
    prepared.introduce(&made, &narrator);

    let worked = work::work(&prepared, &mut made, &stop, &mut narrator).await;
    let cleanup = if prepared.cleans_up {
        teardown::clean_up(&made, prepared.login_concurrency, &stop.abort, &narrator).await
    } else {
        teardown::keep(&made, &prepared.cleanup_command(), &narrator).await
    };
    let mut report = report(&prepared, &made, &worked, cleanup, &stop);
    if let (Some(sandbox), Some(outcome)) = (&sandbox, &worked.outcome) {
        let catalog = &prepared.file.program.catalog;
        match ground_truth::compare(&made.client, &sandbox.ready.url, catalog, &outcome.tally).await
        {
            Ok(truth) => report.ground_truth = Some(truth),
            Err(error) => narrator.warn(&format!("{error:#}")),
        }
    }
    drop(watch);
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        narrator.warn(&format!("{error:#}"));
    }
    let measured = worked.outcome.is_some();
    let code = show(prepared, report, measured, args.quiet, &narrator);
    Ok(ExitCode::from(code))
}

/// Starts the sandbox and puts its addresses into the scenario.
async fn start_sandbox(
    prepared: &mut Prepared<'_>,
    args: &RunArgs,
    narrator: &Narrator,
) -> Result<SandboxProcess, CommandError> {
    narrator.say("Starting a sandbox: a Nextcloud, its OpenID provider and its MCP server...");
    let sandbox = SandboxProcess::start(args.sandbox_knobs.as_deref(), prepared.seed)
        .await
        .map_err(CommandError::failed)?;
    let ready = &sandbox.ready;
    prepared.place_at(
        args,
        &settings::SandboxAddress {
            url: &ready.url,
            mcp_url: &ready.mcp_url,
            admin: &ready.admin,
            password: &ready.password,
        },
    )?;
    narrator.done(&format!("Nextcloud at {}", ready.url));
    narrator.done(&format!("MCP server at {}", ready.mcp_url));
    Ok(sandbox)
}

/// What came of it all.
fn report(
    prepared: &Prepared<'_>,
    made: &Made,
    worked: &Worked,
    cleanup: Cleanup,
    stop: &StopSignals,
) -> Report {
    let limits = Limits::default();
    let catalog = &prepared.file.program.catalog;
    let nothing = (Tally::new(catalog), GeneratorHealth::default());
    let (tally, generator) = match &worked.outcome {
        Some(outcome) => (&outcome.tally, &outcome.generator),
        None => (&nothing.0, &nothing.1),
    };
    let measured = Measured {
        catalog,
        tally,
        phases: &made.phases,
        generator,
    };
    // Without measurements no threshold says anything that the failed set-up, the signal or "no data" doesn't.
    let anything = tally.calls() > 0 || tally.iterations() > 0 || generator.starts.dropped() > 0;
    let thresholds: Vec<_> = match worked.outcome {
        Some(_) if anything => prepared
            .thresholds
            .iter()
            .map(|threshold| threshold.evaluate(&measured))
            .collect(),
        _ => Vec::new(),
    };
    let ended_early = worked
        .outcome
        .as_ref()
        .is_none_or(|outcome| outcome.ended_by != EndedBy::Finished);
    let interrupted =
        (stop.drain.is_cancelled() && ended_early).then_some("stopped by a signal before its time");
    let verdicts = judge(&Evidence {
        setup_failures: &worked.failures,
        drift: &worked.drift,
        measured: worked.outcome.is_some().then_some(&measured),
        thresholds: &thresholds,
        cleanup: (!cleanup.kept).then_some(&cleanup),
        interrupted,
        limits,
        ..Evidence::default()
    });
    Report::new(
        info(prepared, made, worked),
        &measured,
        thresholds,
        &verdicts,
        &limits,
        Some(cleanup),
    )
}

fn info(prepared: &Prepared<'_>, made: &Made, worked: &Worked) -> RunInfo {
    let throng = ("throng".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let versions: Table<String> = std::iter::once(throng)
        .chain(worked.versions.iter().cloned())
        .collect();
    RunInfo {
        id: made.run.as_str().to_owned(),
        scenario: prepared.file.scenario.name.clone(),
        workload: prepared.workload(),
        executor: match prepared.load.executor {
            Executor::ConstantVus => "constant-vus".to_owned(),
            Executor::ConstantArrivalRate { rate, .. } => {
                format!("constant-arrival-rate ({}/s)", rate.per_second())
            }
        },
        login: match prepared.file.scenario.login.kind {
            LoginKind::OAuth => "oauth".to_owned(),
            LoginKind::None => "none".to_owned(),
        },
        seed: prepared.seed,
        target: prepared.file.scenario.target.url.value.clone(),
        started_at: humantime::format_rfc3339_seconds(prepared.started).to_string(),
        warmup: prepared.load.warmup.as_secs_f64(),
        versions,
    }
}

/// The verdict in words, and each reason if there are several.
fn unmeasured(report: &Report) -> String {
    let mut text = String::new();
    for holding in report
        .verdict
        .all
        .iter()
        .filter(|_| report.verdict.all.len() > 1)
    {
        for reason in &holding.reasons {
            text.push_str(&format!(
                "  {} ({}): {}\n",
                holding.name.words(),
                holding.code,
                clean(reason)
            ));
        }
    }
    format!("{text}{}\n", console::verdict_line(report))
}

/// Exports and prints the report; returns the exit code, which is its verdict's. The file comes first, so that the last line
/// on the screen knows whether it could be written. Where nothing was measured, tables of zeros would only hide the verdict.
fn show(
    prepared: Prepared<'_>,
    mut report: Report,
    measured: bool,
    quiet: bool,
    narrator: &Narrator,
) -> u8 {
    if let Some(export) = prepared.export {
        match export.write(&report) {
            Ok(path) => narrator.say(&format!("Report written to {}", path.display())),
            Err(error) => {
                let words = super::words(&error);
                narrator.warn(&words);
                report.verdict.add(Verdict::ReportNotWritten, words);
            }
        }
    }
    let text = if quiet || !measured {
        unmeasured(&report)
    } else {
        console::render(&report, prepared.output.style())
    };
    if let Err(error) = super::output::print(&text) {
        report.verdict.add(
            Verdict::ReportNotWritten,
            format!("writing to standard output: {error}"),
        );
        // Where the verdict should have been nobody can read it.
        narrator.warn(&unmeasured(&report));
    }
    report.verdict.code
}
