//! Tallies count right, and ticks merge to what one tally of all events would have been.

use proptest::prelude::*;
use throng_metrics::{
    CountSample, CounterId, Distribution, Event, Failure, FailureKind, IterationOutcome,
    OTHER_CAUSES, Outcome, Tally, UserId,
};

use crate::fixture::{
    CREATE, LIST, LOST, Run, SEARCH, SHARE, catalog, events, failed, iteration, ms,
    open_model_events, step, tally_of,
};

/// All that a tally says, as text.
fn everything(events: &[Event], tally: Tally) -> String {
    let mut run = Run::of(events);
    run.generator.starts = tally.starts().clone();
    run.tally = tally;
    crate::reports::document(&run) + &format!("{:?}", run.tally.silence().tail())
}

#[test]
fn steps_are_counted_by_outcome() {
    let tally = tally_of(&catalog(), &events());
    let create = tally.step(CREATE);
    assert_eq!((create.succeeded, create.unfinished), (100, 1));
    assert_eq!((create.count(), create.good(), create.bad()), (101, 100, 0));
    assert_eq!((create.sent, create.received), (10_100, 101_000));
    let list = tally.step(LIST);
    assert_eq!((list.succeeded, list.failed), (100, 3));
    let search = tally.step(SEARCH);
    assert_eq!((search.succeeded, search.refused, search.bad()), (18, 2, 0));
    assert_eq!(tally.calls(), 224);
    assert_eq!((tally.failed_calls(), tally.unfinished_calls()), (3, 1));
    let user = tally.user(UserId(0)).unwrap().total();
    assert_eq!((user.count(), user.good, user.bad), (101, 100, 0));
    assert_eq!(tally.counter(LOST), 2);
}

#[test]
fn latencies_of_successes_and_failures_stay_apart() {
    let tally = tally_of(&catalog(), &events());
    assert_eq!(tally.step(LIST).response.max(), ms(100));
    assert_eq!(tally.step(LIST).failures.max(), ms(5));
    // What was cut off is neither.
    assert_eq!(tally.step(CREATE).failures.count(), 0);
    assert_eq!(tally.step(CREATE).response.max(), ms(100));
    assert_eq!(tally.workflow(SHARE).response.count(), 100);
    assert_eq!(tally.workflow(SHARE).failures.count(), 3);
}

#[test]
fn response_time_counts_from_the_intended_start() {
    let tally = tally_of(
        &catalog(),
        &[step(CREATE, 0, [100, 600, 700], Outcome::Success)],
    );
    assert_eq!(tally.step(CREATE).service.max(), ms(100));
    assert_eq!(tally.step(CREATE).response.max(), ms(600));
    assert_eq!(tally.user(UserId(0)).unwrap().response.max(), ms(600));
}

#[test]
fn steps_belong_to_their_actor() {
    let tally = tally_of(&catalog(), &events());
    let totals: Vec<_> = (0..4)
        .map(|user| tally.user(UserId(user)).map(|user| user.total().count()))
        .collect();
    // Users 0 and 1 create and list in turn; user 1 met the failures, user 0 was cut off.
    assert_eq!(totals, [Some(101), Some(103), Some(20), None]);
}

#[test]
fn waits_never_count_as_latency() {
    let tally = tally_of(&catalog(), &events());
    let waits = &tally.step(LIST).waits;
    assert_eq!(
        (waits.count(), waits.not_met, waits.attempts),
        (100, 2, 1_200)
    );
    assert_eq!(waits.resolution, ms(25));
    assert!(tally.step(LIST).response.max() < ms(300));
}

#[test]
fn errors_are_grouped_with_one_example_each() {
    let catalog = catalog();
    let tally = tally_of(
        &catalog,
        &[
            step(
                CREATE,
                0,
                [0, 0, 1],
                failed(FailureKind::Http, "502", "first"),
            ),
            step(
                LIST,
                0,
                [0, 0, 1],
                failed(FailureKind::Http, "502", "second"),
            ),
            step(
                LIST,
                0,
                [0, 0, 1],
                failed(FailureKind::Tool, "502", "third"),
            ),
            iteration(
                SHARE,
                0,
                [0, 0, 1],
                IterationOutcome::Failed(Some(Box::new(Failure {
                    kind: FailureKind::Scenario,
                    cause: "the scenario panicked".into(),
                    example: "index out of bounds".into(),
                }))),
            ),
        ],
    );
    let groups: Vec<_> = tally
        .errors()
        .iter()
        .map(|(kind, cause, group)| (kind, cause, group.count, group.example.as_str()))
        .collect();
    assert_eq!(
        groups,
        [
            (FailureKind::Http, "502", 2, "first"),
            (FailureKind::Tool, "502", 1, "third"),
            (
                FailureKind::Scenario,
                "the scenario panicked",
                1,
                "index out of bounds"
            ),
        ]
    );
}

