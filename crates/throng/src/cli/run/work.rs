//! The run proper: set-up, sessions, load. Whatever goes wrong in it, a panic included, comes back as words, so that
//! what was made can still be taken away and the report written.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};
use throng_client::Client;
use throng_client::mcp::{Server, ServerOptions, Tools};
use throng_engine::{RunOutcome, StopSignals, Tick};
use throng_identity::hooks::{Hook, Values};
use throng_identity::provision::Identity;
use throng_metrics::PhaseTally;
use throng_workflow::model::{LoginKind, Protocol};
use throng_workflow::{Crowd, CrowdOptions, Logout, Person, Problem, Scenario};
use url::Url;

use super::hooks::Places;
use super::live::LiveLine;
use super::open;
use super::prepare::Prepared;
use super::setup::{Made, Wanted, set_up, unless_stopped};
use crate::cli::narrator::Narrator;
use crate::cli::settings;

/// How long ending all sessions may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);
/// The same when somebody waits for it.
const CLOSE_LIMIT_AFTER_ABORT: Duration = Duration::from_secs(2);

/// What a run came to.
#[derive(Default)]
pub(crate) struct Worked {
    /// The load's outcome; none if it never began.
    pub(crate) outcome: Option<RunOutcome>,
    /// Why the set-up failed; empty if it didn't.
    pub(crate) failures: Vec<String>,
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
            worked.failures.push(words);
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
    let crowd = connect(prepared, made, stop, narrator).await?;
    worked.versions.extend(server_versions(&crowd));
    let crowd = Arc::new(crowd);
    let fits = unless_stopped(stop, check_drift(prepared, &crowd))
        .await
        .flatten();
    if let Ok(problems) = &fits
        && !problems.is_empty()
    {
        narrator.warn(&misfit(problems));
        worked.drift = problems.iter().map(Problem::headline).collect();
    } else if fits.is_ok() {
        let outcome = run_load(prepared, &crowd, stop, narrator).await;
        worked.failures.extend(
            outcome
                .user_errors
                .iter()
                .map(|error| error.message.clone()),
        );
        worked.drift = throng_workflow::drift::unserved(&prepared.file.program, &outcome.tally);
        for mistake in &worked.drift {
            narrator.warn(mistake);
        }
        worked.outcome = Some(outcome);
    }
    close_sessions(crowd, stop, narrator).await;
    fits.map(drop)
}

/// Makes the users and opens a session for each.
///
/// # Errors
/// What went wrong. What was made by then is in `made`.
pub(super) async fn connect(
    prepared: &Prepared<'_>,
    made: &mut Made,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> anyhow::Result<Crowd> {
    let scenario = &prepared.file.scenario;
    let (names, prefix) = throng_workflow::users::templates(&scenario.users)?;
    let wanted = Wanted {
        scenario,
        names,
        prefix,
        connector: prepared.connector.clone(),
        login_concurrency: prepared.login_concurrency,
        cleanup_command: prepared.cleanup_command(),
        stop,
    };
    let people = match scenario.login.kind {
        LoginKind::OAuth | LoginKind::Request | LoginKind::Form => {
            let identities = set_up(&wanted, made, narrator).await?;
            let logout = logout(scenario)?;
            let people = identities.into_iter();
            people
                .map(|identity| person(identity, logout.as_ref(), &wanted))
                .collect()
        }
        LoginKind::None => nobody_known(&wanted),
    };
    open_sessions(prepared, made, people, stop, narrator).await
}

/// The request by which each user logs out.
fn logout(scenario: &Scenario) -> anyhow::Result<Option<Arc<Hook>>> {
    let Some(request) = &scenario.login.logout else {
        return Ok(None);
    };
    let hook = Places::of(scenario)?.hook("logout", request)?;
    Ok(Some(Arc::new(hook)))
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
    (1..=wanted.scenario.users.count.value)
        .map(|n| {
            let user = wanted.names.user(&wanted.prefix, n);
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
    let teller = narrator.teller(users);
    let opening = Crowd::open(people, server, options, |open| {
        teller.count(open as u32, "have a session")
    });
    let opened = unless_stopped(stop, opening).await?;
    narrator.clear();
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

async fn run_load(
    prepared: &Prepared<'_>,
    crowd: &Arc<Crowd>,
    stop: &StopSignals,
    narrator: &mut Narrator,
) -> RunOutcome {
    let load = &prepared.load;
    let program = &prepared.file.program;
    narrator.step(&format!(
        "Running workload {} for {} s (after {} s of warm-up)...",
        prepared.workload(),
        load.duration.as_secs_f64(),
        load.warmup.as_secs_f64(),
    ));
    let mut line = LiveLine::default();
    let mut on_tick = |tick: &Tick<'_>| {
        let text = line.text(tick, load, narrator.columns());
        narrator.live(tick.elapsed, text);
    };
    let outcome = prepared
        .job
        .run(load, program, crowd.clone(), stop.clone(), &mut on_tick)
        .await;
    narrator.clear();
    outcome
}

/// Ends the sessions, but not at any price: a target that hangs must not keep the users from being removed.
pub(super) async fn close_sessions(crowd: Arc<Crowd>, stop: &StopSignals, narrator: &Narrator) {
    // Whoever else holds it was dropped with the run; should one still, its sessions end with its users.
    let Some(crowd) = Arc::into_inner(crowd) else {
        return;
    };
    let logouts = crowd.logouts();
    let aborted = stop.abort.is_cancelled();
    let limit = if aborted {
        CLOSE_LIMIT_AFTER_ABORT
    } else {
        CLOSE_LIMIT
    };
    let closed = tokio::select! {
        errors = crowd.close() => Some(errors),
        () = tokio::time::sleep(limit) => None,
        () = stop.abort.cancelled(), if !aborted => None,
    };
    match closed.as_deref() {
        Some([]) if logouts > 0 => narrator.done(&format!("{logouts} users logged out")),
        Some([]) => {}
        Some([first, ..]) => narrator.warn(&format!(
            "{} sessions were not ended properly; the first: {}",
            closed.as_ref().map_or(0, Vec::len),
            with_sources(first)
        )),
        None => narrator.warn("the target is slow to end the sessions: some are left to it"),
    }
}
