//! The OpenID Connect provider.

use http::Method;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use throng_sandbox::{Knobs, NextcloudSandbox, PreregisteredClient, Secret};

use crate::support::*;

/// Verifies a JWT with the provider's published keys, by a library of its own.
async fn verified(
    sandbox: &NextcloudSandbox,
    http: &mut Http,
    token: &str,
    audience: &str,
) -> (jsonwebtoken::Header, Value) {
    let keys = http.get("/apps/oidc/jwks").await.json();
    let header = jsonwebtoken::decode_header(token).expect("a JWT");
    let key = keys["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .find(|key| key["kid"].as_str() == header.kid.as_deref())
        .expect("the key of the kid");
    let text = |name: &str| key[name].as_str().expect("a component");
    let key = DecodingKey::from_rsa_components(text("n"), text("e")).expect("an RSA key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[sandbox.url()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a valid token");
    (header, decoded.claims)
}

#[tokio::test]
async fn discovery_redirects_and_describes_the_provider() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let moved = http.get("/.well-known/openid-configuration").await;
    assert_eq!(moved.status, 301);
    let expected = format!(
        "{}/index.php/.well-known/openid-configuration",
        sandbox.url()
    );
    assert_eq!(moved.location(), expected);
    let document = http.get(moved.location()).await.json();
    assert_eq!(document["issuer"], sandbox.url());
    let registration = format!("{}/apps/oidc/register", sandbox.url());
    assert_eq!(document["registration_endpoint"], registration);
    assert_eq!(
        document["authorization_response_iss_parameter_supported"],
        true
    );
    assert_eq!(
        document["code_challenge_methods_supported"],
        json!(["S256", "plain"])
    );
    let other = http.get("/.well-known/oauth-authorization-server").await;
    assert_eq!((other.status, other.json()), (200, document));
}

