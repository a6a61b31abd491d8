//! Ctrl-C and SIGTERM: the first drains, the second aborts, the third leaves at once.
//!
//! Draining starts nothing new and lets what runs finish; aborting gives up what is in flight. Either
//! way sessions are closed and users removed. Only the third signal skips that, and says what to do then.

use std::io;

use throng_engine::StopSignals;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of a process that was told to go at once: 128 + SIGINT, the shell's convention.
const LEFT_AT_ONCE: i32 = 130;

/// Watches for signals and turns them into `stop`'s tokens for as long as the returned guard lives.
///
/// # Errors
/// Where the handlers can't be installed.
pub(crate) fn watch(stop: StopSignals, cleanup_command: String) -> io::Result<SignalWatch> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the guard holds its handle and ends it"
    )]
    let task = tokio::task::spawn(async move {
        let mut next = async || either(&mut interrupt, &mut terminate, &mut hangup).await;
        next().await;
        super::tell(
            "\nstopping: letting what runs finish, then cleaning up (again: don't wait for it)\n",
        );
        stop.drain.cancel();
        next().await;
        super::tell(
            "\nstopping now: giving up what is in flight, then cleaning up (again: leave without cleaning up)\n",
        );
        stop.abort.cancel();
        next().await;
        super::tell(&format!(
            "\nleft without cleaning up; remove what stayed with: {cleanup_command}\n"
        ));
        super::exit::leave(LEFT_AT_ONCE);
    });
    Ok(SignalWatch { task })
}

async fn either(one: &mut Signal, two: &mut Signal, three: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = two.recv() => {}
        _ = three.recv() => {}
    }
}

/// Ends the watching when dropped.
pub(crate) struct SignalWatch {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
