//! A run against an HTTP target, whole, as the program does it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::thread;

use serde_json::{Value, json};
use throng_identity::Ledger;

use crate::docs::{said, throng};
use crate::support::small_scenario;

/// A server of few words: a stream of events at /events, a failure at /boom, a cookie and JSON everywhere else.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // Whoever asks may hang up at any time.
                let _ = answer(stream);
            });
        }
    });
    url
}

/// The head of the next request, and its body; nothing at the end of the connection.
pub(crate) fn next_request(
    reader: &mut BufReader<TcpStream>,
) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some((head, _)) = next_request(&mut reader)? {
        let path = head.split(' ').nth(1).expect("a path");
        let response = match path {
            "/api/events" => {
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                 1b\r\ndata: {\"type\":\"queued\"}\r\n\r\n\r\n19\r\ndata: {\"type\":\"done\"}\r\n\r\n\r\n0\r\n\r\n"
            }
            "/api/boom" => "HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\noops",
            "/api/gone" => "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n",
            _ => {
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: sid=1\r\n\
                 content-length: 8\r\n\r\n{\"id\":7}"
            }
        };
        stream.write_all(response.as_bytes())?;
    }
    Ok(())
}

/// Runs these steps (indented by six) against such a server; what it said and its report.
fn run(home: &Path, steps: &str) -> (Output, Value) {
    let source = format!(
        "name: small
target: {{ protocol: http, url: \"{}\", prefix: /api }}
login: {{ kind: none }}
users: {{ count: 2 }}
load: {{ duration: 300ms, warmup: 0s, pause: 10ms }}
thresholds: [\"error_rate<=100%\"]
workflows:
  w:
    actors: [me]
    steps:
{steps}",
        serve()
    );
    let (file, out) = (home.join("small.yaml"), home.join("small.json"));
    fs::write(&file, source).expect("written");
    let output = throng(
        home,
        &[
            "run",
            file.to_str().expect("a plain path"),
            "--output",
            out.to_str().expect("a plain path"),
        ],
    );
    let report =
        fs::read_to_string(out).unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    (output, serde_json::from_str(&report).expect("JSON"))
}

/// The report of a run with something of everything.
pub(crate) fn report(home: &Path) -> Value {
    let steps =
        "      - create: { post: /things, json: { by: \"{me.name}\" }, save: { thing: $.id } }
      - read: { get: \"/things/{thing}\" }
      - gone: { get: /gone, expect: 404 }
      - events: { listen: /events, until: { path: $.type, equals: done } }
    finally:
      - boom: { get: /boom }
";
    let (output, report) = run(home, steps);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("EVENT STREAMS"), "{text}");
    report
}

#[test]
fn statuses_routes_and_streams_are_in_the_report() {
    let home = tempfile::tempdir().expect("a directory");
    let report = report(home.path());
    let runs = report["workflows"]["w"]["total_executions"].as_u64();
    let runs = runs.expect("a count");
    assert!(runs >= 2, "{runs}");
    let statuses = |endpoint: &str| report["endpoints"][endpoint]["statuses"].clone();
    assert_eq!(statuses("POST /things"), json!({ "200": runs }));
    assert_eq!(statuses("GET /things/{thing}"), json!({ "200": runs }));
    assert_eq!(statuses("GET /gone"), json!({ "404": runs }));
    assert_eq!(statuses("GET /boom"), json!({ "500": runs }));
    assert_eq!(report["endpoints"]["GET /gone"]["errors"], 0);
    assert_eq!(report["endpoints"]["GET /boom"]["errors"], runs);
    assert_eq!(report["errors"][0]["cause"], "HTTP 500");
    assert_eq!(report["errors"][0]["example"], "HTTP 500: oops");
    assert_eq!(report["streams"]["w/events"]["met"], runs);
    assert_eq!(report["streams"]["w/events"]["events"], 2 * runs);
}

#[test]
fn a_path_that_is_always_404_is_drift_and_no_failing_target() {
    let home = tempfile::tempdir().expect("a directory");
    let (output, report) = run(
        home.path(),
        "      - create: { post: /things }\n      - read: { get: /gone }\n",
    );
    assert_eq!(output.status.code(), Some(93), "{}", said(&output));
    assert_eq!(report["verdict"]["name"], "drift");
    let reasons = report["verdict"]["all"][0]["reasons"].to_string();
    assert!(
        reasons.contains("w/read: GET /gone was answered 404") && !reasons.contains("w/create"),
        "{reasons}"
    );
}

/// The built-in scenario of an HTTP API, on the sandbox that speaks like it: users register, log in by cookie, send the CSRF
/// token with each change, listen to events; nothing deletes them.
#[test]
fn integr8scode_runs_on_its_sandbox_and_both_count_the_same() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("report.json");
    let path = file.to_str().expect("a plain path");
    let output = throng(
        home.path(),
        &[
            "run",
            "integr8scode",
            "--sandbox",
            "--mode",
            "user",
            "-u",
            "5",
            "-d",
            "4",
            "-o",
            path,
        ],
    );
    assert!(output.status.success(), "{}", said(&output));
    let report: Value =
        serde_json::from_slice(&fs::read(&file).expect("the report")).expect("JSON");
    assert_eq!(
        report["ground_truth"]["agrees"], true,
        "{}",
        report["ground_truth"]
    );
    assert_eq!(report["summary"]["failed_operations"], 0);
    let steps = report["steps"].as_object().expect("steps");
    assert_eq!(steps.len(), 16);
    for (name, step) in steps {
        assert!(step["count"].as_u64() > Some(0), "{name} never ran");
    }
    // Nothing deletes them, but they end with the sandbox.
    assert_eq!(report["cleanup"]["staying"], json!([]));
    assert_eq!(report["cleanup"]["ended_with_sandbox"], true);
    assert_eq!(report["cleanup"]["users"]["created"], 5);
    let shown = said(&output);
    assert!(
        !shown.contains("for good") && !shown.contains("deleting"),
        "{shown}"
    );
    assert!(!shown.contains("testpass123!"), "{shown}");
    assert!(!report.to_string().contains("testpass123!"));
}

/// Runs a file with users who register and log in at `url`, with further lines for its directory and flags.
fn run_registering(home: &Path, url: &str, directory: &str, flags: &[&str]) -> Output {
    let file = small_scenario(home, url, directory, "1", "100ms");
    let mut arguments = vec!["run", &*file];
    arguments.extend(flags);
    throng(home, &arguments)
}

const REGISTER: &str = "  kind: http-register\n  register: { post: /register }";

fn open_entries(home: &Path) -> usize {
    let ledger = Ledger::open(&home.join("throng/ledger.sqlite")).expect("the ledger");
    ledger.open_entries().expect("entries").len()
}

#[test]
fn what_nothing_deletes_is_not_said_to_be_deleted_and_is_nobodys_work() {
    let home = tempfile::tempdir().expect("a directory");
    let output = run_registering(home.path(), &serve(), REGISTER, &[]);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("1 users stay") && !shown.contains("deleting"),
        "{shown}"
    );
    let output = run_registering(home.path(), &serve(), REGISTER, &["--no-cleanup"]);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(!shown.contains("throng cleanup"), "{shown}");
    assert_eq!(open_entries(home.path()), 0);
}

#[test]
fn a_request_that_deletes_nobody_leaves_the_cleanup_incomplete() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = format!("{REGISTER}\n  delete: {{ delete: /api/gone }}");
    let output = run_registering(home.path(), &serve(), &directory, &[]);
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(94), "{shown}");
    assert!(shown.contains("no such user, or no such path"), "{shown}");
    assert!(!shown.contains("throng cleanup"), "{shown}");
}

