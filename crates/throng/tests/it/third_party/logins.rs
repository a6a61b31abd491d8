//! Logins at providers that are not ours, by throng's own code: discovery, registration, the pages on the way, PKCE, tokens and
//! their renewal.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::Value;
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::discovery::{Authorization, Flow, discover_issuer};
use throng_identity::login::{DEFAULT_REDIRECT_URI, Login, LoginError, LoginPlan, log_in};
use throng_identity::pkce::Pkce;
use throng_identity::registration::{
    OAuthClient, RegistrationRequest, TokenAuth, Unregistered, register, unregister,
};
use throng_identity::retry::RetryPolicy;
use throng_identity::scopes;
use throng_identity::{Secret, TokenCell};
use tokio::task::JoinSet;
use url::{Url, form_urlencoded};

use super::providers::{CLIENT, CLIENT_SECRET, MCP_SCOPES, Provider, users};

const LIMIT: Duration = Duration::from_secs(30);
/// What tokens are asked for with; nothing is sent there.
const RESOURCE: &str = "http://127.0.0.1:9/mcp";

fn client() -> Client {
    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    Client::with_cookies(&connector)
}

pub(super) async fn discovered(provider: &Provider) -> Arc<Authorization> {
    let found = discover_issuer(
        Flow::Code,
        &client(),
        &provider.issuer,
        Some(RESOURCE),
        LIMIT,
    )
    .await;
    Arc::new(found.unwrap_or_else(|error| panic!("{error}")))
}

/// The scopes that the sandbox's MCP server would ask for, as far as throng then asks for them.
fn scopes_of(authorization: &Authorization) -> Vec<String> {
    let listed = format!("openid profile email {MCP_SCOPES}");
    let listed: Vec<String> = listed.split(' ').map(str::to_owned).collect();
    scopes::choose(&scopes::Known {
        resource: &listed,
        server: &authorization.server_scopes,
        ..scopes::Known::default()
    })
}

pub(super) async fn registered(authorization: &Authorization, redirect_uri: &Url) -> OAuthClient {
    let request = RegistrationRequest {
        client_name: "throng's tests".to_owned(),
        redirect_uri: redirect_uri.clone(),
        scopes: scopes_of(authorization),
    };
    let policy = RetryPolicy::default();
    let registered = register(&client(), authorization, &request, &policy, LIMIT).await;
    registered.unwrap_or_else(|error| panic!("{error}"))
}

/// A plan by plain HTTP.
pub(super) fn plan_of(
    authorization: &Arc<Authorization>,
    oauth_client: OAuthClient,
    redirect_uri: &Url,
) -> LoginPlan {
    LoginPlan::new(
        authorization.clone(),
        Arc::new(oauth_client),
        redirect_uri.clone(),
        scopes_of(authorization),
    )
}

fn usual() -> Url {
    Url::parse(DEFAULT_REDIRECT_URI).expect("an address")
}

fn plan(authorization: &Arc<Authorization>, oauth_client: OAuthClient) -> Arc<LoginPlan> {
    Arc::new(plan_of(authorization, oauth_client, &usual()))
}

pub(super) async fn log_user_in(
    plan: &LoginPlan,
    name: &str,
    password: &str,
) -> Result<Login, LoginError> {
    log_in(plan, &client(), name, &Secret::new(password)).await
}

/// A form sent to one of the provider's endpoints, as this client; nothing of the login takes part.
async fn ask(plan: &LoginPlan, endpoint: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let mut builder =
        Request::post(endpoint).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    // Canaille gives public clients a secret, too, and lets them not use it.
    let secret = plan.oauth_client.secret.as_ref();
    match secret.filter(|_| plan.oauth_client.auth != TokenAuth::Public) {
        Some(secret) => {
            let pair = format!("{}:{}", plan.oauth_client.id, secret.expose());
            builder = builder.header(
                header::AUTHORIZATION,
                format!("Basic {}", STANDARD.encode(pair)),
            );
        }
        None => {
            body.append_pair("client_id", &plan.oauth_client.id);
        }
    }
    let request = builder.body(Bytes::from(body.finish())).expect("a request");
    let exchange = client().send(request, LIMIT).await.expect("an answer");
    let body = serde_json::from_slice(&exchange.body).unwrap_or(Value::Null);
    (exchange.status, body)
}

