//! The report as a document and as text.

use serde_json::Value;
use throng_metrics::{
    Catalog, Cleanup, CleanupCount, CountSample, Event, Evidence, FindingReport, Limits,
    MonkeyReport, Outcome, Report, RunInfo, Table, Threshold, TokenCounters, TokenWaitSample,
    UserId, WorkflowRole, judge,
    report::{
        console::{self, Style},
        json,
    },
};

use crate::fixture::{Run, events, ms, open_model_events, step, tally_of};

fn report(run: &Run, thresholds: &[&str], cleanup: Option<Cleanup>) -> Report {
    let measured = run.measured();
    let thresholds: Vec<_> = thresholds
        .iter()
        .map(|text| text.parse::<Threshold>().unwrap().evaluate(&measured))
        .collect();
    let limits = Limits::default();
    let verdicts = judge(&Evidence {
        measured: Some(&measured),
        thresholds: &thresholds,
        cleanup: cleanup.as_ref(),
        limits,
        ..Evidence::default()
    });
    let info = RunInfo {
        id: "01".into(),
        scenario: "nextcloud".into(),
        mode: "user".into(),
        workload: "mixed".into(),
        executor: "constant-vus".into(),
        login: "oauth".into(),
        seed: 42,
        target: "http://localhost:8001/mcp".into(),
        started_at: "2026-11-22T05:00:00Z".into(),
        warmup: 5.0,
        versions: Table::from_iter([("throng", "0.1.0".to_owned())]),
    };
    Report::new(info, &measured, thresholds, &verdicts, &limits, cleanup)
}

pub(crate) fn document(run: &Run) -> String {
    json::to_string(&report(run, &[], None))
}

fn full_report() -> Report {
    report(
        &Run::of(&events()),
        &["note_share.p95<500ms", "lost_updates==0", "session.p95<2s"],
        Some(Cleanup {
            names: vec!["loadtest_user_3".into()],
            ..Cleanup::new(
                CleanupCount {
                    created: 3,
                    deleted: 2,
                    left: 1,
                },
                CleanupCount {
                    created: 1,
                    deleted: 1,
                    left: 0,
                },
            )
        }),
    )
}

#[test]
fn the_whole_document() {
    insta::assert_snapshot!(json::to_string(&full_report()));
}

#[test]
fn the_document_is_read_back_as_it_was() {
    let report = full_report();
    let text = json::to_string(&report);
    assert_eq!(json::from_str(&text).unwrap(), report);
    let newer = text.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    let error = json::from_str(&newer).unwrap_err().to_string();
    assert_eq!(
        error,
        "report has schema_version 2, and this program reads version 1"
    );
    assert!(json::from_str("[]").is_err());
}

/// The document that the first framework's README shows, with its elisions filled in from its neighbours.
const SEED: &str = r#"{
  "summary": {"duration": 120.45, "total_workflows": 312, "total_baseline_ops": 678, "total_users": 5},
  "workflows": {"note_share": {
    "total_executions": 112, "successful_executions": 109, "failed_executions": 3, "success_rate": 97.3,
    "latency": {"min": 0.1234, "max": 0.8765, "mean": 0.2891, "median": 0.2341, "p90": 0.4123, "p95": 0.4782, "p99": 0.7234},
    "step_latencies": {
      "create_note": {"min": 0.1, "max": 0.1, "mean": 0.1, "median": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1},
      "list_shared_with_me": {"min": 0.1, "max": 0.1, "mean": 0.1, "median": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1}}}},
  "users": {"loadtest_user_1": {
    "total_operations": 289, "successful_operations": 283, "failed_operations": 6, "success_rate": 97.9,
    "latency": {"min": 0.1, "max": 0.1, "mean": 0.1, "median": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1},
    "operations_breakdown": {"create_note": 1, "list_shared_with_me": 1},
    "errors_breakdown": {}}},
  "baseline": {
    "total_operations": 678, "successful_operations": 666, "failed_operations": 12, "success_rate": 98.2,
    "latency": {"min": 0.1, "max": 0.1, "mean": 0.1, "median": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1},
    "operations_breakdown": {"search": 1},
    "errors_breakdown": {}}
}"#;

