//! Events added up: counts, histograms, errors by cause. A tick's tally is the snapshot; ticks merge into the run.
//!
//! A tally answers "how many and how long"; what to make of it is said by reports, thresholds and verdicts.

use std::time::Duration;

use crate::{
    Catalog, CompactLatencies, CounterId, DropReason, ErrorGroups, Event, FailureKind,
    IterationOutcome, IterationSample, Latencies, Outcome, Sample, Silence, Statuses, StepId,
    StreamTally, Timeline, UserId, WaitSample, WorkflowId,
};

/// Events added up. Merging tallies in any order gives the same as adding all their events to one.
#[derive(Debug, Clone)]
pub struct Tally {
    steps: Vec<StepTally>,
    workflows: Vec<WorkflowTally>,
    users: Vec<Option<Box<UserTally>>>,
    counters: Vec<u64>,
    errors: ErrorGroups,
    timeline: Timeline,
    silence: Silence,
    starts: StartTally,
    token_waits: Latencies,
}

/// What is known about one step.
#[derive(Debug, Clone, Default)]
pub struct StepTally {
    /// Successes.
    pub succeeded: u64,
    /// Expected refusals.
    pub refused: u64,
    /// Failures.
    pub failed: u64,
    /// Of the failures, the access violations: calls that must be refused and were not.
    pub not_refused: u64,
    /// Cut off by a signal or by the run's own end. Neither good nor bad.
    pub unfinished: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Service times of successes and expected refusals.
    pub service: Latencies,
    /// Response times of successes and expected refusals.
    pub response: Latencies,
    /// Response times of failures.
    pub failures: Latencies,
    /// Waits for something to become visible.
    pub waits: WaitTally,
    /// HTTP statuses.
    pub statuses: Statuses,
    /// Event streams; `None` if none was listened to.
    pub streams: Option<Box<StreamTally>>,
}

impl StepTally {
    /// All calls.
    pub fn count(&self) -> u64 {
        self.succeeded + self.refused + self.failed + self.unfinished
    }

    /// Calls that did what they should: successes and expected refusals.
    pub fn good(&self) -> u64 {
        self.succeeded + self.refused
    }

    /// Calls that did not: failures.
    pub fn bad(&self) -> u64 {
        self.failed
    }

    /// Adds what another tally knows about the same step (or, for totals, another step).
    pub fn merge(&mut self, other: &StepTally) {
        self.succeeded += other.succeeded;
        self.refused += other.refused;
        self.failed += other.failed;
        self.not_refused += other.not_refused;
        self.unfinished += other.unfinished;
        self.sent += other.sent;
        self.received += other.received;
        self.service.merge(&other.service);
        self.response.merge(&other.response);
        self.failures.merge(&other.failures);
        self.waits.merge(&other.waits);
        self.statuses.merge(&other.statuses);
        if let Some(streams) = &other.streams {
            self.streams.get_or_insert_default().merge(streams);
        }
    }

    fn clear(&mut self) {
        let Self {
            succeeded,
            refused,
            failed,
            not_refused,
            unfinished,
            sent,
            received,
            service,
            response,
            failures,
            waits,
            statuses,
            streams,
        } = self;
        for count in [
            succeeded,
            refused,
            failed,
            not_refused,
            unfinished,
            sent,
            received,
        ] {
            *count = 0;
        }
        for latencies in [service, response, failures] {
            latencies.clear();
        }
        waits.clear();
        statuses.clear();
        *streams = None;
    }

    fn add(&mut self, sample: &Sample) {
        self.sent += u64::from(sample.sent);
        self.received += u64::from(sample.received);
        if let Some(status) = sample.status {
            self.statuses.add(status, 1);
        }
        match &sample.outcome {
            Outcome::Success => self.succeeded += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Failed(failure) => {
                self.failed += 1;
                self.not_refused += u64::from(failure.kind == FailureKind::NotRefused);
            }
            Outcome::Unfinished => self.unfinished += 1,
        }
        match &sample.outcome {
            Outcome::Success | Outcome::Refused => {
                self.service.record(sample.service());
                self.response.record(sample.response());
            }
            Outcome::Failed(_) => self.failures.record(sample.response()),
            Outcome::Unfinished => {}
        }
    }
}

