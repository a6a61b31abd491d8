//! Makes certificate authorities known to a browser and to nobody else: to those that keep a list of their own by NSS's `certutil`,
//! to one that reads the system's by bubblewrap, which shows it another.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::BrowserError;
use crate::find::Search;

/// The system's list where GnuTLS, by which WebKitGTK checks certificates, reads it: on Debian and its kin. Others keep it in a
/// store that has no such file.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Enters PEM files as trusted for servers into the NSS database in `database`, which is made.
pub(crate) async fn enter(
    files: &[PathBuf],
    database: &Path,
    search: &Search,
    browser: &str,
) -> Result<(), BrowserError> {
    let failed = |what: String| untold(browser, &what);
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
    let mut entered = 0;
    for file in files {
        let text = tokio::fs::read_to_string(file).await;
        let text = text.map_err(|error| failed(format!("{}: {error}", file.display())))?;
        // Of a file with several it takes the first.
        for certificate in certificates(&text) {
            entered += 1;
            let name = format!("throng {entered}");
            let alone = database.join(format!("{name}.pem"));
            tokio::fs::write(&alone, certificate)
                .await
                .map_err(|error| failed(format!("{}: {error}", alone.display())))?;
            let alone = alone.to_string_lossy();
            let arguments = [
                "-A", "-d", &at, "-n", &name, "-t", "C,,", "-a", "-i", &alone,
            ];
            run(&certutil, &arguments).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// The certificates of a PEM file, each with its borders (RFC 7468 section 5).
fn certificates(text: &str) -> Vec<&str> {
    const END: &str = "-----END CERTIFICATE-----";
    let begins = text.match_indices("-----BEGIN CERTIFICATE-----");
    let blocks = begins.filter_map(|(begin, _)| {
        let end = text[begin..].find(END)?;
        Some(&text[begin..begin + end + END.len()])
    });
    blocks.collect()
}

/// The program and arguments before WebKit's driver that show it, in place of the system's list, one in `directory` which has the
/// PEM files, too.
pub(crate) async fn wrapper(
    files: &[PathBuf],
    directory: &Path,
    search: &Search,
) -> Result<Vec<String>, BrowserError> {
    let failed = |what: String| {
        untold(
            "webkit",
            &format!(
                "{what}; enter the authority in the system's list (Debian: /usr/local/share/ca-certificates and update-ca-certificates) and leave --cacert out, accept any certificate with --insecure, or take another browser"
            ),
        )
    };
    let mut list = tokio::fs::read(SYSTEM).await.map_err(|error| {
        failed(format!(
            "it believes the system's list alone, which is not at {SYSTEM} ({error})"
        ))
    })?;
    for file in files {
        let more = tokio::fs::read(file).await;
        let more = more.map_err(|error| failed(format!("{}: {error}", file.display())))?;
        list.push(b'\n');
        list.extend(more);
    }
    let shown = directory.join("authorities.pem");
    tokio::fs::write(&shown, list)
        .await
        .map_err(|error| failed(format!("{}: {error}", shown.display())))?;
    let Some(bubblewrap) = search.program("bwrap") else {
        return Err(failed(
            "it believes the system's list alone, and bwrap, which could show it another (Debian's package bubblewrap), is not on this machine".to_owned(),
        ));
    };
    let shown = shown.to_string_lossy();
    let arguments = ["--dev-bind", "/", "/", "--ro-bind", &shown, SYSTEM, "--"];
    // Some systems let nobody do that; better known now than by a driver that doesn't come up.
    let tried = [&arguments[..], &["true"]].concat();
    run(&bubblewrap, &tried).await.map_err(failed)?;
    let wrapper = std::iter::once(bubblewrap.display().to_string());
    Ok(wrapper.chain(arguments.map(str::to_owned)).collect())
}

fn untold(browser: &str, what: &str) -> BrowserError {
    BrowserError::Authority(format!(
        "{browser} could not be told of the certificate authority: {what}"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_of_a_file_is_found() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----";
        let other = "-----BEGIN CERTIFICATE-----\nBB==\n-----END CERTIFICATE-----";
        let key = "-----BEGIN PRIVATE KEY-----\nCC==\n-----END PRIVATE KEY-----";
        let text = format!("# ours\n{one}\n{key}\n{other}\n-----BEGIN CERTIFICATE-----\ncut");
        assert_eq!(certificates(&text), [one, other]);
    }
}
