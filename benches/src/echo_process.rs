//! The echo server as seen from outside: a process on the servers' core, asked over HTTP for what it saw.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Child, SERVER};
use crate::target_process::http;
use crate::window::Target;

/// The running server.
pub(crate) struct Echo {
    child: Child,
    /// Its origin.
    pub(crate) url: String,
}

impl Echo {
    /// Start it; its log goes into `output`.
    pub(crate) fn start(output: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
        let mut child = Child::start(command.arg("echo"), SERVER, &output.join("echo.log"))?;
        let url = child.first_line(Duration::from_secs(30))?;
        Ok(Self { child, url })
    }
}

impl Target for Echo {
    fn calls(&self) -> Result<u64> {
        http(self.url.trim_start_matches("http://"), "GET", "/calls")?
            .parse()
            .context("the server's count of calls")
    }

    fn cpu(&self) -> Result<Duration> {
        self.child.cpu()
    }
}
