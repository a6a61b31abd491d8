//! Creates a run's users, logs them in and runs their hooks: all in parallel, bounded, measured, written to the ledger first.
//!
//! A failed user does not undo the others; whatever was created is in the ledger, and [`crate::cleanup`] removes it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use throng_client::{Client, Connector};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::directory::names::{NameTemplates, Prefix, UserName};
use crate::directory::{Creation, Directory, DirectoryError, NewUser, password};
use crate::discovery::Authorization;
use crate::hooks::{self, Hook, HookError, Values};
use crate::ledger::{EntryId, Kind, Ledger, LedgerError, Place, RunId, State};
use crate::login::token::Tokens;
use crate::login::{Hop, LoginError, LoginPlan, Problem, log_in};
use crate::registration::{
    self, ClientSource, OAuthClient, RegistrationError, RegistrationRequest,
};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::tokens::TokenCell;

/// What is to be provisioned.
#[derive(Debug, Clone)]
pub struct ProvisionPlan {
    /// How many users.
    pub users: u32,
    /// What their names begin with.
    pub prefix: Prefix,
    /// How they are named.
    pub names: NameTemplates,
    /// Where they are created.
    pub directory: Arc<dyn Directory>,
    /// What makes each user's own connections.
    pub connector: Connector,
    /// How they log in.
    pub login: LoginWay,
    /// Their password, where it is not to be made up for each: the same in every run, so that users who stay can be used again.
    pub password: Option<Secret>,
    /// What happens after each login.
    pub after_login: Arc<[Hook]>,
    /// Time allowed for each declared request.
    pub timeout: Duration,
    /// Users worked on at once, at least 1.
    pub concurrency: usize,
    /// Attempts and time for one user's creation, and for each hook.
    pub retry: RetryPolicy,
    /// Start no further users once one has failed.
    pub stop_at_failure: bool,
    /// The run they belong to.
    pub run: RunId,
}

/// How users log in.
#[derive(Debug, Clone)]
pub enum LoginWay {
    /// OAuth 2 / OpenID Connect: the session is a token.
    OAuth(Arc<LoginPlan>),
    /// One declared request: the session is the cookies that its answer sets. What it saves, later requests may use.
    Request(Arc<Hook>),
}

/// A user that is logged in and ready to work.
#[derive(Clone)]
pub struct Identity {
    /// Dense number from 0, in the order of names.
    pub index: u32,
    /// Number in the name, from 1.
    pub n: u32,
    /// Login name.
    pub name: String,
    /// Shown name.
    pub display_name: String,
    /// Mail address.
    pub email: String,
    /// Login password.
    pub password: Secret,
    /// Connections and cookies of this user alone.
    pub client: Client,
    /// The access token; none where the cookies are the session.
    pub tokens: Option<TokenCell>,
    /// What the login's own request and the hooks saved.
    pub saved: Values,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("index", &self.index)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How long one user took. A stage that did not succeed has its time until it failed.
#[derive(Debug, Clone)]
pub struct UserTimings {
    /// Number in the name, from 1.
    pub n: u32,
    /// Login name.
    pub name: String,
    /// Creating, retries included.
    pub create: Option<Duration>,
    /// Logging in, retries included.
    pub login: Option<Duration>,
    /// All hooks.
    pub after_login: Option<Duration>,
    /// Attempts at the login.
    pub login_attempts: u32,
    /// The login's requests.
    pub hops: Vec<Hop>,
}

/// Where provisioning a user failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The ledger could not be written; nothing was created.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The directory did not create the user.
    #[error("creating {name}: {source}")]
    Create {
        /// The user.
        name: String,
        /// What went wrong.
        source: DirectoryError,
    },
    /// The user could not log in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The declared request of the login failed.
    #[error("logging in {name}: {source}")]
    SignIn {
        /// The user.
        name: String,
        /// What went wrong.
        source: HookError,
    },
    /// A hook failed.
    #[error("after the login of {name}: {source}")]
    Hook {
        /// The user.
        name: String,
        /// What went wrong.
        source: HookError,
    },
    /// Given up because the run was.
    #[error("{name}: interrupted")]
    Interrupted {
        /// The user.
        name: String,
    },
    /// The user's task died, which is a bug.
    #[error("provisioning user {n} ended without a result: {reason}")]
    Lost {
        /// Number in the name.
        n: u32,
        /// What the runtime says.
        reason: String,
    },
}

impl ProvisionError {
    /// The login failed because the password is another one, as far as can be told.
    fn refuses_password(&self) -> bool {
        match self {
            Self::Login(error) => matches!(error.problem(), Problem::Credentials),
            Self::SignIn { source, .. } => matches!(
                source,
                HookError::Status { status, .. } if status.is_client_error() && !hooks::is_passing(*status)
            ),
            _ => false,
        }
    }
}

