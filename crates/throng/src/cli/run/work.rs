//! The run proper: set-up, sessions, load. Whatever goes wrong in it, a panic included, comes back as words, so that
//! what was made can still be taken away and the report written.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};
use throng_client::Client;
use throng_client::mcp::{Server, ServerOptions, Tools};
use throng_engine::{RunOutcome, StopSignals};
use throng_fuzz::Found;
use throng_identity::directory::names::Prefix;
use throng_identity::hooks::{Hook, Values};
use throng_identity::provision::{Identity, LoginWay};
use throng_metrics::{Catalog, PhaseTally, Tally};
use throng_workflow::model::{LoginKind, Mode, Protocol};
use throng_workflow::{Crowd, CrowdOptions, Logout, Person, Problem, Scenario};
use url::Url;

use super::logout;
use super::monkeys::{self, Monkeys, Team};
use super::not_ready::NotReady;
use super::open;
use super::prepare::Prepared;
use super::setup::{Made, Wanted, known_users, log_users_in, set_up, unless_stopped};
use super::swarms::{self, Swarms};
use crate::cli::narrator::Narrator;
use crate::cli::settings;

/// After a signal, what was found is looked at again for as long at most.
const HURRIED: Duration = Duration::from_secs(3);

/// What a run came to.
#[derive(Default)]
pub(crate) struct Worked {
    /// The load's outcome; none if it never began.
    pub(crate) outcome: Option<RunOutcome>,
    /// Why the set-up failed; empty if it didn't.
    pub(crate) failures: Vec<String>,
    /// Names of all that was measured; none if the load never began.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// What the users alone did, where monkeys worked beside them.
    pub(crate) users: Option<Tally>,
    /// Calls of the monkeys, where they worked beside users.
    pub(crate) monkey_calls: Option<u64>,
    /// What the monkeys found.
    pub(crate) found: Option<Found>,
    /// Every place where the scenario doesn't fit the target, in a line each; they were told at length.
    pub(crate) drift: Vec<String>,
    /// Versions of the parties involved, by name.
    pub(crate) versions: Vec<(String, String)>,
}

