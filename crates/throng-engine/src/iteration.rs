//! What one iteration gets to know, and the way by which it records.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::rngs::SmallRng;
use throng_metrics::{
    Catalog, Event, Failure, FailureKind, IterationOutcome, Outcome, Recorder, Sample, StepId,
    UserId, Violations, WorkflowId,
};

use crate::{
    Expectations, Load, Permit, StepClock, StopSignals,
    clock::Clock,
    scenario::{environment, rng},
    starts::Start,
};

/// Whether what is recorded counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Load is really run, but its samples are thrown away.
    Warmup,
    /// Samples count.
    Measured,
}

/// A call without an answer for so long says something of the target, however short a graceful stop is.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all users of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) load: Load,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) environment: Arc<dyn Any + Send + Sync>,
    pub(crate) recorder: Recorder,
    pub(crate) expectations: Arc<Expectations>,
    /// The run's own signals: they follow the caller's, and are given when its time is up.
    pub(crate) stop: StopSignals,
    pub(crate) callers_stop: StopSignals,
    /// Steps recorded in the warm-up.
    pub(crate) discarded: AtomicU64,
    /// Those of them that were let in where they must not be.
    pub(crate) let_in: Mutex<Violations>,
    /// Iterations running now.
    pub(crate) busy: AtomicU32,
    /// Set when the load has lasted as long as it should.
    pub(crate) time_is_up: AtomicBool,
    /// Set when what still runs is dropped: from then on nobody shall begin a call that he waited for.
    pub(crate) given_up: AtomicBool,
    /// Set when the load begins.
    pub(crate) clock: OnceLock<Clock>,
}

impl Shared {
    /// The clock of a load that has begun.
    pub(crate) fn clock(&self) -> Clock {
        *self
            .clock
            .get()
            .expect("the clock is set before the first start")
    }

    /// Whether it is the caller's signal that cuts off what still runs, and not the end of the run's own patience. A drain
    /// that comes after the time was up changes nothing.
    pub(crate) fn stopped_by_signal(&self) -> bool {
        self.callers_stop.abort.is_cancelled()
            || (self.callers_stop.drain.is_cancelled() && !self.time_is_up.load(Ordering::Relaxed))
    }

    /// Whether what the run's own end cuts off had its time: `given` is what it may take at most, where that is known. Who had
    /// less is neither success nor failure, as after a signal: nobody can tell what would have come of it.
    fn had_its_time(&self, ran: Duration, given: Option<Duration>, answered: bool) -> bool {
        let patience = self.load.graceful_stop.max(PATIENCE);
        match given {
            // Whatever it waits for may come as late as this.
            Some(given) if answered => ran >= given,
            given => ran >= given.unwrap_or(Duration::MAX).min(patience),
        }
    }

    /// What is said of something that still ran when the run's own patience was at its end.
    pub(crate) fn too_late(&self, what: &str, cause: &str, ran: Duration) -> Failure {
        Failure {
            kind: FailureKind::Timeout,
            cause: cause.to_owned(),
            example: format!(
                "{what} after {ran:.1?}; the run was over and its graceful stop of {:?}, too",
                self.load.graceful_stop
            ),
        }
    }

    /// The phase is decided by the intended start, so that an iteration is in one phase as a whole.
    pub(crate) fn phase_of(&self, intended: Duration) -> Phase {
        if intended < self.load.warmup {
            Phase::Warmup
        } else {
            Phase::Measured
        }
    }

    /// Keeps an access violation of the warm-up, whose samples are thrown away otherwise: who was let in was let in.
    fn keep_violation(&self, outcome: &Outcome) {
        if let Outcome::Failed(failure) = outcome
            && failure.kind == FailureKind::NotRefused
        {
            let mut let_in = self.let_in.lock().unwrap_or_else(PoisonError::into_inner);
            let_in.count += 1;
            if let_in.example.is_empty() {
                let_in.example.clone_from(&failure.example);
            }
        }
    }

    /// Records an event of the measured phase, its offsets counted from the start of the measured window.
    pub(crate) fn record(&self, by: UserId, mut event: Event) {
        rebase(&mut event, self.load.warmup);
        self.recorder.record(by, event);
    }
}