/// The administrator's password is for Nextclouds.
#[test]
fn a_cleanup_sends_nothing_to_where_users_registered() {
    let home = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let ledger = Ledger::open(&home.path().join("throng/ledger.sqlite")).expect("a ledger");
    let run = ledger.begin_run().expect("a run");
    let place = throng_identity::ledger::Place {
        kind: "http-register".to_owned(),
        url: url.clone(),
        admin: String::new(),
    };
    ledger
        .plan(
            &run,
            throng_identity::ledger::Kind::User,
            &place,
            "reg_user_1",
        )
        .expect("an entry");
    ledger.end_run(&run).expect("ended");
    let credentials = ["--admin", "admin", "--admin-password", "s3same"];
    let output = throng(home.path(), &[&["cleanup"], &credentials[..]].concat());
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(94), "{shown}");
    assert!(
        shown.contains(&format!("1 user at {url} was made by registering there")),
        "{shown}"
    );
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_err(), "somebody came");

    let host = ["--host", "http://127.0.0.1:9"];
    let output = throng(
        home.path(),
        &[&["cleanup"], &credentials[..], &host[..]].concat(),
    );
    let shown = said(&output);
    assert!(
        shown.contains("made by registering") && !shown.contains("clean it with"),
        "{shown}"
    );
    assert_eq!(open_entries(home.path()), 1);

    // A run that goes on: he is in use, and not forgotten.
    let run = ledger.begin_run().expect("a run");
    let user = throng_identity::ledger::Kind::User;
    ledger
        .plan(&run, user, &place, "live_user_1")
        .expect("an entry");
    // Whatever Nextcloud the environment is about, and without its administrator.
    let forget = |flags: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_throng"))
            .args(["cleanup", "--forget"])
            .args(flags)
            .env("XDG_STATE_HOME", home.path())
            .env("NEXTCLOUD_HOST", "http://127.0.0.1:9")
            .output()
            .expect("the program starts")
    };
    let shown = said(&forget(&["--dry-run"]));
    assert!(
        shown.contains("reg_user_1") && !shown.contains("live_user_1"),
        "{shown}"
    );
    let output = forget(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(open_entries(home.path()), 1);
    for flags in [&["cleanup"][..], &["cleanup", "--forget"]] {
        let shown = said(&throng(home.path(), flags));
        assert!(
            shown.contains("still going on uses all") && shown.contains("1 of them"),
            "{shown}"
        );
    }
    ledger.end_run(&run).expect("ended");

    // Nobody can delete him: he is named, and no longer work.
    for (flags, code, left) in [
        (&["--forget", "--dry-run"][..], 94, 1),
        (&["--forget"], 0, 0),
    ] {
        let output = throng(home.path(), &[&["cleanup"], flags].concat());
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(shown.contains("live_user_1"), "{shown}");
        assert_eq!(open_entries(home.path()), left, "{shown}");
    }
}

