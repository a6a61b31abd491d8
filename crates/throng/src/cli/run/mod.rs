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
mod open;
pub(crate) mod prepare;
pub(crate) mod setup;
pub(crate) mod stay;
mod swarms;
mod teardown;
pub(crate) mod visit;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use throng_engine::{EndedBy, Executor, RunOutcome, StopSignals};
use throng_fuzz::shell;
use throng_metrics::report::console;
use throng_metrics::{
    Catalog, Cleanup, Evidence, GeneratorHealth, GroundTruth, Limits, Measured, Report, RunInfo,
    StartTally, StepId, Table, Tally, Threshold, ThresholdReport, Verdict, WorkflowTally, clean,
    judge,
};

use throng_workflow::Program;
use throng_workflow::Scenario;
use throng_workflow::model::{LoginKind, Mode};

use self::export::Export;
use self::job::Job;
use self::prepare::Prepared;
use self::setup::{Made, unless_stopped};
use self::work::Worked;
pub(crate) use self::work::misfit;
use super::args::RunArgs;
use super::narrator::Narrator;
use super::signals::{Remains, SignalWatch};
use super::{CommandError, Output, runtime, sandbox_process::SandboxProcess, settings, signals};

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
        let watch = signals::watch(stop.clone()).map_err(|error| {
            CommandError::failed(anyhow::Error::new(error).context("watching for signals"))
        })?;
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
    let sandbox = match prepared.place {
        settings::Place::Sandbox => {
            let started = start_sandbox(&mut prepared, args, &narrator);
            match unless_stopped(stop, started).await {
                Ok(sandbox) => Some(sandbox?),
                Err(_) => return stopped_early(),
            }
        }
        settings::Place::Target => None,
    };
    if stop.drain.is_cancelled() {
        return stopped_early();
    }
    let mut made = prepared.begin().await?;
    watch.would_leave(prepared.remains());
    prepared.introduce(&made, &narrator);

    let worked = work::work(&prepared, &mut made, stop, &mut narrator).await;
    let cleanup = if prepared.cleans_up {
        let (place, concurrency) = (prepared.place, prepared.login_concurrency);
        teardown::clean_up(&made, place, concurrency, &stop.abort, &narrator).await
    } else {
        let (place, command) = (prepared.place, prepared.cleanup_command());
        teardown::keep(&made, place, command.as_deref(), &narrator).await
    };
    let mut truth = None;
    if let (Some(sandbox), Some(outcome)) = (&sandbox, &worked.outcome) {
        let catalog = worked.catalog.as_ref();
        let catalog = catalog.unwrap_or(&prepared.file.program.catalog);
        let not_renewing = prepared.file.program.not_renewing();
        let (client, url) = (&made.client, &sandbox.ready.url);
        match ground_truth::compare(client, url, catalog, &outcome.tally, &not_renewing).await {
            Ok(compared) => truth = Some(compared),
            Err(error) => narrator.warn(&format!("{error:#}")),
        }
    }
    let report = report(&prepared, &made, &worked, cleanup, truth, stop);
    if let Some(outcome) = &worked.outcome {
        let catalog = worked.catalog.as_ref();
        let catalog = catalog.unwrap_or(&prepared.file.program.catalog);
        for mistake in never_succeeded(catalog, &outcome.tally) {
            narrator.warn(&mistake);
        }
    }
    watch.would_leave(Remains::Nothing);
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        narrator.warn(&format!("{error:#}"));
    }
    let measured = worked.outcome.is_some();
    let code = show(prepared, report, measured, args.quiet, &narrator);
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

