//! One user's calls, sent again where its token was refused, and what steps do with the token itself.
//!
//! How a token is renewed is `throng-identity`'s; here is when, how often at most, and what is told of it.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use throng_client::mcp::{CallOptions, Session};
use throng_client::{Base, Client};
use throng_identity::TokenCell;
use throng_identity::challenge::Challenge;
use throng_identity::tokens::{
    Freshness, Recovery, Refusal, TokenAction, TokenAnswer, TokenError, TokenStats,
};
use throng_metrics::{Failure, FailureKind};

use crate::crowd::{Member, exchange};
use crate::http_session::{Sender, carries_token};
use crate::mcp_session::send;
use crate::run::failure::{failure, failure_with};
use crate::run::{Performed, Prepared, Readied, Reply, TokenUse};

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// What stands before the phase in it.
const PHASE: &str = ",throng.phase=";

/// What an answer says of the user's token.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<Box<Refusal>> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    Refusal::of(status, Challenge::from_headers(headers).as_ref()).map(Box::new)
}

/// How a user's call goes to the target.
pub(crate) enum Way<'a> {
    /// By an MCP session, which takes the token from its cell, with these headers.
    Mcp(&'a Session, &'a [(HeaderName, HeaderValue)]),
    /// By plain HTTP.
    Http(&'a Client, &'a Base),
}

impl Way<'_> {
    async fn send(
        &self,
        member: &Member,
        task: &Prepared<'_>,
        token: Option<&HeaderValue>,
        baggage: Option<&HeaderValue>,
    ) -> Performed {
        match self {
            Self::Mcp(session, headers) => {
                let mut all = Vec::with_capacity(headers.len() + 1);
                all.extend(baggage.map(|value| (BAGGAGE, value.clone())));
                all.extend_from_slice(headers);
                let options = CallOptions {
                    timeout: task.timeout,
                    headers: all,
                };
                let sent = send(session, &task.task, &options, task.wants_value).await;
                Performed {
                    ended: sent.ended,
                    sent: sent.sent,
                    received: sent.received,
                    status: None,
                    stream: None,
                    result: sent.result.map(Reply::from),
                    retries: u32::from(sent.resent),
                    denied: sent.denied,
                    tokens: None,
                }
            }
            Self::Http(client, base) => {
                let sender = Sender {
                    client,
                    base,
                    timeout: task.timeout,
                    wants_value: task.wants_value,
                    authorization: token,
                    saved: &member.saved,
                    baggage,
                };
                exchange(sender, &task.task).await
            }
        }
    }

    /// Whether another token may help.
    fn may_be_helped(&self, task: &Prepared<'_>, performed: &Performed) -> bool {
        let Err(failure) = &performed.result else {
            return false;
        };
        let expected = task
            .refused
            .is_some_and(|refused| refused.is_match(&failure.example));
        match (self, performed.denied.as_deref()) {
            _ if !task.renew => false,
            (_, None) => false,
            // Only of a token that was sent, and not where the step is there to be refused.
            (Self::Http(..), Some(_)) => !expected && task.task.http().is_some_and(carries_token),
            // A session always sends it, and tools refuse in other words.
            (Self::Mcp(..), Some(Refusal::Unauthorized)) => true,
            (Self::Mcp(..), Some(Refusal::InsufficientScope(_))) => !expected,
        }
    }
}

/// What of a user's token was told already.
#[derive(Debug, Default)]
pub(crate) struct Told {
    stats: Mutex<TokenStats>,
}

impl Member {
    /// Renews a token that is over, and begins to renew one that soon will be. It is waited for as long as `limit` says; the
    /// renewal itself goes on.
    pub(crate) async fn ready(&self, limit: Duration) -> Readied {
        let Some(tokens) = &self.tokens else {
            return Readied::default();
        };
        let mut met = TokenUse::default();
        let mut result = Ok(());
        match tokens.freshness() {
            Freshness::Fresh => {}
            // Others may have to wait for it, this one hasn't.
            Freshness::Due => drop(tokens.ensure_fresh().await),
            Freshness::Expired => {
                let begun = Instant::now();
                let renewed = tokio::time::timeout(limit, tokens.ensure_fresh()).await;
                met.waited = Some(begun.elapsed());
                result = match renewed {
                    Ok(renewed) => {
                        renewed.map_err(|error| failure(FailureKind::Auth, &error.to_string()))
                    }
                    Err(_) => Err(no_token_within(limit)),
                };
            }
        }
        Readied {
            tokens: self.tell(tokens, met),
            result,
        }
    }

    /// A call, sent again where another token may help.
    pub(crate) async fn perform(&self, way: Way<'_>, task: &Prepared<'_>) -> Performed {
        let Some(tokens) = &self.tokens else {
            return way.send(self, task, None, task.baggage).await;
        };
        let token = tokens.header();
        let mut performed = way.send(self, task, Some(&token), task.baggage).await;
        if way.may_be_helped(task, &performed) {
            // Rare, and large: it must not make every step's future so.
            return Box::pin(self.persevere(&way, task, tokens, token, performed)).await;
        }
        if !task.renew
            && performed.denied.is_some()
            && let Err(failure) = &mut performed.result
        {
            // Asked for as it is, it's an answer like any other.
            failure.kind = FailureKind::Http;
        }
        performed.tokens = self.tell(tokens, TokenUse::default());
        performed
    }

