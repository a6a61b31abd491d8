//! How much is started, when, and what of it counts.

use throng_engine::{EndedBy, Executor, Load};
use throng_metrics::{Distribution, StepId};

use crate::support::{Script, ms, run_script, seconds, steps_of_users};

fn closed() -> Load {
    Load {
        executor: Executor::ConstantVus,
        users: 4,
        warmup: seconds(2),
        duration: seconds(10),
        pause: ms(40),
        graceful_stop: seconds(5),
        abort_grace: seconds(1),
        seed: 7,
        in_flight: None,
    }
}

fn open(rate: &str, users: u32) -> Load {
    Load {
        executor: Executor::ConstantArrivalRate {
            rate: rate.parse().unwrap(),
            max_queue: 100,
        },
        users,
        ..closed()
    }
}

#[tokio::test(start_paused = true)]
async fn closed_users_iterate_and_pause_for_the_time_given() {
    let outcome = run_script(&closed(), Script::default()).await;
    assert_eq!(outcome.ended_by, EndedBy::Finished);
    assert_eq!(outcome.users_started, 4);
    assert_eq!(outcome.user_errors, []);
    // 10 ms of work and 40 ms of pause: 20 a second, each of four users; a timer may be a millisecond late.
    for steps in steps_of_users(&outcome, 4) {
        assert!((190..=201).contains(&steps), "{steps}");
    }
    let step = outcome.tally.step(StepId(0));
    assert_eq!(step.sent, step.count() * 10);
    assert_eq!(step.received, step.count() * 20);
    assert_eq!(step.response.summary(), step.service.summary());
    assert!(outcome.measured >= seconds(10) && outcome.measured < seconds(10) + ms(20));
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_run_and_thrown_away() {
    let outcome = run_script(&closed(), Script::default()).await;
    // Two seconds of 20 iterations for each of four users.
    assert!(
        (150..=164).contains(&outcome.discarded),
        "{}",
        outcome.discarded
    );
    assert_eq!(outcome.generator.discarded, outcome.discarded);
    // Nothing of it is in the timeline, whose zero is the start of the measured window.
    let entries = outcome.tally.timeline().entries();
    assert!((10..=11).contains(&entries.len()), "{}", entries.len());
}

#[tokio::test(start_paused = true)]
async fn an_open_schedule_is_met_exactly() {
    let outcome = run_script(&open("200/s", 50), Script::default()).await;
    assert_eq!(outcome.tally.step(StepId(0)).count(), 2_000);
    assert_eq!(outcome.discarded, 400);
    assert_eq!(outcome.generator.starts.taken, 2_000);
    assert_eq!(outcome.generator.starts.dropped(), 0);
    assert_eq!(outcome.generator.starts.late, 0);
}

#[tokio::test(start_paused = true)]
async fn starts_beyond_the_queue_are_dropped_and_counted() {
    // One user of 10 ms each can do 100 a second; 200 are due.
    let outcome = run_script(&open("200/s", 1), Script::default()).await;
    let starts = &outcome.generator.starts;
    assert_eq!(starts.taken + starts.dropped(), 2_000);
    assert_eq!(starts.dropped_at_end, 100);
    assert!(
        (800..=1_000).contains(&starts.dropped_full),
        "{}",
        starts.dropped_full
    );
    // All but those of the first moment of the run, which is warm-up, waited.
    assert_eq!(starts.late, starts.taken);
    // Waiting for a user is not the generator's lag.
    assert!(starts.lag.max() <= ms(2), "{:?}", starts.lag.max());
    assert!(starts.waited.max() >= seconds(1));
}