/// Starts the sandbox and puts its addresses into the scenario.
async fn start_sandbox(
    prepared: &mut Prepared<'_>,
    args: &RunArgs,
    narrator: &Narrator,
) -> Result<SandboxProcess, CommandError> {
    let kind = settings::SandboxKind::of(args);
    let issuer = args.issuer.issuer.as_deref();
    if let Some(issuer) = issuer {
        narrator.say(&format!(
            "Users are those of {issuer}: the scenario's directory, and what it sends after logins, are left out"
        ));
    }
    narrator.say(match kind {
        settings::SandboxKind::Nextcloud if issuer.is_some() => {
            "Starting a sandbox: a Nextcloud and its MCP server..."
        }
        settings::SandboxKind::Nextcloud => {
            "Starting a sandbox: a Nextcloud, its OpenID provider and its MCP server..."
        }
        settings::SandboxKind::Integr8scode => "Starting a sandbox: Integr8sCode's API...",
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
    Ok(sandbox)
}

/// What came of it all.
fn report(
    prepared: &Prepared<'_>,
    made: &Made,
    worked: &Worked,
    cleanup: Cleanup,
    truth: Option<GroundTruth>,
    stop: &StopSignals,
) -> Report {
    let limits = Limits::default();
    let catalog = worked.catalog.as_ref();
    let catalog = catalog.unwrap_or(&prepared.file.program.catalog);
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
    // Thresholds, and whether the target is any good, are asked of the users alone: a monkey is there to be refused.
    let judged = Measured {
        tally: worked.users.as_ref().unwrap_or(tally),
        ..measured
    };
    // Without measurements no threshold says anything that the failed set-up, the signal or "no data" doesn't.
    let thresholds: Vec<_> = match worked.outcome {
        Some(_) if anything(judged.tally, &generator.starts) => prepared
            .thresholds
            .iter()
            .map(|threshold| {
                let result = threshold.evaluate(&judged);
                never_attempted(threshold, result, &prepared.file.program, judged.tally)
            })
            .collect(),
        _ => Vec::new(),
    };
    let interrupted = interruption(prepared, worked, stop);
    let findings = worked.found.as_ref().map(findings::reasons);
    let mut verdicts = judge(&Evidence {
        setup_failures: &worked.failures,
        drift: &worked.drift,
        measured: worked.outcome.is_some().then_some(&judged),
        counted: Some(tally),
        findings: findings.as_deref().unwrap_or_default(),
        let_in_warming_up: worked
            .outcome
            .as_ref()
            .map(|outcome| &outcome.let_in_warming_up),
        ground_truth: truth.as_ref(),
        thresholds: &thresholds,
        cleanup: (!cleanup.kept).then_some(&cleanup),
        interrupted: interrupted.as_deref(),
        limits,
        ..Evidence::default()
    });
    if interrupted.is_none() {
        let found = worked.found.as_ref();
        if let Some((verdict, why)) = found.and_then(findings::unanswered) {
            verdicts.add(verdict, why);
        } else if worked.monkey_calls == Some(0) {
            verdicts.add(Verdict::NoData, "the monkeys sent nothing");
        }
    }
    let mut report = Report::new(
        info(prepared, made, worked),
        &measured,
        thresholds,
        &verdicts,
        &limits,
        Some(cleanup),
    );
    report.ground_truth = truth;
    report.monkey = worked.found.as_ref().map(findings::report);
    report
}

/// Says of a condition on access that no step that must be refused ever ran: it holds, and proves nothing.
fn never_attempted(
    threshold: &Threshold,
    mut result: ThresholdReport,
    program: &Program,
    tally: &Tally,
) -> ThresholdReport {
    let steps = program.must_be_refused();
    let ran = |id: &StepId| {
        tally
            .steps()
            .get(id.0 as usize)
            .is_some_and(|it| it.count() > 0)
    };
    if threshold.is_on_access() && !steps.is_empty() && !steps.iter().any(ran) {
        result.actual_text = format!("{}, never attempted", result.actual_text);
    }
    result
}

/// Workflows of which every execution failed, while others succeeded: no threshold need have noticed.
fn never_succeeded<'a>(
    catalog: &'a Catalog,
    tally: &'a Tally,
) -> impl Iterator<Item = String> + 'a {
    let all = catalog.workflows.iter().zip(tally.workflows());
    all.filter(|(_, workflow)| workflow.succeeded == 0 && workflow.failed > 0)
        .map(|(info, workflow)| {
            format!(
                "not one of {} executions of {} succeeded",
                workflow.failed, info.name
            )
        })
}

