//! Everything that can be known to be wrong before anything is touched: the file, the flags, the outputs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use tempfile::TempDir;
use throng_client::{Client, Connector, ConnectorOptions, HttpVersion, Trust};
use throng_engine::{Executor, InFlightLimit, Load, Rate};
use throng_fuzz::shell;
use throng_identity::ledger::Ledger;
use throng_identity::login::LoginDriver;
use throng_identity::provision::KnownUser;
use throng_metrics::Threshold;
use throng_sandbox::Knobs;
use throng_workflow::ScenarioFile;
use throng_workflow::decode::Named;
use throng_workflow::model::{DirectoryKind, LoginKind, Mode, Protocol, Registering};
use url::Url;

use super::export::Export;
use super::hooks::Places;
use super::job::Job;
use super::setup::{LOGIN_CONCURRENCY, Made};
use crate::cli::args::{HttpChoice, RunArgs};
use crate::cli::browser;
use crate::cli::cleanup::DEFAULT_NAMES;
use crate::cli::narrator::Narrator;
use crate::cli::settings::{self, Place, SandboxAddress, SandboxKind};
use crate::cli::signals::Remains;
use crate::cli::{CommandError, Output, sandbox, state};

/// The condition a run is judged by unless file or flags name one on all its errors: a run whose only threshold is on
/// something else must not pass with everything failing.
const DEFAULT_THRESHOLD: &str = "error_rate<1%";
/// The condition of every run whose workload has a step that must be refused. No flag takes it away: the file does, by
/// leaving `must` out.
const ACCESS_THRESHOLD: &str = "not_refused==0";
/// Starts that may wait for a free user where nobody says how many.
const DEFAULT_QUEUE: u32 = 10_000;

/// A run that can begin.
pub(crate) struct Prepared<'j> {
    pub(crate) job: &'j dyn Job,
    pub(crate) file: ScenarioFile,
    /// What a sandbox that is started for the run plants.
    pub(crate) knobs: Option<Knobs>,
    pub(crate) place: Place,
    pub(crate) load: Load,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) connector: Connector,
    /// Who passes the pages of logins.
    pub(crate) driver: LoginDriver,
    /// Who logs in, where neither the file says so nor users are made.
    pub(crate) known: Option<KnownUser>,
    pub(crate) login_concurrency: u32,
    pub(crate) cleans_up: bool,
    pub(crate) export: Option<Export>,
    /// Whether pictures are drawn.
    pub(crate) plots: bool,
    corpus: Option<PathBuf>,
    /// Where the OpenAPI document is, if a flag says so.
    pub(crate) openapi: Option<String>,
    pub(crate) output: Output,
    pub(crate) seed: u64,
    pub(crate) started: SystemTime,
    ledger: PathBuf,
    /// Holds a sandbox run's ledger; goes with this value.
    scratch: Option<TempDir>,
}

