//! Who is started, iterated and stopped, in which order, when calls fail, panic, hang or are cancelled.

use std::{
    future::pending,
    sync::{Arc, Mutex, OnceLock},
};

use anyhow::bail;
use throng_engine::{EndedBy, Head, IterCx, Load, RunOutcome, StopSignals, UserCx, UserStage};
use throng_metrics::{FailureKind, StepId, WorkflowId};
use tokio::time::{Instant, sleep};

use crate::support::{Boxed, Script, ms, one_step, run_script, run_script_until, seconds};

fn load() -> Load {
    Load {
        users: 3,
        warmup: seconds(0),
        duration: seconds(2),
        pause: ms(100),
        graceful_stop: seconds(5),
        abort_grace: seconds(1),
        ..Load::default()
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Each different entry once, in the order of its first appearance; users that do the same one after another
    /// are sorted, since nothing is promised about them.
    fn order(&self) -> Vec<String> {
        let mut order: Vec<String> = Vec::new();
        for entry in self.0.lock().unwrap().iter() {
            if !order.contains(entry) {
                order.push(entry.clone());
            }
        }
        let call = |entry: &String| entry.split(' ').next().unwrap().to_owned();
        for same in order.chunk_by_mut(|left, right| call(left) == call(right)) {
            same.sort_unstable();
        }
        order
    }
}

/// What a call does after it has written to the log.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Succeed,
    Fail,
    Panic,
    /// Does not return, whatever it is told.
    Hang,
    /// Does not return before its abort signal is given.
    HangUntilAborted,
}

async fn act(deed: Deed, stop: &StopSignals) -> anyhow::Result<()> {
    match deed {
        Deed::Succeed => Ok(()),
        Deed::Fail => bail!("planted failure"),
        Deed::Panic => panic!("planted panic"),
        Deed::Hang => pending().await,
        Deed::HangUntilAborted => {
            stop.abort.cancelled().await;
            bail!("gave up")
        }
    }
}

/// Users that log what they do. User 1 does the given deeds; the others succeed.
fn logged(log: &Log, start: Deed, iterate: Deed, stop: Deed) -> Script {
    let on_user = |name: &'static str, deed: Deed| {
        let log = log.clone();
        move |cx: &UserCx| -> (String, Deed, Log) {
            let user = cx.user().0;
            let deed = if user == 1 { deed } else { Deed::Succeed };
            (format!("{name} {user}"), deed, log.clone())
        }
    };
    let (on_start, on_stop) = (on_user("start", start), on_user("stop", stop));
    let log = log.clone();
    Script {
        start: Box::new(move |cx| {
            let (entry, deed, log) = on_start(cx);
            Box::pin(async move {
                // In the order of users.
                sleep(ms(u64::from(cx.user().0) * 10)).await;
                log.add(entry);
                act(deed, cx.stop()).await
            })
        }),
        iterate: Box::new(move |cx: &IterCx| -> Boxed<'_, ()> {
            let log = log.clone();
            Box::pin(async move {
                cx.began(WorkflowId(0));
                log.add(format!("iterate {}", cx.user().0));
                one_step(cx, ms(10)).await?;
                let deed = if cx.user().0 == 1 {
                    iterate
                } else {
                    Deed::Succeed
                };
                act(deed, cx.stop()).await
            })
        }),
        stop: Box::new(move |cx| {
            let (entry, deed, log) = on_stop(cx);
            Box::pin(async move {
                sleep(ms(u64::from(cx.user().0) * 10)).await;
                log.add(entry);
                act(deed, cx.stop()).await
            })
        }),
    }
}

const ALL: [&str; 9] = [
    "start 0",
    "start 1",
    "start 2",
    "iterate 0",
    "iterate 1",
    "iterate 2",
    "stop 0",
    "stop 1",
    "stop 2",
];

fn without(entries: &[&str]) -> Vec<&'static str> {
    ALL.into_iter()
        .filter(|entry| !entries.contains(entry))
        .collect()
}

fn error_of(outcome: &RunOutcome) -> (UserStage, &str) {
    let [error] = outcome.user_errors.as_slice() else {
        panic!("{:?}", outcome.user_errors)
    };
    assert_eq!(error.user.0, 1);
    (error.stage, &error.message)
}

