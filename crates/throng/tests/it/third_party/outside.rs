//! Whole runs of users whom a provider has that isn't ours: they log in there and work on the sandbox's MCP server, which takes that
//! provider's tokens.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use throng_sandbox::{IssuerConfig, McpAuth, Secret};

use super::browsers::ONE_AT_A_TIME;
use super::providers::{CLIENT, CLIENT_SECRET, Provider, RESOURCE, RESOURCE_SECRET, users};
use crate::docs::root;
use crate::support::{Ended, Running, World, home, throng};

/// What a run left: its outputs and its report.
async fn run(
    home: &TempDir,
    arguments: &[&str],
    environment: &[(&str, &str)],
    secrets: &[&str],
) -> (Ended, Value) {
    let path = home.path().join("report.json");
    let output = ["--output", path.to_str().expect("a UTF-8 path")];
    let mut command = throng(home.path(), [arguments, &output].concat());
    command.envs(environment.iter().copied());
    let ended = Running::start(command, home.path()).ended().await;
    let ended = ended.with_code(0);
    let text = std::fs::read_to_string(path).expect("a report");
    let said = format!("{ended}{text}");
    for secret in secrets {
        assert!(!said.contains(secret), "a secret is shown: {ended}");
    }
    (ended, serde_json::from_str(&text).expect("JSON"))
}

/// Each user worked, nothing failed, and nobody was created or deleted.
#[track_caller]
fn all_worked(ended: &Ended, report: &Value, users: &[(String, String)]) {
    assert_eq!(report["errors"], json!([]), "{ended}");
    assert_eq!(report["verdict"]["name"], "pass", "{ended}");
    let table = report["users"].as_object().expect("a table of users");
    assert_eq!(table.len(), users.len(), "{ended}");
    for (name, _) in users {
        let operations = table[name]["total_operations"].as_u64();
        assert!(operations > Some(0), "{name} did nothing: {ended}");
    }
    assert_eq!(report["cleanup"]["users"]["created"], 0, "{ended}");
    for phase in ["login", "session"] {
        let phase = &report["setup"][phase];
        assert_eq!(phase["count"], users.len(), "{}", report["setup"]);
        assert_eq!(phase["failures"], 0, "{}", report["setup"]);
    }
}

pub(super) fn write_csv(users: &[(String, String)], path: &Path) {
    let rows = users
        .iter()
        .map(|(name, password)| format!("{name},{password}\n"));
    let text: String = std::iter::once("name,password\n".to_owned())
        .chain(rows)
        .collect();
    std::fs::write(path, text).expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_users_of_oidc_provider_work_and_their_tokens_are_renewed() {
    let provider = Provider::oidc_provider(4, "outside").await;
    let (home, users) = (home(), users(20));
    write_csv(&users, &home.path().join("users.csv"));
    let secrets: Vec<&str> = users
        .iter()
        .map(|(_, password)| password.as_str())
        .collect();
    let arguments = "run nextcloud --users-from users.csv -d 6 -w 0 --issuer";
    let arguments: Vec<&str> = arguments.split(' ').chain([&*provider.issuer]).collect();
    let (ended, report) = run(&home, &arguments, &[], &secrets).await;
    all_worked(&ended, &report, &users);
    let refreshes = report["counters"]["token_refreshes"].as_u64();
    assert!(refreshes > Some(0), "{}", report["counters"]);
    assert_eq!(
        report["ground_truth"]["agrees"], true,
        "{}",
        report["ground_truth"]
    );
    // The client that the run registered is gone again.
    assert_eq!(
        report["cleanup"]["clients"]["deleted"], 1,
        "{}",
        report["cleanup"]
    );
    let shared = &report["steps"]["note_share/read_shared_note"];
    assert!(shared["count"].as_u64() > Some(0), "{ended}");
    assert!(
        ended
            .stderr
            .contains(&format!("Users log in at {}", provider.issuer)),
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_users_of_canaille_run_the_example_for_identity_providers() {
    let users = users(10);
    let provider = Provider::canaille(&users, &[], "outside").await;
    let world = World::with(|config| {
        config.mcp.auth = McpAuth::Outside(IssuerConfig {
            audience: Some(RESOURCE.to_owned()),
            introspection: Some((RESOURCE.to_owned(), Secret::new(RESOURCE_SECRET))),
            ..IssuerConfig::new(&*provider.issuer)
        });
    })
    .await;
    let home = home();
    write_csv(&users, &home.path().join("users.csv"));
    let example = root().join("examples/identity-provider.yaml");
    std::fs::copy(example, home.path().join("scenario.yaml")).expect("a copy of the example");
    let mut secrets: Vec<&str> = users
        .iter()
        .map(|(_, password)| password.as_str())
        .collect();
    secrets.extend([CLIENT_SECRET, RESOURCE_SECRET]);
    let environment = [
        ("MCP_URL", world.sandbox.mcp_url()),
        ("OAUTH_CLIENT_ID", CLIENT),
        ("OAUTH_CLIENT_SECRET", CLIENT_SECRET),
    ];
    let arguments = ["run", "scenario.yaml", "-d", "4", "-w", "0"];
    let (ended, report) = run(&home, &arguments, &environment, &secrets).await;
    all_worked(&ended, &report, &users);
    let read = &report["steps"]["share_a_note/read"];
    assert!(read["count"].as_u64() > Some(0), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_users_of_canaille_work_on_a_sandbox_that_is_started_for_them() {
    let users = users(10);
    let provider = Provider::canaille(&users, &[], "outside_sandbox").await;
    let home = home();
    let listed: Vec<Value> = users
        .iter()
        .map(|(name, password)| json!({ "name": name, "password": password }))
        .collect();
    let json = Value::from(listed).to_string();
    std::fs::write(home.path().join("users.json"), json).expect("a file");
    let mut secrets: Vec<&str> = users
        .iter()
        .map(|(_, password)| password.as_str())
        .collect();
    secrets.extend([CLIENT_SECRET, RESOURCE_SECRET]);
    let environment = [
        ("THRONG_CLIENT_SECRET", CLIENT_SECRET),
        ("THRONG_ISSUER_CLIENT_SECRET", RESOURCE_SECRET),
    ];
    let arguments = format!(
        "run nextcloud --users-from users.json -d 4 -w 0 --issuer {} --issuer-audience {RESOURCE} --issuer-client {RESOURCE} --client-id {CLIENT}",
        provider.issuer
    );
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (ended, report) = run(&home, &arguments, &environment, &secrets).await;
    all_worked(&ended, &report, &users);
    assert_eq!(
        report["ground_truth"]["agrees"], true,
        "{}",
        report["ground_truth"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_oidc_provider_log_in_by_chromium_and_work() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let provider = Provider::oidc_provider(60, "outside_browser").await;
    let (home, users) = (home(), users(10));
    write_csv(&users, &home.path().join("users.csv"));
    let secrets: Vec<&str> = users
        .iter()
        .map(|(_, password)| password.as_str())
        .collect();
    // The browser brings programs of its own.
    let path = std::env::var("PATH").expect("a PATH");
    let chromium = std::env::var("THRONG_TEST_CHROMIUM");
    let chromium = chromium.unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let arguments = format!(
        "run nextcloud --users-from users.csv -d 2 -w 0 --issuer {} --browser chromium --browser-path {chromium}",
        provider.issuer
    );
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let (ended, report) = run(&home, &arguments, &[("PATH", &path)], &secrets).await;
    all_worked(&ended, &report, &users);
}
