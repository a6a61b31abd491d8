//! Verdicts hold by their rules, and the first in order is the exit code.

use std::time::Duration;

use throng_metrics::{
    Cleanup, Event, Evidence, FailureKind, GroundTruth, IterationOutcome, Limits, Outcome,
    Threshold, ThresholdReport, Verdict, VerdictReport, Verdicts, Violations, judge,
};

use crate::fixture::{CREATE, Run, SHARE, events, failed, iteration, ms, step};

fn names(verdicts: &Verdicts) -> Vec<Verdict> {
    verdicts.holding().iter().map(|h| h.name).collect()
}

fn judged(events: &[Event]) -> Verdicts {
    let run = Run::of(events);
    judge(&Evidence {
        measured: Some(&run.measured()),
        ..Evidence::default()
    })
}

#[test]
fn codes_are_as_documented_and_unique() {
    let codes: Vec<_> = Verdict::ALL.iter().map(|v| v.exit_code()).collect();
    assert_eq!(codes, [0, 2, 3, 93, 105, 99, 98, 97, 96, 95, 94, 92]);
    assert!(Verdict::ALL.is_sorted());
}

#[test]
fn a_run_with_successes_passes() {
    let verdicts = judged(&events());
    assert_eq!(verdicts.holding(), []);
    assert_eq!((verdicts.first(), verdicts.exit_code()), (Verdict::Pass, 0));
}

#[test]
fn a_run_without_samples_is_never_a_pass() {
    let verdicts = judged(&[]);
    assert_eq!(names(&verdicts), [Verdict::NoData]);
    assert_eq!(verdicts.exit_code(), 96);
    let verdicts = judge(&Evidence::default());
    assert_eq!(names(&verdicts), [Verdict::NoData]);
}

#[test]
fn what_could_not_be_set_up_is_not_called_no_data_too() {
    let verdicts = judge(&Evidence {
        setup_failures: &["login failed for 4 of 4 users".to_owned()],
        ..Evidence::default()
    });
    assert_eq!(names(&verdicts), [Verdict::TargetFailed]);
    assert_eq!(verdicts.exit_code(), 3);
}

#[test]
fn total_failure_is_a_failed_target() {
    let failure = || failed(FailureKind::Tool, "boom", "boom at line 7");
    let events: Vec<_> = (0..10)
        .flat_map(|n| {
            let times = [n * 1_000, n * 1_000, n * 1_000 + 5];
            [
                step(CREATE, 0, times, failure()),
                iteration(SHARE, 0, times, IterationOutcome::Failed(None)),
            ]
        })
        .collect();
    let verdicts = judged(&events);
    assert_eq!(names(&verdicts), [Verdict::TargetFailed]);
    assert_eq!(
        verdicts.holding()[0].reasons,
        ["not one of 10 executions succeeded; most often (10 times): tool: boom"]
    );
}

#[test]
fn a_signal_outranks_thresholds_and_no_data_but_not_a_target_that_died() {
    let mut run = Run::of(&events());
    let failing = |run: &Run| {
        "p95<1us"
            .parse::<Threshold>()
            .unwrap()
            .evaluate(&run.measured())
    };
    let judged = |run: &Run, thresholds: &[ThresholdReport]| {
        let measured = run.measured();
        let verdicts = judge(&Evidence {
            measured: Some(&measured),
            thresholds,
            interrupted: Some("SIGINT"),
            ..Evidence::default()
        });
        (verdicts.exit_code(), names(&verdicts))
    };
    let thresholds = [failing(&run)];
    assert_eq!(
        judged(&run, &thresholds),
        (105, vec![Verdict::Interrupted, Verdict::ThresholdsFailed])
    );
    run = Run::of(&[]);
    assert_eq!(judged(&run, &[]), (105, vec![Verdict::Interrupted]));
    run = Run::of(&good_until_then((0..10).map(|n| 12_300 + n * 200)));
    assert_eq!(
        judged(&run, &thresholds),
        (
            3,
            vec![
                Verdict::TargetFailed,
                Verdict::Interrupted,
                Verdict::ThresholdsFailed
            ]
        )
    );
    let nothing = judge(&Evidence {
        interrupted: Some("SIGINT"),
        ..Evidence::default()
    });
    assert_eq!(names(&nothing), [Verdict::Interrupted]);
}

