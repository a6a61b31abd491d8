//! A limit of calls in flight: how many there are, whose time the waiting is, and that nobody starves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use throng_engine::{Executor, InFlightLimit, Load};
use throng_metrics::{Distribution, StepId};

use crate::support::{Script, ms, one_step, run_script, seconds, steps_of_users};

fn load(users: u32, limit: &InFlightLimit) -> Load {
    Load {
        users,
        warmup: seconds(0),
        duration: seconds(10),
        pause: ms(0),
        in_flight: Some(limit.clone()),
        ..Load::default()
    }
}

/// A step of 100 ms that asks for its permit first; the most that were at it together.
fn polite() -> (Script, Arc<AtomicU32>) {
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let seen = most.clone();
    let script = Script {
        iterate: Box::new(move |cx| {
            let (now, most) = (now.clone(), seen.clone());
            Box::pin(async move {
                let _permit = cx.permit().await;
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let done = one_step(cx, ms(100)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                done
            })
        }),
        ..Script::default()
    };
    (script, most)
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_allowed_and_all_users_get_their_turn() {
    let limit = InFlightLimit::new(4);
    let (script, most) = polite();
    let outcome = run_script(&load(30, &limit), script).await;
    assert_eq!(most.load(Ordering::Relaxed), 4);
    let steps = steps_of_users(&outcome, 30);
    // 4 calls at a time of 100 ms each, for 10 s, are 400: 13 of each user, give or take one that had no turn any more.
    assert!(
        steps.iter().all(|steps| (12..=15).contains(steps)),
        "{steps:?}"
    );
    let step = outcome.tally.step(StepId(0));
    assert!(step.service.max() <= ms(102), "{:?}", step.service.max());
    assert_eq!(step.response.summary(), step.service.summary());
    let waited = limit.waited();
    assert_eq!(waited.count(), step.count());
    assert!(waited.quantile(0.5) > Some(ms(500)));
}

#[tokio::test(start_paused = true)]
async fn in_an_open_model_the_waiting_is_in_the_response_time_and_not_in_the_service_time() {
    let limit = InFlightLimit::new(1);
    let (script, _) = polite();
    let open = Load {
        executor: Executor::ConstantArrivalRate {
            rate: "20/s".parse().unwrap(),
            max_queue: 1_000,
        },
        duration: seconds(2),
        graceful_stop: seconds(60),
        ..load(100, &limit)
    };
    let outcome = run_script(&open, script).await;
    let step = outcome.tally.step(StepId(0));
    assert_eq!(step.count(), 40);
    assert!(step.service.max() <= ms(102), "{:?}", step.service.max());
    // 40 calls one after the other, the last one due after 1.95 s.
    assert!(
        step.response.max() >= ms(2_000),
        "{:?}",
        step.response.max()
    );
}

#[tokio::test(start_paused = true)]
async fn two_runs_side_by_side_share_a_limit_and_the_warm_up_does_not_count() {
    let limit = InFlightLimit::new(3);
    let (script, most) = polite();
    let (other, mosts) = polite();
    let load = Load {
        warmup: seconds(1),
        ..load(5, &limit)
    };
    let (one, two) = tokio::join!(run_script(&load, script), run_script(&load, other));
    let calls = one.tally.calls() + two.tally.calls();
    // 3 at a time of 100 ms each: 30 a second between the two.
    assert!((295..=306).contains(&calls), "{calls}");
    let together = most
        .load(Ordering::Relaxed)
        .max(mosts.load(Ordering::Relaxed));
    assert!(together <= 3, "{together}");
    assert_eq!(limit.waited().count(), calls);
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_calls_in_flight_are_dropped_begins_none() {
    let limit = InFlightLimit::new(2);
    let begun = Arc::new(AtomicU32::new(0));
    let seen = begun.clone();
    let script = Script {
        iterate: Box::new(move |cx| {
            let begun = begun.clone();
            Box::pin(async move {
                let _permit = cx.permit().await;
                begun.fetch_add(1, Ordering::Relaxed);
                one_step(cx, seconds(3600)).await
            })
        }),
        ..Script::default()
    };
    let load = Load {
        graceful_stop: seconds(1),
        abort_grace: seconds(1),
        ..load(8, &limit)
    };
    let outcome = run_script(&load, script).await;
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    assert_eq!(outcome.tally.step(StepId(0)).count(), 2);
}
