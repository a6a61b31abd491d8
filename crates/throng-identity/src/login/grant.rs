//! Logins without pages of the target's own: client credentials, token exchange and assertions, each a request or two to token
//! endpoints.
//!
//! Where a user's own login stands behind an exchange, it is that of [`super::log_in`], at the identity provider. What the tokens
//! are renewed by later is [`crate::tokens`]'s work.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use throng_client::Client;

use super::error::{Failure, LoginError, Problem};
use super::token::{self, Tokens};
use super::walk::{Limits, Walk};
use super::{Login, LoginPlan, Walker, persist};
use crate::discovery::Authorization;
use crate::redact;
use crate::registration::{self, OAuthClient, Proof, TokenAuth};
use crate::retry::RetryPolicy;
use crate::secret::Secret;

/// `grant_type` of a token exchange (RFC 8693 section 2.1).
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of an assertion (RFC 7523 section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The kind of token that one authorization server takes from another (draft-ietf-oauth-identity-assertion-authz-grant).
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// Requests that a grant itself takes, at most: an exchange that is refused, and one that isn't, with a renewal between.
const REQUESTS: u32 = 6;

/// How all users of a run get their tokens by requests to token endpoints alone. Shared, never changed.
#[derive(Debug, Clone)]
pub struct GrantPlan {
    /// Where the resource's tokens come from.
    pub authorization: Arc<Authorization>,
    /// As which OAuth client there.
    pub client: GrantClient,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// By what.
    pub grant: Grant,
    /// Time allowed for each request.
    pub timeout: Duration,
    /// Attempts and time for one user's tokens.
    pub retry: RetryPolicy,
}

/// The client that asks for a grant.
#[derive(Debug, Clone)]
pub enum GrantClient {
    /// One for all users.
    Shared(Arc<OAuthClient>),
    /// Each user is a client of its own: its name is the id, its password the secret, sent in this way if one is named.
    EachUser(Option<TokenAuth>),
}

/// What is given for an access token.
#[derive(Debug, Clone)]
pub enum Grant {
    /// The client's own credentials (RFC 6749 section 4.4).
    ClientCredentials,
    /// A token of the user's, at the resource's authorization server (RFC 8693).
    TokenExchange {
        /// The token.
        subject: Subject,
        /// The `audience` asked for, beside the resource.
        audience: Option<String>,
    },
    /// Enterprise-managed authorization: the user's token is exchanged at the identity provider for an identity assertion
    /// (ID-JAG), which the resource's authorization server takes (RFC 7523 section 2.1).
    EnterpriseManaged {
        /// The token.
        subject: Subject,
        /// Where it is exchanged; its `resource` is that of the target.
        provider: Arc<Authorization>,
        /// As which client there.
        provider_client: Arc<OAuthClient>,
    },
    /// The token itself as an assertion, made by somebody whom the resource's authorization server trusts, such as the workload
    /// identity of a machine (RFC 7523 section 2.1).
    Assertion(Subject),
}

/// The token that an exchange begins with: the first of these that there is.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is.
    pub kind: TokenKind,
    /// The same one for all users, and not got by us.
    pub shared: Option<Secret>,
    /// What a login of the user at the identity provider brings, where the user has no token of its own ([`Whom::token`]).
    pub login: Option<Arc<LoginPlan>>,
}

impl Subject {
    /// The token that is given and not got by us.
    fn given<'a>(&'a self, whom: &'a Whom) -> Option<&'a Secret> {
        self.shared.as_ref().or(whom.token.as_ref())
    }
}

/// Kinds of token that may be exchanged (RFC 8693 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An OAuth access token.
    Access,
    /// An OpenID Connect id token.
    Id,
    /// Some other JWT.
    Jwt,
}

impl TokenKind {
    /// The URN that requests name it by.
    pub fn urn(self) -> &'static str {
        match self {
            Self::Access => "urn:ietf:params:oauth:token-type:access_token",
            Self::Id => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }

    /// That of a login's tokens.
    fn among(self, tokens: &Tokens) -> Result<Secret, Problem> {
        match self {
            Self::Access => Ok(tokens.access.clone()),
            Self::Id | Self::Jwt => tokens.id_token.clone().ok_or(Problem::NoIdToken),
        }
    }
}