/// Sets up and runs the load.
pub(crate) async fn work(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> Worked {
    let mut worked = Worked::default();
    let result = AssertUnwindSafe(load(prepared, made, stop, narrator, &mut worked))
        .catch_unwind()
        .await;
    narrator.clear();
    match result {
        Ok(Ok(())) => {}
        // Words about a signal add nothing to the verdict that says so.
        Ok(Err(_)) if stop.drain.is_cancelled() => {}
        Ok(Err(error)) => {
            let words = super::super::words(&error);
            narrator.warn(&words);
            // The verdict's line takes the first; why users are not ready stands above it.
            match error.downcast_ref::<NotReady>() {
                Some(not_ready) => worked.failures.extend(not_ready.parts()),
                None => worked.failures.push(words),
            }
        }
        Err(panic) => worked.failures.push(bug(&*panic).to_string()),
    }
    worked
}

/// A panic as an error.
pub(super) fn bug(panic: &(dyn Any + Send)) -> anyhow::Error {
    anyhow!("this is a bug in throng: {}", words_of(panic))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

async fn load(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
    worked: &mut Worked,
) -> anyhow::Result<()> {
    let (crowd, login) = if prepared.mode().has_users() {
        let (crowd, login) = crowd(prepared, made, stop, narrator).await?;
        (Some(Arc::new(crowd)), login)
    } else {
        (None, None)
    };
    let mut fits = Ok(Vec::new());
    if let Some(crowd) = &crowd {
        worked.versions.extend(server_versions(crowd));
        fits = unless_stopped(stop, check_drift(prepared, crowd))
            .await
            .flatten();
    }
    let mut done = Ok(());
    if let Ok(problems) = &fits
        && !problems.is_empty()
    {
        narrator.warn(&misfit(problems));
        worked.drift = problems.iter().map(Problem::headline).collect();
    } else if fits.is_ok() {
        done = put_load(prepared, made, crowd.clone(), login, stop, narrator, worked).await;
    }
    if let Some(crowd) = crowd {
        close_sessions(crowd, stop, narrator).await;
    }
    fits.map(drop).and(done)
}

/// Makes the monkeys, where there are to be some, and runs the load.
async fn put_load(
    prepared: &Prepared<'_>,
    made: &mut Made,
    users: Option<Arc<Crowd>>,
    login: Option<LoginWay>,
    stop: &StopSignals,
    narrator: &mut Narrator,
    worked: &mut Worked,
) -> anyhow::Result<()> {
    let program = &prepared.file.program;
    let mut swarms = Swarms {
        users,
        monkeys: None,
        catalog: program.catalog.clone(),
    };
    if prepared.mode().has_monkeys() {
        let team = team(prepared, made, login, stop, narrator).await?;
        let before = match swarms.users {
            Some(_) => Catalog::clone(&program.catalog),
            None => Catalog::default(),
        };
        let ready = monkeys::ready(prepared, team, before);
        let Monkeys { monkey, catalog } = unless_stopped(stop, ready).await??;
        swarms.monkeys = Some(monkey);
        swarms.catalog = catalog;
    }
    narrator.step(&prepared.doing());
    let done = swarms::run(prepared, &swarms, stop, narrator).await;
    worked.catalog = Some(swarms.catalog.clone());
    if let Some(monkey) = &swarms.monkeys {
        // Who stops a run doesn't want to wait for what it found to be sent again.
        let budget = if stop.drain.is_cancelled() {
            Duration::ZERO
        } else {
            prepared.file.scenario.monkey.settle.0
        };
        narrator.progress("looking again at what was found".to_owned());
        let enough = stop.abort.child_token();
        let hurry = async {
            stop.drain.cancelled().await;
            if !budget.is_zero() {
                tokio::time::sleep(HURRIED).await;
                narrator.warn("stopped by a signal: not all that was found was looked at again");
            }
            enough.cancel();
            std::future::pending::<Found>().await
        };
        worked.found = Some(tokio::select! {
            found = monkey.settle(budget, &enough) => found,
            found = hurry => found,
        });
        narrator.clear();
    }
    let outcome = done.all;
    worked.failures.extend(
        outcome
            .user_errors
            .iter()
            .map(|error| error.message.clone()),
    );
    if swarms.users.is_some() {
        let tally = done.users.as_ref().unwrap_or(&outcome.tally);
        worked.drift = throng_workflow::drift::unserved(program, tally);
    }
    for mistake in &worked.drift {
        narrator.warn(mistake);
    }
    worked.outcome = Some(outcome);
    worked.users = done.users;
    worked.monkey_calls = done.monkey_calls;
    Ok(())
}

/// What set-up needs to know of the users of this prefix.
fn wanted<'a>(
    prepared: &'a Prepared<'_>,
    stop: &'a StopSignals,
    monkeys: bool,
) -> anyhow::Result<Wanted<'a>> {
    let scenario = &prepared.file.scenario;
    let (names, prefix) = throng_workflow::users::templates(&scenario.users)?;
    let both = prepared.mode() == Mode::Both;
    Ok(Wanted {
        scenario,
        names,
        prefix: if monkeys {
            Prefix::new(&monkeys::prefix(prefix.as_str()))?
        } else {
            prefix
        },
        connector: prepared.connector.clone(),
        driver: prepared.driver.clone(),
        known: prepared.known.clone(),
        login_concurrency: prepared.login_concurrency,
        phases: if monkeys && both { "monkey_" } else { "" },
        cleanup_command: prepared.cleanup_command(),
        stop,
        revokes: !monkeys && prepared.file.program.revokes(),
    })
}

