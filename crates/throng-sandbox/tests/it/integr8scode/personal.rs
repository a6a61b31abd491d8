//! Scripts, settings, notifications, and what needs no login.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::client::{Api, sandbox};

#[tokio::test]
async fn scripts_are_created_changed_and_deleted() {
    let sandbox = sandbox(|_| {}).await;
    let mut anna = Api::new(&sandbox, true).await.user("anna").await;
    let mut bert = anna.user("bert").await;
    let id = anna.save_script("first").await;
    let path = format!("/scripts/{id}");
    let script = anna.get(&path).await.json();
    assert_eq!(
        (&script["name"], &script["lang"]),
        (&json!("first"), &json!("python"))
    );
    let changed = anna
        .put(&path, &json!({ "name": "second", "description": "d" }))
        .await
        .json();
    assert_eq!(
        (&changed["name"], &changed["script"]),
        (&json!("second"), &json!("print(1)"))
    );
    assert_eq!(
        anna.get("/scripts").await.json()["scripts"],
        json!([changed])
    );

    assert_eq!(bert.get("/scripts").await.json()["scripts"], json!([]));
    assert_eq!(bert.get(&path).await.status, 404);
    assert_eq!(bert.put(&path, &json!({ "name": "b" })).await.status, 404);
    assert_eq!(bert.delete(&path).await.status, 404);

    assert_eq!(anna.put(&path, &json!({ "name": 1 })).await.status, 422);
    assert_eq!(
        anna.post("/scripts", &json!({ "name": "n" })).await.status,
        422
    );
    assert_eq!(anna.delete(&path).await.status, 204);
    for reply in [anna.get(&path).await, anna.delete(&path).await] {
        assert_eq!(
            (reply.status, reply.text("type").as_str()),
            (404, "NotFoundError")
        );
    }
    assert_eq!(anna.get("/scripts").await.json()["scripts"], json!([]));
}

#[tokio::test]
async fn settings_change_with_their_version() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let before = api.get("/user/settings/").await.json();
    assert_eq!(
        (&before["theme"], &before["version"]),
        (&json!("auto"), &json!(1))
    );
    let after = api
        .put("/user/settings/theme", &json!({ "theme": "dark" }))
        .await
        .json();
    assert_eq!(
        (&after["theme"], &after["version"]),
        (&json!("dark"), &json!(2))
    );
    assert_eq!(api.get("/user/settings/").await.json(), after);
    assert_eq!(
        api.put("/user/settings/theme", &json!({ "theme": "blue" }))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn ended_executions_are_notified_of_until_read() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await.user("anna").await;
    let mut watcher = api.another();
    watcher.cookies = api.cookies.clone();
    let mut stream = watcher
        .open(Method::GET, "/events/notifications/stream", &[], Vec::new())
        .await
        .into_body();
    api.run("print(1)").await;
    api.run("raise X").await;
    let mut told = String::new();
    while told.matches("event: notification\r\ndata: {").count() < 2 {
        let frame = stream.frame().await.expect("no end").expect("a frame");
        told.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("UTF-8"));
    }
    let list = api.get("/notifications").await.json();
    assert_eq!(
        (&list["total"], &list["unread_count"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(list["notifications"][0]["subject"], "Execution failed");
    let one = api.get("/notifications?limit=1&offset=1").await.json();
    assert_eq!(one["notifications"][0]["subject"], "Execution completed");
    assert_eq!(
        api.post("/notifications/mark-all-read", &Value::Null)
            .await
            .status,
        204
    );
    let list = api.get("/notifications").await.json();
    assert_eq!(list["unread_count"], 0);
    assert_eq!(list["notifications"][0]["status"], "read");
    for query in ["limit=101", "offset=-1"] {
        assert_eq!(
            api.get(&format!("/notifications?{query}")).await.status,
            422
        );
    }
    assert_eq!(api.another().get("/notifications").await.status, 401);
}

#[tokio::test]
async fn some_things_need_no_login() {
    let sandbox = sandbox(|_| {}).await;
    let mut api = Api::new(&sandbox, true).await;
    for path in ["/example-scripts", "/k8s-limits", "/health/live"] {
        assert_eq!(api.get(path).await.status, 200);
    }
    let alert = json!({ "status": "firing", "labels": { "a": "b" }, "fingerprint": "f" });
    let body = json!({ "receiver": "r", "status": "firing", "alerts": [alert], "groupLabels": {} });
    let reply = api.post("/alerts/grafana", &body).await;
    assert_eq!(
        (reply.status, &reply.json()["alerts_received"]),
        (200, &json!(1))
    );
    for body in [
        json!({}),
        json!({ "status": "odd" }),
        json!({ "status": "firing", "alerts": {} }),
        json!({ "status": "firing", "alerts": [{ "labels": { "a": 1 } }] }),
    ] {
        assert_eq!(
            api.post("/alerts/grafana", &body).await.status,
            422,
            "{body}"
        );
    }
}

#[tokio::test]
async fn alerts_are_gone_in_today_s_server() {
    let sandbox = sandbox(|config| config.alerts = false).await;
    let mut api = Api::new(&sandbox, true).await;
    let reply = api
        .post("/alerts/grafana", &json!({ "status": "firing" }))
        .await;
    assert_eq!(reply.status, 404);
    assert!(
        !api.get("/openapi.json")
            .await
            .body
            .contains("/alerts/grafana\"")
    );
}
