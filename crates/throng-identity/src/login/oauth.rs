//! From the authorization endpoint to the redirect URI, and from the code to the tokens.

use std::time::Duration;

use http::{Method, StatusCode};
use url::Url;

use super::LoginPlan;
use super::answer::Answers;
use super::callback::{self, Response};
use super::error::{Failure, Problem};
use super::token::{self, Tokens};
use super::walk::{Purpose, Step, Walk};
use crate::pkce::Pkce;
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
                    self.check_status(&exchange)?;
                    answers.page(&step.url, &exchange).await?
                }
            };
            if self.leads_back(&next.url) {
                let body = next.form.as_ref().map_or("", |(_, body)| body);
                return Ok(callback::parameters(&next.url, body));
            }
            step = next;
        }
    }

    /// Exchanges the code (RFC 6749 section 4.1.3, RFC 7636 section 4.5, RFC 8707 section 2.2). Returns the tokens and the id
    /// token, which is not yet believed.
    pub(super) async fn redeem(
        &mut self,
        plan: &LoginPlan,
        code: &Secret,
        pkce: &Pkce,
    ) -> Result<(Tokens, Option<Secret>), Failure> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", plan.redirect_uri.as_str()),
            ("code_verifier", pkce.verifier.expose()),
        ];
        let request = token::request(&plan.authorization, &plan.oauth_client, &form);
        // A token endpoint is an API: the login's cookies are none of its business.
        let bare = self.client.without_cookies();
        let url = &plan.authorization.token_endpoint;
        let exchange = self
            .perform(
                Purpose::Token,
                Method::POST,
                url,
                request,
                &bare,
                Duration::ZERO,
            )
            .await?;
        self.check_status(&exchange)?;
        let secrets = [self.password, code, &pkce.verifier];
        if exchange.status != StatusCode::OK {
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
        token::parse(&exchange.body).map_err(|problem| Problem::Tokens(problem).into())
    }
}
