//! Set-up of logins that need no page of the target's: client credentials, token exchange, tokens that are there already.

use std::sync::Arc;

use anyhow::Context;
use throng_identity::discovery::{Authorization, Flow, discover_issuer};
use throng_identity::login::grant::{Subject, TokenKind};
use throng_identity::login::{DEFAULT_REDIRECT_URI, Grant, GrantClient, GrantPlan, LoginPlan};
use throng_identity::provision::LoginWay;
use throng_identity::registration::{OAuthClient, proven};
use throng_identity::retry::RetryPolicy;
use throng_workflow::Scenario;
use throng_workflow::model::{self, LoginKind, SubjectToken, Via};
use url::Url;

use super::setup::{
    Made, REQUEST_LIMIT, Wanted, check_directory, discover_login, enrolment, take_client,
    unless_stopped,
};
use crate::cli::narrator::Narrator;

/// Whether users log in at the target's own authorization server, for the token that is exchanged there.
fn log_in_here(scenario: &Scenario) -> bool {
    let login = &scenario.login;
    let elsewhere = login
        .subject
        .as_ref()
        .is_some_and(|subject| subject.issuer.is_some() || subject.value.is_some());
    login.kind == LoginKind::TokenExchange && !elsewhere && !all_have_tokens(scenario)
}

/// Whether no user has to log in, since each brings a token.
fn all_have_tokens(scenario: &Scenario) -> bool {
    let listed = scenario.users.from.as_ref();
    listed.is_some_and(|roster| roster.users.iter().all(|user| user.token.is_some()))
}

/// Finds out where the target's tokens come from, and what they are got by.
pub(super) async fn grant(
    wanted: &Wanted<'_>,
    made: &mut Made,
    narrator: &mut Narrator,
) -> anyhow::Result<LoginWay> {
    let scenario = wanted.scenario;
    let flow = if log_in_here(scenario) {
        Flow::Code
    } else {
        Flow::Direct
    };
    let enrolment = Arc::new(enrolment(wanted, made, flow).await?);
    made.enrolment = Some(enrolment.clone());
    let authorization = discover_login(wanted, &enrolment, narrator).await?;
    if scenario.users.create && scenario.directory.is_some() && wanted.known.is_none() {
        check_directory(wanted, made, narrator).await?;
    }
    let scopes = enrolment.choose_scopes(&authorization);
    let (client, grant) = if scenario.login.kind == LoginKind::ClientCredentials {
        let client = match &scenario.login.client {
            Some(client) => {
                if scenario.users.count.value > 1 {
                    narrator.warn(
                        "login: all users are one client, so that the target sees one identity where there would be many: leave `client` out where each user can be a client of its own",
                    );
                }
                GrantClient::Shared(known_client(client, &authorization)?)
            }
            None => GrantClient::EachUser(None),
        };
        (client, Grant::ClientCredentials)
    } else {
        let client = take_client(wanted, &enrolment, &authorization, &scopes, narrator).await?;
        let redirect_uri = &enrolment.redirect_uri;
        let grant = exchange(wanted, made, (&authorization, &client, redirect_uri)).await?;
        (GrantClient::Shared(client), grant)
    };
    Ok(LoginWay::Grant(Arc::new(GrantPlan {
        authorization,
        client,
        // A refresh token would come of a login, and there is none at the resource's authorization server.
        scopes: scopes
            .into_iter()
            .filter(|scope| scope != "offline_access")
            .collect(),
        grant,
        timeout: REQUEST_LIMIT,
        retry: RetryPolicy::default(),
    })))
}

/// A client that is registered already.
fn known_client(
    client: &model::Client,
    authorization: &Authorization,
) -> anyhow::Result<Arc<OAuthClient>> {
    let proof = client.proof().context("the client's key")?;
    Ok(Arc::new(proven(&client.id, &proof, authorization)))
}

/// How the user's token becomes one to the target.
async fn exchange(
    wanted: &Wanted<'_>,
    made: &Made,
    (authorization, client, redirect_uri): (&Arc<Authorization>, &Arc<OAuthClient>, &Url),
) -> anyhow::Result<Grant> {
    let login = &wanted.scenario.login;
    let described = login.subject.clone().unwrap_or_default();
    let via = login.via.as_ref().map_or(Via::Exchange, |via| via.value);
    let given = described.value.is_some() || all_have_tokens(wanted.scenario);
    let (provider, provider_client) = match &described.issuer {
        None => (Authorization::clone(authorization), client.clone()),
        Some(issuer) => {
            let flow = if given { Flow::Direct } else { Flow::Code };
            let resource = authorization.resource.as_deref();
            let found = discover_issuer(flow, &made.client, &issuer.value, resource, REQUEST_LIMIT);
            let found = unless_stopped(wanted.stop, found).await?.with_context(|| {
                format!("finding out about the identity provider {}", issuer.value)
            })?;
            let client = match &described.client {
                Some(client) => known_client(client, &found)?,
                // Nobody asks anything there.
                None => client.clone(),
            };
            (found, client)
        }
    };
    let subject = Subject {
        kind: match described.token {
            SubjectToken::IdToken => TokenKind::Id,
            SubjectToken::AccessToken => TokenKind::Access,
            SubjectToken::Jwt => TokenKind::Jwt,
        },
        shared: described.value.map(|value| value.value.0),
        login: (!given)
            .then(|| {
                // The one that the run's own client is registered with; a client elsewhere has the usual one.
                let usual = described
                    .issuer
                    .is_some()
                    .then(|| Url::parse(DEFAULT_REDIRECT_URI));
                let redirect_uri = usual.unwrap_or_else(|| Ok(redirect_uri.clone()))?;
                let client = provider_client.clone();
                let authorization = Authorization {
                    resource: None,
                    ..provider.clone()
                };
                let scopes = described
                    .scopes
                    .unwrap_or_else(|| vec!["openid".to_owned()]);
                anyhow::Ok(Arc::new(LoginPlan {
                    timeout: REQUEST_LIMIT,
                    driver: wanted.driver.clone(),
                    ..LoginPlan::new(Arc::new(authorization), client, redirect_uri, scopes)
                }))
            })
            .transpose()?,
    };
    let audience = login
        .audience
        .as_ref()
        .map(|audience| audience.value.clone());
    Ok(match via {
        Via::Exchange => Grant::TokenExchange { subject, audience },
        Via::IdJag => Grant::EnterpriseManaged {
            subject,
            provider: Arc::new(provider),
            provider_client,
        },
        Via::Assertion => Grant::Assertion(subject),
    })
}

/// Tokens that are there already.
pub(super) fn bearer(scenario: &Scenario, narrator: &Narrator) -> LoginWay {
    let token = scenario.login.token.as_ref();
    if token.is_some() && scenario.users.count.value > 1 {
        narrator.warn(
            "login: all users have one token, so that the target sees one identity where there would be many: name users with tokens of their own in `users.from`",
        );
    }
    LoginWay::Bearer(token.map(|token| token.value.0.clone()))
}