/// Something to show while it goes on.
#[derive(Debug)]
pub enum ProvisionEvent<'a> {
    /// Work on a user begins.
    Started(&'a UserName),
    /// The user exists now.
    Created(&'a UserName, Duration),
    /// The user was there already, with the password that all of the run's users have.
    Reused(&'a UserName),
    /// The user is logged in.
    LoggedIn(&'a UserName, Duration),
    /// The user is ready to work.
    Ready(&'a UserName),
    /// The user is not.
    Failed(&'a UserName, &'a ProvisionError),
}

/// What came of it.
#[derive(Debug)]
pub struct Provisioned {
    /// Those who are ready, by number, densely indexed.
    pub identities: Vec<Identity>,
    /// Those who are not, and why, by number.
    pub failures: Vec<(u32, ProvisionError)>,
    /// How long each took that was started, by number.
    pub timings: Vec<UserTimings>,
    /// Users never started: after a failure or an interruption.
    pub not_started: u32,
    /// The whole phase.
    pub took: Duration,
}

type OnEvent = Arc<dyn Fn(ProvisionEvent<'_>) + Send + Sync>;

/// Provisions all users. Returns when every started one is ready or has failed; `cancel` gives up logins and hooks at once, while
/// creations under way are waited for, so that the ledger tells the truth.
pub async fn provision(
    plan: &ProvisionPlan,
    ledger: &Ledger,
    cancel: &CancellationToken,
    on_event: OnEvent,
) -> Provisioned {
    let started = Instant::now();
    let plan = Arc::new(plan.clone());
    let permits = Arc::new(Semaphore::new(plan.concurrency.max(1)));
    let failed = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let mut numbers = std::collections::HashMap::new();
    for n in 1..=plan.users {
        let user = User {
            names: plan.names.user(&plan.prefix, n),
            plan: plan.clone(),
            ledger: ledger.clone(),
            cancel: cancel.clone(),
            on_event: on_event.clone(),
        };
        let (permits, failed) = (permits.clone(), failed.clone());
        let handle = tasks.spawn(async move {
            // Never closed.
            let _permit = permits.acquire().await.ok()?;
            if user.cancel.is_cancelled()
                || (user.plan.stop_at_failure && failed.load(Ordering::Relaxed))
            {
                return None;
            }
            let outcome = user.bring_up().await;
            failed.fetch_or(outcome.1.is_err(), Ordering::Relaxed);
            Some(outcome)
        });
        numbers.insert(handle.id(), n);
    }
    let mut provisioned = Provisioned {
        identities: Vec::new(),
        failures: Vec::new(),
        timings: Vec::new(),
        not_started: 0,
        took: Duration::ZERO,
    };
    while let Some(joined) = tasks.join_next_with_id().await {
        match joined {
            Ok((_, None)) => provisioned.not_started += 1,
            Ok((_, Some((timings, result)))) => {
                match result {
                    Ok(identity) => provisioned.identities.push(identity),
                    Err(error) => provisioned.failures.push((timings.n, error)),
                }
                provisioned.timings.push(timings);
            }
            Err(error) => {
                let n = numbers.get(&error.id()).copied().unwrap_or(0);
                provisioned.failures.push((
                    n,
                    ProvisionError::Lost {
                        n,
                        reason: error.to_string(),
                    },
                ));
            }
        }
    }
    provisioned.identities.sort_by_key(|identity| identity.n);
    for (index, identity) in provisioned.identities.iter_mut().enumerate() {
        identity.index = index as u32;
    }
    provisioned.failures.sort_by_key(|(n, _)| *n);
    provisioned.timings.sort_by_key(|timings| timings.n);
    provisioned.took = started.elapsed();
    provisioned
}

/// Why a run has no OAuth client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The ledger could not be written; nothing was registered.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The provider did not register one.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

/// The run's one OAuth client: the one that is known, or a new registration, written to the ledger before it is made.
pub async fn oauth_client(
    source: &ClientSource,
    http: &Client,
    authorization: &Authorization,
    request: &RegistrationRequest,
    (ledger, run): (&Ledger, &RunId),
    timeout: Duration,
) -> Result<OAuthClient, ClientError> {
    if let Some(known) = registration::known(source, authorization) {
        return Ok(known);
    }
    let (of, place) = (run.clone(), Place::issuer(&authorization.issuer));
    let name = request.client_name.clone();
    let entry = ledger
        .run(move |ledger| ledger.plan(&of, Kind::Client, &place, &name))
        .await?;
    match registration::register(
        http,
        authorization,
        request,
        &RetryPolicy::patient(),
        timeout,
    )
    .await
    {
        Ok(registered) => {
            let id = registered.id.clone();
            let expires = registered.registration.as_ref().and_then(|r| r.expires_at);
            ledger
                .run(move |ledger| ledger.client_created(entry, &id, expires))
                .await?;
            Ok(registered)
        }
        Err(error) => {
            if error.nothing_was_created() {
                ledger.run(move |ledger| ledger.forget(entry)).await?;
            }
            Err(error.into())
        }
    }
}

/// How a user came to be there.
#[derive(Debug, Clone, Copy)]
enum Came {
    /// By this run.
    Created,
    /// Before this run.
    Reused,
    /// By an attempt of this run that looked like a failure, or before it; the entry is that of the attempt.
    Perhaps(EntryId),
}

/// One user on the way.
struct User {
    names: UserName,
    plan: Arc<ProvisionPlan>,
    ledger: Ledger,
    cancel: CancellationToken,
    on_event: OnEvent,
}

impl User {
    async fn bring_up(&self) -> (UserTimings, Result<Identity, ProvisionError>) {
        let mut timings = UserTimings {
            n: self.names.n,
            name: self.names.name.clone(),
            create: None,
            login: None,
            after_login: None,
            login_attempts: 0,
            hops: Vec::new(),
        };
        (self.on_event)(ProvisionEvent::Started(&self.names));
        let result = self.stages(&mut timings).await;
        (self.on_event)(match &result {
            Ok(_) => ProvisionEvent::Ready(&self.names),
            Err(error) => ProvisionEvent::Failed(&self.names, error),
        });
        (timings, result)
    }

    async fn stages(&self, timings: &mut UserTimings) -> Result<Identity, ProvisionError> {
        let begun = Instant::now();
        let given = &self.plan.password;
        let password = given.clone().unwrap_or_else(password::generate);
        let came = self.create(&password).await;
        let took = begun.elapsed();
        timings.create = Some(took);
        let came = came?;
        match came {
            Came::Created => (self.on_event)(ProvisionEvent::Created(&self.names, took)),
            Came::Reused => (self.on_event)(ProvisionEvent::Reused(&self.names)),
            Came::Perhaps(_) => {}
        }

        let begun = Instant::now();
        let client = Client::with_cookies(&self.plan.connector);
        let mut values = self.values(&password);
        let logged_in = match &self.plan.login {
            LoginWay::OAuth(plan) => self.log_in(plan, &client, &password, timings).await,
            LoginWay::Request(request) => self
                .sign_in(request, &client, &mut values, timings)
                .await
                .map(|()| None),
        };
        timings.login = Some(begun.elapsed());
        if let Came::Perhaps(entry) = came {
            self.settle(entry, &logged_in, took).await?;
        }
        let tokens = logged_in?;
        (self.on_event)(ProvisionEvent::LoggedIn(&self.names, begun.elapsed()));

        let begun = Instant::now();
        if let Some((tokens, _)) = &tokens {
            values.insert("token".to_owned(), tokens.access.clone());
        }
        let hooks = self.after_login(&client, &mut values).await;
        if !self.plan.after_login.is_empty() {
            timings.after_login = Some(begun.elapsed());
        }
        hooks?;
        self.keep_saved(&mut values);
        Ok(Identity {
            index: 0,
            n: self.names.n,
            name: self.names.name.clone(),
            display_name: self.names.display_name.clone(),
            email: self.names.email.clone(),
            tokens: tokens.map(|(tokens, plan)| {
                TokenCell::new(tokens, plan, &client, &self.names.name, password.clone())
            }),
            client,
            password,
            saved: values,
        })
    }

    /// Ledger first, then the directory. Not interrupted: half a creation is no user's friend.
    async fn create(&self, password: &Secret) -> Result<Came, ProvisionError> {
        let directory = &self.plan.directory;
        let (run, place, name) = (
            self.plan.run.clone(),
            Place::of(&**directory),
            self.names.name.clone(),
        );
        let entry = self
            .ledger
            .run(move |ledger| ledger.plan(&run, Kind::User, &place, &name))
            .await?;
        let user = NewUser {
            name: self.names.name.clone(),
            display_name: self.names.display_name.clone(),
            email: self.names.email.clone(),
            password: password.clone(),
        };
        let mut attempts = self.plan.retry.start();
        // Set once an attempt may have created the user although it looked like a failure.
        let mut perhaps = false;
        let outcome = loop {
            match directory.create(&user).await {
                // It was the earlier attempt: the name was free when the run began, and nobody else creates it now.
                Ok(Creation::Reused) | Err(DirectoryError::Exists { .. })
                    if perhaps && directory.can_list() =>
                {
                    break Ok(Creation::Created);
                }
                // Nobody knows whether the name was free. A password that only this run knows will tell.
                Err(DirectoryError::Exists { .. }) if perhaps && self.plan.password.is_none() => {
                    return Ok(Came::Perhaps(entry));
                }
                Err(error @ DirectoryError::Exists { .. }) => {
                    perhaps = false;
                    break Err(error);
                }
                Ok(creation) => break Ok(creation),
                Err(error) => {
                    perhaps |= !error.nothing_was_created();
                    let wait = if error.is_passing() {
                        attempts.next_wait(error.retry_after())
                    } else {
                        None
                    };
                    match wait.filter(|_| !self.cancel.is_cancelled()) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => break Err(error),
                    }
                }
            }
        };
        let reused = match &outcome {
            Ok(Creation::Created) => {
                self.set_state(entry, State::Created).await?;
                return Ok(Came::Created);
            }
            Ok(Creation::Reused) => true,
            Err(_) => false,
        };
        if reused || !perhaps {
            // Nothing of ours, as far as can be known: a later cleanup must not take it for that.
            self.ledger.run(move |ledger| ledger.forget(entry)).await?;
        }
        outcome
            .map(|_| Came::Reused)
            .map_err(|source| self.not_created(source))
    }

    fn not_created(&self, source: DirectoryError) -> ProvisionError {
        ProvisionError::Create {
            name: self.names.name.clone(),
            source,
        }
    }

    /// Whose user it is that was there after an attempt whose outcome is unknown: this run's if it logs in with the password
    /// that only this run knows, a stranger's if that is refused. Anything else doesn't tell.
    async fn settle<T>(
        &self,
        entry: EntryId,
        logged_in: &Result<T, ProvisionError>,
        took: Duration,
    ) -> Result<(), ProvisionError> {
        match logged_in {
            Ok(_) => {
                self.set_state(entry, State::Created).await?;
                (self.on_event)(ProvisionEvent::Created(&self.names, took));
            }
            Err(error) if error.refuses_password() => {
                self.ledger.run(move |ledger| ledger.forget(entry)).await?;
                return Err(self.not_created(DirectoryError::Exists {
                    name: self.names.name.clone(),
                    url: self.plan.directory.url().to_string(),
                    cleanable: false,
                }));
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn set_state(&self, entry: EntryId, state: State) -> Result<(), LedgerError> {
        self.ledger
            .run(move |ledger| ledger.set_state(entry, state))
            .await
    }

    async fn log_in(
        &self,
        plan: &Arc<LoginPlan>,
        client: &Client,
        password: &Secret,
        timings: &mut UserTimings,
    ) -> Result<Option<(Tokens, Arc<LoginPlan>)>, ProvisionError> {
        match self
            .unless_cancelled(log_in(plan, client, &self.names.name, password))
            .await?
        {
            Ok(login) => {
                timings.login_attempts = login.attempts;
                timings.hops = login.hops;
                Ok(Some((login.tokens, plan.clone())))
            }
            Err(error) => {
                timings.login_attempts = error.attempts();
                timings.hops = error.hops().to_vec();
                Err(error.into())
            }
        }
    }

    async fn sign_in(
        &self,
        request: &Hook,
        client: &Client,
        values: &mut Values,
        timings: &mut UserTimings,
    ) -> Result<(), ProvisionError> {
        let (policy, timeout) = (&self.plan.retry, self.plan.timeout);
        let sent = hooks::send(request, client, values, policy, timeout);
        timings.login_attempts =
            self.unless_cancelled(sent)
                .await?
                .map_err(|source| ProvisionError::SignIn {
                    name: self.names.name.clone(),
                    source,
                })?;
        Ok(())
    }

    async fn after_login(
        &self,
        client: &Client,
        values: &mut Values,
    ) -> Result<(), ProvisionError> {
        let plan = &self.plan;
        let run = hooks::run(&plan.after_login, client, values, &plan.retry, plan.timeout);
        self.unless_cancelled(run)
            .await?
            .map_err(|source| ProvisionError::Hook {
                name: self.names.name.clone(),
                source,
            })
    }

    /// What declared requests may use of a user.
    fn values(&self, password: &Secret) -> Values {
        let names = &self.names;
        [
            ("name", Secret::new(names.name.clone())),
            ("display_name", Secret::new(names.display_name.clone())),
            ("email", Secret::new(names.email.clone())),
            ("n", Secret::new(names.n.to_string())),
            ("password", password.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Only what requests saved is kept.
    fn keep_saved(&self, values: &mut Values) {
        let login = match &self.plan.login {
            LoginWay::OAuth(_) => None,
            LoginWay::Request(request) => Some(&**request),
        };
        let requests = || self.plan.after_login.iter().chain(login);
        values
            .retain(|key, _| requests().any(|hook| hook.save.iter().any(|(name, _)| name == key)));
    }

    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, ProvisionError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(self.interrupted()),
            result = work => Ok(result),
        }
    }

    fn interrupted(&self) -> ProvisionError {
        ProvisionError::Interrupted {
            name: self.names.name.clone(),
        }
    }
}
