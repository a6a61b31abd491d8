//! A run from its first user's start to its last one's stop.
//!
//! Two things go on side by side: the lifecycle, which says what the users do and when it ends, and the aggregator,
//! which empties the recorder and shows what came in. Neither waits for the other.

use std::{
    any::Any,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use throng_metrics::{Catalog, GeneratorHealth, Recorder, Tally, Violations};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::{
    ConstantRate, EndedBy, Executor, Expectations, InFlightLimit, Load, RunOutcome, Scenario,
    Stage, StopSignals, Tick, UserError,
    clock::Clock,
    crew::{Command, Crew},
    dispatcher::Dispatcher,
    health,
    iteration::Shared,
    starts::{StartQueue, Starts},
};

/// The recorder is emptied this often: often enough for each time to be short, and for the events of a busy run to be still
/// in the processor's cache.
const DRAIN_EVERY: Duration = Duration::from_millis(10);
/// The caller gets a look this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A window is complete after this time, at the next look.
const WINDOW: Duration = Duration::from_secs(1);

/// Runs a load of a scenario to its end, and returns what came of it.
///
/// `environment` is handed to the scenario's calls as it is. Cancelling `stop.drain` starts nothing new and lets
/// iterations in flight end for [`Load::graceful_stop`]; cancelling `stop.abort` asks them to give up, and drops them
/// after [`Load::abort_grace`]. Either way each user that was started is stopped. `on_tick` is called about four
/// times a second on the run's own task: it must not block.
pub async fn run<S: Scenario>(
    load: &Load,
    scenario: Arc<S>,
    catalog: Arc<Catalog>,
    environment: Arc<dyn Any + Send + Sync>,
    stop: StopSignals,
    mut on_tick: impl FnMut(&Tick<'_>),
) -> RunOutcome {
    let shared = Arc::new(Shared {
        load: load.clone(),
        environment,
        recorder: Recorder::new(4 * health::cores() as usize),
        expectations: Arc::new(Expectations::new(if load.is_open() {
            catalog.steps.len()
        } else {
            0
        })),
        catalog,
        stop: stop.child(),
        callers_stop: stop,
        discarded: AtomicU64::new(0),
        let_in: Mutex::new(Violations::default()),
        busy: AtomicU32::new(0),
        time_is_up: AtomicBool::new(false),
        given_up: AtomicBool::new(false),
        clock: OnceLock::new(),
    });
    let starts = Arc::new(match load.executor {
        Executor::ConstantVus => Starts::Closed,
        Executor::ConstantArrivalRate { max_queue, .. } => {
            Starts::Open(StartQueue::new(load.users, max_queue))
        }
    });
    let progress = Progress::default();
    let mut aggregator = Aggregator::new(&shared, &progress, &starts);
    let ended = {
        let mut lifecycle = pin!(live(&scenario, &shared, &starts, &progress));
        let mut drains = interval(DRAIN_EVERY);
        drains.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = drains.tick() => aggregator.drain(&mut on_tick),
                ended = &mut lifecycle => break ended,
            }
        }
    };
    aggregator.finish(&mut on_tick);
    let tally = aggregator.total;
    RunOutcome {
        generator: GeneratorHealth {
            starts: tally.starts().clone(),
            wall: ended.measured,
            cpu: ended.cpu,
            cores: health::cores(),
            peak_rss: health::peak_resident().unwrap_or(0),
            discarded: shared.discarded.load(Ordering::Relaxed),
            in_flight: load.in_flight.as_ref().map(InFlightLimit::most),
            permit_wait: load
                .in_flight
                .as_ref()
                .map(InFlightLimit::waited)
                .unwrap_or_default(),
        },
        tally,
        users_started: progress.users.load(Ordering::Relaxed),
        measured: ended.measured,
        let_out: ended.let_out,
        discarded: shared.discarded.load(Ordering::Relaxed),
        let_in_warming_up: shared
            .let_in
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
        ended_by: ended.by,
        user_errors: ended.user_errors,
    }
}

