//! Renewals and other work on an identity's tokens: one at a time, each in a task of its own, and what becomes of its outcome.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::StatusCode;
use serde_json::Value;
use throng_client::Exchange;
use tokio::time::Instant;

use super::action::shown;
use super::source::Source;
use super::{FAILURES, Inner, LONGEST_PAUSE, MoreHeaders, PAUSE, State, TokenAnswer, TokenError};
use crate::login::token::Tokens;
use crate::login::{Login, LoginError};
use crate::retry::{self, RetryPolicy};
use crate::secret::Secret;
use crate::wire;

/// What is done with an identity's tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Somebody needs a good token, however it is got.
    Renew,
    /// A step uses the refresh token.
    Refresh(MoreHeaders),
    /// A step logs in.
    LogIn,
    /// A login for these scopes.
    StepUp(Vec<String>),
}

/// The answer, where the work is a step's own.
pub(super) type Landed = Result<Option<TokenAnswer>, TokenError>;

pub(super) type Flight = Shared<BoxFuture<'static, Landed>>;

impl Inner {
    /// Whether a renewal may begin now.
    pub(super) fn may_renew(&self, state: &State) -> Result<(), TokenError> {
        if self.source.is_none() {
            return Err(self.fixed());
        }
        if let Some(last) = &state.given_up {
            return Err(TokenError::GivenUp {
                failures: state.failed,
                last: Box::new(last.clone()),
            });
        }
        match &state.not_before {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Begins work while nothing else is being done.
    pub(super) fn launch(self: &Arc<Self>, state: &mut State, work: Work) -> Flight {
        let inner = self.clone();
        let of_task = work.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "who needs the token awaits it; a panic in it is told to all of them"
        )]
        let task = tokio::spawn(async move {
            let result = inner.carry_out(&of_task).await;
            inner.landed(&of_task, &result);
            result
        });
        let inner = self.clone();
        let flight = task
            .map(move |joined| {
                joined.unwrap_or_else(|_| {
                    inner.state().flight = None;
                    Err(TokenError::Lost {
                        user: inner.user.clone(),
                    })
                })
            })
            .boxed()
            .shared();
        state.flight = Some((work, flight.clone()));
        flight
    }

    async fn carry_out(&self, work: &Work) -> Landed {
        match work {
            Work::Renew => self.renew().await.map(|()| None),
            Work::Refresh(more) => self.refresh_once(more).await.map(Some),
            Work::LogIn => {
                let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
                self.settle_in(source);
                let started = std::time::Instant::now();
                let login = self.anew(source, RetryPolicy::once()).await?;
                let answer = TokenAnswer::of_login(started, &login);
                self.logged_in(source, login);
                Ok(Some(answer))
            }
            Work::StepUp(scopes) => {
                let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
                let behind = self.state().behind.clone();
                let login = source.log_in(Some(scopes), behind.as_deref(), source.retry());
                let login = login.await.map_err(|error| self.login_failed(error))?;
                self.take(login.tokens);
                let mut state = self.state();
                state.scopes = Some(scopes.clone());
                self.count(&mut state, |stats| stats.step_ups += 1);
                tracing::info!(user = self.user, scopes = scopes.join(" "), "stepped up");
                Ok(None)
            }
        }
    }