#[test]
fn a_sandbox_run_touches_nothing_but_the_sandbox() {
    let home = tempfile::tempdir().expect("a directory");
    let real = "http://127.0.0.1:9";
    let nextcloud = format!("  kind: nextcloud\n  url: {real}\n  admin: a\n  password: b");
    let whole = format!("  kind: http-register\n  register: {{ post: \"{real}/register\" }}");
    let delete = format!("{REGISTER}\n  delete: {{ delete: \"{real}/{{user.name}}\" }}");
    for directory in [nextcloud, whole, delete] {
        let output = run_registering(home.path(), real, &directory, &["--sandbox"]);
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(
            shown.contains("the sandbox doesn't stand in for"),
            "{shown}"
        );
    }
}

#[test]
fn a_url_with_a_password_is_refused_and_not_shown() {
    let home = tempfile::tempdir().expect("a directory");
    let url = "https://bob:hunter2@127.0.0.1:9";
    let by_flag = throng(home.path(), &["run", "integr8scode", "--url", url]);
    let by_file = run_registering(home.path(), url, REGISTER, &[]);
    let host = throng(home.path(), &["cleanup", "--host", url]);
    for output in [by_flag, by_file, host] {
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(
            shown.contains("a password in it") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

#[test]
fn a_look_that_would_leave_a_user_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("mcp.yaml");
    let source = format!(
        "name: small\ntarget: {{ url: \"http://127.0.0.1:9/mcp\" }}\ndirectory:\n{REGISTER}\nworkflows:\n  w:\n    actors: [me]\n    steps:\n      - read: {{ call: ping, as: me }}\n"
    );
    fs::write(&file, source).expect("written");
    let file = file.to_str().expect("a plain path");
    let url = ["--url", "http://127.0.0.1:9/mcp"];
    let tools = throng(home.path(), &[&["tools", file], &url[..]].concat());
    let check = throng(home.path(), &[&["check", file], &url[..]].concat());
    for output in [tools, check] {
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.contains("would stay for good"), "{shown}");
    }
}

#[test]
fn one_file_that_cannot_be_looked_at_keeps_no_other_from_it() {
    let home = tempfile::tempdir().expect("a directory");
    let output = throng(
        home.path(),
        &["check", "integr8scode", "nextcloud", "--sandbox"],
    );
    let shown = said(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("nextcloud: sound"), "{shown}");
}

#[test]
fn an_http_target_is_not_asked_what_it_offers() {
    let home = tempfile::tempdir().expect("a directory");
    for command in ["tools", "check"] {
        let output = throng(home.path(), &[command, "integr8scode", "--sandbox"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains("throng run integr8scode --sandbox -u 1 -d 1"),
            "{}",
            said(&output)
        );
    }
}