    /// With another token, as often as that may help. Tokens are waited for as long as one call may take, all together.
    async fn persevere(
        &self,
        way: &Way<'_>,
        task: &Prepared<'_>,
        tokens: &TokenCell,
        mut token: HeaderValue,
        mut performed: Performed,
    ) -> Performed {
        let mut met = TokenUse::default();
        let mut waited = Duration::ZERO;
        let mut recovery = Recovery::default();
        let marked = task.baggage.and_then(again);
        while way.may_be_helped(task, &performed) {
            let Some(refusal) = performed.denied.as_deref() else {
                break;
            };
            met.refusals += 1;
            let begun = Instant::now();
            let rest = task.timeout.saturating_sub(waited);
            let helped = recovery.after(tokens, &token, refusal);
            let helped = tokio::time::timeout(rest, helped).await;
            waited += begun.elapsed();
            let failed = match helped {
                Ok(Ok(true)) => None,
                // What the target said says more.
                Ok(Ok(false) | Err(TokenError::Scopes { .. })) => break,
                Ok(Err(error)) => Some(failure(FailureKind::Auth, &error.to_string())),
                Err(_) => Some(no_token_within(task.timeout)),
            };
            if let Some(failed) = failed {
                performed.ended = None;
                performed.result = Err(failed);
                break;
            }
            token = tokens.header();
            let again = way.send(self, task, Some(&token), marked.as_ref()).await;
            met.retries += 1;
            performed = Performed {
                sent: again.sent.saturating_add(performed.sent),
                received: again.received.saturating_add(performed.received),
                retries: 1 + performed.retries + again.retries,
                ..again
            };
        }
        met.waited = Some(waited);
        performed.tokens = self.tell(tokens, met);
        performed
    }

    /// Does something with the token itself.
    pub(crate) async fn act(&self, action: TokenAction, task: &Prepared<'_>) -> Performed {
        let Some(tokens) = &self.tokens else {
            return Performed::failed(failure(FailureKind::Auth, "the user has no token"));
        };
        let more = task.baggage.map(|value| (BAGGAGE, value.clone()));
        let acted = tokens.act(action, more.into_iter().collect());
        let mut met = TokenUse::default();
        let performed = match tokio::time::timeout(task.timeout, acted).await {
            Err(_) => {
                let text = format!("no answer within {:?}", task.timeout);
                let cause = "no answer of the authorization server in time";
                Performed::failed(failure_with(FailureKind::Timeout, cause, &text))
            }
            Ok(Err(error)) => {
                let kind = match &error {
                    TokenError::Transport { source, .. } if source.is_timeout() => {
                        FailureKind::Timeout
                    }
                    TokenError::Transport { .. } => FailureKind::Transport,
                    _ => FailureKind::Auth,
                };
                Performed::failed(failure(kind, &error.to_string()))
            }
            Ok(Ok(answer)) => {
                met.waited = (!answer.waited.is_zero()).then_some(answer.waited);
                answered(answer)
            }
        };
        Performed {
            tokens: self.tell(tokens, met),
            ..performed
        }
    }

    /// What a step met, with what became of the token since somebody last asked: each renewal is told to one who asks.
    fn tell(&self, tokens: &TokenCell, met: TokenUse) -> Option<Box<TokenUse>> {
        let changes = tokens.changes();
        if met == TokenUse::default() && changes == self.changes.load(Ordering::Relaxed) {
            return None;
        }
        let mut told = self
            .told
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // In this order: what comes to them now is seen by the next one.
        self.changes.store(changes, Ordering::Relaxed);
        let now = tokens.stats();
        let new = now.since(*told);
        *told = now;
        Some(Box::new(TokenUse {
            refreshes: new.refreshes,
            logins: new.logins,
            grants: new.grants,
            step_ups: new.step_ups,
            failures: new.failures,
            ..met
        }))
    }

    /// Takes all that became of the token so far for told: it was before the run.
    pub(crate) fn forget_token_history(&self) {
        if let Some(tokens) = &self.tokens {
            self.tell(tokens, TokenUse::default());
        }
    }
}

/// The authorization server kept a step waiting for too long.
fn no_token_within(limit: Duration) -> Failure {
    let text = format!("no new token within {limit:?}");
    failure_with(FailureKind::Timeout, "no new token in time", &text)
}

fn answered(answer: TokenAnswer) -> Performed {
    let result = answer.result.map(Reply::from).map_err(|said| {
        let status = answer.status.map_or(0, |status| status.as_u16());
        let cause = format!("HTTP {status}");
        failure_with(
            FailureKind::Http,
            cause.clone(),
            &format!("{cause}: {said}"),
        )
    });
    Performed {
        ended: Some(answer.ended),
        sent: answer.sent,
        received: answer.received,
        status: answer.status.map(|status| status.as_u16()),
        result,
        ..Performed::failed(failure(FailureKind::Auth, ""))
    }
}

/// A `baggage` header for a call that is sent again: whoever counts a step's calls by their phase takes it for no other.
fn again(baggage: &HeaderValue) -> Option<HeaderValue> {
    let (step, _) = baggage.to_str().ok()?.split_once(PHASE)?;
    HeaderValue::from_str(&format!("{step}{PHASE}again")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_sent_again_says_so() {
        for baggage in [
            &crate::compile::baggage("a b", "c"),
            &crate::compile::baggage("a b", "c,throng.phase=x"),
        ] {
            let again = again(&baggage.measured).unwrap();
            let step = baggage.warmup.to_str().unwrap().replace("warmup", "");
            assert_eq!(again.to_str().unwrap(), format!("{step}again"));
        }
    }
}
