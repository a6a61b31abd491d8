//! What came of a run: the report, judged.

use std::time::Duration;

use throng_engine::{EndedBy, Executor, RunOutcome, StopSignals};
use throng_metrics::{
    Catalog, Cleanup, Evidence, GeneratorHealth, GroundTruth, Limits, Measured, Report, RunInfo,
    StartTally, StepId, Table, Tally, Threshold, ThresholdReport, Verdict, WorkflowTally, judge,
};
use throng_workflow::Program;
use throng_workflow::model::Mode;

use super::findings;
use super::prepare::Prepared;
use super::setup::Made;
use super::work::Worked;

/// What came of it all.
pub(super) fn report(
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
pub(super) fn never_succeeded<'a>(
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
            unsent: false,
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
