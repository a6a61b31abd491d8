//! `throng init`: a commented scenario file to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use throng_workflow::builtin;

use super::CommandError;
use super::args::InitArgs;

/// Writes the template where asked; never over a file unless forced.
pub(crate) fn init(args: &InitArgs) -> Result<ExitCode, CommandError> {
    if args.template == "list" {
        let names: Vec<&str> = builtin::templates().map(|(name, _)| name).collect();
        super::print(&format!("{}\n", names.join("\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = builtin::template(&args.template)
        .ok_or_else(|| unknown(&args.template))
        .map_err(CommandError::usage)?;
    let file = args
        .file
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.yaml", args.template)));
    if file == Path::new("-") {
        super::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&file, text, args.force).map_err(CommandError::usage)?;
    super::print(&format!(
        "Wrote {0}. Next:\n  throng check {0}\n  throng run {0} --sandbox\n",
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str) -> anyhow::Error {
    let known: Vec<&str> = builtin::templates().map(|(name, _)| name).collect();
    anyhow!(
        "there's no template `{name}`; there are {}",
        known.join(", ")
    )
}

fn write(file: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut opened = match options.open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(anyhow!(
                "{} exists already; name another file, or overwrite it with --force",
                file.display()
            ));
        }
        opened => opened.with_context(|| format!("can't write {}", file.display()))?,
    };
    opened
        .write_all(text.as_bytes())
        .with_context(|| format!("can't write {}", file.display()))
}
