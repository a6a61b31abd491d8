//! The login form, app passwords and the login flow v2.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn pages_that_need_a_login_answer_by_what_the_client_accepts() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    for path in [
        "/apps/oidc/redirect?state=1",
        "/apps/oidc/consent",
        "/login/v2/grant",
    ] {
        let reply = http.get_with(path, &[("accept", "application/json")]).await;
        assert_eq!(reply.status, 401, "{path}");
        assert_eq!(reply.json()["message"], "Current user is not logged in");
        let reply = http
            .get_with(path, &[("accept", "text/html,*/*;q=0.1")])
            .await;
        assert_eq!(reply.status, 303, "{path}");
        assert_eq!(reply.query("redirect_url").as_deref(), Some(path));
        let reply = http.get(&format!("/index.php{path}")).await;
        assert_eq!(reply.status, 303, "/index.php{path}");
    }
}

#[tokio::test]
async fn a_bad_request_token_redirects_without_a_login() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let token = http.get("/login").await.request_token();
    let target = format!("{}/apps/dashboard/", sandbox.url());
    let mut attempts = vec![
        vec![
            ("user", "admin"),
            ("password", PASSWORD),
            ("requesttoken", "bad"),
        ],
        vec![("user", "admin"), ("password", PASSWORD)],
    ];
    for form in attempts.drain(..) {
        let reply = http.post("/login", &form).await;
        assert_eq!((reply.status, reply.location()), (303, target.as_str()));
        assert!(!reply.sets_cookie("nc_token"));
    }
    let form = [
        ("user", "admin"),
        ("password", PASSWORD),
        ("requesttoken", token.as_str()),
    ];
    let foreign = [("origin", "https://evil.example")];
    assert!(
        !http
            .post_with("/login", &form, &foreign)
            .await
            .sets_cookie("nc_token")
    );
    let mut stranger = Http::new(&sandbox);
    assert!(
        !stranger.post("/login", &form).await.sets_cookie("nc_token"),
        "no session"
    );
    assert_eq!(http.get(&target).await.status, 303, "still not logged in");
    let strict = http.forget("nc_sameSiteCookiestrict");
    assert!(!http.post("/login", &form).await.sets_cookie("nc_token"));
    http.remember("nc_sameSiteCookiestrict", &strict);
    let own = [("origin", sandbox.url())];
    assert!(
        http.post_with("/login", &form, &own)
            .await
            .sets_cookie("nc_token")
    );
    assert_eq!(http.get(&target).await.status, 200);
}

#[tokio::test]
async fn wrong_passwords_slow_their_address_down() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    let mut url = "/login?redirect_url=%2Fapps%2Fx".to_owned();
    for (delay, errors) in [(0, None), (200, Some(json!(["invalidpassword"])))] {
        let page = http.get(&url).await;
        assert_eq!(page.state("loginThrottleDelay"), Some(json!(delay)));
        assert_eq!(page.state("loginErrors"), errors);
        let token = page.request_token();
        let form = [
            ("user", "admin"),
            ("password", "wrong"),
            ("requesttoken", token.as_str()),
            ("redirect_url", "/apps/x"),
        ];
        let begin = Instant::now();
        let reply = http.post("/login", &form).await;
        assert!(begin.elapsed() >= Duration::from_millis(delay));
        assert_eq!(reply.status, 303);
        assert!(
            reply
                .location()
                .contains("/login?direct=1&user=admin&redirect_url=")
        );
        assert!(!reply.sets_cookie("nc_token"));
        url = reply.location().to_owned();
    }
    let page = http.get(&url).await;
    assert_eq!(page.state("loginUsername"), Some(json!("admin")));
    assert_eq!(page.state("loginThrottleDelay"), Some(json!(400)));
    // Another client of the same address is slowed down, too; a right password forgives.
    let mut other = Http::new(&sandbox);
    let begin = Instant::now();
    log_in(&mut other, "/login").await;
    assert!(begin.elapsed() >= Duration::from_millis(400));
    let page = Http::new(&sandbox).get("/login").await;
    assert_eq!(page.state("loginThrottleDelay"), Some(json!(0)));
}