#[tokio::test]
async fn without_dynamic_registration_there_is_no_endpoint_for_it() {
    let sandbox = sandbox(|config| config.dynamic_registration = false).await;
    let mut http = Http::new(&sandbox);
    let document = http
        .get("/.well-known/oauth-authorization-server")
        .await
        .json();
    assert_eq!(document.get("registration_endpoint"), None);
    let body = json!({ "redirect_uris": [REDIRECT_URI] });
    let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn the_whole_sequence_of_hops() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let mut application = Application::register(&mut http, json!({ "client_name": "A <b>" })).await;
    application.resource = Some(sandbox.mcp_url().to_owned());

    // 1. The authorization request leads to the login, which is to lead back.
    let hop = http.get(&application.authorize_url()).await;
    assert_eq!(hop.status, 303);
    let prefix = format!("{}/login?redirect_url=", sandbox.url());
    assert!(hop.location().starts_with(&prefix), "{}", hop.location());
    let back = hop.query("redirect_url").expect("a way back");
    assert!(back.starts_with("/apps/oidc/redirect?client_id="), "{back}");

    // 2. The login page, and the login.
    let page = http.get(hop.location()).await;
    for cookie in [
        "oc_sessionPassphrase",
        "nc_sameSiteCookielax",
        "nc_sameSiteCookiestrict",
    ] {
        assert!(page.sets_cookie(cookie), "{cookie}");
    }
    assert_eq!(page.state("loginRedirectUrl"), Some(json!(back)));
    assert_eq!(page.state("loginErrors"), None);
    assert_eq!(page.state("loginThrottleDelay"), Some(json!(0)));
    let hop = log_in(&mut http, hop.location()).await;
    assert_eq!(
        (hop.status, hop.location()),
        (303, format!("{}{back}", sandbox.url()).as_str())
    );
    assert!(hop.sets_cookie("nc_username") && hop.sets_cookie("nc_session_id"));

    // 3. The page whose script goes back to the authorization endpoint.
    let page = http.get(hop.location()).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.attribute("data-client-id"), application.id);
    assert_eq!(page.attribute("data-state"), "the state");
    assert_eq!(page.attribute("data-user"), "admin");

    // 4. The consent.
    let hop = http.get(&application.authorize_url()).await;
    let consent = format!("{}/apps/oidc/consent", sandbox.url());
    assert_eq!((hop.status, hop.location()), (303, consent.as_str()));
    let page = http.get(hop.location()).await;
    assert_eq!(page.attribute("data-client-name"), "A <b>");
    assert_eq!(page.attribute("data-scopes"), application.scope);
    let token = page.request_token();
    let form = [("scopes", "openid email notes.read")];
    let headers = [("requesttoken", token.as_str())];
    let hop = http
        .post_with("/apps/oidc/consent/grant", &form, &headers)
        .await;
    assert_eq!(hop.status, 303);
    assert!(
        hop.location().contains("/apps/oidc/authorize?"),
        "{}",
        hop.location()
    );

    // 5. The code.
    let hop = http.get(hop.location()).await;
    assert_eq!(hop.status, 303);
    assert!(
        hop.location().starts_with(REDIRECT_URI),
        "{}",
        hop.location()
    );
    assert_eq!(hop.query("state").as_deref(), Some("the state"));
    assert_eq!(hop.query("iss").as_deref(), Some(sandbox.url()));
    let code = hop.query("code").expect("a code");

    // 6. The tokens, of the scopes that the user left.
    let reply = application.exchange(&mut http, &code).await;
    assert_eq!(
        (reply.status, reply.header("cache-control")),
        (200, "no-store")
    );
    let tokens = reply.json();
    assert_eq!(tokens["expires_in"], 900);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["scope"], "openid email notes.read");
    assert_eq!(
        tokens.get("refresh_token"),
        None,
        "offline_access was not granted"
    );
    let access = tokens["access_token"].as_str().unwrap();
    let (header, claims) = verified(&sandbox, &mut http, access, sandbox.mcp_url()).await;
    assert_eq!(header.typ.as_deref(), Some("at+JWT"));
    assert_eq!(claims["scope"], "openid email notes.read");
    assert_eq!(claims["client_id"], application.id);
    let id = tokens["id_token"].as_str().unwrap();
    let (_, claims) = verified(&sandbox, &mut http, id, &application.id).await;
    assert_eq!(claims["sub"], "admin");
    assert_eq!(claims["nonce"], "the nonce");
    assert_eq!(claims["azp"], application.id);
    assert!(claims["auth_time"].as_i64().unwrap() <= claims["iat"].as_i64().unwrap());

    // 7. The same browser is not asked for what it has granted, but for more.
    let hop = http.get(&application.authorize_url()).await;
    assert_eq!(hop.location(), consent);
    application.scope = "openid notes.read";
    let hop = http.get(&application.authorize_url()).await;
    assert!(hop.query("code").is_some(), "{}", hop.location());
}

#[tokio::test]
async fn opaque_tokens_without_a_resource_unless_the_client_wants_jwts() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let opaque = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &opaque).await;
    let access = issued["access_token"].as_str().unwrap();
    assert_eq!((access.len(), access.contains('.')), (72, false));
    let jwt = Application::register(&mut http, json!({ "token_type": "JWT" })).await;
    let issued = tokens(&mut http, &jwt).await;
    let access = issued["access_token"].as_str().unwrap();
    let (_, claims) = verified(&sandbox, &mut http, access, &jwt.id).await;
    assert_eq!(claims["aud"], jwt.id);
}

#[tokio::test]
async fn pkce_is_checked() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    for verifier in [
        Some("not-the-verifier-not-the-verifier-not-the-verifier"),
        None,
    ] {
        let code = authorize(&mut http, &application).await;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
        ];
        form.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        form.extend(application.credentials());
        let reply = http.post("/apps/oidc/token", &form).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"], "invalid_grant");
        // The attempt has used the code up.
        let reply = application.exchange(&mut http, &code).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (400, &json!("invalid_grant"))
        );
    }
}

#[tokio::test]
async fn codes_belong_to_their_client_and_redirect_uri_and_work_once() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let other = Application::register(&mut http, json!({})).await;
    let code = authorize(&mut http, &application).await;
    assert_eq!(other.exchange(&mut http, &code).await.status, 400);

    let code = authorize(&mut http, &application).await;
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "http://127.0.0.1:1/elsewhere"),
        ("code_verifier", VERIFIER),
    ];
    form.extend(application.credentials());
    assert_eq!(
        http.post("/apps/oidc/token", &form).await.json()["error"],
        "invalid_grant"
    );

    let code = authorize(&mut http, &application).await;
    let first = application.exchange(&mut http, &code).await.json();
    let access = first["access_token"].as_str().unwrap();
    assert_eq!(userinfo(&mut http, access).await.status, 200);
    assert_eq!(application.exchange(&mut http, &code).await.status, 400);
    assert_eq!(
        userinfo(&mut http, access).await.status,
        401,
        "the second use revokes the tokens"
    );
}

