//! What peers that this program is itself have in common: N sessions in one thread, each calling again and again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tokio::task::JoinSet;

#[derive(Args)]
pub(crate) struct Calling {
    /// The access token to send.
    #[arg(long)]
    pub(crate) token: String,
    /// Sessions open at once.
    #[arg(long)]
    pub(crate) sessions: usize,
    /// How long to call, once every session is open.
    #[arg(long)]
    seconds: u64,
    /// The pause of a session between two calls.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
}

impl Calling {
    /// When calling that begins now is over, and the pause between two calls.
    pub(crate) fn times(&self) -> (Instant, Duration) {
        (
            Instant::now() + Duration::from_secs(self.seconds),
            Duration::from_millis(self.pause_ms),
        )
    }
}

/// Runs it on one thread: it gets one core, and a work-stealing runtime would only cost a client more.
pub(crate) fn on_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(work)
}

/// Waits for all sessions' tasks.
pub(crate) async fn all_done(mut users: JoinSet<Result<()>>) -> Result<()> {
    while let Some(user) = users.join_next().await {
        user.context("a session's task failed")??;
    }
    Ok(())
}
