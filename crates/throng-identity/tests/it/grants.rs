//! Tokens by grants at the sandbox's provider, and their renewal; tokens that are for somebody else; a target that moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use serde_json::{Value, json};
use throng_identity::discovery::{Flow, discover_for};
use throng_identity::enrolment::{Enrolment, Moved};
use throng_identity::ledger::{Kind, State as Stage};
use throng_identity::login::grant::{Subject, TokenKind};
use throng_identity::login::{
    Grant, GrantClient, GrantPlan, LoginPlan, Whom, log_in, log_in_by_grant,
};
use throng_identity::registration::{ClientSource, Proof, proven};
use throng_identity::retry::RetryPolicy;
use throng_identity::tokens::{Recovery, Refusal, TokenStats};
use throng_identity::{Ledger, Secret, TokenCell};
use throng_sandbox::{NextcloudConfig, NextcloudSandbox, PreregisteredClient};
use url::Url;

use crate::provider::{Config, PASSWORD, Pages, Provider, REDIRECT, USER, client};

const TIMEOUT: Duration = Duration::from_secs(10);
const CLIENT_SECRET: &str = "s3cr3t-of-a-client";

async fn sandbox() -> NextcloudSandbox {
    let mut config = NextcloudConfig::default();
    config.admin.password = throng_sandbox::Secret::new(PASSWORD);
    config.clients.push(PreregisteredClient {
        id: "load".to_owned(),
        secret: Some(throng_sandbox::Secret::new(CLIENT_SECRET)),
        redirect_uris: vec![REDIRECT.to_owned()],
        jwt_access_tokens: true,
    });
    NextcloudSandbox::start(config).await.unwrap()
}

fn admin() -> Whom {
    Whom {
        name: "admin".to_owned(),
        password: PASSWORD.into(),
        token: None,
    }
}

async fn plan(sandbox: &NextcloudSandbox, grant: Grant, secret: &str) -> GrantPlan {
    let url = Url::parse(sandbox.mcp_url()).unwrap();
    let authorization = discover_for(Flow::Direct, &client(), &url, TIMEOUT)
        .await
        .unwrap();
    let proof = Proof::of(Some(secret.into()));
    GrantPlan {
        client: GrantClient::Shared(Arc::new(proven("load", &proof, &authorization))),
        authorization: Arc::new(authorization),
        scopes: vec!["notes.read".to_owned()],
        grant,
        timeout: TIMEOUT,
        retry: RetryPolicy::once(),
    }
}

/// A login at the sandbox's provider, as an exchange begins with one.
async fn login_behind(sandbox: &NextcloudSandbox) -> Arc<LoginPlan> {
    let of = plan(sandbox, Grant::ClientCredentials, CLIENT_SECRET).await;
    let GrantClient::Shared(oauth_client) = of.client else {
        panic!("a shared client")
    };
    let authorization = throng_identity::discovery::Authorization {
        resource: None,
        ..(*of.authorization).clone()
    };
    Arc::new(LoginPlan::new(
        Arc::new(authorization),
        oauth_client,
        Url::parse(REDIRECT).unwrap(),
        vec!["openid".to_owned(), "offline_access".to_owned()],
    ))
}

fn by_login(kind: TokenKind, login: Arc<LoginPlan>) -> Subject {
    Subject {
        kind,
        shared: None,
        login: Some(login),
    }
}

