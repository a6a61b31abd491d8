//! Runs whose users log in by real browsers, one browser at a time: what the report says, and what is left.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::sync::MutexGuard;

use super::browsers::ONE_AT_A_TIME;
use crate::kinds::{nextcloud, whole_run_with};
use crate::support::{ADMIN_PASSWORD, Ended, World, eventually};

const RUN: &str = "--workload baseline -d 0.5 -w 0";

/// A browser that `cargo xtask setup` installs: its name, and where it is.
pub(super) struct Browser {
    name: &'static str,
    path: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    pub(super) async fn new(name: &'static str) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let (variable, usual) = match name {
            "chromium" => ("THRONG_TEST_CHROMIUM", "/usr/bin/chromium"),
            "firefox" => ("THRONG_TEST_FIREFOX", "/usr/bin/firefox-esr"),
            _ => ("THRONG_TEST_WEBKIT", "/usr/bin/WebKitWebDriver"),
        };
        let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
        assert!(
            path.exists(),
            "there is no {}: install it with\n    cargo xtask setup\nor say where it is in {variable}",
            path.display()
        );
        Self {
            name,
            path,
            _turn: turn,
        }
    }

    pub(super) fn flags(&self) -> String {
        format!(
            "--browser {} --browser-path {}",
            self.name,
            self.path.display()
        )
    }

    fn run(&self, world: &World, more: &str) -> crate::support::Running {
        world.run_with_path(&format!("{RUN} {} {more}", self.flags()))
    }
}

/// What of browsers is still there in a home, whose temporary directory they have theirs in.
pub(super) fn left(home: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(home)
        .expect("the home")
        .filter_map(Result::ok);
    let mut left: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("throng-browser-"))
        .collect();
    let marker = format!("THRONG_BROWSER={}/", home.display());
    for process in std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok)
    {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|one| one.starts_with(marker.as_bytes()));
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if marked && !command.is_empty() {
            left.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    left
}

async fn a_run_reports_as_by_http(name: &'static str) {
    let browser = Browser::new(name).await;
    let world = World::new().await;
    let by_http = world.run(&format!("{RUN} -u 4")).ended().await.with_code(0);
    let by_browser = browser.run(&world, "-u 4").ended().await.with_code(0);
    let (http, browsed) = (by_http.report(), by_browser.report());
    let keys = |report: &serde_json::Value| {
        let map = report.as_object().expect("a report");
        map.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(http), keys(browsed));
    for phase in ["provision", "login", "after_login"] {
        assert_eq!(browsed["setup"][phase]["count"], 4, "{}", browsed["setup"]);
        assert_eq!(
            browsed["setup"][phase]["errors"],
            http["setup"][phase]["errors"]
        );
    }
    assert_eq!(world.users().await, [""; 0]);
    assert_eq!(left(world.home.path()), [""; 0]);
}

#[tokio::test]
async fn a_run_by_chromium_reports_as_by_http() {
    a_run_reports_as_by_http("chromium").await;
}

#[tokio::test]
async fn a_run_by_firefox_reports_as_by_http() {
    a_run_reports_as_by_http("firefox").await;
}

#[tokio::test]
async fn a_run_by_webkit_reports_as_by_http() {
    a_run_reports_as_by_http("webkit").await;
}