#[tokio::test]
async fn clients_are_authenticated() {
    let sandbox = sandbox(|config| {
        config.clients = vec![PreregisteredClient {
            id: "known".to_owned(),
            secret: Some(Secret::new("s/e cret+")),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            jwt_access_tokens: false,
        }];
    })
    .await;
    let mut http = Http::new(&sandbox);
    let known = Application {
        id: "known".to_owned(),
        secret: "s/e cret+".to_owned(),
        scope: "openid",
        resource: None,
    };
    // The encoding of RFC 6749 section 2.3.1.
    let encoded: String = url::form_urlencoded::byte_serialize(known.secret.as_bytes()).collect();
    let code = authorize(&mut http, &known).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let wrong = basic("known", "wrong");
    let reply = http
        .post_with("/apps/oidc/token", &form, &[("authorization", &wrong)])
        .await;
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (401, &json!("invalid_client"))
    );
    assert!(reply.header("www-authenticate").starts_with("Basic"));
    let reply = http
        .post("/apps/oidc/token", &[("client_id", "known")])
        .await;
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, ""));
    let right = basic("known", &encoded);
    let reply = http
        .post_with("/apps/oidc/token", &form, &[("authorization", &right)])
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);

    let public = json!({ "token_endpoint_auth_method": "none" });
    let public = Application::register(&mut http, public).await;
    assert_eq!(public.secret, "");
    let issued = tokens(&mut http, &public).await;
    assert!(issued["access_token"].is_string());
    let without_pkce = public.authorize_url().replace("code_challenge", "ignored");
    let reply = http.get(&without_pkce).await;
    assert_eq!(reply.query("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn nothing_is_sent_to_a_redirect_uri_that_is_not_the_clients() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let foreign = application.authorize_url().replace("callback", "evil");
    let reply = http.get(&foreign).await;
    assert_eq!((reply.status, reply.location()), (400, ""));
    let unknown = application
        .authorize_url()
        .replace(&application.id, "nobody");
    let reply = http.get(&unknown).await;
    assert_eq!((reply.status, reply.location()), (400, ""));
    let wrong = application
        .authorize_url()
        .replace("response_type=code", "response_type=token");
    let reply = http.get(&wrong).await;
    assert_eq!(
        reply.query("error").as_deref(),
        Some("unsupported_response_type")
    );
    assert_eq!(reply.query("state").as_deref(), Some("the state"));
    assert_eq!(reply.query("iss").as_deref(), Some(sandbox.url()));
}

#[tokio::test]
async fn prompts() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let prompting = |prompt: &str| format!("{}&prompt={prompt}", application.authorize_url());
    let reply = http.get(&prompting("none")).await;
    assert_eq!(reply.query("error").as_deref(), Some("login_required"));
    authorize(&mut http, &application).await;
    let reply = http.get(&prompting("none")).await;
    assert!(reply.query("code").is_some(), "{}", reply.location());
    let reply = http.get(&prompting("consent")).await;
    assert!(
        reply.location().ends_with("/apps/oidc/consent"),
        "{}",
        reply.location()
    );
    // A login that is asked for is asked for once.
    let reply = http.get(&prompting("login")).await;
    assert!(reply.location().contains("/login?"), "{}", reply.location());
    assert!(!reply.query("redirect_url").unwrap().contains("prompt"));
    let reply = http.get(&prompting("none")).await;
    assert_eq!(reply.query("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn refresh_tokens_rotate_and_their_reuse_ends_the_grant() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let mut application = Application::register(&mut http, json!({})).await;
    application.resource = Some(sandbox.mcp_url().to_owned());
    let first = tokens(&mut http, &application).await;
    let first_refresh = first["refresh_token"].as_str().expect("a refresh token");

    let second = application.refresh(&mut http, first_refresh).await;
    assert_eq!(second.status, 200, "{}", second.body);
    let second = second.json();
    let second_access = second["access_token"].as_str().unwrap();
    let second_refresh = second["refresh_token"].as_str().unwrap();
    assert_ne!(first_refresh, second_refresh);
    verified(&sandbox, &mut http, second_access, sandbox.mcp_url()).await;
    // The earlier access token lives on until its own end.
    assert_eq!(
        userinfo(&mut http, first["access_token"].as_str().unwrap())
            .await
            .status,
        200
    );

    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", second_refresh),
        ("scope", "openid more"),
    ];
    form.extend(application.credentials());
    let reply = http.post("/apps/oidc/token", &form).await;
    assert_eq!(reply.json()["error"], "invalid_scope");

    let reused = application.refresh(&mut http, first_refresh).await;
    assert_eq!(
        (reused.status, &reused.json()["error"]),
        (400, &json!("invalid_grant"))
    );
    assert_eq!(
        application.refresh(&mut http, second_refresh).await.status,
        400
    );
    assert_eq!(userinfo(&mut http, second_access).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_refreshes_at_once_one_succeeds() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &application).await;
    let refresh = issued["refresh_token"].as_str().unwrap().to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (application, refresh) = (application.clone(), refresh.clone());
        let mut http = Http::new(&sandbox);
        tasks.spawn(async move { application.refresh(&mut http, &refresh).await.status });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 400).count(),
        15,
        "{statuses:?}"
    );
}