fn let_in() -> Outcome {
    let example = "read: u2 (reviewer) called get and was NOT refused; answer: {}";
    failed(FailureKind::NotRefused, "was not refused", example)
}

#[test]
fn one_access_violation_among_many_successes_fails_the_run() {
    let mut events = events();
    events.push(step(CREATE, 0, [0, 0, 50], let_in()));
    let run = Run::of(&events);
    let measured = run.measured();
    let thresholds: Vec<_> = ["not_refused==0", "error_rate<5%"]
        .into_iter()
        .map(|text| text.parse::<Threshold>().unwrap().evaluate(&measured))
        .collect();
    let told = "access violation: read: u2 (reviewer) called get and was NOT refused; answer: {}";
    for (thresholds, reason) in [
        (&thresholds[..], format!("not_refused==0: 1, {told}")),
        // Whatever thresholds there are.
        (&thresholds[1..], format!("not_refused: 1, {told}")),
    ] {
        let verdicts = judge(&Evidence {
            measured: Some(&measured),
            thresholds,
            ..Evidence::default()
        });
        assert_eq!(names(&verdicts), [Verdict::ThresholdsFailed]);
        assert_eq!(verdicts.holding()[0].reasons, [reason]);
    }
}

#[test]
fn an_access_violation_of_the_warm_up_fails_the_run_too() {
    let run = Run::of(&events());
    let measured = run.measured();
    let holds = "not_refused==0".parse::<Threshold>().unwrap();
    let thresholds = [holds.evaluate(&measured)];
    let judged = |found: &Violations| {
        judge(&Evidence {
            measured: Some(&measured),
            thresholds: &thresholds,
            let_in_warming_up: Some(found),
            ..Evidence::default()
        })
    };
    let verdicts = judged(&Violations {
        count: 2,
        example: "u2 (reviewer) called get and was NOT refused".to_owned(),
    });
    assert_eq!(verdicts.exit_code(), 99);
    assert_eq!(
        verdicts.holding()[0].reasons,
        [
            "not_refused: 2 in the warm-up, access violation: u2 (reviewer) called get and was NOT refused"
        ]
    );
    assert_eq!(judged(&Violations::default()).first(), Verdict::Pass);
}

#[test]
fn a_target_that_counted_otherwise_makes_the_figures_unbelievable() {
    let truth = |differing| GroundTruth {
        agrees: differing == 0,
        calls_measured: 10,
        calls_in_journal: 9,
        differing,
        differences: vec!["share/create by u1: 2 measured, 1 in the journal".to_owned()],
    };
    let judged = |events: &[Event], differing| {
        let run = Run::of(events);
        judge(&Evidence {
            measured: Some(&run.measured()),
            ground_truth: Some(&truth(differing)),
            ..Evidence::default()
        })
    };
    let verdicts = judged(&events(), 2);
    assert_eq!(verdicts.exit_code(), 95);
    assert_eq!(
        verdicts.holding()[0].reasons,
        [
            "10 calls were measured, but the target's journal has 9; 2 counts differ, the first: share/create by u1: 2 measured, 1 in the journal"
        ]
    );
    assert_eq!(judged(&events(), 0).first(), Verdict::Pass);
    // Of two calls without an answer nobody can say whether they reached the target.
    let mut events = events();
    let silent = |kind| failed(kind, "gone", "gone");
    events.push(step(CREATE, 0, [0, 0, 50], silent(FailureKind::Timeout)));
    events.push(step(CREATE, 0, [0, 0, 60], Outcome::Unfinished));
    let unanswered = Run::of(&events).tally;
    let more = unanswered.errors().iter();
    let more: u64 = more
        .filter(|(kind, _, _)| kind.is_unanswered())
        .map(|(_, _, group)| group.count)
        .sum::<u64>()
        + unanswered.unfinished_calls();
    assert_eq!(judged(&events, more).first(), Verdict::Pass);
    assert_eq!(
        judged(&events, more + 1).first(),
        Verdict::GeneratorUnhealthy
    );
}

