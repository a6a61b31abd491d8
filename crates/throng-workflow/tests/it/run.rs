//! What each block of a workflow means. Under paused time, without a network.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use throng_engine::{Load, StopSignals};
use throng_metrics::{Distribution, FailureKind, WorkflowId};

use crate::fake::{Answer, echo, error, ok, once, play, play_once, workflow};

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[tokio::test(start_paused = true)]
async fn steps_run_in_order_with_saved_values() {
    let steps = "      - a: { call: make, with: { title: \"T {uid}\", n: 5, nested: { list: [\"{me.name}\", null, 1.5] } }, save: { made: $.id, args: $.arguments } }
      - b: { call: use, with: { id: \"{made}\", text: \"<{made}>\", all: \"{args}\", shown: \"{args} {iteration}\" } }
      - c: { resource: \"x://{made}\" }
";
    let played = play_once(workflow(1, "[me]", steps), echo).await;
    assert_eq!(played.calls(), [(0, "make"), (0, "use"), (0, "x://make-0")]);
    let arguments =
        json!({ "title": "T run-1-0", "n": 5, "nested": { "list": ["u_1", null, 1.5] } });
    assert_eq!(played.asked[0].arguments, arguments);
    assert_eq!(
        played.asked[1].arguments,
        json!({ "id": "make-0", "text": "<make-0>", "all": arguments, "shown": format!("{arguments} 0") })
    );
    assert_eq!(
        played.asked[0].baggage,
        "throng.step=w/a,throng.phase=measured"
    );
    let tally = played.outcome.tally.workflow(WorkflowId(0));
    assert_eq!((tally.succeeded, tally.failed), (1, 0));
    for step in ["a", "b", "c"] {
        assert_eq!(played.step(step).succeeded, 1);
        assert_eq!(played.step(step).sent, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_id_filter_makes_numbers() {
    let steps = "      - a: { call: make, save: { id: $.id } }
      - b: { call: use, with: { id: \"{id | int}\", kept: \"{id}\", quoted: \"{id | text}\" } }
";
    let played = play_once(workflow(1, "[me]", steps), |_| ok(json!({ "id": "17" }))).await;
    assert_eq!(
        played.asked[1].arguments,
        json!({ "id": 17, "kept": "17", "quoted": "17" })
    );
    let played = play_once(workflow(1, "[me]", steps), |_| ok(json!({ "id": 17 }))).await;
    assert_eq!(
        played.asked[1].arguments,
        json!({ "id": 17, "kept": 17, "quoted": "17" })
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_fails_its_workflow_and_stops_the_rest() {
    let steps = "      - a: { call: one }
      - b: { call: two }
      - c: { call: three }
    finally:
      - d: { call: four }
";
    for (kind, message) in [
        (FailureKind::Tool, "Note 5 not found"),
        (FailureKind::Rpc, "JSON-RPC error -32602: bad"),
        (FailureKind::Transport, "connection closed"),
        (FailureKind::Timeout, "no answer"),
    ] {
        let played = play_once(workflow(1, "[me]", steps), move |asked| {
            match asked.tool.as_str() {
                "two" => error(kind, message),
                _ => echo(asked),
            }
        })
        .await;
        assert_eq!(played.calls(), [(0, "one"), (0, "two"), (0, "four")]);
        let tally = played.outcome.tally.workflow(WorkflowId(0));
        assert_eq!((tally.succeeded, tally.failed), (0, 1));
        assert_eq!(played.step("b").failed, 1);
        let errors = played.errors();
        assert_eq!(
            errors.len(),
            1,
            "the workflow's failure is the step's, not one more: {errors:?}"
        );
        assert_eq!((errors[0].0, errors[0].2.as_str()), (kind, message));
    }
}

#[tokio::test(start_paused = true)]
async fn checks_and_captures_fail_the_step() {
    for (step, kind, cause) in [
        (
            "check: { path: $.id, equals: \"x\" }",
            FailureKind::Check,
            "$.id should be \"x\"",
        ),
        (
            "check: [ { path: $.id, exists: true }, { path: $.no, exists: true } ]",
            FailureKind::Check,
            "$.no should exist",
        ),
        (
            "save: { v: $.no }",
            FailureKind::Capture,
            "nothing at $.no to save as v",
        ),
        (
            "refused: { error: denied, must: true }",
            FailureKind::NotRefused,
            "was not refused, and must be with /denied/",
        ),
    ] {
        let steps = format!("      - a: {{ call: one, {step} }}\n      - b: {{ call: two }}\n");
        let played = play_once(workflow(1, "[me]", &steps), echo).await;
        assert_eq!(played.calls(), [(0, "one")], "{step}");
        assert_eq!(played.step("a").failed, 1);
        let errors = played.errors();
        assert_eq!(
            (errors[0].0, errors[0].1.as_str()),
            (kind, cause),
            "{errors:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_failure_and_has_its_own_way_on() {
    let steps = "      - a: { call: one, refused: { error: \"(?i)not FOUND\", count: refusals }, save: { v: $.id }, append_to: { l: x }, or_else: [ { b: { call: two, save: { v: $.id } } } ] }
      - c: { call: three, with: { v: \"{v}\", l: \"{l}\" } }
";
    let played = play_once(workflow(1, "[me]", steps), |asked| {
        match asked.tool.as_str() {
            "one" => error(FailureKind::Tool, "Note 5 not found"),
            _ => echo(asked),
        }
    })
    .await;
    assert_eq!(played.calls(), [(0, "one"), (0, "two"), (0, "three")]);
    assert_eq!(played.asked[2].arguments, json!({ "v": "two-0", "l": [] }));
    assert_eq!((played.step("a").refused, played.step("a").failed), (1, 0));
    assert_eq!(played.counter("refusals"), 1);
    assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).succeeded, 1);

    let played = play_once(workflow(1, "[me]", steps), echo).await;
    assert_eq!(played.calls(), [(0, "one"), (0, "three")]);
    assert_eq!(
        played.asked[1].arguments,
        json!({ "v": "one-0", "l": ["x"] })
    );

    // What is not an answer of the target is never an expected refusal.
    let played = play_once(workflow(1, "[me]", steps), |_| {
        error(FailureKind::Transport, "host not found")
    })
    .await;
    assert_eq!(played.step("a").failed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_step_would_have_saved_is_missing() {
    let steps = "      - a: { call: one, refused: { error: x }, save: { v: $.id } }
      - b: { call: two, when: \"{v}\", with: { v: \"{v}\" } }
      - c: { call: three, unless: \"{v}\" }
      - d: { call: four, with: { v: \"{v}\" } }
    finally:
      - e: { call: five, with: { v: \"{v}\" } }
      - f: { call: six }
";
    let played = play_once(workflow(1, "[me]", steps), |asked| {
        match asked.tool.as_str() {
            "one" => error(FailureKind::Tool, "x"),
            _ => echo(asked),
        }
    })
    .await;
    // `d` cannot be tried; `e` is left out without a word: what was never made need not be cleared away.
    assert_eq!(played.calls(), [(0, "one"), (0, "three"), (0, "six")]);
    let errors = played.errors();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, FailureKind::Scenario);
    assert!(
        errors[0]
            .1
            .contains("`d` could not be tried: `{v}` was never saved"),
        "{errors:?}"
    );
    let played = play_once(workflow(1, "[me]", steps), echo).await;
    assert_eq!(
        played.calls(),
        [(0, "one"), (0, "two"), (0, "four"), (0, "five"), (0, "six")]
    );
}

#[tokio::test(start_paused = true)]
async fn for_each_gives_each_user_its_own_values() {
    for at_once in [false, true] {
        let steps = format!(
            "      - for_each: one
        in: others
        at_once: {at_once}
        steps:
          - a: {{ as: one, call: make, save: {{ mine: $.id, one.own: $.id }} }}
          - b: {{ as: one, call: use, with: {{ me: \"{{one.name}}\", mine: \"{{mine}}\", own: \"{{one.own}}\" }}, append_to: {{ all: \"{{one.name}}\" }} }}
      - for_each: again
        in: others
        at_once: {at_once}
        steps:
          - c: {{ as: again, call: later, with: {{ own: \"{{again.own}}\" }} }}
      - d: {{ as: me, call: end, with: {{ all: \"{{all}}\" }} }}
"
        );
        let played = play_once(workflow(4, "[me, { others: 3 }]", &steps), echo).await;
        let users: Vec<u32> = played
            .asked
            .iter()
            .filter(|asked| asked.tool == "make")
            .map(|asked| asked.user)
            .collect();
        let mut distinct = users.clone();
        distinct.sort_unstable();
        assert_eq!(distinct, [1, 2, 3], "each of the others, once");
        for asked in &played.asked {
            let made = format!("make-{}", asked.user);
            match asked.tool.as_str() {
                "use" => assert_eq!(
                    asked.arguments,
                    json!({ "me": format!("u_{}", asked.user + 1), "mine": made, "own": made })
                ),
                "later" => assert_eq!(asked.arguments, json!({ "own": made })),
                _ => {}
            }
        }
        assert_eq!(
            played.asked.last().unwrap().arguments["all"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        assert_eq!(played.most_in_flight, if at_once { 3 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_branches_run_at_once_and_join() {
    let steps = "      - parallel:
          - a: { as: me, call: slow, save: { a: $.id } }
          - steps:
              - b: { as: you, call: quick, save: { b: $.id } }
              - c: { as: you, call: then, with: { b: \"{b}\" } }
          - for_each: one
            in: others
            at_once: true
            steps:
              - d: { as: one, call: third }
      - e: { as: me, call: end, with: { a: \"{a}\", b: \"{b}\" } }
";
    let played = play_once(
        workflow(4, "[me, you, { others: 2 }]", steps),
        |asked| match asked.tool.as_str() {
            "slow" => Answer(ms(100), echo(asked).1),
            _ => echo(asked),
        },
    )
    .await;
    assert_eq!(played.most_in_flight, 4);
    let end = played.asked.last().unwrap();
    assert_eq!((end.tool.as_str(), end.at), ("end", ms(100)));
    let then = played
        .asked
        .iter()
        .find(|asked| asked.tool == "then")
        .unwrap();
    assert_eq!(then.at, ms(10));
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_one_branch_stops_the_others_at_their_next_step() {
    let steps = "      - parallel:
          - steps: [ { a: { call: bad } }, { a2: { call: never } } ]
          - steps: [ { b: { call: slow } }, { b2: { call: never } } ]
      - c: { call: never }
";
    let played = play_once(workflow(1, "[me]", steps), |asked| {
        match asked.tool.as_str() {
            "bad" => error(FailureKind::Tool, "no"),
            "slow" => Answer(ms(100), echo(asked).1),
            _ => echo(asked),
        }
    })
    .await;
    assert_eq!(played.calls(), [(0, "bad"), (0, "slow")]);
    assert_eq!(
        played.step("b").succeeded,
        1,
        "what was in flight ends by itself"
    );
    assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).failed, 1);
}

#[tokio::test(start_paused = true)]
async fn until_polls_on_a_grid_and_measures_the_propagation() {
    let steps = "      - wait: { call: look, until: { path: $.n, at_least: 4, every: 50ms, within: 10s }, save: { n: $.n } }
      - after: { call: end, with: { n: \"{n}\" } }
";
    let looked = AtomicU32::new(0);
    let played = play_once(workflow(1, "[me]", steps), move |asked| {
        match asked.tool.as_str() {
            "look" => ok(json!({ "n": looked.fetch_add(1, Ordering::Relaxed) + 1 })),
            _ => echo(asked),
        }
    })
    .await;
    let at: Vec<Duration> = played.asked.iter().map(|asked| asked.at).collect();
    assert_eq!(at, [ms(0), ms(50), ms(100), ms(150), ms(160)]);
    let step = played.step("wait");
    assert_eq!(
        (step.succeeded, step.failed),
        (4, 0),
        "each call is a sample"
    );
    assert_eq!(
        step.service.summary().max,
        0.010,
        "polling is no server latency"
    );
    assert_eq!(
        (step.waits.met, step.waits.attempts, step.waits.resolution),
        (1, 4, ms(50))
    );
    assert_eq!(step.waits.latencies.summary().max, 0.160);
    assert_eq!(played.asked[4].arguments, json!({ "n": 4 }));
}

#[tokio::test(start_paused = true)]
async fn until_gives_up_in_time() {
    let steps = "      - wait: { call: look, refused: { error: missing }, until: { path: $.n, equals: 1, every: 50ms, within: 200ms } }
      - after: { call: end }
";
    for missing in [false, true] {
        let played = play_once(workflow(1, "[me]", steps), move |_| {
            if missing {
                error(FailureKind::Tool, "missing")
            } else {
                ok(json!({ "n": 0 }))
            }
        })
        .await;
        assert_eq!(
            played.calls().len(),
            4,
            "at 0, 50, 100 and 150 ms; the next would come too late"
        );
        let step = played.step("wait");
        assert_eq!(
            (step.count(), step.failed),
            (4, 1),
            "the last call carries the failure"
        );
        assert_eq!(
            (step.refused, step.succeeded),
            if missing { (3, 0) } else { (0, 3) }
        );
        assert_eq!((step.waits.met, step.waits.not_met), (0, 1));
        let errors = played.errors();
        assert_eq!(errors[0].1, "what was waited for did not come within 200ms");
        assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).failed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn lost_updates_are_counted_not_failed() {
    let steps = "      - a: { call: one, append_to: { acknowledged: \"[a]\" } }
      - b: { call: two, append_to: { acknowledged: \"[b]\" } }
      - c: { call: three, append_to: { acknowledged: \"[c]\" } }
      - verify: { call: read, check: { path: $.content, contains_each: \"{acknowledged}\", count_missing: lost_updates } }
";
    let played = play_once(workflow(1, "[me]", steps), |_| {
        ok(json!({ "content": "start [b]" }))
    })
    .await;
    assert_eq!(played.counter("lost_updates"), 2);
    assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_take_their_time() {
    let steps = "      - a: { call: one }
      - pause: 1s
      - b: { call: two }
";
    let played = play_once(workflow(1, "[me]", steps), echo).await;
    assert_eq!(played.asked[1].at, ms(1010));
}

#[tokio::test(start_paused = true)]
async fn finally_runs_after_an_abort_on_a_budget_of_its_own() {
    let steps = "      - a: { call: one, save: { v: $.id } }
      - b: { call: hang }
    finally:
      - c: { call: clear, with: { v: \"{v}\" } }
      - d: { call: fails }
      - e: { call: last }
";
    let stop = StopSignals::default();
    let abort = stop.abort.clone();
    let played = play(
        workflow(1, "[me]", steps),
        Load {
            abort_grace: ms(100),
            ..once()
        },
        stop,
        move |asked| match asked.tool.as_str() {
            "hang" => {
                abort.cancel();
                Answer(Duration::from_secs(3600), echo(asked).1)
            }
            "fails" => error(FailureKind::Tool, "no"),
            _ => echo(asked),
        },
    )
    .await;
    assert_eq!(
        played.calls(),
        [
            (0, "one"),
            (0, "hang"),
            (0, "clear"),
            (0, "fails"),
            (0, "last")
        ]
    );
    assert_eq!(
        played.step("b").unfinished,
        1,
        "what was in flight is counted"
    );
    assert_eq!(played.outcome.tally.workflow(WorkflowId(0)).interrupted, 1);
}

#[tokio::test(start_paused = true)]
async fn finally_is_no_part_of_the_workflow() {
    let steps = "      - a: { call: one }
    finally:
      - b: { call: slow }
      - c: { call: fails }
";
    let played = play_once(workflow(1, "[me]", steps), |asked| {
        match asked.tool.as_str() {
            "slow" => Answer(Duration::from_secs(5), echo(asked).1),
            "fails" => error(FailureKind::Tool, "no"),
            _ => echo(asked),
        }
    })
    .await;
    let tally = played.outcome.tally.workflow(WorkflowId(0));
    assert_eq!((tally.succeeded, tally.failed), (1, 0));
    assert_eq!(tally.service.summary().max, 0.010);
    assert_eq!(
        (played.step("b").succeeded, played.step("c").failed),
        (1, 1),
        "but its steps are recorded"
    );
    assert_eq!(
        played.asked[1].baggage,
        "throng.step=w/b,throng.phase=finally"
    );
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_named_and_not_recorded() {
    let steps = "      - a: { call: one }\n    finally:\n      - b: { call: two }\n";
    let load = Load {
        warmup: ms(20),
        duration: ms(20),
        ..once()
    };
    let played = play(
        workflow(1, "[me]", steps),
        load,
        StopSignals::default(),
        echo,
    )
    .await;
    let phases: Vec<&str> = played
        .asked
        .iter()
        .map(|asked| asked.baggage.rsplit('=').next().unwrap())
        .collect();
    assert_eq!(phases, ["warmup", "warmup", "measured", "finally"]);
    assert_eq!(
        (played.step("a").succeeded, played.step("b").succeeded),
        (1, 1)
    );
    assert_eq!(played.outcome.discarded, 2);
}