fn assert_has_all_of(expected: &Value, found: &Value, path: &str) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, expected) in expected {
                let path = format!("{path}.{key}");
                let found = found.get(key).unwrap_or_else(|| panic!("no {path}"));
                assert_has_all_of(expected, found, &path);
            }
        }
        (Value::Number(expected), Value::Number(found)) => assert!(
            expected.is_f64() || found.is_u64(),
            "{path}: {found} is no whole number"
        ),
        _ => panic!("{path}: {found} is not like {expected}"),
    }
}

#[test]
fn every_key_of_the_first_frameworks_document_exists_with_its_unit() {
    let found: Value = serde_json::from_str(&json::to_string(&full_report())).unwrap();
    assert_has_all_of(&serde_json::from_str(SEED).unwrap(), &found, "");
    // Units: seconds and percent.
    assert_eq!(found["summary"]["duration"], 10.0);
    assert_eq!(found["workflows"]["note_share"]["latency"]["min"], 0.101);
    assert_eq!(found["users"]["loadtest_user_3"]["success_rate"], 100.0);
    // What a signal cut off is neither successful nor failed.
    let user = &found["users"]["loadtest_user_1"];
    assert_eq!(user["total_operations"], 101);
    assert_eq!(user["successful_operations"], 100);
    assert_eq!(user["failed_operations"], 0);
    assert_eq!(user["unfinished_operations"], 1);
    let user = &found["users"]["loadtest_user_2"];
    assert_eq!(user["total_operations"], 103);
    assert_eq!(user["failed_operations"], 3);
    assert_eq!(user["errors_breakdown"]["list_shared_with_me"], 3);
}

#[test]
fn the_baseline_is_no_workflow() {
    let report = full_report();
    assert_eq!(report.summary.total_workflows, 103);
    assert_eq!(report.summary.total_baseline_ops, 20);
    assert_eq!(report.baseline.total_operations, 20);
    assert!(report.workflows.get("baseline").is_none());
}

#[test]
fn quiet_seconds_are_kept_to_the_end_of_the_window() {
    let report = full_report();
    let calls: Vec<_> = report.timeline.iter().map(|entry| entry.calls).collect();
    assert_eq!(calls.len(), 10);
    assert_eq!((calls[6], calls[8], calls[9]), (0, 0, 1));
    assert_eq!(report.timeline[6].p50, None);
    assert_eq!(calls.iter().sum::<u64>(), report.summary.total_operations);
}

#[test]
fn the_report_as_text() {
    insta::assert_snapshot!(console::render(&full_report(), Style::default()));
}

#[test]
fn an_open_models_report_as_text() {
    let report = report(&Run::of(&open_model_events()), &[], None);
    insta::assert_snapshot!(console::render(&report, Style::default()));
}

#[test]
fn a_passed_run_ends_with_its_verdict() {
    let run = Run::of(&events());
    let report = report(&run, &[], None);
    let text = console::render(&report, Style::default());
    assert_eq!(text.lines().last(), Some("VERDICT: pass (exit code 0)"));
}

#[test]
fn tables_stand_whatever_the_names() {
    let mut run = Run::of(&events());
    let long = "an_unreasonably_long_name_\u{1b}[2J_of_日本語_that_goes_on_and_on_and_on";
    let mut catalog = Catalog::default();
    let share = catalog.add_workflow(long, WorkflowRole::Workflow);
    let baseline = catalog.add_workflow("baseline", WorkflowRole::Baseline);
    catalog.add_step(share, long, long);
    catalog.add_step(share, "list", "list");
    catalog.add_step(baseline, "search", "search");
    for n in 0..120 {
        catalog.add_user(format!("{long}{n}"));
    }
    catalog.counter(long);
    run.catalog = catalog;
    let text = console::render(&report(&run, &[], None), Style::default());
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
    assert!(!text.contains('\u{1b}'));
    assert!(text.contains("... and 70 more users, in the JSON report"));
}