#[tokio::test]
async fn there_is_no_refresh_token_without_offline_access_or_with_the_knob_off() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let mut application = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &application).await;
    let refresh = issued["refresh_token"].as_str().unwrap();
    let off = Knobs {
        refresh: false,
        ..Knobs::default()
    };
    sandbox.knobs().set(off).unwrap();
    assert_eq!(application.refresh(&mut http, refresh).await.status, 400);
    assert_eq!(
        tokens(&mut http, &application).await.get("refresh_token"),
        None
    );
    sandbox.knobs().set(Knobs::default()).unwrap();
    assert_eq!(application.refresh(&mut http, refresh).await.status, 200);
    application.scope = "openid";
    assert_eq!(
        tokens(&mut http, &application).await.get("refresh_token"),
        None
    );
}

#[tokio::test]
async fn tokens_end_when_the_knob_says() {
    let sandbox = sandbox(|config| {
        config.consent = false;
        config.knobs.token_lifetime_s = 1;
    })
    .await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &application).await;
    assert_eq!(issued["expires_in"], 1);
    let access = issued["access_token"].as_str().unwrap();
    let begin = std::time::Instant::now();
    while userinfo(&mut http, access).await.status == 200 {
        assert!(
            begin.elapsed().as_secs() < 5,
            "the token outlived its second"
        );
    }
    assert_eq!(
        application.introspect(&mut http, access).await,
        json!({ "active": false })
    );
    let refreshed = application
        .refresh(&mut http, issued["refresh_token"].as_str().unwrap())
        .await;
    assert_eq!(refreshed.status, 200);
}

#[tokio::test]
async fn introspection_tells_owners_and_resource_servers_only() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let resource = sandbox.mcp_url();
    let server = Application::register(&mut http, json!({ "resource_url": resource })).await;
    let stranger = Application::register(&mut http, json!({})).await;
    let mut application = Application::register(&mut http, json!({})).await;
    application.resource = Some(resource.to_owned());
    let issued = tokens(&mut http, &application).await;
    let access = issued["access_token"].as_str().unwrap();
    for knows in [&application, &server] {
        let about = knows.introspect(&mut http, access).await;
        assert_eq!(about["active"], true);
        assert_eq!(about["sub"], "admin");
        assert_eq!(about["username"], "admin");
        assert_eq!(about["client_id"], application.id);
        assert_eq!(about["aud"], resource);
        assert_eq!(
            about["exp"].as_i64().unwrap() - about["iat"].as_i64().unwrap(),
            900
        );
    }
    assert_eq!(
        stranger.introspect(&mut http, access).await,
        json!({ "active": false })
    );
    let mut form = vec![("token", access), ("client_id", application.id.as_str())];
    assert_eq!(http.post("/apps/oidc/introspect", &form).await.status, 401);
    form.push(("client_secret", "wrong"));
    assert_eq!(http.post("/apps/oidc/introspect", &form).await.status, 401);
    application.resource = None;
    let issued = tokens(&mut http, &application).await;
    let about = application
        .introspect(&mut http, issued["access_token"].as_str().unwrap())
        .await;
    assert_eq!(
        about["aud"], application.id,
        "of an opaque token: its client"
    );
}

