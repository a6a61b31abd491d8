//! Where throng keeps what must outlive a process.

use std::path::PathBuf;

use anyhow::Context;

/// The ledger: `$XDG_STATE_HOME/throng/ledger.sqlite`, or below `~/.local/state` (XDG Base Directory Specification).
///
/// # Errors
/// Where neither `XDG_STATE_HOME` nor `HOME` is set.
pub(crate) fn ledger_path() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .context(
            "there's nowhere to keep the ledger of created users: set HOME or XDG_STATE_HOME",
        )?;
    Ok(state.join("throng").join("ledger.sqlite"))
}