impl<'j> Prepared<'j> {
    /// Validates all that was asked for.
    pub(crate) fn new(
        args: &RunArgs,
        output: Output,
        job: &'j dyn Job,
    ) -> Result<Self, CommandError> {
        let place = settings::place(args);
        settings::check_issuer(args).map_err(CommandError::usage)?;
        if let Some(knobs) = &args.target.sandbox_knobs {
            // Here and not only by the sandbox itself: nothing has been started yet.
            sandbox::check_knobs(knobs).map_err(CommandError::usage)?;
        }
        let seed = args
            .seed
            .unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let pending = (place == Place::Sandbox).then(|| SandboxKind::of(args).pending());
        let file =
            settings::scenario(job, args, pending.as_ref(), seed).map_err(CommandError::usage)?;
        let knobs = sandbox::knobs_of(&file, args.target.sandbox_knobs.as_deref())
            .map_err(CommandError::usage)?;
        check_login(&file, place).map_err(CommandError::usage)?;
        check_stays_in(&file, place).map_err(CommandError::usage)?;
        let load = load(&file, args, seed).map_err(CommandError::usage)?;
        let thresholds = thresholds(&file, args).map_err(CommandError::usage)?;
        let connector = connector(args, &file, place).map_err(CommandError::usage)?;
        let started = SystemTime::now();
        let pictures = pictures(args, file.scenario.load.mode, started);
        let driver = browser::driver(
            &args.browser,
            &file.scenario.login,
            trusted(args, &file, place),
            args.login_concurrency,
            pictures,
        )
        .map_err(CommandError::usage)?;
        let name = format!("{}.json", report_stem(file.scenario.load.mode, started));
        let export = args
            .output
            .as_deref()
            .map(|path| Export::open(path, &name))
            .transpose()
            .map_err(CommandError::usage)?;
        let mut scratch = None;
        let ledger = match place {
            Place::Target => state::ledger_path().map_err(CommandError::usage)?,
            // Whatever is made in this sandbox ends with it, so it must not stand in the user's ledger for ever should
            // this process be killed.
            Place::Sandbox => {
                let directory = tempfile::Builder::new()
                    .prefix("throng-")
                    .tempdir()
                    .map_err(|error| {
                        CommandError::usage(
                            anyhow!(error).context("making a temporary directory for the ledger"),
                        )
                    })?;
                let path = directory.path().join("ledger.sqlite");
                scratch = Some(directory);
                path
            }
        };
        Ok(Self {
            job,
            file,
            knobs,
            place,
            load,
            thresholds,
            connector,
            driver,
            known: None,
            login_concurrency: args.login_concurrency.unwrap_or(LOGIN_CONCURRENCY),
            cleans_up: !args.no_cleanup,
            export,
            plots: args.plots,
            corpus: args.corpus.clone(),
            openapi: args.openapi.clone(),
            output,
            seed,
            started,
            ledger,
            scratch,
        })
    }

    /// Reads the file again, with the addresses of the sandbox that was started.
    pub(crate) fn place_at(
        &mut self,
        args: &RunArgs,
        sandbox: &SandboxAddress<'_>,
    ) -> Result<(), CommandError> {
        self.file = settings::scenario(self.job, args, Some(sandbox), self.seed)
            .map_err(CommandError::usage)?;
        // Against its real address: the one that it was checked with stood for any.
        check_stays_in(&self.file, self.place).map_err(CommandError::usage)
    }

    /// Opens the ledger and enters the run.
    pub(crate) async fn begin(&self) -> Result<Made, CommandError> {
        let enter = || -> anyhow::Result<_> {
            let ledger = Ledger::open(&self.ledger)?;
            let run = ledger.begin_run()?;
            Ok((ledger, run))
        };
        let (ledger, run) = enter().map_err(CommandError::failed)?;
        Ok(Made {
            run,
            ledger,
            directory: None,
            client: Client::new(&self.connector),
            enrolment: None,
            created: Arc::new(AtomicU32::new(0)),
            reused: Arc::new(AtomicU32::new(0)),
            phases: Vec::new(),
            pilot: self.driver.pilot().cloned(),
            first_login: None,
        })
    }

    /// What the run is about, before its first step.
    pub(crate) fn introduce(&self, made: &Made, narrator: &Narrator) {
        let scenario = &self.file.scenario;
        narrator.say(&format!(
            "Scenario {}, {}, {} s after {} s of warm-up",
            scenario.name,
            self.who(),
            self.load.duration.as_secs_f64(),
            self.load.warmup.as_secs_f64(),
        ));
        narrator.say(&format!("Run {}, seed {}", made.run.as_str(), self.seed));
    }

    /// Who works, in words.
    fn who(&self) -> String {
        let (workload, users) = (self.workload(), self.file.scenario.users.count.value);
        match self.mode() {
            Mode::User => format!("workload {workload}, {users} users"),
            Mode::Monkey => format!("{users} monkeys"),
            Mode::Both => format!("workload {workload}, {users} users and {users} monkeys"),
        }
    }

    /// Which swarm works.
    pub(crate) fn mode(&self) -> Mode {
        self.file.scenario.load.mode
    }

