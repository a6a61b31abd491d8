//! The command line as typed: flags and nothing else. Resolving them against the environment and the
//! scenario file is `settings`' business.

mod groups;
mod sandbox;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use throng_workflow::model::Mode;

pub(crate) use self::groups::{
    BrowserArgs, BrowserChoice, ClientArgs, DriverChoice, HttpChoice, IssuerArgs, TargetArgs,
};
pub(crate) use self::sandbox::{Integr8scodeArgs, SandboxArgs, SandboxCommand};
use super::cleanup::DEFAULT_NAMES;
use super::units;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Load tests with real identities.
#[derive(Debug, Parser)]
#[command(
    name = "throng",
    version,
    styles = STYLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    about = "Load tests with real identities: N users created, logged in, working together, measured, removed.",
    after_help = "Start with `throng run` (the built-in scenario on the embedded sandbox), then `throng init`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more: what is sent where, and why something was retried (twice: still more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour the output
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario: create users, log them in, load the target, judge, clean up
    Run(Box<RunArgs>),
    /// Log one user in and show each step of it, to find out how a target's login goes
    Login(Box<LoginArgs>),
    /// Remove what an interrupted run left behind on a target
    Cleanup(CleanupArgs),
    /// Write a commented scenario file to start from
    Init(InitArgs),
    /// Check a scenario file; with --sandbox or --url also whether it fits that target
    Check(Box<CheckArgs>),
    /// List the tools of a target, with their arguments
    Tools(Box<ToolsArgs>),
    /// Try a scenario's properties on made-up examples, and shrink those that fail
    Property(Box<PropertyArgs>),
    /// Send an HTTP API requests that nobody planned, judge the answers, shrink what is wrong
    Monkey(Box<MonkeyArgs>),
    /// Send findings of a monkey swarm again, to see whether they still show themselves
    Replay(Box<ReplayArgs>),
    /// Print the JSON Schema of scenario files (for editors)
    Schema,
    /// Start an embedded target to try things on
    #[command(subcommand)]
    Sandbox(SandboxCommand),
}

