//! What logins by each browser are told besides which it is: what is what on a page that can't be read by meaning, whose
//! certificates to believe, and on which display to show itself.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::browser_runs::{Browser, left};
use super::front::{Authority, Front};
use super::x11::Display;
use crate::failed_logins::provider::{Config, PASSWORD, Pages, Provider, USER};
use crate::support::{Ended, Running, home, throng};

/// Runs a test for each browser.
macro_rules! each {
    ($($name:ident),* $(,)?) => {
        mod chromium { $(#[tokio::test] async fn $name() { super::$name("chromium").await; })* }
        mod firefox { $(#[tokio::test] async fn $name() { super::$name("firefox").await; })* }
        mod webkit { $(#[tokio::test] async fn $name() { super::$name("webkit").await; })* }
    };
}

each!(
    selectors_lead_through_pages_that_mean_nothing,
    an_authority_is_believed_where_it_is_given,
    a_headed_browser_is_seen,
);

/// A provider, and a user's home with a scenario whose user logs in there.
struct Site {
    provider: Provider,
    home: TempDir,
}

impl Site {
    async fn new(config: Config) -> Self {
        Self {
            provider: Provider::start(config).await,
            home: home(),
        }
    }

    /// With its pages behind another address than its own.
    async fn behind(front: &Front) -> Self {
        let url = format!("{}/authorize", front.origin);
        Self::new(Config {
            metadata: json!({ "authorization_endpoint": url }),
            ..Config::default()
        })
        .await
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    /// `throng login` by a scenario with these further keys of `target` and `login`.
    fn start(
        &self,
        (target, login): (&str, &str),
        flags: &str,
        variables: &[(&str, &str)],
    ) -> Running {
        // A home of its own, since several are started at once.
        let home = tempfile::tempdir_in(self.path())
            .expect("a directory")
            .keep();
        let scenario = format!(
            "name: odd\ntarget: {{ protocol: mcp, url: \"{}\"{target} }}\nlogin: {{ kind: oauth{login} }}\nusers: {{ from: users.csv }}\nworkflows:\n  look:\n    actors: [me]\n    steps:\n      - search: {{ call: nc_notes_search_notes, with: {{ query: x }} }}\n",
            self.provider.mcp_url()
        );
        std::fs::write(home.join("odd.yaml"), scenario).expect("a file");
        let users = format!("name,password\n{USER},{PASSWORD}\n");
        std::fs::write(home.join("users.csv"), users).expect("a file");
        let arguments = ["login", "odd.yaml", "--user", USER];
        let mut command = throng(&home, arguments.into_iter().chain(flags.split_whitespace()));
        command
            .env("THRONG_USER_PASSWORD", PASSWORD)
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("TMPDIR", self.path())
            .envs(variables.iter().copied());
        Running::start(command, &home)
    }

    async fn log_in(&self, settings: (&str, &str), flags: &str) -> Ended {
        self.start(settings, flags, &[]).ended().await
    }
}

#[track_caller]
fn is_in(ended: &Ended, name: &str) {
    let begin = format!("{USER} is logged in, by {name}\n");
    assert!(ended.stdout.starts_with(&begin), "{ended}");
}

#[track_caller]
fn says(ended: &Ended, words: &str) {
    assert!(
        ended.code == Some(3) && ended.stderr.contains(words),
        "{ended}"
    );
}

async fn selectors_lead_through_pages_that_mean_nothing(name: &'static str) {
    let browser = Browser::new(name).await;
    let flags = browser.flags();
    let site = Site::new(Config {
        pages: Pages::Unreadable,
        ..Config::default()
    })
    .await;
    let selectors = |user: &str, password: &str, submit: &str, consent: &str| {
        format!(
            ", selectors: {{ user: \"{user}\", password: \"{password}\", submit: \"{submit}\", consent: \"{consent}\" }}"
        )
    };
    let (one, two, go, yes) = ("#one input", "#two > input", "div.go", ".yes");
    let log_in = async |login: String| site.log_in(("", &login), &flags).await;
    let ended = log_in(selectors(one, two, go, yes)).await;
    is_in(&ended.with_code(0), name);

    // The others wait for what will not come, which costs nothing.
    let (bad, no_user) = tokio::join!(
        log_in(selectors("input[", two, go, yes)),
        log_in(selectors("#nobody", two, go, yes)),
    );
    says(&bad, "`login.selectors.user` is no CSS selector: `input[`");
    let missing = |key: &str, selector: &str| {
        format!(
            "expected `{selector}`, which `login.selectors.{key}` names, on the page; nothing that can be seen there matches it"
        )
    };
    says(&no_user, &missing("user", "#nobody"));
    // What is decided on this side of the browser is the same for each.
    if name == "chromium" {
        let (no_password, no_submit, no_consent, bare) = tokio::join!(
            log_in(selectors(one, "#nothing", go, yes)),
            log_in(selectors(one, two, "button.go", yes)),
            log_in(selectors(one, two, go, "#never")),
            log_in(String::new()),
        );
        says(&no_password, &missing("password", "#nothing"));
        says(&no_submit, &missing("submit", "button.go"));
        says(&no_consent, &missing("consent", "#never"));
        says(&bare, "say with `login.selectors` what is what on the page");
    }
    assert_eq!(left(site.path()), [""; 0]);
}

async fn an_authority_is_believed_where_it_is_given(name: &'static str) {
    let browser = Browser::new(name).await;
    let flags = browser.flags();
    let authority = Authority::new();
    let front = Front::start(Some(&authority)).await;
    let site = Site::behind(&front).await;
    front.open(site.provider.base());
    let file = authority.write(site.path()).display().to_string();

    let by_flag = format!("{flags} --cacert {file}");
    is_in(&site.log_in(("", ""), &by_flag).await.with_code(0), name);
    if name == "chromium" {
        let by_file = format!(", tls: {{ ca: \"{file}\" }}");
        is_in(
            &site.log_in((&by_file, ""), &flags).await.with_code(0),
            name,
        );
    }
    says(
        &site.log_in(("", ""), &flags).await,
        "expected a certificate that is trusted",
    );
    // Without what tells it of the authority.
    let helper = match name {
        "webkit" => ("bwrap", "bubblewrap"),
        _ => ("certutil", "libnss3-tools"),
    };
    let path = without(helper.0, site.path());
    let path = [("PATH", path.to_str().expect("a UTF-8 path"))];
    let ended = site.start(("", ""), &by_flag, &path).ended().await;
    says(&ended, &format!("Debian's package {}", helper.1));
    assert_eq!(left(site.path()), [""; 0]);
}

/// A directory with links to all programs of `PATH` but one.
fn without(program: &str, below: &Path) -> PathBuf {
    let directory = below.join("programs");
    std::fs::create_dir(&directory).expect("a directory");
    let path = std::env::var_os("PATH").expect("a PATH");
    for place in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_name() != program {
                // The first of a name is the one that would be found.
                let _ = std::os::unix::fs::symlink(entry.path(), directory.join(entry.file_name()));
            }
        }
    }
    directory
}

async fn a_headed_browser_is_seen(name: &'static str) {
    let browser = Browser::new(name).await;
    let flags = format!("{} --headed", browser.flags());
    let front = Front::start(None).await;
    let site = Site::behind(&front).await;
    let display = Display::start().await;
    assert!(display.windows().is_empty(), "{:?}", display.windows());

    let mut running = site.start(("", ""), &flags, &[("DISPLAY", &display.name)]);
    let class = match name {
        "webkit" => "minibrowser",
        name => name,
    };
    // The page doesn't come before that.
    running
        .until("a window is to be seen", |_| {
            let windows = display.windows();
            windows.iter().any(|window| {
                let program = window.class.to_ascii_lowercase();
                program.contains(class) && window.width > 400 && window.height > 300
            })
        })
        .await;
    front.open(site.provider.base());
    is_in(&running.ended().await.with_code(0), name);
    assert!(display.windows().is_empty(), "{:?}", display.windows());

    let ended = site.log_in(("", ""), &flags).await;
    assert_eq!(ended.code, Some(2), "{ended}");
    assert!(ended.stderr.contains("xvfb-run"), "{ended}");
    assert!(ended.stderr.contains("Xvfb"), "{ended}");
    assert_eq!(left(site.path()), [""; 0]);
}
