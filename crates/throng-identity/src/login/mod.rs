//! Logging one user in: over plain HTTP, without a browser and without a listening port, or by a browser ([`browser`]).
//!
//! [`log_in`] walks from the authorization endpoint to the redirect URI as a browser would, hop by hop with the identity's own
//! cookies, answers the pages on the way (`crate::pages`) and exchanges the code. It retries what may be passing (a
//! dead connection, 429, 5xx), never a refused password. [`log_in_by_form`] does the same from a login page to a session of
//! cookies.

mod access;
mod answer;
pub mod browser;
mod callback;
mod driver;
mod error;
pub mod form;
pub mod grant;
pub mod id_token;
mod oauth;
pub mod token;
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use throng_client::Client;
use url::Url;

pub use driver::LoginDriver;
pub use error::{LoginError, Problem};
pub use form::{FormLogin, FormPage, FormRegistration};
pub use grant::{Grant, GrantClient, GrantPlan, Whom, log_in_by_grant};
pub use id_token::{IdClaims, Keys};
pub use token::Tokens;
pub use walk::{Hop, PageKind, Purpose};

use self::error::Failure;
pub(crate) use self::walk::Walker;
use self::walk::{Limits, Walk};
use crate::discovery::Authorization;
use crate::enrolment::Enrolment;
use crate::hooks::Values;
use crate::pkce::{Pkce, random_token};
use crate::registration::OAuthClient;
use crate::retry::RetryPolicy;
use crate::secret::Secret;

/// How all users of a run log in. Shared, never changed.
#[derive(Debug, Clone)]
pub struct LoginPlan {
    /// Where.
    pub authorization: Arc<Authorization>,
    /// As which OAuth client.
    pub oauth_client: Arc<OAuthClient>,
    /// Where codes are sent; nothing needs to listen there, the walk stops before that request.
    pub redirect_uri: Url,
    /// What is asked for ([`crate::scopes::choose`]).
    pub scopes: Vec<String>,
    /// `prompt` of the authorization request. Where there is none, an OpenID provider that is asked for `offline_access` is told to
    /// ask for consent.
    pub prompt: Option<String>,
    /// The provider's keys; none if it is no OpenID provider, and then an id token is nothing to us.
    pub keys: Option<Arc<Keys>>,
    /// Time allowed for each hop.
    pub timeout: Duration,
    /// Hops allowed for one login; an endless redirect ends there.
    pub max_hops: u32,
    /// Attempts and time for one user's login.
    pub retry: RetryPolicy,
    /// By what the run can follow its target to another authorization server; none where it stays.
    pub enrolment: Option<Arc<Enrolment>>,
    /// Who passes the pages on the way.
    pub driver: LoginDriver,
}

/// The redirect URI used where the scenario names none. Loopback, as RFC 8252 section 7.3 wants it for native clients.
pub const DEFAULT_REDIRECT_URI: &str = "http://127.0.0.1:8765/throng/callback";

/// The hop limit used where nobody names one: the longest known login (a proxy, two forms, consent) takes 14.
pub(crate) const DEFAULT_MAX_HOPS: u32 = 30;

impl LoginPlan {
    /// A plan with the usual limits; `keys` are taken from the metadata.
    pub fn new(
        authorization: Arc<Authorization>,
        oauth_client: Arc<OAuthClient>,
        redirect_uri: Url,
        scopes: Vec<String>,
    ) -> Self {
        Self {
            keys: Keys::of(&authorization),
            authorization,
            oauth_client,
            redirect_uri,
            scopes,
            prompt: None,
            timeout: Duration::from_secs(30),
            max_hops: DEFAULT_MAX_HOPS,
            retry: RetryPolicy::default(),
            enrolment: None,
            driver: LoginDriver::Http,
        }
    }

    /// A provider grants `offline_access` only where the user is asked (OpenID Connect Core 1.0 section 11), and else leaves it
    /// out without a word: there would be no refresh token.
    fn prompt(&self) -> Option<&str> {
        let offline = || self.keys.is_some() && self.scopes.iter().any(|s| s == "offline_access");
        self.prompt
            .as_deref()
            .or_else(|| offline().then_some("consent"))
    }

    /// The plan that users log in by now: this one, unless the target has moved to another authorization server.
    pub fn latest(self: &Arc<Self>) -> Arc<Self> {
        let moved = self.enrolment.as_ref().and_then(|e| e.latest());
        moved.unwrap_or_else(|| self.clone())
    }

    fn authorize_url(&self, state: &str, nonce: &str, pkce: &Pkce) -> Result<Url, Problem> {
        let endpoint = &self.authorization.authorization_endpoint;
        let mut url = endpoint.clone().ok_or(Problem::NoAuthorizationEndpoint)?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.oauth_client.id)
                .append_pair("redirect_uri", self.redirect_uri.as_str())
                .append_pair("state", state)
                .append_pair("code_challenge", &pkce.challenge)
                .append_pair("code_challenge_method", "S256");
            if let Some(resource) = &self.authorization.resource {
                query.append_pair("resource", resource);
            }
            if !self.scopes.is_empty() {
                query.append_pair("scope", &self.scopes.join(" "));
            }
            // A nonce means something to OpenID providers only (OpenID Connect Core 1.0 section 3.1.2.1).
            if self.keys.is_some() {
                query.append_pair("nonce", nonce);
            }
            if let Some(prompt) = self.prompt() {
                query.append_pair("prompt", prompt);
            }
        }
        Ok(url)
    }
}