#[tokio::test]
async fn a_login_leads_to_own_paths_only_and_a_logout_needs_the_request_token() {
    let sandbox = sandbox(|_| {}).await;
    for foreign in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
    ] {
        let mut http = Http::new(&sandbox);
        let query = form_encoded(&[("redirect_url", foreign)]);
        let reply = log_in(&mut http, &format!("/login?{query}")).await;
        assert_eq!(
            reply.location(),
            format!("{}/apps/dashboard/", sandbox.url())
        );
    }
    let mut http = Http::new(&sandbox);
    log_in(&mut http, "/login").await;
    assert_eq!(http.get("/logout").await.status, 412);
    let token = http.get("/apps/dashboard/").await.request_token();
    let query = form_encoded(&[("requesttoken", &token)]);
    assert_eq!(http.get(&format!("/logout?{query}")).await.status, 303);
    assert_eq!(http.get("/apps/dashboard/").await.status, 303);
}

#[tokio::test]
async fn app_passwords() {
    let sandbox = sandbox(|_| {}).await;
    let mut http = Http::new(&sandbox);
    http.accept = "application/json";
    let url = "/ocs/v2.php/core/getapppassword";
    let reply = http.get(url).await;
    assert_eq!(
        (
            reply.status,
            reply.json()["ocs"]["meta"]["statuscode"].as_i64()
        ),
        (401, Some(997))
    );
    assert!(reply.header("www-authenticate").starts_with("Basic"));
    let login = basic("admin", PASSWORD);
    let reply = http.get_with(url, &[("authorization", &login)]).await;
    assert_eq!(reply.status, 200);
    let reply = reply.json();
    let password = reply["ocs"]["data"]["apppassword"].as_str().unwrap();
    assert_eq!(password.len(), 72);
    let app = basic("admin", password);
    assert_eq!(
        http.get_with(url, &[("authorization", &app)]).await.status,
        403
    );
    let own = "/ocs/v2.php/core/apppassword";
    let headers = [("authorization", app.as_str())];
    let refused = http
        .send(Method::DELETE, own, &headers, String::new())
        .await;
    assert_eq!(
        (refused.status, &refused.json()["message"]),
        (412, &json!("CSRF check failed"))
    );
    let headers = [("authorization", app.as_str()), ("ocs-apirequest", "true")];
    assert_eq!(
        http.send(Method::DELETE, own, &headers, String::new())
            .await
            .status,
        200
    );
    assert_eq!(
        http.send(Method::DELETE, own, &headers, String::new())
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn login_flow_v2() {
    let sandbox = sandbox(|_| {}).await;
    let mut application = Http::new(&sandbox);
    let headers = [("user-agent", "An <app>")];
    let started = application
        .post_with("/index.php/login/v2", &[], &headers)
        .await
        .json();
    let endpoint = started["poll"]["endpoint"].as_str().unwrap();
    let poll = [("token", started["poll"]["token"].as_str().unwrap())];
    let pending = application.post(endpoint, &poll).await;
    assert_eq!((pending.status, pending.json()), (404, json!([])));

    let mut browser = Http::new(&sandbox);
    let hop = browser.get(started["login"].as_str().unwrap()).await;
    let page = browser.get(hop.location()).await;
    assert!(page.body.contains("An &lt;app&gt;"), "{}", page.body);
    let grant = page.attribute("href");
    let hop = browser.get(&grant).await;
    let hop = log_in(&mut browser, hop.location()).await;
    let page = browser.get(hop.location()).await;
    let state_token = page
        .body
        .split_once("name=\"stateToken\" value=\"")
        .unwrap()
        .1;
    let state_token = state_token.split_once('"').unwrap().0;
    let token = page.request_token();
    let form = [
        ("stateToken", state_token),
        ("requesttoken", token.as_str()),
    ];
    let wrong = [("stateToken", "wrong"), ("requesttoken", token.as_str())];
    assert_eq!(
        browser.post("/login/v2/grant", &form[..1]).await.status,
        412
    );
    assert_eq!(browser.post("/login/v2/grant", &wrong).await.status, 403);
    assert_eq!(application.post(endpoint, &poll).await.status, 404);
    assert_eq!(browser.post("/login/v2/grant", &form).await.status, 200);

    let granted = application.post(endpoint, &poll).await;
    assert_eq!(granted.status, 200);
    let granted = granted.json();
    assert_eq!(granted["server"], sandbox.url());
    assert_eq!(granted["loginName"], "admin");
    assert_eq!(
        application.post(endpoint, &poll).await.status,
        404,
        "given out once"
    );
    let app = basic("admin", granted["appPassword"].as_str().unwrap());
    let url = "/ocs/v2.php/core/getapppassword?format=json";
    let reply = application.get_with(url, &[("authorization", &app)]).await;
    assert_eq!(reply.status, 403, "an app password, and a valid one");
}