#[test]
fn no_two_names_look_the_same_however_long() {
    let mut run = Run::of(&events());
    let mut catalog = Catalog::default();
    let share = catalog.add_workflow("collaborative_editing_of_one_note", WorkflowRole::Workflow);
    let other = catalog.add_workflow("other", WorkflowRole::Baseline);
    let long = |what: &str| {
        format!(
            "all_members_read_{what}_the_{}_shared_note",
            "very_".repeat(10)
        )
    };
    catalog.add_step(share, long("first"), "read");
    catalog.add_step(share, long("second"), "read");
    catalog.add_step(other, "read", "read");
    for n in 1..=3 {
        catalog.add_user(format!("loadtest_of_the_autumn_release_{n}"));
    }
    catalog.counter("lost_updates");
    run.catalog = catalog;
    let threshold = format!(
        "collaborative_editing_of_one_note.{}.p95<500ms",
        long("first")
    );
    let text = console::render(&report(&run, &[&threshold], None), Style::default());
    let steps = text.split("STEPS").nth(1).expect("a section");
    let steps = steps.split("SET-UP").next().expect("it ends");
    for name in [long("first"), long("second")] {
        assert!(name.len() > 80);
        let joined = steps.replace("\n  ", "");
        assert_eq!(joined.matches(&name).count(), 1, "{steps}");
    }
    assert!(
        steps.contains("\ncollaborative_editing_of_one_note\n"),
        "{steps}"
    );
    assert!(steps.contains("\nother\n  read  "), "{steps}");
    for n in 1..=3 {
        let row = format!("\nloadtest_of_the_autumn_release_{n}\n      ");
        assert!(text.contains(&row), "{text}");
    }
    assert!(text.replace("\n       ", "").contains(&threshold), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('…'));
}