/// Whether anything was measured: what was cut off was not.
fn anything(tally: &Tally, starts: &StartTally) -> bool {
    let ended = |workflow: &WorkflowTally| workflow.count() > workflow.interrupted;
    tally.calls() > tally.unfinished_calls()
        || tally.workflows().iter().any(ended)
        || starts.dropped() > 0
}

/// How far the run had come when a signal ended it; none if none did.
fn interruption(prepared: &Prepared<'_>, worked: &Worked, stop: &StopSignals) -> Option<String> {
    if !stop.drain.is_cancelled() {
        return None;
    }
    match &worked.outcome {
        Some(outcome) => cut_short(outcome, prepared.load.duration),
        None => Some("stopped by a signal before the load began".to_owned()),
    }
}

/// What a signal took away from a load of such a duration; none if nothing.
fn cut_short(outcome: &RunOutcome, duration: Duration) -> Option<String> {
    let workflows = outcome.tally.workflows().iter();
    let interrupted: u64 = workflows.map(|workflow| workflow.interrupted).sum();
    // Who asks twice to hurry when the time is up, and finds all done, has interrupted nothing.
    let all =
        outcome.let_out >= duration && outcome.tally.unfinished_calls() == 0 && interrupted == 0;
    if outcome.ended_by == EndedBy::Finished || all {
        return None;
    }
    let after = if outcome.let_out.is_zero() {
        "before anything was measured".to_owned()
    } else {
        format!(
            "after {:.1} s of {} s",
            outcome.let_out.as_secs_f64(),
            duration.as_secs_f64()
        )
    };
    let cut = match outcome.tally.unfinished_calls() {
        0 => String::new(),
        1 => "; 1 call was cut off, which is no error".to_owned(),
        calls => format!("; {calls} calls were cut off, which are no errors"),
    };
    Some(format!("stopped by a signal {after}{cut}"))
}