/// Whose tokens.
#[derive(Debug, Clone)]
pub struct Whom {
    /// Login name.
    pub name: String,
    /// Login password; made up and of no use where nobody logs in with it.
    pub password: Secret,
    /// A token of this user's that somebody else cares for.
    pub token: Option<Secret>,
}

impl GrantPlan {
    /// The client by which this user's tokens are got.
    pub(crate) fn client_of(&self, whom: &Whom) -> Arc<OAuthClient> {
        match &self.client {
            GrantClient::Shared(client) => client.clone(),
            GrantClient::EachUser(auth) => {
                let proof = Proof::Secret(whom.password.clone(), *auth);
                Arc::new(registration::proven(
                    &whom.name,
                    &proof,
                    &self.authorization,
                ))
            }
        }
    }

    /// The login at the identity provider that stands behind it.
    fn behind(&self) -> Option<&Arc<LoginPlan>> {
        match &self.grant {
            Grant::TokenExchange { subject, .. }
            | Grant::EnterpriseManaged { subject, .. }
            | Grant::Assertion(subject) => subject.login.as_ref(),
            Grant::ClientCredentials => None,
        }
    }
}

/// Gets a user's tokens. `client` is that identity's own; it needs a cookie jar where a login stands behind the grant. `before`
/// are the tokens of an earlier login behind it, which spare another one if they are still good.
///
/// # Errors
/// A [`LoginError`] says at which request, what was expected, and what the answer said.
pub async fn log_in_by_grant(
    plan: &GrantPlan,
    client: &Client,
    whom: &Whom,
    before: Option<&Tokens>,
) -> Result<Login, LoginError> {
    let walker = Walker {
        client,
        user: &whom.name,
        password: &whom.password,
    };
    let behind = plan.behind();
    let limits = Limits {
        timeout: plan.timeout,
        max_hops: REQUESTS + behind.map_or(0, |login| login.max_hops),
    };
    let back = behind.map(|login| &login.redirect_uri);
    let done = persist(walker, limits, back, &plan.retry, |walk| {
        attempt(walk, plan, whom, before).boxed()
    })
    .await?;
    Ok(done.into())
}

async fn attempt(
    walk: &mut Walk<'_>,
    plan: &GrantPlan,
    whom: &Whom,
    before: Option<&Tokens>,
) -> Result<Tokens, Failure> {
    let client = plan.client_of(whom);
    match &plan.grant {
        Grant::ClientCredentials => {
            let grant = [("grant_type", "client_credentials")];
            for_access(walk, plan, &client, &grant, &[]).await
        }
        Grant::TokenExchange { subject, .. }
        | Grant::EnterpriseManaged { subject, .. }
        | Grant::Assertion(subject) => {
            from_subject(walk, plan, &client, subject, whom, before).await
        }
    }
}

/// Exchanges the user's token, which a login brings where none is given. That of an earlier login is tried first.
async fn from_subject(
    walk: &mut Walk<'_>,
    plan: &GrantPlan,
    client: &OAuthClient,
    subject: &Subject,
    whom: &Whom,
    before: Option<&Tokens>,
) -> Result<Tokens, Failure> {
    let kind = subject.kind;
    if let Some(given) = subject.given(whom) {
        return exchange(walk, plan, client, given, kind).await;
    }
    let login = subject.login.as_ref().ok_or(Problem::NoSubject)?;
    let login = login.latest();
    if let Some(before) = before {
        let token = kind.among(before)?;
        match exchange(walk, plan, client, &token, kind).await {
            Ok(tokens) => return Ok(keeping(tokens, before.clone())),
            // It may be over; anything else a new login would not help.
            Err(failure) if refuses(&failure) => {
                tracing::debug!(
                    user = whom.name,
                    "the token behind the exchange is no longer good"
                );
            }
            Err(failure) => return Err(failure),
        }
        if let Some(renewed) = refreshed(walk, &login, before).await? {
            let token = kind.among(&renewed)?;
            let tokens = exchange(walk, plan, client, &token, kind).await?;
            return Ok(keeping(tokens, renewed));
        }
    }
    let logged_in = super::attempt(walk, &login).await?;
    let token = kind.among(&logged_in)?;
    let tokens = exchange(walk, plan, client, &token, kind).await?;
    Ok(keeping(tokens, logged_in))
}