/// What is known about the waits of one step.
#[derive(Debug, Clone, Default)]
pub struct WaitTally {
    /// Waits whose condition was met.
    pub met: u64,
    /// Waits that were given up.
    pub not_met: u64,
    /// How often the conditions were looked at.
    pub attempts: u64,
    /// How long it took until the condition was met.
    pub latencies: Latencies,
    /// The coarsest polling interval: no wait is off by more.
    pub resolution: Duration,
}

impl WaitTally {
    /// All waits.
    pub fn count(&self) -> u64 {
        self.met + self.not_met
    }

    fn add(&mut self, wait: &WaitSample) {
        if wait.met {
            self.met += 1;
            self.latencies.record(wait.waited);
        } else {
            self.not_met += 1;
        }
        self.attempts += u64::from(wait.attempts);
        self.resolution = self.resolution.max(wait.resolution);
    }

    /// Adds what another tally knows.
    pub fn merge(&mut self, other: &WaitTally) {
        self.met += other.met;
        self.not_met += other.not_met;
        self.attempts += other.attempts;
        self.latencies.merge(&other.latencies);
        self.resolution = self.resolution.max(other.resolution);
    }

    fn clear(&mut self) {
        self.met = 0;
        self.not_met = 0;
        self.attempts = 0;
        self.latencies.clear();
        self.resolution = Duration::ZERO;
    }
}

/// What is known about one workflow's executions.
#[derive(Debug, Clone, Default)]
pub struct WorkflowTally {
    /// Executions that succeeded.
    pub succeeded: u64,
    /// Executions that failed.
    pub failed: u64,
    /// Executions that were cut off by a signal or by the run's own end. Neither of the others.
    pub interrupted: u64,
    /// Response times (intended start to end) of successes.
    pub response: Latencies,
    /// Service times (start to end) of successes.
    pub service: Latencies,
    /// Response times of failures.
    pub failures: Latencies,
}

impl WorkflowTally {
    /// All executions.
    pub fn count(&self) -> u64 {
        self.succeeded + self.failed + self.interrupted
    }

    fn add(&mut self, sample: &IterationSample) {
        let response = sample.ended.saturating_sub(sample.intended);
        match sample.outcome {
            IterationOutcome::Success => {
                self.succeeded += 1;
                self.response.record(response);
                self.service
                    .record(sample.ended.saturating_sub(sample.started));
            }
            IterationOutcome::Failed(_) => {
                self.failed += 1;
                self.failures.record(response);
            }
            IterationOutcome::Interrupted => self.interrupted += 1,
        }
    }

    /// Adds what another tally knows about the same workflow (or, for totals, another workflow).
    pub fn merge(&mut self, other: &WorkflowTally) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.interrupted += other.interrupted;
        self.response.merge(&other.response);
        self.service.merge(&other.service);
        self.failures.merge(&other.failures);
    }

    fn clear(&mut self) {
        self.succeeded = 0;
        self.failed = 0;
        self.interrupted = 0;
        self.response.clear();
        self.service.clear();
        self.failures.clear();
    }
}

/// What is known about one user's steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UserTally {
    /// Steps by index: how many did what they should, how many did not. Only steps that this user did.
    pub steps: Vec<(StepId, UserStep)>,
    /// Response times of the good ones.
    pub response: CompactLatencies,
    /// Counters that went up on this user's behalf.
    pub counters: Vec<(CounterId, u64)>,
}

/// One user's doings at one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserStep {
    /// Successes and expected refusals.
    pub good: u64,
    /// Failures.
    pub bad: u64,
    /// What was cut off by a signal or by the run's own end. Neither good nor bad.
    pub unfinished: u64,
    /// Of the failures those before anything was sent.
    pub unsent: u64,
}

impl UserTally {
    /// Over all steps.
    pub fn total(&self) -> UserStep {
        let mut total = UserStep::default();
        for (_, step) in &self.steps {
            total.merge(step);
        }
        total
    }

    fn step(&mut self, step: StepId) -> &mut UserStep {
        let at = match self.steps.binary_search_by_key(&step, |(id, _)| *id) {
            Ok(at) => at,
            Err(at) => {
                self.steps.insert(at, (step, UserStep::default()));
                at
            }
        };
        &mut self.steps[at].1
    }

    fn add(&mut self, sample: &Sample) {
        let step = self.step(sample.step);
        step.unsent += u64::from(sample.unsent);
        match &sample.outcome {
            Outcome::Success | Outcome::Refused => {
                step.good += 1;
                self.response.record(sample.response());
            }
            Outcome::Failed(_) => step.bad += 1,
            Outcome::Unfinished => step.unfinished += 1,
        }
    }