#[test]
fn a_target_that_lets_everybody_in_has_not_failed() {
    let times = |n: u64| [n * 1_000, n * 1_000, n * 1_000 + 5];
    let mut events: Vec<_> = (0..10)
        .flat_map(|n| {
            [
                step(CREATE, 0, times(n), let_in()),
                iteration(SHARE, 0, times(n), IterationOutcome::Failed(None)),
            ]
        })
        .collect();
    let verdicts = judged(&events);
    assert_eq!(names(&verdicts), [Verdict::ThresholdsFailed]);
    assert_eq!(verdicts.exit_code(), 99);
    // Where most of it fails in another way, that is the news.
    let boom = || failed(FailureKind::Http, "HTTP 500", "HTTP 500");
    events.extend((10..30).map(|n| step(CREATE, 0, times(n), boom())));
    assert_eq!(
        names(&judged(&events)),
        [Verdict::TargetFailed, Verdict::ThresholdsFailed]
    );
}

#[test]
fn a_run_stopped_before_its_first_success_is_only_interrupted() {
    let run = Run::of(&[
        step(CREATE, 0, [0, 0, 100], Outcome::Success),
        iteration(SHARE, 0, [0, 0, 200], IterationOutcome::Interrupted),
    ]);
    let mut evidence = Evidence {
        interrupted: Some("SIGINT"),
        ..Evidence::default()
    };
    let measured = run.measured();
    evidence.measured = Some(&measured);
    assert_eq!(names(&judge(&evidence)), [Verdict::Interrupted]);
    evidence.interrupted = None;
    assert_eq!(names(&judge(&evidence)), [Verdict::TargetFailed]);
}

fn good_until_then(tail: impl Iterator<Item = u64>) -> Vec<Event> {
    let mut events = vec![
        step(CREATE, 0, [0, 0, 100], Outcome::Success),
        iteration(SHARE, 0, [0, 0, 100], IterationOutcome::Success),
        step(CREATE, 0, [12_000, 12_000, 12_250], Outcome::Success),
    ];
    for at in tail {
        let gone = failed(FailureKind::Transport, "connection refused", "...");
        events.push(step(CREATE, 0, [at, at, at], gone));
    }
    events
}

#[test]
fn a_target_that_stopped_answering_failed() {
    let verdicts = judged(&good_until_then((0..10).map(|n| 12_300 + n * 200)));
    assert_eq!(
        verdicts.holding()[0].reasons,
        ["stopped answering at 12.3 s: connection refused"]
    );
    assert_eq!(verdicts.exit_code(), 3);
}

#[test]
fn a_target_that_hangs_has_stopped_answering_however_few_calls_waited_for_it() {
    let silent = |began: u64| {
        let mut events = good_until_then(std::iter::empty());
        let last = failed(FailureKind::Timeout, "no answer until the run ended", "...");
        events.push(step(CREATE, 0, [began, began, 20_000], last));
        judged(&events)
    };
    let verdicts = silent(12_000);
    assert_eq!(verdicts.exit_code(), 3);
    let reason = &verdicts.holding()[0].reasons[0];
    assert!(reason.starts_with("stopped answering at 12."), "{reason}");
    // One that began late says nothing yet.
    assert_eq!(silent(15_500).first(), Verdict::Pass);
}

#[test]
fn a_few_or_brief_failures_at_the_end_are_no_failed_target() {
    let few = good_until_then((0..4).map(|n| 12_300 + n * 500));
    assert_eq!(judged(&few).first(), Verdict::Pass);
    let brief = good_until_then((0..100).map(|n| 12_300 + n * 9));
    assert_eq!(judged(&brief).first(), Verdict::Pass);
    let mut recovered = good_until_then((0..10).map(|n| 12_300 + n * 200));
    recovered.push(step(CREATE, 0, [15_000, 15_000, 15_001], Outcome::Success));
    assert_eq!(judged(&recovered).first(), Verdict::Pass);
}