/// Flags of `throng run`.
#[derive(Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// A scenario file, or the name of a built-in one [default: nextcloud, on the sandbox]
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) issuer: IssuerArgs,

    /// Who works: users who do what the workflows say, monkeys, or both at the same time [default: the scenario's, user]
    #[arg(long, value_name = "MODE", help_heading = "Load")]
    pub(crate) mode: Option<ModeChoice>,
    /// How many users to create, of each swarm
    #[arg(short, long, visible_alias = "clients", value_name = "N", allow_negative_numbers = true, value_parser = units::users, help_heading = "Load")]
    pub(crate) users: Option<u32>,
    /// How long to measure, in seconds or with a unit (90, 1.5m, 500ms) [default: 30s]
    #[arg(short, long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Load")]
    pub(crate) duration: Option<Duration>,
    /// How long to run the load before measuring; its samples are thrown away [default: 5s]
    #[arg(short, long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Load")]
    pub(crate) warmup: Option<Duration>,
    /// Which of the scenario's workloads to run, e.g. mixed, sharing, collaboration, baseline
    #[arg(long, value_name = "NAME", help_heading = "Load")]
    pub(crate) workload: Option<String>,
    /// Start this many iterations per time on an absolute schedule (open model), e.g. 200/s
    #[arg(long, value_name = "RATE", help_heading = "Load")]
    pub(crate) rate: Option<String>,
    /// With --rate: starts that may wait for a free user before further ones are dropped
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub(crate) queue: Option<u32>,
    /// Pause between a user's iterations [default: 50ms]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Load")]
    pub(crate) pause: Option<Duration>,
    /// How long iterations under way may take to finish after the duration [default: 30s]
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration, help_heading = "Load")]
    pub(crate) graceful_stop: Option<Duration>,
    /// How many requests may be in flight at once, of all users and swarms together [default: as many as there are users]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = units::in_flight, help_heading = "Load")]
    pub(crate) concurrency: Option<u32>,
    /// Seed of every random choice; printed, so that a run can be repeated [default: random]
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub(crate) seed: Option<u64>,

    /// Whether users are created; with false they must be there already, with the scenario's password [default: the
    /// scenario's, true]
    #[arg(long, value_name = "BOOL", help_heading = "Users")]
    pub(crate) auto_register: Option<bool>,
    /// A file of users who are there already, CSV or JSON, with names and passwords; nobody is created or deleted [default: the
    /// scenario's]
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "auto_register",
        help_heading = "Users"
    )]
    pub(crate) users_from: Option<String>,
    /// Prefix of the users' names: PREFIX_user_1, PREFIX_user_2, ... [default: loadtest]
    #[arg(long, value_name = "PREFIX", help_heading = "Users")]
    pub(crate) user_prefix: Option<String>,
    /// Delete the created users afterwards (the default)
    #[arg(long, overrides_with = "no_cleanup", help_heading = "Users")]
    pub(crate) cleanup: bool,
    /// Keep the created users; `throng cleanup` removes them later
    #[arg(long, overrides_with = "cleanup", help_heading = "Users")]
    pub(crate) no_cleanup: bool,
    /// How many users are created and logged in at the same time [default: 16]
    #[arg(long, value_name = "N", value_parser = units::concurrency, help_heading = "Users")]
    pub(crate) login_concurrency: Option<u32>,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
    #[command(flatten)]
    pub(crate) browser: BrowserArgs,

    /// Write the report as JSON to this file; of a directory (or with a slash at its end): as report_MODE_TIME.json into it
    #[arg(short, long, value_name = "PATH", help_heading = "Report")]
    pub(crate) output: Option<PathBuf>,
    /// Where the target's OpenAPI document is, for monkeys [default: the scenario's]
    #[arg(long, value_name = "URL|FILE", help_heading = "Target")]
    pub(crate) openapi: Option<String>,
    /// Where what monkeys find is kept, for `throng replay` [default: `findings`, beside the report]
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    pub(crate) corpus: Option<PathBuf>,
    /// Draw the report, as PNG and SVG beside it; without --output: into the current directory
    #[arg(long, help_heading = "Report")]
    pub(crate) plots: bool,
    /// Fail (exit code 99) unless this holds, e.g. 'note_share.p95<500ms'; added to the scenario's; may be repeated
    #[arg(long = "threshold", value_name = "CONDITION", help_heading = "Report")]
    pub(crate) thresholds: Vec<String>,
    /// Judge by no thresholds at all
    #[arg(long, conflicts_with = "thresholds", help_heading = "Report")]
    pub(crate) no_thresholds: bool,
    /// Print only the verdict and errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Report")]
    pub(crate) quiet: bool,
}

/// The words of `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeChoice {
    User,
    Monkey,
    Both,
}

impl From<ModeChoice> for Mode {
    fn from(choice: ModeChoice) -> Self {
        match choice {
            ModeChoice::User => Self::User,
            ModeChoice::Monkey => Self::Monkey,
            ModeChoice::Both => Self::Both,
        }
    }
}

/// Flags of `throng login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// A scenario file, or the name of a built-in one [default: nextcloud, on the sandbox]
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) issuer: IssuerArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
    #[command(flatten)]
    pub(crate) browser: BrowserArgs,
    /// Log this user in, who is there already, with the password in THRONG_USER_PASSWORD [default: one that is created and deleted again]
    #[arg(long, value_name = "NAME", help_heading = "Users")]
    pub(crate) user: Option<String>,
    /// Print the access token as it is
    #[arg(long)]
    pub(crate) show_tokens: bool,
}

