//! Set-up: from a validated scenario to logged-in users, step by step, each step told and measured.
//!
//! What has been made on the way is in [`Made`] from the moment it may exist, so that whatever happens next, it
//! can be taken away again.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use throng_client::{Client, Connector};
use throng_engine::StopSignals;
use throng_identity::directory::Directory;
use throng_identity::directory::names::{NameTemplates, Prefix, UserName};
use throng_identity::discovery::{Authorization, Flow};
use throng_identity::enrolment::{Enrolment, Moved};
use throng_identity::hooks::{self, HookError};
use throng_identity::ledger::{Ledger, RunId};
use throng_identity::login::browser::Pilot;
use throng_identity::login::{DEFAULT_REDIRECT_URI, FormLogin, LoginDriver, LoginPlan};
use throng_identity::provision::{
    Identity, KnownUser, LoginGrace, LoginWay, ProvisionError, ProvisionEvent, ProvisionPlan,
    Provisioned, UserTimings, provision,
};
use throng_identity::registration::{ClientSource, OAuthClient};
use throng_identity::retry::RetryPolicy;
use throng_metrics::PhaseTally;
use throng_workflow::model::{LoginKind, Scenario};
use url::Url;

use super::grants;
use super::hooks::Places;
use super::logout;
use super::not_ready::NotReady;
use crate::cli::directory::{self, password};
use crate::cli::narrator::Narrator;

/// Time allowed for one request of the set-up.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long what must not be dropped half-way may go on after a signal.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long logins under way may go on after a signal, where there is a logout for the sessions that come of them. A login by a
/// form takes several requests, each of which has [`REQUEST_LIMIT`]. Whoever won't wait asks a second time.
const LOGIN_GRACE: Duration = Duration::from_secs(60);
/// Users worked on at once where nobody says.
pub(crate) const LOGIN_CONCURRENCY: u32 = 16;

/// What exists, or may exist, because of this run.
pub(crate) struct Made {
    pub(crate) run: RunId,
    pub(crate) ledger: Ledger,
    /// Where users are created; none until it's known to answer.
    pub(crate) directory: Option<Arc<dyn Directory>>,
    /// Connections of the run itself, not of any user.
    pub(crate) client: Client,
    /// How the run became a client of the target's authorization server, and which; none where it is no client.
    pub(crate) enrolment: Option<Arc<Enrolment>>,
    /// Users that were, or may have been, created.
    pub(crate) created: Arc<AtomicU32>,
    /// Users that were there already and are used.
    pub(crate) reused: Arc<AtomicU32>,
    /// How long the parts of the set-up took.
    pub(crate) phases: Vec<PhaseTally>,
    /// Who drives the browser, if there may be one.
    pub(crate) pilot: Option<Arc<Pilot>>,
    /// How the first user's login went.
    pub(crate) first_login: Option<UserTimings>,
}

impl Made {
    /// The run's OAuth client, if it has one by now.
    pub(crate) fn oauth_client(&self) -> Option<Arc<OAuthClient>> {
        self.enrolment.as_ref()?.oauth_client()
    }

    /// Ends the browser, if there is one, until it is needed again.
    pub(crate) async fn rest_browser(&self) {
        if let Some(pilot) = &self.pilot {
            pilot.rest().await;
        }
    }
}

/// What set-up needs to know.
pub(crate) struct Wanted<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) names: NameTemplates,
    pub(crate) prefix: Prefix,
    pub(crate) connector: Connector,
    /// Who passes the pages of logins.
    pub(crate) driver: LoginDriver,
    /// Who logs in, where neither the file says so nor users are made.
    pub(crate) known: Option<KnownUser>,
    pub(crate) login_concurrency: u32,
    /// What stands before the names of their phases in the report, where others are made, too.
    pub(crate) phases: &'static str,
    /// What removes users that are left; none where nothing can.
    pub(crate) cleanup_command: Option<String>,
    pub(crate) stop: &'a StopSignals,
    /// Whether a step revokes tokens.
    pub(crate) revokes: bool,
}

