//! Directories other than Nextcloud's, whole: users made there, at work, deleted; and `throng cleanup SCENARIO` after a kill.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::docs::page;
use crate::http::next_request;
use crate::report::count;
use crate::support::{
    ADMIN_PASSWORD, Ended, Running, World, eventually, home, small_scenario, throng,
};

/// The built-in scenario, its users made by SCIM.
fn scim_scenario(home: &Path) -> PathBuf {
    let source = page("scenarios/nextcloud.yaml");
    let source = source
        .replace("kind: nextcloud\n", "kind: scim\n")
        .replace("\"${NEXTCLOUD_HOST}\"", "\"${NEXTCLOUD_HOST}/scim/v2\"")
        .replace("{directory.url}/ocs", "{directory.origin}/ocs");
    assert_eq!(source.matches("/scim/v2").count(), 1, "{source}");
    assert!(source.contains("kind: scim") && source.contains("{directory.origin}"));
    let file = home.join("scim.yaml");
    std::fs::write(&file, source).expect("written");
    file
}

#[tokio::test]
async fn users_made_by_scim_log_in_work_and_go() {
    let world = World::new().await;
    world.create_user("loadtest_user_1x").await;
    let file = scim_scenario(world.home.path());
    let file = file.to_str().expect("a plain path");
    let ended = world
        .run_scenario(file, "--workload baseline -u 4 -d 1 -w 0 -vv")
        .ended()
        .await
        .with_code(0);
    let report = ended.report();
    assert_eq!(count(report, "/cleanup/users/created"), 4, "{ended}");
    assert_eq!(count(report, "/cleanup/users/deleted"), 4, "{ended}");
    assert_eq!(world.users().await, ["loadtest_user_1x"]);
    let counts = world.sandbox.journal().counts();
    let of = |method: &str, route: &str| -> u64 {
        let all = counts.counts.iter();
        all.filter(|it| *it.method == *method && it.route.starts_with(route))
            .map(|it| it.count)
            .sum()
    };
    assert_eq!(of("POST", "/scim/v2/Users"), 4);
    assert_eq!(of("DELETE", "/scim/v2/Users/"), 4);
    assert_eq!(of("POST", "/ocs/v2.php/cloud/users"), 1, "the stranger");
    assert!(!ended.to_string().contains(ADMIN_PASSWORD), "{ended}");

    // The sandbox that a run starts stands in for it, and nothing of the environment's is touched.
    let before = world.sandbox.journal().counts().total;
    let sandboxed = world
        .start(["run", file, "--sandbox", "-u", "2", "-d", "0.5", "-w", "0"])
        .ended()
        .await;
    assert!(sandboxed.stderr.contains("Deleted 2 users"), "{sandboxed}");
    assert_eq!(world.sandbox.journal().counts().total, before);
}

