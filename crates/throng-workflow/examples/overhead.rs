//! What interpreting a scenario file costs, without any target: CPU time of a step with templates, a saved value and a
//! check, engine and recording included.
//!
//! Run it with `cargo run --release -p throng-workflow --example overhead`. Argument: seconds.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde_json::json;
use throng_engine::{Load, StopSignals};
use throng_workflow::run::{Driver, Performed, Prepared, Readied, UserNames};
use throng_workflow::{Environment, Overrides, ScenarioFile, YamlScenario};

const SCENARIO: &str = r#"
name: overhead
target: { url: "http://localhost/mcp" }
users: { count: 10 }
workflows:
  plain:
    actors: [alice, bob]
    steps:
      - create: { as: alice, call: create, with: { title: "Note {uid}", content: "Hello from {alice.name} {uid}", category: Test }, save: { note: $.id } }
      - share: { as: alice, call: share, with: { note: "{note}", with: "{bob.name}", permissions: 1 }, save: { share: $.id } }
      - read: { as: bob, call: read, with: { note: "{note}" }, check: { path: $.content, contains: Hello } }
      - delete: { as: alice, call: delete, with: { note: "{note}", share: "{share}" } }
"#;

/// Answers at once.
struct Nobody;

impl Driver for Nobody {
    fn names(&self, _: u32) -> UserNames<'_> {
        UserNames {
            name: "somebody",
            display_name: "Somebody",
            email: "somebody@localhost",
        }
    }

    fn run_id(&self) -> &str {
        "run"
    }

    async fn ready(&self, _: u32, _: Duration) -> Readied {
        Readied::default()
    }

    async fn perform(&self, _: u32, task: &Prepared<'_>) -> Performed {
        let value = if task.wants_value {
            json!({ "id": 17, "content": "Hello you" })
        } else {
            serde_json::Value::Null
        };
        Performed {
            ended: None,
            sent: 100,
            received: 100,
            status: None,
            stream: None,
            result: Ok(value.into()),
            retries: 0,
            denied: None,
            tokens: None,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let seconds: u64 = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .context("the argument is a number of seconds")?,
        None => 3,
    };
    let environment = Environment::new(&|_| None);
    let file = ScenarioFile::parse(
        "overhead.yaml",
        SCENARIO,
        &Overrides::default(),
        &environment,
    )
    .map_err(|problems| anyhow!("{problems:?}"))?;
    let users = file.scenario.users.count.value;
    let load = Load {
        users,
        warmup: Duration::from_millis(500),
        duration: Duration::from_secs(seconds),
        pause: Duration::ZERO,
        ..Load::default()
    };
    let scenario = Arc::new(YamlScenario::<Nobody>::new(file.program.clone(), users));
    let catalog = file.program.catalog.clone();
    let outcome = throng_engine::run(
        &load,
        scenario,
        catalog,
        Arc::new(Nobody),
        StopSignals::default(),
        |_| {},
    )
    .await;
    let steps = outcome.tally.calls();
    let cpu = outcome.generator.cpu;
    println!(
        "{steps} steps in {} executions: {:.2} us of CPU a step",
        outcome.tally.iterations(),
        cpu.as_secs_f64() * 1e6 / steps as f64
    );
    Ok(())
}