/// A login that succeeded.
#[derive(Debug)]
pub struct Login {
    /// What it brought.
    pub tokens: Tokens,
    /// Every request of it, failed attempts included.
    pub hops: Vec<Hop>,
    /// Attempts made, 1 if the first succeeded.
    pub attempts: u32,
    /// From the first request to the tokens, waiting between attempts included.
    pub took: Duration,
    /// How long was waited for a place in the browser. No part of `took`, nor of the time for retries.
    pub queued: Duration,
}

/// Logs `user` in. `client` is that identity's own, with a cookie jar; a provider's session in it is used if it is still good.
///
/// # Errors
/// A [`LoginError`] says at which hop, what was expected, and what the page said.
pub async fn log_in(
    plan: &LoginPlan,
    client: &Client,
    user: &str,
    password: &Secret,
) -> Result<Login, LoginError> {
    let walker = Walker {
        client,
        user,
        password,
    };
    let limits = Limits {
        timeout: plan.timeout,
        max_hops: plan.max_hops,
    };
    let back = Some(&plan.redirect_uri);
    let done = persist(walker, limits, back, &plan.retry, |walk| {
        attempt(walk, plan).boxed()
    })
    .await?;
    Ok(done.into())
}

/// A login by a form that succeeded: the session is in the client's cookies.
#[derive(Debug)]
pub struct FormSession {
    /// Every request of it, failed attempts included.
    pub hops: Vec<Hop>,
    /// Attempts made, 1 if the first succeeded.
    pub attempts: u32,
    /// From the first request to the last, waiting between attempts included.
    pub took: Duration,
    /// How long was waited for a place in the browser. No part of `took`, nor of the time for retries.
    pub queued: Duration,
}

/// Logs `user` in by a form. `client` is that identity's own, with a cookie jar; `values` fill the placeholders.
///
/// # Errors
/// A [`LoginError`] says at which page, what was expected, and what the page said.
pub async fn log_in_by_form(
    login: &FormLogin,
    client: &Client,
    user: &str,
    password: &Secret,
    values: &Values,
) -> Result<FormSession, LoginError> {
    let walker = Walker {
        client,
        user,
        password,
    };
    let limits = Limits::of_form(login.timeout);
    let done = persist(walker, limits, None, &login.retry, |walk| {
        form::attempt(walk, login, values).boxed()
    })
    .await?;
    Ok(FormSession {
        hops: done.hops,
        attempts: done.attempts,
        took: done.took,
        queued: done.queued,
    })
}

/// What came of a login in the end.
struct Done<T> {
    came: T,
    hops: Vec<Hop>,
    attempts: u32,
    took: Duration,
    queued: Duration,
}

impl From<Done<Tokens>> for Login {
    fn from(done: Done<Tokens>) -> Self {
        Self {
            tokens: done.came,
            hops: done.hops,
            attempts: done.attempts,
            took: done.took,
            queued: done.queued,
        }
    }
}

/// Attempts until one succeeds, what went wrong will not pass, or the policy ends it.
async fn persist<'a, T>(
    walker: Walker<'a>,
    limits: Limits,
    back: Option<&'a Url>,
    retry: &RetryPolicy,
    mut attempt: impl for<'w> FnMut(&'w mut Walk<'a>) -> BoxFuture<'w, Result<T, Failure>>,
) -> Result<Done<T>, LoginError> {
    let Walker { client, user, .. } = walker;
    let mut started = Instant::now();
    let mut queued = Duration::ZERO;
    let mut attempts = retry.start();
    let mut hops = Vec::new();
    loop {
        let mut walk = Walk::new(walker, limits, back, attempts.made(), started);
        let result = attempt(&mut walk).await;
        let at = walk.at();
        hops.append(&mut walk.hops);
        started += walk.queued;
        queued += walk.queued;
        attempts.put_off(walk.queued);
        let failure = match result {
            Ok(came) => {
                tracing::info!(
                    user,
                    hops = hops.len(),
                    attempts = attempts.made(),
                    took = ?started.elapsed(),
                    ?queued,
                    "logged in"
                );
                return Ok(Done {
                    came,
                    hops,
                    attempts: attempts.made(),
                    took: started.elapsed(),
                    queued,
                });
            }
            Err(failure) => failure,
        };
        let problem = &failure.problem;
        let wait = if problem.is_passing() {
            attempts.next_wait(problem.retry_after())
        } else {
            None
        };
        let Some(wait) = wait else {
            let made = attempts.made();
            return Err(LoginError::new(user, at, failure, made, hops).after_queueing(queued));
        };
        tracing::info!(user, problem = %problem, ?wait, "login failed, trying again");
        tokio::time::sleep(wait).await;
        // A half-done login leaves cookies that lead into its middle.
        if let Some(cookies) = client.cookies() {
            cookies.clear();
        }
    }
}

async fn attempt(walk: &mut Walk<'_>, plan: &LoginPlan) -> Result<Tokens, Failure> {
    let (state, nonce, pkce) = (random_token(), random_token(), Pkce::generate());
    let authorize = plan.authorize_url(&state, &nonce, &pkce)?;
    let response = driver::reach_callback(walk, plan, authorize, &state).await?;
    let code = callback::verify(&response, &state, &plan.authorization)?;
    let tokens = walk.redeem(plan, &code, &pkce).await?;
    if let (Some(keys), Some(id_token)) = (&plan.keys, &tokens.id_token) {
        let expected = id_token::Expected {
            issuer: &plan.authorization.issuer,
            client_id: &plan.oauth_client.id,
            nonce: Some(&nonce),
            server_time: tokens.server_time,
        };
        let bare = walk.client.without_cookies();
        let claims = keys
            .validate(&bare, id_token, &expected, plan.timeout)
            .await
            .map_err(Problem::IdToken)?;
        return Ok(Tokens {
            claims: Some(claims),
            ..tokens
        });
    }
    Ok(tokens)
}