#[tokio::test]
async fn a_cleanup_by_the_scenario_removes_what_a_kill_left_on_a_scim_server() {
    let world = World::new().await;
    let strangers = ["loadtest_user_1x", "xloadtest_user_1"];
    for stranger in strangers {
        world.create_user(stranger).await;
    }
    let file = scim_scenario(world.home.path());
    let file = file.to_str().expect("a plain path");
    // Once while users are being made, once when they are at work.
    for at_work in [false, true] {
        let journal = world.sandbox.journal();
        let calls = || crate::journal::total(&journal);
        let made = || {
            let all = journal.counts().counts.into_iter();
            let made = all.filter(|it| &*it.method == "POST" && &*it.route == "/scim/v2/Users");
            made.map(|it| it.count).sum::<u64>()
        };
        let (calls_before, made_before) = (calls(), made());
        let mut running = world.run_scenario(file, "--workload baseline -u 6 -d 60 -w 0");
        running
            .until("its moment", |_| match at_work {
                false => made() >= made_before + 2,
                true => calls() > calls_before,
            })
            .await;
        running.signal(Signal::KILL);
        running.ended().await;
        eventually("all is quiet", || journal.counts().in_flight == 0).await;
        let left = world.users().await;
        assert!(left.len() >= strangers.len() + 2, "{left:?}");

        // Another address of the same kind: nothing is sent anywhere.
        let before = journal.counts().total;
        let elsewhere = format!("{file} --host {}/scim/v3", world.sandbox.url());
        let refused = world.cleanup(&elsewhere).await.with_code(2);
        assert!(
            refused.stderr.contains("the ledger knows no users at")
                && refused.stderr.contains("/scim/v2"),
            "{refused}"
        );
        let asked = world.start(["cleanup"]).ended().await;
        assert!(asked.stdout.contains("throng cleanup SCENARIO"), "{asked}");
        assert_eq!(journal.counts().total, before);

        let listed = world
            .cleanup(&format!("{file} --dry-run"))
            .await
            .with_code(0);
        assert!(listed.stdout.contains("in the ledger"), "{listed}");
        assert_eq!(world.users().await, left, "a dry run deletes nobody");
        let cleaned = world.cleanup(file).await.with_code(0);
        assert_eq!(world.users().await, strangers, "{cleaned}");
        let again = world.cleanup(file).await.with_code(0);
        assert!(again.stdout.contains("Nothing to clean up"), "{again}");
    }
    // By name, without the ledger.
    world.create_user("loadtest_user_7").await;
    let by_name = world.cleanup(&format!("{file} --prefix loadtest")).await;
    assert!(by_name.stdout.contains("1 of 1 users deleted"), "{by_name}");
    assert_eq!(world.users().await, strangers);
}

/// An API with users by name, of whom each has a number; a login; and something to do.
#[derive(Clone, Default)]
struct Api {
    users: Arc<Mutex<BTreeMap<String, u32>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

const KEY: &str = "k3y-of-an-administrator-Zq8";

impl Api {
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let api = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let api = api.clone();
                // Whoever asks may hang up at any time.
                thread::spawn(move || api.answer(stream).unwrap_or_default());
            }
        });
        url
    }

    fn names(&self) -> Vec<String> {
        self.users
            .lock()
            .expect("no panic")
            .keys()
            .cloned()
            .collect()
    }

    fn asked(&self, what: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|it| it.starts_with(what)).count()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some((head, body)) = next_request(&mut reader)? {
            let (status, body) = self.respond(&head, &body);
            let text = match status {
                204 => String::new(),
                _ => body.to_string(),
            };
            let cookie = "set-cookie: session=1\r\n";
            write!(
                stream,
                "HTTP/1.1 {status} X\r\n{cookie}content-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )?;
        }
        Ok(())
    }

    fn respond(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        self.asked
            .lock()
            .expect("no panic")
            .push(format!("{method} {path}"));
        let mut users = self.users.lock().expect("no panic");
        let named = |body: &[u8]| -> String {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            body["name"].as_str().unwrap_or_default().to_owned()
        };
        let admin =
            head.contains(&format!("Bearer {KEY}")) || head.contains(&format!("bearer {KEY}"));
        let mut make = |name: String| {
            if users.contains_key(&name) {
                return (409, json!({}));
            }
            let number = users.values().max().unwrap_or(&0) + 1;
            users.insert(name, number);
            (201, json!({}))
        };
        match (method, path.split('?').next().unwrap_or("")) {
            ("POST", "/register") => make(named(body)),
            ("DELETE", path) if path.starts_with("/users/") => {
                match users.remove(path.trim_start_matches("/users/")) {
                    Some(_) => (204, json!({})),
                    None => (404, json!({})),
                }
            }
            (_, path) if path.starts_with("/admin/") && !admin => (401, json!({})),
            ("POST", "/admin/users") => make(named(body)),
            ("GET", "/admin/users") => {
                let all = users.iter();
                let all = all.map(|(name, id)| json!({"name": name, "id": id}));
                (200, json!({"users": all.collect::<Vec<_>>()}))
            }
            ("DELETE", path) => {
                let id = path.trim_start_matches("/admin/users/").parse::<u32>();
                let before = users.len();
                users.retain(|_, there| Ok(*there) != id);
                (if users.len() < before { 204 } else { 404 }, json!({}))
            }
            _ => (200, json!({"fine": true})),
        }
    }
}