fn rebase(event: &mut Event, origin: Duration) {
    let offsets: &mut [&mut Duration] = match event {
        Event::Step(it) => &mut [&mut it.intended, &mut it.started, &mut it.ended],
        Event::Iteration(it) => &mut [&mut it.intended, &mut it.started, &mut it.ended],
        Event::Wait(it) => &mut [&mut it.started],
        Event::Stream(it) => &mut [&mut it.started],
        Event::Count(it) => &mut [&mut it.at],
        Event::TokenWait(it) => &mut [&mut it.at],
        Event::Start(it) => &mut [&mut it.due, &mut it.started],
        Event::Dropped(it) => &mut [&mut it.due],
    };
    for offset in offsets {
        **offset = offset.saturating_sub(origin);
    }
}

/// One iteration, as its scenario sees it. Cheap to clone; parallel branches may each have one.
///
/// All offsets are counted from the start of the load (warm-up included).
#[derive(Debug, Clone)]
pub struct IterCx(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    clock: Clock,
    user: UserId,
    number: u64,
    intended: Duration,
    started: Duration,
    phase: Phase,
    workflow: AtomicU32,
    step_failed: AtomicBool,
    step_cut_off: AtomicBool,
    /// When its last step ended, in microseconds.
    progress_micros: AtomicU64,
    /// When the scenario said that its work was done.
    completed: OnceLock<Duration>,
}

const NO_WORKFLOW: u32 = u32::MAX;

impl IterCx {
    pub(crate) fn new(shared: &Arc<Shared>, user: UserId, start: &Start) -> Self {
        Self(Arc::new(Inner {
            clock: shared.clock(),
            phase: shared.phase_of(start.intended),
            shared: Arc::clone(shared),
            user,
            number: start.number,
            intended: start.intended,
            started: start.started,
            workflow: AtomicU32::new(NO_WORKFLOW),
            step_failed: AtomicBool::new(false),
            step_cut_off: AtomicBool::new(false),
            progress_micros: AtomicU64::new(0),
            completed: OnceLock::new(),
        }))
    }

    /// The virtual user that runs this iteration.
    pub fn user(&self) -> UserId {
        self.0.user
    }

    /// How many users the run has.
    pub fn users(&self) -> u32 {
        self.0.shared.load.users
    }

    /// In a closed model this user's nth iteration, in an open model the schedule's nth start; both from 0.
    pub fn iteration(&self) -> u64 {
        self.0.number
    }

    /// Whether what is recorded counts.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// When the iteration should have started. In a closed model that is when it did.
    pub fn intended(&self) -> Duration {
        self.0.intended
    }

    /// When the iteration started.
    pub fn started(&self) -> Duration {
        self.0.started
    }

    /// The offset of this moment. Monotonic.
    pub fn now(&self) -> Duration {
        self.0.clock.now()
    }

    /// The offset of a monotonic instant, for times that were taken elsewhere (a client's timings).
    pub fn offset_of(&self, instant: std::time::Instant) -> Duration {
        self.0.clock.offset_of(instant)
    }

    /// Random numbers seeded by (seed, user, iteration): the same whatever the threads did. Each call starts anew;
    /// take one and keep it.
    pub fn rng(&self) -> SmallRng {
        rng(self.0.shared.load.seed, self.0.user, self.0.number)
    }

    /// Says which workflow this iteration executes. Call it first; without it the catalog's first one is meant.
    pub fn began(&self, workflow: WorkflowId) {
        self.0.workflow.store(workflow.0, Ordering::Relaxed);
    }

    /// Says that the workflow's work is done, well or not: what follows only clears up, and is no part of the
    /// iteration's duration. Steps of it are recorded like any other.
    pub fn completed(&self) {
        // Said twice, the first time counts.
        let _ = self.0.completed.set(self.now());
    }

    /// Records an event, with offsets as this context's clock gives them. In the warm-up it is only counted, but for access
    /// violations, which are kept: see [`crate::RunOutcome::let_in_warming_up`].
    ///
    /// Successful steps also teach what to expect of the next ones, in the warm-up too.
    pub fn record(&self, event: Event) {
        if let Event::Step(sample) = &event {
            match &sample.outcome {
                Outcome::Success if self.0.shared.load.is_open() => self
                    .0
                    .shared
                    .expectations
                    .learn(sample.step, sample.service()),
                Outcome::Success | Outcome::Refused => {}
                Outcome::Unfinished => self.0.step_cut_off.store(true, Ordering::Relaxed),
                Outcome::Failed(_) => self.0.step_failed.store(true, Ordering::Relaxed),
            }
            let ended = u64::try_from(sample.ended.as_micros()).unwrap_or(u64::MAX);
            self.0.progress_micros.fetch_max(ended, Ordering::Relaxed);
        }
        match self.0.phase {
            Phase::Measured => self.0.shared.record(self.0.user, event),
            Phase::Warmup => {
                if let Event::Step(sample) = &event {
                    self.0.shared.discarded.fetch_add(1, Ordering::Relaxed);
                    self.0.shared.keep_violation(&sample.outcome);
                }
            }
        }
    }

