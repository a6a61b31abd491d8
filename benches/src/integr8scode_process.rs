//! The sandbox of Integr8sCode as seen from outside: a process on the servers' core, asked over TLS for what it saw.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::body::Bytes;
use serde_json::Value;
use throng_client::{Client, Connector, ConnectorOptions, Trust};
use url::Url;

use crate::child::{Child, SERVER};
use crate::clients::Programs;
use crate::window::Target;

/// How long it may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running sandbox.
pub(crate) struct Integr8scode {
    child: Child,
    /// Its origin.
    pub(crate) url: String,
    counts: Url,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Integr8scode {
    /// Start it, with further arguments of `throng sandbox integr8scode`.
    pub(crate) fn start(programs: &Programs, more: &[&str]) -> Result<Self> {
        let mut command = programs.throng(&["sandbox", "integr8scode", "--port", "0", "--json"]);
        let log = programs.output.join("integr8scode.log");
        let mut child = Child::start(command.args(more), SERVER, &log)?;
        let ready: Value = serde_json::from_str(&child.first_line(PATIENCE)?)
            .context("the sandbox's first line")?;
        let url = ready["url"].as_str().context("no url")?.to_owned();
        let connector = Connector::new(ConnectorOptions {
            trust: Trust::Anything,
            ..ConnectorOptions::default()
        })
        .context("no connector")?;
        Ok(Self {
            child,
            counts: format!("{url}/__sandbox/journal/counts").parse()?,
            url,
            client: Client::new(&connector),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("no runtime")?,
        })
    }
}

impl Integr8scode {
    /// Requests that have reached it so far, but for those of this program.
    pub(crate) fn requests(&self) -> Result<u64> {
        let counts = self.counts()?;
        let theirs = |count: &&Value| {
            !count["route"]
                .as_str()
                .is_some_and(|route| route.starts_with("/__sandbox"))
        };
        let counts = counts.iter().filter(theirs);
        Ok(counts.filter_map(|count| count["count"].as_u64()).sum())
    }

    fn counts(&self) -> Result<Vec<Value>> {
        let request = axum::http::Request::get(self.counts.as_str()).body(Bytes::new())?;
        let exchange = self
            .runtime
            .block_on(self.client.send(request, PATIENCE))
            .context("asking the sandbox for its counts")?;
        ensure!(
            exchange.status == 200,
            "the sandbox's counts: {}",
            exchange.status
        );
        let mut counts: Value = serde_json::from_slice(&exchange.body).context("the counts")?;
        match counts["counts"].take() {
            Value::Array(counts) => Ok(counts),
            _ => bail!("the sandbox's answer has no counts"),
        }
    }
}

impl Target for Integr8scode {
    /// Requests of steps that have ended: streams count when they are over.
    fn calls(&self) -> Result<u64> {
        let counts = self.counts()?;
        let of_steps = counts.iter().filter(|count| count["step"].is_string());
        Ok(of_steps.filter_map(|count| count["count"].as_u64()).sum())
    }

    fn cpu(&self) -> Result<Duration> {
        self.child.cpu()
    }
}