/// A scenario of an HTTP target whose directory is as told.
fn scenario(home: &TempDir, url: &str, directory: &str) -> String {
    small_scenario(home.path(), url, directory, "3", "60s")
}

async fn run(home: &TempDir, arguments: &[&str]) -> Ended {
    let command = throng(home.path(), arguments);
    Running::start(command, home.path()).ended().await
}

/// Starts a run, and kills it when its users are at work.
async fn killed(home: &TempDir, api: &Api, file: &str) {
    let mut running = Running::start(throng(home.path(), ["run", file]), home.path());
    running
        .until("its users are at work", |_| api.asked("GET /things") > 0)
        .await;
    running.signal(Signal::KILL);
    running.ended().await;
}

const OURS: [&str; 3] = ["reg_user_1", "reg_user_2", "reg_user_3"];

#[tokio::test]
async fn a_cleanup_by_the_scenario_removes_who_registered() {
    let (api, other, home) = (Api::default(), Api::default(), home());
    let (url, elsewhere) = (api.start(), other.start());
    let register = "  kind: http-register\n  register: { post: /register, json: { name: \"{user.name}\" } }\n  exists: 409\n";
    let delete = format!("{register}  delete: {{ delete: \"/users/{{user.name}}\" }}");
    let file = scenario(&home, &url, &delete);
    api.users
        .lock()
        .expect("no panic")
        .insert("stranger".to_owned(), 77);
    killed(&home, &api, &file).await;
    let all = ["reg_user_1", "reg_user_2", "reg_user_3", "stranger"];
    assert_eq!(api.names(), all);

    // Where the run didn't go, nobody is asked.
    let refused = run(&home, &["cleanup", &file, "--url", &elsewhere]).await;
    let refused = refused.with_code(2);
    assert!(
        refused.stderr.contains(&format!("3 at {url}/")),
        "{refused}"
    );
    assert_eq!(other.asked(""), 0);
    // A scenario that doesn't say how deletes nobody, and strikes nobody off.
    let silent = scenario(&home, &url, register);
    let stay = run(&home, &["cleanup", &silent]).await.with_code(94);
    assert!(stay.stdout.contains("`directory.delete`"), "{stay}");
    assert_eq!(api.names(), all);

    let file = scenario(&home, &url, &delete);
    let cleaned = run(&home, &["cleanup", &file]).await.with_code(0);
    assert!(cleaned.stdout.contains("3 of 3 users deleted"), "{cleaned}");
    assert_eq!(api.names(), ["stranger"]);
    assert_eq!(api.asked("DELETE /users/stranger"), 0);
}

/// He may be a stranger: the run died before it was told that the name was free.
#[tokio::test]
async fn whom_nobody_knows_to_be_ours_is_left_alone() {
    let (api, home) = (Api::default(), home());
    let url = api.start();
    let directory = "  kind: http-register\n  register: { post: /register, json: { name: \"{user.name}\" } }\n  delete: { delete: \"/users/{user.name}\" }";
    let file = scenario(&home, &url, directory);
    killed(&home, &api, &file).await;
    let path = home.path().join("state/throng/ledger.sqlite");
    let ledger = throng_identity::Ledger::open(&path).expect("the ledger");
    let entries = ledger.open_entries().expect("entries");
    assert_eq!(entries.len(), 3);
    let planned = throng_identity::ledger::State::Planned;
    ledger.set_state(entries[1].id, planned).expect("noted");
    let name = &entries[1].name;
    let cleaned = run(&home, &["cleanup", &file]).await.with_code(94);
    assert!(
        cleaned.stdout.contains(&format!("'{name}' is left alone")),
        "{cleaned}"
    );
    assert_eq!(api.names(), [name.as_str()]);
    let forgotten = run(&home, &["cleanup", "--forget"]).await.with_code(0);
    assert!(forgotten.stdout.contains(name), "{forgotten}");
    assert_eq!(ledger.open_entries().expect("entries").len(), 0);
    assert_eq!(api.names(), [name.as_str()]);
}

