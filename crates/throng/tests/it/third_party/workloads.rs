//! All workloads of the built-in scenario on the real Nextcloud MCP server.

use serde_json::Value;
use throng_sandbox::{Entry, Server};

use super::nextcloud_mcp::NextcloudMcp;
use super::served::Port;
use crate::support::{Ended, World};

const USERS: u64 = 4;

/// The steps of the workflows in which two users share a note and a file; each of them runs in every execution.
const NOTE_SHARE: [&str; 6] = [
    "create_note",
    "share_note",
    "list_shared_with_me",
    "read_shared_note",
    "unshare",
    "delete_note",
];
const FILE_SHARE: [&str; 6] = [
    "upload_file",
    "share_file",
    "list_shared_with_me",
    "download_file",
    "unshare",
    "delete_file",
];
const BASELINE: [&str; 7] = [
    "search_notes",
    "list_files",
    "get_capabilities",
    "create_note",
    "read_note",
    "update_note",
    "delete_note",
];
/// The writes of collaborative_edit, which may come too late and be refused: by the owner, and by the editors.
const APPENDS: [&str; 2] = ["append_note", "append_shared_note"];

/// One after the other on one server, with the same users' names each time: what the server remembers of deleted users
/// (it keeps an app password of each) must not get into the way of those created anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_workloads_run_on_the_nextcloud_mcp_server() {
    let port = Port::reserve();
    let origin = port.origin();
    let world = World::with(|config| config.mcp_public_url = Some(origin)).await;
    let server = NextcloudMcp::start(port, world.sandbox.url(), "workloads").await;

    let report = run(&world, "mixed", "-d 20 -w 2").await;
    without_failed_step(&report, &[]);
    did_run(&report, "note_share", &NOTE_SHARE);
    did_run(&report, "collaborative_edit", &APPENDS);
    assert!(report["summary"]["total_baseline_ops"].as_u64() > Some(0));

    let report = run(&world, "sharing", "-d 20 -w 2").await;
    without_failed_step(&report, &["collaborative_edit", "baseline"]);
    did_run(&report, "note_share", &NOTE_SHARE);
    did_run(&report, "file_share", &FILE_SHARE);

    let report = run(&world, "baseline", "-d 20 -w 2").await;
    without_failed_step(&report, &["note_share", "file_share", "collaborative_edit"]);
    did_run(&report, "baseline", &BASELINE);

    // Without warm-up, so that all of the journal was measured.
    world.sandbox.journal().clear();
    let report = run(&world, "collaboration", "-d 20 -w 0").await;
    without_failed_step(&report, &["note_share", "file_share", "baseline"]);
    did_run(&report, "collaborative_edit", &APPENDS);
    agrees_with_the_journal(&report, &world.sandbox.journal().entries());

    drop(server);
}

/// Runs a workload, and checks what holds of each: a pass (but for lost updates, which the thresholds do not allow), on
/// the real server and not on the sandbox's, with all users gone.
async fn run(world: &World, workload: &str, arguments: &str) -> Value {
    let arguments = format!("--workload {workload} -u {USERS} --seed 7 {arguments}");
    let ended = world.run(&arguments).ended().await;
    let report = ended.report().clone();
    let lost = counter(&report, "lost_updates");
    assert_eq!(ended.code, Some(if lost == 0 { 0 } else { 99 }), "{ended}");

    assert!(
        report["run"]["versions"]["Nextcloud MCP"].is_string(),
        "another server: {}",
        report["run"]["versions"]
    );
    let journal = world.sandbox.journal();
    let astray = journal
        .entries()
        .into_iter()
        .find(|e| e.server == Server::Mcp);
    assert_eq!(astray, None, "the sandbox's own MCP server was asked");

    assert_eq!(report["cleanup"]["created"], report["cleanup"]["deleted"]);
    assert_eq!(report["cleanup"]["left"], 0, "{ended}");
    assert_eq!(world.users().await, Vec::<String>::new(), "{ended}");
    conflicts_are_counted(&report, &ended);
    report
}

