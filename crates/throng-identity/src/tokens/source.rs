//! Where an identity's tokens come from, by the kind of its login: requests to the authorization server, without any memory of
//! their own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use throng_client::{Client, Exchange, TransportError};
use url::Url;

use crate::discovery::Authorization;
use crate::login::id_token::Expected;
use crate::login::token::{self, Tokens};
use crate::login::{GrantPlan, Keys, Login, LoginError, LoginPlan, Whom, log_in, log_in_by_grant};
use crate::redact;
use crate::registration::OAuthClient;
use crate::retry::{self, RetryPolicy};
use crate::secret::Secret;

/// How an identity gets new tokens.
pub(super) enum Source {
    /// By the refresh token, else by a full login.
    Login(LoginSource),
    /// By a refresh token where one was given, else by another grant of the same kind. No password is sent, unless one is the
    /// client's own secret, or a login stands behind an exchange whose token is over.
    Grant(GrantSource),
}

pub(super) struct LoginSource {
    pub(super) plan: Arc<LoginPlan>,
    /// Without cookies: those of the first login are never needed again, and take more memory than all else here.
    pub(super) client: Client,
    pub(super) user: String,
    pub(super) password: Secret,
}

pub(super) struct GrantSource {
    pub(super) plan: Arc<GrantPlan>,
    /// Without cookies.
    pub(super) client: Client,
    pub(super) whom: Whom,
}

/// What asking the authorization server takes.
struct Asking<'a> {
    authorization: Arc<Authorization>,
    oauth_client: Arc<OAuthClient>,
    keys: Option<Arc<Keys>>,
    client: &'a Client,
    timeout: Duration,
}

impl Source {
    /// The plan of the login by now; none where no login of ours brings the tokens.
    pub(super) fn login(&self) -> Option<Arc<LoginPlan>> {
        match self {
            Self::Login(source) => Some(source.plan.latest()),
            Self::Grant(_) => None,
        }
    }

    /// The authorization server that gives the tokens.
    pub(super) fn authorization(&self) -> Arc<Authorization> {
        match self {
            Self::Login(source) => source.plan.latest().authorization.clone(),
            Self::Grant(source) => source.plan.authorization.clone(),
        }
    }

    /// The scopes that are asked for at first.
    pub(super) fn scopes(&self) -> Vec<String> {
        match self {
            Self::Login(source) => source.plan.latest().scopes.clone(),
            Self::Grant(source) => source.plan.scopes.clone(),
        }
    }

    /// Attempts and time for one renewal.
    pub(super) fn retry(&self) -> RetryPolicy {
        match self {
            Self::Login(source) => source.plan.retry,
            Self::Grant(source) => source.plan.retry,
        }
    }

    fn asking(&self) -> Asking<'_> {
        match self {
            Self::Login(source) => {
                let plan = source.plan.latest();
                Asking {
                    authorization: plan.authorization.clone(),
                    oauth_client: plan.oauth_client.clone(),
                    keys: plan.keys.clone(),
                    client: &source.client,
                    timeout: plan.timeout,
                }
            }
            Self::Grant(source) => Asking {
                authorization: source.plan.authorization.clone(),
                oauth_client: source.plan.client_of(&source.whom),
                keys: None,
                client: &source.client,
                timeout: source.plan.timeout,
            },
        }
    }

    /// Gets tokens from nothing, by the way of the first login. `scopes` take the place of the plan's; `behind` are the tokens of
    /// the login behind an exchange, which spare another one.
    pub(super) async fn log_in(
        &self,
        scopes: Option<&[String]>,
        behind: Option<&Tokens>,
        retry: RetryPolicy,
    ) -> Result<Login, LoginError> {
        let scopes = scopes.map_or_else(|| self.scopes(), <[String]>::to_vec);
        match self {
            Self::Login(source) => {
                let plan = LoginPlan {
                    retry,
                    scopes,
                    ..LoginPlan::clone(&source.plan.latest())
                };
                let client = source.client.with_new_cookies();
                log_in(&plan, &client, &source.user, &source.password).await
            }
            Self::Grant(source) => {
                let plan = GrantPlan {
                    retry,
                    scopes,
                    ..GrantPlan::clone(&source.plan)
                };
                let client = source.client.with_new_cookies();
                log_in_by_grant(&plan, &client, &source.whom, behind).await
            }
        }
    }

    /// Sends the refresh token (RFC 6749 section 6), once.
    pub(super) async fn refresh(
        &self,
        refresh: &Secret,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<Exchange, TransportError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose()),
        ];
        let asking = self.asking();
        let mut request = token::request(&asking.authorization, &asking.oauth_client, &form);
        request.headers_mut().extend(more.iter().cloned());
        asking.client.send(request, asking.timeout).await
    }

    /// Asks for a token to be revoked (RFC 7009 section 2.1), once.
    pub(super) async fn revoke(
        &self,
        endpoint: &Url,
        token: &Secret,
        hint: &str,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<Exchange, TransportError> {
        let form = [("token", token.expose()), ("token_type_hint", hint)];
        let asking = self.asking();
        let (authorization, client) = (&asking.authorization, &asking.oauth_client);
        let mut request = token::post(endpoint, authorization, client, &form);
        request.headers_mut().extend(more.iter().cloned());
        asking.client.send(request, asking.timeout).await
    }

    /// Reads the answer to a refresh. `before` is the id token's subject at the login. The error says what is wrong, without
    /// secrets.
    pub(super) async fn read(
        &self,
        exchange: &Exchange,
        before: Option<&str>,
    ) -> Result<Tokens, String> {
        let asking = self.asking();
        let mut tokens = token::parse(&exchange.body, &asking.authorization)?;
        tokens.server_time = retry::server_time(&exchange.headers);
        let (Some(keys), Some(id_token)) = (&asking.keys, &tokens.id_token) else {
            return Ok(tokens);
        };
        let expected = Expected {
            issuer: &asking.authorization.issuer,
            client_id: &asking.oauth_client.id,
            nonce: None,
            server_time: tokens.server_time,
        };
        let claims = keys
            .validate(asking.client, id_token, &expected, asking.timeout)
            .await
            .map_err(|error| format!("an id token that is refused: {error}"))?;
        // OpenID Connect Core 1.0 section 12.2: the same user as before.
        if before.is_some_and(|before| before != claims.sub) {
            return Err(format!("an id token of {}", redact::text(&claims.sub, &[])));
        }
        Ok(Tokens {
            claims: Some(claims),
            ..tokens
        })
    }
}
