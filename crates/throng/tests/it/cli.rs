//! What the commands say: help, mistakes, templates, schema, and readers that go away.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;

use crate::support::{Ended, NobodyThere, Running, World, eventually, home, throng};

/// Runs the binary with nothing in its environment and no target.
async fn alone(arguments: &[&str]) -> Ended {
    let home = home();
    Running::start(throng(home.path(), arguments), home.path())
        .ended()
        .await
}

/// What a mistake on the command line leads to, with what differs from machine to machine taken out.
macro_rules! assert_refused {
    ($ended:expr, @$snapshot:literal) => {{
        let ended = $ended.with_code(2);
        assert_eq!(ended.stdout, "", "{ended}");
        insta::with_settings!({ filters => vec![(r"/[^ ]*/\.tmp[A-Za-z0-9]+", "[HOME]")] }, {
            insta::assert_snapshot!(ended.stderr, @$snapshot);
        });
    }};
}

#[tokio::test]
async fn help() {
    for (name, arguments) in [
        ("throng", &["--help"][..]),
        ("run", &["run", "--help"]),
        ("cleanup", &["cleanup", "--help"]),
        ("init", &["init", "--help"]),
        ("check", &["check", "--help"]),
        ("tools", &["tools", "--help"]),
        ("schema", &["schema", "--help"]),
        ("sandbox", &["sandbox", "--help"]),
        ("sandbox_nextcloud", &["sandbox", "nextcloud", "--help"]),
        (
            "sandbox_integr8scode",
            &["sandbox", "integr8scode", "--help"],
        ),
    ] {
        let ended = alone(arguments).await.with_code(0);
        assert_eq!(ended.stderr, "", "{ended}");
        for line in ended.stdout.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        insta::assert_snapshot!(format!("help_{name}"), ended.stdout);
    }
}

