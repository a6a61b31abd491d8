//! The user swarm, the monkeys and both at the same time, as a person starts them; and what environment, file and flags say of
//! it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use throng_sandbox::{
    EndpointKnob, ErrorKind, Integr8scodeConfig, Integr8scodeSandbox, Knobs, Latency,
};
use tokio::process::Command;

use crate::docs::{page, throng as at_once};
use crate::support::{Ended, Running, home, throng};

const PASSWORD: &str = "testpass123!";

async fn ended(command: Command, home: &Path) -> Ended {
    Running::start(command, home).ended().await
}

/// The one report in a directory.
fn report_in(directory: &Path) -> (String, Value) {
    let names = fs::read_dir(directory).expect("a directory").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("a plain name")
    });
    let reports: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let text = fs::read_to_string(directory.join(&reports[0])).expect("a report");
    (
        reports[0].trim_end_matches(".json").to_owned(),
        serde_json::from_str(&text).expect("JSON"),
    )
}

fn names(value: &Value) -> BTreeSet<&str> {
    let map = value.as_object().expect("a map");
    map.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn both_swarms_at_once_are_counted_as_the_sandbox_counts_them() {
    let home = home();
    let command = throng(
        home.path(),
        "run integr8scode --sandbox --mode both --clients 6 --concurrency 3 --duration 3 --output out/ --plots --seed 5"
            .split(' '),
    );
    let ended = ended(command, home.path()).await.with_code(0);
    let out = home.path().join("out");
    let (stem, report) = report_in(&out);
    assert!(stem.starts_with("report_both_2"), "{stem}");
    for picture in ["timeline", "endpoint_latency", "endpoint_throughput"] {
        for (kind, start) in [("png", &b"\x89PNG"[..]), ("svg", b"<")] {
            let file = out.join(format!("{stem}_{picture}.{kind}"));
            let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            assert!(bytes.starts_with(start), "{file:?}");
        }
    }
    assert_eq!(
        report["ground_truth"]["agrees"], true,
        "{}",
        report["ground_truth"]
    );
    assert_eq!(report["run"]["mode"], "both");
    assert_eq!(report["generator"]["concurrency"], 3);
    let monkey = &report["monkey"];
    assert_eq!(monkey["findings"], json!([]), "{monkey:#}");
    assert_eq!(monkey["seen_once"], json!([]), "{monkey:#}");
    assert!(monkey["requests"].as_u64() > Some(20));
    // Each swarm has users of its own, and both did something.
    let users = names(&report["users"]);
    assert_eq!(users.len(), 12);
    for n in 1..=6 {
        for name in [
            format!("loaduser_user_{n}"),
            format!("loaduser_monkey_user_{n}"),
        ] {
            let calls = &report["users"][&name]["total_operations"];
            assert!(calls.as_u64() > Some(0), "{name}");
        }
    }
    assert_eq!(
        names(&report["workflows"]),
        BTreeSet::from(["execute", "history", "monkey", "saved_scripts", "settings"])
    );
    // Every second is there, and so is every call.
    let timeline = report["timeline"].as_array().expect("a list");
    for (index, entry) in timeline.iter().enumerate() {
        assert_eq!(entry["second"], index);
    }
    assert!(timeline.len() >= 3);
    let calls: u64 = timeline.iter().filter_map(|it| it["calls"].as_u64()).sum();
    assert_eq!(report["summary"]["total_operations"], calls);
    let endpoint = &report["endpoints"]["POST /scripts"];
    for key in [
        "count",
        "errors",
        "refused",
        "statuses",
        "response",
        "failures",
        "received_bytes",
    ] {
        assert!(!endpoint[key].is_null(), "{key}: {endpoint}");
    }
    let shown = format!("{}{}{report}", ended.stdout, ended.stderr);
    assert!(!shown.contains(PASSWORD), "{ended}");
    assert!(ended.stdout.contains("Nothing found"), "{ended}");
}

/// A report with findings.
pub(crate) fn report(home: &Path) -> Value {
    let out = home.join("found.json");
    let path = out.to_str().expect("a plain path");
    let output = at_once(
        home,
        &[
            "run",
            "integr8scode",
            "--sandbox-bugs",
            "csrf-unchecked-route",
            "--mode",
            "both",
            "--clients",
            "3",
            "--duration",
            "3",
            "--seed",
            "7",
            "--output",
            path,
            "--corpus",
            home.join("corpus").to_str().expect("a plain path"),
        ],
    );
    let shown = crate::docs::said(&output);
    assert_eq!(output.status.code(), Some(97), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    for part in [
        "VERDICT: fuzz findings (exit code 97)",
        "csrf_not_checked",
        "repeats 5 of 5",
        "${THRONG_PASSWORD}",
        "| curl -sk",
        "throng replay",
    ] {
        assert!(shown.contains(part), "no {part:?}: {shown}");
    }
    serde_json::from_slice(&fs::read(out).expect("a report")).expect("JSON")
}

#[test]
fn what_monkeys_find_is_the_verdict_and_the_users_thresholds_stay_what_they_are() {
    let home = home();
    let report = report(home.path());
    assert_eq!(report["verdict"]["name"], "findings");
    assert_eq!(report["thresholds"][0]["passed"], true);
    let findings = report["monkey"]["findings"].as_array().expect("a list");
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding["check"], "csrf_not_checked", "{finding:#}");
        assert_eq!(finding["operation"], "PUT /user/settings/theme");
        assert_eq!(finding["seed"], 7);
        let file = finding["file"].as_str().expect("a file");
        let script = fs::read_to_string(file.replace(".json", ".sh")).expect("a script");
        assert_eq!(
            script.trim_end(),
            finding["curl"].as_str().expect("a script").trim_end()
        );
        assert!(script.contains("/auth/login"), "{script}");
    }
}

