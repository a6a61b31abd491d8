//! A driver without a network: answers by a function, remembers what it was asked. For tests under paused time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use throng_engine::{Executor, Load, RunOutcome, StopSignals};
use throng_metrics::{Failure, FailureKind, StepId};
use throng_workflow::run::{Driver, Performed, Prepared, Readied, Reply, Task, UserNames};
use throng_workflow::{Environment, Overrides, Program, ScenarioFile, YamlScenario};

/// What the fake is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) user: u32,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    pub(crate) baggage: String,
    /// Since the start of the test.
    pub(crate) at: Duration,
}

/// What it answers, and after how long.
pub(crate) struct Answer(pub(crate) Duration, pub(crate) Result<Value, Failure>);

pub(crate) fn ok(value: Value) -> Answer {
    Answer(Duration::from_millis(10), Ok(value))
}

pub(crate) fn error(kind: FailureKind, message: &str) -> Answer {
    let failure = Failure {
        kind,
        cause: throng_workflow::run::fold(message),
        example: message.to_owned(),
    };
    Answer(Duration::from_millis(10), Err(failure))
}

type Respond = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

pub(crate) struct Fake {
    names: Vec<String>,
    respond: Respond,
    asked: Mutex<Vec<Asked>>,
    origin: tokio::time::Instant,
    /// Calls in flight, and the most that there were.
    in_flight: AtomicU32,
    most: AtomicU32,
}

impl Driver for Fake {
    fn names(&self, user: u32) -> UserNames<'_> {
        let name = &self.names[user as usize];
        UserNames {
            name,
            display_name: name,
            email: name,
        }
    }

    fn run_id(&self) -> &str {
        "run"
    }

    async fn ready(&self, _: u32, _: Duration) -> Readied {
        Readied::default()
    }

    async fn perform(&self, user: u32, task: &Prepared<'_>) -> Performed {
        let (tool, arguments) = match &task.task {
            Task::Call(tool, arguments) => (
                tool.to_string(),
                serde_json::from_slice(arguments).expect("valid JSON"),
            ),
            Task::Resource(uri) => (uri.clone(), Value::Null),
            Task::Request(_) | Task::Listen(_) | Task::Token(_) => {
                panic!("the fake speaks no HTTP")
            }
        };
        let baggage = task
            .baggage
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let asked = Asked {
            user,
            tool,
            arguments,
            baggage,
            at: self.origin.elapsed(),
        };
        let Answer(delay, result) = (self.respond)(&asked);
        self.asked.lock().unwrap().push(asked);
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(delay).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        Performed {
            ended: None,
            sent: 1,
            received: 2,
            status: None,
            stream: None,
            result: result.map(Reply::from),
            retries: 0,
            denied: None,
            tokens: None,
        }
    }
}

/// What a run came to.
pub(crate) struct Played {
    pub(crate) program: Arc<Program>,
    pub(crate) outcome: RunOutcome,
    pub(crate) asked: Vec<Asked>,
    pub(crate) most_in_flight: u32,
}

impl Played {
    pub(crate) fn step(&self, name: &str) -> &throng_metrics::StepTally {
        let at = self
            .program
            .catalog
            .steps
            .iter()
            .position(|step| step.name == name)
            .expect("a step of that name");
        self.outcome.tally.step(StepId(at as u32))
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let at = self
            .program
            .catalog
            .counters
            .iter()
            .position(|counter| counter.name == name)
            .expect("a counter");
        self.outcome
            .tally
            .counter(throng_metrics::CounterId(at as u32))
    }

    /// User and tool of each call, in order.
    pub(crate) fn calls(&self) -> Vec<(u32, &str)> {
        self.asked
            .iter()
            .map(|asked| (asked.user, asked.tool.as_str()))
            .collect()
    }

    /// Cause and example of each kind of failure.
    pub(crate) fn errors(&self) -> Vec<(FailureKind, String, String)> {
        errors(&self.outcome)
    }
}

/// Cause and example of each kind of failure of a run.
pub(crate) fn errors(outcome: &RunOutcome) -> Vec<(FailureKind, String, String)> {
    let errors = outcome.tally.errors().iter();
    errors
        .map(|(kind, cause, group)| (kind, cause.to_owned(), group.example.clone()))
        .collect()
}

/// A load in which each user runs exactly one execution, if that takes longer than the window.
pub(crate) fn once() -> Load {
    Load {
        executor: Executor::ConstantVus,
        users: 1,
        warmup: Duration::ZERO,
        duration: Duration::from_millis(1),
        pause: Duration::ZERO,
        graceful_stop: Duration::from_secs(1000),
        abort_grace: Duration::from_secs(1000),
        seed: 7,
        in_flight: None,
    }
}

/// Reads a scenario of workflows only.
pub(crate) fn program(users: u32, workflows: &str) -> Arc<Program> {
    let source = format!(
        "name: t\ntarget: {{ url: \"http://localhost/mcp\" }}\nusers: {{ count: {users}, prefix: u, name: \"{{prefix}}_{{n}}\" }}\n{workflows}"
    );
    match ScenarioFile::parse(
        "t.yaml",
        &source,
        &Overrides::default(),
        &Environment::new(&|_| None),
    ) {
        Ok(file) => file.program,
        Err(problems) => panic!(
            "{}",
            problems
                .iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>()
        ),
    }
}

/// A workflow `w` with these actors, steps (indented by six) and `finally`.
pub(crate) fn workflow(users: u32, actors: &str, steps: &str) -> Arc<Program> {
    program(
        users,
        &format!("workflows:\n  w:\n    actors: {actors}\n    steps:\n{steps}"),
    )
}

pub(crate) async fn play(
    program: Arc<Program>,
    load: Load,
    stop: StopSignals,
    respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> Played {
    let users = program.catalog.users.len() as u32;
    let fake = Arc::new(Fake {
        names: program.catalog.users.clone(),
        respond: Box::new(respond),
        asked: Mutex::default(),
        origin: tokio::time::Instant::now(),
        in_flight: AtomicU32::new(0),
        most: AtomicU32::new(0),
    });
    let scenario = Arc::new(YamlScenario::<Fake>::new(program.clone(), users));
    let outcome = throng_engine::run(
        &load,
        scenario,
        program.catalog.clone(),
        fake.clone(),
        stop,
        |_| {},
    )
    .await;
    assert!(outcome.user_errors.is_empty(), "{:?}", outcome.user_errors);
    let asked = fake.asked.lock().unwrap().clone();
    Played {
        program,
        outcome,
        asked,
        most_in_flight: fake.most.load(Ordering::Relaxed),
    }
}

/// One execution by user 0 of a run that has as many users as the program.
pub(crate) async fn play_once(
    program: Arc<Program>,
    respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> Played {
    play(program, once(), StopSignals::default(), respond).await
}

/// Answers `{"id": "<tool>-<user>"}`.
pub(crate) fn echo(asked: &Asked) -> Answer {
    ok(json!({ "id": format!("{}-{}", asked.tool, asked.user), "arguments": asked.arguments }))
}
