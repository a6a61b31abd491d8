//! The one browser of a run: started when the first login needs it, shared by all users, each in a tab of his own.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use throng_browser::{
    Browser, BrowserError, Engine, FindError, Installed, Options, Search, Tab, Trust,
};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use url::Url;

use super::listener::{self, Listener};
use crate::login::error::Problem;
use crate::redact;

/// CSS selectors of what else is found by what it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    /// The field for the user's name.
    pub user: Option<String>,
    /// The field for the password.
    pub password: Option<String>,
    /// The button that sends them.
    pub submit: Option<String>,
    /// The button that consents.
    pub consent: Option<String>,
}

impl Selectors {
    /// Each by its key in the scenario.
    pub(super) fn by_key(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("user", self.user.as_deref()),
            ("password", self.password.as_deref()),
            ("submit", self.submit.as_deref()),
            ("consent", self.consent.as_deref()),
        ]
    }
}

/// Says something to whoever watches the run.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How a browser is found, started and used.
#[derive(Clone)]
pub struct PilotOptions {
    /// Which; none for any that is on the machine.
    pub engine: Option<Engine>,
    /// Where it is, if not in one of `search`'s directories.
    pub path: Option<PathBuf>,
    /// Shows itself.
    pub headed: bool,
    /// There is a display.
    pub display: bool,
    /// Where programs are looked for.
    pub search: Search,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Where its profile goes.
    pub temporary: PathBuf,
    /// Where pictures of failed logins go; made when there is one.
    pub pictures: PathBuf,
    /// Users in it at once, at least 1.
    pub parallel: usize,
    /// Time for starting, and for each of its commands.
    pub timeout: Duration,
    /// What the scenario says of its pages.
    pub selectors: Selectors,
    /// Where notices go.
    pub tell: Tell,
}

/// Users in a browser at once where nobody says: more take longer each, and no less together.
pub const DEFAULT_PARALLEL: usize = 3;

impl PilotOptions {
    /// Any browser of these directories, unseen.
    pub fn new(search: Search, temporary: PathBuf, pictures: PathBuf, tell: Tell) -> Self {
        Self {
            engine: None,
            path: None,
            headed: false,
            display: false,
            search,
            trust: Trust::Usual,
            temporary,
            pictures,
            parallel: DEFAULT_PARALLEL,
            timeout: Duration::from_secs(30),
            selectors: Selectors::default(),
            tell,
        }
    }
}

/// Drives a run's logins through one browser. It ends when this is dropped; [`Pilot::rest`] waits for that.
pub struct Pilot {
    pub(super) options: PilotOptions,
    installed: OnceLock<Result<Installed, FindError>>,
    browser: Mutex<Option<Arc<Browser>>>,
    permits: Semaphore,
    listener: Mutex<Option<(Url, Arc<Listener>)>>,
    /// A login has found that HTTP won't do.
    fallen: AtomicBool,
    told: AtomicBool,
}

impl fmt::Debug for Pilot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pilot")
            .field("engine", &self.options.engine)
            .finish_non_exhaustive()
    }
}

/// How a response comes back from a browser.
#[derive(Debug)]
pub(super) enum WayBack {
    /// It is listened for.
    Listener(Arc<Listener>),
    /// Requests to this address are kept from being sent.
    Intercept(String),
}

impl Pilot {
    /// Looks for nothing and starts nothing yet.
    pub fn new(options: PilotOptions) -> Self {
        Self {
            permits: Semaphore::new(options.parallel.max(1)),
            options,
            installed: OnceLock::new(),
            browser: Mutex::new(None),
            listener: Mutex::new(None),
            fallen: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }
    }

    /// The browser that will be started.
    ///
    /// # Errors
    /// There is none.
    pub fn installed(&self) -> Result<&Installed, FindError> {
        let options = &self.options;
        let found = self.installed.get_or_init(|| {
            throng_browser::find(options.engine, options.path.as_deref(), &options.search)
        });
        found.as_ref().map_err(Clone::clone)
    }

    /// Users in it at once.
    pub fn parallel(&self) -> usize {
        self.options.parallel.max(1)
    }

    /// Whether a login has found that HTTP won't do.
    pub fn has_fallen_back(&self) -> bool {
        self.fallen.load(Ordering::Acquire)
    }

    /// From here on all log in by the browser; says so once.
    pub(in crate::login) fn fall_back(&self, engine: Engine, why: &Problem) {
        self.fallen.store(true, Ordering::Release);
        if !self.told.swap(true, Ordering::AcqRel) {
            self.say(&format!(
                "fell back to {engine} for logins: by plain HTTP, {}",
                why.without_advice()
            ));
        }
    }

    pub(super) fn say(&self, text: &str) {
        (self.options.tell)(text);
    }

    /// A place in the browser, and how long it was waited for. Who waits for it has not begun.
    pub(super) async fn place(&self) -> Result<(SemaphorePermit<'_>, Duration), Problem> {
        if let Ok(place) = self.permits.try_acquire() {
            return Ok((place, Duration::ZERO));
        }
        let begun = Instant::now();
        // Never closed.
        let place = self.permits.acquire().await;
        let place = place.map_err(|closed| Problem::Browser(closed.to_string()))?;
        Ok((place, begun.elapsed()))
    }

