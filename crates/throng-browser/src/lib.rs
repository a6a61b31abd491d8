//! Real browsers for logins: found on the machine, started, driven, and gone without a trace afterwards.
//!
//! One [`Browser`] is one process tree; each [`Tab`] of it has cookies and storage of its own, which go when it is closed. Chromium
//! is driven by the Chrome DevTools Protocol over pipes, Firefox by WebDriver BiDi over a websocket, WebKit by W3C WebDriver.
//! What a page means is none of this crate's business: it opens addresses, evaluates scripts, takes pictures and tells what
//! was requested. It knows nobody of ours, and reads no environment: where to look and which display to use is told to it.

mod authority;
mod chromium;
mod display;
mod error;
mod find;
mod firefox;
mod link;
mod process;
mod running;
mod tab;
mod watch;
mod webkit;

use std::path::PathBuf;
use std::time::Duration;

pub use error::BrowserError;
pub use find::{Engine, FindError, Installed, Search, find};
pub use process::MARKER;
pub use tab::{Cookie, Tab};
pub use watch::{Intercepted, LoadFailure, Visit};

use chromium::Chromium;
use firefox::Firefox;
use webkit::Webkit;

/// Whose certificates a browser believes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that it believes by itself.
    #[default]
    Usual,
    /// These authorities too (PEM files).
    And(Vec<PathBuf>),
    /// Anybody's.
    Anything,
}

/// How a browser is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shows itself on the display.
    pub headed: bool,
    /// There is a display (`DISPLAY` or `WAYLAND_DISPLAY` is set). Without one WebKit gets an Xvfb of its own.
    pub display: bool,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The directories in which helpers are looked for (Xvfb, certutil), as `PATH` has them.
    pub search: Search,
    /// Where the profile is made, in a directory of its own.
    pub temporary: PathBuf,
    /// Time for starting, and for each command.
    pub timeout: Duration,
}

/// How a tab is opened.
#[derive(Debug, Clone, Default)]
pub struct TabOptions {
    /// Requests to addresses that begin like this (without query) are not sent but kept: [`Tab::intercepted`].
    pub intercept: Option<String>,
}

/// A running browser. Dropping it ends its processes and removes its profile; [`Browser::close`] waits for that.
#[derive(Debug)]
pub struct Browser {
    kind: Kind,
    notices: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Chromium(Chromium),
    Firefox(Firefox),
    Webkit(Webkit),
}

impl Browser {
    /// Starts what was found.
    ///
    /// # Errors
    /// What was started, why it can't be used, and its last words.
    pub async fn launch(installed: &Installed, options: &Options) -> Result<Self, BrowserError> {
        if options.headed && !options.display {
            return Err(BrowserError::NoDisplay);
        }
        let mut notices = Vec::new();
        let kind = match installed.engine {
            Engine::Chromium => {
                if is_root() {
                    notices.push(
                        "chromium runs without its sandbox, since its sandbox doesn't work for root"
                            .to_owned(),
                    );
                }
                Kind::Chromium(Chromium::launch(installed, options).await?)
            }
            Engine::Firefox => Kind::Firefox(Firefox::launch(installed, options).await?),
            Engine::Webkit => Kind::Webkit(Webkit::launch(installed, options).await?),
        };
        Ok(Self { kind, notices })
    }

    /// Which.
    pub fn engine(&self) -> Engine {
        match self.kind {
            Kind::Chromium(_) => Engine::Chromium,
            Kind::Firefox(_) => Engine::Firefox,
            Kind::Webkit(_) => Engine::Webkit,
        }
    }

    /// What a user ought to know of how it was started.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The directory that has all that it writes; the processes have it as [`MARKER`] in their environment.
    pub fn directory(&self) -> &std::path::Path {
        match &self.kind {
            Kind::Chromium(chromium) => chromium.running().directory(),
            Kind::Firefox(firefox) => firefox.running().directory(),
            Kind::Webkit(webkit) => webkit.directory(),
        }
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        match &self.kind {
            Kind::Chromium(chromium) => chromium.running().is_alive(),
            Kind::Firefox(firefox) => firefox.running().is_alive(),
            Kind::Webkit(webkit) => webkit.is_alive(),
        }
    }

    /// Opens an empty tab whose cookies and storage nobody else has.
    ///
    /// # Errors
    /// The browser's, or that it has gone.
    pub async fn tab(&self, wanted: &TabOptions) -> Result<Tab, BrowserError> {
        Ok(Tab::new(match &self.kind {
            Kind::Chromium(chromium) => tab::Kind::Chromium(chromium.tab(wanted).await?),
            Kind::Firefox(firefox) => tab::Kind::Firefox(firefox.tab(wanted).await?),
            Kind::Webkit(webkit) => tab::Kind::Webkit(Box::new(webkit.tab(wanted).await?)),
        }))
    }

    /// Ends it, and waits until its processes and its profile are gone.
    pub async fn close(self) {
        match self.kind {
            Kind::Chromium(chromium) => chromium.close().await,
            Kind::Firefox(firefox) => firefox.close().await,
            Kind::Webkit(webkit) => webkit.close().await,
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
