//! The OpenID Connect provider: the hops from an authorization request to a code.

use serde_json::json;

use crate::support::*;

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
async fn a_denied_consent_is_told_to_the_client() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let hop = http.get(&application.authorize_url()).await;
    log_in(&mut http, hop.location()).await;
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
