//! A browser that runs and is driven over one connection: both, until it is closed. Chromium's and Firefox's; WebKit has a driver
//! per tab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::error::BrowserError;
use crate::link::Link;
use crate::process::{Keeper, Process};

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) link: Link,
    /// Time for each command.
    pub(crate) timeout: Duration,
    directory: PathBuf,
    keeper: Keeper,
    process: Process,
    /// What carries messages to and fro.
    _tasks: JoinSet<()>,
}

impl Running {
    /// Takes over what was started, or ends it if it could not be connected to.
    pub(crate) async fn new(
        mut keeper: Keeper,
        process: Process,
        connected: Result<(Link, JoinSet<()>), BrowserError>,
        timeout: Duration,
    ) -> Result<Self, BrowserError> {
        match connected {
            Ok((link, tasks)) => Ok(Self {
                link,
                timeout,
                directory: keeper.directory().to_owned(),
                keeper,
                process,
                _tasks: tasks,
            }),
            Err(error) => {
                keeper.end(process, Duration::ZERO).await;
                keeper.finish().await;
                Err(error)
            }
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.link.is_closed()
    }

    /// Asks it to end by this command; who has no patience left ends it.
    pub(crate) async fn close(mut self, command: &str, patience: Duration) {
        self.link.post(None, command, &json!({}));
        self.keeper.end(self.process, patience).await;
        self.keeper.finish().await;
    }
}

/// A tab that was prepared, or, with the error, none.
pub(crate) async fn or_closed<T>(
    tab: T,
    prepared: Result<(), BrowserError>,
    close: impl AsyncFnOnce(T) -> Result<(), BrowserError>,
) -> Result<T, BrowserError> {
    let Err(error) = prepared else {
        return Ok(tab);
    };
    if let Err(error) = close(tab).await {
        tracing::debug!(%error, "closing a tab that could not be opened");
    }
    Err(error)
}