/// Flags of `throng cleanup`.
#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    /// Clean the directory of this scenario (a file, or the name of a built-in one), whichever kind it is [default: a Nextcloud]
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// With a scenario: the target that its run was given
    #[arg(long, value_name = "URL", requires = "scenario")]
    pub(crate) url: Option<String>,
    /// Only users named PREFIX_user_N; without it: everything in the ledger
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<String>,
    /// With --prefix, and without a scenario: how users are named (`users.name`)
    // As a default value, since clap makes a line break of `{n}` in any other text of a help.
    #[arg(long, value_name = "TEMPLATE", requires = "prefix", default_value = DEFAULT_NAMES)]
    pub(crate) names: String,
    /// Only list what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The directory to clean [default: the scenario's; without one NEXTCLOUD_HOST, else the one in the ledger]
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Its administrator
    #[arg(long, value_name = "NAME")]
    pub(crate) admin: Option<String>,
    /// The administrator's password (better: NEXTCLOUD_PASSWORD in the environment)
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) admin_password: Option<String>,
    /// Also remove users of runs that are still alive
    #[arg(long)]
    pub(crate) force: bool,
    /// Only name the users of other directories than Nextcloud, and strike them from the ledger; this deletes nobody
    #[arg(long, conflicts_with_all = ["scenario", "host", "prefix"])]
    pub(crate) forget: bool,
    /// How many deletions run at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = units::deletions)]
    pub(crate) concurrency: u32,
    /// Accept any TLS certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Trust this CA certificate too (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
}

/// Flags of `throng init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write it [default: <template>.yaml; `-` for standard output]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Which template; `--template list` names them
    #[arg(long, value_name = "NAME", default_value = "mcp-oauth")]
    pub(crate) template: String,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Flags of `throng monkey`.
#[derive(Debug, Args)]
pub(crate) struct MonkeyArgs {
    /// A scenario file that says how users are made and logged in, or the name of a built-in one; without it nobody logs in
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// Where the OpenAPI document is [default: the scenario's]
    #[arg(long, value_name = "URL|FILE")]
    pub(crate) openapi: Option<String>,
    /// How many monkeys [default: the scenario's, 10]
    #[arg(short, long, visible_alias = "clients", value_name = "N", allow_negative_numbers = true, value_parser = units::users)]
    pub(crate) users: Option<u32>,
    /// How long they send, in seconds or with a unit [default: the scenario's, 30s]
    #[arg(short, long, value_name = "DURATION", allow_negative_numbers = true, value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,
    /// How many requests may be in flight at once [default: the scenario's, as many as there are monkeys]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = units::in_flight)]
    pub(crate) concurrency: Option<u32>,
    /// Seed of the requests; printed, so that they can be repeated [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Prefix of the users' names: PREFIX_monkey_user_1, ... [default: the scenario's]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) user_prefix: Option<String>,
    /// Write the report as JSON to this file, or into this directory
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Where findings are kept, for `throng replay` [default: `findings`, beside the report]
    #[arg(long, value_name = "DIR")]
    pub(crate) corpus: Option<PathBuf>,
    /// Draw the report, as PNG and SVG beside it
    #[arg(long)]
    pub(crate) plots: bool,
    /// Print only the verdict and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
}

/// Flags of `throng replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Files of a corpus, or directories with such files
    #[arg(value_name = "FINDING", required = true)]
    pub(crate) findings: Vec<PathBuf>,
    /// The scenario by which users are made and logged in [default: the one that the finding names]
    #[arg(long, value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// Where the OpenAPI document is [default: the scenario's, else where it was when the finding was made]
    #[arg(long, value_name = "URL|FILE")]
    pub(crate) openapi: Option<String>,
    /// Print only the verdict and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
}

/// Flags of `throng check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Scenario files, or names of built-in ones
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
}

/// Flags of `throng tools`.
#[derive(Debug, Args)]
pub(crate) struct ToolsArgs {
    /// A scenario file that says how to log in, or the name of a built-in one [default: nextcloud]
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// Print the list as JSON, with the schemas as the server gave them
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
}

/// Flags of `throng property`.
#[derive(Debug, Args)]
pub(crate) struct PropertyArgs {
    /// A scenario file, or the name of a built-in one [default: integr8scode, on the sandbox]
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: Option<String>,
    /// Which of its properties [default: all but those that are tried only when they are named]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How many examples of each property [default: the scenario's, 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cases: Option<u32>,
    /// Seed of the examples; printed, so that they can be repeated [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many users try examples at the same time [default: 4]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = units::users)]
    pub(crate) users: Option<u32>,
    /// Where failing examples are kept, to be tried first next time [default: SCENARIO.regressions.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) regressions: Option<PathBuf>,
    /// Write the results as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Only list the scenario's properties
    #[arg(long)]
    pub(crate) list: bool,
    /// Print only the verdict and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) oauth_client: ClientArgs,
}