/// Makes the users, and opens a session for each.
///
/// # Errors
/// What went wrong. What was made by then is in `made`.
pub(super) async fn connect(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<(Crowd, Vec<Identity>)> {
    let wanted = wanted(prepared, stop, false)?;
    let (identities, _) = known(&wanted, made, narrator).await?;
    let people = people(identities.clone(), &wanted)?;
    let crowd = open_sessions(prepared, made, people, stop, narrator).await?;
    Ok((crowd, identities.unwrap_or_default()))
}

/// The same without the identities, and how further users log in, if they do.
async fn crowd(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<(Crowd, Option<LoginWay>)> {
    let wanted = wanted(prepared, stop, false)?;
    let (identities, login) = known(&wanted, made, narrator).await?;
    let people = people(identities, &wanted)?;
    let crowd = open_sessions(prepared, made, people, stop, narrator).await?;
    Ok((crowd, login))
}

/// The users who log in, and how; none where nobody does.
async fn known(
    wanted: &Wanted<'_>,
    made: &mut Made,
    narrator: &mut Narrator,
) -> anyhow::Result<(Option<Vec<Identity>>, Option<LoginWay>)> {
    if wanted.scenario.login.kind == LoginKind::None {
        return Ok((None, None));
    }
    let (login, identities) = set_up(wanted, made, narrator).await?;
    Ok((Some(identities), Some(login)))
}

fn people(identities: Option<Vec<Identity>>, wanted: &Wanted<'_>) -> anyhow::Result<Vec<Person>> {
    let Some(identities) = identities else {
        return Ok(nobody_known(wanted));
    };
    let logout = logout::request(wanted.scenario)?;
    let people = identities.into_iter();
    let people = people.map(|identity| person(identity, logout.as_ref(), wanted));
    Ok(people.collect())
}

/// The monkeys' own users; `login` is how they log in, where that is known.
async fn team(
    prepared: &Prepared<'_>,
    made: &mut Made,
    login: Option<LoginWay>,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<Team> {
    let wanted = wanted(prepared, stop, true)?;
    let (scenario, connector) = (wanted.scenario, &wanted.connector);
    if scenario.login.kind == LoginKind::None {
        let people = nobody_known(&wanted).into_iter();
        return Ok(Team::nobody(
            people.map(|person| person.name).collect(),
            connector,
        ));
    }
    let identities = match login {
        Some(login) => log_users_in(&wanted, made, login, narrator).await?,
        None => set_up(&wanted, made, narrator).await?.1,
    };
    Team::of(identities, scenario, connector, &wanted.driver)
}

/// An identity with what it sends by. Whoever brings a token brings no cookies, but an HTTP target may set some.
fn person(identity: Identity, logout: Option<&Arc<Hook>>, wanted: &Wanted<'_>) -> Person {
    let logout = logout.map(|request| {
        Box::new(Logout {
            request: request.clone(),
            values: identity.values(),
        })
    });
    let person = Person {
        logout,
        ..Person::from(identity)
    };
    match wanted.scenario.target.protocol {
        Protocol::Http if person.tokens.is_some() => Person {
            client: Client::with_cookies(&wanted.connector),
            ..person
        },
        _ => person,
    }
}

/// Users of a target that asks nobody who he is: names and connections of their own, and nothing else.
fn nobody_known(wanted: &Wanted<'_>) -> Vec<Person> {
    let known = known_users(wanted.scenario);
    (1..=wanted.scenario.users.count.value)
        .map(|n| {
            let user = match &known {
                Some(known) => known[n as usize - 1].names.clone(),
                None => wanted.names.user(&wanted.prefix, n),
            };
            Person {
                name: user.name,
                display_name: user.display_name,
                email: user.email,
                client: match wanted.scenario.target.protocol {
                    Protocol::Mcp => Client::new(&wanted.connector),
                    Protocol::Http => Client::with_cookies(&wanted.connector),
                },
                tokens: None,
                saved: Values::new(),
                logout: None,
            }
        })
        .collect()
}

async fn open_sessions(
    prepared: &Prepared<'_>,
    made: &mut Made,
    people: Vec<Person>,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<Crowd> {
    let users = people.len() as u32;
    let scenario = &prepared.file.scenario;
    let options = CrowdOptions {
        concurrency: prepared.login_concurrency as usize,
        timeout: scenario.target.timeout.0,
        headers: headers(scenario)?,
        run_id: made
            .run
            .as_str()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect(),
    };
    if scenario.target.protocol == Protocol::Http {
        return open::over_http(prepared, people, options, narrator);
    }
    narrator.step(&format!("Opening {users} MCP sessions..."));
    let server = Server::new(&Url::parse(&scenario.target.url)?, ServerOptions::default())?;
    let teller = narrator.teller(users, false);
    let opening = Crowd::open(people, server, options, stop, |open| {
        teller.count(open as u32, "have a session")
    });
    let opened = opening.await;
    narrator.clear();
    if opened.is_err() && stop.drain.is_cancelled() {
        if stop.abort.is_cancelled() {
            narrator.warn(
                "given up while sessions were opened and closed: some are left to the target",
            );
        }
        bail!("stopped by a signal");
    }
    let mut phase = PhaseTally::new("session");
    let result = match opened {
        Ok(opened) => {
            opened
                .timings
                .iter()
                .for_each(|took| phase.succeeded(*took));
            phase.set_wall(opened.took);
            let version = opened
                .crowd
                .server()
                .and_then(|server| server.protocol_version())
                .unwrap_or("unknown");
            narrator.done(&format!("{users} sessions open, MCP {version}"));
            Ok(opened.crowd)
        }
        Err(errors) => {
            errors
                .iter()
                .for_each(|error| phase.failed(with_sources(error)));
            let first = errors
                .first()
                .map_or_else(String::new, |error| with_sources(error));
            Err(anyhow!(
                "{} of {users} sessions could not be opened; the first: {first}",
                errors.len()
            ))
        }
    };
    made.phases.push(phase);
    result
}

/// An error with what is behind it, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        source = next.source();
    }
    words
}

fn headers(scenario: &Scenario) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    scenario
        .target
        .headers
        .0
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.value.as_bytes())
                .with_context(|| format!("target.headers: `{}` is no header name", name.value))?;
            let value = HeaderValue::from_str(value)
                .with_context(|| format!("target.headers.{name}: not a header's value"))?;
            Ok((name, value))
        })
        .collect()
}

