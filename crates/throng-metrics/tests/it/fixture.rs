//! A run of known figures: three users, a workflow of two steps, a baseline of one, and something of everything.

use std::time::Duration;

use throng_metrics::{
    Catalog, CountSample, CounterId, DropReason, DroppedStart, Event, Failure, FailureKind,
    GeneratorHealth, IterationOutcome, IterationSample, Latencies, Measured, Outcome, PhaseTally,
    Sample, StartSample, StepId, Tally, UserId, WaitSample, WorkflowId, WorkflowRole,
};

pub(crate) const CREATE: StepId = StepId(0);
pub(crate) const LIST: StepId = StepId(1);
pub(crate) const SEARCH: StepId = StepId(2);
pub(crate) const SHARE: WorkflowId = WorkflowId(0);
pub(crate) const BASELINE: WorkflowId = WorkflowId(1);
pub(crate) const LOST: CounterId = CounterId(0);

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let share = catalog.add_workflow("note_share", WorkflowRole::Workflow);
    let baseline = catalog.add_workflow("baseline", WorkflowRole::Baseline);
    assert_eq!((share, baseline), (SHARE, BASELINE));
    catalog.add_step(share, "create_note", "nc_notes_create_note");
    catalog.add_step(share, "list_shared_with_me", "nc_share_list");
    catalog.add_step(baseline, "search", "GET /search/{term}");
    for n in 1..=3 {
        catalog.add_user(format!("loadtest_user_{n}"));
    }
    assert_eq!(catalog.counter("lost_updates"), LOST);
    catalog
}

/// A step that was meant to start, did start, and ended at these milliseconds.
pub(crate) fn step(step: StepId, user: u32, times: [u64; 3], outcome: Outcome) -> Event {
    Event::Step(Sample {
        step,
        user: UserId(user),
        intended: ms(times[0]),
        started: ms(times[1]),
        ended: ms(times[2]),
        sent: 100,
        received: 1_000,
        status: None,
        unsent: false,
        outcome,
    })
}

pub(crate) fn failed(kind: FailureKind, cause: &str, example: &str) -> Outcome {
    Outcome::Failed(Box::new(Failure {
        kind,
        cause: cause.to_owned(),
        example: example.to_owned(),
    }))
}

pub(crate) fn iteration(
    workflow: WorkflowId,
    user: u32,
    times: [u64; 3],
    outcome: IterationOutcome,
) -> Event {
    Event::Iteration(IterationSample {
        workflow,
        user: UserId(user),
        intended: ms(times[0]),
        started: ms(times[1]),
        ended: ms(times[2]),
        outcome,
    })
}

/// 100 executions of the workflow with response times of 101, 102, ... 200 ms, each of a step of 100 ms and one of 1
/// to 100 ms; 20 searches; three failures.
pub(crate) fn events() -> Vec<Event> {
    let mut events = Vec::new();
    for n in 1..=100 {
        let user = (n % 2) as u32;
        let start = n * 50;
        let created = start + 100;
        events.push(step(
            CREATE,
            user,
            [start, start, created],
            Outcome::Success,
        ));
        events.push(step(
            LIST,
            1 - user,
            [created, created, created + n],
            Outcome::Success,
        ));
        events.push(Event::Wait(WaitSample {
            step: LIST,
            user: UserId(1 - user),
            started: ms(created),
            waited: ms(300),
            resolution: ms(25),
            attempts: 12,
            met: n % 50 != 0,
        }));
        events.push(iteration(
            SHARE,
            user,
            [start, start, created + n],
            IterationOutcome::Success,
        ));
    }
    for n in 1..=20 {
        let outcome = if n % 10 == 0 {
            Outcome::Refused
        } else {
            Outcome::Success
        };
        events.push(step(SEARCH, 2, [n * 10, n * 10, n * 10 + 40], outcome));
        events.push(iteration(
            BASELINE,
            2,
            [n * 10, n * 10, n * 10 + 40],
            IterationOutcome::Success,
        ));
    }
    for n in 0..3 {
        let at = 7_000 + n * 10;
        let outcome = failed(
            FailureKind::Tool,
            "note not found",
            "nc_share_list answered isError: Note 4711 not found (404) for \u{1b}[31mloadtest_user_2, although it had been shared with it a moment ago",
        );
        events.push(step(LIST, 1, [at, at, at + 5], outcome));
        events.push(iteration(
            SHARE,
            0,
            [at, at, at + 5],
            IterationOutcome::Failed(None),
        ));
    }
    events.push(step(CREATE, 0, [8_000, 8_000, 9_500], Outcome::Unfinished));
    events.push(Event::Count(CountSample {
        counter: LOST,
        user: UserId(0),
        at: ms(100),
        by: 2,
    }));
    events
}

pub(crate) fn open_model_events() -> Vec<Event> {
    let mut events: Vec<_> = (0..100)
        .map(|n| {
            Event::Start(StartSample {
                user: UserId(0),
                due: ms(n),
                started: ms(n + 3),
                lag: Duration::from_micros(n * 10),
                waited: if n < 10 { ms(2) } else { ms(0) },
            })
        })
        .collect();
    events.push(Event::Dropped(DroppedStart {
        due: ms(100),
        reason: DropReason::QueueFull,
    }));
    events.push(step(CREATE, 0, [0, 100, 200], Outcome::Success));
    events
}

pub(crate) fn tally_of(catalog: &Catalog, events: &[Event]) -> Tally {
    let mut tally = Tally::new(catalog);
    for event in events {
        tally.add(event);
    }
    tally
}

pub(crate) fn phases() -> Vec<PhaseTally> {
    let mut login = PhaseTally::new("login");
    for n in 1..=2 {
        login.succeeded(ms(n * 100));
        login.queued(ms((n - 1) * 50));
    }
    login.failed("loadtest_user_3: the login page at http://localhost/login said: Wrong password.");
    login.set_wall(ms(400));
    vec![login]
}

/// A run, to be measured.
pub(crate) struct Run {
    pub(crate) catalog: Catalog,
    pub(crate) tally: Tally,
    pub(crate) phases: Vec<PhaseTally>,
    pub(crate) generator: GeneratorHealth,
}

impl Run {
    pub(crate) fn of(events: &[Event]) -> Self {
        let catalog = catalog();
        let tally = tally_of(&catalog, events);
        let mut waits = Latencies::new();
        waits.record(ms(40));
        let generator = GeneratorHealth {
            starts: tally.starts().clone(),
            wall: Duration::from_secs(10),
            cpu: ms(2_500),
            cores: 2,
            peak_rss: 12 << 20,
            discarded: 17,
            in_flight: Some(4),
            permit_wait: waits,
        };
        Self {
            catalog,
            tally,
            phases: phases(),
            generator,
        }
    }

    pub(crate) fn measured(&self) -> Measured<'_> {
        Measured {
            catalog: &self.catalog,
            tally: &self.tally,
            phases: &self.phases,
            generator: &self.generator,
        }
    }
}
