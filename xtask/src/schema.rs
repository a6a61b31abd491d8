//! `cargo xtask schema`: the JSON Schema of the scenario file, which the program prints from its own types, kept in the
//! repository for editors.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process;
use crate::workspace::Workspace;

#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail if the file is not what the program prints.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Write or check docs/scenario.schema.json by what `program` prints.
pub(crate) fn run(workspace: &Workspace, options: &Options, program: &Path) -> Result<()> {
    let printed = process::output(Command::new(program).arg("schema"))?;
    let path = workspace.root.join("docs/scenario.schema.json");
    if !options.check {
        return fs::write(&path, printed)
            .with_context(|| format!("cannot write {}", path.display()));
    }
    let kept =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if kept != printed {
        bail!(
            "{} is not what `throng schema` prints: run `cargo xtask schema`",
            path.display()
        );
    }
    Ok(())
}
