//! `throng replay`: a finding sent again, with users made and logged in as a run does.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use throng_sandbox::{Bug, Bugs, Integr8scodeConfig, Integr8scodeSandbox};

use crate::docs::{said, throng};

/// A deleted script that is read again, as the monkey swarm writes it.
fn finding() -> Value {
    let script = json!({ "bound": { "step": 0, "pointer": "/script_id" } });
    let step = |method: &str, path: &str, rest: Value| {
        let mut step = json!({
            "operation": format!("{method} {path}"),
            "method": method,
            "path": format!("/api/v1{path}"),
            "who": "own",
            "role": "act",
        });
        for (key, value) in rest.as_object().expect("a map") {
            step[key] = value.clone();
        }
        step
    };
    let id = json!({ "path_values": { "script_id": script } });
    json!({
        "id": "use_after_delete-get-scripts-script-id",
        "check": "use_after_delete",
        "about": "what was deleted is still served",
        "wfc": 113,
        "operation": "GET /scripts/{script_id}",
        "status": 200,
        "message": "served after its deletion",
        "answer": "",
        "count": 1,
        "repeated": 5,
        "tried": 5,
        "seed": 1,
        "probe": { "number": 7, "kind": "deleted", "steps": [
            step("POST", "/scripts", json!({ "role": "setup", "body": { "json": { "name": "a", "script": "b" } } })),
            step("DELETE", "/scripts/{script_id}", id.clone()),
            step("GET", "/scripts/{script_id}", id),
        ] },
        "requests": ["POST", "DELETE", "GET /api/v1/scripts/<id>"],
        "curl": "",
        "target": "https://127.0.0.1:1",
        "scenario": "integr8scode",
    })
}

fn replayed(home: &Path, bugs: Bugs, arguments: &[&str]) -> Output {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Integr8scodeConfig {
        bugs,
        ..Integr8scodeConfig::default()
    };
    let sandbox = runtime
        .block_on(Integr8scodeSandbox::start(config))
        .expect("a sandbox");
    let place = ["--url", sandbox.url()];
    throng(home, &[&["replay"], arguments, &place[..]].concat())
}

#[test]
fn a_finding_shows_itself_until_its_bug_is_mended() {
    let home = tempfile::tempdir().expect("a directory");
    let corpus = home.path().join("corpus");
    fs::create_dir(&corpus).expect("a directory");
    let file = corpus.join("finding.json");
    fs::write(&file, finding().to_string()).expect("written");
    let corpus = corpus.to_str().expect("a plain path");

    let output = replayed(
        home.path(),
        Bugs::from_iter([Bug::DeletedStillServed]),
        &[corpus],
    );
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(97), "{shown}");
    assert!(shown.contains("repeats 5 of 5"), "{shown}");
    assert!(
        shown.contains("VERDICT: fuzz findings (exit code 97): 1 of 1 still there"),
        "{shown}"
    );
    assert!(!shown.contains("testpass123!"), "{shown}");

    let file = file.to_str().expect("a plain path");
    let output = replayed(home.path(), Bugs::default(), &[file, "--quiet"]);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("repeats 0 of 5"), "{shown}");
}

/// What can't be tried is not gone.
#[test]
fn on_a_target_that_is_down_nothing_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let document = home.path().join("api.json");
    let source = json!({
        "openapi": "3.1.0",
        "paths": { "/a": { "get": { "responses": { "200": { "description": "ok" } } } } },
    });
    fs::write(&document, source.to_string()).expect("written");
    let mut finding = finding();
    finding["check"] = json!("server_error");
    finding["operation"] = json!("GET /a");
    finding["status"] = json!(500);
    finding["probe"] = json!({ "number": 1, "kind": "single", "steps": [
        { "operation": "GET /a", "method": "GET", "path": "/a", "who": "nobody", "role": "act" },
    ] });
    finding["scenario"] = Value::Null;
    let file = home.path().join("finding.json");
    fs::write(&file, finding.to_string()).expect("written");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let (file, document) = (
        file.to_str().expect("a path"),
        document.to_str().expect("a path"),
    );
    let output = throng(
        home.path(),
        &["replay", file, "--openapi", document, "--url", &url],
    );
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("1 of 1 could not be told"), "{shown}");
}

/// What the swarm of a run finds, curl shows by the script beside it, with users that the run left.
#[test]
fn a_script_of_the_corpus_shows_its_finding_to_curl() {
    let home = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Integr8scodeConfig {
        bugs: Bugs::from_iter([Bug::SessionAfterLogout, Bug::ForeignScriptReadable]),
        ..Integr8scodeConfig::default()
    };
    let sandbox = runtime
        .block_on(Integr8scodeSandbox::start(config))
        .expect("a sandbox");
    let corpus = home.path().join("corpus");
    let path = corpus.to_str().expect("a plain path");
    let url = ["--url", sandbox.url()];
    let flags = [
        "run",
        "integr8scode",
        "--mode",
        "monkey",
        "-u",
        "2",
        "-d",
        "3",
        "--pause",
        "0",
        "--seed",
        "7",
        "--corpus",
        path,
    ];
    let output = throng(home.path(), &[&flags[..], &url[..]].concat());
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(97), "{shown}");
    let files = fs::read_dir(&corpus).expect("a corpus");
    let scripts: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "sh"))
        .collect();
    assert_eq!(scripts.len(), 2, "{shown}");
    for script in scripts {
        let text = fs::read_to_string(&script).expect("a script");
        assert!(!text.contains("testpass123!"), "{text}");
        let shown = std::process::Command::new("bash")
            .arg(&script)
            .env("THRONG_PASSWORD", "testpass123!")
            .output()
            .expect("bash");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.starts_with("200\n200\n{"), "{shown}\n{text}");
    }
}

#[test]
fn what_is_no_finding_is_refused_before_anything_is_touched() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("finding.json");
    let empty = home.path().to_str().expect("a plain path").to_owned();
    let output = throng(home.path(), &["replay", &empty]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("there are no findings in it"),
        "{}",
        said(&output)
    );

    fs::write(&file, "{}").expect("written");
    let file = file.to_str().expect("a plain path");
    let output = throng(home.path(), &["replay", file]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("missing field"), "{}", said(&output));
}
