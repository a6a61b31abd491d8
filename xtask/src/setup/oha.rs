//! oha, the plain HTTP load generator that the benchmarks compare with, built from its own lock file. Only the
//! benchmarks ask for it: it takes minutes to build.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian;
use crate::process;
use crate::workspace::Workspace;

const VERSION: &str = "1.16.0";

/// Build oha once into `<target>/third-party/oha`; also see that wrk is there. Returns oha's path.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    debian::wrk()?;
    let root = workspace.third_party().join("oha");
    let path = root.join("bin/oha");
    let version = path
        .exists()
        .then(|| process::output(std::process::Command::new(&path).arg("--version")))
        .transpose()?;
    if version.is_some_and(|version| version.trim() == format!("oha {VERSION}")) {
        return Ok(path);
    }
    println!("building oha {VERSION} into {}", root.display());
    let mut cargo = workspace.cargo(&[
        "install",
        "oha",
        "--locked",
        "--version",
        VERSION,
        "--force",
        "--quiet",
    ]);
    // A directory of its own: one shared with the workspace would be found locked, or lock it.
    cargo
        .arg("--root")
        .arg(&root)
        .env("CARGO_TARGET_DIR", root.join("build"));
    process::run(&mut cargo).context("oha could not be built")?;
    std::fs::remove_dir_all(root.join("build")).context("cannot remove oha's build directory")?;
    Ok(path)
}