fn grants(count: u32) -> TokenStats {
    TokenStats {
        grants: count,
        ..TokenStats::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_grant_is_renewed_by_another_one() {
    let sandbox = sandbox().await;
    let login = login_behind(&sandbox).await;
    let provider = throng_identity::discovery::Authorization {
        resource: Some(sandbox.mcp_url().to_owned()),
        ..(*login.authorization).clone()
    };
    for (grant, hops) in [
        (Grant::ClientCredentials, 1),
        (
            Grant::TokenExchange {
                subject: by_login(TokenKind::Id, login.clone()),
                audience: None,
            },
            // The login's, with consent, and the exchange.
            2,
        ),
        (
            Grant::EnterpriseManaged {
                subject: by_login(TokenKind::Id, login.clone()),
                provider: Arc::new(provider),
                provider_client: login.oauth_client.clone(),
            },
            3,
        ),
    ] {
        let plan = Arc::new(plan(&sandbox, grant, CLIENT_SECRET).await);
        let identity = client();
        let login = log_in_by_grant(&plan, &identity, &admin(), None).await;
        let login = login.unwrap_or_else(|error| panic!("{error}"));
        assert!(login.hops.len() >= hops, "{:#?}", login.hops);
        let cell = TokenCell::of_grant(login.tokens, plan.clone(), &identity, admin());
        for renewals in 1..=2 {
            let stale = cell.header();
            cell.renew(&stale).await.unwrap();
            assert_ne!(cell.header(), stale);
            assert_eq!(cell.stats(), grants(renewals), "{:?}", plan.grant);
        }
        assert!(!format!("{plan:?} {cell:?}").contains("s3cr3t"));
    }
    // The logins behind the exchanges were made once.
    let journal = sandbox.journal().counts().counts;
    let forms = journal.iter().filter(|count| {
        &*count.route == "/login" && &*count.method == "POST" && count.status == 303
    });
    assert_eq!(
        forms.map(|count| count.count).sum::<u64>(),
        2,
        "{journal:#?}"
    );
}

#[tokio::test]
async fn what_is_refused_is_said_without_secrets() {
    let sandbox = sandbox().await;
    let own = |token: &str| Whom {
        token: Some(token.into()),
        ..admin()
    };
    let exchange = || Grant::TokenExchange {
        subject: Subject {
            kind: TokenKind::Id,
            shared: None,
            login: None,
        },
        audience: None,
    };
    for (grant, secret, whom, says) in [
        (
            Grant::ClientCredentials,
            "wrong-s3cr3t",
            admin(),
            "invalid_client: Client authentication failed.",
        ),
        (
            exchange(),
            CLIENT_SECRET,
            own("a.s3cr3t.token"),
            "invalid_grant: The subject_token is no id token of this provider.",
        ),
        (
            exchange(),
            CLIENT_SECRET,
            admin(),
            "expected a token to exchange, got none",
        ),
    ] {
        let plan = plan(&sandbox, grant, secret).await;
        let error = log_in_by_grant(&plan, &client(), &whom, None)
            .await
            .unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cr3t"), "{text}");
        }
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// An access token that says what it is.
fn declared(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.c2lnbmF0dXJl",
        part(&json!({"typ": "at+jwt", "alg": "RS256"})),
        part(claims)
    )
}

#[tokio::test]
async fn an_access_token_for_somebody_else_is_refused() {
    for (iss, aud, says) in [
        (None, None, None),
        (
            None,
            Some("http://other.test/mcp"),
            Some("an access token for http://other.test/mcp (its aud), expected one for"),
        ),
        // A proxy hands on what the provider behind it issued.
        (
            Some("http://behind.test"),
            Some("http://other.test/mcp"),
            None,
        ),
    ] {
        let provider = Provider::start(Config {
            access: Some(Arc::new(move |base: &str| {
                let (own, mcp) = (base.to_owned(), format!("{base}/mcp"));
                declared(&json!({
                    "iss": iss.unwrap_or(&own),
                    "aud": aud.unwrap_or(&mcp),
                }))
            })),
            ..Config::default()
        })
        .await;
        let plan = provider.plan().await;
        let login = log_in(&plan, &client(), USER, &Secret::new(PASSWORD)).await;
        match says {
            None => drop(login.unwrap()),
            Some(says) => {
                let error = login.unwrap_err().to_string();
                assert!(error.contains(says), "{error}");
            }
        }
    }
}

/// An MCP server that changes its authorization server.
struct Target {
    issuers: [String; 2],
    now: AtomicUsize,
    base: String,
}

async fn metadata(State(target): State<Arc<Target>>, request: axum::extract::Request) -> Response {
    if request.uri().path().starts_with("/.well-known") {
        let issuer = &target.issuers[target.now.load(Ordering::SeqCst)];
        let document = json!({
            "resource": format!("{}/mcp", target.base), "authorization_servers": [issuer],
        });
        return axum::Json(document).into_response();
    }
    let challenge = format!(
        "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
        target.base
    );
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, challenge)],
    )
        .into_response()
}