/// The protocol's version, and what the server says of itself.
fn server_versions(crowd: &Crowd) -> Vec<(String, String)> {
    let Some(server) = crowd.server() else {
        return Vec::new();
    };
    let protocol = server.protocol_version().map(|version| ("mcp", version));
    let info = server.info();
    let text = |key: &str| info?.get(key)?.as_str();
    let itself = text("name").map(|name| (name, text("version").unwrap_or("unknown")));
    [protocol, itself]
        .into_iter()
        .flatten()
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// Holds the file's tool calls against what the server offers; a difference is the file's fault.
async fn check_drift(prepared: &Prepared<'_>, crowd: &Crowd) -> anyhow::Result<Vec<Problem>> {
    if crowd.server().is_none() {
        return Ok(Vec::new());
    }
    let tools = tools(crowd).await?;
    Ok(throng_workflow::drift(&prepared.file, &tools))
}

/// What the server offers.
pub(super) async fn tools(crowd: &Crowd) -> anyhow::Result<Arc<Tools>> {
    crowd.tools().await.context("listing the server's tools")
}

/// The mistakes of a file that doesn't fit its target, at length.
pub(crate) fn misfit(problems: &[Problem]) -> String {
    format!(
        "the scenario doesn't fit this target (the scenario is to be mended, not the server)\n{}",
        settings::list(problems)
    )
}

/// Ends the sessions, but not at any price: a target that hangs must not keep the users from being removed.
pub(super) async fn close_sessions(crowd: Arc<Crowd>, stop: &StopSignals, narrator: &Narrator) {
    // Whoever else holds it was dropped with the run; should one still, its sessions end with its users.
    let Some(crowd) = Arc::into_inner(crowd) else {
        return;
    };
    let logouts = crowd.logouts();
    let ended = logout::in_time(stop, crowd.close()).await;
    let failed = ended.map(|errors| errors.iter().map(|error| with_sources(error)).collect());
    logout::tell(logouts, failed, narrator);
}
