//! Ctrl-C: once drains, twice aborts; either way nothing stays.

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use throng_sandbox::ErrorKind;

use crate::report::{at, count, entries, reasons, verdicts};
use crate::run::slow;
use crate::support::{Running, World, home, throng};
use crate::{journal, trouble};

/// A run of a minute whose calls take long enough to be in flight when a signal comes, waited for until it's well under way.
async fn under_way(world: &World, arguments: &str) -> crate::support::Running {
    let mut running = world.run(&format!(
        "--workload baseline -u 4 -d 60 -w 0 --pause 0 {arguments}"
    ));
    let journal = world.sandbox.journal();
    running
        .until("ten calls", |_| journal::total(&journal) >= 10)
        .await;
    running
}

/// Calls that were cut off.
#[track_caller]
fn unfinished(report: &Value) -> u64 {
    entries(report, "/users")
        .map(|(_, user)| count(user, "/unfinished_operations"))
        .sum()
}

#[tokio::test]
async fn one_signal_lets_what_runs_finish() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::with(|config| config.knobs = slow("nc_*", 100.0)).await;
        let running = under_way(&world, "").await;
        running.signal(signal);
        let ended = running.ended().await.with_code(105);
        let report = ended.report();
        assert!(reasons(report, "interrupted").contains("signal"), "{ended}");
        assert_eq!(unfinished(report), 0, "{ended}");
        assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
        assert_eq!(
            count(report, "/summary/total_operations"),
            journal::total(&world.sandbox.journal()),
            "{ended}"
        );
        assert!(ended.took.as_secs() < 30, "{ended}");
        assert_eq!(world.users().await, [""; 0]);
    }
}