/// An endpoint that discovery keeps to itself.
async fn endpoint(provider: &Provider, name: &str) -> String {
    let url = format!("{}/.well-known/openid-configuration", provider.issuer);
    let request = Request::get(url).body(Bytes::new()).expect("a request");
    let exchange = client().send(request, LIMIT).await.expect("an answer");
    let metadata: Value = serde_json::from_slice(&exchange.body).expect("JSON");
    let endpoint = metadata[name].as_str();
    endpoint
        .unwrap_or_else(|| panic!("no {name}: {metadata}"))
        .to_owned()
}

/// The claims of a JWT, whoever signed it.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("base64");
    serde_json::from_slice(&json).expect("claims in JSON")
}

/// A code is worth nothing to whoever has not its verifier: else that logins succeed would say nothing of PKCE.
async fn checks_pkce(plan: &LoginPlan, (name, password): &(String, String)) {
    let browser = client();
    let login = log_in(plan, &browser, name, &Secret::new(password)).await;
    login.unwrap_or_else(|error| panic!("{error}"));
    for own in [false, true] {
        let (asked, other) = (Pkce::generate(), Pkce::generate());
        let url = plan.authorization.authorization_endpoint.clone();
        let mut url = url.expect("an authorization endpoint");
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &plan.oauth_client.id)
            .append_pair("redirect_uri", DEFAULT_REDIRECT_URI)
            .append_pair("scope", "openid")
            .append_pair("nonce", &asked.challenge)
            .append_pair("code_challenge", &asked.challenge)
            .append_pair("code_challenge_method", "S256");
        let location = follow(&browser, url).await;
        let mut query = location.query_pairs();
        let code = query.find(|(name, _)| name == "code");
        let (_, code) = code.unwrap_or_else(|| panic!("no code: {location}"));
        let verifier = if own { &asked } else { &other };
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", DEFAULT_REDIRECT_URI),
            ("code_verifier", verifier.verifier.expose()),
        ];
        let (status, body) = ask(plan, plan.authorization.token_endpoint.as_str(), &form).await;
        if own {
            assert_eq!(status, StatusCode::OK, "{body}");
        } else {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(body["error"], "invalid_grant", "{body}");
        }
    }
}

/// Where redirects lead that begin here: the callback, which is not asked for. A page is taken for `oidc-provider`'s consent, which
/// native clients ask for each time.
async fn follow(browser: &Client, mut url: Url) -> Url {
    let mut consents = 0;
    while !url.as_str().starts_with(DEFAULT_REDIRECT_URI) {
        let request = Request::get(url.as_str()).body(Bytes::new());
        let request = request.expect("a request");
        let mut exchange = browser.send(request, LIMIT).await.expect("an answer");
        if exchange.status == StatusCode::OK && consents == 0 {
            consents += 1;
            let request = Request::post(url.as_str())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Bytes::from_static(b"prompt=consent"))
                .expect("a request");
            exchange = browser.send(request, LIMIT).await.expect("an answer");
        }
        let location = exchange.headers.get(header::LOCATION);
        let location = location.unwrap_or_else(|| panic!("{url}: {}", exchange.status));
        url = url.join(location.to_str().expect("text")).expect("a URL");
    }
    url
}

/// Renews a login's token; then the renewed one's refresh token is used by somebody else, so that throng's is not good any more.
async fn renews_and_survives_a_reuse(
    plan: &Arc<LoginPlan>,
    login: Login,
    name: &str,
    password: &str,
) {
    let first = login.tokens.refresh.clone().expect("a refresh token");
    let cell = TokenCell::new(
        login.tokens,
        plan.clone(),
        &client(),
        name,
        Secret::new(password),
    );
    renew(&cell).await;
    assert_eq!((cell.stats().refreshes, cell.stats().logins), (1, 0));
    // It was rotated: the first is worth nothing any more, and whoever uses it ends the grant where the provider looks after that.
    let again = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first.expose()),
        ("resource", RESOURCE),
    ];
    let (status, body) = ask(plan, plan.authorization.token_endpoint.as_str(), &again).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(body["error"], "invalid_grant", "{body}");
    renew(&cell).await;
    let stats = cell.stats();
    assert_eq!((stats.refreshes + stats.logins, stats.failures), (2, 0));
}

/// As after a 401. Whether the token is another then is not told: Canaille's are the same within a second.
async fn renew(cell: &TokenCell) {
    let renewed = cell.renew(&cell.header()).await;
    renewed.unwrap_or_else(|error| panic!("{error}"));
}