#[tokio::test]
async fn users_who_are_there_already_are_neither_made_nor_deleted() {
    let (api, home) = (Api::default(), home());
    let url = api.start();
    let file = scenario(&home, &url, "  kind: none");
    let unknown = run(&home, &["run", &file]).await.with_code(2);
    assert!(
        unknown.stderr.contains("need a `password` to log in with"),
        "{unknown}"
    );
    let source = std::fs::read_to_string(&file).expect("the scenario");
    let source = source.replace("prefix: reg", "prefix: reg, password: the-same-for-all-9");
    std::fs::write(&file, source).expect("written");
    let ended = run(&home, &["run", &file, "-d", "0.3"]).await.with_code(0);
    assert_eq!(api.asked("POST /login"), 3, "{ended}");
    let elsewhere = api.asked("") - api.asked("POST /login") - api.asked("GET /things");
    assert_eq!(elsewhere, 0, "{ended}");
    let nothing = run(&home, &["cleanup", &file]).await.with_code(2);
    assert!(
        nothing.stderr.contains("only what a directory made"),
        "{nothing}"
    );
}

const ADMINISTERED: &str = "  kind: http
  token: \"${KEY}\"
  create: { post: /admin/users, json: { name: \"{user.name}\" } }
  exists: 409
  list: { get: \"/admin/users?q={search}\", users: $.users, name: $.name, id: $.id }
  delete: { delete: \"/admin/users/{user.id}\" }";

#[tokio::test]
async fn an_administrators_requests_make_find_and_delete_users() {
    let (api, home) = (Api::default(), home());
    let url = api.start();
    let file = scenario(&home, &url, ADMINISTERED);
    let with = |key: &str, arguments: &[&str]| {
        let mut command = throng(home.path(), arguments);
        command.env("KEY", key);
        Running::start(command, home.path())
    };
    let ended = with(KEY, &["run", &file, "-d", "0.3", "-vv"]).ended().await;
    let ended = ended.with_code(0);
    assert!(ended.stderr.contains("Deleted 3 users"), "{ended}");
    assert!(!ended.to_string().contains(KEY), "{ended}");
    assert_eq!(api.names(), [""; 0]);

    let wrong = with("wr0ng-key-of-nobody-77", &["run", &file])
        .ended()
        .await;
    let wrong = wrong.with_code(3);
    assert!(
        wrong.to_string().contains("refused the credentials")
            && !wrong.to_string().contains("wr0ng-key"),
        "{wrong}"
    );

    let mut running = with(KEY, &["run", &file]);
    running
        .until("its users are there", |_| api.names() == OURS)
        .await;
    running.signal(Signal::KILL);
    running.ended().await;
    // Whoever is there at the next run's beginning is seen, and the command that removes him works as it is printed.
    let refused = with(KEY, &["run", &file]).ended().await.with_code(3);
    let line = refused.stdout.lines().chain(refused.stderr.lines());
    let command = line
        .map(str::trim)
        .find(|line| line.starts_with("throng cleanup"))
        .unwrap_or_else(|| panic!("no command: {refused}"));
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let cleaned = with(KEY, &words).ended().await.with_code(0);
    assert!(cleaned.stdout.contains("3 of 3 users deleted"), "{cleaned}");
    assert_eq!(api.names(), [""; 0]);
}
