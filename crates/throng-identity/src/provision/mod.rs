//! Creates a run's users, logs them in and runs their hooks: all in parallel, bounded, measured, written to the ledger first.
//!
//! A failed user does not undo the others; whatever was created is in the ledger, and [`crate::cleanup`] removes it.

mod client;
mod error;
mod user;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use throng_client::{Client, Connector};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::client::{ClientError, oauth_client};
pub use self::error::ProvisionError;

use self::user::{Outcome, User};
use crate::directory::Directory;
use crate::directory::names::{NameTemplates, Prefix, UserName};
use crate::hooks::{Hook, Values};
use crate::ledger::{Ledger, RunId};
use crate::login::{FormLogin, GrantPlan, Hop, LoginPlan};
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
    /// Who they are, where they are there already and known by name: the first of them take part, and prefix and templates
    /// name nobody.
    pub known: Option<Arc<[KnownUser]>>,
    /// Where they are created; none where they are there already, with the password that all have.
    pub directory: Option<Arc<dyn Directory>>,
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
    /// Whether logins under way may end when the run is stopped; none gives them up at once.
    pub login_grace: Option<LoginGrace>,
    /// The run they belong to.
    pub run: RunId,
}

/// A user who is there already.
#[derive(Debug, Clone)]
pub struct KnownUser {
    /// The names.
    pub names: UserName,
    /// Login password; none where all have that of the plan.
    pub password: Option<Secret>,
    /// An access token of this user's, for a login that takes it as it is.
    pub token: Option<Secret>,
}

/// Time for logins under way to end after the run was stopped. Of one that is given up nobody knows whether the target began a
/// session, and so nobody can end it.
#[derive(Debug, Clone)]
pub struct LoginGrace {
    /// How long.
    pub limit: Duration,
    /// Gives them up at once after all.
    pub give_up: CancellationToken,
}

/// How users log in.
#[derive(Debug, Clone)]
pub enum LoginWay {
    /// OAuth 2 / OpenID Connect: the session is a token.
    OAuth(Arc<LoginPlan>),
    /// Requests to token endpoints: client credentials, token exchange, assertions.
    Grant(Arc<GrantPlan>),
    /// A token that somebody else cares for: this one for all users, or each one's own ([`KnownUser::token`]). Nothing is sent.
    Bearer(Option<Secret>),
    /// Declared requests, the last of which logs in: the session is the cookies that their answers set. What one saves, later
    /// ones may use.
    Requests(Arc<[Hook]>),
    /// A form on a page: the session is the cookies that come of it.
    Form(Arc<FormLogin>),
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
    /// What the login's own requests and the hooks saved.
    pub saved: Values,
}

impl Identity {
    /// What the placeholders of declared requests may use of this user.
    pub fn values(&self) -> Values {
        let n = self.n.to_string();
        let of_user = [
            ("name", &*self.name),
            ("display_name", &self.display_name),
            ("email", &self.email),
            ("n", &n),
        ];
        let mut values = self.saved.clone();
        values.extend(of_user.map(|(key, value)| (key.to_owned(), Secret::new(value))));
        values.insert("password".to_owned(), self.password.clone());
        values
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("index", &self.index)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A user who is not ready, but may have a session: the target had set cookies by then.
#[derive(Clone)]
pub struct HalfReady {
    /// Login name.
    pub name: String,
    /// Connections and cookies of this user alone.
    pub client: Client,
    /// What the placeholders of declared requests may use of this user.
    pub values: Values,
}

impl fmt::Debug for HalfReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HalfReady")
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
    /// How long was waited for a place in the browser; no part of `login`.
    pub queued: Duration,
    /// All hooks.
    pub after_login: Option<Duration>,
    /// Attempts at the login.
    pub login_attempts: u32,
    /// The login's requests.
    pub hops: Vec<Hop>,
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
    /// The run was stopped, and the user's login under way is waited for ([`LoginGrace`]).
    Ending(&'a UserName),
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
    /// Those of them who may have a session, in no order.
    pub half_ready: Vec<HalfReady>,
    /// How long each took that was started, by number.
    pub timings: Vec<UserTimings>,
    /// Users never started: after a failure or an interruption.
    pub not_started: u32,
    /// The whole phase.
    pub took: Duration,
}

type OnEvent = Arc<dyn Fn(ProvisionEvent<'_>) + Send + Sync>;

/// Provisions all users. Returns when every started one is ready or has failed; `cancel` gives up logins and hooks at once (but for
/// [`ProvisionPlan::login_grace`]), while creations under way are waited for, so that the ledger tells the truth.
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
    let mut numbers = HashMap::new();
    let known = plan.known.as_deref();
    let users = match known {
        Some(known) => plan
            .users
            .min(u32::try_from(known.len()).unwrap_or(u32::MAX)),
        None => plan.users,
    };
    for n in 1..=users {
        let of_file = known.map(|known| known[n as usize - 1].clone());
        let user = User {
            names: match &of_file {
                Some(known) => known.names.clone(),
                None => plan.names.user(&plan.prefix, n),
            },
            known: of_file,
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
            failed.fetch_or(outcome.result.is_err(), Ordering::Relaxed);
            Some(outcome)
        });
        numbers.insert(handle.id(), n);
    }
    let mut provisioned = gathered(tasks, &numbers).await;
    provisioned.took = started.elapsed();
    provisioned
}

/// What became of all users, in their order, once the last is done.
async fn gathered(
    mut tasks: JoinSet<Option<Outcome>>,
    numbers: &HashMap<tokio::task::Id, u32>,
) -> Provisioned {
    let mut provisioned = Provisioned {
        identities: Vec::new(),
        failures: Vec::new(),
        half_ready: Vec::new(),
        timings: Vec::new(),
        not_started: 0,
        took: Duration::ZERO,
    };
    while let Some(joined) = tasks.join_next_with_id().await {
        match joined {
            Ok((_, None)) => provisioned.not_started += 1,
            Ok((_, Some(outcome))) => {
                match outcome.result {
                    Ok(identity) => provisioned.identities.push(identity),
                    Err(error) => provisioned.failures.push((outcome.timings.n, error)),
                }
                provisioned.half_ready.extend(outcome.half_ready);
                provisioned.timings.push(outcome.timings);
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
    provisioned
}