/// A revoked access token is no longer active, and after a revoked refresh token a full login renews.
async fn revocation_is_seen(
    provider: &Provider,
    plan: &Arc<LoginPlan>,
    name: &str,
    password: &str,
) {
    let login = log_user_in(plan, name, password).await.expect("a login");
    let refresh = login.tokens.refresh.clone().expect("a refresh token");
    let cell = TokenCell::new(
        login.tokens,
        plan.clone(),
        &client(),
        name,
        Secret::new(password),
    );
    let revoke = endpoint(provider, "revocation_endpoint").await;
    let form = [
        ("token", refresh.expose()),
        ("token_type_hint", "refresh_token"),
    ];
    let (status, body) = ask(plan, &revoke, &form).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    renew(&cell).await;
    let stats = cell.stats();
    assert_eq!((stats.refreshes, stats.logins, stats.failures), (0, 1, 0));
}

pub(super) async fn all_at_once(plan: &Arc<LoginPlan>, users: &[(String, String)]) {
    let mut logins = JoinSet::new();
    for (name, password) in users.iter().cloned() {
        let plan = plan.clone();
        logins.spawn(async move {
            let login = log_user_in(&plan, &name, &password).await;
            (name, login)
        });
    }
    let logins = logins.join_all().await;
    assert_eq!(logins.len(), users.len());
    for (name, login) in logins {
        let login = login.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(login.attempts, 1, "{name}: {:?}", login.hops);
        let claims = login.tokens.claims.expect("an id token");
        assert_eq!(claims.sub, name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_users_log_in_at_oidc_provider() {
    let provider = Provider::oidc_provider(60, "logins").await;
    let users = users(20);
    let authorization = discovered(&provider).await;
    assert!(authorization.promises_issuer);
    let plan = plan(&authorization, registered(&authorization, &usual()).await);
    assert_eq!(plan.oauth_client.auth, TokenAuth::Public);
    checks_pkce(&plan, &users[0]).await;

    let (name, password) = &users[0];
    let login = log_user_in(&plan, name, password).await;
    let login = login.unwrap_or_else(|error| panic!("{error}"));
    let token = claims(login.tokens.access.expose());
    assert_eq!(token["aud"], RESOURCE, "{token}");
    assert_eq!(token["iss"], provider.issuer, "{token}");
    assert_eq!(token["scope"], MCP_SCOPES, "{token}");
    assert_eq!(login.tokens.lifetime, Some(Duration::from_secs(60)));
    renews_and_survives_a_reuse(&plan, login, name, password).await;
    revocation_is_seen(&provider, &plan, name, password).await;

    all_at_once(&plan, &users).await;
    takes_its_registration_back(&plan).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_users_log_in_at_canaille() {
    let users = users(20);
    let mut all = users.clone();
    all.push(("locked".to_owned(), "locked-and-known-Qv3".to_owned()));
    let provider = Provider::canaille(&all, &["locked"], "logins").await;
    let authorization = discovered(&provider).await;
    let own = plan(&authorization, registered(&authorization, &usual()).await);
    checks_pkce(&own, &users[0]).await;

    let (name, password) = &users[1];
    let login = log_user_in(&own, name, password).await;
    let login = login.unwrap_or_else(|error| panic!("{error}"));
    let token = claims(login.tokens.access.expose());
    // RFC 8707 is unknown there: tokens are for the client.
    assert_eq!(token["aud"][0], own.oauth_client.id, "{token}");
    assert_eq!(token["sub"], *name, "{token}");
    renews_and_survives_a_reuse(&own, login, name, password).await;

    // Only a client with a secret may revoke there.
    let known = OAuthClient {
        id: CLIENT.to_owned(),
        secret: Some(Secret::new(CLIENT_SECRET)),
        auth: TokenAuth::Basic,
        key: None,
        registration: None,
    };
    revocation_is_seen(&provider, &plan(&authorization, known), name, password).await;

    all_at_once(&own, &users).await;

    for (name, password, said) in [
        (
            &*users[2].0,
            "not-the-password-4Rt",
            "the credentials were refused; the page said: Authorization interface - Canaille: Login failed. Please check your information.",
        ),
        ("locked", "locked-and-known-Qv3", "the account is locked"),
    ] {
        let error = log_user_in(&own, name, password)
            .await
            .expect_err("a refusal");
        let message = error.to_string();
        assert!(message.contains(said), "{message}");
        assert!(!message.contains(password), "{message}");
    }
    takes_its_registration_back(&own).await;
}

pub(super) async fn takes_its_registration_back(plan: &LoginPlan) {
    let registration = plan.oauth_client.registration.as_ref();
    let registration = registration.expect("a registration that can be managed");
    let policy = RetryPolicy::default();
    let gone = unregister(&client(), registration, &policy, LIMIT).await;
    assert_eq!(gone, Unregistered::Deleted);
}
