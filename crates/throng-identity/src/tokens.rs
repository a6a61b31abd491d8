//! The current access token of one identity, renewed once however many tasks need it.
//!
//! The hot path ([`Authorize::authorization`], [`TokenCell::ensure_fresh`] while the token is good) takes one uncontended read
//! lock or one atomic load. A renewal runs in a task of its own, so that a step that is given up while it waits cannot lose a
//! refresh token that the provider has just rotated.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::{HeaderValue, StatusCode};
use rand::Rng;
use throng_client::{Client, TransportError, mcp::Authorize};
use tokio::time::Instant;

use crate::login::id_token::{Expected, IdTokenError};
use crate::login::token::{self, Tokens};
use crate::login::{LoginError, LoginPlan, log_in};
use crate::redact;
use crate::retry;
use crate::secret::Secret;
use crate::wire;

/// Renewals that may fail one after the other before the identity is given up.
const FAILURES: u32 = 5;

/// After a failed renewal, the time during which nobody tries again; it doubles with each failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no fresh token.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token endpoint did not answer.
    #[error("refreshing the token of {user}: {source}")]
    Transport {
        /// Whose token.
        user: String,
        /// What went wrong.
        source: Arc<TransportError>,
    },
    /// The token endpoint refused for another reason than the refresh token.
    #[error(
        "refreshing the token of {user}: expected 200 with tokens, got {status}; the server said: {said}"
    )]
    Refused {
        /// Whose token.
        user: String,
        /// The status.
        status: StatusCode,
        /// What the body says.
        said: String,
    },
    /// The answer is no token response.
    #[error("refreshing the token of {user}: expected a token response, got {problem}")]
    Invalid {
        /// Whose token.
        user: String,
        /// What is wrong.
        problem: String,
    },
    /// The full login that a renewal needs failed.
    #[error("renewing the token of {user} by a new login: {source}")]
    Login {
        /// Whose token.
        user: String,
        /// What went wrong.
        source: Arc<LoginError>,
    },
    /// Too many renewals failed; the last error.
    #[error("gave up after {FAILURES} failed renewals, the last: {0}")]
    GivenUp(Box<TokenError>),
    /// The token is fixed, and was refused.
    #[error("the token given for {user} was refused, and there is no way to renew it")]
    Fixed {
        /// Whose token.
        user: String,
    },
    /// The renewal's task died, which is a bug.
    #[error("the renewal for {user} ended without a result")]
    Lost {
        /// Whose token.
        user: String,
    },
}

/// What a cell has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenStats {
    /// Renewals by refresh token.
    pub refreshes: u32,
    /// Renewals by a full login.
    pub logins: u32,
    /// Renewals that failed.
    pub failures: u32,
}

/// How an identity gets new tokens.
struct Source {
    plan: Arc<LoginPlan>,
    /// Without cookies: those of the first login are never needed again, and take more memory than all else here.
    client: Client,
    user: String,
    password: Secret,
}

type Flight = Shared<BoxFuture<'static, Result<(), TokenError>>>;

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
    refreshes: AtomicU32,
    logins: AtomicU32,
    failures: AtomicU32,
}

