//! `throng property`, whole: the built-in properties on a sound sandbox and on one with bugs, what is vacuous, what is kept,
//! and what a signal leaves.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use throng_sandbox::{Bug, Bugs, Integr8scodeConfig, Integr8scodeSandbox};

use crate::docs::{page, said};
use crate::support::{self, Running, eventually, home};

/// What came of it: exit code, standard output, standard error.
struct Came {
    code: i32,
    out: String,
    err: String,
}

async fn property(home: &Path, arguments: &str) -> Came {
    let all = std::iter::once("property").chain(arguments.split_whitespace());
    let output = support::throng(home, all)
        .output()
        .await
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Came {
        code: output
            .status
            .code()
            .unwrap_or_else(|| panic!("no code: {}", said(&output))),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

impl Came {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// The results by name.
fn result<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["properties"].as_array().expect("properties");
    all.iter()
        .find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report:#}"))
}

#[tokio::test]
async fn on_a_sound_target_every_property_passes() {
    let home = home();
    let came = property(
        home.path(),
        "integr8scode --sandbox --seed 11 --json --junit junit.xml",
    )
    .await;
    assert_eq!(came.code, 0, "{}{}", came.out, came.err);
    let report = came.json();
    let all = report["properties"].as_array().expect("properties");
    assert!(all.len() >= 12, "{report:#}");
    for one in all {
        assert_eq!(one["result"], "passed", "{one:#}");
        assert!(one["share_accepted"].as_f64() > Some(0.5), "{one:#}");
    }
    assert!(
        !home.path().join("integr8scode.regressions.json").exists(),
        "nothing to keep"
    );
    let junit = std::fs::read_to_string(home.path().join("junit.xml")).expect("a file");
    assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    assert_eq!(junit.matches("<testcase ").count(), all.len());
}

#[tokio::test]
async fn registers_with_made_up_mail_domains_are_vacuous_and_with_valid_ones_pass() {
    let home = home();
    let both = "integr8scode register_never_500 register_valid_never_500 --sandbox --seed 5";
    let came = property(home.path(), &format!("{both} --junit junit.xml")).await;
    assert_eq!(came.code, 96, "{}{}", came.out, came.err);
    let vacuous = "  VACUOUS  register_never_500: 0 of 150 examples were accepted (0 %, at least 50 % must be): it proves nothing\n";
    assert!(came.out.contains(vacuous), "{}", came.out);
    assert!(
        came.out.contains("150 times post: HTTP 422, such as: "),
        "{}",
        came.out
    );
    assert!(
        came.out
            .contains("  passed   register_valid_never_500: 100 examples, "),
        "{}",
        came.out
    );
    assert!(
        came.out
            .contains("VERDICT: no data (exit code 96): register_never_500 is vacuous"),
        "{}",
        came.out
    );
    let junit = std::fs::read_to_string(home.path().join("junit.xml")).expect("a file");
    assert!(
        junit.contains("tests=\"2\" failures=\"0\" errors=\"1\""),
        "{junit}"
    );
    assert!(
        junit.contains("<error type=\"vacuous\" message=\"0 of 150 examples"),
        "{junit}"
    );
}

/// A bug, the property that finds it, and whether the smallest example is the one that a person would write.
type Finder = (Bug, &'static str, fn(&Value) -> bool);

fn finders() -> [Finder; 8] {
    let one_character = |example: &Value| {
        let script = &example["script"];
        let name = script["name"].as_str().expect("a name");
        *script == json!({ "name": name, "script": "" }) && name.chars().count() == 1
    };
    let plain = |example: &Value| *example == json!({ "script": { "name": "", "script": "" } });
    [
        (Bug::UnicodeTitle500, "scripts_never_500", one_character),
        (Bug::NumberEdge500, "history_never_500", |example| {
            *example == json!({ "skip": 2_147_483_647, "limit": 1 })
        }),
        (
            Bug::DeletedStillServed,
            "created_is_listed_deleted_is_gone",
            plain,
        ),
        (
            Bug::RefusedCreateLeavesRow,
            "refused_leaves_nothing",
            |example| *example == json!({ "script": null }),
        ),
        (Bug::ForeignScriptReadable, "scripts_are_ones_own", plain),
        (Bug::RoleFromRegister, "register_gives_no_role", |example| {
            *example == json!({ "password": "aaaaaaaa", "role": "admin" })
        }),
        (
            Bug::CsrfUncheckedRoute,
            "change_without_token_is_refused",
            |example| *example == json!({ "theme": "light", "token": "" }),
        ),
        (
            Bug::DoubleUsernameRace,
            "one_winner_per_username",
            |example| *example == json!({ "username": "a", "password": "aaaaaaaa" }),
        ),
    ]
}

#[tokio::test]
async fn planted_bugs_are_found_and_shrunk_to_what_a_person_would_write() {
    for (bug, finder, minimal) in finders() {
        let home = home();
        let arguments = format!("integr8scode {finder} --sandbox-bugs {bug} --seed 3 --json");
        let came = property(home.path(), &arguments).await;
        assert_eq!(came.code, 97, "{bug}: {}{}", came.out, came.err);
        let report = came.json();
        let one = result(&report, finder);
        let example = &one["counterexamples"][0]["example"];
        assert_eq!(one["result"], "failed", "{bug}: {report:#}");
        assert!(minimal(example), "{bug}: {example}");
        assert_eq!(one["counterexamples"][0]["repeated"], 5, "{bug}: {one:#}");
    }
}

#[tokio::test]
async fn one_bug_does_not_hide_another() {
    let home = home();
    let arguments = "integr8scode created_is_listed_deleted_is_gone --seed 3 --json --junit junit.xml \
        --sandbox-bugs unicode-title-500,deleted-still-served";
    let came = property(home.path(), arguments).await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    let report = came.json();
    let found = &result(&report, "created_is_listed_deleted_is_gone")["counterexamples"];
    let mut steps: Vec<&str> = found
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| found["failure"]["step"].as_str().expect("a step"))
        .collect();
    steps.sort_unstable();
    assert_eq!(steps, ["create", "gone"], "{found:#}");
    let junit = std::fs::read_to_string(home.path().join("junit.xml")).expect("a file");
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
}

#[tokio::test]
async fn what_failed_is_kept_and_tried_first_next_time() {
    let home = home();
    let wanted =
        "integr8scode history_never_500 --sandbox-bugs number-edge-500 --regressions kept.json";
    let came = property(home.path(), &format!("{wanted} --seed 3")).await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    assert!(
        came.out
            .contains("             skip = 2147483647\n             limit = 1\n"),
        "{}",
        came.out
    );
    assert!(
        came.out
            .contains("/user/executions?skip=2147483647&limit=1 -> 500\n"),
        "{}",
        came.out
    );
    let file = home.path().join("kept/history_never_500-page-500.sh");
    let script = std::fs::read_to_string(file).expect("a script");
    let login = "--data-urlencode 'password='\"${THRONG_PASSWORD}\"";
    assert!(script.contains(login), "{script}");
    assert!(
        came.out.contains("Failing examples were kept in kept.json"),
        "{}",
        came.out
    );
    let kept = std::fs::read_to_string(home.path().join("kept.json")).expect("a file");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(
        kept["properties"]["history_never_500"][0]["example"],
        json!({ "skip": 2_147_483_647, "limit": 1 })
    );

    let again = property(home.path(), &format!("{wanted} --seed 4 --json")).await;
    assert_eq!(again.code, 97, "{}{}", again.out, again.err);
    let report = again.json();
    let found = &result(&report, "history_never_500")["counterexamples"][0];
    assert_eq!(
        (&found["case"], &found["shrinks"]),
        (&Value::Null, &json!(0)),
        "{found:#}"
    );
    assert_eq!(result(&report, "history_never_500")["examples"], 0);

    // On a sound target the kept example is tried, too, and everything after it.
    let sound = "integr8scode history_never_500 --sandbox --regressions kept.json --seed 4 --json";
    let came = property(home.path(), sound).await;
    assert_eq!(came.code, 0, "{}{}", came.out, came.err);
    assert_eq!(result(&came.json(), "history_never_500")["examples"], 100);
}

#[tokio::test]
async fn a_kept_example_that_no_longer_fits_is_left_out() {
    let home = home();
    let kept = |example: Value| json!({ "example": example, "failure": "x", "seed": 1 });
    let regressions = json!({ "version": 1, "properties": { "history_never_500": [
        kept(json!(7)),
        kept(json!({ "old": 1 })),
        kept(json!({ "skip": "many", "limit": 1 })),
        kept(json!({ "skip": 2_147_483_647, "limit": 1 })),
    ] } });
    std::fs::write(home.path().join("kept.json"), regressions.to_string()).expect("a file");
    let wanted =
        "integr8scode history_never_500 --sandbox-bugs number-edge-500 --regressions kept.json";
    let came = property(home.path(), wanted).await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    assert!(
        came.err.contains("3 of 4 kept examples don't fit"),
        "{}",
        came.err
    );
    assert_eq!(
        came.out.matches("FAILED").count(),
        1,
        "only the one that fits: {}",
        came.out
    );
    assert!(came.out.contains("skip = 2147483647"), "{}", came.out);
}

#[tokio::test]
async fn a_file_may_have_properties_alone() {
    let home = home();
    let scenario = "name: t\ntarget: { protocol: http, url: \"http://127.0.0.1:9\" }\nlogin: { kind: none }\n\
        properties: { p: { given: { x: { type: integer } }, get: \"/{x}\" } }\n";
    std::fs::write(home.path().join("t.yaml"), scenario).expect("a file");
    let came = property(home.path(), "t.yaml --list").await;
    assert_eq!((came.code, came.out.as_str()), (0, "p\n"), "{}", came.err);
    for (arguments, code, told) in [
        (&["check", "t.yaml"][..], 0, ""),
        (
            &["run", "t.yaml", "-u", "1", "-d", "1"],
            2,
            "there are properties, and no workflow to run: throng property t.yaml",
        ),
    ] {
        let output = support::throng(home.path(), arguments).output().await;
        let output = output.expect("the program starts");
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
    }
}

/// A sandbox with bugs, or with none, which stays as long as the test runs.
async fn sandbox(bugs: impl IntoIterator<Item = Bug>) -> Integr8scodeSandbox {
    let config = Integr8scodeConfig {
        bugs: Bugs::from_iter(bugs),
        ..Integr8scodeConfig::default()
    };
    Integr8scodeSandbox::start(config).await.expect("a sandbox")
}

/// What a script says of a target.
async fn said_by(script: &Path, url: &str) -> String {
    let shown = tokio::process::Command::new("bash")
        .arg(script)
        .env("THRONG_PASSWORD", "testpass123!")
        .env("THRONG_URL", url)
        .env("LC_ALL", "C")
        .output()
        .await
        .expect("bash");
    let errors = String::from_utf8_lossy(&shown.stderr);
    assert!(errors.is_empty(), "{}: {errors}", script.display());
    String::from_utf8_lossy(&shown.stdout).into_owned()
}

/// Whether what a script prints shows what the property found, as a person would see it.
fn shows(said: &str, property: &str, failure: &Value) -> bool {
    let step = failure["step"].as_str().expect("a step");
    match (property, step) {
        ("one_winner_per_username", "exactly_one") => {
            said.matches(": HTTP 200 (only one of 3 may be accepted)\n")
                .count()
                > 1
        }
        ("register_gives_no_role", "register") => {
            said.contains("register: HTTP 200 (") && said.contains("\"role\":\"admin\"")
        }
        ("refused_leaves_nothing", "absent") => {
            let counted = said.split_once(" stands in this answer ");
            let (_, count) = counted.unwrap_or_else(|| panic!("no count: {said}"));
            said.contains("refused: HTTP 422 (expected 422)\n") && !count.starts_with("0 times\n")
        }
        _ => said.contains(&format!("{step}: HTTP {} (", failure["status"])),
    }
}

#[tokio::test]
async fn every_failure_is_shown_again_by_its_script_and_is_not_there_on_a_sound_target() {
    let (buggy, sound) = (sandbox(Bug::ALL).await, sandbox([]).await);
    let home = home();
    let arguments = format!(
        "integr8scode --url {} --insecure --seed 5 --json --junit junit.xml",
        buggy.url()
    );
    let came = property(home.path(), &arguments).await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    // The same users at the other one.
    let arguments = format!(
        "integr8scode register_valid_never_500 --url {} --insecure --cases 20 --json",
        sound.url()
    );
    let other = property(home.path(), &arguments).await;
    assert_eq!(other.code, 0, "{}{}", other.out, other.err);

    let report = came.json();
    let mut seen = Vec::new();
    for one in report["properties"].as_array().expect("properties") {
        let name = one["name"].as_str().expect("a name");
        for found in one["counterexamples"].as_array().expect("a list") {
            let failure = &found["failure"];
            let file = home.path().join(failure["file"].as_str().expect("a file"));
            let script = std::fs::read_to_string(&file).expect("a script");
            assert_eq!(failure["curl"].as_str(), Some(&*script));
            assert!(!script.contains("testpass123!"), "{script}");
            let mut shown = said_by(&file, buggy.url()).await;
            // A race need not show each time.
            for _ in 0..5 {
                if script.contains("\nwait\n") && !shows(&shown, name, failure) {
                    shown = said_by(&file, buggy.url()).await;
                }
            }
            assert!(
                shows(&shown, name, failure),
                "{failure:#}\n{script}\n{shown}"
            );
            let shown = said_by(&file, sound.url()).await;
            assert!(
                !shows(&shown, name, failure),
                "{failure:#}\n{script}\n{shown}"
            );
            seen.push(name);
        }
    }
    for (bug, finder, _) in finders() {
        assert!(seen.contains(&finder), "{bug}: no script of {finder}");
    }
    let junit = std::fs::read_to_string(home.path().join("junit.xml")).expect("a file");
    for text in [&came.out, &came.err, &junit] {
        assert!(!text.contains("testpass123!"), "{text}");
    }
}

#[tokio::test]
async fn a_failure_is_told_with_its_requests_and_the_script_that_repeats_them() {
    let home = home();
    let arguments =
        "integr8scode scripts_are_ones_own --sandbox-bugs foreign-script-readable --seed 3";
    let came = property(home.path(), arguments).await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    let file = "integr8scode.regressions/scripts_are_ones_own-foreign-200.sh";
    for part in [
        "             1. POST /api/v1/scripts",
        "             2. GET /api/v1/scripts/",
        &format!("             bash {file}\n"),
    ] {
        assert!(came.out.contains(part), "no {part:?}: {}", came.out);
    }
    assert!(
        came.out.contains(" as user ") && came.out.contains(" -> 200\n"),
        "{}",
        came.out
    );
    let script = std::fs::read_to_string(home.path().join(file)).expect("a script");
    assert_eq!(script.matches("/auth/login").count(), 2, "{script}");
    assert!(
        script.contains("/api/v1/scripts/$(value 0 script_id)\""),
        "{script}"
    );
}

#[tokio::test]
async fn a_target_that_wants_fewer_requests_breaks_no_property() {
    let config = Integr8scodeConfig {
        rate_limits: true,
        ..Integr8scodeConfig::default()
    };
    let sandbox = Integr8scodeSandbox::start(config).await.expect("a sandbox");
    let home = home();
    let arguments = format!(
        "integr8scode created_is_listed_deleted_is_gone --url {} --insecure --seed 2 --json",
        sandbox.url()
    );
    let came = property(home.path(), &arguments).await;
    assert_ne!(came.code, 97, "{}{}", came.out, came.err);
    let report = came.json();
    let one = result(&report, "created_is_listed_deleted_is_gone");
    assert_eq!(one["counterexamples"], json!([]), "{one:#}");
    let reasons = one["refusals"].as_array().expect("refusals");
    assert!(
        reasons.iter().any(|reason| reason["reason"]
            .as_str()
            .is_some_and(|reason| reason.ends_with("HTTP 429"))),
        "{one:#}"
    );
}

#[tokio::test]
async fn the_same_seed_finds_the_same() {
    let found = async |home: TempDir| {
        let arguments =
            "integr8scode scripts_never_500 --sandbox-bugs unicode-title-500 --seed 8 --json";
        let report = property(home.path(), arguments).await.json();
        let found = &result(&report, "scripts_never_500")["counterexamples"][0];
        (
            found["first"].clone(),
            found["case"].clone(),
            found["example"].clone(),
        )
    };
    assert_eq!(found(home()).await, found(home()).await);
}

/// Beside the built-in workflows: one law that holds of notes, and one that doesn't.
const OF_NOTES: &str = r#"
properties:
  notes_are_kept:
    given: { content: { type: string, maxLength: 200 } }
    steps:
      - create: { call: nc_notes_create_note, with: { title: "n {uid}", content: "{content}", category: "" }, save: { note: $.id } }
      - read: { call: nc_notes_get_note, with: { note_id: "{note}" }, check: { path: $.content, equals: "{content}" } }
    cases: 30
  notes_are_short:
    given: { content: { type: string, pattern: "^[a-z]{0,40}$" } }
    steps:
      - create: { call: nc_notes_create_note, with: { title: "n {uid}", content: "{content}", category: "" }, save: { note: $.id } }
      - read: { call: nc_notes_get_note, with: { note_id: "{note}" }, check: { path: $.content, matches: "^.{0,3}$" } }
"#;

#[tokio::test]
async fn properties_of_mcp_tools_are_tried_and_shrunk_too() {
    let home = home();
    let scenario = page("scenarios/nextcloud.yaml") + OF_NOTES;
    std::fs::write(home.path().join("notes.yaml"), scenario).expect("a file");
    let came = property(home.path(), "notes.yaml --sandbox --seed 1 --json").await;
    assert_eq!(came.code, 97, "{}{}", came.out, came.err);
    let report = came.json();
    assert_eq!(result(&report, "notes_are_kept")["accepted"], 30);
    let found = &result(&report, "notes_are_short")["counterexamples"];
    assert_eq!(
        found[0]["example"],
        json!({ "content": "aaaa" }),
        "{found:#}"
    );
    assert!(
        home.path().join("notes.regressions.json").exists(),
        "beside the scenario"
    );
}

#[tokio::test]
async fn there_are_users_enough_whatever_the_file_says() {
    let home = home();
    let arguments = [
        "property",
        "integr8scode",
        "scripts_are_ones_own",
        "--sandbox",
        "--json",
    ];
    let mut command = support::throng(home.path(), arguments);
    let output = command.env("LOAD_CLIENTS", "1").output().await;
    let output = output.expect("the program starts");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result(&report, "scripts_are_ones_own")["accepted"], 30);
}

#[tokio::test]
async fn a_list_touches_nothing_and_mistakes_are_told() {
    let home = home();
    let came = property(home.path(), "integr8scode --list").await;
    assert_eq!((came.code, came.err.as_str()), (0, ""), "{}", came.out);
    assert!(came.out.contains("register_never_500"), "{}", came.out);
    assert!(came.out.contains("(only when named)"), "{}", came.out);

    let came = property(home.path(), "integr8scode no_such --sandbox").await;
    assert_eq!(came.code, 2);
    assert!(
        came.err
            .contains("no property `no_such`; it has register_never_500, "),
        "{}",
        came.err
    );
    let came = property(home.path(), "nextcloud --sandbox").await;
    assert_eq!(came.code, 2);
    assert!(came.err.contains("has no `properties`"), "{}", came.err);
    let came = property(
        home.path(),
        "integr8scode scripts_are_ones_own --sandbox -u 1",
    )
    .await;
    assert_eq!(came.code, 2);
    assert!(
        came.err
            .contains("`scripts_are_ones_own` needs 2 users: --users 2"),
        "{}",
        came.err
    );

    let scenario = "name: t\ntarget: { protocol: http, url: \"http://127.0.0.1:9\" }\nlogin: { kind: none }\n\
        workflows: { w: { actors: [me], steps: [{ a: { get: /a } }] } }\n\
        properties: { p: { given: { x: GIVEN }, get: \"/{x}\" } }\n";
    for (given, told) in [
        (
            "{ type: text }",
            "properties.p.x: not a JSON Schema: unknown type \"text\"",
        ),
        (
            "{ type: string, pattern: \"(?=a)\" }",
            "properties.p.x: no texts can be generated for the pattern",
        ),
        (
            "{ body_of: POST /x }",
            "needs the target's OpenAPI document: say where it is in `target.openapi`",
        ),
    ] {
        std::fs::write(home.path().join("t.yaml"), scenario.replace("GIVEN", given))
            .expect("a file");
        let came = property(home.path(), "t.yaml").await;
        assert_eq!(came.code, 2, "{}", came.err);
        assert!(came.err.contains(told), "{}", came.err);
        let checked = support::throng(home.path(), ["check", "t.yaml"])
            .output()
            .await;
        let checked = checked.expect("the program starts");
        assert_eq!(checked.status.code(), Some(2), "{}", said(&checked));
        assert!(said(&checked).contains(told), "{}", said(&checked));
    }

    std::fs::write(home.path().join("kept.json"), "nothing").expect("a file");
    let came = property(
        home.path(),
        "integr8scode --sandbox --regressions kept.json",
    )
    .await;
    assert_eq!(came.code, 2);
    assert!(
        came.err.contains("no file of kept examples"),
        "{}",
        came.err
    );
}

#[tokio::test]
async fn a_signal_ends_it_and_tidies_up() {
    let home = home();
    let arguments = [
        "property",
        "integr8scode",
        "executions_end",
        "--sandbox",
        "--cases",
        "100000",
    ];
    let running = Running::start(support::throng(home.path(), arguments), home.path());
    eventually("it tries", || running.said().contains("Trying a property")).await;
    running.signal(Signal::INT);
    let ended = running.ended().await.with_code(105);
    assert!(
        ended.stdout.contains("  stopped  executions_end: after "),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("users end with the sandbox"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_guide_names_properties_that_there_are_and_says_what_finds_which_bug() {
    let scenario = page("scenarios/integr8scode.yaml");
    let guide = page("docs/property.md");
    for name in ["register_never_500", "register_valid_never_500"] {
        assert!(
            guide.contains(name) && scenario.contains(&format!("\n  {name}:\n")),
            "{name}"
        );
    }
    for (bug, finder, _) in finders() {
        assert!(
            guide.contains(&format!("\n| `{bug}` | `{finder}` |")),
            "{bug}"
        );
    }
    let (_, table) = guide.split_once("## Planted bugs").expect("the section");
    assert_eq!(table.matches("\n| `").count(), finders().len());
}

/// Registers at a sandbox in this process, as a test in Rust would.
mod in_rust {
    use std::panic::AssertUnwindSafe;
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::Value;
    use throng::property::{Schemas, Settings, Tried, Values, hold};
    use throng_client::{Client, Connector, ConnectorOptions};
    use throng_sandbox::{Bug, Bugs, Integr8scodeConfig, Integr8scodeSandbox};

    const LIMIT: Duration = Duration::from_secs(30);

    /// A sandbox and the strategy of users by its own document. It lives as long as the runtime.
    fn target(
        runtime: &tokio::runtime::Runtime,
        bugs: impl IntoIterator<Item = Bug>,
    ) -> (Integr8scodeSandbox, Values) {
        let config = Integr8scodeConfig {
            tls: false,
            bugs: Bugs::from_iter(bugs),
            ..Integr8scodeConfig::default()
        };
        runtime.block_on(async {
            let sandbox = Integr8scodeSandbox::start(config).await.expect("a sandbox");
            let request = http::Request::get(sandbox.ready().openapi);
            let request = request.body(Bytes::new()).expect("a request");
            let answer = client().send(request, LIMIT).await.expect("an answer");
            let document: Value = serde_json::from_slice(&answer.body).expect("a document");
            let mut schema = document["components"]["schemas"]["UserCreate"].clone();
            schema["properties"]["role"] = serde_json::json!({ "enum": ["user", "admin"] });
            let users = Schemas::new(&document).valid(&schema).expect("a strategy");
            (sandbox, users)
        })
    }

    fn client() -> Client {
        let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
        Client::with_cookies(&connector)
    }

    /// Whoever registers is a plain user, and no user whom the document allows breaks the server.
    async fn register(url: &str, user: Value) -> Tried<String> {
        let request = http::Request::post(format!("{url}/api/v1/auth/register"))
            .header("content-type", "application/json")
            .body(Bytes::from(user.to_string()))
            .expect("a request");
        let answer = client().send(request, LIMIT).await.expect("an answer");
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match answer.status.as_u16() {
            200 if body["role"] == "user" => Tried::Accepted,
            200 => Tried::Failed(format!("he is {}", body["role"])),
            status @ 400..500 => Tried::Refused(format!("HTTP {status}")),
            status => Tried::Failed(format!("HTTP {status}")),
        }
    }

    #[test]
    fn a_property_in_rust_holds_on_a_sound_target_and_panics_with_the_smallest_user_on_another() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let settings = Settings {
            min_accepted: 0.5,
            ..Settings::default()
        };
        let (sound, users) = target(&runtime, []);
        let url = sound.url().to_owned();
        hold("users are users", &users, &settings, |user| {
            register(&url, user)
        });

        let (buggy, users) = target(&runtime, [Bug::RoleFromRegister]);
        let url = buggy.url().to_owned();
        let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
            hold("users are users", &users, &settings, |user| {
                register(&url, user)
            });
        }));
        let panic = panic.expect_err("the bug is found");
        let words = panic.downcast_ref::<String>().expect("words");
        assert!(
            words.starts_with("users are users does not hold (seed 0): he is \"admin\"\n  for {"),
            "{words}"
        );
        assert!(words.contains("\"role\":\"admin\"}"), "{words}");
    }
}
