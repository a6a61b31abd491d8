//! Outputs that can't be written, and what a run says of a file that doesn't fit its target: the exit code and the last line
//! are true.

use std::fs::{self, File};
use std::process::Stdio;

use crate::report::reasons;
use crate::support::{Ended, Running, World, home, throng};

/// The last line of what was printed.
fn last_line(ended: &Ended) -> &str {
    ended.stdout.lines().last().unwrap_or_default()
}

/// The verdict as it was printed, its lines put together.
fn verdict(ended: &Ended) -> String {
    let from = ended
        .stdout
        .rfind("VERDICT: ")
        .unwrap_or_else(|| panic!("no verdict: {ended}"));
    ended.stdout[from..].replace('\n', " ")
}

#[tokio::test]
async fn a_full_disk_behind_standard_output_is_no_success() {
    let home = home();
    let full = || {
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    for arguments in [
        &["schema"][..],
        &["init", "-"],
        &["init", "--template", "list"],
        &["check", "nextcloud"],
        &["cleanup"],
        &["run", "-d", "0.3", "-w", "0"],
        &["run", "-d", "0.3", "-w", "0", "-q"],
    ] {
        let mut command = throng(home.path(), arguments);
        let running = command.stdout(full()).stderr(Stdio::piped()).spawn();
        let output = running.expect("it starts").wait_with_output().await;
        let output = output.expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(92), "{arguments:?}: {said}");
        assert!(
            said.contains("No space left on device"),
            "{arguments:?}: {said}"
        );
        if arguments[0] == "run" {
            assert!(said.contains("(exit code 92)"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_in_the_verdict() {
    let world = World::new().await;
    for quiet in ["", "-q"] {
        let mut arguments = vec![
            "run",
            "nextcloud",
            "-d",
            "0.3",
            "-w",
            "0",
            "-o",
            "/dev/full",
        ];
        arguments.extend(["--url", world.sandbox.mcp_url()]);
        arguments.extend((!quiet.is_empty()).then_some(quiet));
        let ended = world.start(arguments).ended().await.with_code(92);
        let verdict = verdict(&ended);
        assert!(
            verdict.starts_with("VERDICT: report not written (exit code 92): writing the report"),
            "{ended}"
        );
        assert!(verdict.contains("No space left on device"), "{ended}");
    }
}

#[tokio::test]
async fn a_directory_that_goes_away_during_the_run_is_in_the_verdict() {
    let world = World::new().await;
    let directory = world.path("reports");
    fs::create_dir(&directory).expect("a directory");
    let report = directory.join("report.json");
    let mut running = world.start([
        "run",
        "nextcloud",
        "--url",
        world.sandbox.mcp_url(),
        "-d",
        "0.5",
        "-w",
        "0",
        "-o",
        report.to_str().expect("UTF-8"),
    ]);
    running
        .until("the users are made", |running| {
            running.said().contains("Creating user")
        })
        .await;
    fs::remove_dir_all(&directory).expect("it is removed");
    let ended = running.ended().await.with_code(92);
    assert!(
        verdict(&ended).starts_with("VERDICT: report not written (exit code 92)"),
        "{ended}"
    );
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_scenario_that_does_not_fit_is_told_once_and_has_a_code_of_its_own() {
    let world = World::new().await;
    let written = Running::start(
        throng(world.home.path(), ["init", "my.yaml"]),
        world.home.path(),
    );
    written.ended().await.with_code(0);
    let file = world.path("my.yaml");
    let text = fs::read_to_string(&file).expect("the file");
    let text = text.replace("call: nc_notes_delete_note", "call: nc_notes_delete_not");
    fs::write(&file, text).expect("written");
    let ended = world
        .run_scenario("my.yaml", "-d 1 -w 0")
        .ended()
        .await
        .with_code(93);
    let mistake = "the server has no tool `nc_notes_delete_not`";
    assert_eq!(ended.stderr.matches(mistake).count(), 1, "{ended}");
    assert!(
        ended
            .stderr
            .contains("did you mean `nc_notes_delete_note`?")
    );
    assert!(!ended.stdout.contains(mistake), "{ended}");
    assert_eq!(
        last_line(&ended),
        "VERDICT: the scenario does not fit the target (exit code 93): 1 mistake, see above"
    );
    assert!(
        reasons(ended.report(), "drift").contains(mistake),
        "{ended}"
    );
    assert_eq!(world.users().await, [""; 0]);
}