#[tokio::test(start_paused = true)]
async fn all_start_before_any_iterates_and_stop_after_all_have() {
    let log = Log::default();
    let outcome = run_script(
        &load(),
        logged(&log, Deed::Succeed, Deed::Succeed, Deed::Succeed),
    )
    .await;
    assert_eq!(log.order(), ALL);
    assert_eq!(outcome.ended_by, EndedBy::Finished);
    assert_eq!(outcome.user_errors, []);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_cannot_start_takes_no_part_and_holds_nobody_up() {
    for (deed, message) in [
        (Deed::Fail, "planted failure"),
        (Deed::Panic, "panicked: planted panic"),
    ] {
        let log = Log::default();
        let outcome = run_script(&load(), logged(&log, deed, Deed::Succeed, Deed::Succeed)).await;
        assert_eq!(log.order(), without(&["iterate 1", "stop 1"]), "{deed:?}");
        assert_eq!(error_of(&outcome), (UserStage::Start, message));
        assert_eq!(outcome.users_started, 2);
        assert_eq!(outcome.ended_by, EndedBy::Finished);
        assert!(outcome.tally.calls() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn failing_and_panicking_iterations_are_recorded_and_the_user_goes_on() {
    for (deed, kind, cause) in [
        (Deed::Fail, FailureKind::Scenario, "planted failure"),
        (Deed::Panic, FailureKind::Scenario, "the scenario panicked"),
    ] {
        let log = Log::default();
        let outcome = run_script(&load(), logged(&log, Deed::Succeed, deed, Deed::Succeed)).await;
        assert_eq!(log.order(), ALL, "{deed:?}");
        assert_eq!(outcome.user_errors, []);
        let workflow = outcome.tally.workflow(WorkflowId(0));
        // As many as the others: a third.
        assert!(workflow.failed > 10, "{workflow:?}");
        assert_eq!(workflow.failed, workflow.succeeded / 2);
        let (found_kind, found_cause, group) = outcome.tally.errors().iter().next().unwrap();
        assert_eq!((found_kind, found_cause), (kind, cause));
        assert_eq!(group.count, workflow.failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_stop_fails_is_named_and_the_others_are_stopped() {
    for (deed, message) in [
        (Deed::Fail, "planted failure"),
        (Deed::Panic, "panicked: planted panic"),
        (Deed::Hang, "given up after 5s"),
        (Deed::HangUntilAborted, "gave up"),
    ] {
        let log = Log::default();
        let outcome = run_script(&load(), logged(&log, Deed::Succeed, Deed::Succeed, deed)).await;
        assert_eq!(log.order(), ALL, "{deed:?}");
        assert_eq!(error_of(&outcome), (UserStage::Stop, message));
        assert_eq!(outcome.ended_by, EndedBy::Finished);
    }
}

#[tokio::test(start_paused = true)]
async fn an_iteration_that_does_not_end_is_asked_and_then_dropped() {
    for (deed, takes) in [
        // Duration and graceful stop; then it obeys.
        (Deed::HangUntilAborted, seconds(7)),
        // The abort's grace on top.
        (Deed::Hang, seconds(8)),
    ] {
        let log = Log::default();
        let began = Instant::now();
        let outcome = run_script(&load(), logged(&log, Deed::Succeed, deed, Deed::Succeed)).await;
        let took = began.elapsed();
        assert!(
            took >= takes && took < takes + ms(200),
            "{deed:?} took {took:?}"
        );
        assert_eq!(log.order(), ALL);
        // Nobody stopped it: it was too slow.
        let workflow = outcome.tally.workflow(WorkflowId(0));
        assert_eq!((workflow.failed, workflow.interrupted), (1, 0));
        let (kind, cause, group) = outcome.tally.errors().iter().next().expect("a failure");
        assert_eq!(kind, FailureKind::Timeout);
        assert!(cause.contains("did not end in time"), "{cause}");
        assert!(
            group.example.ends_with("graceful stop of 5s, too"),
            "{}",
            group.example
        );
        assert_eq!(outcome.ended_by, EndedBy::Finished);
        assert_eq!(outcome.user_errors, []);
    }
}

/// Gives signals at times, each from the beginning.
fn signals(drain: Option<u64>, abort: Option<u64>) -> StopSignals {
    let stop = StopSignals::default();
    for (at, token) in [(drain, &stop.drain), (abort, &stop.abort)] {
        if let Some(at) = at {
            let token = token.clone();
            tokio::spawn(async move {
                sleep(ms(at)).await;
                token.cancel();
            });
        }
    }
    stop
}

#[tokio::test(start_paused = true)]
async fn draining_starts_nothing_new_and_stops_everybody() {
    let log = Log::default();
    let began = Instant::now();
    let script = logged(&log, Deed::Succeed, Deed::Succeed, Deed::Succeed);
    let outcome = run_script_until(&load(), script, signals(Some(500), None)).await;
    assert!(began.elapsed() < ms(700), "{:?}", began.elapsed());
    assert_eq!(log.order(), ALL);
    assert_eq!(outcome.ended_by, EndedBy::Drained);
    let workflow = outcome.tally.workflow(WorkflowId(0));
    assert_eq!((workflow.failed, workflow.interrupted), (0, 0));
    assert!(outcome.measured < ms(600), "{:?}", outcome.measured);
    // Of these 500 ms the start of the users took 20.
    assert_eq!(outcome.let_out, ms(480));
}

#[tokio::test(start_paused = true)]
async fn aborting_cuts_off_what_is_in_flight_and_still_stops_everybody() {
    for (drain, deed, takes) in [
        (None, Deed::HangUntilAborted, ms(500)),
        (None, Deed::Hang, ms(1_500)),
        // A second signal while draining.
        (Some(200), Deed::HangUntilAborted, ms(500)),
        (Some(200), Deed::Hang, ms(1_500)),
    ] {
        let log = Log::default();
        let began = Instant::now();
        let script = logged(&log, Deed::Succeed, deed, Deed::Succeed);
        let outcome = run_script_until(&load(), script, signals(drain, Some(500))).await;
        let took = began.elapsed();
        assert!(
            took >= takes && took < takes + ms(200),
            "{deed:?} took {took:?}"
        );
        assert_eq!(log.order(), ALL);
        assert_eq!(outcome.ended_by, EndedBy::Aborted);
        assert_eq!(outcome.tally.workflow(WorkflowId(0)).interrupted, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn users_that_hang_in_their_start_hold_up_the_start_only_until_somebody_stops_it() {
    for (drain, abort, ended_by, takes) in [
        // A drain waits as long as a graceful stop and the abort's grace.
        (Some(1_000), None, EndedBy::Drained, seconds(7)),
        (None, Some(1_000), EndedBy::Aborted, seconds(2)),
    ] {
        let log = Log::default();
        let began = Instant::now();
        let script = logged(&log, Deed::Hang, Deed::Succeed, Deed::Succeed);
        let outcome = run_script_until(&load(), script, signals(drain, abort)).await;
        let took = began.elapsed();
        assert!(took >= takes && took < takes + ms(200), "took {took:?}");
        // No load was put; who had started was stopped.
        assert_eq!(
            log.order(),
            ["start 0", "start 1", "start 2", "stop 0", "stop 2"]
        );
        let (stage, message) = error_of(&outcome);
        assert_eq!(stage, UserStage::Start);
        assert!(message.contains("stopped before"), "{message}");
        assert_eq!(outcome.ended_by, ended_by);
        assert_eq!(outcome.measured, ms(0));
        assert_eq!(outcome.tally.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_stopped_before_it_began_still_stops_its_users() {
    let log = Log::default();
    let stop = StopSignals::default();
    stop.drain.cancel();
    let script = logged(&log, Deed::Succeed, Deed::Succeed, Deed::Succeed);
    let outcome = run_script_until(&load(), script, stop).await;
    assert_eq!(
        log.order(),
        [
            "start 0", "start 1", "start 2", "stop 0", "stop 1", "stop 2"
        ]
    );
    assert_eq!(outcome.ended_by, EndedBy::Drained);
}

#[tokio::test(start_paused = true)]
async fn without_users_there_is_no_run() {
    let script = Script {
        start: Box::new(|_| Box::pin(async { bail!("no session") })),
        ..Script::default()
    };
    let began = Instant::now();
    let outcome = run_script(&load(), script).await;
    assert_eq!(outcome.ended_by, EndedBy::NotStarted);
    assert_eq!(outcome.users_started, 0);
    assert_eq!(outcome.user_errors.len(), 3);
    assert!(began.elapsed() < ms(100));
}

#[tokio::test(start_paused = true)]
async fn stopping_gets_a_fresh_budget_and_fresh_signals() {
    let log = Log::default();
    let seen = log.clone();
    let script = Script {
        stop: Box::new(move |cx| {
            let seen = seen.clone();
            Box::pin(async move {
                seen.add(format!("aborted: {}", cx.stop().abort.is_cancelled()));
                sleep(ms(900)).await;
                Ok(())
            })
        }),
        ..Script::default()
    };
    let outcome = run_script_until(&load(), script, signals(None, Some(500))).await;
    assert_eq!(log.order(), ["aborted: false"]);
    assert_eq!(outcome.user_errors, []);
}

#[tokio::test(start_paused = true)]
async fn a_step_in_flight_when_its_iteration_is_dropped_is_counted() {
    let script = Script {
        iterate: Box::new(|cx| Box::pin(one_step(cx, seconds(3_600)))),
        ..Script::default()
    };
    let outcome = run_script(&load(), script).await;
    let step = outcome.tally.step(StepId(0));
    assert_eq!((step.failed, step.unfinished, step.count()), (3, 0, 3));
    // The failure is the step's, and not once more the execution's.
    assert_eq!(outcome.tally.workflow(WorkflowId(0)).failed, 3);
    assert_eq!(outcome.tally.errors().iter().count(), 1);
    let silent = outcome.tally.silence().tail().unwrap();
    assert_eq!(silent.cause, "no answer until the run ended");
}

#[tokio::test(start_paused = true)]
async fn what_a_signal_cuts_off_is_no_failure() {
    // The second one, the patience after the first one, and the second one when the time was up.
    for (drain, abort, ended_by) in [
        (Some(200), Some(500), EndedBy::Aborted),
        (Some(200), None, EndedBy::Drained),
        (Some(2_500), Some(3_000), EndedBy::Aborted),
    ] {
        let script = Script {
            iterate: Box::new(|cx| Box::pin(one_step(cx, seconds(3_600)))),
            ..Script::default()
        };
        let outcome = run_script_until(&load(), script, signals(drain, abort)).await;
        assert_eq!(outcome.ended_by, ended_by);
        // How long it took to end is no part of what was let out, nor is what came after the time was up.
        let let_out = ms(drain.unwrap_or(2_000).min(2_000));
        assert_eq!(outcome.let_out, let_out);
        let step = outcome.tally.step(StepId(0));
        assert_eq!((step.failed, step.unfinished, step.count()), (0, 3, 3));
        let workflow = outcome.tally.workflow(WorkflowId(0));
        assert_eq!((workflow.failed, workflow.interrupted), (0, 3));
        assert!(outcome.tally.errors().is_empty());
    }
}

/// A user who listens for ever to a stream whose head was there at once.
fn listener(suffices: bool) -> Script {
    Script {
        iterate: Box::new(move |cx| {
            Box::pin(async move {
                let mut clock = cx.step_clock();
                let mut step = cx.begin(StepId(0), cx.user(), &mut clock);
                let head = Head {
                    at: std::time::Instant::now(),
                    status: Some(200),
                    sent: 30,
                    received: 70,
                };
                step.goes_on_after(Arc::new(OnceLock::from(head)), suffices);
                pending().await
            })
        }),
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_after_its_head_succeeds_by_it_only_if_that_suffices() {
    for (suffices, abort, counts) in [
        (true, None, (3, 0, 0)),
        (true, Some(500), (3, 0, 0)),
        (false, None, (0, 3, 0)),
        (false, Some(500), (0, 0, 3)),
    ] {
        let outcome = run_script_until(&load(), listener(suffices), signals(None, abort)).await;
        let step = outcome.tally.step(StepId(0));
        assert_eq!((step.succeeded, step.failed, step.unfinished), counts);
        assert_eq!((step.sent, step.received), (90, 210));
        assert_eq!(step.statuses.iter().collect::<Vec<_>>(), [(200, 3)]);
        let errors = outcome.tally.errors().iter();
        let causes: Vec<_> = errors
            .filter(|(_, _, group)| !group.steps.is_empty())
            .collect();
        if counts.1 == 0 {
            assert!(causes.is_empty(), "{causes:?}");
        } else {
            let (kind, cause, _) = causes[0];
            assert_eq!(
                (kind, cause),
                (
                    FailureKind::Timeout,
                    "the answer went on until the run ended"
                )
            );
        }
        // It did answer.
        assert_eq!(outcome.tally.silence().tail(), None);
    }
}

/// A user whose second step of an hour begins after so much time, and may take so much.
fn late(begins: u64, given: Option<u64>) -> Script {
    Script {
        iterate: Box::new(move |cx| {
            Box::pin(async move {
                one_step(cx, ms(begins)).await?;
                let mut clock = cx.step_clock();
                let mut step = cx.begin(StepId(1), cx.user(), &mut clock);
                if let Some(given) = given {
                    step.may_take(seconds(given));
                }
                pending().await
            })
        }),
        ..Script::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_end_of_the_run_cuts_off_before_it_had_its_time_is_no_failure() {
    // When the step begins in a run of 2 s, its limit, the graceful stop, and whether it had its time.
    for (begins, given, graceful, failed) in [
        (1_000, None, 0, false),
        (1_000, Some(30), 0, false),
        (1_000, Some(30), 1, false),
        // As long as a graceful stop of 5 s or more, the limit of the step, or 5 s in any case.
        (1_000, None, 5, true),
        (1_000, Some(30), 20, true),
        (1_000, Some(2), 2, true),
        // It began late.
        (1_900, Some(30), 6, true),
        (6_500, Some(30), 6, false),
    ] {
        let load = Load {
            graceful_stop: seconds(graceful),
            ..load()
        };
        let began = Instant::now();
        let outcome = run_script(&load, late(begins, given)).await;
        let case = format!("{begins} {given:?} {graceful}");
        assert!(
            began.elapsed() < seconds(2 + graceful) + load.abort_grace + ms(100),
            "{case}"
        );
        let step = outcome.tally.step(StepId(1));
        let workflow = outcome.tally.workflow(WorkflowId(0));
        let expected = if failed { (3, 0) } else { (0, 3) };
        assert_eq!((step.failed, step.unfinished), expected, "{case}");
        assert_eq!((workflow.failed, workflow.interrupted), expected, "{case}");
        assert_eq!(outcome.tally.errors().is_empty(), !failed, "{case}");
        assert_eq!(outcome.ended_by, EndedBy::Finished);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_has_the_time_that_it_was_given() {
    for (given, expected) in [(9, (0, 3)), (2, (3, 0))] {
        let script = Script {
            iterate: Box::new(move |cx| {
                Box::pin(async move {
                    let mut clock = cx.step_clock();
                    let mut step = cx.begin(StepId(0), cx.user(), &mut clock);
                    step.may_take(seconds(given));
                    let head = Head {
                        at: std::time::Instant::now(),
                        status: Some(200),
                        sent: 30,
                        received: 70,
                    };
                    step.goes_on_after(Arc::new(OnceLock::from(head)), false);
                    pending().await
                })
            }),
            ..Script::default()
        };
        let outcome = run_script(&load(), script).await;
        let step = outcome.tally.step(StepId(0));
        assert_eq!((step.failed, step.unfinished), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_was_getting_on_is_not_failed_by_the_end_of_the_run() {
    let script = Script {
        iterate: Box::new(|cx| {
            Box::pin(async move {
                // As a poll does: a call, a pause, a call.
                loop {
                    one_step(cx, ms(50)).await?;
                    tokio::select! {
                        () = sleep(ms(200)) => {}
                        () = cx.stop().abort.cancelled() => bail!("told to give up"),
                    }
                }
            })
        }),
        ..Script::default()
    };
    let outcome = run_script(&load(), script).await;
    let workflow = outcome.tally.workflow(WorkflowId(0));
    assert_eq!((workflow.failed, workflow.interrupted), (0, 3));
    assert!(outcome.tally.errors().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_after_the_time_was_up_excuses_nobody() {
    let script = Script {
        iterate: Box::new(|cx| Box::pin(one_step(cx, seconds(3_600)))),
        ..Script::default()
    };
    let outcome = run_script_until(&load(), script, signals(Some(2_500), None)).await;
    assert_eq!(outcome.ended_by, EndedBy::Finished);
    assert_eq!(outcome.tally.step(StepId(0)).failed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_its_scenario_gives_up_has_failed() {
    let script = Script {
        iterate: Box::new(|cx| {
            Box::pin(async {
                let _ = tokio::time::timeout(ms(100), one_step(cx, seconds(3_600))).await;
                Ok(())
            })
        }),
        ..Script::default()
    };
    let outcome = run_script(&load(), script).await;
    let step = outcome.tally.step(StepId(0));
    assert!(step.failed > 0 && step.unfinished == 0);
    let (kind, cause, _) = outcome.tally.errors().iter().next().expect("a failure");
    assert_eq!(
        (kind, cause),
        (FailureKind::Scenario, "given up by the scenario")
    );
}