    /// The right to have one call in flight, where [`Load::in_flight`] limits that; `None` at once where nothing does. Ask
    /// for it before [`IterCx::begin`], so that the waiting is no part of the step's service time, and drop it as soon as the
    /// answer is there.
    ///
    /// When the run's end drops the calls in flight, their permits don't go on to those who wait: they would begin a step
    /// only to be dropped, too, before anything of it was sent. An abort alone is the scenario's to look at when it has its
    /// permit ([`StopSignals::abort`]): clearing up may still go on.
    pub async fn permit(&self) -> Option<Permit> {
        let shared = &self.0.shared;
        let limit = shared.load.in_flight.as_ref()?;
        let permit = limit.permit(self.0.phase == Phase::Measured).await;
        if shared.given_up.load(Ordering::Acquire) {
            drop(permit);
            return std::future::pending().await;
        }
        Some(permit)
    }

    /// A step that starts now. Finish it with [`InFlight::finish`]. Dropped before, it is recorded all the same: as
    /// unfinished where a signal stopped the run or its own end came before the step had had its time, and as a failure
    /// else. It moves `clock` on when it is finished.
    pub fn begin<'a>(&self, step: StepId, actor: UserId, clock: &'a mut StepClock) -> InFlight<'a> {
        let started = self.now();
        InFlight {
            intended: clock.intended(started),
            started,
            step,
            actor,
            clock,
            status: None,
            unsent: false,
            going_on: None,
            given: None,
            cx: Some(self.clone()),
        }
    }

    /// The clock of the iteration's first actor's steps.
    pub fn step_clock(&self) -> StepClock {
        let expectations = Arc::clone(&self.0.shared.expectations);
        if self.0.shared.load.is_open() {
            StepClock::open(self.0.intended, expectations)
        } else {
            StepClock::closed(expectations)
        }
    }

    /// The run's stop signals.
    pub fn stop(&self) -> &StopSignals {
        &self.0.shared.stop
    }

    /// The run's names.
    pub fn catalog(&self) -> &Catalog {
        &self.0.shared.catalog
    }

    /// What the caller of [`crate::run`] gave as environment.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn environment<T: Any + Send + Sync>(&self) -> anyhow::Result<&T> {
        environment(&self.0.shared.environment)
    }

    /// Whether a step that failed was recorded: then the iteration's error needs no record of its own.
    pub(crate) fn step_failed(&self) -> bool {
        self.0.step_failed.load(Ordering::Relaxed)
    }

    /// Whether it was cut off before anything in it had failed or had taken too long: by a signal, or by the run's own end.
    pub(crate) fn was_cut_off(&self) -> bool {
        let shared = &self.0.shared;
        if !shared.stop.abort.is_cancelled() {
            return false;
        }
        let progress = Duration::from_micros(self.0.progress_micros.load(Ordering::Relaxed));
        let since = self.now().saturating_sub(progress.max(self.0.started));
        shared.stopped_by_signal()
            || (!self.step_failed()
                && (self.0.step_cut_off.load(Ordering::Relaxed)
                    || !shared.had_its_time(since, None, false)))
    }

    /// How a step went that was dropped in flight, before its answer or while that went on.
    fn dropped(&self, ran: Duration, given: Option<Duration>, answered: bool) -> Outcome {
        let shared = &self.0.shared;
        if shared.stopped_by_signal() {
            return Outcome::Unfinished;
        }
        let failure = if shared.stop.abort.is_cancelled() {
            if !shared.had_its_time(ran, given, answered) {
                return Outcome::Unfinished;
            }
            let (what, cause) = if answered {
                (
                    "the answer still went on",
                    "the answer went on until the run ended",
                )
            } else {
                ("no answer", "no answer until the run ended")
            };
            shared.too_late(what, cause, ran)
        } else {
            Failure {
                kind: FailureKind::Scenario,
                cause: "given up by the scenario".to_owned(),
                example: format!("the scenario gave the step up after {ran:.1?}"),
            }
        };
        Outcome::Failed(Box::new(failure))
    }

    /// Records the iteration itself.
    pub(crate) fn ended(&self, outcome: IterationOutcome) {
        let workflow = match self.0.workflow.load(Ordering::Relaxed) {
            NO_WORKFLOW => 0,
            workflow => workflow,
        };
        self.record(Event::Iteration(throng_metrics::IterationSample {
            workflow: WorkflowId(workflow),
            user: self.0.user,
            intended: self.0.intended,
            started: self.0.started,
            ended: self
                .0
                .completed
                .get()
                .copied()
                .unwrap_or_else(|| self.now()),
            outcome,
        }));
    }
}

