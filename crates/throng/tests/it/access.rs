//! Who must be refused and isn't: one such call fails the run, and the verdict says who got in where.

use crate::report::{at, count, key, reasons, verdicts};
use crate::support::{Ended, World};

/// A workflow that does nothing wrong, and one in which a user reads a note of its own though it "must" be refused.
const SCENARIO: &str = r#"name: access
target: { protocol: mcp, url: '${THRONG_URL:-http://localhost/mcp}' }
directory: { kind: nextcloud, url: '${NEXTCLOUD_HOST}', admin: '${NEXTCLOUD_USERNAME}', password: '${NEXTCLOUD_PASSWORD}' }
login: { kind: oauth }
users: { count: 2, prefix: loadtest, name: '{prefix}_user_{n}' }
workflows:
  fine:
    actors: [me]
    steps:
      - missing: { call: nc_notes_get_note, with: { note_id: 999999 }, refused: { error: "not found", must: true } }
  leak:
    actors: [writer, reviewer]
    steps:
      - create: { as: writer, call: nc_notes_create_note, with: { title: "Leak {uid}", content: "mine", category: "" }, save: { note: $.id } }
      - writer_may_not_read: { as: writer, call: nc_notes_get_note, with: { note_id: "{note}" }, refused: { error: "forbidden", must: true } }
    finally:
      - delete: { as: writer, call: nc_notes_delete_note, with: { note_id: "{note}" } }
workloads:
  tight: { fine: 1 }
  leaky: { fine: 60, leak: 1 }
  open: { leak: 1 }
"#;

async fn run(arguments: &str) -> Ended {
    let world = World::with(|config| config.mcp.require_app_password = false).await;
    std::fs::write(world.path("access.yaml"), SCENARIO).expect("a file");
    let ended = world
        .run_scenario(
            "access.yaml",
            &format!("-d 1 -w 0 --pause 0 --seed 7 {arguments}"),
        )
        .ended()
        .await;
    assert_eq!(world.users().await, [""; 0]);
    ended
}

fn threshold<'a>(report: &'a serde_json::Value, expression: &str) -> &'a serde_json::Value {
    let all = at(report, "/thresholds").as_array().expect("a list");
    all.iter()
        .find(|threshold| threshold["expression"] == expression)
        .unwrap_or_else(|| panic!("no {expression} among {all:?}"))
}

#[tokio::test]
async fn where_everybody_is_refused_the_run_passes_and_shows_the_condition() {
    let ended = run("--workload tight").await.with_code(0);
    assert_eq!(threshold(ended.report(), "not_refused==0")["actual"], 0.0);
    assert!(ended.stdout.contains("not_refused==0"), "{ended}");
}

#[tokio::test]
async fn one_leak_in_a_hundred_fails_the_run_whatever_its_thresholds() {
    for arguments in ["--threshold error_rate<50% -q", "--no-thresholds"] {
        let ended = run(&format!("--workload leaky {arguments}"))
            .await
            .with_code(99);
        let report = ended.report();
        let step = format!("/steps/{}", key("leak/writer_may_not_read"));
        let leaks = count(report, &format!("{step}/not_refused"));
        assert!(leaks > 0, "{ended}");
        assert_eq!(count(report, &format!("{step}/errors")), leaks, "{ended}");
        assert_eq!(
            threshold(report, "not_refused==0")["actual"],
            leaks as f64,
            "{ended}"
        );
        let all: Vec<_> = verdicts(report).into_iter().map(|(name, _)| name).collect();
        assert_eq!(all, ["thresholds_failed"], "{ended}");
        assert!(
            ended
                .stdout
                .contains("VERDICT: thresholds failed (exit code 99): not_refused==0:"),
            "{ended}"
        );
    }
}

#[tokio::test]
async fn where_nobody_is_refused_the_verdict_names_who_got_in_and_not_the_target() {
    let ended = run("--workload open").await.with_code(99);
    let report = ended.report();
    let all: Vec<_> = verdicts(report).into_iter().map(|(name, _)| name).collect();
    assert_eq!(all, ["thresholds_failed"], "{ended}");
    let reason = reasons(report, "thresholds_failed");
    for part in [
        "access violation: writer_may_not_read: loadtest_user_",
        " (writer) called nc_notes_get_note and was NOT refused; answer: {",
        "Leak ",
    ] {
        assert!(reason.contains(part), "no {part:?} in {reason}");
    }
    let errors = at(report, "/errors").as_array().expect("a list");
    assert_eq!(errors[0]["kind"], "not_refused", "{ended}");
    assert_eq!(
        errors[0]["cause"], "was not refused, and must be with /forbidden/",
        "{ended}"
    );
}
