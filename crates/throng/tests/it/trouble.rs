//! Trouble that the sandbox plants is found, named and measured: what the report says against what the journal knows.

use std::time::Duration;

use rustix::process::Signal;
use throng_sandbox::{EndpointKnob, Entry, ErrorKind, Knobs, NextcloudConfig, Stall, StallFrom};

use crate::journal;
use crate::report::{at, count, entries, key, number, reasons, verdicts};
use crate::run::{healthy_or_slow_machine, slow};
use crate::support::World;

/// Knobs for what a pattern matches.
pub(crate) fn knob(pattern: &str, set: impl FnOnce(&mut EndpointKnob)) -> Knobs {
    let mut knob = EndpointKnob {
        pattern: pattern.to_owned(),
        latency: None,
        error_rate: None,
        error: ErrorKind::default(),
        stall: None,
    };
    set(&mut knob);
    Knobs {
        endpoints: vec![knob],
        ..Knobs::default()
    }
}

fn failing(pattern: &str, rate: f64, error: ErrorKind) -> impl FnOnce(&mut NextcloudConfig) {
    let knobs = knob(pattern, |knob| {
        knob.error_rate = Some(rate);
        knob.error = error;
    });
    move |config| config.knobs = knobs
}

/// The errors of a kind: how many, and one example.
#[track_caller]
fn errors(report: &serde_json::Value, kind: &str) -> (u64, String) {
    let groups = at(report, "/errors").as_array().expect("a list");
    let of_kind = groups.iter().filter(|group| group["kind"] == kind);
    of_kind.fold((0, String::new()), |(times, _), group| {
        let example = group["example"].as_str().expect("a text").to_owned();
        (times + count(group, "/count"), example)
    })
}

