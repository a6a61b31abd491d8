//! What scenarios get to know, and what callers see while a run is on.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::RngCore;
use throng_engine::{Executor, Load, Phase, Stage, StopSignals, Tick, run};
use throng_metrics::{
    CountSample, CounterId, Distribution, Event, Failure, FailureKind, Outcome, StepId, Tally,
    Violations, WorkflowId, WorkflowRole,
};

use crate::support::{Script, catalog, ms, one_step, run_script, seconds};

fn load() -> Load {
    Load {
        users: 3,
        warmup: seconds(1),
        duration: seconds(3),
        ..Load::default()
    }
}

/// The first random number of each user's iterations.
async fn numbers(seed: u64, pause: u64) -> BTreeSet<(u32, u64, u64)> {
    let numbers = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&numbers);
    let script = Script {
        iterate: Box::new(move |cx| {
            let number = cx.rng().next_u64();
            assert_eq!(cx.rng().next_u64(), number, "each call starts anew");
            seen.lock()
                .unwrap()
                .insert((cx.user().0, cx.iteration(), number));
            Box::pin(one_step(cx, ms(10)))
        }),
        ..Script::default()
    };
    let load = Load {
        seed,
        pause: ms(pause),
        ..load()
    };
    run_script(&load, script).await;
    let mut numbers = numbers.lock().unwrap().clone();
    numbers.retain(|(_, iteration, _)| *iteration < 20);
    numbers
}

#[tokio::test(start_paused = true)]
async fn random_choices_depend_on_seed_user_and_iteration_only() {
    let some = numbers(1, 50).await;
    assert_eq!(some.len(), 60);
    assert_eq!(some, numbers(1, 70).await);
    let values = |numbers: &BTreeSet<(u32, u64, u64)>| -> BTreeSet<u64> {
        numbers.iter().map(|(_, _, number)| *number).collect()
    };
    assert_eq!(values(&some).len(), 60);
    assert!(values(&some).is_disjoint(&values(&numbers(2, 50).await)));
}