#[test]
fn colour_only_where_it_is_asked_for() {
    let report = full_report();
    let plain = console::render(&report, Style::default());
    assert!(!plain.contains('\u{1b}'));
    let style = Style {
        width: 80,
        color: true,
    };
    let mut colored = console::render(&report, style);
    assert!(colored.contains('\u{1b}'));
    for code in ["1", "31", "32", "33", "0"] {
        colored = colored.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(colored, plain);
}

#[test]
fn running_text_is_wrapped_to_the_terminal() {
    let narrow = console::render(
        &full_report(),
        Style {
            width: 60,
            color: false,
        },
    );
    let example = narrow
        .lines()
        .skip_while(|line| !line.contains("e.g."))
        .take(3);
    for line in example {
        assert!(line.chars().count() <= 60, "{line}");
    }
}

#[test]
fn a_run_of_nothing_can_be_reported() {
    let report = report(&Run::of(&[]), &["note_share.p95<1s"], None);
    let text = console::render(&report, Style::default());
    assert!(text.contains("PER-USER STATISTICS"));
    assert!(
        text.ends_with("VERDICT: thresholds failed (exit code 99): note_share.p95<1s: no samples (+1\nmore above)\n"),
        "{text}"
    );
}

#[test]
fn what_became_of_tokens_is_shown_where_something_did() {
    let tokens = |events: &[Event]| {
        let mut run = Run::of(&[]);
        let counters = TokenCounters::add(&mut run.catalog);
        let mut tally = tally_of(&run.catalog, events);
        tally.add(&Event::Count(CountSample {
            counter: counters.failures,
            user: UserId(1),
            at: ms(1),
            by: events.len() as u64,
        }));
        run.tally = tally;
        let report = report(&run, &[], None);
        (console::render(&report, Style::default()), report)
    };
    let (text, nothing) = tokens(&[]);
    assert!(
        text.contains("token_refreshes") && !text.contains("token_failures"),
        "{text}"
    );
    assert_eq!(nothing.token_wait, None);
    let wait = Event::TokenWait(TokenWaitSample {
        user: UserId(1),
        at: ms(1),
        waited: ms(70),
    });
    let (text, report) = tokens(&[wait]);
    assert!(text.contains("token_failures"), "{text}");
    assert!(
        text.contains("Steps waited 1 times for a new token: p50 70"),
        "{text}"
    );
    assert_eq!(report.token_wait.expect("a wait").waits, 1);
    let user = report.users.iter().nth(1).expect("the second user").1;
    assert_eq!(
        user.counters.iter().collect::<Vec<_>>(),
        [("token_failures", &1)]
    );
}

#[test]
fn an_example_does_not_fill_the_screen() {
    let page = "<p>Internal server error</p> ".repeat(10_000);
    let outcome = crate::fixture::failed(throng_metrics::FailureKind::Http, "500", &page);
    let event = step(crate::fixture::SEARCH, 0, [0, 0, 1], outcome);
    let report = report(&Run::of(&[event]), &[], None);
    assert_eq!(report.errors[0].example.len(), 2_000);
    let text = console::render(&report, Style::default());
    // 400 columns in lines of at most 71.
    let lines = text.lines().skip_while(|line| !line.contains("e.g. "));
    let example = lines.take_while(|line| line.starts_with("    ")).count();
    assert!((6..=8).contains(&example), "{text}");
}

#[test]
fn refusals_that_were_expected_are_no_errors() {
    let events: Vec<Event> = vec![step(crate::fixture::SEARCH, 0, [0, 0, 1], Outcome::Refused)];
    let report = report(&Run::of(&events), &[], None);
    assert_eq!(report.baseline.success_rate, 100.0);
    assert_eq!(report.steps.get("baseline/search").unwrap().refused, 1);
    assert_eq!(report.errors, []);
}

#[test]
fn what_monkeys_found_is_printed_whole_with_a_script_as_a_shell_takes_it() {
    let long = format!("curl -sk --data '{}' \"$URL\"/things", "x".repeat(100));
    let finding = FindingReport {
        id: "server_error-post-things-1".into(),
        check: "server_error".into(),
        about: "the server failed".into(),
        wfc: Some(100),
        operation: "POST /things".into(),
        status: Some(500),
        message: "Internal\u{1b}[31m Server Error".into(),
        count: 7,
        first_seen: 1.5,
        repeated: 4,
        tried: 5,
        seed: 42,
        probe: 11,
        requests: vec!["POST /things {\"n\":2147483647}".into()],
        curl: format!("#!/usr/bin/env bash\n{long}\n"),
        file: Some("findings/server_error-post-things-1.json".into()),
        ..FindingReport::default()
    };
    let mut report = full_report();
    report.run.mode = "both".into();
    report.monkey = Some(MonkeyReport {
        seed: 42,
        probes: 100,
        requests: 150,
        seen_once: vec![FindingReport {
            check: "hang".into(),
            operation: "GET /slow".into(),
            ..FindingReport::default()
        }],
        accepted: vec![FindingReport {
            accepted: Some("issue 12".into()),
            ..finding.clone()
        }],
        findings: vec![finding],
        remarks: Table::from_iter([("sessions opened again", 3)]),
        notes: Vec::new(),
    });
    let text = console::render(&report, Style::default());
    for part in [
        "workload mixed, and monkeys",
        "Probes: 100, requests: 150, seed 42",
        "  3 sessions opened again",
        "\nserver_error (WFC 100): POST /things -> 500\n",
        "  1. POST /things {\"n\":2147483647}\n",
        "  repeats 4 of 5; seen 7 times; seed 42, probe 11\n",
        &format!("  | {long}\n"),
        "  throng replay findings/server_error-post-things-1.json\n",
        "  hang: GET /slow\n",
        "seen 7 times: issue 12",
    ] {
        assert!(text.contains(part), "no {part:?}: {text}");
    }
    assert!(!text.contains('\u{1b}'));
    let document = json::to_string(&report);
    let back: Report = serde_json::from_str(&document).expect("JSON");
    assert_eq!(back, report);
}