/// Finds out how to log in, makes a client where one is needed, and the users, and logs them in. Says how further ones log in.
///
/// # Errors
/// What went wrong, in words for the user. What was made by then is in `made`.
pub(crate) async fn set_up(
    wanted: &Wanted<'_>,
    made: &mut Made,
    narrator: &mut Narrator,
) -> anyhow::Result<(LoginWay, Vec<Identity>)> {
    let scenario = wanted.scenario;
    let login = match scenario.login.kind {
        LoginKind::OAuth => LoginWay::OAuth(Arc::new(oauth(wanted, made, narrator).await?)),
        LoginKind::ClientCredentials | LoginKind::TokenExchange => {
            grants::grant(wanted, made, narrator).await?
        }
        LoginKind::Bearer => grants::bearer(scenario, narrator),
        LoginKind::Request | LoginKind::Form | LoginKind::None => {
            if scenario.users.create && scenario.directory.is_some() && wanted.known.is_none() {
                check_directory(wanted, made, narrator).await?;
            }
            if scenario.login.page.is_some() && scenario.login.logged_in.is_none() {
                narrator.warn(
                    "login: without `logged_in` nobody knows whether a session holds: whoever gets a cookie for his password passes for logged in",
                );
            }
            declared_login(scenario, &wanted.driver)?
        }
    };
    let identities = log_users_in(wanted, made, login.clone(), narrator).await;
    // What follows is measured, and a browser takes memory and time of the machine's.
    made.rest_browser().await;
    Ok((login, identities?))
}

/// How users log in where the file says it all: by requests or by a form.
pub(crate) fn declared_login(
    scenario: &Scenario,
    driver: &LoginDriver,
) -> anyhow::Result<LoginWay> {
    let (places, login) = (Places::of(scenario)?, &scenario.login);
    if let Some(page) = &login.page {
        let logged_in = login.logged_in.as_ref();
        return Ok(LoginWay::Form(Arc::new(FormLogin {
            form: places.form("login", page, &login.fields)?,
            logged_in: logged_in
                .map(|request| places.hook("logged_in", request))
                .transpose()?,
            driver: driver.clone(),
            timeout: REQUEST_LIMIT,
            retry: RetryPolicy::default(),
        })));
    }
    let request = login
        .request
        .as_ref()
        .context("login: `request` is missing")?;
    let mut requests = places.hooks(&login.before)?;
    requests.push(places.hook("login", request)?);
    Ok(LoginWay::Requests(requests.into()))
}

/// How users log in by OAuth, with the run's client.
async fn oauth(
    wanted: &Wanted<'_>,
    made: &mut Made,
    narrator: &mut Narrator,
) -> anyhow::Result<LoginPlan> {
    let enrolment = Arc::new(enrolment(wanted, made, Flow::Code).await?);
    made.enrolment = Some(enrolment.clone());
    let authorization = discover_login(wanted, &enrolment, narrator).await?;
    let scopes = enrolment.choose_scopes(&authorization);
    if wanted.scenario.users.create && wanted.known.is_none() {
        check_directory(wanted, made, narrator).await?;
    }
    let oauth_client = take_client(wanted, &enrolment, &authorization, &scopes, narrator).await?;
    let redirect_uri = enrolment.redirect_uri.clone();
    let mut login = LoginPlan::new(authorization, oauth_client, redirect_uri, scopes);
    login.timeout = REQUEST_LIMIT;
    login.enrolment = Some(enrolment);
    login.driver = wanted.driver.clone();
    Ok(login)
}

/// What the run needs to know in order to become a client.
pub(super) async fn enrolment(
    wanted: &Wanted<'_>,
    made: &Made,
    flow: Flow,
) -> anyhow::Result<Enrolment> {
    let login = &wanted.scenario.login;
    let source = match &login.client {
        Some(client) => match Url::parse(&client.id) {
            // A client id that is an https URL is that of a metadata document.
            Ok(url) if url.scheme() == "https" => ClientSource::MetadataDocument(url),
            _ => ClientSource::PreRegistered {
                id: client.id.clone(),
                proof: client.proof().context("login.client.key")?,
            },
        },
        None => ClientSource::Dynamic,
    };
    let mut redirect_uri = Url::parse(DEFAULT_REDIRECT_URI)?;
    // Somebody has to listen there for a browser; and what is registered for this run may be anywhere. A client that is known has its
    // own, which may be no other.
    if let (Some(pilot), ClientSource::Dynamic) = (wanted.driver.pilot(), &source) {
        let free = pilot.redirect_uri(&redirect_uri).await;
        redirect_uri = free.context("listening for browsers that come back from logins")?;
    }
    Ok(Enrolment {
        http: made.client.clone(),
        target: Url::parse(&wanted.scenario.target.url)?,
        source,
        scopes: login.scopes.clone(),
        redirect_uri,
        client_name: format!("throng {}", made.run.as_str()),
        ledger: made.ledger.clone(),
        run: made.run.clone(),
        flow,
        timeout: REQUEST_LIMIT,
        moved: Moved::default(),
    })
}

