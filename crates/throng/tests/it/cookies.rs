//! Users who are there already, a token that is in no cookie, and logouts: whole runs, as the program does them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::docs::{said, throng};
use crate::http::next_request;
use crate::support::{self, Running};

const PASSWORD: &str = "the-pa55word-of-all";

/// A site that hands out tokens in JSON, each with the cookie that it belongs to; the sessions that began, and those that were
/// ended.
#[derive(Clone, Default)]
struct Site {
    sessions: Arc<Mutex<BTreeSet<String>>>,
    ended: Arc<Mutex<Vec<String>>>,
    /// Whom it doesn't let in, whatever the password.
    locked_out: Option<&'static str>,
    /// How many logins are held, and whether they go on.
    held: Arc<AtomicUsize>,
    gate: Option<Arc<(Mutex<bool>, Condvar)>>,
}

impl Site {
    fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let site = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = site.clone();
                thread::spawn(move || {
                    // Whoever asks may hang up at any time.
                    let _ = site.answer(stream);
                });
            }
        });
        url
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some((head, body)) = next_request(&mut reader)? {
            let (status, cookie, body) = self.reply(&head, &String::from_utf8_lossy(&body));
            let cookie = cookie.map_or(String::new(), |it| format!("set-cookie: {it}; Path=/\r\n"));
            write!(
                stream,
                "HTTP/1.1 {status} Said\r\n{cookie}content-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        Ok(())
    }

    fn wait_at_gate(&self) {
        if let Some(gate) = &self.gate {
            let open = gate.0.lock().unwrap();
            drop(gate.1.wait_while(open, |open| !*open).unwrap());
        }
    }

    fn open_gate(&self) {
        if let Some(gate) = &self.gate {
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
        }
    }

    fn reply(&self, head: &str, body: &str) -> (u16, Option<String>, String) {
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).next()
        };
        let cookies = header("cookie").unwrap_or_default();
        let cookie = |name: &str| {
            let pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
            let mut found = pairs.filter(|(found, _)| *found == name);
            found.next().map(|(_, value)| value.to_owned())
        };
        // The token is good with its own cookie only: one user's is not another's.
        let genuine = cookie("visit").is_some_and(|visit| {
            header("x-token").is_some_and(|token| token == format!("token-of-{visit}"))
        });
        let session = cookie("sid").filter(|sid| self.sessions.lock().unwrap().contains(sid));
        match head.split(' ').nth(1).expect("a path") {
            "/token" => {
                let visit = format!("{:016x}", rand::random::<u64>());
                let body = format!("{{\"token\": \"token-of-{visit}\"}}");
                (200, Some(format!("visit={visit}")), body)
            }
            "/login" if self.locked_out.is_some_and(|name| body.contains(name)) => {
                // Whoever comes first: the others shall have begun by then.
                self.wait_at_gate();
                (403, None, "{\"detail\": \"locked\"}".to_owned())
            }
            "/login" if genuine && body.contains(PASSWORD) => {
                if self.locked_out.is_none() {
                    self.held.fetch_add(1, Ordering::Relaxed);
                    self.wait_at_gate();
                }
                let sid = format!("sid-{:016x}", rand::random::<u64>());
                let mut sessions = self.sessions.lock().unwrap();
                sessions.insert(sid.clone());
                if self.locked_out.is_some() && sessions.len() == 2 {
                    self.open_gate();
                }
                (200, Some(format!("sid={sid}")), "{}".to_owned())
            }
            "/things" if genuine && session.is_some() => (200, None, "{\"id\": 7}".to_owned()),
            "/logout" if genuine && session.is_some() => {
                self.ended.lock().unwrap().extend(session);
                (204, None, String::new())
            }
            _ => (403, None, format!("{{\"detail\": \"not {body}\"}}")),
        }
    }
}