/// The tokens with those that they were got by, for the next time.
fn keeping(tokens: Tokens, behind: Tokens) -> Tokens {
    Tokens {
        behind: Some(Box::new(behind)),
        ..tokens
    }
}

/// The answer says that what was given is not good, or no longer.
fn refuses(failure: &Failure) -> bool {
    matches!(&failure.problem, Problem::Status { status, .. } if status.is_client_error())
}

/// New tokens of the login behind an exchange by its refresh token; nothing where there is none, or it is refused, or it brings no
/// id token where one was there before.
async fn refreshed(
    walk: &mut Walk<'_>,
    login: &LoginPlan,
    before: &Tokens,
) -> Result<Option<Tokens>, Failure> {
    let Some(refresh) = &before.refresh else {
        return Ok(None);
    };
    let grant = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.expose()),
    ];
    let (authorization, client) = (&login.authorization, &login.oauth_client);
    match walk
        .ask_for_tokens(authorization, client, &grant, &[refresh])
        .await
    {
        Ok(tokens) if tokens.id_token.is_none() && before.id_token.is_some() => Ok(None),
        Ok(tokens) => Ok(Some(Tokens {
            // Where none comes, the old one stays good (RFC 6749 section 6).
            refresh: tokens.refresh.or_else(|| before.refresh.clone()),
            ..tokens
        })),
        Err(failure) if refuses(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A user's token for an access token to the resource, in one step or by way of the identity provider.
fn exchange<'f>(
    walk: &'f mut Walk<'_>,
    plan: &'f GrantPlan,
    client: &'f OAuthClient,
    token: &'f Secret,
    kind: TokenKind,
) -> BoxFuture<'f, Result<Tokens, Failure>> {
    async move {
        let mut grant = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token.expose()),
            ("subject_token_type", kind.urn()),
        ];
        match &plan.grant {
            Grant::EnterpriseManaged {
                provider,
                provider_client,
                ..
            } => {
                grant.push(("requested_token_type", ID_JAG));
                grant.push(("audience", &plan.authorization.issuer));
                let scope = plan.scopes.join(" ");
                if !scope.is_empty() {
                    grant.push(("scope", &scope));
                }
                let body = walk
                    .ask(provider, provider_client, &grant, &[token])
                    .await?;
                let exchanged = token::parse_exchanged(&body).map_err(Problem::Tokens)?;
                if let Some(other) = exchanged
                    .issued_token_type
                    .as_deref()
                    .filter(|kind| *kind != ID_JAG)
                {
                    let other = redact::text(other, &[]);
                    return Err(Problem::Tokens(format!(
                        "a token of the type {other}, asked for {ID_JAG}"
                    ))
                    .into());
                }
                present(walk, plan, client, &exchanged.token).await
            }
            Grant::TokenExchange { audience, .. } => {
                grant.push(("requested_token_type", TokenKind::Access.urn()));
                if let Some(audience) = audience {
                    grant.push(("audience", audience));
                }
                for_access(walk, plan, client, &grant, &[token]).await
            }
            Grant::Assertion(_) => present(walk, plan, client, token).await,
            Grant::ClientCredentials => Err(Problem::NoSubject.into()),
        }
    }
    .boxed()
}

/// An assertion for an access token (RFC 7523 section 2.1).
async fn present(
    walk: &mut Walk<'_>,
    plan: &GrantPlan,
    client: &OAuthClient,
    assertion: &Secret,
) -> Result<Tokens, Failure> {
    let grant = [
        ("grant_type", JWT_BEARER),
        ("assertion", assertion.expose()),
    ];
    for_access(walk, plan, client, &grant, &[assertion]).await
}

/// The last request: whatever was given for an access token to the resource.
async fn for_access(
    walk: &mut Walk<'_>,
    plan: &GrantPlan,
    client: &OAuthClient,
    grant: &[(&str, &str)],
    secrets: &[&Secret],
) -> Result<Tokens, Failure> {
    let scope = plan.scopes.join(" ");
    let mut grant = grant.to_vec();
    if !scope.is_empty() {
        grant.push(("scope", &scope));
    }
    walk.ask_for_tokens(&plan.authorization, client, &grant, secrets)
        .await
}