pub(super) async fn discover_login(
    wanted: &Wanted<'_>,
    enrolment: &Enrolment,
    narrator: &mut Narrator,
) -> anyhow::Result<Arc<Authorization>> {
    let target = &wanted.scenario.target.url.value;
    narrator.step(&format!("Finding out how to log in to {target}..."));
    let authorization = unless_stopped(wanted.stop, enrolment.discover())
        .await?
        .with_context(|| format!("finding out how to log in to {target}"))?;
    narrator.done(&match enrolment.flow {
        Flow::Code => format!("Users log in at {}", authorization.issuer),
        Flow::Direct => format!("Tokens come from {}", authorization.issuer),
    });
    if wanted.revokes && authorization.revocation_endpoint.is_none() {
        bail!(
            "a step of the workload revokes tokens (`token: revoke`), and {} offers no revocation (no revocation_endpoint in its metadata); take another --workload",
            authorization.issuer
        );
    }
    Ok(Arc::new(authorization))
}

pub(super) async fn check_directory(
    wanted: &Wanted<'_>,
    made: &mut Made,
    narrator: &mut Narrator,
) -> anyhow::Result<()> {
    let (directory, done) = directory::open(wanted.scenario, &made.client)?;
    let address = directory.url().as_str().trim_end_matches('/');
    narrator.step(&format!("Checking the directory {address}..."));
    unless_stopped(wanted.stop, directory.check()).await??;
    let stem = wanted.names.name.stem(&wanted.prefix);
    let listed = unless_stopped(wanted.stop, directory.list(&stem)).await??;
    let mut leftovers: Vec<&str> = listed
        .iter()
        .map(String::as_str)
        .filter(|name| wanted.names.name.number(&wanted.prefix, name).is_some())
        .collect();
    leftovers.sort_unstable();
    if let Some(first) = leftovers.first() {
        let removal = wanted
            .cleanup_command
            .as_ref()
            .map_or(String::new(), |command| {
                format!("remove them with\n  {command}\nor ")
            });
        bail!(
            "{} of the users to be created exist already ({first}{}); {removal}take another --user-prefix",
            leftovers.len(),
            if leftovers.len() > 1 { ", ..." } else { "" },
        );
    }
    narrator.done(&done);
    made.directory = Some(directory);
    Ok(())
}

/// Who is there already, where a file says so.
pub(super) fn known_users(scenario: &Scenario) -> Option<Arc<[KnownUser]>> {
    let listed = scenario.users.from.as_ref()?.users.iter();
    let known = listed.zip(1..).map(|(user, n)| KnownUser {
        names: UserName {
            n,
            name: user.name.value.clone(),
            display_name: match &user.display_name {
                Some(shown) => shown.clone(),
                None => user.name.value.clone(),
            },
            email: user.email.clone().unwrap_or_default(),
        },
        password: user.password.as_ref().map(|password| password.0.clone()),
        token: user.token.as_ref().map(|token| token.0.clone()),
    });
    Some(known.collect())
}

pub(super) async fn take_client(
    wanted: &Wanted<'_>,
    enrolment: &Enrolment,
    authorization: &Authorization,
    scopes: &[String],
    narrator: &mut Narrator,
) -> anyhow::Result<Arc<OAuthClient>> {
    narrator.step("Taking one OAuth client for the run...");
    let client = enrolment.take_client(authorization, scopes);
    let client = soon_after_stop(wanted.stop, client)
        .await?
        .context("taking an OAuth client")?;
    narrator.done(&match client.registration {
        Some(_) => format!("Registered as '{}'", enrolment.client_name),
        None => format!("Client {}", client.id),
    });
    Ok(client)
}