fn info(prepared: &Prepared<'_>, made: &Made, worked: &Worked) -> RunInfo {
    let throng = ("throng".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let versions: Table<String> = std::iter::once(throng)
        .chain(worked.versions.iter().cloned())
        .collect();
    RunInfo {
        id: made.run.as_str().to_owned(),
        scenario: prepared.file.scenario.name.clone(),
        mode: prepared.mode().word().to_owned(),
        workload: match prepared.mode() {
            Mode::Monkey => throng_fuzz::monkey::WORKFLOW.to_owned(),
            Mode::User | Mode::Both => prepared.workload(),
        },
        executor: match prepared.load.executor {
            Executor::ConstantVus => "constant-vus".to_owned(),
            Executor::ConstantArrivalRate { rate, .. } => {
                format!("constant-arrival-rate ({}/s)", rate.per_second())
            }
        },
        login: prepared.file.scenario.login.kind.word().to_owned(),
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
    if prepared.plots && measured {
        let (directory, stem) = prepared.beside();
        match throng_charts::write_all(&report, &directory, &stem) {
            Ok(pictures) => {
                let first = pictures.first().map(|path| path.display().to_string());
                narrator.say(&format!(
                    "{} pictures written: {}, ...",
                    pictures.len(),
                    first.unwrap_or_default()
                ));
            }
            Err(error) => {
                let words = super::words(&error.into());
                narrator.warn(&words);
                report.verdict.add(Verdict::ReportNotWritten, words);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use throng_metrics::{
        Catalog, Event, IterationOutcome, IterationSample, Outcome, Sample, StepId, UserId,
        Violations, WorkflowId,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn call(outcome: Outcome) -> Event {
        Event::Step(sample(outcome))
    }

    fn sample(outcome: Outcome) -> Sample {
        Sample {
            step: StepId(0),
            user: UserId(0),
            intended: Duration::ZERO,
            started: Duration::ZERO,
            ended: SECOND,
            sent: 0,
            received: 0,
            status: None,
            outcome,
        }
    }

    fn execution(outcome: IterationOutcome) -> Event {
        Event::Iteration(IterationSample {
            workflow: WorkflowId(0),
            user: UserId(0),
            intended: Duration::ZERO,
            started: Duration::ZERO,
            ended: SECOND,
            outcome,
        })
    }

    fn tally(events: &[Event]) -> Tally {
        let mut tally = Tally::new(&Catalog::default());
        for event in events {
            tally.add(event);
        }
        tally
    }

    fn aborted(let_out: Duration, events: &[Event]) -> RunOutcome {
        RunOutcome {
            tally: tally(events),
            generator: GeneratorHealth::default(),
            users_started: 1,
            measured: 4 * SECOND,
            let_out,
            let_in_warming_up: Violations::default(),
            discarded: 0,
            ended_by: EndedBy::Aborted,
            user_errors: Vec::new(),
        }
    }

    #[test]
    fn what_was_cut_off_is_nothing_that_a_threshold_could_be_held_against() {
        let starts = StartTally::default();
        let cut = [
            call(Outcome::Unfinished),
            execution(IterationOutcome::Interrupted),
        ];
        assert!(!anything(&tally(&cut), &starts));
        for more in [
            call(Outcome::Success),
            execution(IterationOutcome::Failed(None)),
        ] {
            assert!(anything(&tally(&[cut[0].clone(), more]), &starts));
        }
    }

    #[test]
    fn a_signal_is_said_to_have_come_within_the_duration_or_to_have_cut_something_off() {
        let done = call(Outcome::Success);
        let cut = call(Outcome::Unfinished);
        let told = |let_out, events: &[Event]| cut_short(&aborted(let_out, events), 2 * SECOND);
        assert_eq!(
            told(SECOND, std::slice::from_ref(&done)).as_deref(),
            Some("stopped by a signal after 1.0 s of 2 s")
        );
        assert_eq!(
            told(2 * SECOND, &[done.clone(), cut]).as_deref(),
            Some("stopped by a signal after 2.0 s of 2 s; 1 call was cut off, which is no error")
        );
        assert_eq!(told(2 * SECOND, &[done]), None);
    }

    /// A workload of two workflows, one with a step that must be refused.
    fn program() -> std::sync::Arc<Program> {
        let source = "name: x
target: { protocol: http, url: http://t/ }
login: { kind: none }
workflows:
  access:
    actors: [a]
    steps:
      - forbidden: { get: /x, refused: { error: denied, must: true } }
  look:
    actors: [a]
    steps: [{ see: { get: /y } }]
";
        let overrides = throng_workflow::Overrides::default();
        let environment = throng_workflow::Environment::new(&|_| None);
        let file = throng_workflow::ScenarioFile::parse("x", source, &overrides, &environment);
        file.map(|file| file.program).expect("a sound file")
    }

    #[test]
    fn a_condition_on_access_says_that_nothing_was_attempted() {
        let program = program();
        let threshold: Threshold = "not_refused==0".parse().expect("a threshold");
        let words = |step: u32| {
            let mut tally = Tally::new(&program.catalog);
            tally.add(&Event::Step(Sample {
                step: StepId(step),
                ..sample(Outcome::Refused)
            }));
            let measured = Measured {
                catalog: &program.catalog,
                tally: &tally,
                phases: &[],
                generator: &GeneratorHealth::default(),
            };
            let result = threshold.evaluate(&measured);
            let result = never_attempted(&threshold, result, &program, &tally);
            assert!(result.passed);
            result.actual_text
        };
        assert_eq!(words(0), "0");
        assert_eq!(words(1), "0, never attempted");
    }

    #[test]
    fn a_workflow_that_never_succeeded_is_named() {
        let program = program();
        let failed = execution(IterationOutcome::Failed(None));
        let named = |events: &[Event]| {
            let mut tally = Tally::new(&program.catalog);
            events.iter().for_each(|event| tally.add(event));
            never_succeeded(&program.catalog, &tally).collect::<Vec<_>>()
        };
        assert_eq!(
            named(&[failed.clone(), failed.clone()]),
            ["not one of 2 executions of access succeeded"]
        );
        assert!(named(&[failed, execution(IterationOutcome::Success)]).is_empty());
        assert!(named(&[execution(IterationOutcome::Interrupted)]).is_empty());
    }
}
