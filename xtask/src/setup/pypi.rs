//! Programs of Python's, each in a virtual environment of its own, with all that it needs pinned.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, debian, remake};
use crate::process;

/// A program from PyPI.
pub(super) struct Package {
    /// Its directory below `<target>/third-party`, and its pins: `xtask/third-party/NAME.txt`.
    pub(super) name: &'static str,
    /// A command in its `bin` that ends well once everything is there.
    pub(super) works: &'static [&'static str],
}

/// Installs it into a directory of its own below `third_party`, unless the pins are the same as there.
pub(super) fn install(pins: &Path, third_party: &Path, package: &Package) -> Result<()> {
    let directory = third_party.join(package.name);
    let requirements = pins.join(format!("{}.txt", package.name));
    let stamp = Stamp::of(&[&requirements])?;
    if stamp.stands_in(&directory) {
        return Ok(());
    }
    println!("installing {} into {}", package.name, directory.display());
    let python = debian::python()?;
    remake(&directory)?;
    process::quiet(Command::new(python).args(["-m", "venv"]).arg(&directory))?;
    let pip = || {
        let mut command = Command::new(directory.join("bin/python"));
        command.args(["-m", "pip", "--disable-pip-version-check", "--no-input"]);
        command
    };
    let mut install = pip();
    install.args([
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
    ]);
    process::quiet(install.arg(&requirements))
        .with_context(|| format!("{} could not be installed from PyPI", package.name))?;
    process::quiet(pip().arg("check"))?;
    if let [program, arguments @ ..] = package.works {
        let program = directory.join("bin").join(program);
        process::quiet(Command::new(program).args(arguments))?;
    }
    stamp.write_to(&directory)
}