/// A scenario with users of the site, and its lines `of_users`.
fn scenario(url: &str, of_users: &str) -> String {
    format!(
        "name: tokens
target: {{ protocol: http, url: \"{url}\" }}
login:
  kind: request
  before:
    - token: {{ get: /token, save: {{ token: $.token }} }}
  request: {{ post: /login, headers: {{ X-Token: \"{{token}}\" }}, json: {{ who: \"{{user.name}}\", secret: \"{{user.password}}\" }} }}
  logout: {{ post: /logout, headers: {{ X-Token: \"{{token}}\" }}, expect: 204 }}
{of_users}
load: {{ duration: 300ms, warmup: 0s, pause: 10ms }}
workflows:
  w:
    actors: [me]
    steps:
      - create: {{ post: /things, headers: {{ X-Token: \"{{me.token}}\" }}, save: {{ thing: $.id }} }}
"
    )
}

fn run(home: &Path, url: &str, of_users: &str) -> Output {
    let source = scenario(url, of_users);
    let (file, report) = (home.join("tokens.yaml"), home.join("report.json"));
    fs::write(&file, source).expect("written");
    let path = |file: &Path| file.to_str().expect("a plain path").to_owned();
    let output = throng(home, &["run", &path(&file), "--output", &path(&report)]);
    let shown = said(&output);
    assert!(
        !shown.contains(PASSWORD) && !shown.contains("token-of-"),
        "{shown}"
    );
    output
}

#[test]
fn a_token_of_a_json_answer_goes_with_login_steps_and_logout() {
    let site = Site::default();
    let home = tempfile::tempdir().expect("a directory");
    let users = format!("users: {{ count: 5, password: \"{PASSWORD}\" }}");
    let output = run(home.path(), &site.serve(), &users);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = fs::read(home.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["run"]["login"], "request");
    assert_eq!(report["cleanup"]["created"], 0);
    assert_eq!(report["steps"]["w/create"]["errors"], 0);

    // Each has a session of its own, and ended it once.
    let begun = site.sessions.lock().unwrap().clone();
    assert_eq!(begun.len(), 5);
    let mut ended = site.ended.lock().unwrap().clone();
    ended.sort();
    assert_eq!(ended, begun.into_iter().collect::<Vec<_>>());
    let shown = said(&output);
    assert!(
        shown.contains("Logging 5 users in...") && shown.contains("5 users logged out"),
        "{shown}"
    );
}

#[test]
fn users_of_nowhere_need_a_password_and_the_right_one() {
    let site = Site::default();
    let (url, home) = (site.serve(), tempfile::tempdir().expect("a directory"));
    let output = run(home.path(), &url, "users: { count: 5 }");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("or give `users.password`"),
        "{}",
        said(&output)
    );

    let users = "users: { count: 5, password: another-one-of-nobody }";
    let output = run(home.path(), &url, users);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let shown = said(&output);
    assert!(shown.contains("POST") && shown.contains("403"), "{shown}");
    // What the server said has it in it.
    assert!(!shown.contains("another-one-of-nobody"), "{shown}");
    assert!(site.sessions.lock().unwrap().is_empty());
}

/// The sessions that began, each of which was ended once.
#[track_caller]
fn sessions_all_ended(site: &Site) -> usize {
    let begun = site.sessions.lock().unwrap().clone();
    let mut ended = site.ended.lock().unwrap().clone();
    ended.sort();
    assert_eq!(ended, begun.iter().cloned().collect::<Vec<_>>());
    begun.len()
}

#[test]
fn who_was_logged_in_is_logged_out_when_others_are_refused() {
    let site = Site {
        locked_out: Some("_user_3"),
        gate: Some(Arc::default()),
        ..Site::default()
    };
    let home = tempfile::tempdir().expect("a directory");
    let users = format!("users: {{ count: 3, password: \"{PASSWORD}\" }}");
    let output = run(home.path(), &site.serve(), &users);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(sessions_all_ended(&site), 2);
    let shown = said(&output);
    assert!(shown.contains("2 users logged out"), "{shown}");
}

#[test]
fn who_fails_after_the_login_is_logged_out_too() {
    let site = Site::default();
    let home = tempfile::tempdir().expect("a directory");
    // No cookies go with it, so that it's refused.
    let users = format!(
        "  after:\n    - profile: {{ get: /things }}\nusers: {{ count: 1, password: \"{PASSWORD}\" }}"
    );
    let output = run(home.path(), &site.serve(), &users);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("/things"), "{}", said(&output));
    assert_eq!(sessions_all_ended(&site), 1);
}

/// A run whose so many users are all logging in, which their site lets nobody end.
async fn with_logins_held(users: usize) -> (TempDir, Site, Running) {
    let site = Site {
        gate: Some(Arc::default()),
        ..Site::default()
    };
    let home = support::home();
    let listed = format!("users: {{ count: {users}, password: \"{PASSWORD}\" }}");
    let file = home.path().join("tokens.yaml");
    fs::write(&file, scenario(&site.serve(), &listed)).expect("written");
    let command = support::throng(home.path(), ["run", "tokens.yaml"]);
    let mut running = Running::start(command, home.path());
    let held = site.held.clone();
    running
        .until("the logins are held", |_| {
            held.load(Ordering::Relaxed) == users
        })
        .await;
    (home, site, running)
}

/// Dropping the login would leave a session behind that nobody knows the cookie of.
#[tokio::test]
async fn a_signal_lets_logins_in_flight_end_and_logs_them_out() {
    let (_home, site, mut running) = with_logins_held(3).await;
    running.signal(Signal::INT);
    running
        .until("the signal is answered", |running| {
            running.said().contains("stopping:")
        })
        .await;
    for n in 1..=3 {
        let waits = format!("User 'loadtest_user_{n}' is logging in: waiting for that");
        running
            .until("it says for whom it waits", |running| {
                running.said().contains(&waits)
            })
            .await;
    }
    site.open_gate();
    let ended = running.ended().await.with_code(105);
    assert_eq!(sessions_all_ended(&site), 3);
    assert!(
        !ended.stderr.contains("given up in the middle"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_second_signal_gives_up_logins_in_flight_and_names_them() {
    let (_home, site, mut running) = with_logins_held(2).await;
    for answer in ["stopping:", "stopping now:"] {
        running.signal(Signal::INT);
        running
            .until("the signal is answered", |running| {
                running.said().contains(answer)
            })
            .await;
    }
    let ended = running.ended().await.with_code(105);
    let named =
        "given up in the middle of logging in: 'loadtest_user_1', 'loadtest_user_2'; sessions";
    assert!(ended.stderr.contains(named), "{}", ended.stderr);
    site.open_gate();
}
