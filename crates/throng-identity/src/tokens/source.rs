//! Where an identity's tokens come from: requests to the authorization server, without any memory of their own.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use throng_client::{Client, Exchange, TransportError};
use url::Url;

use crate::login::id_token::Expected;
use crate::login::token::{self, Tokens};
use crate::login::{Login, LoginError, LoginPlan, log_in};
use crate::redact;
use crate::retry::RetryPolicy;
use crate::secret::Secret;

/// How an identity gets new tokens.
pub(super) struct Source {
    pub(super) plan: Arc<LoginPlan>,
    /// Without cookies: those of the first login are never needed again, and take more memory than all else here.
    pub(super) client: Client,
    pub(super) user: String,
    pub(super) password: Secret,
}

impl Source {
    /// Logs in from nothing, by the way of the first login. `scopes` take the place of the plan's.
    pub(super) async fn log_in(
        &self,
        scopes: Option<&[String]>,
        retry: RetryPolicy,
    ) -> Result<Login, LoginError> {
        let plan = LoginPlan {
            retry,
            scopes: scopes.map_or_else(|| self.plan.scopes.clone(), <[String]>::to_vec),
            ..LoginPlan::clone(&self.plan)
        };
        let client = self.client.with_new_cookies();
        log_in(&plan, &client, &self.user, &self.password).await
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
        let plan = &self.plan;
        let mut request = token::request(&plan.authorization, &plan.oauth_client, &form);
        request.headers_mut().extend(more.iter().cloned());
        self.client.send(request, plan.timeout).await
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
        let mut request = token::post(endpoint, &self.plan.oauth_client, &form);
        request.headers_mut().extend(more.iter().cloned());
        self.client.send(request, self.plan.timeout).await
    }

    /// Reads the answer to a refresh. `before` is the id token's subject at the login. The error says what is wrong, without
    /// secrets.
    pub(super) async fn read(
        &self,
        exchange: &Exchange,
        before: Option<&str>,
    ) -> Result<Tokens, String> {
        let plan = &self.plan;
        let (tokens, id_token) = token::parse(&exchange.body)?;
        let (Some(keys), Some(id_token)) = (&plan.keys, id_token) else {
            return Ok(tokens);
        };
        let expected = Expected {
            issuer: &plan.authorization.issuer,
            client_id: &plan.oauth_client.id,
            nonce: None,
        };
        let claims = keys
            .validate(&self.client, &id_token, &expected, plan.timeout)
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