#[tokio::test]
async fn an_error_rate_is_reported_as_it_is() {
    let world = World::with(|config| {
        failing("tools/call", 0.05, ErrorKind::Http(503))(config);
        // Whose draws are near to the rate from the beginning: within 0.4 points after 800 and ever after.
        config.knobs.seed = 20;
    })
    .await;
    let mut running = world.run("--workload baseline -u 8 -d 90 -w 0 --pause 0");
    let journal = world.sandbox.journal();
    running
        .until("enough calls to tell", |_| {
            journal::total(&journal) >= 2_000
        })
        .await;
    running.signal(Signal::INT);
    // The signal comes first, and the threshold is listed after it.
    let ended = running.ended().await.with_code(105);
    let report = ended.report();
    let planted = journal::planted(&journal, "http_503");
    assert_eq!(
        count(report, "/summary/failed_operations"),
        planted,
        "{ended}"
    );
    // Only tools fail; a resource is read, too.
    let tools = entries(report, "/endpoints").filter(|(name, _)| name.starts_with("nc_"));
    let (calls, failed) = tools.fold((0, 0), |(calls, failed), (_, tool)| {
        (
            calls + count(tool, "/count"),
            failed + count(tool, "/errors"),
        )
    });
    assert!(calls >= 1_500, "{ended}");
    let rate = failed as f64 * 100.0 / calls as f64;
    assert!((4.0..6.0).contains(&rate), "{rate} %: {ended}");
    let (times, example) = errors(report, "http");
    assert_eq!(times, planted);
    assert!(example.contains("503"), "{example}");
    assert!(
        reasons(report, "thresholds_failed").starts_with("error_rate<1%"),
        "{ended}"
    );
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_tool_that_answers_an_error_is_no_success() {
    let world = World::with(failing("nc_notes_search_notes", 1.0, ErrorKind::ToolError)).await;
    let ended = world
        .ran("--workload baseline -u 3 -d 1.5 -w 0 --pause 0", 99)
        .await;
    let report = ended.report();
    let planted = journal::planted(&world.sandbox.journal(), "tool_error");
    assert!(planted > 0);
    let step = key("baseline/search_notes");
    assert_eq!(count(report, &format!("/steps/{step}/count")), planted);
    assert_eq!(count(report, &format!("/steps/{step}/errors")), planted);
    assert_eq!(count(report, "/summary/failed_operations"), planted);
    assert_eq!(
        count(report, "/baseline/errors_breakdown/search_notes"),
        planted
    );
    let (times, example) = errors(report, "tool");
    assert_eq!(times, planted);
    assert!(example.contains("planted by the sandbox"), "{example}");
    // A failure isn't in the latencies of successes.
    assert_eq!(number(report, &format!("/steps/{step}/response/max")), 0.0);
    assert!(number(report, &format!("/steps/{step}/failures/max")) > 0.0);
}

#[tokio::test]
async fn json_rpc_errors_and_resets_are_told_apart() {
    let world = World::with(|config| {
        failing("nc_notes_search_notes", 0.5, ErrorKind::RpcError)(config);
        let resets = knob("nc_webdav_list_directory", |knob| {
            knob.error_rate = Some(0.5);
            knob.error = ErrorKind::Reset;
        });
        config.knobs.endpoints.extend(resets.endpoints);
    })
    .await;
    let ended = world
        .ran("--workload baseline -u 3 -d 1.5 -w 0 --pause 0", 99)
        .await;
    let report = ended.report();
    let journal = world.sandbox.journal();
    for (kind, planted) in [("rpc", "rpc_error"), ("transport", "reset")] {
        let planted = journal::planted(&journal, planted);
        assert!(planted > 0, "{kind}");
        assert_eq!(errors(report, kind).0, planted, "{kind}: {ended}");
    }
}

/// Every append is acknowledged, some are lost: the final text gives them away, one by one.
#[tokio::test]
async fn lost_appends_are_lost_updates() {
    let world = World::with(|config| config.knobs.lost_appends = 0.3).await;
    let ended = world
        .ran("--workload collaboration -u 4 -d 2 -w 0 --pause 0", 99)
        .await;
    let report = ended.report();
    let planted = journal::planted(&world.sandbox.journal(), "lost_append");
    assert!(planted > 0);
    assert_eq!(count(report, "/counters/lost_updates"), planted, "{ended}");
    assert!(
        reasons(report, "thresholds_failed").contains("lost_updates==0"),
        "{ended}"
    );
    // Conflicts are what the scenario expects of people who write at once: counted, and no errors.
    let conflicts = count(report, "/counters/conflicts");
    let refused: u64 = entries(report, "/steps")
        .map(|(_, step)| count(step, "/refused"))
        .sum();
    assert_eq!(conflicts, refused);
    assert!(conflicts > 0, "{ended}");
}

#[tokio::test]
async fn tokens_that_expire_on_the_way_are_renewed() {
    let world = World::with(|config| config.knobs.token_lifetime_s = 2).await;
    let ended = world.ran("-u 3 -d 5 -w 0", 0).await;
    let report = ended.report();
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
    // Each of the users needs a new one at least twice.
    assert!(count(report, "/counters/token_refreshes") >= 6, "{ended}");
    let refreshed: u64 = {
        let counts = world.sandbox.journal().counts().counts;
        let tokens = counts
            .iter()
            .filter(|count| &*count.route == "/apps/oidc/token");
        tokens.map(|count| count.count).sum::<u64>() - 3
    };
    assert!(
        refreshed >= count(report, "/counters/token_refreshes"),
        "{ended}"
    );
    assert_eq!(
        count(report, "/summary/total_operations"),
        journal::total(&world.sandbox.journal())
    );
}

/// Scopes that are missing are asked for on the way, and neither the 403s nor the second attempts are calls of their own.
#[tokio::test]
async fn missing_scopes_are_asked_for_on_the_way() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = home.path().join(name);
        path.to_str().expect("a plain path").to_owned()
    };
    let scenario = r#"name: stepup
target: { url: "http://localhost:8001/mcp" }
directory: { kind: nextcloud, url: "${NEXTCLOUD_HOST}", admin: "${NEXTCLOUD_USERNAME}", password: "${NEXTCLOUD_PASSWORD}" }
login:
  kind: oauth
  scopes: [openid, profile]
  after:
    - app_password:
        get: "{directory.url}/ocs/v2.php/core/getapppassword"
        basic: ["{user.name}", "{user.password}"]
        headers: { OCS-APIRequest: "true", Accept: application/json }
        save: { app_password: $.ocs.data.apppassword }
    - provision_mcp:
        post: "{target.origin}/api/v1/users/{user.name}/app-password"
        basic: ["{user.name}", "{app_password}"]
sandbox: { knobs: { scope_challenges: true } }
thresholds: [token_step_ups>0, error_rate<1%]
workflows:
  look:
    actors: [me]
    steps:
      - search: { call: nc_notes_search_notes, with: { query: a } }
      - revoke: { token: revoke_refresh }
      - refresh: { token: refresh, refused: { error: invalid_grant, must: true } }
      - log_in: { token: login }
