//! The OpenID Connect provider: the token endpoint, and what may be asked about tokens.

use serde_json::json;
use throng_sandbox::{Knobs, Latency, PreregisteredClient, Secret};

use crate::support::*;

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
async fn a_client_may_be_told_another_lifetime_and_tokens_may_end_together() {
    let sandbox = sandbox(|config| {
        config.consent = false;
        config.knobs.token_lifetime_told_s = Some(3600);
        config.knobs.token_expiry_grid_s = Some(1_000_000);
    })
    .await;
    let mut http = Http::new(&sandbox);
    let mut application = Application::register(&mut http, json!({})).await;
    application.resource = Some(sandbox.mcp_url().to_owned());
    let issued = tokens(&mut http, &application).await;
    assert_eq!(issued["expires_in"], 3600);
    let access = issued["access_token"].as_str().unwrap();
    let end = application.introspect(&mut http, access).await["exp"]
        .as_i64()
        .unwrap();
    assert_eq!(end % 1_000_000, 0, "{end}");
}

#[tokio::test]
async fn the_mcp_server_takes_a_revoked_token_for_as_long_as_the_lag_says() {
    let lag = |fixed_ms| Knobs {
        revocation_lag: Some(Latency {
            fixed_ms,
            jitter: None,
        }),
        ..Knobs::default()
    };
    let sandbox = sandbox(|config| {
        config.consent = false;
        config.knobs = lag(86_400_000.0);
    })
    .await;
    let mut http = Http::new(&sandbox);
    let mut mcp = Http::to(sandbox.mcp_url().strip_suffix("/mcp").unwrap());
    let mut application = Application::register(&mut http, json!({})).await;
    application.resource = Some(sandbox.mcp_url().to_owned());
    for (fixed_ms, hint, taken) in [
        (86_400_000.0, "access_token", true),
        (86_400_000.0, "refresh_token", true),
        (0.0, "access_token", false),
        (0.0, "refresh_token", false),
    ] {
        sandbox.knobs().set(lag(fixed_ms)).unwrap();
        let issued = tokens(&mut http, &application).await;
        let access = issued["access_token"].as_str().unwrap();
        let bearer = format!("Bearer {access}");
        let headers = [("authorization", bearer.as_str())];
        assert_ne!(mcp.get_with("/mcp", &headers).await.status, 401);
        let mut form = vec![("token", issued[hint].as_str().unwrap())];
        form.extend(application.credentials());
        assert_eq!(http.post("/apps/oidc/revoke", &form).await.status, 200);
        // The provider knows at once.
        assert_eq!(userinfo(&mut http, access).await.status, 401);
        let status = mcp.get_with("/mcp", &headers).await.status;
        assert_eq!(status != 401, taken, "{fixed_ms} {hint}: {status}");
    }
}