#[derive(Default)]
struct State {
    refresh: Option<Secret>,
    subject: Option<String>,
    flight: Option<Flight>,
    failed: u32,
    not_before: Option<(Instant, TokenError)>,
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
        let source = Source {
            plan,
            client: client.without_cookies(),
            user: user.to_owned(),
            password,
        };
        let cell = Self::build(user, Some(source), bearer(&tokens.access));
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
            refreshes: AtomicU32::new(0),
            logins: AtomicU32::new(0),
            failures: AtomicU32::new(0),
        }))
    }

    /// The current `Authorization` value, marked sensitive.
    pub fn header(&self) -> HeaderValue {
        self.0.header.read().expect("no panic while locked").clone()
    }

    /// Renews ahead of expiry. While the old token is still good, the renewal goes on in the background and this returns at
    /// once; only an expired token is waited for.
    pub async fn ensure_fresh(&self) -> Result<(), TokenError> {
        let now = self.0.now();
        if now < self.0.due.load(Ordering::Acquire) {
            return Ok(());
        }
        let expired = now >= self.0.expiry.load(Ordering::Acquire);
        // Nothing stale to compare with: being due is reason enough.
        match self.flight(None) {
            Ok(Some(flight)) if expired => flight.await,
            // A failed renewal is no harm to a step whose token is still good.
            Ok(_) => Ok(()),
            Err(error) if expired => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Renews after a 401 for a request that carried `stale`. Returns at once if the token has been renewed meanwhile; all who
    /// call during one renewal wait for that one.
    pub async fn renew(&self, stale: &HeaderValue) -> Result<(), TokenError> {
        match self.flight(Some(stale))? {
            Some(flight) => flight.await,
            None => Ok(()),
        }
    }

    /// Counts of renewals.
    pub fn stats(&self) -> TokenStats {
        TokenStats {
            refreshes: self.0.refreshes.load(Ordering::Relaxed),
            logins: self.0.logins.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
        }
    }

    /// Joins the running renewal or starts one; nothing if none is needed any more.
    fn flight(&self, stale: Option<&HeaderValue>) -> Result<Option<Flight>, TokenError> {
        let mut state = self.0.state.lock().expect("no panic while locked");
        if let Some(flight) = &state.flight {
            return Ok(Some(flight.clone()));
        }
        let needed = match stale {
            Some(stale) => self.header() == *stale,
            None => self.0.now() >= self.0.due.load(Ordering::Acquire),
        };
        if !needed {
            return Ok(None);
        }
        if self.0.source.is_none() {
            return Err(TokenError::Fixed {
                user: self.0.user.clone(),
            });
        }
        if let Some((until, error)) = &state.not_before
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        if state.failed >= FAILURES
            && let Some((_, error)) = &state.not_before
        {
            return Err(TokenError::GivenUp(Box::new(error.clone())));
        }
        let inner = self.0.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "everyone who needs the token awaits it, and learns of its panic"
        )]
        let task = tokio::spawn(async move {
            let result = inner.renew_now().await;
            inner.landed(&result);
            result
        });
        let user = self.0.user.clone();
        let flight = task
            .map(move |joined| joined.unwrap_or(Err(TokenError::Lost { user })))
            .boxed()
            .shared();
        state.flight = Some(flight.clone());
        Ok(Some(flight))
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

    /// Puts new tokens in place.
    fn take(&self, tokens: Tokens) {
        {
            let mut state = self.state.lock().expect("no panic while locked");
            if tokens.refresh.is_some() {
                state.refresh = tokens.refresh;
            }
            if let Some(claims) = tokens.claims {
                state.subject = Some(claims.sub);
            }
        }
        let (due, expiry) = match tokens.lifetime {
            None => (u64::MAX, u64::MAX),
            Some(lifetime) => {
                let since = u64::try_from(
                    tokens
                        .obtained
                        .saturating_duration_since(self.born)
                        .as_millis(),
                )
                .unwrap_or(0);
                let at = |after: Duration| {
                    since.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
                };
                (at(lifetime.saturating_sub(margin(lifetime))), at(lifetime))
            }
        };
        *self.header.write().expect("no panic while locked") = bearer(&tokens.access);
        self.expiry.store(expiry, Ordering::Release);
        self.due.store(due, Ordering::Release);
    }

    async fn renew_now(&self) -> Result<(), TokenError> {
        let source = self.source.as_ref().ok_or_else(|| TokenError::Fixed {
            user: self.user.clone(),
        })?;
        let refresh = self
            .state
            .lock()
            .expect("no panic while locked")
            .refresh
            .clone();
        if let Some(refresh) = refresh {
            match self.refresh(source, &refresh).await? {
                Some(tokens) => {
                    self.refreshes.fetch_add(1, Ordering::Relaxed);
                    self.take(tokens);
                    tracing::info!(user = self.user, "renewed its token");
                    return Ok(());
                }
                None => self.state.lock().expect("no panic while locked").refresh = None,
            }
        }
        let client = source.client.with_new_cookies();
        let login = log_in(&source.plan, &client, &source.user, &source.password)
            .await
            .map_err(|source| TokenError::Login {
                user: self.user.clone(),
                source: Arc::new(source),
            })?;
        self.logins.fetch_add(1, Ordering::Relaxed);
        self.take(login.tokens);
        Ok(())
    }

    /// Uses the refresh token; nothing if it is no longer good (`invalid_grant`), so that a login is needed.
    async fn refresh(
        &self,
        source: &Source,
        refresh: &Secret,
    ) -> Result<Option<Tokens>, TokenError> {
        let plan = &source.plan;
        let client = &source.client;
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
        ];
        let user = || self.user.clone();
        let mut attempts = plan.retry.start();
        let exchange = loop {
            let request = token::request(&plan.authorization, &plan.oauth_client, &form);
            let exchange = client.send(request, plan.timeout).await.map_err(|source| {
                TokenError::Transport {
                    user: user(),
                    source: Arc::new(source),
                }
            })?;
            let passing = exchange.status == StatusCode::TOO_MANY_REQUESTS
                || exchange.status.is_server_error();
            let asked = retry::retry_after(&exchange.headers);
            match if passing {
                attempts.next_wait(asked)
            } else {
                None
            } {
                Some(wait) => tokio::time::sleep(wait).await,
                None => break exchange,
            }
        };
        if exchange.status != StatusCode::OK {
            let said = wire::said(&exchange, &[refresh]);
            if exchange.status.is_client_error() && is_invalid_grant(&exchange.body) {
                tracing::debug!(user = self.user, %said, "the refresh token is no longer good");
                return Ok(None);
            }
            return Err(TokenError::Refused {
                user: user(),
                status: exchange.status,
                said,
            });
        }
        let (tokens, id_token) =
            token::parse(&exchange.body).map_err(|problem| TokenError::Invalid {
                user: user(),
                problem,
            })?;
        if let (Some(keys), Some(id_token)) = (&plan.keys, id_token) {
            let expected = Expected {
                issuer: &plan.authorization.issuer,
                client_id: &plan.oauth_client.id,
                nonce: None,
            };
            let invalid = |error: IdTokenError| TokenError::Invalid {
                user: user(),
                problem: format!("an id token that is refused: {error}"),
            };
            let claims = keys
                .validate(client, &id_token, &expected, plan.timeout)
                .await
                .map_err(invalid)?;
            // OpenID Connect Core 1.0 section 12.2: the same user as before.
            let before = self
                .state
                .lock()
                .expect("no panic while locked")
                .subject
                .clone();
            if before.is_some_and(|before| before != claims.sub) {
                return Err(TokenError::Invalid {
                    user: user(),
                    problem: format!("an id token of {}", redact::text(&claims.sub, &[])),
                });
            }
            return Ok(Some(Tokens {
                claims: Some(claims),
                ..tokens
            }));
        }
        Ok(Some(tokens))
    }

    /// Ends the flight.
    fn landed(&self, result: &Result<(), TokenError>) {
        let mut state = self.state.lock().expect("no panic while locked");
        state.flight = None;
        match result {
            Ok(()) => (state.failed, state.not_before) = (0, None),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                state.failed += 1;
                let pause = PAUSE * 2u32.pow(state.failed.min(FAILURES) - 1);
                state.not_before = Some((Instant::now() + pause, error.clone()));
            }
        }
    }
}

/// How long before its end a token is renewed: a fifth of its life, at most a minute, and up to half as much again at random, so
/// that identities that logged in together do not refresh together.
fn margin(lifetime: Duration) -> Duration {
    (lifetime / 5)
        .min(Duration::from_secs(60))
        .mul_f64(rand::rng().random_range(1.0..1.5))
}

/// RFC 6749 section 5.2.
fn is_invalid_grant(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Option<std::borrow::Cow<'a, str>>,
    }
    serde_json::from_slice::<Body<'_>>(body)
        .is_ok_and(|body| body.error.as_deref() == Some("invalid_grant"))
}

fn bearer(token: &Secret) -> HeaderValue {
    wire::sensitive(&format!("Bearer {}", token.expose()))
}