/// What is to be done for the users, its requests looked at for mistakes.
fn plan(wanted: &Wanted<'_>, made: &Made, login: LoginWay) -> anyhow::Result<ProvisionPlan> {
    let hooks = Places::of(wanted.scenario)?.hooks(&wanted.scenario.login.after)?;
    let plan = ProvisionPlan {
        users: wanted.scenario.users.count.value,
        prefix: wanted.prefix.clone(),
        names: wanted.names.clone(),
        known: match &wanted.known {
            Some(known) => Some([known.clone()].into()),
            None => known_users(wanted.scenario),
        },
        directory: made.directory.clone(),
        connector: wanted.connector.clone(),
        login,
        password: password(wanted.scenario),
        timeout: REQUEST_LIMIT,
        after_login: hooks.into(),
        concurrency: match &wanted.driver {
            // Who waits for the browser would be waiting in the figures, too.
            LoginDriver::Browser(pilot) => pilot.parallel(),
            LoginDriver::Http | LoginDriver::Auto(_) => wanted.login_concurrency as usize,
        },
        retry: RetryPolicy::default(),
        stop_at_failure: true,
        login_grace: wanted.scenario.login.logout.as_ref().map(|_| LoginGrace {
            limit: LOGIN_GRACE,
            give_up: wanted.stop.abort.clone(),
        }),
        run: made.run.clone(),
    };
    let mistakes = match &plan.login {
        LoginWay::OAuth(_) | LoginWay::Grant(_) | LoginWay::Bearer(_) => {
            hooks::check(&plan.after_login, true)
        }
        // What they save, those after them may use: looked at in one piece.
        LoginWay::Requests(requests) => {
            let all: Vec<_> = requests.iter().chain(&*plan.after_login).cloned().collect();
            hooks::check(&all, false)
        }
        LoginWay::Form(form) => {
            let probe = form.logged_in.iter();
            let all: Vec<_> = probe.chain(&*plan.after_login).cloned().collect();
            let mut mistakes = hooks::check_page(&form.form);
            mistakes.extend(hooks::check(&all, false));
            mistakes
        }
    };
    if mistakes.is_empty() {
        return Ok(plan);
    }
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    bail!("{}", lines.join("\n"));
}

