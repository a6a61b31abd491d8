//! The OpenID Connect provider: how clients come to be known.

use http::Method;
use serde_json::json;

use crate::support::*;

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