#[tokio::test]
async fn a_wrong_flag_is_met_with_the_right_one() {
    assert_refused!(alone(&["run", "--user", "3"]).await, @r#"
    error: unexpected argument '--user' found

      tip: a similar argument exists: '--users'

    Usage: throng run --users <N> [SCENARIO]

    For more information, try '--help'.
    "#);
}

#[tokio::test]
async fn a_number_without_sense_is_refused() {
    for arguments in [["-u", "four"], ["-u", "-2"], ["-d", "-1"], ["-w", "-0.5"]] {
        let ended = alone(&["run", arguments[0], arguments[1]]).await;
        let ended = ended.with_code(2);
        let (expected, flag) = match arguments[0] {
            "-u" => ("expected a whole number from 1 to 1000000", "--users"),
            "-d" => ("a duration can't be negative", "--duration"),
            _ => ("a duration can't be negative", "--warmup"),
        };
        assert!(ended.stderr.contains(expected), "{ended}");
        assert!(ended.stderr.contains(flag), "{ended}");
    }
    assert_refused!(alone(&["run", "-d", "0"]).await, @"error: --duration: the duration must be more than 0");
}

#[tokio::test]
async fn knobs_mean_a_sandbox_and_are_read_before_it_is_started() {
    let home = home();
    let run = async |arguments: &[&str]| {
        let arguments = ["run"].iter().chain(arguments);
        Running::start(throng(home.path(), arguments), home.path())
            .ended()
            .await
    };
    std::fs::write(home.path().join("wrong.yaml"), "endpoint: []\n").expect("a file");
    std::fs::write(home.path().join("bad.yaml"), "lost_appends: 7\n").expect("a file");
    std::fs::write(home.path().join("good.yaml"), "seed: 1\n").expect("a file");
    assert_refused!(run(&["--sandbox-knobs", "missing.yaml"]).await, @"error: reading the knobs file missing.yaml: No such file or directory (os error 2)");
    assert_refused!(run(&["--sandbox-knobs", "wrong.yaml"]).await, @"error: the knobs file wrong.yaml: unknown field `endpoint`, expected one of seed, endpoints, share_propagation_ms, token_lifetime_s, token_lifetime_told_s, token_expiry_grid_s, revocation_lag, scope_challenges, refresh, lost_appends at line 1, column 1");
    assert_refused!(run(&["--sandbox-knobs", "bad.yaml"]).await, @"
    error: the knobs don't make sense:
      `lost_appends` is 7, expected a fraction from 0 to 1
    ");
    let to_a_target = run(&[
        "--sandbox-knobs",
        "good.yaml",
        "--url",
        "http://127.0.0.1:9",
    ])
    .await;
    let to_a_target = to_a_target.with_code(2);
    assert!(
        to_a_target.stderr.contains("cannot be used with"),
        "{to_a_target}"
    );
    // A scenario alone would go for its own target.
    let ended = run(&[
        "nextcloud",
        "--sandbox-knobs",
        "good.yaml",
        "-d",
        "0.3",
        "-w",
        "0",
    ])
    .await;
    let ended = ended.with_code(0);
    assert!(ended.stderr.contains("Starting a sandbox"), "{ended}");
}

#[tokio::test]
async fn a_file_without_a_directory_is_given_the_sandbox_or_told_why_not() {
    let home = home();
    let text = "name: t\ntarget: { url: 'http://127.0.0.1:9/mcp' }\nlogin: { kind: none }\n\
                workflows: { w: { actors: [me], steps: [ { s: { call: t } } ] } }\n";
    std::fs::write(home.path().join("none.yaml"), text).expect("a file");
    let run = Running::start(
        throng(home.path(), ["run", "none.yaml", "--sandbox"]),
        home.path(),
    );
    let ended = run.ended().await.with_code(2);
    assert!(ended.stderr.contains("doesn't fit the sandbox"), "{ended}");
    let whole = throng_workflow::builtin::template("mcp-oauth").expect("a template");
    let without: Vec<&str> = whole
        .lines()
        .filter(|line| !line.starts_with("directory:"))
        .collect();
    std::fs::write(home.path().join("oauth.yaml"), without.join("\n")).expect("a file");
    let arguments = [
        "run",
        "oauth.yaml",
        "--sandbox",
        "-d",
        "0.3",
        "-w",
        "0",
        "-q",
    ];
    let run = Running::start(throng(home.path(), arguments), home.path());
    run.ended().await.with_code(0);
}

#[tokio::test]
async fn a_secret_in_the_environment_is_for_a_client_that_is_named() {
    let home = home();
    let mut command = throng(home.path(), ["check", "nextcloud"]);
    command.env("THRONG_CLIENT_SECRET", "not-for-this");
    let ended = Running::start(command, home.path()).ended().await;
    ended.with_code(0);
    let mut command = throng(home.path(), ["run", "-d", "0.3", "-w", "0", "-q"]);
    command.env("THRONG_CLIENT_SECRET", "not-for-this");
    let ended = Running::start(command, home.path()).ended().await;
    ended.with_code(0);
}

#[tokio::test]
async fn check_says_what_the_environment_lacks() {
    let home = home();
    let text = throng_workflow::builtin::template("permission-escalation").expect("a template");
    std::fs::write(home.path().join("one.yaml"), text).expect("a file");
    let started = Running::start(
        throng(home.path(), ["check", "one.yaml", "nextcloud"]),
        home.path(),
    );
    let ended = started.ended().await.with_code(0);
    insta::assert_snapshot!(ended.stdout, @"
    one.yaml: sound; 1 workflow, 10 steps, 4 users
      before it runs on a target of your own, set NEXTCLOUD_HOST, NEXTCLOUD_PASSWORD, NEXTCLOUD_USERNAME (not needed with --sandbox)
    nextcloud: sound; 4 workflows, 29 steps, 2 users
      before it runs on a target of your own, set NEXTCLOUD_HOST, NEXTCLOUD_PASSWORD, NEXTCLOUD_USERNAME (not needed with --sandbox)
    ");
}

#[tokio::test]
async fn an_unknown_scenario_is_met_with_the_nearest_name() {
    assert_refused!(alone(&["run", "nextclod"]).await, @r#"
    error: nextclod: cannot read the scenario file: No such file or directory (os error 2)
      help: did you mean the built-in scenario `nextcloud`?
    "#);
}

#[tokio::test]
async fn missing_settings_are_named() {
    assert_refused!(alone(&["run", "nextcloud"]).await, @r#"
    error: nextcloud.yaml:18:9: the environment variable NEXTCLOUD_HOST is not set
        |
     18 |   url: "${NEXTCLOUD_HOST}"
        |         ^^^^^^^^^^^^^^^^^
      help: set NEXTCLOUD_HOST, or give a default: `${NEXTCLOUD_HOST:-...}`
    nextcloud.yaml:19:11: the environment variable NEXTCLOUD_USERNAME is not set
        |
     19 |   admin: "${NEXTCLOUD_USERNAME}"
        |           ^^^^^^^^^^^^^^^^^^^^^
      help: set NEXTCLOUD_USERNAME, or give a default: `${NEXTCLOUD_USERNAME:-...}`
    nextcloud.yaml:20:14: the environment variable NEXTCLOUD_PASSWORD is not set
        |
     20 |   password: "${NEXTCLOUD_PASSWORD}"
        |              ^^^^^^^^^^^^^^^^^^^^^
      help: set NEXTCLOUD_PASSWORD, or give a default: `${NEXTCLOUD_PASSWORD:-...}`
    Or try it on the embedded sandbox, which needs none of them: add --sandbox
    "#);
}

#[tokio::test]
async fn a_threshold_on_nothing_is_refused() {
    assert_refused!(alone(&["run", "--threshold", "note_shar.p95<500ms"]).await, @r#"
    error: --threshold: threshold `note_shar.p95<500ms`: unknown workflow, step or phase "note_shar"
      help: did you mean `note_share`?
    "#);
    assert_refused!(alone(&["run", "--threshold", "p95<fast"]).await, @r#"error: --threshold: threshold `p95<fast`: expected a number, found "fast""#);
}

#[tokio::test]
async fn a_duration_without_sense_is_refused() {
    assert_refused!(alone(&["run", "--duration", "ten"]).await, @r#"
    error: invalid value 'ten' for '--duration <DURATION>': expected a number before "ten"; write 30 (seconds), 500ms, 1m30s

    For more information, try '--help'.
    "#);
}

#[tokio::test]
async fn a_rate_without_sense_is_refused() {
    assert_refused!(alone(&["run", "--rate", "fast"]).await, @r#"error: --rate: expected a rate such as 200/s, 90/m or 10/h, found the text "fast": the `/s` is missing"#);
}

#[tokio::test]
async fn an_unknown_workload_is_met_with_the_nearest_name() {
    assert_refused!(alone(&["run", "--workload", "sharring"]).await, @r#"
    error: --workload: unknown workload `sharring`
      help: did you mean `sharing`?
    "#);
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_refused_before_anything_is_done() {
    assert_refused!(alone(&["run", "--output", "no/such/directory/report.json"]).await, @"error: --output no/such/directory/report.json: there is no directory no/such/directory");
    assert_refused!(alone(&["run", "--output", "/dev/null/"]).await, @"error: --output /dev/null/: can't make it: File exists (os error 17)");
}

#[tokio::test]
async fn a_cleanup_has_to_know_where_and_as_whom() {
    assert_refused!(alone(&["cleanup", "--prefix", "loadtest"]).await, @"error: --prefix needs to know where: give --host or set NEXTCLOUD_HOST");
    assert_refused!(alone(&["cleanup", "--host", "http://127.0.0.1:9"]).await, @"error: who may delete users? give --admin or set NEXTCLOUD_USERNAME");
    assert_refused!(alone(&["cleanup", "--host", "127.0.0.1:9", "--admin", "a", "--admin-password", "b"]).await, @"error: --host 127.0.0.1:9: not a URL; write it whole, such as http://localhost:8080: relative URL without a base");
}

#[tokio::test]
async fn a_cleanup_with_nothing_to_do_says_so() {
    let ended = alone(&["cleanup"]).await.with_code(0);
    insta::assert_snapshot!(ended.stdout, @"Nothing to clean up: the ledger holds no users.");
}

#[tokio::test]
async fn every_template_is_written_sound_and_never_over_a_file() {
    let home = home();
    let call = async |arguments: &[&str]| {
        Running::start(throng(home.path(), arguments), home.path())
            .ended()
            .await
    };
    let list = call(&["init", "--template", "list"]).await.with_code(0);
    let names: Vec<&str> = list
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        names.contains(&"mcp-oauth") && names.contains(&"nextcloud"),
        "{list}"
    );
    for name in names {
        let file = format!("{name}.yaml");
        call(&["init", "--template", name]).await.with_code(0);
        let written = std::fs::read_to_string(home.path().join(&file)).expect("the file");
        let checked = call(&["check", &file]).await.with_code(0);
        assert!(checked.stdout.contains("sound"), "{checked}");

        std::fs::write(home.path().join(&file), "mine").expect("a file");
        let refused = call(&["init", "--template", name]).await.with_code(2);
        assert!(refused.stderr.contains("exists already"), "{refused}");
        assert!(refused.stderr.contains("--force"), "{refused}");
        let kept = std::fs::read_to_string(home.path().join(&file)).expect("the file");
        assert_eq!(kept, "mine");

        call(&["init", "--template", name, "--force"])
            .await
            .with_code(0);
        let again = std::fs::read_to_string(home.path().join(&file)).expect("the file");
        assert_eq!(again, written);
        let printed = call(&["init", "--template", name, "-"]).await.with_code(0);
        assert_eq!(printed.stdout, written);
    }
}

#[tokio::test]
async fn knobs_of_a_scenario_are_checked_with_their_place() {
    let home = home();
    for (name, knobs) in [
        ("unknown", "{ token_lifetime: 2 }"),
        ("senseless", "{ token_lifetime_s: 0 }"),
    ] {
        let text = format!(
            "name: planted\nsandbox:\n  knobs: {knobs}\ntarget: {{ url: 'http://localhost/mcp' }}\nlogin: {{ kind: none }}\nworkflows:\n  look:\n    actors: [me]\n    steps:\n      - search: {{ call: t }}\n"
        );
        let file = format!("{name}.yaml");
        std::fs::write(home.path().join(&file), text).expect("a file");
        for command in ["check", "run"] {
            let started = Running::start(throng(home.path(), [command, &file]), home.path());
            let ended = started.ended().await.with_code(2);
            let place = format!("{file}:3:10: the knobs in `sandbox` make no sense: ");
            assert!(ended.stderr.contains(&place), "{ended}");
            assert!(ended.stderr.contains("token_lifetime"), "{ended}");
        }
    }
}

#[tokio::test]
async fn an_unknown_template_is_met_with_the_known_ones() {
    assert_refused!(alone(&["init", "--template", "nextclod"]).await, @"error: there's no template `nextclod`; there are mcp-oauth, nextcloud, integr8scode, permission-escalation, token_expiry, refresh_storm, revocation_lag, session_over_refresh");
}

#[tokio::test]
async fn a_faulty_file_gets_all_its_faults_with_their_places() {
    let home = home();
    let file = home.path().join("faulty.yaml");
    let text = "name: faulty\n\
                target: { protocol: mcp, url: 'localhost/mcp' }\n\
                load: { pause: 10 parsecs, warm_up: 2s }\n\
                workflows:\n\
                \x20 look:\n\
                \x20   actors: [me]\n\
                \x20   steps:\n\
                \x20     - search: { as: you, call: nc_notes_search_notes, wth: { query: x } }\n";
    std::fs::write(file, text).expect("a file");
    let started = Running::start(throng(home.path(), ["check", "faulty.yaml"]), home.path());
    assert_refused!(started.ended().await, @r#"
    faulty.yaml:2:31: this is not a URL: relative URL without a base
       |
     2 | target: { protocol: mcp, url: 'localhost/mcp' }
       |                               ^^^^^^^^^^^^^^^
      help: write it whole, such as http://localhost:8001/mcp
    faulty.yaml:3:16: expected a duration such as 50ms, 10s, 2m or 1m30s, found the text "10 parsecs": unknown unit ` parsecs`
       |
     3 | load: { pause: 10 parsecs, warm_up: 2s }
       |                ^^^^^^^^^^
      help: the units are us, ms, s, m and h
    faulty.yaml:3:28: unknown key `warm_up`
       |
     3 | load: { pause: 10 parsecs, warm_up: 2s }
       |                            ^^^^^^^
      help: did you mean `warmup`?
    faulty.yaml:8:23: unknown actor `you`
       |
     8 |       - search: { as: you, call: nc_notes_search_notes, wth: { query: x } }
       |                       ^^^
      help: expected `me`
    faulty.yaml:8:57: unknown key `wth`
       |
     8 |       - search: { as: you, call: nc_notes_search_notes, wth: { query: x } }
       |                                                         ^^^
      help: did you mean `with`?
    "#);
}

#[tokio::test]
async fn the_schema_is_one_and_knows_the_words_of_a_scenario() {
    let ended = alone(&["schema"]).await.with_code(0);
    let schema: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(schema["$schema"].is_string(), "{ended}");
    for word in [
        "name",
        "target",
        "directory",
        "login",
        "users",
        "load",
        "thresholds",
        "workflows",
        "workloads",
    ] {
        assert!(
            schema["properties"][word].is_object(),
            "no {word} in {schema:#}"
        );
    }
}

#[tokio::test]
async fn a_refused_connection_is_said_to_be_one() {
    let nobody = NobodyThere::new().await;
    let home = home();
    let mut command = throng(home.path(), ["run", "nextcloud", "--url"]);
    command
        .arg(format!("{}/mcp", nobody.origin()))
        .env("NEXTCLOUD_HOST", nobody.origin())
        .env("NEXTCLOUD_USERNAME", "admin")
        .env("NEXTCLOUD_PASSWORD", "none");
    let ended = Running::start(command, home.path())
        .ended()
        .await
        .with_code(3);
    let address = nobody.origin();
    insta::with_settings!({ filters => vec![
        (address.as_str(), "http://[ADDRESS]"),
        (address.trim_start_matches("http://"), "[ADDRESS]"),
        (r"seed \d+", "seed [SEED]"),
        (r"Run [0-9a-f-]{6,}", "Run [RUN]"),
    ] }, {
        insta::assert_snapshot!(ended.stderr, @r#"
    Scenario nextcloud, workload mixed, 2 users, 30 s after 5 s of warm-up
    Run [RUN], seed [SEED]
    Step 1/6: Finding out how to log in to http://[ADDRESS]/mcp...
      ! finding out how to log in to http://[ADDRESS]/mcp: cannot reach http://[ADDRESS]/mcp: http://[ADDRESS]: cannot connect: Connection refused (os error 111)
    "#);
    });
    assert!(ended.stdout.contains("exit code 3"), "{ended}");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let nobody = NobodyThere::new().await;
    let world = World::new().await;
    let arguments = format!("-u 2 -d 1 -w 0 --host {}", nobody.origin());
    let ended = world.ran(&arguments, 3).await;
    assert!(ended.stderr.contains(&nobody.origin()), "{ended}");
    assert!(ended.stderr.contains("refused"), "{ended}");
    assert_eq!(world.users().await, [""; 0]);
}

/// The reader of both outputs goes away after the first line, as `2>&1 | head -1` does, and the users go all the same.
#[tokio::test]
async fn a_reader_that_goes_away_changes_nothing() {
    let world = World::new().await;
    let mut command = world.command([
        "run",
        "nextcloud",
        "-u",
        "2",
        "-d",
        "1",
        "-w",
        "0",
        "-v",
        "--url",
    ]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut child = command
        .arg(world.sandbox.mcp_url())
        .stdout(writer.try_clone().expect("its write end"))
        .stderr(writer)
        .stdin(Stdio::null())
        .spawn()
        .expect("the binary starts");
    drop(command);
    let reader = Receiver::from_file(OwnedFd::from(reader).into()).expect("a pipe");
    let mut lines = BufReader::new(reader).lines();
    let first = lines.next_line().await.expect("a line");
    assert!(first.is_some_and(|line| !line.is_empty()));
    drop(lines);
    let status = child.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(0), "a panic has 101");
    assert_eq!(world.users().await, [""; 0]);
    // It did its work, and was not stopped by the loss of its reader.
    assert!(crate::journal::total(&world.sandbox.journal()) > 0);
}

#[tokio::test]
async fn a_sandbox_whose_announcement_nobody_reads_is_up_all_the_same() {
    let home = home();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    // Its input has ended, so it stops as soon as it's up.
    let arguments = [
        "sandbox",
        "nextcloud",
        "--port",
        "0",
        "--mcp-port",
        "0",
        "--stop-at-eof",
    ];
    let mut command = throng(home.path(), arguments);
    let status = command.stdout(writer).status().await.expect("it runs");
    assert_eq!(status.code(), Some(0), "a panic has 101");
}

#[tokio::test]
async fn a_sandbox_says_where_it_is_and_stops_when_told_to() {
    let home = home();
    let arguments = [
        "sandbox",
        "nextcloud",
        "--port",
        "0",
        "--mcp-port",
        "0",
        "--json",
    ];
    let mut sandbox = Running::start(throng(home.path(), arguments), home.path());
    let stdout = home.path().join("stdout.txt");
    let line = || std::fs::read_to_string(&stdout).expect("its output");
    sandbox
        .until("a line of JSON", |_| line().ends_with('\n'))
        .await;
    let ready: Value = serde_json::from_str(&line()).expect("JSON");
    let origin = ready["url"].as_str().expect("a URL");
    let (status, _) = crate::support::request(origin, "GET", "/status.php", "").await;
    assert_eq!(status, 200);
    sandbox.signal(rustix::process::Signal::TERM);
    eventually("the sandbox stops", || sandbox.has_ended()).await;
    sandbox.ended().await.with_code(0);
}

#[tokio::test]
async fn the_other_sandbox_hands_out_its_certificate_and_knows_its_bugs() {
    let home = home();
    let certificate = home.path().join("sandbox.pem");
    let arguments = [
        "sandbox",
        "integr8scode",
        "--port",
        "0",
        "--bugs",
        "role-from-register,number-edge-500",
        "--cert",
        certificate.to_str().expect("a plain path"),
        "--json",
        // Its input has ended, so it stops as soon as it's up.
        "--stop-at-eof",
    ];
    let ended = Running::start(throng(home.path(), arguments), home.path())
        .ended()
        .await
        .with_code(0);
    let ready: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let written = std::fs::read_to_string(&certificate).expect("a certificate");
    assert!(written.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(ready["certificate"], written);
    let bugs = serde_json::json!(["number-edge-500", "role-from-register"]);
    assert_eq!(ready["bugs"], bugs);
    let refused = alone(&["sandbox", "integr8scode", "--bugs", "heisenbug"]).await;
    let said = refused.with_code(2).stderr;
    assert!(said.contains("unknown bug `heisenbug`"), "{said}");
}
