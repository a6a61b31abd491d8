//! The browsers under test, one at a time, and pages for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use throng_browser::{Browser, Engine, Installed, Options, Search, Tab, TabOptions, Trust, find};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};

/// Three browsers at once are too much for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The browser that the set-up installed.
pub(crate) fn installed(engine: Engine) -> Installed {
    let variable = match engine {
        Engine::Chromium => "THRONG_TEST_CHROMIUM",
        Engine::Firefox => "THRONG_TEST_FIREFOX",
        Engine::Webkit => "THRONG_TEST_WEBKIT",
    };
    let path = std::env::var_os(variable).map(PathBuf::from);
    find(Some(engine), path.as_deref(), &search())
        .unwrap_or_else(|error| panic!("{error}; `cargo xtask setup` installs it ({variable})"))
}

pub(crate) fn search() -> Search {
    Search::path(std::env::var_os("PATH").as_ref())
}

pub(crate) fn options(trust: Trust) -> Options {
    Options {
        headed: false,
        display: false,
        trust,
        search: search(),
        temporary: std::env::temp_dir(),
        timeout: LIMIT,
    }
}

/// A browser, and the right to be the only one.
pub(crate) struct Running {
    pub(crate) browser: Browser,
    _turn: MutexGuard<'static, ()>,
}

impl Running {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::with(engine, &options(Trust::Usual)).await
    }

    pub(crate) async fn with(engine: Engine, options: &Options) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let browser = Browser::launch(&installed(engine), options).await;
        Self {
            browser: browser.expect("the browser starts"),
            _turn: turn,
        }
    }

    pub(crate) async fn tab(&self) -> Tab {
        self.browser
            .tab(&TabOptions::default())
            .await
            .expect("a tab")
    }

    /// Ends the browser; nothing of it may be left.
    pub(crate) async fn end(self) {
        let directory = self.browser.directory().to_owned();
        self.browser.close().await;
        assert!(!directory.exists(), "{} is left", directory.display());
        assert_eq!(processes(&directory), Vec::<String>::new());
    }
}

/// The environments of the processes of the browser whose profile is there.
pub(crate) fn environments(directory: &Path) -> Vec<Vec<u8>> {
    let marker = format!("{}={}", throng_browser::MARKER, directory.display());
    let entries = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok);
    let environments = entries.map(|entry| std::fs::read(entry.path().join("environ")));
    let marked = |environment: &Vec<u8>| has_variable(environment, marker.as_bytes());
    environments.filter_map(Result::ok).filter(marked).collect()
}

/// Whether a variable in an environment begins so.
pub(crate) fn has_variable(environment: &[u8], begin: &[u8]) -> bool {
    environment
        .split(|byte| *byte == 0)
        .any(|one| one.starts_with(begin))
}

/// The processes that were started with this directory as their profile's.
pub(crate) fn processes(directory: &Path) -> Vec<String> {
    let marker = format!("{}={}", throng_browser::MARKER, directory.display());
    let entries = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok);
    let marked = entries.filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|one| one == marker.as_bytes())
    });
    let names = marked.map(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).replace('\0', " ")
    });
    // One that has ended since has neither.
    names.filter(|name| !name.is_empty()).collect()
}

/// The process groups of those: a process of Chromium may write over its environment, but not leave its group.
pub(crate) fn groups(directory: &Path) -> Vec<String> {
    let marker = format!("{}={}", throng_browser::MARKER, directory.display());
    let mut groups: Vec<String> = stats()
        .filter(|(path, _)| {
            let environment = std::fs::read(path.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|one| one == marker.as_bytes())
        })
        .map(|(_, group)| group)
        .collect();
    groups.sort();
    groups.dedup();
    groups
}

/// Whether a process is still in one of these groups.
pub(crate) fn any_in(groups: &[String]) -> bool {
    stats().any(|(_, group)| groups.contains(&group))
}

/// All processes that run, with their groups.
fn stats() -> impl Iterator<Item = (PathBuf, String)> {
    let entries = std::fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(Result::ok);
    entries.filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // `PID (NAME) STATE PARENT GROUP ...`; a name may have anything in it.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?;
        let group = rest.nth(1)?.to_owned();
        (state != "Z").then(|| (entry.path(), group))
    })
}

/// Serves pages; the address has no slash at its end.
pub(crate) async fn serve(pages: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, pages).await });
    format!("http://{address}")
}

/// Evaluates until the page gives something other than null or false.
pub(crate) async fn until(tab: &mut Tab, expression: &str) -> serde_json::Value {
    let look = async {
        loop {
            match tab.evaluate(expression).await {
                Ok(serde_json::Value::Null | serde_json::Value::Bool(false)) => {}
                Ok(value) => return value,
                Err(error) if error.is_page_change() => {}
                Err(error) => panic!("{expression}: {error}"),
            }
            tab.changed(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, look)
        .await
        .unwrap_or_else(|_| panic!("{expression}: never"))
}