/// How far the run is, for those who watch.
#[derive(Debug)]
struct Progress {
    stage: AtomicU8,
    users: AtomicU32,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            users: AtomicU32::new(0),
        }
    }
}

impl Progress {
    fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        let number = self.stage.load(Ordering::Relaxed);
        [
            Stage::Starting,
            Stage::Warmup,
            Stage::Measured,
            Stage::Draining,
            Stage::Aborting,
        ]
        .into_iter()
        .find(|stage| *stage as u8 == number)
        .unwrap_or(Stage::Stopping)
    }
}

/// What the lifecycle comes to.
struct Ended {
    by: EndedBy,
    measured: Duration,
    let_out: Duration,
    cpu: Duration,
    user_errors: Vec<UserError>,
}

async fn live<S: Scenario>(
    scenario: &Arc<S>,
    shared: &Arc<Shared>,
    starts: &Arc<Starts>,
    progress: &Progress,
) -> Ended {
    let mut crew = Crew::muster(scenario, shared, starts);
    start_users(&mut crew, shared, progress).await;
    let mut ended = Ended {
        by: stopped_by(&shared.callers_stop).unwrap_or(EndedBy::NotStarted),
        measured: Duration::ZERO,
        let_out: Duration::ZERO,
        cpu: Duration::ZERO,
        user_errors: Vec::new(),
    };
    if ended.by == EndedBy::NotStarted && progress.users.load(Ordering::Relaxed) > 0 {
        put_load(&mut crew, shared, starts, progress, &mut ended).await;
    }
    progress.enter(Stage::Stopping);
    crew.command(Command::Stop);
    ended.user_errors = crew.all_stopped().await;
    ended
}

/// By the caller's own signals: the run gives its own ones itself, too, when a wait has been long enough.
fn stopped_by(stop: &StopSignals) -> Option<EndedBy> {
    if stop.abort.is_cancelled() {
        Some(EndedBy::Aborted)
    } else if stop.drain.is_cancelled() {
        Some(EndedBy::Drained)
    } else {
        None
    }
}

/// Completes when the run is asked to end.
async fn stop_requested(stop: &StopSignals) {
    tokio::select! {
        () = stop.drain.cancelled() => {}
        () = stop.abort.cancelled() => {}
    }
}

/// Waits for `last` to complete, ever less patiently: first it may take as long as a graceful stop, then iterations
/// are asked to give up, and at last `give_up` is called, which makes it complete.
async fn wind_down(
    shared: &Shared,
    progress: &Progress,
    give_up: impl FnOnce(),
    last: impl Future<Output = ()>,
) {
    let mut last = pin!(last);
    shared.stop.drain.cancel();
    progress.enter(Stage::Draining);
    tokio::select! {
        () = &mut last => return,
        () = sleep(shared.load.graceful_stop) => {}
        () = shared.stop.abort.cancelled() => {}
    }
    shared.stop.abort.cancel();
    progress.enter(Stage::Aborting);
    tokio::select! {
        () = &mut last => return,
        () = sleep(shared.load.abort_grace) => {}
    }
    give_up();
    last.await;
}

async fn start_users(crew: &mut Crew, shared: &Shared, progress: &Progress) {
    let give_up = crew.give_up_handle();
    let mut all = pin!(crew.all_started(|| {
        progress.users.fetch_add(1, Ordering::Relaxed);
    }));
    tokio::select! {
        () = &mut all => {}
        () = stop_requested(&shared.stop) => {
            wind_down(shared, progress, || give_up.cancel(), all).await;
        }
    }
}