/// What a run took from file, environment and flags: mode, users, requests in flight, duration.
async fn settings(
    home: &Path,
    environment: &[(&str, &str)],
    flags: &str,
) -> (Value, u64, Value, f64) {
    let out = home.join("settings.json");
    let mut command = throng(
        home,
        ["run", "integr8scode", "--sandbox", "-o", "settings.json"]
            .into_iter()
            .chain(flags.split_whitespace()),
    );
    command.envs(environment.iter().copied());
    ended(command, home).await.with_code(0);
    let report: Value = serde_json::from_slice(&fs::read(out).expect("a report")).expect("JSON");
    let duration = report["summary"]["duration"].as_f64().expect("a number");
    let each = names(&report["users"]).len() as u64;
    (
        report["run"]["mode"].clone(),
        each,
        report["generator"]["concurrency"].clone(),
        duration,
    )
}

#[tokio::test]
async fn a_flag_beats_the_environment_which_beats_the_file() {
    let home = home();
    let environment = [
        ("LOAD_MODE", "user"),
        ("LOAD_CLIENTS", "3"),
        ("LOAD_CONCURRENCY", "2"),
        ("LOAD_DURATION", "1"),
    ];
    let (mode, users, concurrency, duration) = settings(home.path(), &environment, "").await;
    assert_eq!((mode, users, concurrency), (json!("user"), 3, json!(2)));
    assert!((1.0..60.0).contains(&duration), "{duration}");
    let flags = "--mode monkey --clients 4 --concurrency 5 --duration 2";
    let (mode, users, concurrency, duration) = settings(home.path(), &environment, flags).await;
    assert_eq!((mode, users, concurrency), (json!("monkey"), 4, json!(5)));
    assert!((2.0..60.0).contains(&duration), "{duration}");
    // The file's own: those of the original suite.
    let (mode, users, concurrency, _) = settings(home.path(), &[], "--duration 1").await;
    assert_eq!((mode, users, concurrency), (json!("both"), 50, json!(10)));
}