#[test]
fn causes_that_nobody_normalised_do_not_eat_the_memory() {
    let events: Vec<_> = (0..10_000)
        .map(|n| {
            let outcome = failed(FailureKind::Check, &format!("note {n} is gone"), "gone");
            step(LIST, 0, [0, 0, 1], outcome)
        })
        .collect();
    let tally = tally_of(&catalog(), &events);
    let groups = tally.errors().iter().count();
    assert!(groups <= 501, "{groups}");
    let (_, _, others) = tally
        .errors()
        .iter()
        .find(|(_, cause, _)| *cause == OTHER_CAUSES)
        .unwrap();
    assert_eq!(others.count, 9_500);
}

#[test]
fn silence_is_what_no_answer_came_after() {
    let gone = || failed(FailureKind::Transport, "connection refused", "...");
    let mut events = vec![
        step(CREATE, 0, [0, 0, 500], gone()),
        step(CREATE, 0, [0, 0, 1_000], Outcome::Success),
    ];
    for n in 0..5 {
        events.push(step(CREATE, 0, [0, 0, 1_500 + n * 400], gone()));
    }
    let tail = tally_of(&catalog(), &events).silence().tail().unwrap();
    assert_eq!(
        (tail.since, tail.until, tail.count),
        (ms(1_500), ms(3_100), 5)
    );
    assert_eq!(tail.cause, "connection refused");
    // An error that came from the target is an answer.
    events.push(step(
        CREATE,
        0,
        [0, 0, 3_200],
        failed(FailureKind::Http, "500", "..."),
    ));
    assert_eq!(tally_of(&catalog(), &events).silence().tail(), None);
}

#[test]
fn a_cleared_tally_is_like_new() {
    let catalog = catalog();
    let mut tally = tally_of(&catalog, &events());
    tally.clear();
    assert_eq!(
        everything(&[], tally.clone()),
        everything(&[], Tally::new(&catalog))
    );
    for event in events() {
        tally.add(&event);
    }
    assert_eq!(
        everything(&[], tally),
        everything(&[], tally_of(&catalog, &events()))
    );
}

#[test]
fn unknown_indices_cost_a_name_and_not_the_run() {
    let mut tally = Tally::new(&catalog());
    tally.add(&step(
        throng_metrics::StepId(77),
        99,
        [0, 0, 5],
        Outcome::Success,
    ));
    assert_eq!(tally.calls(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Cut the events into ticks anywhere, deal them out in any way: merged, they say the same.
    #[test]
    fn merged_ticks_equal_one_tally(parts in prop::collection::vec(0_usize..4, 1..50)) {
        let catalog = catalog();
        let mut all = events();
        all.extend(open_model_events());
        let mut ticks = vec![Tally::new(&catalog); 4];
        for (index, event) in all.iter().enumerate() {
            ticks[parts[index % parts.len()]].add(event);
        }
        let mut merged = Tally::new(&catalog);
        for tick in &ticks {
            merged.merge(tick);
        }
        prop_assert_eq!(everything(&all, merged), everything(&all, tally_of(&catalog, &all)));
    }
    /// Whatever is counted on whose behalf, and however it's dealt out: the users' counts add up to the run's.
    #[test]
    fn counters_add_up(
        counts in prop::collection::vec((0_u32..7, 0_u32..5, 0_u64..9, 0_usize..3), 0..60),
    ) {
        let catalog = catalog();
        let mut ticks = vec![Tally::new(&catalog); 3];
        for (counter, user, by, tick) in &counts {
            let (counter, user) = (CounterId(*counter), UserId(*user));
            let count = CountSample { counter, user, at: ms(1), by: *by };
            ticks[*tick].add(&Event::Count(count));
        }
        let mut merged = Tally::new(&catalog);
        for tick in &ticks {
            merged.merge(tick);
        }
        for counter in (0..7).map(CounterId) {
            let of_users = (0..5).filter_map(|user| merged.user(UserId(user)));
            let sum: u64 = of_users.map(|user| user.counter(counter)).sum();
            let said: u64 = counts
                .iter()
                .filter(|(id, ..)| CounterId(*id) == counter)
                .map(|(_, _, by, _)| by)
                .sum();
            prop_assert_eq!((merged.counter(counter), sum), (said, said));
        }
    }
}