/// Makes users and logs them in, where it is known how.
///
/// # Errors
/// What went wrong, in words for the user. What was made by then is in `made`.
pub(crate) async fn log_users_in(
    wanted: &Wanted<'_>,
    made: &mut Made,
    login: LoginWay,
    narrator: &mut Narrator,
) -> anyhow::Result<Vec<Identity>> {
    let users = wanted.scenario.users.count.value;
    let whom = if wanted.phases.is_empty() {
        "users"
    } else {
        "users for the monkeys"
    };
    narrator.step(&match &login {
        _ if made.directory.is_none() => format!("Logging {users} {whom} in..."),
        LoginWay::OAuth(_) => format!("Creating {users} {whom} and acquiring OAuth tokens..."),
        LoginWay::Grant(_) | LoginWay::Bearer(_) | LoginWay::Requests(_) | LoginWay::Form(_) => {
            format!("Creating {users} {whom} and logging them in...")
        }
    });
    let plan = plan(wanted, made, login)?;
    narrator.note(&format!(
        "(Running concurrently, up to {} at once)",
        plan.concurrency
    ));
    let tell = narrator.teller(users, made.directory.is_some());
    let (created, reused) = (made.created.clone(), made.reused.clone());
    let ready = AtomicU32::new(0);
    let provisioned = provision(
        &plan,
        &made.ledger,
        &wanted.stop.drain,
        Arc::new(move |event| {
            match &event {
                ProvisionEvent::Created(..) => {
                    created.fetch_add(1, Ordering::Relaxed);
                }
                ProvisionEvent::Reused(_) => {
                    reused.fetch_add(1, Ordering::Relaxed);
                }
                ProvisionEvent::Ready(_) => {
                    ready.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
            tell.provision(&event, ready.load(Ordering::Relaxed));
        }),
    )
    .await;
    narrator.clear();
    made.first_login = provisioned.timings.first().cloned();
    made.phases.extend(phases(
        &provisioned,
        wanted.phases,
        !plan.after_login.is_empty(),
    ));
    let Provisioned {
        identities,
        failures,
        half_ready,
        not_started,
        ..
    } = provisioned;
    let stopped = wanted.stop.drain.is_cancelled();
    let abandoned = |(_, error): &(u32, ProvisionError)| match error {
        ProvisionError::Interrupted {
            name,
            abandoned: true,
        } => Some(format!("'{name}'")),
        _ => None,
    };
    let abandoned: Vec<_> = failures.iter().filter_map(abandoned).collect();
    if !abandoned.is_empty() {
        narrator.warn(&format!(
            "given up in the middle of logging in: {}; sessions that the target began for them stay until it ends them",
            abandoned.join(", ")
        ));
    }
    if stopped || !failures.is_empty() {
        let ready = identities.len();
        logout::after_all(wanted, identities, half_ready, narrator).await?;
        if stopped {
            bail!("stopped by a signal");
        }
        let limited = failures.iter().any(|(_, failure)| limited_by_name(failure));
        let mut not_ready = NotReady {
            users,
            ready,
            not_started,
            advice: if limited {
                " (it was asked too often about these: users of another --user-prefix are new to it)"
            } else {
                ""
            },
            ..NotReady::default()
        };
        for (_, failure) in &failures {
            not_ready.add(failure);
        }
        return Err(not_ready.into());
    }
    let done = match &plan.directory {
        Some(_) => "created and authenticated",
        None => "authenticated",
    };
    narrator.done(&format!("Successfully {done} {} users", identities.len()));
    Ok(identities)
}

/// Whether the target took no more requests after a login. The Nextcloud MCP server takes five app passwords of a user's
/// name in an hour, so that the sixth run within an hour meets this.
fn limited_by_name(failure: &ProvisionError) -> bool {
    matches!(
        failure,
        ProvisionError::Hook {
            source: HookError::Status {
                status: StatusCode::TOO_MANY_REQUESTS,
                ..
            },
            ..
        }
    )
}

/// The phases' figures for the report.
fn phases(provisioned: &Provisioned, before: &str, has_hooks: bool) -> Vec<PhaseTally> {
    let mut provision = PhaseTally::new(format!("{before}provision"));
    let mut login = PhaseTally::new(format!("{before}login"));
    let mut after = PhaseTally::new(format!("{before}after_login"));
    for timings in &provisioned.timings {
        let failure = provisioned
            .failures
            .iter()
            .find(|(n, _)| *n == timings.n)
            .map(|(_, error)| error);
        // The last stage that was begun is the one that failed.
        let stages = [
            (&mut provision, timings.create, Duration::ZERO),
            (&mut login, timings.login, timings.queued),
            (&mut after, timings.after_login, Duration::ZERO),
        ];
        let last = stages.iter().rposition(|(_, took, _)| took.is_some());
        for (index, (phase, took, waited)) in stages.into_iter().enumerate() {
            match (took, &failure) {
                // What a signal cut off neither succeeded nor failed.
                (Some(_), Some(ProvisionError::Interrupted { .. })) if Some(index) == last => {}
                (Some(_), Some(error)) if Some(index) == last => phase.failed(error.to_string()),
                (Some(took), _) => {
                    phase.succeeded(took);
                    phase.queued(waited);
                }
                (None, _) => {}
            }
        }
    }
    let mut phases = vec![login];
    if provisioned.timings.iter().any(|user| user.create.is_some()) {
        phases.insert(0, provision);
    }
    if has_hooks {
        phases.push(after);
    }
    // The users go through the phases side by side, so that each phase lasts as long as all of them.
    for phase in &mut phases {
        phase.set_wall(provisioned.took);
    }
    phases
}

/// Waits for something that would leave a trace if it were dropped half-way: after a signal it may still end by itself for a
/// short while. A registration that is dropped in flight exists, and nobody holds the token that could delete it.
async fn soon_after_stop<T>(
    stop: &StopSignals,
    work: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let mut work = pin!(work);
    tokio::select! {
        result = &mut work => Ok(result),
        () = stop.drain.cancelled() => match tokio::time::timeout(STOP_GRACE, work).await {
            Ok(result) => Ok(result),
            Err(_) => bail!("stopped by a signal"),
        },
    }
}

/// Waits for something unless a signal comes first.
pub(crate) async fn unless_stopped<T>(
    stop: &StopSignals,
    work: impl Future<Output = T>,
) -> anyhow::Result<T> {
    tokio::select! {
        result = work => Ok(result),
        () = stop.drain.cancelled() => bail!("stopped by a signal"),
    }
}