#[tokio::test]
async fn a_target_that_moves_is_followed_and_nothing_of_the_old_server_is_shown_to_the_new() {
    let old = Provider::with(Pages::One).await;
    let new = Provider::with(Pages::One).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Arc::new(Target {
        issuers: [old.base().to_owned(), new.base().to_owned()],
        now: AtomicUsize::new(0),
        base: format!("http://{}", listener.local_addr().unwrap()),
    });
    let app = Router::new().fallback(metadata).with_state(target.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let home = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&home.path().join("ledger.sqlite")).unwrap();
    let run = ledger.begin_run().unwrap();
    let enrolment = Arc::new(Enrolment {
        http: client().without_cookies(),
        target: Url::parse(&format!("{}/mcp", target.base)).unwrap(),
        source: ClientSource::Dynamic,
        scopes: None,
        redirect_uri: Url::parse(REDIRECT).unwrap(),
        client_name: "throng test".to_owned(),
        ledger: ledger.clone(),
        run: run.clone(),
        flow: Flow::Code,
        timeout: TIMEOUT,
        moved: Moved::default(),
    });
    let authorization = enrolment.discover().await.unwrap();
    let scopes = enrolment.choose_scopes(&authorization);
    let oauth_client = enrolment
        .take_client(&authorization, &scopes)
        .await
        .unwrap();
    let plan = Arc::new(LoginPlan {
        enrolment: Some(enrolment.clone()),
        ..LoginPlan::new(
            Arc::new(authorization),
            oauth_client,
            enrolment.redirect_uri.clone(),
            scopes,
        )
    });
    let mut cells = Vec::new();
    for _ in 0..2 {
        let (identity, password) = (client(), Secret::new(PASSWORD));
        let login = log_in(&plan, &identity, USER, &password).await.unwrap();
        let tokens = login.tokens;
        cells.push(TokenCell::new(
            tokens,
            plan.clone(),
            &identity,
            USER,
            password,
        ));
    }
    // It has not moved: a refused token is renewed where it came from, and that is all.
    let mut recovery = Recovery::default();
    let stale = cells[0].header();
    let again = recovery.after(&cells[0], &stale, &Refusal::Unauthorized);
    assert!(again.await.unwrap());
    let again = recovery.after(&cells[0], &stale, &Refusal::Unauthorized);
    assert!(!again.await.unwrap());
    assert!(new.seen("/register").is_empty());

    target.now.store(1, Ordering::SeqCst);
    // Somebody looked just now; time passes.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let mut recovery = Recovery::default();
    for _ in 0..2 {
        let sent = cells[0].header();
        let again = recovery.after(&cells[0], &sent, &Refusal::Unauthorized);
        assert!(again.await.unwrap());
    }
    // The others learn of it when they renew.
    let stale = cells[1].header();
    cells[1].renew(&stale).await.unwrap();
    assert_eq!(new.seen("/register").len(), 1);
    assert_eq!(new.seen("/login").len(), 2);
    let entries = ledger.open_entries_of(&run).unwrap();
    let clients: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Client)
        .map(|entry| (entry.place.url.as_str(), entry.state))
        .collect();
    assert_eq!(clients, [(new.base(), Stage::Created)]);
    assert_eq!(old.seen("/register/c1").len(), 1, "it was unregistered");
    server.abort();
}