#[tokio::test(start_paused = true)]
async fn the_phase_is_that_of_the_intended_start() {
    let script = Script {
        iterate: Box::new(|cx| {
            let warm = cx.intended() < seconds(1);
            assert_eq!(cx.phase() == Phase::Warmup, warm);
            assert!(cx.intended() <= cx.started() && cx.started() <= cx.now());
            Box::pin(one_step(cx, ms(300)))
        }),
        ..Script::default()
    };
    let outcome = run_script(&load(), script).await;
    // An assertion that failed would be a failed iteration.
    assert!(outcome.tally.errors().is_empty(), "{:?}", outcome.tally);
    assert!(outcome.discarded > 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_during_the_warm_up_is_not_forgotten() {
    let script = Script {
        iterate: Box::new(|cx| {
            Box::pin(async move {
                let failed = |kind, example: String| {
                    let cause = "it went wrong".to_owned();
                    Outcome::Failed(Box::new(Failure {
                        kind,
                        cause,
                        example,
                    }))
                };
                let example = match cx.phase() {
                    Phase::Warmup => "warming up",
                    Phase::Measured => "measured",
                };
                let mut clock = cx.step_clock();
                for kind in [FailureKind::Http, FailureKind::NotRefused] {
                    let step = cx.begin(StepId(0), cx.user(), &mut clock);
                    tokio::time::sleep(ms(500)).await;
                    step.finish(0, 0, failed(kind, example.to_owned()));
                }
                Ok(())
            })
        }),
        ..Script::default()
    };
    let outcome = run_script(&load(), script).await;
    assert_eq!(
        outcome.let_in_warming_up,
        Violations {
            count: 3,
            example: "warming up".to_owned()
        }
    );
    assert_eq!(outcome.discarded, 6);
    for (_, _, group) in outcome.tally.errors().iter() {
        assert_eq!((group.count, group.example.as_str()), (9, "measured"));
    }
    let none = run_script(&load(), Script::default()).await;
    assert_eq!(none.let_in_warming_up, Violations::default());
}

#[tokio::test(start_paused = true)]
async fn the_environment_is_handed_through() {
    let script = Script {
        start: Box::new(|cx| {
            Box::pin(async move {
                let wrong = cx.environment::<u8>().unwrap_err().to_string();
                anyhow::ensure!(wrong.contains("not a u8"), wrong);
                anyhow::ensure!(cx.environment::<String>()? == "crowd");
                Ok(())
            })
        }),
        iterate: Box::new(|cx| {
            Box::pin(async move {
                anyhow::ensure!(cx.environment::<String>()? == "crowd");
                one_step(cx, ms(10)).await
            })
        }),
        ..Script::default()
    };
    let environment = Arc::new("crowd".to_owned());
    let outcome = run(
        &load(),
        Arc::new(script),
        catalog(3),
        environment,
        StopSignals::default(),
        |_| {},
    )
    .await;
    assert_eq!(outcome.user_errors, []);
    assert!(outcome.tally.errors().is_empty());
    assert!(outcome.tally.calls() > 0);
}

#[tokio::test(start_paused = true)]
async fn iterations_are_recorded_under_the_workflow_they_began() {
    let mut catalog = (*catalog(3)).clone();
    let other = catalog.add_workflow("other", WorkflowRole::Workflow);
    catalog.counter("visits");
    let script = Script {
        iterate: Box::new(move |cx| {
            Box::pin(async move {
                cx.began(other);
                cx.record(Event::Count(CountSample {
                    counter: CounterId(0),
                    user: cx.user(),
                    at: cx.now(),
                    by: 2,
                }));
                one_step(cx, ms(10)).await
            })
        }),
        ..Script::default()
    };
    let stop = StopSignals::default();
    let outcome = run(
        &load(),
        Arc::new(script),
        Arc::new(catalog),
        Arc::new(()),
        stop,
        |_| {},
    )
    .await;
    assert_eq!(outcome.tally.workflow(WorkflowId(0)).count(), 0);
    let iterations = outcome.tally.workflow(other).succeeded;
    assert!(iterations > 0);
    assert_eq!(outcome.tally.counter(CounterId(0)), 2 * iterations);
}

#[tokio::test(start_paused = true)]
async fn complete_windows_are_disjoint_and_add_up_to_the_run() {
    let catalog = catalog(3);
    let mut sum = Tally::new(&catalog);
    let mut stages = Vec::new();
    let mut windows = 0;
    let mut calls = 0;
    let outcome = run(
        &load(),
        Arc::new(Script::default()),
        Arc::clone(&catalog),
        Arc::new(()),
        StopSignals::default(),
        |tick| {
            assert!(tick.calls() >= calls);
            calls = tick.calls();
            if stages.last() != Some(&tick.stage) {
                stages.push(tick.stage);
            }
            if tick.complete {
                windows += 1;
                sum.merge(tick.window);
            }
        },
    )
    .await;
    assert_eq!(sum.calls(), outcome.tally.calls());
    assert_eq!(calls, outcome.tally.calls());
    assert!((4..=6).contains(&windows), "{windows}");
    assert_eq!(stages[..2], [Stage::Warmup, Stage::Measured]);
    assert_eq!(*stages.last().unwrap(), Stage::Stopping);
}

/// What looks at them takes a window's steps for those of a second.
#[tokio::test(start_paused = true)]
async fn windows_are_a_second_long_even_if_the_runtime_is_late() {
    let script = Script {
        iterate: Box::new(|_| {
            Box::pin(async {
                // As a task that holds its thread for so long.
                tokio::time::advance(ms(33)).await;
                Ok(())
            })
        }),
        ..Script::default()
    };
    let load = Load {
        users: 1,
        duration: seconds(5),
        ..Load::default()
    };
    let mut ends = Vec::new();
    let looked = |tick: &Tick<'_>| {
        if tick.complete && tick.stage == Stage::Measured {
            ends.push(tick.elapsed);
        }
    };
    let (catalog, stop) = (catalog(1), StopSignals::default());
    run(&load, Arc::new(script), catalog, Arc::new(()), stop, looked).await;
    assert!(ends.len() >= 4, "{ends:?}");
    for pair in ends.windows(2) {
        let long = pair[1] - pair[0];
        assert!((ms(950)..ms(1_050)).contains(&long), "{ends:?}");
    }
}

/// Not under a paused clock: the thread that releases starts is at work. A run can be spawned as a task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_real_time_a_thread_keeps_the_schedule() {
    let load = Load {
        executor: Executor::ConstantArrivalRate {
            rate: "2000/s".parse().unwrap(),
            max_queue: 1_000,
        },
        users: 8,
        warmup: ms(50),
        duration: ms(250),
        ..Load::default()
    };
    let script = Script {
        iterate: Box::new(|cx| {
            assert!(cx.started() >= cx.intended(), "started before it was due");
            Box::pin(one_step(cx, ms(0)))
        }),
        ..Script::default()
    };
    let run = tokio::spawn(async move {
        run(
            &load,
            Arc::new(script),
            catalog(8),
            Arc::new(()),
            StopSignals::default(),
            |_| {},
        )
        .await
    });
    let outcome = run.await.unwrap();
    let starts = &outcome.generator.starts;
    assert_eq!(starts.taken + starts.dropped(), 500);
    assert_eq!(outcome.tally.iterations(), starts.taken);
    assert!(outcome.tally.errors().is_empty());
    assert!(!outcome.generator.cpu.is_zero());
}

#[tokio::test(start_paused = true)]
async fn time_set_aside_is_no_service_time_and_in_an_open_model_still_a_response_time() {
    let open = Executor::ConstantArrivalRate {
        rate: "10/s".parse().unwrap(),
        max_queue: 100,
    };
    for (executor, response) in [(Executor::ConstantVus, 60), (open, 100)] {
        let script = Script {
            iterate: Box::new(|cx| {
                Box::pin(async move {
                    let mut clock = cx.step_clock();
                    let mut step = cx.begin(StepId(0), cx.user(), &mut clock);
                    tokio::time::sleep(ms(100)).await;
                    step.set_aside(ms(40));
                    assert_eq!(step.finish(0, 0, Outcome::Success), ms(60));
                    Ok(())
                })
            }),
            ..Script::default()
        };
        let load = Load {
            executor,
            users: 5,
            ..load()
        };
        let outcome = run_script(&load, script).await;
        let step = outcome.tally.step(StepId(0));
        assert!(step.succeeded > 0);
        // To the histogram's three digits.
        let near = |found: Duration, expected: u64| found.abs_diff(ms(expected)) <= ms(1);
        assert!(near(step.service.max(), 60), "{:?}", step.service.max());
        assert!(
            near(step.response.max(), response),
            "{:?}",
            step.response.max()
        );
    }
}
