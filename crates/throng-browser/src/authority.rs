//! Makes a certificate authority known to a browser that keeps its own list, by NSS's `certutil`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::BrowserError;
use crate::find::Search;

/// Enters PEM files as trusted for servers into the NSS database in `database`, which is made.
pub(crate) async fn enter(
    files: &[PathBuf],
    database: &Path,
    search: &Search,
    browser: &str,
) -> Result<(), BrowserError> {
    let failed = |what: String| {
        BrowserError::Authority(format!(
            "{browser} could not be told of the certificate authority: {what}"
        ))
    };
    let Some(certutil) = search.program("certutil") else {
        return Err(failed(
            "that takes NSS's certutil (Debian's package libnss3-tools), which is not on this machine; install it, or accept any certificate with --insecure".to_owned(),
        ));
    };
    tokio::fs::create_dir_all(database)
        .await
        .map_err(|error| failed(format!("{}: {error}", database.display())))?;
    let at = format!("sql:{}", database.display());
    run(&certutil, &["-N", "-d", &at, "--empty-password"])
        .await
        .map_err(failed)?;
    for (n, file) in files.iter().enumerate() {
        let name = format!("throng {n}");
        let file = file.to_string_lossy();
        let arguments = ["-A", "-d", &at, "-n", &name, "-t", "C,,", "-a", "-i", &file];
        run(&certutil, &arguments).await.map_err(failed)?;
    }
    Ok(())
}

async fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", program.display(), said.trim()))
}
