//! The command line: parse, dispatch, and turn what came out into an exit code.

mod args;
mod check;
mod cleanup;
mod exit;
mod init;
mod narrator;
mod output;
mod run;
mod sandbox;
mod sandbox_process;
mod settings;
mod signals;
mod state;
mod units;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, SandboxCommand};
pub(crate) use output::{Output, print, tell};

/// Exit code for a wrong flag, an invalid file or a missing setting.
const USAGE: u8 = 2;
/// Exit code where the target or the set-up failed.
const FAILED: u8 = 3;

/// Why a command ended without doing its work.
#[derive(Debug)]
pub(crate) struct CommandError {
    code: u8,
    error: anyhow::Error,
}

impl CommandError {
    /// The user can mend it on the command line or in a file; nothing was touched.
    pub(crate) fn usage(error: anyhow::Error) -> Self {
        Self { code: USAGE, error }
    }

    /// Something failed on the way.
    pub(crate) fn failed(error: anyhow::Error) -> Self {
        Self {
            code: FAILED,
            error,
        }
    }
}

/// Parses the process's arguments and runs the command they name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap's own: usage errors to standard error with code 2, help and version to standard output with 0.
        Err(error) => error.exit(),
    };
    match dispatch(&cli) {
        Ok(code) => code,
        Err(CommandError { code, error }) => {
            tell(&format!("error: {error:#}\n"));
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode, CommandError> {
    let output = Output::new(cli.verbose, cli.color);
    output.log();
    match &cli.command {
        Command::Run(args) => run::run(args, output),
        Command::Cleanup(args) => cleanup::cleanup(args),
        Command::Init(args) => init::init(args),
        Command::Check(args) => check::check(args),
        Command::Schema => schema(),
        Command::Sandbox(SandboxCommand::Nextcloud(args)) => sandbox::nextcloud(args),
    }
}

fn schema() -> Result<ExitCode, CommandError> {
    let schema = throng_workflow::schema::schema();
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| CommandError::failed(error.into()))?;
    print(&format!("{text}\n"));
    Ok(ExitCode::SUCCESS)
}

/// The runtime of a command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CommandError::failed(anyhow::Error::new(error).context("starting the runtime"))
        })
}
