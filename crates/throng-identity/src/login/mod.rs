//! Logging one user in over plain HTTP, without a browser and without a listening port.
//!
//! [`log_in`] walks from the authorization endpoint to the redirect URI as a browser would, hop by hop with the identity's own
//! cookies, answers the pages on the way ([`crate::pages`]) and exchanges the code. It retries what may be passing (a
//! dead connection, 429, 5xx), never a refused password.

mod answer;
mod callback;
mod error;
pub mod id_token;
pub mod token;
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_client::Client;
use url::Url;

pub use error::{LoginError, Problem};
pub use id_token::{IdClaims, Keys};
pub use token::Tokens;
pub use walk::{Hop, Purpose};

use crate::discovery::Authorization;
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
    /// `prompt` of the authorization request, if any.
    pub prompt: Option<String>,
    /// The provider's keys; none if it is no OpenID provider, and then an id token is nothing to us.
    pub keys: Option<Arc<Keys>>,
    /// Time allowed for each hop.
    pub timeout: Duration,
    /// Hops allowed for one login; an endless redirect ends there.
    pub max_hops: u32,
    /// Attempts and time for one user's login.
    pub retry: RetryPolicy,
}

/// The redirect URI used where the scenario names none. Loopback, as RFC 8252 section 7.3 wants it for native clients.
pub const DEFAULT_REDIRECT_URI: &str = "http://127.0.0.1:8765/throng/callback";

/// The hop limit used where nobody names one: the longest known login (a proxy, two forms, consent) takes 14.
pub const DEFAULT_MAX_HOPS: u32 = 30;

impl LoginPlan {
    /// A plan with the usual limits; `keys` are taken from the metadata.
    pub fn new(
        authorization: Arc<Authorization>,
        oauth_client: Arc<OAuthClient>,
        redirect_uri: Url,
        scopes: Vec<String>,
    ) -> Self {
        Self {
            keys: authorization
                .jwks_uri
                .clone()
                .map(|uri| Arc::new(Keys::new(uri))),
            authorization,
            oauth_client,
            redirect_uri,
            scopes,
            prompt: None,
            timeout: Duration::from_secs(30),
            max_hops: DEFAULT_MAX_HOPS,
            retry: RetryPolicy::default(),
        }
    }

    fn authorize_url(&self, state: &str, nonce: &str, pkce: &Pkce) -> Url {
        let mut url = self.authorization.authorization_endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.oauth_client.id)
                .append_pair("redirect_uri", self.redirect_uri.as_str())
                .append_pair("state", state)
                .append_pair("code_challenge", &pkce.challenge)
                .append_pair("code_challenge_method", "S256")
                .append_pair("resource", &self.authorization.resource);
            if !self.scopes.is_empty() {
                query.append_pair("scope", &self.scopes.join(" "));
            }
            // A nonce means something to OpenID providers only (OpenID Connect Core 1.0 section 3.1.2.1).
            if self.keys.is_some() {
                query.append_pair("nonce", nonce);
            }
            if let Some(prompt) = &self.prompt {
                query.append_pair("prompt", prompt);
            }
        }
        url
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
    let started = Instant::now();
    let mut attempts = plan.retry.start();
    let mut hops = Vec::new();
    loop {
        let mut walk = walk::Walk::new(plan, client, user, password, attempts.made(), started);
        let result = attempt(&mut walk).await;
        let at = walk.at();
        hops.append(&mut walk.hops);
        let (problem, said) = match result {
            Ok(tokens) => {
                tracing::info!(
                    user,
                    hops = hops.len(),
                    attempts = attempts.made(),
                    took = ?started.elapsed(),
                    "logged in"
                );
                return Ok(Login {
                    tokens,
                    hops,
                    attempts: attempts.made(),
                    took: started.elapsed(),
                });
            }
            Err(failure) => (failure.problem, failure.said),
        };
        let wait = if problem.is_passing() {
            attempts.next_wait(problem.retry_after())
        } else {
            None
        };
        let Some(wait) = wait else {
            return Err(LoginError::new(
                user,
                at,
                problem,
                said,
                attempts.made(),
                hops,
            ));
        };
        tracing::info!(user, problem = %problem, ?wait, "login failed, trying again");
        tokio::time::sleep(wait).await;
        // A half-done login leaves cookies that lead into its middle.
        if let Some(cookies) = client.cookies() {
            cookies.clear();
        }
    }
}

async fn attempt(walk: &mut walk::Walk<'_>) -> Result<Tokens, error::Failure> {
    let plan = walk.plan;
    let (state, nonce, pkce) = (random_token(), random_token(), Pkce::generate());
    let response = walk
        .reach_callback(plan.authorize_url(&state, &nonce, &pkce))
        .await?;
    let code = callback::verify(&response, &state, &plan.authorization)?;
    let (tokens, id_token) = walk.redeem(&code, &pkce).await?;
    if let (Some(keys), Some(id_token)) = (&plan.keys, id_token) {
        let expected = id_token::Expected {
            issuer: &plan.authorization.issuer,
            client_id: &plan.oauth_client.id,
            nonce: Some(&nonce),
        };
        let bare = walk.client.without_cookies();
        let claims = keys
            .validate(&bare, &id_token, &expected, plan.timeout)
            .await
            .map_err(Problem::IdToken)?;
        return Ok(Tokens {
            claims: Some(claims),
            ..tokens
        });
    }
    Ok(tokens)
}
