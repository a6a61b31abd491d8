//! Logins by each browser keep their secrets: what passed on the wire is in no output, in no picture's neighbourhood, in no command line.

use std::collections::BTreeSet;
use std::path::Path;

use super::browser_runs::{Browser, left};
use crate::secrets::{Recorded, has, is_rich, keeps_its_secrets, secrets, tapped};
use crate::support::{ADMIN_PASSWORD, Ended, Running, World};

/// The command lines of all processes of a browser whose profile is in this home, and of the program itself.
fn command_lines(home: &Path, into: &mut BTreeSet<Vec<u8>>) {
    let marker = format!("{}/", home.display());
    for process in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        let ours = variables.any(|one| {
            let text = String::from_utf8_lossy(one);
            text.strip_prefix("THRONG_BROWSER=")
                .is_some_and(|at| at.starts_with(&marker))
                || text.strip_prefix("HOME=") == Some(marker.trim_end_matches('/'))
        });
        if ours {
            into.insert(std::fs::read(process.path().join("cmdline")).unwrap_or_default());
        }
    }
}

/// Waits for the end, and watches meanwhile.
async fn watched(mut running: Running, home: &Path) -> (Ended, BTreeSet<Vec<u8>>) {
    let mut lines = BTreeSet::new();
    while !running.has_ended() {
        command_lines(home, &mut lines);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    (running.ended().await, lines)
}

/// `throng login` for the administrator, with all the log there is.
fn login(world: &World, browser: &Browser, password: &str) -> Running {
    let flags = browser.flags();
    let arguments = ["login", "nextcloud", "--user", "admin", "-vvv", "--url"];
    let arguments = arguments
        .into_iter()
        .chain([world.sandbox.mcp_url()])
        .chain(flags.split(' '));
    let mut command = world.command(arguments);
    command
        .env("THRONG_USER_PASSWORD", password)
        .env("PATH", std::env::var_os("PATH").expect("a PATH"));
    Running::start(command, world.home.path())
}

/// Nothing is in any output or command line, and nothing is left.
#[track_caller]
fn nothing_is_told(
    world: &World,
    (ended, lines): &(Ended, BTreeSet<Vec<u8>>),
    recorded: &Recorded,
) {
    let seen = secrets(recorded);
    keeps_its_secrets(world.home.path(), ended, &seen);
    let all = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line).into_owned());
    let all: Vec<String> = all.collect();
    // The browser's own, and those that it starts for its pages.
    assert!(all.len() > 3, "{all:?}");
    for line in &all {
        for secret in seen.values().flatten() {
            assert!(!line.contains(&**secret), "a secret is in {line:?}");
        }
        assert!(!line.contains(ADMIN_PASSWORD), "{line:?}");
    }
    assert_eq!(left(world.home.path()), [""; 0]);
}

async fn keeps_secrets(name: &'static str) {
    let browser = Browser::new(name).await;
    let (world, _taps, recorded) = tapped(|config| config.knobs.token_lifetime_s = 2).await;
    let home = world.home.path();

    let flags = format!("-u 2 -d 2.5 -w 0 -vvv {}", browser.flags());
    let ran = watched(world.run_with_path(&flags), home).await;
    assert_eq!(ran.0.code, Some(0), "{}", ran.0);
    is_rich(&secrets(&recorded), 2);
    nothing_is_told(&world, &ran, &recorded);

    let good = watched(login(&world, &browser, ADMIN_PASSWORD), home).await;
    assert_eq!(good.0.code, Some(0), "{}", good.0);
    nothing_is_told(&world, &good, &recorded);

    // The page comes back with what was typed in it, and a picture is taken.
    let wrong = "Wr0ng-sesame-of-4711-xyz";
    let refused = watched(login(&world, &browser, wrong), home).await;
    assert_eq!(refused.0.code, Some(3), "{}", refused.0);
    assert!(
        refused.0.stderr.contains("a screenshot is in "),
        "{}",
        refused.0
    );
    let passwords = &secrets(&recorded)["password"];
    assert!(passwords.iter().any(|password| password == wrong));
    nothing_is_told(&world, &refused, &recorded);

    // The directory for temporary files is this one, too.
    let entries = std::fs::read_dir(home).expect("the home").flatten();
    let entries: BTreeSet<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // Where pictures of failed logins go.
        .filter(|name| !name.starts_with("throng-report_"))
        .collect();
    let wanted = ["report.json", "state", "stderr.txt", "stdout.txt"];
    assert_eq!(entries, wanted.map(str::to_owned).into());
    has(&secrets(&recorded), &[("code", 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_by_chromium_keep_their_secrets() {
    keeps_secrets("chromium").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_by_firefox_keep_their_secrets() {
    keeps_secrets("firefox").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_by_webkit_keep_their_secrets() {
    keeps_secrets("webkit").await;
}
