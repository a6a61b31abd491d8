//! Debian's packages that the set-up itself needs: looked for first, installed where missing and allowed.

use std::path::PathBuf;
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

/// The browsers that the tests log in by: Debian's newest, since only those get security updates.
pub(crate) struct Browsers {
    pub(super) chromium: PathBuf,
    pub(super) firefox: PathBuf,
    /// WebKit's driver.
    pub(super) webkit: PathBuf,
}

/// Chromium, Firefox, WebKit's driver, the display that this needs, and what makes certificate authorities known to them.
pub(crate) fn browsers() -> Result<Browsers> {
    const WANTED: [(&[&str], &str); 6] = [
        (
            &["chromium", "chromium-browser", "google-chrome"],
            "chromium",
        ),
        (&["firefox-esr", "firefox"], "firefox-esr"),
        (&["WebKitWebDriver"], "webkit2gtk-driver"),
        (&["Xvfb"], "xvfb"),
        (&["certutil"], "libnss3-tools"),
        (&["bwrap"], "bubblewrap"),
    ];
    let missing: Vec<&str> = WANTED
        .iter()
        .filter(|(programs, _)| in_path(programs).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let found = |programs: &[&str], package: &str| match in_path(programs) {
        Some(path) => Ok(path),
        None => bail!(
            "Debian's {package} is installed, but there is no {}",
            programs.join(", ")
        ),
    };
    for (programs, package) in &WANTED[3..] {
        found(programs, package)?;
    }
    Ok(Browsers {
        chromium: found(WANTED[0].0, WANTED[0].1)?,
        firefox: found(WANTED[1].0, WANTED[1].1)?,
        webkit: found(WANTED[2].0, WANTED[2].1)?,
    })
}

/// The first of these programs that is in `PATH`.
fn in_path(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut candidates = programs.iter().flat_map(|program| {
        directories
            .iter()
            .map(move |directory| directory.join(program))
    });
    candidates.find(|candidate| candidate.is_file())
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
