//! Where things are: the root of the checkout, cargo's target directory, and what `setup` installs below it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The directories that every chore works in.
pub(crate) struct Workspace {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the environment or cargo's configuration puts it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Ask cargo.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent directory")?
            .to_path_buf();
        let mut command = Command::new(cargo());
        command.current_dir(&root).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]);
        let metadata: Value =
            serde_json::from_str(&process::output(&mut command)?).context("cargo metadata")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target_directory")?;
        Ok(Self {
            target: target.into(),
            root,
        })
    }

    /// What `setup` installs. Tests find it as `<target>/third-party`, see `setup`.
    pub(crate) fn third_party(&self) -> PathBuf {
        self.target.join("third-party")
    }

    /// The program, built as `cargo build` does. After `cargo test` for the whole workspace that is another build, with other
    /// features of dependencies, and takes minutes: whoever has run it takes [`Self::tested_program`].
    pub(crate) fn program(&self) -> Result<PathBuf> {
        process::run(&mut self.cargo(&["build", "--quiet", "--locked", "--package", "throng"]))?;
        Ok(self.tested_program())
    }

    /// The program as the last build left it.
    pub(crate) fn tested_program(&self) -> PathBuf {
        self.target.join("debug/throng")
    }

    /// A `cargo` call in the root of the checkout.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).args(arguments);
        // What cargo told this program about its package would look like a changed environment to the build scripts of
        // dependencies, and they and all that depends on them would be built again on every change between the two.
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| name.to_str().is_some_and(is_of_this_package)) {
            command.env_remove(name);
        }
        command
    }
}

/// The cargo that runs this program, else the one on PATH.
fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}