#[tokio::test]
async fn two_signals_give_up_what_runs() {
    let world = World::new().await;
    let mut running = under_way(&world, "").await;
    // From now on no search ends, and sooner or later everybody searches.
    let knobs = world.sandbox.knobs();
    knobs
        .set(slow("nc_notes_search_notes", 3_600_000.0))
        .expect("valid knobs");
    let journal = world.sandbox.journal();
    running
        .until("all calls are held", |_| journal.counts().in_flight >= 4)
        .await;
    running.signal(Signal::INT);
    running
        .until("the first signal is answered", |running| {
            running.said().contains("stopping:")
        })
        .await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    let report = ended.report();
    assert!(ended.stderr.contains("stopping now"), "{ended}");
    let unfinished = unfinished(report);
    assert_eq!(unfinished, 4, "{ended}");
    // What one's own signal cuts off is no error, wherever one looks.
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
    assert_eq!(
        count(report, "/summary/unfinished_operations"),
        4,
        "{ended}"
    );
    assert!(
        at(report, "/errors").as_array().expect("a list").is_empty(),
        "{ended}"
    );
    for (_, user) in entries(report, "/users") {
        assert_eq!(count(user, "/failed_operations"), 0, "{ended}");
    }
    assert!(
        reasons(report, "interrupted").contains("4 calls were cut off"),
        "{ended}"
    );
    assert!(ended.took.as_secs() < 20, "{ended}");
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_signal_during_the_logins_removes_the_users_made_by_then() {
    let world = World::with(|config| config.knobs = slow("GET /login", 500.0)).await;
    let mut running = world.run("-u 6 -d 60 -w 0 --login-concurrency 2");
    let journal = world.sandbox.journal();
    running
        .until("a user is created", |_| {
            let counts = journal.counts().counts;
            counts
                .iter()
                .any(|count| &*count.method == "POST" && count.route.ends_with("/cloud/users"))
        })
        .await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    assert_eq!(
        reasons(ended.report(), "interrupted"),
        "stopped by a signal before the load began"
    );
    for (_, phase) in entries(ended.report(), "/setup") {
        assert_eq!(count(phase, "/failures"), 0, "{ended}");
    }
    assert!(!ended.stderr.contains("failed"), "{ended}");
    assert!(count(ended.report(), "/cleanup/created") > 0, "{ended}");
    assert_eq!(world.users().await, [""; 0]);
    assert!(ended.took.as_secs() < 30, "{ended}");
}

#[tokio::test]
async fn a_signal_while_sessions_are_opened_closes_them() {
    // Only the older era has sessions.
    let world = World::with(|config| {
        config.knobs = trouble::knob("server/discover", |knob| {
            knob.error_rate = Some(1.0);
            knob.error = ErrorKind::Http(400);
        });
        let slow = slow("initialize", 300.0).endpoints;
        config.knobs.endpoints.extend(slow);
    })
    .await;
    let mut running = world.run("-u 6 -d 60 -w 0 --login-concurrency 2");
    let journal = world.sandbox.journal();
    let sum = |wanted: &dyn Fn(&throng_sandbox::Count) -> bool| {
        let counts = journal.counts().counts;
        let wanted = counts.iter().filter(|count| wanted(count));
        wanted.map(|count| count.count).sum::<u64>()
    };
    let opened =
        || sum(&|count| count.rpc_method.as_deref() == Some("initialize") && count.status == 200);
    running
        .until("two sessions are open", |_| opened() >= 2)
        .await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    assert_eq!(
        reasons(ended.report(), "interrupted"),
        "stopped by a signal before the load began"
    );
    assert!(opened() < 6, "{ended}");
    let closed = sum(&|count| &*count.method == "DELETE" && &*count.route == "/mcp");
    assert_eq!(closed, opened(), "{ended}");
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_signal_outranks_thresholds_which_are_listed() {
    let world = World::with(|config| config.knobs = slow("nc_*", 50.0)).await;
    let running = under_way(&world, "--threshold p95<1ms").await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    let all: Vec<String> = verdicts(ended.report())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(all, ["interrupted", "thresholds_failed"], "{ended}");
    assert!(
        ended
            .stdout
            .contains("VERDICT: interrupted (exit code 105)"),
        "{ended}"
    );
}

#[tokio::test]
async fn a_signal_before_anything_was_done_is_answered() {
    let home = home();
    let arguments = ["run", "--sandbox", "-o", "report.json"];
    let mut running = Running::start(throng(home.path(), arguments), home.path());
    running
        .until("it begins", |running| {
            running.said().contains("Starting a sandbox")
        })
        .await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    assert!(ended.stderr.contains("stopping:"), "{ended}");
    assert_eq!(
        ended.stdout,
        "VERDICT: interrupted (exit code 105): stopped by a signal before anything was touched\n"
    );
    // A report is complete or absent, and so is the file it's first written to.
    assert_eq!(reports(&home), [""; 0]);
}

/// The report and its unfinished file, where they are.
fn reports(home: &TempDir) -> Vec<String> {
    std::fs::read_dir(home.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.contains("report.json"))
        .collect()
}

#[tokio::test]
async fn a_third_signal_on_a_sandbox_says_that_nothing_stays() {
    let home = home();
    std::fs::write(
        home.path().join("knobs.yaml"),
        "endpoints: [{ match: nc_*, latency: { fixed_ms: 3600000 } }]",
    )
    .expect("written");
    let arguments = "run --sandbox --sandbox-knobs knobs.yaml -d 60 -w 0 -o report.json";
    let command = throng(home.path(), arguments.split(' '));
    let mut running = Running::start(command, home.path());
    for (waited_for, what) in [
        ("Running workload", "the load"),
        ("stopping:", "the first answer"),
        ("stopping now:", "the second answer"),
    ] {
        running
            .until(what, |running| running.said().contains(waited_for))
            .await;
        running.signal(Signal::INT);
    }
    let ended = running.ended().await;
    if ended.code == Some(130) {
        // The second where it came when the cleanup had just ended.
        let told = [
            "all that was created is gone with the sandbox",
            "nothing that was created is left",
        ];
        assert!(
            told.iter().any(|text| ended.stderr.contains(text)),
            "{ended}"
        );
        assert!(!ended.stderr.contains("throng cleanup"), "{ended}");
        // Nor does the report's unfinished file.
        assert_eq!(reports(&home), [""; 0], "{ended}");
    } else {
        // It was quicker than the third one.
        ended.with_code(105);
    }
}

#[tokio::test]
async fn what_is_kept_in_a_sandbox_is_not_said_to_stay() {
    let home = home();
    let arguments = "run --sandbox --no-cleanup -u 2 -d 0.5 -w 0 -o report.json";
    let command = throng(home.path(), arguments.split(' '));
    let ended = Running::start(command, home.path())
        .ended()
        .await
        .with_code(0);
    assert!(
        ended.stdout.contains(
            "Created: 3 (2 users, 1 OAuth client), gone with the sandbox: nothing is left"
        ),
        "{ended}"
    );
    assert!(!ended.stderr.contains("throng cleanup"), "{ended}");
    let report = std::fs::read_to_string(home.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(at(&report, "/cleanup/ended_with_sandbox"), true);
    assert_eq!(at(&report, "/cleanup/kept"), false);
    assert_eq!(count(&report, "/cleanup/left"), 0);
    assert_eq!(count(&report, "/cleanup/users/created"), 2);
    assert_eq!(count(&report, "/cleanup/clients/created"), 1);
}