#[tokio::test]
async fn revocation() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let stranger = Application::register(&mut http, json!({})).await;
    let issued = tokens(&mut http, &application).await;
    let access = issued["access_token"].as_str().unwrap();
    let refresh = issued["refresh_token"].as_str().unwrap();
    async fn revoke(http: &mut Http, application: &Application, token: &str) -> u16 {
        let mut form = vec![("token", token)];
        form.extend(application.credentials());
        http.post("/apps/oidc/revoke", &form).await.status
    }
    assert_eq!(revoke(&mut http, &stranger, access).await, 200);
    assert_eq!(
        userinfo(&mut http, access).await.status,
        200,
        "not the stranger's to revoke"
    );
    assert_eq!(revoke(&mut http, &application, access).await, 200);
    assert_eq!(userinfo(&mut http, access).await.status, 401);
    let again = application.refresh(&mut http, refresh).await.json();
    let access = again["access_token"].as_str().unwrap();
    let refresh = again["refresh_token"].as_str().unwrap();
    assert_eq!(revoke(&mut http, &application, refresh).await, 200);
    assert_eq!(
        userinfo(&mut http, access).await.status,
        401,
        "its grant is gone"
    );
    assert_eq!(application.refresh(&mut http, refresh).await.status, 400);
    assert_eq!(revoke(&mut http, &application, "unknown").await, 200);
}

#[tokio::test]
async fn userinfo_shows_what_the_scopes_allow() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let mut application = Application::register(&mut http, json!({})).await;
    application.scope = "openid profile";
    let issued = tokens(&mut http, &application).await;
    let reply = userinfo(&mut http, issued["access_token"].as_str().unwrap()).await;
    let expected = json!({ "sub": "admin", "name": "admin", "preferred_username": "admin" });
    assert_eq!(reply.json(), expected);
    let reply = userinfo(&mut http, "nonsense").await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn a_denied_consent_is_told_to_the_client() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let hop = http.get(&application.authorize_url()).await;
    log_in(&mut http, &hop.location().to_owned()).await;
    http.get(&application.authorize_url()).await;
    let page = http.get("/apps/oidc/consent").await;
    let reply = http
        .post("/apps/oidc/consent/grant", &[("scopes", "openid")])
        .await;
    assert_eq!(
        (reply.status, &reply.json()["message"]),
        (412, &json!("CSRF check failed"))
    );
    let token = page.request_token();
    let reply = http
        .post("/apps/oidc/consent/deny", &[("requesttoken", &token)])
        .await;
    assert_eq!(reply.status, 303);
    assert!(reply.location().starts_with(REDIRECT_URI));
    assert_eq!(reply.query("error").as_deref(), Some("access_denied"));
    assert_eq!(reply.query("state").as_deref(), Some("the state"));
    assert_eq!(reply.query("iss").as_deref(), Some(sandbox.url()));
    assert_eq!(reply.query("code"), None);
    let again = http
        .post("/apps/oidc/consent/grant", &[("requesttoken", &token)])
        .await;
    assert_eq!(again.status, 400, "nothing waits any more");
}

#[tokio::test]
async fn registration_is_limited_by_rate_and_number() {
    let body = json!({ "redirect_uris": [REDIRECT_URI] });
    let limited = sandbox(|config| config.registrations_per_minute = Some(10)).await;
    let mut http = Http::new(&limited);
    for _ in 0..10 {
        let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
        assert_eq!(reply.status, 201);
        let client = reply.json();
        let lifetime = client["client_secret_expires_at"].as_i64().unwrap()
            - client["client_id_issued_at"].as_i64().unwrap();
        assert_eq!(lifetime, 3600);
        assert_eq!(client["token_type"], "opaque");
    }
    let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
    assert_eq!((reply.status, reply.body.as_str()), (429, ""));
    assert_eq!(reply.headers.get("retry-after"), None);

    let few = sandbox(|config| config.client_limit = 2).await;
    let mut http = Http::new(&few);
    for expected in [201, 201, 400] {
        let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
        assert_eq!(reply.status, expected, "{}", reply.body);
    }
}