    /// The browser, started if there is none that runs.
    pub(super) async fn browser(&self) -> Result<Arc<Browser>, Problem> {
        let mut browser = self.browser.lock().await;
        if let Some(running) = browser.as_ref().filter(|browser| browser.is_alive()) {
            return Ok(running.clone());
        }
        let installed = self
            .installed()
            .map_err(|error| Problem::Browser(error.to_string()))?;
        let options = Options {
            headed: self.options.headed,
            display: self.options.display,
            trust: self.options.trust.clone(),
            search: self.options.search.clone(),
            temporary: self.options.temporary.clone(),
            timeout: self.options.timeout,
        };
        let started = Browser::launch(installed, &options)
            .await
            .map_err(|error| problem(&error))?;
        for notice in started.notices() {
            self.say(notice);
        }
        let started = Arc::new(started);
        *browser = Some(started.clone());
        Ok(started)
    }

    /// Ends the browser until it is needed again.
    pub async fn rest(&self) {
        let browser = self.browser.lock().await.take();
        // A login given up a moment ago still holds it, and ends it with itself.
        if let Some(Ok(browser)) = browser.map(Arc::try_unwrap) {
            browser.close().await;
        }
    }

    /// A redirect URI on this machine, at a port that is free and listened at from now on.
    ///
    /// # Errors
    /// Nothing can be listened at.
    pub async fn redirect_uri(&self, usual: &Url) -> std::io::Result<Url> {
        let listener = Listener::bind(usual, 0).await?;
        let mut uri = usual.clone();
        uri.set_port(Some(listener.port()))
            .map_err(|()| std::io::Error::other("a redirect URI without a port"))?;
        *self.listener.lock().await = Some((uri.clone(), Arc::new(listener)));
        Ok(uri)
    }

    /// How the response gets from the redirect URI to us.
    pub(super) async fn way_back(&self, uri: &Url) -> Result<WayBack, Problem> {
        if !listener::is_loopback(uri) {
            if !matches!(uri.scheme(), "http" | "https") {
                return Err(Problem::Browser(format!(
                    "a browser can't be stopped from handing {}: addresses to the program that is registered for them: log in by HTTP, or with a redirect URI of http or https",
                    uri.scheme()
                )));
            }
            let mut address = uri.clone();
            address.set_query(None);
            address.set_fragment(None);
            return Ok(WayBack::Intercept(address.into()));
        }
        let mut listener = self.listener.lock().await;
        if let Some((of, listener)) = listener.as_ref().filter(|(of, _)| of == uri) {
            tracing::trace!(%of, "listened at already");
            return Ok(WayBack::Listener(listener.clone()));
        }
        let port = uri.port_or_known_default().unwrap_or(80);
        let bound = Listener::bind(uri, port).await.map_err(|error| {
            Problem::Browser(format!(
                "browsers come back to {}, where nothing can be listened at: {error}; is another throng running, or whatever else has port {port}?",
                redact::url(uri)
            ))
        })?;
        let bound = Arc::new(bound);
        *listener = Some((uri.clone(), bound.clone()));
        Ok(WayBack::Listener(bound))
    }

    /// Takes a picture of a failed login. What goes wrong with that is told and is no failure of its own.
    pub(super) async fn picture(&self, tab: &Tab, user: &str, secrets: &[&str]) -> Option<PathBuf> {
        match self.try_picture(tab, user, secrets).await {
            Ok(path) => Some(path),
            Err(reason) => {
                tracing::warn!(user, %reason, "there is no picture of the failed login");
                None
            }
        }
    }

    async fn try_picture(
        &self,
        tab: &Tab,
        user: &str,
        secrets: &[&str],
    ) -> Result<PathBuf, String> {
        let picture = tab
            .picture(secrets)
            .await
            .map_err(|error| redact::text(&error.to_string(), &[]))?;
        let directory = &self.options.pictures;
        let path = directory.join(file_name(user));
        let written = async {
            tokio::fs::create_dir_all(directory).await?;
            tokio::fs::write(&path, picture).await
        };
        written
            .await
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

/// What a browser's error is to a login.
pub(super) fn problem(error: &BrowserError) -> Problem {
    // Those that repeat what a page said may have anything in them; the others are whole sentences of help.
    Problem::Browser(match error {
        BrowserError::Refused { .. } | BrowserError::Script(_) => {
            redact::text(&error.to_string(), &[])
        }
        _ => error.to_string(),
    })
}

fn file_name(user: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.@".contains(c) {
            c
        } else {
            '_'
        }
    };
    format!("login-{}.png", user.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stay_in_their_directory() {
        assert_eq!(file_name("loadtest_user_1"), "login-loadtest_user_1.png");
        assert_eq!(file_name("../../etc/x y"), "login-.._.._etc_x_y.png");
    }
}
