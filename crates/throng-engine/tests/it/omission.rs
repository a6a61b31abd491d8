//! Coordinated omission: a target that stalls must show in the response times of all who met the stall.
//!
//! 2,000 starts a second for 10 s, and a target that answers in 1 ms but not at all for one second in the middle.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use throng_engine::{Executor, IterCx, Load, RunOutcome};
use throng_metrics::{Distribution, Outcome, StepId};
use tokio::time::sleep;

use crate::support::{Script, ms, run_script, seconds};

const RATE: u64 = 2_000;
const STALL: std::ops::Range<Duration> = seconds(4)..seconds(5);

fn load(users: u32) -> Load {
    Load {
        executor: Executor::ConstantArrivalRate {
            rate: format!("{RATE}/s").parse().unwrap(),
            max_queue: 10_000,
        },
        users,
        warmup: ms(0),
        duration: seconds(10),
        ..Load::default()
    }
}

/// How long the target takes for what comes in now.
fn answer_in(now: Duration) -> Duration {
    if STALL.contains(&now) {
        STALL.end - now + ms(1)
    } else {
        ms(1)
    }
}

/// The target's own journal: which start of the schedule was answered when.
type Journal = Arc<Mutex<Vec<(u64, Duration)>>>;

async fn stalled_run(users: u32) -> (RunOutcome, Journal) {
    let journal = Journal::default();
    let written = Arc::clone(&journal);
    let script = Script {
        iterate: Box::new(move |cx: &IterCx| {
            let journal = Arc::clone(&written);
            Box::pin(async move {
                let mut clock = cx.step_clock();
                let step = cx.begin(StepId(0), cx.user(), &mut clock);
                sleep(answer_in(cx.now())).await;
                journal.lock().unwrap().push((cx.iteration(), cx.now()));
                step.finish(0, 0, Outcome::Success);
                Ok(())
            })
        }),
        ..Script::default()
    };
    (run_script(&load(users), script).await, journal)
}

/// The truth by nearest rank: the schedule against the journal of completions.
fn truth(journal: &Journal, quantile: f64) -> Duration {
    let mut responses: Vec<_> = journal
        .lock()
        .unwrap()
        .iter()
        .map(|(number, ended)| {
            let due = Duration::from_nanos(number * 1_000_000_000 / RATE);
            *ended - due
        })
        .collect();
    responses.sort_unstable();
    assert_eq!(responses.len() as u64, 10 * RATE);
    responses[(quantile * responses.len() as f64).ceil() as usize - 1]
}

#[track_caller]
fn assert_within_2_percent(found: Duration, truth: Duration) {
    let (found, truth) = (found.as_secs_f64(), truth.as_secs_f64());
    assert!(
        (found - truth).abs() <= truth * 0.02,
        "{found} is not {truth}"
    );
}

#[tokio::test(start_paused = true)]
async fn with_users_to_spare_the_figures_are_those_of_the_schedule() {
    let (outcome, journal) = stalled_run(2_500).await;
    assert_eq!(outcome.generator.starts.taken, 10 * RATE);
    assert_eq!(outcome.generator.starts.late, 0);
    let response = &outcome.tally.step(StepId(0)).response;
    // A tenth of all starts meets the stall, evenly spread over it.
    for (quantile, ideal) in [(0.95, ms(501)), (0.99, ms(901)), (0.999, ms(991))] {
        let found = response.quantile(quantile).unwrap();
        assert_within_2_percent(found, ideal);
        assert_within_2_percent(found, truth(&journal, quantile));
    }
    assert!(response.quantile(0.89).unwrap() < ms(5));
    assert!((response.mean_seconds() - 0.051).abs() < 0.003);
}

#[tokio::test(start_paused = true)]
async fn with_few_users_response_time_tells_what_service_time_hides() {
    let (outcome, journal) = stalled_run(64).await;
    assert_eq!(outcome.generator.starts.taken, 10 * RATE);
    let step = outcome.tally.step(StepId(0));
    for quantile in [0.95, 0.99, 0.999] {
        let found = step.response.quantile(quantile).unwrap();
        assert_within_2_percent(found, truth(&journal, quantile));
        assert!(found > ms(450), "p{} is {found:?}", quantile * 100.0);
    }
    // Only the 64 that were in flight took long themselves: 0.32 %.
    assert!(step.service.quantile(0.99).unwrap() < ms(5));
    // The others waited for a user, which is not the generator's own lag.
    assert!(outcome.generator.starts.late > RATE * 9 / 10);
    assert!(outcome.generator.starts.waited.max() > ms(900));
    assert!(outcome.generator.starts.lag.max() < ms(5));
}

#[tokio::test(start_paused = true)]
async fn the_step_behind_a_stalled_one_is_late_too() {
    let script = Script {
        iterate: Box::new(move |cx: &IterCx| {
            Box::pin(async move {
                let mut clock = cx.step_clock();
                for id in [StepId(0), StepId(1)] {
                    let step = cx.begin(id, cx.user(), &mut clock);
                    // Only the first step meets the stall.
                    let takes = if id == StepId(0) {
                        answer_in(cx.now())
                    } else {
                        ms(1)
                    };
                    sleep(takes).await;
                    step.finish(0, 0, Outcome::Success);
                }
                Ok(())
            })
        }),
        ..Script::default()
    };
    let outcome = run_script(&load(2_500), script).await;
    let second = outcome.tally.step(StepId(1));
    assert!(second.service.quantile(0.999).unwrap() < ms(5));
    for (quantile, ideal) in [(0.95, ms(502)), (0.99, ms(902))] {
        assert_within_2_percent(second.response.quantile(quantile).unwrap(), ideal);
    }
}