    fn merge(&mut self, other: &UserTally) {
        for (id, step) in &other.steps {
            self.step(*id).merge(step);
        }
        self.response.merge(&other.response);
        for (counter, by) in &other.counters {
            self.count(*counter, *by);
        }
    }

    fn count(&mut self, counter: CounterId, by: u64) {
        match self.counters.binary_search_by_key(&counter, |(id, _)| *id) {
            Ok(at) => self.counters[at].1 += by,
            Err(at) => self.counters.insert(at, (counter, by)),
        }
    }

    /// A counter's value for this user.
    pub fn counter(&self, counter: CounterId) -> u64 {
        let found = self.counters.iter().find(|(id, _)| *id == counter);
        found.map_or(0, |(_, count)| *count)
    }
}

impl UserStep {
    /// All calls.
    pub fn count(&self) -> u64 {
        self.good + self.bad + self.unfinished
    }

    /// All calls that the target may know of.
    pub fn sent(&self) -> u64 {
        self.count() - self.unsent
    }

    fn merge(&mut self, other: &UserStep) {
        self.good += other.good;
        self.bad += other.bad;
        self.unfinished += other.unfinished;
        self.unsent += other.unsent;
    }
}

/// What is known about the open model's starts. All zero in a closed model.
#[derive(Debug, Clone, Default)]
pub struct StartTally {
    /// Starts that were taken up.
    pub taken: u64,
    /// Of these, those for which no user was free when they were due.
    pub late: u64,
    /// Starts given up because the queue was full.
    pub dropped_full: u64,
    /// Starts that were still queued at the end.
    pub dropped_at_end: u64,
    /// The generator's own share of the delay of each start.
    pub lag: Latencies,
    /// How long starts waited for a free user.
    pub waited: Latencies,
}

impl StartTally {
    /// Starts given up.
    pub fn dropped(&self) -> u64 {
        self.dropped_full + self.dropped_at_end
    }

    fn merge(&mut self, other: &StartTally) {
        self.taken += other.taken;
        self.late += other.late;
        self.dropped_full += other.dropped_full;
        self.dropped_at_end += other.dropped_at_end;
        self.lag.merge(&other.lag);
        self.waited.merge(&other.waited);
    }

    fn clear(&mut self) {
        self.taken = 0;
        self.late = 0;
        self.dropped_full = 0;
        self.dropped_at_end = 0;
        self.lag.clear();
        self.waited.clear();
    }
}

impl Tally {
    /// An empty tally for the names of `catalog`.
    pub fn new(catalog: &Catalog) -> Self {
        Self {
            steps: vec![StepTally::default(); catalog.steps.len()],
            workflows: vec![WorkflowTally::default(); catalog.workflows.len()],
            users: vec![None; catalog.users.len()],
            counters: vec![0; catalog.counters.len()],
            errors: ErrorGroups::default(),
            timeline: Timeline::default(),
            silence: Silence::default(),
            starts: StartTally::default(),
            token_waits: Latencies::default(),
        }
    }