"#;
    std::fs::write(path("stepup.yaml"), scenario).expect("written");
    let file = path("stepup.yaml");
    let arguments = [
        "run",
        &file,
        "--sandbox",
        "-u",
        "3",
        "-d",
        "2",
        "-w",
        "0",
        "-q",
    ];
    let output = crate::docs::throng(
        home.path(),
        &[&arguments[..], &["--output", &path("report.json")]].concat(),
    );
    assert!(output.status.success(), "{}", crate::docs::said(&output));
    let report = std::fs::read_to_string(path("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(count(&report, "/counters/token_step_ups"), 3);
    assert_eq!(
        count(&report, "/counters/token_refusals"),
        count(&report, "/counters/token_retries")
    );
    assert_eq!(at(&report, "/ground_truth/agrees"), true, "{report}");
}

/// What users of a sandbox of its own do with its search, by a scenario with these knobs and threshold.
fn searching(
    scopes: &str,
    knobs: &str,
    threshold: &str,
    flags: &str,
) -> (serde_json::Value, String) {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();
    let scenario = format!(
        r#"name: stepup
target: {{ url: "http://localhost:8001/mcp" }}
directory: {{ kind: nextcloud, url: "${{NEXTCLOUD_HOST}}", admin: "${{NEXTCLOUD_USERNAME}}", password: "${{NEXTCLOUD_PASSWORD}}" }}
login:
  kind: oauth
  {scopes}
  after:
    - app_password:
        get: "{{directory.url}}/ocs/v2.php/core/getapppassword"
        basic: ["{{user.name}}", "{{user.password}}"]
        headers: {{ OCS-APIRequest: "true", Accept: application/json }}
        save: {{ app_password: $.ocs.data.apppassword }}
    - provision_mcp:
        post: "{{target.origin}}/api/v1/users/{{user.name}}/app-password"
        basic: ["{{user.name}}", "{{app_password}}"]
sandbox:
  knobs:
    {knobs}
thresholds: [{threshold}]
workflows:
  look:
    actors: [me]
    steps:
      - search: {{ call: nc_notes_search_notes, with: {{ query: a }}, timeout: 150ms }}
"#
    );
    std::fs::write(path("searching.yaml"), scenario).expect("written");
    let (file, report) = (path("searching.yaml"), path("report.json"));
    let flags = format!("run FILE --sandbox -w 0 -q --output REPORT {flags}");
    let arguments: Vec<&str> = flags
        .split(' ')
        .map(|word| match word {
            "FILE" => &*file,
            "REPORT" => &*report,
            word => word,
        })
        .collect();
    let output = crate::docs::throng(home.path(), &arguments);
    let said = crate::docs::said(&output);
    let report = std::fs::read_to_string(report).unwrap_or_else(|error| panic!("{error}: {said}"));
    (serde_json::from_str(&report).expect("JSON"), said)
}

/// A step that has no token to go with in time fails before anything is sent: the sandbox knows nothing of it.
#[test]
fn steps_that_were_never_sent_are_not_looked_for_in_the_sandboxs_journal() {
    let knobs = "token_lifetime_s: 2\n    \
         endpoints: [{ match: POST /apps/oidc/token, latency: { fixed_ms: 900 } }]";
    let (report, said) = searching("", knobs, "error_rate<100%", "-u 2 -d 4 --pause 0.02");
    assert!(count(&report, "/summary/failed_operations") > 0, "{said}");
    let measured = count(&report, "/summary/total_operations");
    let truth = |name: &str| count(&report, &format!("/ground_truth/{name}"));
    assert!(truth("calls_measured") < measured, "{report}");
    assert_eq!(at(&report, "/ground_truth/agrees"), true, "{report}");
}

/// Some calls of one step are sent again after their 403, others give up before there is a better token: each is one call.
#[test]
fn calls_that_are_sent_again_now_and_then_are_counted_as_the_sandbox_counts_them() {
    let knobs = "scope_challenges: true\n    \
         endpoints: [{ match: POST /login, latency: { fixed_ms: 400 } }]";
    let (report, said) = searching(
        "scopes: [openid, profile]",
        knobs,
        "token_step_ups>0",
        "-u 4 -d 2 --pause 0.01",
    );
    let counter = |name: &str| count(&report, &format!("/counters/{name}"));
    assert_eq!(counter("token_step_ups"), 4, "{said}");
    let (refusals, retries) = (counter("token_refusals"), counter("token_retries"));
    assert!(0 < retries && retries < refusals, "{retries} of {refusals}");
    assert_eq!(
        count(&report, "/summary/failed_operations"),
        refusals - retries,
        "{said}"
    );
    assert_eq!(at(&report, "/ground_truth/agrees"), true, "{report}");
}

/// Without refresh tokens there's nothing left but to log in again.
#[tokio::test]
async fn tokens_that_cannot_be_renewed_are_fetched_by_a_new_login() {
    let world = World::with(|config| {
        config.knobs.token_lifetime_s = 2;
        config.knobs.refresh = false;
    })
    .await;
    let ended = world.ran("-u 2 -d 4 -w 0", 0).await;
    assert_eq!(
        count(ended.report(), "/summary/failed_operations"),
        0,
        "{ended}"
    );
}

#[tokio::test]
async fn the_time_until_a_share_is_visible_is_found() {
    const DELAY: f64 = 0.3;
    let world = World::with(|config| config.knobs.share_propagation_ms = 300).await;
    let ended = world
        .ran("--workload sharing -u 4 -d 4 -w 0 --pause 0", 0)
        .await;
    let report = ended.report();
    let step = key("note_share/list_shared_with_me");
    let waits = |key: &str| number(report, &format!("/propagation/{step}/{key}"));
    assert!(waits("waits") >= 10.0, "{ended}");
    assert_eq!(waits("not_met"), 0.0);
    let (median, polling_error) = (waits("latency/median"), waits("polling_error"));
    // The clock of the share starts within its own call and that of the wait after it, and the last look takes a call.
    let share = number(
        report,
        &format!("/steps/{}/service/p95", key("note_share/share_note")),
    );
    let look = number(report, &format!("/steps/{step}/service/p95"));
    assert!(
        (DELAY - share..=DELAY + polling_error + look).contains(&median),
        "{median} s, give or take {polling_error} s: {ended}"
    );
    assert!((0.01..=0.1).contains(&polling_error), "{polling_error}");
    // The wait is no latency of the server's.
    assert!(look < DELAY / 2.0, "{ended}");
}

#[tokio::test]
async fn a_server_that_dies_is_found_dead() {
    let World { sandbox, home } = World::new().await;
    let journal = sandbox.journal();
    let world = World { sandbox, home };
    let mut running = world.run("--workload baseline -u 4 -d 5 -w 0");
    running
        .until("a hundred calls", |_| journal::total(&journal) >= 100)
        .await;
    world.sandbox.stop().await;
    let ended = running.ended().await.with_code(3);
    let report = ended.report();
    let reason = reasons(report, "target_failed");
    assert!(reason.contains("stopped answering at"), "{ended}");
    assert!(
        ended
            .stdout
            .contains("VERDICT: target or provisioning failed (exit code 3)"),
        "{ended}"
    );
    assert!(ended.stdout.contains("stopped answering"), "{ended}");
    // The users can't be removed, and that is said, with their names and what to do.
    // Nor can the OAuth client.
    assert_eq!(count(report, "/cleanup/created"), 5, "{ended}");
    assert_eq!(count(report, "/cleanup/left"), 5, "{ended}");
    let all: Vec<String> = verdicts(report).into_iter().map(|(name, _)| name).collect();
    assert!(all.contains(&"cleanup_incomplete".to_owned()), "{all:?}");
    for n in 1..=4 {
        let name = format!("loadtest_user_{n}");
        assert!(ended.stderr.contains(&format!("'{name}' stays")), "{ended}");
        assert!(ended.stdout.contains(&name), "{ended}");
    }
    assert!(ended.took < Duration::from_secs(60), "{ended}");
    assert!(count(report, "/summary/failed_operations") > 0);
    // What was measured before is in the report all the same.
    assert!(
        count(report, "/baseline/successful_operations") >= 90,
        "{ended}"
    );
}

#[tokio::test]
async fn a_slow_target_is_measured_and_judged() {
    const DELAY: f64 = 0.15;
    let world = World::with(|config| config.knobs = slow("nc_*", 150.0)).await;
    let ended = world
        .ran(
            "--workload sharing -u 3 -d 2 -w 0 --threshold note_share.share_note.p95<100ms",
            99,
        )
        .await;
    let report = ended.report();
    for (step, figures) in entries(report, "/steps") {
        if count(figures, "/count") > 0 {
            let least = number(figures, "/service/min");
            assert!(
                (DELAY * 0.99..DELAY * 2.0).contains(&least),
                "{step}: {least} s"
            );
        }
    }
    assert!(
        reasons(report, "thresholds_failed").contains("note_share.share_note.p95<100ms"),
        "{ended}"
    );
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_has_timed_out() {
    let world = World::with(|config| config.knobs = slow("nc_*", 2_000.0)).await;
    let ended = world
        .ran("--workload collaboration -u 3 -d 1 -w 0 --timeout 300ms", 3)
        .await;
    let report = ended.report();
    assert!(
        reasons(report, "target_failed").contains("not one of"),
        "{ended}"
    );
    let (times, example) = errors(report, "timeout");
    assert_eq!(
        times,
        count(report, "/summary/failed_operations"),
        "{ended}"
    );
    assert!(times > 0);
    assert!(example.contains("300"), "{example}");
    // It enters the figures at its timeout.
    let step = key("collaborative_edit/create_note");
    let least = number(report, &format!("/steps/{step}/failures/min"));
    assert!((0.299..1.0).contains(&least), "{least}");
    assert_eq!(world.users().await, [""; 0]);
}

/// Responses by the schedule: the nth start is intended at n / rate after the first, and its answer is complete when the
/// journal says so.
fn truth(entries: &[Entry], rate: f64) -> Vec<f64> {
    let arrived = |n: usize| entries[n].started_ns as f64 / 1e9;
    let origin = (0..entries.len())
        .map(|n| arrived(n) - n as f64 / rate)
        .fold(f64::INFINITY, f64::min);
    let mut responses: Vec<f64> = entries
        .iter()
        .enumerate()
        .map(|(n, entry)| entry.ended_ns as f64 / 1e9 - origin - n as f64 / rate)
        .collect();
    responses.sort_by(f64::total_cmp);
    responses
}

/// A stall of half a second under a rate that goes on: those who had to wait for their turn waited for the target. Tools
/// that start the clock when a user gets free see a handful of slow calls, and report hardly anything (coordinated omission).
#[tokio::test]
async fn a_stall_is_in_the_response_time_of_all_who_met_it() {
    const RATE: usize = 200;
    const SECONDS: usize = 4;
    let world = World::with(|config| {
        config.mcp.require_app_password = false;
        config.knobs = knob("nc_calendar_list_calendars", |knob| {
            knob.stall = Some(Stall {
                start_ms: 1_500,
                duration_ms: 500,
                from: StallFrom::FirstMatch,
            });
        });
    })
    .await;
    let scenario = "name: stall\n\
        target: { protocol: mcp, url: '${THRONG_URL:-http://localhost/mcp}' }\n\
        directory: { kind: nextcloud, url: '${NEXTCLOUD_HOST}', admin: '${NEXTCLOUD_USERNAME}', password: '${NEXTCLOUD_PASSWORD}' }\n\
        login: { kind: oauth }\n\
        users: { count: 5, prefix: loadtest, name: '{prefix}_user_{n}' }\n\
        workflows:\n\
        \x20 look:\n\
        \x20   actors: [me]\n\
        \x20   steps:\n\
        \x20     - look: { call: nc_calendar_list_calendars }\n";
    let file = world.path("stall.yaml");
    std::fs::write(&file, scenario).expect("a file");
    let ended = world
        .run_scenario("stall.yaml", &format!("-d {SECONDS} -w 0 --rate {RATE}/s"))
        .ended()
        .await;
    let report = healthy_or_slow_machine(&ended);
    let entries = journal::entries(&world.sandbox.journal());
    // A slow machine may leave a few to the end, for which there's no time any more.
    let dropped = count(report, "/generator/dropped_starts") as usize;
    assert_eq!(entries.len() + dropped, RATE * SECONDS, "{ended}");
    assert!(dropped <= RATE * SECONDS / 20, "{ended}");

    let truth = truth(&entries, RATE as f64);
    let step = key("look/look");
    for (name, quantile) in [("p95", 0.95), ("p99", 0.99)] {
        let expected = truth[(quantile * truth.len() as f64).ceil() as usize - 1];
        let response = number(report, &format!("/steps/{step}/response/{name}"));
        // Half a second held back a hundred starts of eight hundred.
        assert!(expected > 0.2, "{name}: the stall wasn't met: {expected}");
        let ratio = response / expected;
        assert!(
            (0.85..1.15).contains(&ratio),
            "{name}: {response} s reported, {expected} s in truth: {ended}"
        );
    }
    // Only those that were in flight met it in their service time: five of eight hundred.
    let service = number(report, &format!("/steps/{step}/service/p99"));
    let response = number(report, &format!("/steps/{step}/response/p99"));
    assert!(service < response / 2.0, "{ended}");
    assert!(
        number(report, &format!("/steps/{step}/service/max")) > 0.45,
        "{ended}"
    );
}

#[tokio::test]
async fn a_name_that_the_target_has_heard_too_often_is_explained() {
    let provisioning = "POST /api/v1/users/{user}/app-password";
    let world = World::with(failing(provisioning, 1.0, ErrorKind::Http(429))).await;
    let ended = world.ran("-d 1 -w 0", 3).await;
    let why = reasons(ended.report(), "target_failed");
    assert!(why.contains("429 Too Many Requests"), "{why}");
    assert!(why.contains("--user-prefix"), "{why}");
    assert_eq!(world.users().await, [""; 0]);
}