    /// What the load is, as its step is announced.
    pub(crate) fn doing(&self) -> String {
        let who = match self.mode() {
            Mode::User => format!("workload {}", self.workload()),
            Mode::Monkey => "monkeys".to_owned(),
            Mode::Both => format!("workload {} and monkeys", self.workload()),
        };
        format!(
            "Running {who} for {} s (after {} s of warm-up)...",
            self.load.duration.as_secs_f64(),
            self.load.warmup.as_secs_f64(),
        )
    }

    /// Directory and stem of what is written beside the report: in the current directory where no report is written to a file.
    pub(crate) fn beside(&self) -> (PathBuf, String) {
        let beside = self.export.as_ref().and_then(Export::beside);
        beside.unwrap_or_else(|| (PathBuf::new(), report_stem(self.mode(), self.started)))
    }

    /// Where findings are written.
    pub(crate) fn corpus(&self) -> PathBuf {
        match &self.corpus {
            Some(directory) => directory.clone(),
            None => self.beside().0.join("findings"),
        }
    }

    /// The workload that runs, by name.
    pub(crate) fn workload(&self) -> String {
        let scenario = &self.file.scenario;
        let chosen = scenario
            .workload
            .as_ref()
            .map(|workload| workload.value.as_str());
        // Without a choice the file's first runs; without any, every workflow does.
        chosen
            .or_else(|| scenario.workloads.names().next())
            .unwrap_or(throng_workflow::compile::ALL)
            .to_owned()
    }

    /// What leaving at once would leave behind.
    pub(crate) fn remains(&self) -> Remains {
        match &self.scratch {
            Some(directory) => Remains::Sandbox(directory.path().to_owned()),
            None if self.file.scenario.directory.is_none() || !self.file.scenario.users.create => {
                Remains::Nothing
            }
            None => self
                .cleanup_command()
                .map_or(Remains::ForGood, Remains::OnTarget),
        }
    }

    /// The command that removes what this run may leave; none where nothing deletes users.
    pub(crate) fn cleanup_command(&self) -> Option<String> {
        let scenario = &self.file.scenario;
        let directory = scenario.directory.as_ref()?;
        let url = directory.url.as_ref().map(|url| url.value.as_str());
        let host = url.map_or(String::new(), |url| format!(" --host {}", shell::word(url)));
        let prefix = shell::word(&scenario.users.prefix.value);
        if directory.kind == DirectoryKind::Nextcloud {
            let names = match scenario.users.name.value.as_str() {
                DEFAULT_NAMES => String::new(),
                names => format!(" --names {}", shell::word(names)),
            };
            return Some(format!("throng cleanup --prefix {prefix}{names}{host}"));
        }
        if directory.kind.is_declared() && directory.delete.is_none() {
            return None;
        }
        let origin = shell::word(&self.file.origin);
        let url = match url {
            Some(_) => host,
            // Its place is the target.
            None => format!(" --url {}", shell::word(&scenario.target.url.value)),
        };
        // Where nobody can be searched for, only the ledger knows them.
        let lists = !directory.kind.is_declared() || directory.list.is_some();
        let prefix = if lists {
            format!(" --prefix {prefix}")
        } else {
            String::new()
        };
        Some(format!("throng cleanup {origin}{prefix}{url}"))
    }
}

/// The name of a report, without its ending: `report_both_20261122T111836Z`.
fn report_stem(mode: Mode, started: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(started).to_string();
    format!("report_{}_{}", mode.word(), time.replace(['-', ':'], ""))
}

