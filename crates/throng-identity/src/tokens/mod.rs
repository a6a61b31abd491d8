//! The current access token of one identity, renewed once however many tasks need it.
//!
//! The hot path ([`Authorize::authorization`], [`TokenCell::freshness`] while the token is good) takes one uncontended read
//! lock or one atomic load. A renewal runs in a task of its own (`flight`), so that a step that is given up while it waits
//! cannot lose a refresh token that the provider has just rotated. How tokens are got is in `source`.
//!
//! A token's life is counted on this process's own monotonic clock from when it came: neither the provider's clock nor a change
//! of ours can shorten it. A clock that stood still (a suspended host) shows as a 401, which renews, too.

mod action;
mod error;
mod flight;
mod recovery;
mod source;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use http::HeaderValue;
use rand::Rng;
use throng_client::{Client, mcp::Authorize};
use tokio::time::Instant;

use self::flight::{Flight, Work};
use self::source::{GrantSource, LoginSource, Source};
use crate::login::{GrantPlan, LoginPlan, Tokens, Whom};
use crate::secret::Secret;
use crate::{scopes, wire};

pub use action::{MoreHeaders, TokenAction, TokenAnswer};
pub use error::TokenError;
pub use recovery::{Recovery, Refusal};

/// Renewals that may fail one after the other before the identity is given up. Failures that may pass (a provider that is down)
/// are not among them, and a refused password ends it at once.
const FAILURES: u32 = 5;

/// After a failed renewal, the time during which nobody tries again; it doubles with each failure, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);

const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// What a cell has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenStats {
    /// Renewals by refresh token.
    pub refreshes: u32,
    /// Renewals by a full login.
    pub logins: u32,
    /// Renewals by another grant of the kind that brought the first token: client credentials, an exchange, an assertion.
    pub grants: u32,
    /// Logins for more scopes.
    pub step_ups: u32,
    /// Renewals and step-ups that failed.
    pub failures: u32,
}

impl TokenStats {
    /// What came to these since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            refreshes: self.refreshes.saturating_sub(earlier.refreshes),
            logins: self.logins.saturating_sub(earlier.logins),
            grants: self.grants.saturating_sub(earlier.grants),
            step_ups: self.step_ups.saturating_sub(earlier.step_ups),
            failures: self.failures.saturating_sub(earlier.failures),
        }
    }
}

/// What an identity's token is worth now, as far as that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Good.
    Fresh,
    /// Good, and to be renewed: [`TokenCell::ensure_fresh`] sees to that without waiting.
    Due,
    /// Over: [`TokenCell::ensure_fresh`] waits for another.
    Expired,
}

/// Whose renewal brought the token that there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// One that was over, or had begun, before this was asked for: the new token may have been revoked with the old one.
    Earlier,
    /// One that was begun for this.
    Own,
}

struct Inner {
    user: String,
    source: Option<Source>,
    header: RwLock<HeaderValue>,
    /// Milliseconds since `born` from which on a renewal is due; `u64::MAX` for never.
    due: AtomicU64,
    /// Milliseconds since `born` at which the token is no longer good; `u64::MAX` if that is not known.
    expiry: AtomicU64,
    born: Instant,
    state: Mutex<State>,
    /// Goes up with each of the counts in the state.
    changes: AtomicU64,
}

#[derive(Default)]
struct State {
    access: Option<Secret>,
    refresh: Option<Secret>,
    subject: Option<String>,
    /// The tokens of the login behind an exchange.
    behind: Option<Box<Tokens>>,
    /// The plan of the login that brought the tokens: another one than the source's, if the target has moved since.
    home: Option<Arc<LoginPlan>>,
    flight: Option<(Work, Flight)>,
    /// Renewals that failed one after the other, and those of them that will not pass by themselves.
    failed: u32,
    lasting: u32,
    not_before: Option<(Instant, TokenError)>,
    given_up: Option<TokenError>,
    /// What is asked for since a step-up, in place of the plan's scopes.
    scopes: Option<Vec<String>>,
    /// Scopes that a failed step-up asked for.
    refused_scopes: Vec<Vec<String>>,
    stats: TokenStats,
}

/// One identity's token. A clone is the same cell.
#[derive(Clone)]
pub struct TokenCell(Arc<Inner>);

impl TokenCell {
    /// The tokens of a login, to be renewed with that login's plan, connections and password. Where only a full login
    /// helps, it starts without cookies.
    pub fn new(
        tokens: Tokens,
        plan: Arc<LoginPlan>,
        client: &Client,
        user: &str,
        password: Secret,
    ) -> Self {
        let source = Source::Login(LoginSource {
            plan: plan.clone(),
            client: client.without_cookies(),
            user: user.to_owned(),
            password,
        });
        let cell = Self::build(user, Some(source), bearer(&tokens.access));
        cell.0.state().home = Some(plan);
        cell.0.take(tokens);
        cell
    }

