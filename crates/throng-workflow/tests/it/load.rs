//! How executions share a run: drawn by weight, users that nobody else has, limits of calls, the open model.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use throng_engine::{Executor, InFlightLimit, Load, StopSignals};
use throng_metrics::{Distribution, WorkflowId};

use crate::fake::{Answer, echo, ok, once, play, play_once, program, workflow};
use crate::run::ms;

#[tokio::test(start_paused = true)]
async fn one_of_follows_its_weights_and_the_seed() {
    let steps = "      - one_of:
          - weight: 3
            steps: [ { a: { call: one } } ]
          - weight: 1
            steps: [ { b: { call: two } } ]
          - weight: 0
            steps: [ { c: { call: never } } ]
";
    let load = Load {
        duration: Duration::from_secs(40),
        ..once()
    };
    let first = play(
        workflow(1, "[me]", steps),
        load.clone(),
        StopSignals::default(),
        echo,
    )
    .await;
    let second = play(
        workflow(1, "[me]", steps),
        load.clone(),
        StopSignals::default(),
        echo,
    )
    .await;
    assert_eq!(first.asked, second.asked, "the same seed, the same choices");
    let other = play(
        workflow(1, "[me]", steps),
        Load { seed: 8, ..load },
        StopSignals::default(),
        echo,
    )
    .await;
    assert_ne!(first.calls(), other.calls());
    let (a, b) = (first.step("a").succeeded, first.step("b").succeeded);
    assert_eq!((a + b, first.step("c").count()), (4000, 0));
    // The standard deviation is 27; the seed is fixed.
    assert!((2900..3100).contains(&a), "{a}");
}

#[tokio::test(start_paused = true)]
async fn workloads_follow_their_weights() {
    let one = |name: &str| {
        format!("  {name}: {{ actors: [me], steps: [ {{ s: {{ call: {name} }} }} ] }}\n")
    };
    let source = format!(
        "workloads: {{ mixed: {{ a: 50, b: 30, c: 15, d: 5 }} }}\nworkflows:\n{}{}{}{}",
        one("a"),
        one("b"),
        one("c"),
        one("d")
    );
    let load = Load {
        duration: Duration::from_secs(25),
        users: 4,
        ..once()
    };
    let played = play(program(4, &source), load, StopSignals::default(), echo).await;
    let counts: Vec<u64> = (0..4)
        .map(|n| played.outcome.tally.workflow(WorkflowId(n)).succeeded)
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 10_000);
    // Pearson's chi-squared with 3 degrees of freedom: 16.3 is exceeded once in a thousand seeds; this one is fixed.
    let expected = [5000.0, 3000.0, 1500.0, 500.0];
    let chi: f64 = counts
        .iter()
        .zip(expected)
        .map(|(n, e)| (*n as f64 - e).powi(2) / e)
        .sum();
    assert!(chi < 16.3, "{counts:?}: {chi}");
}

