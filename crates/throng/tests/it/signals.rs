//! Ctrl-C: once drains, twice aborts; either way nothing stays.

use rustix::process::Signal;
use serde_json::Value;

use crate::journal;
use crate::report::{count, entries, reasons};
use crate::run::slow;
use crate::support::World;

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
    let mut running = under_way(&world, "--no-thresholds").await;
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
    assert_eq!(count(report, "/summary/failed_operations"), 4, "{ended}");
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
    // Without a sample it's no data first, and interrupted too.
    let ended = running.ended().await.with_code(96);
    assert!(
        reasons(ended.report(), "interrupted").contains("signal"),
        "{ended}"
    );
    assert!(count(ended.report(), "/cleanup/created") > 0, "{ended}");
    assert_eq!(world.users().await, [""; 0]);
    assert!(ended.took.as_secs() < 30, "{ended}");
}