/// What was refused and what was lost must be among what was tried.
fn conflicts_are_counted(report: &Value, ended: &Ended) {
    let of = |what| -> u64 {
        let steps = APPENDS.iter();
        steps
            .map(|step| step_count(report, "collaborative_edit", step, what))
            .sum()
    };
    let (tried, refused) = (of("count"), of("refused"));
    assert_eq!(counter(report, "conflicts"), refused, "{ended}");
    assert!(
        counter(report, "lost_updates") <= tried - refused,
        "more updates were lost than acknowledged: {ended}"
    );
}

/// No step of any workflow may have failed or not ended, and none been refused but late appends; of the workflows that
/// are not part of the workload, none may have run.
#[track_caller]
fn without_failed_step(report: &Value, not_run: &[&str]) {
    let steps = report["steps"].as_object().expect("a table of steps");
    for (name, step) in steps {
        let (workflow, step_name) = name.split_once('/').expect("workflow/step");
        let may_be_refused = workflow == "collaborative_edit" && APPENDS.contains(&step_name);
        assert_eq!(step["errors"], 0, "{name}: {}", report["errors"]);
        assert_eq!(step["unfinished"], 0, "{name}");
        assert!(may_be_refused || step["refused"] == 0, "{name}: {step}");
        assert!(
            step["count"] == 0 || !not_run.contains(&workflow),
            "{name} is no part of the workload and ran: {step}"
        );
    }
    assert_eq!(report["errors"], Value::Array(Vec::new()));
    assert_eq!(report["summary"]["failed_operations"], 0);
}

#[track_caller]
fn did_run(report: &Value, workflow: &str, steps: &[&str]) {
    for step in steps {
        let count = step_count(report, workflow, step, "count");
        assert!(count > 0, "{workflow}/{step} never ran");
    }
}

fn step_count(report: &Value, workflow: &str, step: &str, what: &str) -> u64 {
    let step = &report["steps"][format!("{workflow}/{step}")];
    step[what].as_u64().unwrap_or(0)
}

fn counter(report: &Value, name: &str) -> u64 {
    report["counters"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no counter {name}: {}", report["counters"]))
}

/// What Nextcloud saw of collaborative_edit, through the MCP server in between, is what was reported.
#[track_caller]
fn agrees_with_the_journal(report: &Value, entries: &[Entry]) {
    const NOTE: &str = "/apps/notes/api/v1/notes/{id}";
    let seen = |method: &str, route: &str, status: std::ops::Range<u16>| {
        let such = entries.iter().filter(|entry| {
            entry.method == method && *entry.route == *route && status.contains(&entry.status)
        });
        such.count() as u64
    };
    let routes: std::collections::BTreeSet<_> = entries
        .iter()
        .map(|entry| format!("{} {} {}", entry.method, entry.route, entry.status))
        .collect();
    let file = entries
        .iter()
        .find(|entry| entry.method == "PUT" && *entry.route != *NOTE)
        .map(|entry| entry.route.to_string())
        .unwrap_or_else(|| panic!("no file was written: {routes:#?}"));
    let of = |step, what| step_count(report, "collaborative_edit", step, what);
    let expected = [
        (
            "append_note",
            seen("PUT", NOTE, 200..300),
            seen("PUT", NOTE, 412..413),
        ),
        (
            "append_shared_note",
            seen("PUT", &file, 200..300),
            seen("PUT", &file, 412..413),
        ),
        (
            "create_note",
            seen("POST", "/apps/notes/api/v1/notes", 200..300),
            0,
        ),
        ("delete_note", seen("DELETE", NOTE, 200..300), 0),
    ];
    for (step, done, refused) in expected {
        let reported = (of(step, "count") - of(step, "refused"), of(step, "refused"));
        assert_eq!(
            reported,
            (done, refused),
            "{step} (done, refused): {routes:#?}"
        );
    }
}
