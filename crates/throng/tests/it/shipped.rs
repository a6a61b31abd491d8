//! The templates and examples that come with the program, run as they are.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::docs::{blocks, page, root, said, throng};

#[test]
fn the_guides_example_is_the_file_and_passes_on_the_sandbox() {
    let home = tempfile::tempdir().expect("a directory");
    let file = root().join("examples/three_actors.yaml");
    let example = fs::read_to_string(&file).expect("the example");
    let guide = page("docs/own-workflow.md");
    assert!(
        blocks(&guide, "yaml scenario").contains(&example),
        "docs/own-workflow.md does not show examples/three_actors.yaml as it is"
    );
    // The parts that the guide explains are lines of the whole.
    let whole: BTreeSet<&str> = example.lines().map(str::trim_end).collect();
    let parts = &guide[..guide.find("## 10.").expect("the tenth part")];
    for block in blocks(parts, "yaml") {
        for line in block.lines() {
            assert!(
                whole.contains(line),
                "docs/own-workflow.md explains {line:?}, which the file doesn't have"
            );
        }
    }
    let file = file.to_str().expect("a plain path");
    let output = throng(
        home.path(),
        &["run", file, "--sandbox", "-d", "1", "-w", "0", "-q"],
    );
    assert!(output.status.success(), "{}", said(&output));
}

/// Whatever the order in which the calls of a `parallel` arrive, no step of what we ship may fail on a sound server.
#[test]
fn what_init_writes_and_the_examples_have_no_races() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = home.path().join(name);
        path.to_str().expect("a plain path").to_owned()
    };
    let list = throng(home.path(), &["init", "--template", "list"]);
    let mut files = vec![
        root().join("examples/three_actors.yaml"),
        root().join("examples/permission_escalation.yaml"),
    ];
    for name in String::from_utf8_lossy(&list.stdout).lines() {
        let file = path(&format!("{name}.yaml"));
        let written = throng(home.path(), &["init", "--template", name, &file]);
        assert!(written.status.success(), "{}", said(&written));
        files.push(file.into());
    }
    assert!(files.len() >= 5, "{files:?}");
    fs::write(
        path("knobs.yaml"),
        "endpoints: [{ match: nc_*, latency: { fixed_ms: 1, jitter: { kind: uniform, max_ms: 30 } } }]\n\
         share_propagation_ms: 20\n",
    )
    .expect("written");
    let mut conflicts = 0;
    for file in files {
        let output = throng(
            home.path(),
            &[
                "run",
                file.to_str().expect("a plain path"),
                "--sandbox-knobs",
                &path("knobs.yaml"),
                "--sandbox",
                "-u",
                "5",
                "-d",
                "2",
                "-w",
                "0",
                "--pause",
                "0",
                "-q",
                "--output",
                &path("report.json"),
            ],
        );
        let shown = format!("{}: {}", file.display(), said(&output));
        assert!(output.status.success(), "{shown}");
        let report = fs::read_to_string(path("report.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["summary"]["failed_operations"], 0, "{shown}");
        assert_eq!(report["errors"], serde_json::json!([]), "{shown}");
        if let Some(truth) = report.get("ground_truth") {
            assert_eq!(truth["agrees"], true, "{shown}");
        }
        conflicts += report["counters"]["conflicts"].as_u64().unwrap_or(0);
    }
    assert!(conflicts > 0, "nobody ever came second");
}
