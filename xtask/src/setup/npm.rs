//! Programs of Node.js, each in a directory of its own, with all that it needs pinned by its lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Stamp, debian, remake};
use crate::process;

/// What says what is installed, of each package in `xtask/third-party/NAME`.
const NAMES: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// Installs what is pinned in `pins/NAME` into a directory of its own below `third_party`, unless the pins are the same as
/// there; `works` fails unless everything is there.
pub(super) fn install(
    pins: &Path,
    third_party: &Path,
    name: &str,
    works: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let directory = third_party.join(name);
    let sources = NAMES.map(|file| pins.join(name).join(file));
    let stamp = Stamp::of(&sources.each_ref().map(PathBuf::as_path))?;
    if stamp.stands_in(&directory) {
        return Ok(());
    }
    println!("installing {name} into {}", directory.display());
    debian::npm()?;
    remake(&directory)?;
    for (name, source) in NAMES.iter().zip(&sources) {
        fs::copy(source, directory.join(name))
            .with_context(|| format!("cannot copy {}", source.display()))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&directory).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    process::quiet(&mut npm)
        .with_context(|| format!("{name}: npm's packages could not be installed"))?;
    works(&directory.join("node_modules"))?;
    stamp.write_to(&directory)
}