/// Wherever it is killed: the browser's processes end, and its profile goes.
async fn a_kill_leaves_nothing(name: &'static str) {
    let browser = Browser::new(name).await;
    let world = World::new().await;
    let home = world.home.path();
    let mut running = browser.run(&world, "-u 8");
    running
        .until("its browser is up", |_| left(home).len() > 2)
        .await;
    running.signal(Signal::KILL);
    running.ended().await;
    eventually("nothing is left", || left(home).is_empty()).await;
    world.cleanup("").await.with_code(0);
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_chromium() {
    a_kill_leaves_nothing("chromium").await;
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_firefox() {
    a_kill_leaves_nothing("firefox").await;
}

#[tokio::test]
async fn a_kill_leaves_nothing_of_webkit() {
    a_kill_leaves_nothing("webkit").await;
}

#[tokio::test]
async fn a_signal_ends_the_browser_too() {
    let browser = Browser::new("chromium").await;
    let world = World::new().await;
    let home = world.home.path();
    let mut running = browser.run(&world, "-u 20");
    running
        .until("its browser is up", |_| left(home).len() > 2)
        .await;
    running.signal(Signal::INT);
    running.ended().await.with_code(105);
    eventually("nothing is left", || left(home).is_empty()).await;
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_by_a_browser_is_exchanged_for_a_token() {
    let browser = Browser::new("chromium").await;
    let world = World::new().await;
    nextcloud(&world, "kind: token_exchange");
    whole_run_with(&world, &format!(" {}", browser.flags()), 4).await;
    let counts = world.sandbox.journal().counts().counts;
    // Only a browser asks for what no page of the provider's has: its icon.
    let asked = counts
        .iter()
        .any(|count| &*count.route == "(none)" && count.status == 404);
    assert!(asked, "{counts:?}");
    assert_eq!(left(world.home.path()), [""; 0]);
}

#[tokio::test]
async fn twenty_users_log_in_by_one_browser() {
    let browser = Browser::new("chromium").await;
    let world = World::new().await;
    let ended = browser
        .run(&world, "-u 20 --login-concurrency 4")
        .ended()
        .await
        .with_code(0);
    assert_eq!(ended.report()["setup"]["login"]["count"], 20);
    let sandbox = "sandbox doesn't work for root";
    assert!(
        ended.stderr.matches(sandbox).count() <= 1,
        "one browser: {ended}"
    );
    assert_eq!(left(world.home.path()), [""; 0]);
}

/// `throng login` for somebody who is there already.
async fn login(world: &World, browser: &Browser, password: &str, more: &[&str]) -> Ended {
    let flags = browser.flags();
    let mut arguments = vec![
        "login",
        "nextcloud",
        "--url",
        world.sandbox.mcp_url(),
        "--user",
        "admin",
    ];
    arguments.extend(flags.split(' '));
    arguments.extend(more);
    let mut command = world.command(arguments);
    command
        .env("THRONG_USER_PASSWORD", password)
        .env("PATH", path());
    crate::support::Running::start(command, world.home.path())
        .ended()
        .await
}

/// Where helpers such as Xvfb are.
fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").expect("a PATH")
}

#[tokio::test]
async fn a_refused_login_leaves_a_picture_and_no_secret_in_what_is_said() {
    let browser = Browser::new("chromium").await;
    let world = World::new().await;
    let wrong = "Wr0ng-sesame-4711-xyz";
    let ended = login(&world, &browser, wrong, &[]).await.with_code(3);
    assert!(
        ended
            .stdout
            .starts_with("admin is not logged in; tried by chromium"),
        "{ended}"
    );
    assert!(
        ended.stderr.contains("the credentials were refused"),
        "{ended}"
    );
    assert!(ended.stderr.contains("Wrong login or password."), "{ended}");
    let picture = ended
        .stderr
        .split("a screenshot is in ")
        .nth(1)
        .expect("a picture");
    let picture = picture.split([';', '\n', ' ']).next().expect("its path");
    let picture = std::fs::read(picture).expect("the picture");
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(!format!("{ended}").contains(wrong), "{ended}");
}

#[tokio::test]
async fn a_login_is_shown_step_by_step_without_tokens_unless_asked() {
    let browser = Browser::new("chromium").await;
    let world = World::new().await;
    let ended = login(&world, &browser, ADMIN_PASSWORD, &[])
        .await
        .with_code(0);
    assert!(
        ended
            .stdout
            .starts_with("admin is logged in, by chromium\n"),
        "{ended}"
    );
    let pages: Vec<&str> = ["login page", "consent page"]
        .into_iter()
        .filter(|page| ended.stdout.contains(page))
        .collect();
    assert_eq!(pages, ["login page", "consent page"], "{ended}");
    assert!(
        ended.stdout.contains("characters, shown by --show-tokens"),
        "{ended}"
    );
    assert!(
        !ended.stdout.contains("eyJ") && !format!("{ended}").contains(ADMIN_PASSWORD),
        "{ended}"
    );
    let ended = login(&world, &browser, ADMIN_PASSWORD, &["--show-tokens"])
        .await
        .with_code(0);
    assert!(ended.stdout.contains("access token: eyJ"), "{ended}");
    assert_eq!(left(world.home.path()), [""; 0]);
}