    /// The tokens that a grant brought, to be renewed by another one, with its connections.
    pub fn of_grant(tokens: Tokens, plan: Arc<GrantPlan>, client: &Client, whom: Whom) -> Self {
        let user = whom.name.clone();
        let source = Source::Grant(GrantSource {
            plan,
            client: client.without_cookies(),
            whom,
        });
        let cell = Self::build(&user, Some(source), bearer(&tokens.access));
        cell.0.take(tokens);
        cell
    }

    /// A token that somebody else cares for: never renewed.
    pub fn fixed(user: &str, token: &Secret) -> Self {
        Self::build(user, None, bearer(token))
    }

    fn build(user: &str, source: Option<Source>, header: HeaderValue) -> Self {
        Self(Arc::new(Inner {
            user: user.to_owned(),
            source,
            header: RwLock::new(header),
            due: AtomicU64::new(u64::MAX),
            expiry: AtomicU64::new(u64::MAX),
            born: Instant::now(),
            state: Mutex::default(),
            changes: AtomicU64::new(0),
        }))
    }

    /// The current `Authorization` value, marked sensitive.
    pub fn header(&self) -> HeaderValue {
        self.0.header.read().expect("no panic while locked").clone()
    }

    /// What the token is worth now.
    pub fn freshness(&self) -> Freshness {
        let now = self.0.now();
        if now < self.0.due.load(Ordering::Acquire) {
            Freshness::Fresh
        } else if now < self.0.expiry.load(Ordering::Acquire) {
            Freshness::Due
        } else {
            Freshness::Expired
        }
    }

    /// Renews ahead of expiry. While the old token is still good, the renewal goes on in the background and this returns at
    /// once; only an expired token is waited for. However short a token lives, this renews it once and looks no further.
    ///
    /// # Errors
    /// Where an expired token could not be renewed. As long as it is good, a failed renewal is no harm to a step.
    pub async fn ensure_fresh(&self) -> Result<(), TokenError> {
        match self.freshness() {
            Freshness::Fresh => Ok(()),
            Freshness::Due => {
                let mut state = self.0.state();
                if state.flight.is_none() && self.0.may_renew(&state).is_ok() {
                    // Nobody waits for it: its task goes on by itself.
                    drop(self.0.launch(&mut state, Work::Renew));
                }
                Ok(())
            }
            Freshness::Expired => self
                .renew_while(|cell| cell.freshness() != Freshness::Fresh)
                .await
                .map(drop),
        }
    }

    /// Renews after a 401 for a request that carried `stale`. Returns at once if the token has been renewed meanwhile; all who
    /// call during one renewal wait for that one.
    ///
    /// # Errors
    /// Where there is no new token, because that failed, failed just now, or was given up.
    pub async fn renew(&self, stale: &HeaderValue) -> Result<Renewal, TokenError> {
        self.renew_while(|cell| cell.header() == *stale).await
    }

    async fn renew_while(&self, needed: impl Fn(&Self) -> bool) -> Result<Renewal, TokenError> {
        let mut whose = Renewal::Earlier;
        loop {
            let (work, flight) = {
                let mut state = self.0.state();
                if !needed(self) {
                    return Ok(whose);
                }
                match &state.flight {
                    Some((work, flight)) => (work.clone(), flight.clone()),
                    None => {
                        self.0.may_renew(&state)?;
                        whose = Renewal::Own;
                        (Work::Renew, self.0.launch(&mut state, Work::Renew))
                    }
                }
            };
            let landed = flight.await;
            // What a step did on purpose, or failed to, is no renewal: whether one is still needed is asked again.
            if work == Work::Renew {
                return landed.map(|_| whose);
            }
        }
    }

    /// Asks for more scopes by a login, after a 403 `insufficient_scope` for a request that carried `stale`: for those asked for
    /// before and the `demanded` ones together; where the challenge names none, those that the resource lists. Returns at once if
    /// another step-up has brought a token with them meanwhile. No set of scopes is asked for twice.
    ///
    /// # Errors
    /// Where all of them were asked for already, or the login failed.
    pub async fn step_up(
        &self,
        stale: &HeaderValue,
        demanded: &[String],
    ) -> Result<(), TokenError> {
        let source = self.0.source.as_ref().ok_or_else(|| TokenError::Fixed {
            user: self.0.user.clone(),
        })?;
        let (planned, authorization) = (source.scopes(), source.authorization());
        let demanded = match demanded {
            [] => &authorization.resource_scopes,
            named => named,
        };
        let spent = || TokenError::Scopes {
            user: self.0.user.clone(),
            demanded: demanded.join(" "),
        };
        loop {
            let (own, flight) = {
                let mut state = self.0.state();
                let asked = state.scopes.as_ref().unwrap_or(&planned);
                match (&state.flight, scopes::step_up(asked, demanded)) {
                    (Some((_, flight)), _) => (false, flight.clone()),
                    (None, None) if self.header() != *stale => return Ok(()),
                    (None, None) => return Err(spent()),
                    (None, Some(union)) if state.refused_scopes.contains(&union) => {
                        return Err(spent());
                    }
                    (None, Some(union)) => (true, self.0.launch(&mut state, Work::StepUp(union))),
                }
            };
            let landed = flight.await;
            if own {
                return landed.map(drop);
            }
        }
    }