#[tokio::test(start_paused = true)]
async fn participants_are_distinct_and_everybody_has_a_turn() {
    let steps = "      - a: { as: me, call: first }
      - b: { as: you, call: second }
      - c: { as: they, call: third }
";
    let load = Load {
        users: 5,
        duration: Duration::from_secs(3),
        ..once()
    };
    let played = play(
        workflow(5, "[me, you, they]", steps),
        load,
        StopSignals::default(),
        |asked| ok(json!({ "user": asked.user })),
    )
    .await;
    let mut pairs = std::collections::BTreeMap::new();
    // Executions of one virtual user follow one another; so do those calls of all.
    for start in played.asked.iter().filter(|asked| asked.tool == "first") {
        let you = played
            .asked
            .iter()
            .filter(|asked| asked.tool == "second" && asked.at == start.at + ms(10));
        assert!(you.count() >= 1);
    }
    for asked in &played.asked {
        *pairs
            .entry((asked.tool.clone(), asked.user))
            .or_insert(0_u32) += 1;
    }
    assert_eq!(pairs.len(), 15, "every user in every role");
    for ((tool, user), count) in pairs {
        assert!(
            (60..=140).contains(&count),
            "{tool} by {user}: {count} of 500"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn groups_take_what_there_is() {
    for (users, actors, expected) in [
        (2, "[me, { others: 1..3 }]", 1),
        (3, "[me, { others: 1..3 }]", 2),
        (9, "[me, { others: 1..3 }]", 3),
        (9, "[me, { others: rest }]", 8),
        (4, "[me, you, { others: rest }]", 2),
    ] {
        let steps = "      - for_each: one\n        in: others\n        steps: [ { a: { as: one, call: one } } ]\n";
        let played = play_once(workflow(users, actors, steps), echo).await;
        assert_eq!(played.calls().len(), expected, "{users} {actors}");
        assert!(played.calls().iter().all(|(user, _)| *user != 0));
    }
}

#[tokio::test(start_paused = true)]
async fn exclusive_users_are_used_by_nobody_else() {
    let source = "workflows:
  alone: { exclusive: true, actors: [a, b], steps: [ { x: { as: a, call: alone } }, { y: { as: b, call: alone } } ] }
  shared: { actors: [a, b], steps: [ { x: { as: a, call: shared } }, { y: { as: b, call: shared } } ] }
";
    let load = Load {
        users: 4,
        duration: Duration::from_secs(20),
        ..once()
    };
    let played = play(program(4, source), load, StopSignals::default(), echo).await;
    // An exclusive execution holds its two users for 20 ms: its first call by the one, its second by the other. During
    // its own calls nobody else may call as either.
    let alone: Vec<_> = played
        .asked
        .iter()
        .filter(|asked| asked.tool == "alone")
        .collect();
    assert!(alone.len() > 100, "{}", alone.len());
    for asked in &alone {
        let overlapping = played.asked.iter().filter(|other| {
            other.user == asked.user && other.at < asked.at + ms(10) && asked.at < other.at + ms(10)
        });
        assert_eq!(
            overlapping.count(),
            1,
            "user {} at {:?}",
            asked.user,
            asked.at
        );
    }
    for n in 0..2 {
        let tally = played.outcome.tally.workflow(WorkflowId(n));
        assert!(
            tally.succeeded > 100 && tally.failed == 0,
            "nobody starves: {}",
            tally.succeeded
        );
    }
}

#[tokio::test(start_paused = true)]
async fn later_steps_of_an_open_model_have_their_intended_starts() {
    let steps = "      - a: { call: one }\n      - b: { call: two }\n";
    let load = Load {
        executor: Executor::ConstantArrivalRate {
            rate: "10/s".parse().unwrap(),
            max_queue: 1000,
        },
        duration: Duration::from_secs(10),
        ..once()
    };
    // One call stalls for 2 s; the starts behind it are late, and so is their second step.
    let calls = AtomicU32::new(0);
    let played = play(
        workflow(1, "[me]", steps),
        load,
        StopSignals::default(),
        move |asked| {
            let n = calls.fetch_add(1, Ordering::Relaxed);
            Answer(
                if n == 40 {
                    Duration::from_secs(2)
                } else {
                    ms(10)
                },
                echo(asked).1,
            )
        },
    )
    .await;
    let second = played.step("b");
    assert!(second.service.summary().max < 0.02);
    assert!(
        second.response.summary().max > 1.5,
        "{:?}",
        second.response.summary()
    );
}

#[tokio::test(start_paused = true)]
async fn executions_do_not_share_values() {
    let steps = "      - a: { call: make, save: { v: $.arguments.title }, with: { title: \"{uid}\" }, append_to: { seen: \"{uid}\" } }
      - b: { call: use, with: { uid: \"{uid}\", v: \"{v}\", seen: \"{seen}\" } }
";
    let load = Load {
        users: 20,
        duration: Duration::from_secs(1),
        ..once()
    };
    let played = play(
        workflow(20, "[me]", steps),
        load,
        StopSignals::default(),
        echo,
    )
    .await;
    let mut uids = std::collections::BTreeSet::new();
    for asked in played.asked.iter().filter(|asked| asked.tool == "use") {
        let uid = &asked.arguments["uid"];
        assert_eq!(
            asked.arguments,
            json!({ "uid": uid, "v": uid, "seen": [uid] })
        );
        assert!(uids.insert(uid.to_string()), "{uid} came twice");
    }
    assert_eq!(uids.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_calls_in_flight_bounds_them_and_its_waiting_is_no_latency_of_the_target() {
    // Six calls at once of four users, 10 ms each.
    let steps =
        "      - parallel: [{ a: { call: one } }, { b: { call: two } }, { c: { call: three } }]
      - wait: { call: four, until: { path: $.id, matches: \"^four\", every: 50ms, within: 1s } }
";
    for most in [1, 4] {
        let limit = InFlightLimit::new(most);
        let load = Load {
            users: 4,
            in_flight: Some(limit.clone()),
            ..once()
        };
        let program = workflow(4, "[me]", steps);
        let played = play(program, load, StopSignals::default(), echo).await;
        assert_eq!(played.most_in_flight, most);
        for name in ["a", "b", "c", "wait"] {
            let step = played.step(name);
            assert_eq!((step.succeeded, step.count()), (4, 4), "{name}");
            assert!(
                step.response.max() <= ms(12),
                "{name}: {:?}",
                step.response.max()
            );
        }
        assert_eq!(limit.waited().count(), 16);
        // The propagation begins with the first question, which had its permit by then.
        assert!(played.step("wait").waits.latencies.max() <= ms(12));
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_for_permits_is_that_much_less_exact_and_gets_its_time() {
    // One user's call of 300 ms makes the other one's poll look late, each time.
    let steps = "      - one_of:
          - weight: 1
            steps:
              - slow: { call: slow }
              - slow_again: { call: slow }
          - weight: 1
            steps:
              - wait: { call: poll, until: { path: $.n, equals: 3, every: 20ms, within: 100ms } }
";
    let limit = InFlightLimit::new(1);
    let load = Load {
        users: 8,
        in_flight: Some(limit.clone()),
        ..once()
    };
    let polls = std::sync::Mutex::new(std::collections::HashMap::<u32, u32>::new());
    let played = play(
        workflow(8, "[me]", steps),
        load,
        StopSignals::default(),
        move |asked| {
            if asked.tool == "slow" {
                return Answer(ms(300), echo(asked).1);
            }
            let mut polls = polls.lock().unwrap();
            let n = polls.entry(asked.user).or_default();
            *n += 1;
            ok(json!({ "n": *n }))
        },
    )
    .await;
    let (slow, wait) = (played.step("slow").count(), played.step("wait"));
    assert!(
        slow > 0 && wait.waits.count() > 0,
        "{slow} {}",
        wait.waits.count()
    );
    assert_eq!(wait.waits.not_met, 0, "{:?}", played.errors());
    assert!(
        wait.waits.resolution > ms(20),
        "{:?}",
        wait.waits.resolution
    );
}

/// A permit that an abort has freed is no reason to begin a call that is dropped before anything of it is sent.
#[tokio::test(start_paused = true)]
async fn after_an_abort_no_step_begins_that_waited_for_its_permit_except_in_finally() {
    let steps = "      - a: { call: hang, timeout: 1h }
    finally:
      - b: { call: clear }
";
    for by_signal in [false, true] {
        let stop = StopSignals::default();
        let load = Load {
            users: 8,
            duration: ms(500),
            graceful_stop: ms(1000),
            in_flight: Some(InFlightLimit::new(2)),
            ..once()
        };
        let abort = stop.abort.clone();
        let signal = async move {
            if by_signal {
                tokio::time::sleep(ms(100)).await;
                abort.cancel();
            }
        };
        let played = play(
            workflow(8, "[me]", steps),
            load,
            stop,
            |asked| match asked.tool.as_str() {
                "hang" => Answer(ms(3_600_000), echo(asked).1),
                _ => echo(asked),
            },
        );
        let (played, ()) = tokio::join!(played, signal);
        let of = |tool: &str| played.asked.iter().filter(|it| it.tool == tool).count();
        assert_eq!(of("hang"), 2);
        let hung = played.step("a");
        assert_eq!((hung.count(), hung.unfinished), (2, 2), "{by_signal}");
        assert_eq!((of("clear"), played.step("b").succeeded), (8, 8));
        assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).interrupted, 8);
    }
}