    /// Adds one event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Step(sample) => self.add_step(sample),
            Event::Iteration(sample) => {
                slot(&mut self.workflows, sample.workflow.0).add(sample);
                if let IterationOutcome::Failed(Some(failure)) = &sample.outcome {
                    self.errors.add(failure, None, Some(sample.workflow));
                }
            }
            Event::Wait(wait) => slot(&mut self.steps, wait.step.0).waits.add(wait),
            Event::Stream(stream) => slot(&mut self.steps, stream.step.0)
                .streams
                .get_or_insert_default()
                .add(stream),
            Event::Count(count) => {
                *slot(&mut self.counters, count.counter.0) += count.by;
                slot(&mut self.users, count.user.0)
                    .get_or_insert_default()
                    .count(count.counter, count.by);
            }
            Event::TokenWait(wait) => self.token_waits.record(wait.waited),
            Event::Start(start) => {
                self.starts.taken += 1;
                self.starts.lag.record(start.lag);
                if !start.waited.is_zero() {
                    self.starts.late += 1;
                }
                self.starts.waited.record(start.waited);
            }
            Event::Dropped(dropped) => match dropped.reason {
                DropReason::QueueFull => self.starts.dropped_full += 1,
                DropReason::RunEnded => self.starts.dropped_at_end += 1,
            },
        }
    }

    fn add_step(&mut self, sample: &Sample) {
        slot(&mut self.steps, sample.step.0).add(sample);
        slot(&mut self.users, sample.user.0)
            .get_or_insert_default()
            .add(sample);
        self.timeline.add(sample);
        self.silence.add(sample);
        if let Outcome::Failed(failure) = &sample.outcome {
            self.errors.add(failure, Some(sample.step), None);
        }
    }

    /// Adds all that another tally knows.
    pub fn merge(&mut self, other: &Tally) {
        for (index, step) in other.steps.iter().enumerate() {
            slot(&mut self.steps, index as u32).merge(step);
        }
        for (index, workflow) in other.workflows.iter().enumerate() {
            slot(&mut self.workflows, index as u32).merge(workflow);
        }
        for (index, user) in other.users.iter().enumerate() {
            if let Some(user) = user {
                slot(&mut self.users, index as u32)
                    .get_or_insert_default()
                    .merge(user);
            }
        }
        for (index, count) in other.counters.iter().enumerate() {
            *slot(&mut self.counters, index as u32) += count;
        }
        self.errors.merge(&other.errors);
        self.timeline.merge(&other.timeline);
        self.silence.merge(&other.silence);
        self.starts.merge(&other.starts);
        self.token_waits.merge(&other.token_waits);
    }

    /// Forgets everything but keeps the memory of what is bounded by the catalog.
    pub fn clear(&mut self) {
        self.steps.iter_mut().for_each(StepTally::clear);
        self.workflows.iter_mut().for_each(WorkflowTally::clear);
        self.users.iter_mut().for_each(|user| *user = None);
        self.counters.iter_mut().for_each(|count| *count = 0);
        self.errors.clear();
        self.timeline.clear();
        self.silence.clear();
        self.starts.clear();
        self.token_waits.clear();
    }

    /// Each step's tally, by [`StepId`].
    pub fn steps(&self) -> &[StepTally] {
        &self.steps
    }

    /// Each workflow's tally, by [`WorkflowId`].
    pub fn workflows(&self) -> &[WorkflowTally] {
        &self.workflows
    }

    /// One step's tally.
    pub fn step(&self, step: StepId) -> &StepTally {
        &self.steps[step.0 as usize]
    }

    /// One workflow's tally.
    pub fn workflow(&self, workflow: WorkflowId) -> &WorkflowTally {
        &self.workflows[workflow.0 as usize]
    }

    /// One user's tally; `None` if that user did nothing.
    pub fn user(&self, user: UserId) -> Option<&UserTally> {
        self.users
            .get(user.0 as usize)
            .and_then(|user| user.as_deref())
    }

    /// A counter's value.
    pub fn counter(&self, counter: CounterId) -> u64 {
        self.counters.get(counter.0 as usize).copied().unwrap_or(0)
    }

    /// Failures by kind and cause.
    pub fn errors(&self) -> &ErrorGroups {
        &self.errors
    }

    /// What happened when.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Since when the target has not answered.
    pub fn silence(&self) -> &Silence {
        &self.silence
    }

    /// The open model's starts.
    pub fn starts(&self) -> &StartTally {
        &self.starts
    }

    /// How long steps waited for new tokens.
    pub fn token_waits(&self) -> &Latencies {
        &self.token_waits
    }

    /// Steps measured.
    pub fn calls(&self) -> u64 {
        self.steps.iter().map(StepTally::count).sum()
    }

    /// Steps that failed.
    pub fn failed_calls(&self) -> u64 {
        self.steps.iter().map(StepTally::bad).sum()
    }

    /// Steps that were cut off by a signal or by the run's own end.
    pub fn unfinished_calls(&self) -> u64 {
        self.steps.iter().map(|step| step.unfinished).sum()
    }

    /// Executions of workflows, of either role.
    pub fn iterations(&self) -> u64 {
        self.workflows.iter().map(WorkflowTally::count).sum()
    }

    /// All steps together. Allocates histograms: for reports and live views, not for each event.
    pub fn all_steps(&self) -> StepTally {
        let mut all = StepTally::default();
        for step in &self.steps {
            all.merge(step);
        }
        all
    }
}

/// Grows with indices that the catalog did not know, so that a scenario's slip costs a name and not the run.
fn slot<T: Clone + Default>(items: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if items.len() <= index {
        items.resize(index + 1, T::default());
    }
    &mut items[index]
}
