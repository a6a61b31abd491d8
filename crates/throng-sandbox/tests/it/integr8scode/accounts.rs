//! Registering, logging in and out, CSRF, and what garbage is answered with.

use http::Method;
use serde_json::{Value, json};

use super::client::{Api, PASSWORD, sandbox};

#[tokio::test]
async fn a_user_registers_logs_in_and_out() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await;
    let user = api.register("anna").await.json();
    assert_eq!(
        (&user["username"], &user["role"]),
        (&json!("anna"), &json!("user"))
    );
    assert_eq!(api.register("anna").await.status, 409);
    assert_eq!(api.get("/auth/me").await.status, 401);

    let reply = api.log_in("anna", PASSWORD).await;
    assert_eq!(reply.status, 200);
    let cookies: Vec<_> = reply
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().expect("ASCII").to_owned())
        .collect();
    assert_eq!(cookies.len(), 2);
    for cookie in &cookies {
        assert!(
            cookie.ends_with("; Path=/; SameSite=strict; Secure"),
            "{cookie}"
        );
        assert_eq!(
            cookie.contains("HttpOnly"),
            cookie.starts_with("access_token=")
        );
    }
    assert_eq!(reply.text("csrf_token"), api.cookies["csrf_token"]);
    assert_eq!(api.get("/auth/me").await.json(), user);

    let old = api.cookies.clone();
    assert_eq!(api.post("/auth/logout", &json!({})).await.status, 200);
    assert!(api.cookies.is_empty());
    api.cookies = old;
    assert_eq!(api.get("/auth/me").await.status, 401);
}

#[tokio::test]
async fn register_refuses_what_the_document_refuses() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await;
    let good = json!({ "username": "u", "email": "u@example.com", "password": PASSWORD });
    for (member, value, kind) in [
        ("username", Value::Null, "string_type"),
        ("username", json!(""), "string_too_short"),
        ("email", json!("u@nowhere"), "value_error"),
        ("password", json!("1234567"), "string_too_short"),
        ("password", json!(12_345_678), "string_type"),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let reply = api.post("/auth/register", &body).await;
        assert_eq!(reply.status, 422);
        let fault = &reply.json()["detail"][0];
        assert_eq!(fault["type"], kind);
        assert_eq!(fault["loc"], json!(["body", member]));
    }
    for (body, status, kind) in [
        (&b"{"[..], 422, "json_invalid"),
        (b"", 422, "missing"),
        (b"[]", 422, "model_attributes_type"),
        (br#"{"username": "\ud800"}"#, 422, "json_invalid"),
        (br#"{"username": 1e999}"#, 422, "json_invalid"),
        (b"{\"username\": \"\xff\"}", 400, ""),
    ] {
        let reply = api.raw(Method::POST, "/auth/register", body.to_vec()).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(
            reply.json()["detail"][0]["type"].as_str().unwrap_or(""),
            kind
        );
    }
    let text = [("content-type", "text/plain")];
    let reply = api
        .send(
            Method::POST,
            "/auth/register",
            &text,
            good.to_string().into_bytes(),
        )
        .await;
    assert_eq!(reply.json()["detail"][0]["type"], "model_attributes_type");
    let reply = api
        .raw(
            Method::POST,
            "/auth/register",
            vec![b' '; 10 * 1024 * 1024 + 1],
        )
        .await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn five_bad_logins_lock_a_username() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await;
    api.register("anna").await;
    api.register("bert").await;
    for _ in 0..5 {
        assert_eq!(api.log_in("anna", "wrong").await.status, 401);
    }
    assert_eq!(api.log_in("anna", PASSWORD).await.status, 423);
    assert_eq!(api.log_in("bert", PASSWORD).await.status, 200);
    // A JSON body is no form.
    let reply = api
        .post(
            "/auth/login",
            &json!({ "username": "bert", "password": PASSWORD }),
        )
        .await;
    assert_eq!(reply.status, 422);
    assert!(!reply.body.contains(PASSWORD));
}

#[tokio::test]
async fn csrf_tokens_are_bound_to_the_session_and_looked_at_first() {
    let sandbox = sandbox(|_| {}).await;
    let api = Api::new(&sandbox, true).await;
    let mut anna = api.user("anna").await;
    let bert = api.user("bert").await;
    let theme = json!({ "theme": "dark" });
    assert_eq!(anna.put("/user/settings/theme", &theme).await.status, 200);
    let own = anna.cookies["csrf_token"].clone();
    for (cookie, header) in [
        (own.as_str(), ""),
        (own.as_str(), "nonsense"),
        // Equal, but unsigned, and equal, but of another session.
        ("a.b", "a.b"),
        (&bert.cookies["csrf_token"], &bert.cookies["csrf_token"]),
    ] {
        anna.csrf = false;
        anna.cookies
            .insert("csrf_token".to_owned(), cookie.to_owned());
        let headers = [
            ("x-csrf-token", header),
            ("content-type", "application/json"),
        ];
        let body = theme.to_string().into_bytes();
        let reply = anna
            .send(Method::PUT, "/user/settings/theme", &headers, body)
            .await;
        assert_eq!(
            (reply.status, reply.detail().as_str()),
            (403, "CSRF validation failed")
        );
    }
    // Before routing, and before the login is looked at.
    assert_eq!(anna.post("/nowhere", &json!({})).await.status, 403);
    anna.cookies
        .insert("access_token".to_owned(), "garbage".to_owned());
    assert_eq!(
        anna.post("/execute", &json!({ "script": "" })).await.status,
        403
    );
    // Exempt, and without a session.
    assert_eq!(anna.register("carl").await.status, 200);
    assert_eq!(anna.log_in("carl", PASSWORD).await.status, 200);
    let mut nobody = api.another();
    assert_eq!(nobody.post("/nowhere", &json!({})).await.status, 404);
    assert_eq!(
        nobody
            .post("/execute", &json!({ "script": "" }))
            .await
            .status,
        401
    );
    assert_eq!(nobody.post("/auth/logout", &json!({})).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_methods_and_slashes() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let reply = api.get("/nowhere").await;
    assert_eq!(
        (reply.status, reply.json()),
        (404, json!({ "detail": "Not Found" }))
    );
    for (method, path, allow) in [
        (Method::PATCH, "/scripts/x", "GET, PUT, DELETE"),
        (Method::HEAD, "/auth/me", "GET"),
        (Method::OPTIONS, "/execute", "POST"),
    ] {
        let reply = api.send(method, path, &[], Vec::new()).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, allow),
            "{path}"
        );
    }
    let reply = api.get("/user/settings?x=1").await;
    let expected = format!("{}/api/v1/user/settings/?x=1", sandbox.url());
    assert_eq!(
        (reply.status, reply.header("location")),
        (307, expected.as_str())
    );
    assert_eq!(api.get("/user/settings/").await.status, 200);
    assert_eq!(api.get("/scripts/%ff%2f").await.status, 404);
}