#[tokio::test]
async fn users_who_are_there_already_only_log_in() {
    let home = home();
    let sandbox = Integr8scodeSandbox::start(Integr8scodeConfig::default())
        .await
        .expect("a sandbox");
    let run = |register: &str, prefix: &str| {
        let mut command = throng(
            home.path(),
            [
                "run",
                "integr8scode",
                "--duration",
                "1",
                "--clients",
                "2",
                "-o",
                "report.json",
            ],
        );
        command
            .env("LOAD_BASE_URL", sandbox.url())
            .env("LOAD_MODE", "both")
            .env("LOAD_AUTO_REGISTER", register)
            .env("LOAD_USER_PREFIX", prefix);
        command
    };
    let registrations = || {
        let counts = sandbox.journal().counts().counts.into_iter();
        let registered = counts.filter(|it| it.route.ends_with("/auth/register"));
        // Those of the set-up: monkeys register, too, as a step.
        let registered = registered.filter(|it| it.step.is_none());
        registered.map(|it| it.count).sum::<u64>()
    };
    let nobody = ended(run("false", "early"), home.path()).await.with_code(3);
    assert!(
        nobody.stderr.contains("only 0 of 2 users are ready"),
        "{nobody}"
    );
    assert_eq!(registrations(), 0);

    ended(run("true", "early"), home.path()).await.with_code(0);
    assert_eq!(registrations(), 4);
    let again = ended(run("false", "early"), home.path()).await.with_code(0);
    assert_eq!(registrations(), 4);
    let text = fs::read_to_string(home.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["cleanup"]["users"]["created"], 0, "{again}");
    assert_eq!(
        names(&report["setup"]),
        BTreeSet::from(["login", "monkey_login"])
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn any_api_with_a_document_can_be_given_to_the_monkeys() {
    let home = home();
    let sandbox = Integr8scodeSandbox::start(Integr8scodeConfig::default())
        .await
        .expect("a sandbox");
    let document = format!("{}/api/v1/openapi.json", sandbox.url());
    let arguments = [
        "monkey",
        "--openapi",
        &document,
        "--insecure",
        "--duration",
        "1",
        "-u",
        "2",
        "-o",
        "out/",
    ];
    let ended = ended(throng(home.path(), arguments), home.path())
        .await
        .with_code(0);
    let (stem, report) = report_in(&home.path().join("out"));
    assert!(stem.starts_with("report_monkey_2"), "{stem}");
    assert_eq!(report["run"]["mode"], "monkey");
    assert_eq!(names(&report["workflows"]), BTreeSet::from(["monkey"]));
    assert_eq!(report["thresholds"], json!([]));
    assert!(report["monkey"]["requests"].as_u64() > Some(5), "{ended}");
    sandbox.stop().await;

    let refused = at_once(home.path(), &["monkey"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(crate::docs::said(&refused).contains("--openapi URL|FILE"));
    let refused = at_once(home.path(), &["monkey", "--openapi", "somewhere.json"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(crate::docs::said(&refused).contains("add --url"));
}

/// A target that nobody answers on is no sound one, however short the run.
#[test]
fn without_any_answer_there_is_no_pass() {
    let home = home();
    let document = home.path().join("api.json");
    let source = json!({
        "openapi": "3.1.0",
        "paths": { "/a": { "get": { "responses": { "200": { "description": "ok" } } } } },
    });
    fs::write(&document, source.to_string()).expect("written");
    let document = document.to_str().expect("a plain path");
    // Nobody listens where somebody has just stopped to.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let ended = at_once(
        home.path(),
        &[
            "monkey",
            "--openapi",
            document,
            "--url",
            &url,
            "-u",
            "1",
            "-d",
            "1",
        ],
    );
    let said = crate::docs::said(&ended);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    let in_a_line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(in_a_line.contains("got a connection"), "{said}");
}

#[tokio::test]
async fn a_renamed_path_is_drift_and_no_failing_target() {
    let home = home();
    let source =
        page("scenarios/integr8scode.yaml").replace("get: /notifications,", "get: /notices,");
    assert!(source.contains("/notices"));
    fs::write(home.path().join("renamed.yaml"), source).expect("written");
    let command = throng(
        home.path(),
        "run renamed.yaml --sandbox --mode both --clients 2 --duration 2 --workload settings"
            .split(' '),
    );
    let ended = ended(command, home.path()).await.with_code(93);
    assert!(
        ended
            .stderr
            .contains("settings/notifications: GET /notices was answered 404"),
        "{ended}"
    );
}

#[tokio::test]
async fn pictures_without_a_report_go_into_the_current_directory() {
    let home = home();
    let arguments = "run integr8scode --sandbox --mode user --clients 2 --duration 1 --plots";
    ended(throng(home.path(), arguments.split(' ')), home.path())
        .await
        .with_code(0);
    let entries = fs::read_dir(home.path()).expect("a directory");
    let pictures = entries.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        let name = name.to_string_lossy();
        name.starts_with("report_user_2") && (name.ends_with(".svg") || name.ends_with(".png"))
    });
    assert_eq!(pictures.count(), 6);
}

#[tokio::test]
async fn monkeys_are_for_http_targets_that_say_what_they_offer() {
    let home = home();
    let mcp = at_once(
        home.path(),
        &["run", "nextcloud", "--sandbox", "--mode", "monkey"],
    );
    assert_eq!(mcp.status.code(), Some(2));
    assert!(crate::docs::said(&mcp).contains("monkeys work on HTTP targets only"));
    let arguments = [
        "run",
        "integr8scode",
        "--sandbox",
        "--mode",
        "monkey",
        "--threshold",
        "error_rate<1%",
    ];
    let judged = at_once(home.path(), &arguments);
    assert_eq!(judged.status.code(), Some(2));
    assert!(crate::docs::said(&judged).contains("thresholds judge what users do"));
    let source = page("scenarios/integr8scode.yaml");
    let without: Vec<&str> = source
        .lines()
        .filter(|line| !line.contains("openapi:"))
        .collect();
    fs::write(home.path().join("plain.yaml"), without.join("\n")).expect("written");
    let arguments = "run plain.yaml --sandbox --mode monkey --clients 1 --duration 1";
    let ended = ended(throng(home.path(), arguments.split(' ')), home.path())
        .await
        .with_code(3);
    assert!(
        ended.stderr.contains("no OpenAPI document is named"),
        "{ended}"
    );
}

#[tokio::test]
async fn a_signal_ends_both_swarms_and_what_they_did_is_counted() {
    let home = home();
    let arguments =
        "run integr8scode --sandbox --mode both --clients 3 --duration 100 -o report.json";
    let mut running = Running::start(throng(home.path(), arguments.split(' ')), home.path());
    running
        .until("both work", |running| running.said().contains("s/100s"))
        .await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    let text = fs::read_to_string(home.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["ground_truth"]["agrees"], true, "{ended}");
    assert_eq!(report["monkey"]["findings"], json!([]));
    assert!(report["summary"]["duration"].as_f64() < Some(100.0));
}

#[tokio::test]
async fn flags_beat_the_environment_about_the_target_and_its_users_too() {
    let home = home();
    let sandbox = Integr8scodeSandbox::start(Integr8scodeConfig::default())
        .await
        .expect("a sandbox");
    let flags = [
        "run",
        "integr8scode",
        "--mode",
        "user",
        "--clients",
        "2",
        "--duration",
        "1",
        "-o",
        "out.json",
        "--base-url",
        sandbox.url(),
        "--auto-register",
        "true",
        "--user-prefix",
        "flag",
    ];
    let mut command = throng(home.path(), flags);
    command
        .env("LOAD_BASE_URL", "https://127.0.0.1:9")
        .env("LOAD_AUTO_REGISTER", "false")
        .env("LOAD_USER_PREFIX", "environment");
    ended(command, home.path()).await.with_code(0);
    let text = fs::read_to_string(home.path().join("out.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        names(&report["users"]),
        BTreeSet::from(["flag_user_1", "flag_user_2"])
    );
    // Nothing deletes them: they are named.
    assert_eq!(
        report["cleanup"]["staying"],
        json!(["flag_user_1", "flag_user_2"])
    );
    sandbox.stop().await;
}

/// How many of these spans there were at once, at most.
fn most_at_once(spans: impl Iterator<Item = (u64, u64)>) -> i32 {
    let mut turns: Vec<(u64, i32)> = spans.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    // What ends as another begins was not there with it.
    turns.sort_unstable();
    let running = turns.iter().scan(0, |now, (_, turn)| {
        *now += turn;
        Some(*now)
    });
    running.max().unwrap_or(0)
}

#[tokio::test]
async fn the_target_never_has_more_requests_at_once_than_allowed_and_every_user_gets_some() {
    let home = home();
    let slow = EndpointKnob {
        latency: Some(Latency {
            fixed_ms: 20.0,
            jitter: None,
        }),
        pattern: "*".to_owned(),
        error_rate: None,
        error: ErrorKind::Http(500),
        stall: None,
    };
    let config = Integr8scodeConfig {
        knobs: Knobs {
            endpoints: vec![slow],
            ..Knobs::default()
        },
        ..Integr8scodeConfig::default()
    };
    let sandbox = Integr8scodeSandbox::start(config).await.expect("a sandbox");
    let arguments = [
        "run",
        "integr8scode",
        "--base-url",
        sandbox.url(),
        "--mode",
        "both",
        "--clients",
        "12",
        "--concurrency",
        "3",
        "--duration",
        "3",
        "-o",
        "out.json",
    ];
    ended(throng(home.path(), arguments), home.path())
        .await
        .with_code(0);
    let entries = sandbox.journal().entries();
    // Those of the load; a stream goes on after its head, and holds nobody up.
    let requests = entries.iter().filter(|entry| {
        entry.baggage.contains_key("throng.step") && !entry.route.contains("/events/")
    });
    let most = most_at_once(requests.map(|entry| (entry.started_ns, entry.ended_ns)));
    assert_eq!(most, 3);
    let text = fs::read_to_string(home.path().join("out.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    for (name, user) in report["users"].as_object().expect("users") {
        assert!(user["total_operations"].as_u64() > Some(0), "{name}");
    }
    // Many waited long, and no latency says so.
    let wait = &report["generator"]["permit_wait"];
    assert!(wait["p50"].as_f64() > Some(0.05), "{wait}");
    let response = &report["steps"]["settings/read"]["response"];
    assert!(
        response["p50"].as_f64() < wait["p50"].as_f64(),
        "{response}"
    );
    sandbox.stop().await;
}