#[test]
fn a_generator_that_lagged_or_was_too_busy_is_unhealthy() {
    let mut run = Run::of(&events());
    run.generator.starts.lag.record(ms(11));
    run.generator.cpu = Duration::from_secs(19);
    let verdicts = judge(&Evidence {
        measured: Some(&run.measured()),
        ..Evidence::default()
    });
    assert_eq!(names(&verdicts), [Verdict::GeneratorUnhealthy]);
    assert_eq!(verdicts.holding()[0].reasons.len(), 2, "{verdicts:?}");
    let lenient = Limits {
        lag_p99: ms(20),
        cpu_share: 1.0,
        ..Limits::default()
    };
    let verdicts = judge(&Evidence {
        measured: Some(&run.measured()),
        limits: lenient,
        ..Evidence::default()
    });
    assert_eq!(verdicts.first(), Verdict::Pass);
}

#[test]
fn a_rate_that_was_not_reached_is_no_pass() {
    let mut run = Run::of(&events());
    run.generator.starts.taken = 990;
    run.generator.starts.dropped_full = 10;
    let judged = |run: &Run| {
        judge(&Evidence {
            measured: Some(&run.measured()),
            ..Evidence::default()
        })
    };
    assert_eq!(judged(&run).first(), Verdict::Pass);
    run.generator.starts.dropped_at_end = 10;
    assert_eq!(names(&judged(&run)), [Verdict::GeneratorUnhealthy]);
}

#[test]
fn several_hold_and_the_first_in_order_is_the_code() {
    let run = Run::of(&[]);
    let threshold = ThresholdReport {
        expression: "p95<1ms".into(),
        actual: Some(0.002),
        actual_text: "2ms".into(),
        passed: false,
        reason: None,
    };
    let cleanup = Cleanup {
        created: 5,
        deleted: 3,
        left: 2,
        names: vec!["a".into(), "b".into()],
        ..Cleanup::default()
    };
    let verdicts = judge(&Evidence {
        measured: Some(&run.measured()),
        thresholds: &[threshold],
        regressions: &["p95 is 2 times what it was".to_owned()],
        findings: &["500 for an empty body".to_owned()],
        cleanup: Some(&cleanup),
        interrupted: Some("SIGTERM"),
        ..Evidence::default()
    });
    assert_eq!(
        names(&verdicts),
        [
            Verdict::Interrupted,
            Verdict::ThresholdsFailed,
            Verdict::Regression,
            Verdict::Findings,
            Verdict::CleanupIncomplete,
        ]
    );
    assert_eq!(verdicts.exit_code(), 105);
    assert_eq!(
        verdicts.holding()[4].reasons,
        ["2 of 5 created are still on the target"]
    );
}

#[test]
fn reasons_of_one_verdict_are_kept_together_whatever_the_order() {
    let mut verdicts = Verdicts::default();
    verdicts.add(Verdict::Interrupted, "signal");
    verdicts.add(Verdict::TargetFailed, "one");
    verdicts.add(Verdict::Pass, "cannot be");
    verdicts.add(Verdict::TargetFailed, "two");
    assert_eq!(
        names(&verdicts),
        [Verdict::TargetFailed, Verdict::Interrupted]
    );
    assert_eq!(verdicts.holding()[0].reasons, ["one", "two"]);
}

#[test]
fn a_scenario_that_does_not_fit_is_no_failed_target() {
    let mistakes = ["a.yaml:1:1: no tool `x`".to_owned(), "two".to_owned()];
    let verdicts = judge(&Evidence {
        drift: &mistakes,
        ..Evidence::default()
    });
    assert_eq!(names(&verdicts), [Verdict::Drift]);
    assert_eq!(verdicts.holding()[0].reasons, mistakes);
}

#[test]
fn what_is_found_late_takes_its_place_in_the_order() {
    let mut verdicts = Verdicts::default();
    verdicts.add(Verdict::CleanupIncomplete, "one stays");
    let mut report = VerdictReport::of(&verdicts);
    report.add(Verdict::ReportNotWritten, "no space");
    assert_eq!((report.code, report.name), (94, Verdict::CleanupIncomplete));
    assert_eq!(report.all.len(), 2);
    report.add(Verdict::ThresholdsFailed, "p95");
    assert_eq!((report.code, report.all.len()), (99, 3));
}
