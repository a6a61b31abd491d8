//! From the authorization endpoint to the redirect URI, and from the code to the tokens.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use url::Url;

use super::LoginPlan;
use super::answer::Answers;
use super::callback::{self, Response};
use super::error::{Failure, Problem};
use super::token::{self, Tokens};
use super::walk::{Purpose, Step, Walk};
use crate::discovery::Authorization;
use crate::pages;
use crate::pkce::Pkce;
use crate::registration::OAuthClient;
use crate::retry;
use crate::secret::Secret;
use crate::wire;

impl Walk<'_> {
    /// Walks until the redirect URI is reached, which is not requested.
    pub(super) async fn reach_callback(
        &mut self,
        plan: &LoginPlan,
        authorize: Url,
    ) -> Result<Response, Failure> {
        let mut answers = Answers::new(self.user, self.password, plan.retry.budget);
        let mut step = Step::get(Purpose::Authorize, authorize);
        loop {
            answers.note(&step);
            let exchange = self.send(&step).await?;
            let next = match self.redirected(&step, &exchange)? {
                Some(next) => next,
                None => {
                    self.check_challenge(&exchange)?;
                    self.check_status(&exchange)?;
                    let html = String::from_utf8_lossy(&exchange.body);
                    let page = pages::read(&step.url, &html);
                    self.taken_for(&page);
                    answers.answer(&step.url, page, &exchange).await?
                }
            };
            if self.leads_back(&next.url) {
                let body = next.form.as_ref().map_or("", |(_, body)| body);
                return Ok(callback::parameters(&next.url, body));
            }
            step = next;
        }
    }

    /// Exchanges the code (RFC 6749 section 4.1.3, RFC 7636 section 4.5, RFC 8707 section 2.2). The id token among the tokens is not
    /// yet believed.
    pub(super) async fn redeem(
        &mut self,
        plan: &LoginPlan,
        code: &Secret,
        pkce: &Pkce,
    ) -> Result<Tokens, Failure> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", plan.redirect_uri.as_str()),
            ("code_verifier", pkce.verifier.expose()),
        ];
        self.ask_for_tokens(
            &plan.authorization,
            &plan.oauth_client,
            &form,
            &[code, &pkce.verifier],
        )
        .await
    }

    /// Asks the token endpoint for an access token. `secrets` are what the grant sends and no message may show.
    pub(super) async fn ask_for_tokens(
        &mut self,
        authorization: &Authorization,
        client: &OAuthClient,
        grant: &[(&str, &str)],
        secrets: &[&Secret],
    ) -> Result<Tokens, Failure> {
        let body = self.ask(authorization, client, grant, secrets).await?;
        let mut tokens = token::parse(&body, authorization).map_err(Problem::Tokens)?;
        tokens.server_time = self.server_time;
        Ok(tokens)
    }

    /// Asks the token endpoint and returns what it answered with 200.
    pub(super) async fn ask(
        &mut self,
        authorization: &Authorization,
        client: &OAuthClient,
        grant: &[(&str, &str)],
        secrets: &[&Secret],
    ) -> Result<Bytes, Failure> {
        let request = token::request(authorization, client, grant);
        // A token endpoint is an API: the login's cookies are none of its business.
        let bare = self.client.without_cookies();
        let url = &authorization.token_endpoint;
        let purpose = Purpose::Token;
        let exchange = self
            .perform(purpose, Method::POST, url, request, &bare, Duration::ZERO)
            .await?;
        self.check_status(&exchange)?;
        self.server_time = retry::server_time(&exchange.headers);
        if exchange.status != StatusCode::OK {
            let secrets: Vec<&Secret> = self
                .secrets()
                .into_iter()
                .chain(client.secret.as_ref())
                .chain(secrets.iter().copied())
                .collect();
            let problem = Problem::Status {
                expected: "200 with tokens",
                status: exchange.status,
            };
            return Err(Failure::saying(
                problem,
                &wire::said(&exchange, &secrets),
                &secrets,
            ));
        }
        Ok(exchange.body)
    }
}