/// The head of an answer that goes on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// When it was there.
    pub at: Instant,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Bytes sent by then.
    pub sent: u32,
    /// Bytes received by then.
    pub received: u32,
}

/// A step that goes on after the head of its answer.
#[derive(Debug)]
struct GoingOn {
    head: Arc<OnceLock<Head>>,
    /// Whether the head is all that matters.
    suffices: bool,
}

/// A step that is running.
#[derive(Debug)]
pub struct InFlight<'a> {
    cx: Option<IterCx>,
    step: StepId,
    actor: UserId,
    intended: Duration,
    started: Duration,
    status: Option<u16>,
    unsent: bool,
    /// The head of the answer, where the step goes on after it.
    going_on: Option<GoingOn>,
    /// How long it may take at most.
    given: Option<Duration>,
    clock: &'a mut StepClock,
}

impl InFlight<'_> {
    /// When it started.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// When it should have started.
    pub fn intended(&self) -> Duration {
        self.intended
    }

    /// Notes the HTTP status of the answer.
    pub fn answered(&mut self, status: Option<u16>) {
        self.status = status;
    }

    /// Notes that the step failed before anything was sent.
    pub fn never_sent(&mut self) {
        self.unsent = true;
    }

    /// Takes time out of the step in which it did not wait for the target, but for something of the generator's own, such as
    /// a new token between two attempts. It leaves the service time; in an open model it stays in the response time, since
    /// whoever wanted the step done had to wait.
    pub fn set_aside(&mut self, waited: Duration) {
        self.started += waited;
        if self.clock.is_closed() {
            self.intended += waited;
        }
    }

    /// How long the step may take at most. When the run's own end cuts it off before that, it is no failure.
    pub fn may_take(&mut self, given: Duration) {
        self.given = Some(given);
    }

    /// For a step that goes on after the head of its answer, such as an event stream. Given up later, it is recorded as one
    /// that ended with this head: as a success if the head `suffices`, and else, since what it waited for had not come yet,
    /// as any other step that is given up.
    pub fn goes_on_after(&mut self, head: Arc<OnceLock<Head>>, suffices: bool) {
        self.going_on = Some(GoingOn { head, suffices });
    }

    /// Records the step as ended now. Returns its service time.
    pub fn finish(self, sent: u32, received: u32, outcome: Outcome) -> Duration {
        let ended = self
            .cx
            .as_ref()
            .map_or(self.started, |context| context.now());
        self.finish_at(ended, sent, received, outcome)
    }

    /// Records the step as ended at an offset, where the client knows better when that was. Returns its service time.
    pub fn finish_at(
        mut self,
        ended: Duration,
        sent: u32,
        received: u32,
        outcome: Outcome,
    ) -> Duration {
        self.record(ended, sent, received, outcome);
        ended.saturating_sub(self.started)
    }

    fn record(&mut self, ended: Duration, sent: u32, received: u32, outcome: Outcome) {
        let Some(cx) = self.cx.take() else { return };
        self.clock.completed(self.step, self.started, ended);
        cx.record(Event::Step(Sample {
            step: self.step,
            user: self.actor,
            intended: self.intended,
            started: self.started,
            ended,
            sent,
            received,
            status: self.status,
            unsent: self.unsent,
            outcome,
        }));
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(cx) = &self.cx {
            let now = cx.now();
            let ran = now.saturating_sub(self.started);
            let answered = self
                .going_on
                .as_ref()
                .and_then(|going_on| Some((*going_on.head.get()?, going_on.suffices)));
            let Some((head, suffices)) = answered else {
                let outcome = cx.dropped(ran, self.given, false);
                return self.record(now, 0, 0, outcome);
            };
            let outcome = if suffices {
                Outcome::Success
            } else {
                cx.dropped(ran, self.given, true)
            };
            // As of a stream that ends by itself: the rest is its own time, in which nobody waited for the server.
            let ended = cx.offset_of(head.at);
            self.status = head.status;
            self.record(ended, head.sent, head.received, outcome);
        }
    }
}