#[tokio::test]
async fn registrations_are_checked_and_can_be_read_and_deleted() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    for (body, error) in [
        (json!({}), "invalid_redirect_uri"),
        (
            json!({ "redirect_uris": ["http://a/#b"] }),
            "invalid_redirect_uri",
        ),
        (json!({ "redirect_uris": [7] }), "invalid_client_metadata"),
        (
            json!({ "redirect_uris": [REDIRECT_URI], "token_type": "x" }),
            "invalid_client_metadata",
        ),
    ] {
        let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (400, &json!(error)),
            "{body}"
        );
    }
    let body = json!({ "redirect_uris": [REDIRECT_URI], "scope": "openid" });
    let client = http
        .json(Method::POST, "/apps/oidc/register", &body)
        .await
        .json();
    let uri = client["registration_client_uri"].as_str().unwrap();
    let bearer = format!(
        "Bearer {}",
        client["registration_access_token"].as_str().unwrap()
    );
    let read = http
        .get_with(uri, &[("authorization", &bearer)])
        .await
        .json();
    assert_eq!(read["client_id"], client["client_id"]);
    assert_eq!(read.get("client_secret"), None);
    let foreign = [("authorization", "Bearer nonsense")];
    assert_eq!(
        http.send(Method::DELETE, uri, &foreign, String::new())
            .await
            .status,
        401
    );
    let own = [("authorization", bearer.as_str())];
    assert_eq!(
        http.send(Method::DELETE, uri, &own, String::new())
            .await
            .status,
        204
    );
    assert_eq!(http.get_with(uri, &own).await.status, 401);
    let id = client["client_id"].as_str().unwrap();
    let query = form_encoded(&[("client_id", id), ("redirect_uri", REDIRECT_URI)]);
    assert_eq!(
        http.get(&format!("/apps/oidc/authorize?{query}"))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_metadata_document_is_a_client_id() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let id = format!("{origin}/client.json");
    let liar = format!("{origin}/liar.json");
    let document = json!({ "client_id": id, "client_name": "D", "redirect_uris": [REDIRECT_URI] });
    let served = document.clone();
    let documents = axum::Router::new()
        .route(
            "/client.json",
            axum::routing::get(async move || axum::Json(served)),
        )
        .route(
            "/liar.json",
            axum::routing::get(async move || axum::Json(document)),
        );
    let server = tokio::spawn(async move { axum::serve(listener, documents).await });

    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let mut application = Application {
        id,
        secret: String::new(),
        scope: "openid",
        resource: None,
    };
    let issued = tokens(&mut http, &application).await;
    assert!(issued["id_token"].is_string());
    for bad in [
        liar,
        format!("{origin}/missing.json"),
        "https://example.org/c.json".to_owned(),
    ] {
        application.id = bad;
        assert_eq!(
            http.get(&application.authorize_url()).await.status,
            400,
            "{}",
            application.id
        );
    }
    server.abort();
}

#[tokio::test]
async fn the_logout_ends_the_session_and_goes_back_to_the_client() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    authorize(&mut http, &application).await;
    let query = [
        ("client_id", application.id.as_str()),
        ("post_logout_redirect_uri", REDIRECT_URI),
        ("state", "bye"),
    ];
    let reply = http
        .get(&format!("/apps/oidc/logout?{}", form_encoded(&query)))
        .await;
    assert_eq!(reply.location(), format!("{REDIRECT_URI}?state=bye"));
    let hop = http.get(&application.authorize_url()).await;
    assert!(hop.location().contains("/login?"), "{}", hop.location());
    let query = [
        ("client_id", application.id.as_str()),
        ("post_logout_redirect_uri", "https://evil.example/"),
    ];
    let reply = http
        .get(&format!("/apps/oidc/logout?{}", form_encoded(&query)))
        .await;
    assert!(
        reply.location().starts_with(sandbox.url()),
        "{}",
        reply.location()
    );
}
