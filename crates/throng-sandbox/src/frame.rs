//! What every embedded target has: its journal, its knobs, and the token that stops it.

use tokio_util::sync::CancellationToken;

use crate::journal::Journal;
use crate::knobs::LiveKnobs;

/// The common parts; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// What happened.
    pub(crate) journal: Journal,
    /// The planted trouble.
    pub(crate) knobs: LiveKnobs,
    /// Cancelled when the sandbox is to stop.
    pub(crate) stop: CancellationToken,
}
