//! What the engine itself costs, without any target: the recorder's price of an event, what adding it up takes, what
//! an iteration of a closed model costs, and how well an open model of 50,000 starts a second keeps its schedule.
//!
//! Run it with `cargo run --release -p throng-engine --example starts`, pinned to one core with `taskset -c 0` for
//! the aim (lag p99 under 1 ms on one core). Arguments: starts a second, seconds, users.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program"
)]

use std::{sync::Arc, time::Duration};

use throng_engine::{Executor, IterCx, Load, RunOutcome, Scenario, StopSignals, UserCx, run};
use throng_metrics::{
    Catalog, Distribution, Event, Outcome, Recorder, Sample, StepId, Tally, UserId, WorkflowRole,
};

/// Records a step that takes no time.
struct Nothing;

impl Scenario for Nothing {
    type User = ();

    async fn start(&self, _cx: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }

    async fn iterate(&self, (): &mut (), cx: &IterCx) -> anyhow::Result<()> {
        let mut clock = cx.step_clock();
        let step = cx.begin(StepId(0), cx.user(), &mut clock);
        step.finish(200, 200, Outcome::Success);
        Ok(())
    }

    async fn stop(&self, (): (), _cx: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}

fn catalog(users: u32) -> Catalog {
    let mut catalog = Catalog::default();
    let workflow = catalog.add_workflow("nothing", WorkflowRole::Workflow);
    catalog.add_step(workflow, "nothing", "nothing");
    for user in 0..users {
        catalog.add_user(format!("user_{user}"));
    }
    catalog
}

fn recorder_cost(users: u32) {
    const EVENTS: u32 = 2_000_000;
    /// As many as a busy run records between two drains.
    const BATCH: u32 = 2_500;
    let recorder = Recorder::new(8);
    let mut tally = Tally::new(&catalog(users));
    let mut events = Vec::new();
    let (mut recording, mut draining, mut adding) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut number = 0;
    while number < EVENTS {
        let began = std::time::Instant::now();
        for _ in 0..BATCH {
            number += 1;
            let user = UserId(number % users);
            let started = Duration::from_micros(u64::from(number));
            recorder.record(
                user,
                Event::Step(Sample {
                    step: StepId(0),
                    user,
                    intended: started,
                    started,
                    // Spread over three decades.
                    ended: started + Duration::from_micros(u64::from(number * 7919 % 100_000)),
                    sent: 200,
                    received: 200,
                    status: None,
                    unsent: false,
                    outcome: Outcome::Success,
                }),
            );
        }
        let recorded = began.elapsed();
        recorder.drain(&mut events);
        let drained = began.elapsed();
        for event in events.drain(..) {
            tally.add(&event);
        }
        recording += recorded;
        draining += drained - recorded;
        adding += began.elapsed() - drained;
    }
    let each = |total: Duration| total.as_nanos() as f64 / f64::from(EVENTS);
    println!(
        "an event: {:.1} ns to record, {:.1} ns to drain, {:.1} ns to add up ({users} users)",
        each(recording),
        each(draining),
        each(adding)
    );
    assert_eq!(tally.calls(), u64::from(EVENTS));
}

fn run_on_one_worker(load: Load) -> anyhow::Result<RunOutcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    // As a task, so that it runs on the one worker.
    let run = async move {
        let names = Arc::new(catalog(load.users));
        let stop = StopSignals::default();
        run(&load, Arc::new(Nothing), names, Arc::new(()), stop, |_| {}).await
    };
    Ok(runtime.block_on(async { tokio::spawn(run).await })?)
}

fn closed_cost(users: u32) -> anyhow::Result<()> {
    let outcome = run_on_one_worker(Load {
        users,
        warmup: Duration::from_millis(200),
        duration: Duration::from_secs(1),
        pause: Duration::ZERO,
        ..Load::default()
    })?;
    let iterations = outcome.tally.iterations();
    println!(
        "closed model: {iterations} iterations of one step in {:.2?}, {:.2} us of CPU each",
        outcome.measured,
        outcome.generator.cpu.as_secs_f64() * 1e6 / iterations.max(1) as f64,
    );
    Ok(())
}

fn schedule(starts: u64, seconds: u64, users: u32) -> anyhow::Result<()> {
    let outcome = run_on_one_worker(Load {
        executor: Executor::ConstantArrivalRate {
            rate: format!("{starts}/s").parse()?,
            max_queue: u32::try_from(starts)?,
        },
        users,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs(seconds),
        ..Load::default()
    })?;
    let generator = &outcome.generator;
    let starts = &generator.starts;
    let lag = |quantile| starts.lag.quantile(quantile).unwrap_or_default();
    println!(
        "{} starts in {:.2?} ({users} users): lag p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}; late {}, dropped {}",
        starts.taken,
        outcome.measured,
        lag(0.5),
        lag(0.99),
        lag(0.999),
        starts.lag.max(),
        starts.late,
        starts.dropped(),
    );
    println!(
        "CPU: {:.1} % of one core, {:.2} us a start; peak memory {:.1} MiB",
        generator.cpu_share() * 100.0,
        generator.cpu.as_secs_f64() * 1e6 / starts.taken.max(1) as f64,
        generator.peak_rss as f64 / 1_048_576.0,
    );
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| -> anyhow::Result<u64> {
        arguments
            .next()
            .map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (starts, seconds, users) = (number(50_000)?, number(5)?, u32::try_from(number(64)?)?);
    recorder_cost(users);
    closed_cost(users)?;
    schedule(starts, seconds, users)
}