    /// By the refresh token, or by a login where that is no longer good or there is none: both within one budget.
    async fn renew(&self) -> Result<(), TokenError> {
        let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
        self.settle_in(source);
        let mut attempts = source.retry().start();
        let refresh = self.state().refresh.clone();
        if let Some(refresh) = refresh {
            let exchange = loop {
                let exchange = source
                    .refresh(&refresh, &[])
                    .await
                    .map_err(|error| self.no_answer("refreshing", error))?;
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
            match self.judge(&refresh, &exchange).await? {
                Ok(tokens) => {
                    self.refreshed(tokens);
                    return Ok(());
                }
                Err(said) => {
                    tracing::debug!(user = self.user, %said, "the refresh token is no longer good");
                    self.forget_refresh(&refresh);
                }
            }
        }
        let rest = RetryPolicy {
            budget: attempts.left(),
            ..source.retry()
        };
        let login = self.anew(source, rest).await?;
        self.logged_in(source, login);
        Ok(())
    }

    /// Gets tokens by the way of the first ones.
    async fn anew(&self, source: &Source, retry: RetryPolicy) -> Result<Login, TokenError> {
        let (scopes, behind) = {
            let state = self.state();
            (state.scopes.clone(), state.behind.clone())
        };
        let login = source.log_in(scopes.as_deref(), behind.as_deref(), retry);
        login.await.map_err(|error| self.login_failed(error))
    }

    /// Where the target has moved to another authorization server, what the old one gave is worth nothing there, and must not be
    /// shown to it.
    fn settle_in(&self, source: &Source) {
        let latest = source.login();
        let mut state = self.state();
        let moved = match (&state.home, &latest) {
            (Some(home), Some(latest)) => !Arc::ptr_eq(home, latest),
            _ => false,
        };
        if moved {
            (state.refresh, state.subject, state.scopes) = (None, None, None);
            state.refused_scopes.clear();
        }
        state.home = latest;
    }

    /// A refresh that a step asks for: once, and refused or not, the answer is the step's.
    async fn refresh_once(&self, more: &MoreHeaders) -> Result<TokenAnswer, TokenError> {
        let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
        let refresh = self.state().refresh.clone();
        let refresh = refresh.ok_or_else(|| self.missing("refresh token"))?;
        let exchange = source
            .refresh(&refresh, more)
            .await
            .map_err(|error| self.no_answer("refreshing", error))?;
        let result = match self.judge(&refresh, &exchange).await {
            Ok(Ok(tokens)) => {
                let value = shown(&tokens);
                self.refreshed(tokens);
                Ok(value)
            }
            Ok(Err(said)) => {
                self.forget_refresh(&refresh);
                Err(said)
            }
            Err(TokenError::Refused { said, .. }) => Err(said),
            Err(error) => return Err(error),
        };
        Ok(TokenAnswer::of(&exchange, result))
    }

    /// Tokens, or what was said where the refresh token is no longer good (`invalid_grant`).
    async fn judge(
        &self,
        refresh: &Secret,
        exchange: &Exchange,
    ) -> Result<Result<Tokens, String>, TokenError> {
        if exchange.status != StatusCode::OK {
            let said = wire::said(exchange, &[refresh]);
            if exchange.status.is_client_error() && is_invalid_grant(&exchange.body) {
                return Ok(Err(said));
            }
            return Err(TokenError::Refused {
                user: self.user.clone(),
                status: exchange.status,
                said,
            });
        }
        let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
        let before = self.state().subject.clone();
        let tokens = source.read(exchange, before.as_deref()).await;
        tokens.map(Ok).map_err(|problem| TokenError::Invalid {
            user: self.user.clone(),
            problem,
        })
    }

    /// Revokes a token. That changes nothing of what the identity has: what it is worth is the target's to say.
    pub(super) async fn revoke(
        &self,
        the_refresh_token: bool,
        more: MoreHeaders,
    ) -> Result<TokenAnswer, TokenError> {
        let source = self.source.as_ref().ok_or_else(|| self.fixed())?;
        let (token, hint) = {
            let state = self.state();
            if the_refresh_token {
                (state.refresh.clone(), "refresh_token")
            } else {
                (state.access.clone(), "access_token")
            }
        };
        let what = if the_refresh_token {
            "refresh token"
        } else {
            "access token"
        };
        let token = token.ok_or_else(|| self.missing(what))?;
        let authorization = source.authorization();
        let endpoint = authorization.revocation_endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| TokenError::NoRevocation {
            issuer: authorization.issuer.clone(),
        })?;
        let exchange = source
            .revoke(endpoint, &token, hint, &more)
            .await
            .map_err(|error| self.no_answer("revoking", error))?;
        // RFC 7009 section 2.2: 200, also where the server knows no such token.
        let result = if exchange.status.is_success() {
            Ok(Value::Object(Default::default()))
        } else {
            Err(wire::said(&exchange, &[&token]))
        };
        Ok(TokenAnswer::of(&exchange, result))
    }

    fn refreshed(&self, tokens: Tokens) {
        self.take(tokens);
        self.count(&mut self.state(), |stats| stats.refreshes += 1);
        tracing::info!(user = self.user, "renewed its token");
    }

    fn logged_in(&self, source: &Source, login: Login) {
        {
            let mut state = self.state();
            // Those of the earlier login are done with, even if this one brought no refresh token.
            state.refresh = None;
            self.count(&mut state, |stats| match source {
                Source::Login(_) => stats.logins += 1,
                Source::Grant(_) => stats.grants += 1,
            });
        }
        self.take(login.tokens);
    }

    /// Unless another has taken its place.
    fn forget_refresh(&self, refused: &Secret) {
        let mut state = self.state();
        if state
            .refresh
            .as_ref()
            .is_some_and(|refresh| refresh.expose() == refused.expose())
        {
            state.refresh = None;
        }
    }

    /// Ends the flight.
    fn landed(&self, work: &Work, result: &Landed) {
        let mut state = self.state();
        state.flight = None;
        match (work, result) {
            (Work::Renew | Work::StepUp(_), Ok(_)) => state.recover(),
            // A step's own refresh may well be refused.
            (Work::Refresh(_) | Work::LogIn, Ok(Some(answer))) if answer.result.is_ok() => {
                state.recover();
            }
            (Work::Refresh(_) | Work::LogIn, _) => {}
            (Work::StepUp(scopes), Err(error)) => {
                if !error.is_passing() {
                    state.refused_scopes.push(scopes.clone());
                }
                self.count(&mut state, |stats| stats.failures += 1);
            }
            (Work::Renew, Err(error)) => {
                self.count(&mut state, |stats| stats.failures += 1);
                state.failed += 1;
                state.lasting += u32::from(!error.is_passing());
                let doublings = (state.failed - 1).min(16);
                let pause = PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
                state.not_before = Some((Instant::now() + pause, error.clone()));
                if error.refuses_password() || state.lasting >= FAILURES {
                    state.given_up = Some(error.clone());
                }
            }
        }
    }

    fn fixed(&self) -> TokenError {
        TokenError::Fixed {
            user: self.user.clone(),
        }
    }

    fn missing(&self, what: &'static str) -> TokenError {
        TokenError::Missing {
            user: self.user.clone(),
            what,
        }
    }

    fn no_answer(&self, doing: &'static str, source: throng_client::TransportError) -> TokenError {
        TokenError::Transport {
            user: self.user.clone(),
            doing,
            source: Arc::new(source),
        }
    }

    fn login_failed(&self, source: LoginError) -> TokenError {
        TokenError::Login {
            user: self.user.clone(),
            source: Arc::new(source),
        }
    }
}

impl State {
    /// There is a good token again.
    fn recover(&mut self) {
        (self.failed, self.lasting) = (0, 0);
        (self.not_before, self.given_up) = (None, None);
    }
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
