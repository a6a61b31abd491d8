//! What goes wrong with browsers, with what was started and how to mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a browser can't be used. Has no secrets: what a browser wrote is shortened where it looks like one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BrowserError {
    /// `--headed` without a display.
    #[error(
        "there is no display to show a browser on (DISPLAY and WAYLAND_DISPLAY are not set): leave --headed out, or run throng under Xvfb: `xvfb-run throng ...` (Debian's package xvfb)"
    )]
    NoDisplay,
    /// WebKit shows itself always, if only to a display that nobody sees.
    #[error(
        "webkit needs a display, and there is neither one nor Xvfb: install it (Debian's package xvfb)"
    )]
    NoXvfb,
    /// A program could not be started.
    #[error("starting {program}: {reason}")]
    Start {
        /// Which.
        program: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The directory for the profile could not be made.
    #[error("making a directory for the browser's profile in {directory}: {reason}")]
    Profile {
        /// Where.
        directory: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A program ended while it was needed.
    #[error("{program} ended{}", last_words(.said))]
    Ended {
        /// Which.
        program: PathBuf,
        /// The last that it wrote to standard error.
        said: String,
    },
    /// A program didn't come up in time.
    #[error("{program} was started, but was not ready within {waited:?}{}", last_words(.said))]
    NotReady {
        /// Which.
        program: PathBuf,
        /// How long was waited.
        waited: Duration,
        /// The last that it wrote to standard error.
        said: String,
    },
    /// A command was refused.
    #[error("the browser refused {command}: {reason}")]
    Refused {
        /// The protocol's name for it.
        command: String,
        /// The browser's words.
        reason: String,
    },
    /// A command was not answered.
    #[error("the browser did not answer {command} within {waited:?}")]
    Silent {
        /// The protocol's name for it.
        command: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A script threw.
    #[error("a script failed in the page: {0}")]
    Script(String),
    /// The tab crashed.
    #[error("the page's process crashed")]
    Crashed,
    /// An authority can't be made known to this browser.
    #[error("{0}")]
    Authority(String),
    /// What the engine can't do.
    #[error("{0}")]
    Unable(String),
}

impl BrowserError {
    pub(crate) fn start(program: &std::path::Path, error: &io::Error) -> Self {
        Self::Start {
            program: program.to_owned(),
            reason: error.to_string(),
        }
    }

    /// The page went away while it was looked at, because another one came.
    pub fn is_page_change(&self) -> bool {
        match self {
            Self::Refused { reason, .. } | Self::Script(reason) => {
                let reason = reason.to_ascii_lowercase();
                [
                    "context was destroyed",
                    "cannot find context",
                    "cannot find default execution context",
                    "execution contexts cleared",
                    "navigated or closed",
                    "no such frame",
                    "discarded",
                    "aborted",
                    "not available",
                    "actor",
                    "no such execution context",
                ]
                .iter()
                .any(|known| reason.contains(known))
            }
            _ => false,
        }
    }
}

fn last_words(said: &str) -> String {
    if said.is_empty() {
        return " without a word".to_owned();
    }
    format!("; its last words: {said}")
}
