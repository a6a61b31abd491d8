//! Debian's packages that the set-up itself needs: looked for first, installed where missing and allowed.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// The oldest Python that the pinned packages run on.
const PYTHON: (u32, u32) = (3, 11);

/// A Python new enough, with `venv` and `ensurepip` (Debian keeps both in python3-venv).
pub(crate) fn python() -> Result<&'static str> {
    let condition =
        format!("import sys, venv, ensurepip; sys.exit(sys.version_info[:2] < {PYTHON:?})");
    let find = || {
        ["python3", "/usr/bin/python3"]
            .into_iter()
            .find(|python| process::works(python, &["-c", &condition]))
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    install(&["python3", "python3-venv"])?;
    match find() {
        Some(found) => Ok(found),
        None => bail!(
            "Python {}.{} or newer, with venv and ensurepip, is not to be had here",
            PYTHON.0,
            PYTHON.1
        ),
    }
}

/// npm, which installs the conformance suite.
pub(crate) fn npm() -> Result<()> {
    let works = || process::works("npm", &["--version"]);
    if works() {
        return Ok(());
    }
    install(&["nodejs", "npm"])?;
    if !works() {
        bail!("npm does not work though Debian's nodejs and npm were installed");
    }
    Ok(())
}

/// wrk, a peer in the benchmarks.
pub(crate) fn wrk() -> Result<()> {
    // Whatever it ends with: `wrk -v` prints its version and then fails.
    if process::capture(Command::new("wrk").arg("-v")).is_ok() {
        return Ok(());
    }
    install(&["wrk"])
}

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !process::works("apt-get", &["--version"]) {
        bail!(
            "{names}: not found, and there is no apt-get; install them by this system's own means"
        );
    }
    let root = rustix::process::geteuid().is_root();
    if !root && !process::works("sudo", &["-n", "true"]) {
        bail!(
            "{names}: not found, and neither root nor sudo without a password is at hand; try `apt-get install {names}`"
        );
    }
    println!("installing Debian's {names}");
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new(if root { "env" } else { "sudo" });
        if !root {
            command.args(["-n", "env"]);
        }
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .args(arguments);
        process::quiet(&mut command)
    };
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}