/// Warm-up, measured window and winding down.
async fn put_load(
    crew: &mut Crew,
    shared: &Arc<Shared>,
    starts: &Arc<Starts>,
    progress: &Progress,
    ended: &mut Ended,
) {
    let load = &shared.load;
    let clock = *shared.clock.get_or_init(Clock::start);
    let mut dispatcher = match dispatcher(starts, shared) {
        Ok(dispatcher) => dispatcher,
        Err(error) => {
            tracing::error!(%error, "cannot make the thread that releases starts");
            return;
        }
    };
    progress.enter(Stage::Warmup);
    crew.command(Command::Iterate);

    let mut cpu_before = None;
    {
        let whole = async {
            sleep_until(clock.at(load.warmup)).await;
            progress.enter(Stage::Measured);
            cpu_before = Some(health::cpu_time());
            sleep_until(clock.at(load.end())).await;
            // The last start is due just before the end, and its release may be just after it.
            dispatcher.finished().await;
        };
        tokio::select! {
            () = whole => {
                shared.time_is_up.store(true, Ordering::Relaxed);
                ended.by = EndedBy::Finished;
            }
            () = stop_requested(&shared.stop) => {
                ended.by = stopped_by(&shared.callers_stop).unwrap_or(EndedBy::Drained);
            }
        }
    }
    ended.let_out = clock.now().saturating_sub(load.warmup).min(load.duration);
    dispatcher.close();
    let tokens = crew.give_up_handle();
    let give_up = || {
        // Before the first call is dropped: that hands its permit on.
        shared.given_up.store(true, Ordering::Release);
        tokens.cancel();
    };
    wind_down(shared, progress, give_up, crew.all_idle()).await;

    // A drain, or the end itself, may have become an abort meanwhile.
    if shared.callers_stop.abort.is_cancelled() {
        ended.by = EndedBy::Aborted;
    }
    if let Some(before) = cpu_before {
        ended.measured = clock.now().saturating_sub(load.warmup);
        ended.cpu = health::cpu_time().saturating_sub(before);
    }
}

fn dispatcher(starts: &Arc<Starts>, shared: &Arc<Shared>) -> std::io::Result<Dispatcher> {
    match shared.load.executor {
        Executor::ConstantVus => Ok(Dispatcher::none(starts, shared)),
        Executor::ConstantArrivalRate { rate, .. } => {
            Dispatcher::start(ConstantRate::new(rate, shared.load.end()), starts, shared)
        }
    }
}

/// Empties the recorder and adds up.
struct Aggregator<'a> {
    shared: &'a Shared,
    progress: &'a Progress,
    starts: &'a Starts,
    window: Tally,
    total: Tally,
    /// When the next look is due. Both are kept by the clock: where drains come late, there are fewer of them.
    next_look: Instant,
    /// When the window is complete.
    window_ends: Instant,
}

impl<'a> Aggregator<'a> {
    fn new(shared: &'a Shared, progress: &'a Progress, starts: &'a Starts) -> Self {
        let now = Instant::now();
        Self {
            shared,
            progress,
            starts,
            window: Tally::new(&shared.catalog),
            total: Tally::new(&shared.catalog),
            next_look: now + LOOK_EVERY,
            window_ends: now + WINDOW,
        }
    }

    fn drain(&mut self, on_tick: &mut impl FnMut(&Tick<'_>)) {
        self.collect();
        let now = Instant::now();
        if now >= self.next_look {
            let complete = now >= self.window_ends;
            self.look(complete, on_tick);
            self.next_look = (self.next_look + LOOK_EVERY).max(now);
            if complete {
                self.window_ends = (self.window_ends + WINDOW).max(now);
            }
        }
    }

    fn finish(&mut self, on_tick: &mut impl FnMut(&Tick<'_>)) {
        self.collect();
        self.look(true, on_tick);
    }

    fn collect(&mut self) {
        let window = &mut self.window;
        self.shared.recorder.take_each(|event| window.add(&event));
    }

    fn look(&mut self, complete: bool, on_tick: &mut impl FnMut(&Tick<'_>)) {
        on_tick(&Tick {
            stage: self.progress.stage(),
            elapsed: self
                .shared
                .clock
                .get()
                .map_or(Duration::ZERO, |clock| clock.now()),
            users: self.progress.users.load(Ordering::Relaxed),
            busy: self.shared.busy.load(Ordering::Relaxed),
            waiting: match self.starts {
                Starts::Closed => 0,
                Starts::Open(queue) => queue.waiting(),
            },
            window: &self.window,
            complete,
            total: &self.total,
        });
        if complete {
            self.total.merge(&self.window);
            self.window.clear();
        }
    }
}
