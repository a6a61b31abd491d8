//! Each planted bug is there when it is asked for, and not there otherwise.

use http::Method;
use serde_json::json;
use throng_sandbox::{Bug, Bugs, Integr8scodeSandbox};

use super::client::{Api, sandbox, with_bug};

/// The sandbox with one bug, the one without, and whether it has the bug. Answers of the sound one are
/// held against its document.
async fn both(bug: Bug) -> [(Integr8scodeSandbox, Api, bool); 2] {
    let ill = with_bug(bug).await;
    let sound = sandbox(|_| {}).await;
    let ill_api = Api::new(&ill, false).await;
    let sound_api = Api::new(&sound, true).await;
    [(ill, ill_api, true), (sound, sound_api, false)]
}

#[tokio::test]
async fn unicode_title_500() {
    for (_sandbox, api, ill) in both(Bug::UnicodeTitle500).await {
        let mut api = api.user("anna").await;
        for name in ["\u{1f600}", "e\u{301}"] {
            let body = json!({ "name": name, "script": "" });
            let reply = api.post("/scripts", &body).await;
            assert_eq!(reply.status, if ill { 500 } else { 200 }, "{name}");
            if ill {
                assert_eq!(reply.body, "Internal Server Error");
                assert!(reply.header("content-type").starts_with("text/plain"));
            }
        }
        assert_eq!(
            api.post("/scripts", &json!({ "name": "é", "script": "" }))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn number_edge_500() {
    for (_sandbox, api, ill) in both(Bug::NumberEdge500).await {
        let mut api = api.user("anna").await;
        let mut status = async |skip: u64| {
            api.get(&format!("/user/executions?skip={skip}"))
                .await
                .status
        };
        assert_eq!(status(2_147_483_646).await, 200);
        assert_eq!(status(2_147_483_647).await, if ill { 500 } else { 200 });
    }
}

#[tokio::test]
async fn foreign_script_readable() {
    for (_sandbox, api, ill) in both(Bug::ForeignScriptReadable).await {
        let id = api.user("anna").await.save_script("s").await;
        let mut bert = api.user("bert").await;
        let expected = if ill { 200 } else { 404 };
        assert_eq!(bert.get(&format!("/scripts/{id}")).await.status, expected);
        assert_eq!(bert.delete(&format!("/scripts/{id}")).await.status, 404);
    }
}

#[tokio::test]
async fn csrf_unchecked_route() {
    for (_sandbox, api, ill) in both(Bug::CsrfUncheckedRoute).await {
        let mut api = api.user("anna").await;
        api.csrf = false;
        let theme = json!({ "theme": "dark" });
        let expected = if ill { 200 } else { 403 };
        assert_eq!(
            api.put("/user/settings/theme", &theme).await.status,
            expected
        );
        assert_eq!(api.post("/scripts", &json!({})).await.status, 403);
    }
}

#[tokio::test]
async fn deleted_still_served() {
    for (_sandbox, api, ill) in both(Bug::DeletedStillServed).await {
        let mut api = api.user("anna").await;
        let path = format!("/scripts/{}", api.save_script("s").await);
        assert_eq!(api.delete(&path).await.status, 204);
        assert_eq!(api.get(&path).await.status, if ill { 200 } else { 404 });
        assert_eq!(api.delete(&path).await.status, 404);
        assert_eq!(api.get("/scripts").await.json()["scripts"], json!([]));
    }
}

#[tokio::test]
async fn session_after_logout() {
    for (_sandbox, api, ill) in both(Bug::SessionAfterLogout).await {
        let mut api = api.user("anna").await;
        let cookies = api.cookies.clone();
        assert_eq!(api.post("/auth/logout", &json!({})).await.status, 200);
        assert!(api.cookies.is_empty());
        api.cookies = cookies;
        assert_eq!(
            api.get("/auth/me").await.status,
            if ill { 200 } else { 401 }
        );
    }
}

#[tokio::test]
async fn role_from_register() {
    for (_sandbox, mut api, ill) in both(Bug::RoleFromRegister).await {
        let body = json!({
            "username": "anna", "email": "a@example.com", "password": "12345678", "role": "admin",
        });
        let reply = api.post("/auth/register", &body).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text("role"), if ill { "admin" } else { "user" });
    }
}

#[tokio::test]
async fn refused_create_leaves_row() {
    for (_sandbox, api, ill) in both(Bug::RefusedCreateLeavesRow).await {
        let mut api = api.user("anna").await;
        let reply = api
            .post("/scripts", &json!({ "name": "n", "script": 1 }))
            .await;
        assert_eq!(reply.status, 422);
        let list = api.get("/scripts").await.json();
        let rows = list["scripts"].as_array().expect("a list").len();
        assert_eq!(rows, usize::from(ill));
    }
}

#[tokio::test]
async fn double_username_race() {
    for (_sandbox, api, ill) in both(Bug::DoubleUsernameRace).await {
        let mut clients: Vec<Api> = (0..4).map(|_| api.another()).collect();
        // All have their connections, so that nothing but the requests is between them.
        for client in &mut clients {
            client.get("/health/live").await;
        }
        let registers = clients.iter_mut().map(|client| client.register("anna"));
        let replies = futures_util::future::join_all(registers).await;
        let winners = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(winners > 1, ill, "{winners}");
        assert!(winners >= 1);
        assert_eq!(clients[0].register("anna").await.status, 409);
    }
}

#[tokio::test]
async fn stack_trace_in_error() {
    for (_sandbox, api, ill) in both(Bug::StackTraceInError).await {
        let mut api = api.user("anna").await;
        let reply = api.raw(Method::POST, "/execute", b"{".to_vec()).await;
        assert_eq!(reply.status, 422);
        assert_eq!(
            reply.body.contains("Traceback (most recent call last)"),
            ill
        );
    }
}

/// All bugs together leave ordinary work alone.
#[tokio::test]
async fn with_all_bugs_ordinary_work_goes_on() {
    let sandbox = sandbox(|config| config.bugs = Bugs::all()).await;
    assert_eq!(sandbox.ready().bugs.len(), 10);
    let mut api = Api::new(&sandbox, false).await.user("anna").await;
    let (_, result) = api.run("print(1)").await;
    assert_eq!(result["stdout"], "1\n");
    let id = api.save_script("s").await;
    assert_eq!(api.delete(&format!("/scripts/{id}")).await.status, 204);
    assert_eq!(api.post("/auth/logout", &json!({})).await.status, 200);
}