/// Whether users can come into being as the file wants it.
fn check_login(file: &ScenarioFile, place: Place) -> anyhow::Result<()> {
    let scenario = &file.scenario;
    // Those who are there already need no directory.
    let directory = scenario.directory.as_ref().map(|_| ());
    let directory = if scenario.users.create {
        directory
    } else {
        Some(())
    };
    match (scenario.login.kind, directory, place) {
        (LoginKind::OAuth, None, _) => Err(anyhow!(
            "{}: users that log in must be created somewhere: add a `directory`, or `users.from` with users who are there already, or `login: {{ kind: none }}` if the target asks nobody who he is",
            file.origin
        )),
        (LoginKind::Bearer, _, Place::Sandbox) => Err(anyhow!(
            "{}: `login: {{ kind: bearer }}` doesn't fit the sandbox that a run starts: nobody can have a token of it yet; give the --url of a server that issued one",
            file.origin
        )),
        (LoginKind::TokenExchange, _, Place::Sandbox)
            if scenario
                .login
                .subject
                .as_ref()
                .is_some_and(|subject| subject.issuer.is_some()) =>
        {
            Err(anyhow!(
                "{}: the sandbox doesn't stand in for the identity provider of `subject.issuer`; leave it out, so that the sandbox's own is taken, or run it without --sandbox",
                file.origin
            ))
        }
        (LoginKind::None, _, Place::Sandbox) if scenario.target.protocol == Protocol::Mcp => {
            Err(anyhow!(
                "{}: `login: {{ kind: none }}` doesn't fit the sandbox, whose MCP server wants a token; give the --url of a server that doesn't",
                file.origin
            ))
        }
        _ => Ok(()),
    }
}

/// Whether a scenario's users come from the sandbox and from nowhere else: what the file says of other places would
/// be meant for a real system, and a sandbox's ledger ends with it.
fn check_stays_in(file: &ScenarioFile, place: Place) -> anyhow::Result<()> {
    let scenario = &file.scenario;
    let is_http = scenario.target.protocol == Protocol::Http;
    let directory = scenario.directory.as_ref();
    let kind = directory.map(|directory| directory.kind);
    // The sandbox for MCP has these.
    let has = matches!(
        kind,
        None | Some(DirectoryKind::Nextcloud | DirectoryKind::Scim)
    );
    if place == Place::Target || (!is_http && has) {
        return Ok(());
    }
    if kind.is_some_and(|kind| !(is_http && kind == DirectoryKind::Register)) {
        let instead = if is_http {
            "an HTTP scenario's users must register themselves there (`kind: http-register`)"
        } else {
            "its users are made by `kind: nextcloud` or `kind: scim`"
        };
        return Err(anyhow!(
            "{}: the sandbox doesn't stand in for this `directory`, which would be used as it is: {instead}; run it without --sandbox",
            file.origin
        ));
    }
    let places = Places::of(scenario)?;
    let origin = Url::parse(&scenario.target.url)?.origin();
    let register = directory.and_then(|directory| directory.register.as_ref());
    let (register, sign_up) = match register {
        Some(Registering::Request(request)) => (Some(&**request), None),
        Some(Registering::Form(form)) => (None, Some(&form.page)),
        None => (None, None),
    };
    let delete = directory.and_then(|directory| directory.delete.as_ref());
    let login = &scenario.login;
    let named = [
        ("directory.register", register),
        ("directory.delete", delete),
        ("login.request", login.request.as_ref()),
        ("login.logged_in", login.logged_in.as_ref()),
        ("login.logout", login.logout.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, request)| Some((name, request?)))
    .chain(
        login
            .before
            .iter()
            .chain(&login.after)
            .map(|named| (named.name.value.as_str(), &named.request)),
    );
    let mut addresses = Vec::new();
    for (name, request) in named {
        addresses.push((name, places.hook(name, request)?.url));
    }
    for (name, page) in [
        ("directory.register", sign_up),
        ("login", login.page.as_ref()),
    ] {
        if let Some(page) = page {
            addresses.push((name, places.form(name, page, &Named::default())?.page));
        }
    }
    for (name, url) in addresses {
        if !Url::parse(&url).is_ok_and(|url| url.origin() == origin) {
            return Err(anyhow!(
                "{}: {name} has an address of its own, which the sandbox doesn't stand in for; give a path of the target, such as /users, or run it without --sandbox",
                file.origin,
            ));
        }
    }
    Ok(())
}

