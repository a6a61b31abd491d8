//! The command line: parse, dispatch, and turn what came out into an exit code.

mod args;
mod browser;
mod check;
mod cleanup;
mod directory;
mod exit;
mod fuzz;
mod init;
mod login;
mod monkey;
mod narrator;
mod output;
mod property;
mod replay;
mod run;
mod sandbox;
mod sandbox_process;
mod settings;
mod signals;
mod state;
mod tools;
mod units;

use std::process::ExitCode;

use std::ffi::OsString;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{CommandFactory, Parser};
use throng_engine::Scenario;
use throng_metrics::Verdict;
use throng_workflow::Playbook;

use args::{Cli, Command, SandboxCommand};
use run::job::{FileJob, Job, RustJob};

pub(crate) use output::{Output, tell};

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

    /// A signal came before the command's work was done.
    pub(crate) fn interrupted() -> Self {
        Self {
            code: Verdict::Interrupted.exit_code(),
            error: anyhow!("stopped by a signal"),
        }
    }

    /// Something failed on the way.
    pub(crate) fn failed(error: anyhow::Error) -> Self {
        Self {
            code: FAILED,
            error,
        }
    }
}

/// Prints what a command was asked for.
///
/// # Errors
/// Where it can't be written, other than because its reader has gone.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    output::print(text).map_err(|error| CommandError {
        code: Verdict::ReportNotWritten.exit_code(),
        error: anyhow::Error::new(error).context("writing to standard output"),
    })
}

/// An error with what is behind it, in one line, nothing said twice: many of our errors name their source themselves.
pub(crate) fn words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if words.is_empty() {
            words = text;
        } else if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
    }
    words
}

/// Parses the process's arguments and runs the command they name.
#[must_use]
pub fn main() -> ExitCode {
    enter(std::env::args_os().collect(), &FileJob)
}

/// The whole `main` of a program that runs a scenario written in Rust: `throng run`'s flags (and throng's other commands)
/// with `scenario` in the place of a file's workflows. Target, directory, login and users come from a scenario file: the one
/// named on the command line, else the built-in `nextcloud`.
///
/// `playbook` declares the scenario's workflows and steps, which must be known before a run.
///
/// ```no_run
/// # use throng::{IterCx, Playbook, Scenario, UserCx, WorkflowRole};
/// struct Search(Playbook);
///
/// impl Scenario for Search {
///     type User = ();
///     async fn start(&self, _: &UserCx) -> anyhow::Result<()> {
///         Ok(())
///     }
///     async fn iterate(&self, _: &mut (), cx: &IterCx) -> anyhow::Result<()> {
///         let mut play = self.0.begin(cx, "search")?;
///         let [me] = play.actors()?;
///         play.call(me, "search_notes", serde_json::json!({ "query": me.name })).await?;
///         Ok(())
///     }
///     async fn stop(&self, _: (), _: &UserCx) -> anyhow::Result<()> {
///         Ok(())
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     let book = Playbook::new().workflow("search", WorkflowRole::Workflow, &[("search_notes", "nc_notes_search_notes")]);
///     throng::cli::run(Search(book.clone()), book)
/// }
/// ```
#[must_use]
pub fn run<S: Scenario>(scenario: S, playbook: Playbook) -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let commands = Cli::command();
    let named = args.iter().skip(1).any(|arg| {
        arg.to_str().is_some_and(|arg| {
            arg == "help"
                || commands
                    .get_subcommands()
                    .any(|command| command.get_name() == arg)
        })
    });
    if !named {
        args.insert(1.min(args.len()), "run".into());
    }
    enter(
        args,
        &RustJob {
            scenario: Arc::new(scenario),
            playbook,
        },
    )
}

fn enter(args: Vec<OsString>, job: &dyn Job) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // clap's own: usage errors to standard error with code 2, help and version to standard output with 0.
        Err(error) => error.exit(),
    };
    match dispatch(&cli, job) {
        Ok(code) => code,
        Err(CommandError { code, error }) => {
            tell(&format!("error: {}\n", words(&error)));
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: &Cli, job: &dyn Job) -> Result<ExitCode, CommandError> {
    let output = Output::new(cli.verbose, cli.color);
    output.log();
    match &cli.command {
        Command::Run(args) => run::run(args, output, job),
        Command::Login(args) => login::login(args, output),
        Command::Cleanup(args) => cleanup::cleanup(args, job),
        Command::Init(args) => init::init(args),
        Command::Check(args) => check::check(args, output),
        Command::Tools(args) => tools::tools(args, output),
        Command::Property(args) => property::property(args, output),
        Command::Monkey(args) => monkey::monkey(args, output),
        Command::Replay(args) => replay::replay(args, output),
        Command::Schema => schema(),
        Command::Sandbox(SandboxCommand::Nextcloud(args)) => sandbox::nextcloud(args),
        Command::Sandbox(SandboxCommand::Integr8scode(args)) => sandbox::integr8scode(args),
    }
}

fn schema() -> Result<ExitCode, CommandError> {
    let schema = throng_workflow::schema::schema();
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| CommandError::failed(error.into()))?;
    print(&format!("{text}\n"))?;
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
