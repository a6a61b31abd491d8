//! `throng run`: parse, validate, open outputs, set up, load, clean up, judge, report.

mod export;
mod findings;
mod grants;
mod ground_truth;
pub(crate) mod hooks;
pub(crate) mod inspect;
pub(crate) mod job;
mod live;
mod logout;
mod monkeys;
mod not_ready;
mod open;
pub(crate) mod prepare;
mod report;
mod sandbox;
pub(crate) mod setup;
mod show;
pub(crate) mod stay;
mod swarms;
mod teardown;
pub(crate) mod visit;
mod work;

use std::process::ExitCode;

use anyhow::anyhow;
use throng_engine::StopSignals;
use throng_fuzz::shell;
use throng_metrics::Verdict;
use throng_workflow::Scenario;
use throng_workflow::model::{LoginKind, Mode};

use self::export::Export;
use self::job::Job;
use self::prepare::Prepared;
use self::setup::unless_stopped;
pub(crate) use self::work::misfit;
use super::args::RunArgs;
use super::narrator::Narrator;
use super::signals::{Remains, SignalWatch};
use super::{CommandError, Output, runtime, signals};

/// How many set-up steps will be announced before `last`, the load: login discovery, directory, client, users, sessions.
/// Where the file says how to log in, discovery and client fall away; where the users are there already, the directory;
/// where nobody logs in, the users.
fn steps(scenario: &Scenario, last: u32) -> u32 {
    let directory = u32::from(scenario.directory.is_some() && scenario.users.create);
    let before = match scenario.login.kind {
        LoginKind::OAuth if !scenario.users.create => 4,
        LoginKind::OAuth => 5,
        LoginKind::Request | LoginKind::Form
            if scenario.directory.is_none() || !scenario.users.create =>
        {
            2
        }
        LoginKind::Request | LoginKind::Form => 3,
        LoginKind::ClientCredentials => 3 + directory,
        LoginKind::TokenExchange => 4 + directory,
        LoginKind::Bearer => 2,
        LoginKind::None => 1,
    };
    before + last
}

/// Runs a scenario.
pub(crate) fn run(args: &RunArgs, output: Output, job: &dyn Job) -> Result<ExitCode, CommandError> {
    runtime()?.block_on(async {
        let stop = StopSignals::default();
        // Before anything else: from here on no signal ends the process without a word.
        let watch = signals::watch(stop.clone())?;
        let prepared = Prepared::new(args, output, job)?;
        let scenario = &prepared.file.scenario;
        if scenario.workflows.0.is_empty() && !scenario.properties.0.is_empty() {
            return Err(CommandError::usage(anyhow!(
                "{}: there are properties, and no workflow to run: throng property {}",
                prepared.file.origin,
                shell::word(&prepared.file.origin),
            )));
        }
        watch.would_leave_part(prepared.export.as_ref().and_then(Export::part));
        execute(prepared, args, &stop, watch).await
    })
}

/// From the first request to the exit code.
async fn execute(
    mut prepared: Prepared<'_>,
    args: &RunArgs,
    stop: &StopSignals,
    watch: SignalWatch,
) -> Result<ExitCode, CommandError> {
    let scenario = &prepared.file.scenario;
    let logs_in = u32::from(scenario.login.kind != LoginKind::None);
    let steps = match prepared.mode() {
        Mode::User => steps(scenario, 1),
        // No sessions are opened for them.
        Mode::Monkey => steps(scenario, 0),
        Mode::Both => steps(scenario, 1 + logs_in),
    };
    let mut narrator = Narrator::new(prepared.output.detail(args.quiet), steps);
    let started = sandbox::start(&mut prepared, args, &narrator);
    let Ok(sandbox) = unless_stopped(stop, started).await else {
        return stopped_early();
    };
    let sandbox = sandbox?;
    if stop.drain.is_cancelled() {
        return stopped_early();
    }
    let mut made = prepared.begin().await?;
    watch.would_leave(prepared.remains());
    prepared.introduce(&made, &narrator);

    let worked = work::work(&prepared, &mut made, stop, &mut narrator).await;
    let cleanup = teardown::leave(&prepared, &made, stop, &narrator).await;
    let mut truth = None;
    if let (Some(sandbox), Some(outcome)) = (&sandbox, &worked.outcome) {
        let catalog = worked.catalog.as_ref();
        let catalog = catalog.unwrap_or(&prepared.file.program.catalog);
        let (client, url) = (&made.client, &sandbox.ready.url);
        match ground_truth::compare(client, url, catalog, &outcome.tally).await {
            Ok(compared) => truth = Some(compared),
            Err(error) => narrator.warn(&format!("{error:#}")),
        }
    }
    let report = report::report(&prepared, &made, &worked, cleanup, truth, stop);
    if let Some(outcome) = &worked.outcome {
        let catalog = worked.catalog.as_ref();
        let catalog = catalog.unwrap_or(&prepared.file.program.catalog);
        for mistake in report::never_succeeded(catalog, &outcome.tally) {
            narrator.warn(&mistake);
        }
    }
    watch.would_leave(Remains::Nothing);
    sandbox::stop(sandbox, &narrator).await;
    let measured = worked.outcome.is_some();
    let code = show::show(prepared, report, measured, args.quiet, &narrator);
    drop(watch);
    Ok(ExitCode::from(code))
}

/// A signal came before the run had begun: there's nothing to report and nothing to clean up.
fn stopped_early() -> Result<ExitCode, CommandError> {
    let verdict = Verdict::Interrupted;
    super::print(&format!(
        "VERDICT: {} (exit code {}): stopped by a signal before anything was touched\n",
        verdict.words(),
        verdict.exit_code()
    ))?;
    Ok(ExitCode::from(verdict.exit_code()))
}