fn load(file: &ScenarioFile, args: &RunArgs, seed: u64) -> anyhow::Result<Load> {
    let asked = &file.scenario.load;
    let executor = match &asked.rate {
        None => Executor::ConstantVus,
        Some(rate) => Executor::ConstantArrivalRate {
            rate: rate_of(rate.count, rate.per)?,
            max_queue: asked
                .queue
                .as_ref()
                .map_or(DEFAULT_QUEUE, |queue| queue.value),
        },
    };
    let load = Load {
        executor,
        users: file.scenario.users.count.value,
        warmup: asked.warmup.0,
        duration: asked.duration.0,
        pause: asked.pause.0,
        graceful_stop: args.graceful_stop.unwrap_or(asked.graceful_stop.0),
        abort_grace: asked.abort_grace.0,
        seed,
        in_flight: asked
            .concurrency
            .as_ref()
            .map(|most| InFlightLimit::new(most.value)),
    };
    let problems: Vec<String> = load.problems().iter().map(ToString::to_string).collect();
    if problems.is_empty() {
        Ok(load)
    } else {
        Err(anyhow!("{}", problems.join("\n")))
    }
}

/// The engine counts whole starts in a span of time: `0.5/s` is 500 in 1,000 s.
fn rate_of(count: f64, per: Duration) -> anyhow::Result<Rate> {
    let scale = if count.fract() == 0.0 { 1 } else { 1_000 };
    let starts = (count * f64::from(scale)).round() as u64;
    Rate::new(starts, per * scale).context("load.rate")
}

fn thresholds(file: &ScenarioFile, args: &RunArgs) -> anyhow::Result<Vec<Threshold>> {
    // Monkeys are judged by what they find.
    if !file.scenario.load.mode.has_users() {
        if let Some(first) = args.thresholds.first() {
            return Err(anyhow!(
                "--threshold {first}: thresholds judge what users do, and with --mode monkey there are none (take --mode both)"
            ));
        }
        return Ok(Vec::new());
    }
    let access = (!file.program.must_be_refused().is_empty()).then_some(ACCESS_THRESHOLD);
    let asked: Vec<&str> = file
        .scenario
        .thresholds
        .iter()
        .map(|text| text.value.as_str())
        .filter(|text| !args.no_thresholds && access != Some(*text))
        .collect();
    let mut problems = Vec::new();
    let mut thresholds: Vec<Threshold> = Vec::new();
    let on_errors = |asked: &[&str]| {
        asked
            .iter()
            .filter_map(|text| text.parse::<Threshold>().ok())
            .any(|threshold| threshold.is_on_all_errors())
    };
    let default = (!args.no_thresholds && !on_errors(&asked)).then_some(DEFAULT_THRESHOLD);
    for text in access.into_iter().chain(default).chain(asked) {
        match text.parse::<Threshold>().and_then(|threshold| {
            threshold.check(&file.program.catalog)?;
            Ok(threshold)
        }) {
            Ok(threshold) => thresholds.push(threshold),
            Err(problem) => problems.push(format!("threshold `{text}`: {problem}")),
        }
    }
    if problems.is_empty() {
        Ok(thresholds)
    } else {
        Err(anyhow!("{}", problems.join("\n")))
    }
}

fn connector(args: &RunArgs, file: &ScenarioFile, place: Place) -> anyhow::Result<Connector> {
    let options = ConnectorOptions {
        version: match args.target.http {
            None | Some(HttpChoice::Auto) => HttpVersion::Auto,
            Some(HttpChoice::One) => HttpVersion::Http1,
            Some(HttpChoice::Two) => HttpVersion::Http2,
        },
        trust: trusted(args, file, place),
        ..ConnectorOptions::default()
    };
    Ok(Connector::new(options)?)
}

/// Whose certificates are believed.
fn trusted(args: &RunArgs, file: &ScenarioFile, place: Place) -> Trust {
    match place {
        Place::Target => {
            settings::trust_of(args.target.insecure, args.target.cacert.as_ref(), file)
        }
        // It makes its certificate when it starts, for this run alone.
        Place::Sandbox => Trust::Anything,
    }
}

/// Where pictures of failed logins go: beside the report, else to a directory of their own among the temporary ones.
fn pictures(args: &RunArgs, mode: Mode, started: SystemTime) -> PathBuf {
    let Some(output) = &args.output else {
        return std::env::temp_dir().join(format!("throng-{}", report_stem(mode, started)));
    };
    // As the report's own path is read.
    let is_directory = output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/");
    match output.parent() {
        _ if is_directory => output.clone(),
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