    /// Looks whether the target has moved to another authorization server, where a request that carried `stale` was refused
    /// although the token was new, and logs in there. False where the target hasn't moved, as far as it says.
    ///
    /// # Errors
    /// Where it has moved, or may have, and cannot be followed.
    pub async fn follow(&self, stale: &HeaderValue) -> Result<bool, TokenError> {
        let source = self.0.source.as_ref();
        let Some(latest) = source.and_then(Source::login) else {
            return Ok(false);
        };
        let used = self.0.state().home.clone().unwrap_or(latest);
        let Some(enrolment) = used.enrolment.clone() else {
            return Ok(false);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "who asks awaits it; given up half-way, a client would be registered that nobody knows"
        )]
        let following = tokio::spawn(async move { enrolment.follow(&used).await });
        let moved = following.await.map_err(|_| TokenError::Lost {
            user: self.0.user.clone(),
        })?;
        let moved = moved.map_err(|source| TokenError::Moved {
            user: self.0.user.clone(),
            source: Arc::new(source),
        })?;
        if moved.is_some() {
            self.renew(stale).await?;
        }
        Ok(moved.is_some())
    }

    /// Does something with the tokens because a step says so, after whatever else is being done with them. It is tried once: not
    /// again, and not in another way.
    ///
    /// # Errors
    /// Where nothing was sent, or no answer came. What the server refused is an answer.
    pub async fn act(
        &self,
        action: TokenAction,
        more: MoreHeaders,
    ) -> Result<TokenAnswer, TokenError> {
        let work = match action {
            TokenAction::Refresh => Work::Refresh(more),
            TokenAction::LogIn => Work::LogIn,
            TokenAction::Revoke => return self.0.revoke(false, more).await,
            TokenAction::RevokeRefresh => return self.0.revoke(true, more).await,
        };
        let mut waited = Duration::ZERO;
        loop {
            let (own, flight) = {
                let mut state = self.0.state();
                match &state.flight {
                    Some((_, flight)) => (false, flight.clone()),
                    None => (true, self.0.launch(&mut state, work.clone())),
                }
            };
            let begun = Instant::now();
            let landed = flight.await;
            if own {
                let answer = landed?.ok_or_else(|| TokenError::Lost {
                    user: self.0.user.clone(),
                })?;
                return Ok(TokenAnswer {
                    waited: waited + answer.waited,
                    ..answer
                });
            }
            waited += begun.elapsed();
        }
    }

    /// Counts of renewals.
    pub fn stats(&self) -> TokenStats {
        self.0.state().stats
    }

    /// A number that goes up whenever [`TokenCell::stats`] change: they need not be read while it stays.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }
}

impl Authorize for TokenCell {
    fn authorization(&self) -> Option<HeaderValue> {
        Some(self.header())
    }
}

impl fmt::Debug for TokenCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCell")
            .field("user", &self.0.user)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    fn count(&self, state: &mut State, count: impl FnOnce(&mut TokenStats)) {
        count(&mut state.stats);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Puts new tokens in place.
    fn take(&self, tokens: Tokens) {
        let (due, expiry) = match tokens.lifetime {
            None => (u64::MAX, u64::MAX),
            Some(lifetime) => {
                let obtained = tokens.obtained.saturating_duration_since(self.born);
                let since = u64::try_from(obtained.as_millis()).unwrap_or(0);
                let at = |after: Duration| {
                    since.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
                };
                (at(lifetime.saturating_sub(margin(lifetime))), at(lifetime))
            }
        };
        {
            let mut state = self.state();
            // A refresh may bring no new refresh token: then the old one is still good (RFC 6749 section 6).
            if tokens.refresh.is_some() {
                state.refresh = tokens.refresh;
            }
            if let Some(claims) = tokens.claims {
                state.subject = Some(claims.sub);
            }
            if tokens.behind.is_some() {
                state.behind = tokens.behind;
            }
            state.access = Some(tokens.access.clone());
        }
        *self.header.write().expect("no panic while locked") = bearer(&tokens.access);
        self.expiry.store(expiry, Ordering::Release);
        self.due.store(due, Ordering::Release);
    }
}

/// How long before its end a token is renewed: a fifth of its life, at most a minute, and up to half as much again at random, so
/// that identities that logged in together do not refresh together.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 5)
        .min(Duration::from_secs(60))
        .mul_f64(rand::rng().random_range(1.0..1.5))
}

fn bearer(token: &Secret) -> HeaderValue {
    wire::sensitive(&format!("Bearer {}", token.expose()))
}
