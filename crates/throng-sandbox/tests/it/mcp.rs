//! The MCP server: who may call it, what its tools answer, and what the journal says of it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use throng_sandbox::{Knobs, McpAuth, NextcloudConfig, NextcloudSandbox, Outcome, ScopeErrors};

use crate::http::{Answer, Call};
use crate::support::{Application, Http, PASSWORD, sandbox, tokens};

const ALL_SCOPES: &str = "openid profile email notes.read notes.write files.read files.write \
                          sharing.write calendar.read";

/// An open session of one user.
struct Session {
    url: String,
    authorization: Option<String>,
    id: String,
    /// Every request of a session has an id of its own.
    next: AtomicU64,
}

impl Session {
    async fn open(sandbox: &NextcloudSandbox, token: Option<&str>) -> Self {
        let mut session = Self {
            url: sandbox.mcp_url().to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            id: String::new(),
            next: AtomicU64::new(1),
        };
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = session.post("initialize", params).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        session.id = answer.header("mcp-session-id").to_owned();
        let message = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.message(&message).send().await.status, 202);
        session
    }

    fn message(&self, message: &Value) -> Call {
        let mut call = Call::new("POST", &self.url)
            .header("accept", "application/json, text/event-stream")
            .header("baggage", "throng.step=flow%2Fstep,throng.phase=measured");
        if let Some(authorization) = &self.authorization {
            call = call.header("authorization", authorization);
        }
        if !self.id.is_empty() {
            call = call
                .header("mcp-session-id", &self.id)
                .header("mcp-protocol-version", "2025-06-18");
        }
        call.json(message)
    }

    fn post(&self, method: &str, params: Value) -> Call {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.message(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    }

    async fn request(&self, method: &str, params: Value) -> Value {
        reply(&self.post(method, params).send().await)
    }

    /// The tool's result, `isError` or not.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.request("tools/call", params).await["result"].clone()
    }

    /// The structured content of a call that succeeds.
    async fn done(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].clone()
    }

    /// The text of a call that fails.
    async fn failed(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert!(result["structuredContent"].is_null());
        text(&result).to_owned()
    }

    /// The JSON in the text that share tools answer.
    async fn shared(&self, tool: &str, arguments: Value) -> Value {
        let done = self.done(tool, arguments).await;
        serde_json::from_str(done["result"].as_str().expect("a text")).expect("JSON in it")
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

/// The JSON-RPC message of an answer.
fn reply(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let data = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.unwrap_or(&answer.body)).expect("a message")
}

async fn open_sandbox() -> (NextcloudSandbox, Session) {
    let mut config = NextcloudConfig::default();
    config.mcp.auth = McpAuth::Open {
        user: "alice".to_owned(),
    };
    let sandbox = NextcloudSandbox::start(config).await.expect("a sandbox");
    let session = Session::open(&sandbox, None).await;
    (sandbox, session)
}

/// A token for the MCP server, of a user who is created for it.
async fn token_of(sandbox: &NextcloudSandbox, user: &'static str, scope: &'static str) -> String {
    create_user(sandbox, user).await;
    let mut http = Http::new(sandbox);
    http.login = (user, PASSWORD);
    let mut application = Application::register(&mut http, json!({ "scope": scope })).await;
    application.scope = scope;
    application.resource = Some(sandbox.mcp_url().to_owned());
    let tokens = tokens(&mut http, &application).await;
    tokens["access_token"].as_str().expect("a token").to_owned()
}

async fn create_user(sandbox: &NextcloudSandbox, user: &str) {
    let answer = Call::new("POST", &format!("{}/ocs/v2.php/cloud/users", sandbox.url()))
        .basic("admin", PASSWORD)
        .header("ocs-apirequest", "true")
        .form(&[("userid", user), ("password", PASSWORD)])
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn app_password_url(sandbox: &NextcloudSandbox, user: &str) -> String {
    let origin = sandbox.mcp_url().trim_end_matches("/mcp");
    format!("{origin}/api/v1/users/{user}/app-password")
}

/// An app password of a user, from Nextcloud.
async fn app_password(sandbox: &NextcloudSandbox, user: &str) -> String {
    let path = "/ocs/v2.php/core/getapppassword?format=json";
    let answer = Call::new("GET", &format!("{}{path}", sandbox.url()))
        .basic(user, PASSWORD)
        .header("ocs-apirequest", "true")
        .send()
        .await;
    let data = &answer.json()["ocs"]["data"];
    data["apppassword"].as_str().expect("a password").to_owned()
}

async fn provision(sandbox: &NextcloudSandbox, user: &str) {
    let password = app_password(sandbox, user).await;
    let call = Call::new("POST", &app_password_url(sandbox, user)).basic(user, &password);
    let answer = call.send().await;
    assert_eq!(
        answer.json(),
        json!({"success": true, "message": format!("App password stored for {user}"), "scopes": null})
    );
}

#[tokio::test]
async fn without_a_token_a_client_learns_where_to_get_one() {
    let sandbox = sandbox(|_| {}).await;
    let answer = Call::new("POST", sandbox.mcp_url())
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").to_owned();
    let (_, metadata) = challenge
        .split_once("resource_metadata=\"")
        .expect("metadata");
    let metadata = metadata.trim_end_matches('"');
    let document = Call::new("GET", metadata).send().await.json();
    assert_eq!(document["resource"], sandbox.mcp_url());
    assert_eq!(document["authorization_servers"], json!([sandbox.url()]));
    let scopes = document["scopes_supported"].as_array().expect("a list");
    assert!(scopes.contains(&json!("notes.write")), "{document}");
    let below = Call::new("GET", &format!("{metadata}/mcp"))
        .send()
        .await
        .json();
    assert_eq!(below, document);
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut http = Http::new(&sandbox);
    let application = Application::register(&mut http, json!({})).await;
    let tokens = tokens(&mut http, &application).await;
    let token = tokens["access_token"].as_str().expect("a token");
    let answer = Call::new("POST", sandbox.mcp_url())
        .header("authorization", &format!("Bearer {token}"))
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn tools_need_an_app_password_that_is_given_headless() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let token = token_of(&sandbox, "alice", ALL_SCOPES).await;
    let session = Session::open(&sandbox, Some(&token)).await;
    let failed = session
        .failed("nc_notes_search_notes", json!({ "query": "" }))
        .await;
    assert!(failed.contains("not provisioned"), "{failed}");

    let url = app_password_url(&sandbox, "alice");
    let post = |user: &str, password: &str| Call::new("POST", &url).basic(user, password).send();
    assert_eq!(Call::new("POST", &url).send().await.status, 401);
    assert_eq!(
        post("bob", "x").await.status,
        403,
        "not the user of the path"
    );
    let login_password = post("alice", PASSWORD).await;
    assert_eq!(
        (
            login_password.status.as_u16(),
            login_password.json()["success"].clone()
        ),
        (400, json!(false))
    );
    assert_eq!(
        post("alice", "abcdefghijklmnopqrstuvwxyz").await.status,
        401
    );
    provision(&sandbox, "alice").await;
    session
        .done("nc_notes_search_notes", json!({ "query": "" }))
        .await;

    let password = app_password(&sandbox, "alice").await;
    let status = Call::new("GET", &url)
        .basic("alice", &password)
        .send()
        .await;
    assert_eq!(status.json()["has_app_password"], true);
    // Two failures and one success so far; the sixth attempt of an hour is refused.
    for _ in 0..2 {
        assert_eq!(post("alice", &password).await.status, 200);
    }
    let limited = post("alice", &password).await;
    assert_eq!(limited.status, 429);
    assert!(
        limited
            .header("retry-after")
            .parse::<u64>()
            .expect("seconds")
            > 3500
    );
}

#[tokio::test]
async fn a_missing_scope_is_a_tool_error_and_hides_the_tool() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let token = token_of(&sandbox, "alice", "openid notes.write").await;
    provision(&sandbox, "alice").await;
    let session = Session::open(&sandbox, Some(&token)).await;
    let listed = session.request("tools/list", json!({})).await;
    let tools = listed["result"]["tools"]
        .as_array()
        .expect("a list")
        .clone();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "nc_notes_create_note",
            "nc_notes_update_note",
            "nc_notes_append_content",
            "nc_notes_delete_note"
        ]
    );
    let failed = session
        .failed("nc_notes_get_note", json!({ "note_id": 1 }))
        .await;
    assert!(
        failed.contains("Missing required scopes: notes.read"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_missing_scope_can_be_a_challenge() {
    let sandbox = sandbox(|config| {
        config.consent = false;
        config.mcp.scope_errors = ScopeErrors::Forbidden;
        config.mcp.require_app_password = false;
    })
    .await;
    let token = token_of(&sandbox, "alice", "openid notes.write").await;
    let session = Session::open(&sandbox, Some(&token)).await;
    let params = json!({ "name": "nc_notes_get_note", "arguments": { "note_id": 1 } });
    let answer = session.post("tools/call", params).send().await;
    assert_eq!(answer.status, 403);
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\", scope=\"notes.read\""),
        "{challenge}"
    );
    let note = json!({ "title": "T", "content": "", "category": "" });
    session.done("nc_notes_create_note", note).await;
}

#[tokio::test]
async fn notes_are_written_read_appended_to_and_deleted() {
    let (_sandbox, alice) = open_sandbox().await;
    let note = json!({ "title": "T1", "content": "one", "category": "C" });
    let created = alice.done("nc_notes_create_note", note).await;
    let mut keys: Vec<_> = created.as_object().expect("an object").keys().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "category",
            "etag",
            "id",
            "success",
            "timestamp",
            "title",
            "url"
        ]
    );
    let id = &created["id"];

    let appended = alice
        .done(
            "nc_notes_append_content",
            json!({ "note_id": id, "content": "two" }),
        )
        .await;
    assert_ne!(appended["etag"], created["etag"]);
    let read = alice
        .done("nc_notes_get_note", json!({ "note_id": id }))
        .await;
    assert_eq!(read["content"], "one\n---\ntwo");
    let mut keys: Vec<_> = read.as_object().expect("an object").keys().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "category", "content", "etag", "favorite", "id", "modified", "readonly", "title", "url"
        ]
    );
    let update = |etag: &Value| json!({ "note_id": id, "etag": etag, "title": null, "content": "new", "category": null });
    let stale = alice
        .failed("nc_notes_update_note", update(&created["etag"]))
        .await;
    assert_eq!(
        stale,
        format!("Note {id} has been modified by someone else. Please refresh and try again.")
    );
    alice
        .done("nc_notes_update_note", update(&read["etag"]))
        .await;
    let found = alice
        .done("nc_notes_search_notes", json!({ "query": "t1 NEW" }))
        .await;
    assert_eq!(
        (&found["total_found"], &found["results"][0]["score"]),
        (&json!(1), &json!(2.0))
    );

    let deleted = alice
        .done("nc_notes_delete_note", json!({ "note_id": id }))
        .await;
    assert_eq!(deleted["deleted_id"], *id);
    let gone = alice
        .failed("nc_notes_get_note", json!({ "note_id": id }))
        .await;
    assert_eq!(gone, format!("Note {id} not found"));
}

#[tokio::test]
async fn a_shared_note_is_read_as_a_file() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let mut sessions = Vec::new();
    for user in ["alice", "bob"] {
        let token = token_of(&sandbox, user, ALL_SCOPES).await;
        provision(&sandbox, user).await;
        sessions.push(Session::open(&sandbox, Some(&token)).await);
    }
    let [alice, bob] = &sessions[..] else {
        panic!("two sessions");
    };
    let note = json!({ "title": "T1", "content": "text", "category": "C" });
    let note = alice.done("nc_notes_create_note", note).await;
    let new = json!({ "path": "/Notes/C/T1.md", "share_with": "bob" });
    let share = alice.shared("nc_share_create", new).await;
    assert!(
        share["id"].is_string() && share["permissions"] == 1,
        "{share}"
    );
    assert_eq!(share["item_source"], note["id"]);
    let mine = bob
        .shared("nc_share_list", json!({ "shared_with_me": true }))
        .await;
    assert_eq!(mine[0]["file_target"], "/T1.md");

    let by_id = bob
        .failed("nc_notes_get_note", json!({ "note_id": note["id"] }))
        .await;
    assert!(by_id.ends_with("not found"), "{by_id}");
    let read = bob
        .done("nc_webdav_read_file", json!({ "path": "/T1.md" }))
        .await;
    assert_eq!(
        (&read["content"], &read["size"]),
        (&json!("text"), &json!(4))
    );
    let write = json!({ "path": "/T1.md", "content": "by bob", "if_match": read["etag"] });
    let refused = bob.failed("nc_webdav_write_file", write.clone()).await;
    assert!(refused.contains("(HTTP 403)"), "{refused}");
    // The id is a string in the answer, and a number among the arguments: either is taken.
    let raise = json!({ "share_id": share["id"], "permissions": 3 });
    alice.shared("nc_share_update", raise).await;
    let written = bob.done("nc_webdav_write_file", write).await;
    assert_eq!(
        (&written["status_code"], &written["created"]),
        (&json!(204), &json!(false))
    );
    let read = alice
        .done("nc_notes_get_note", json!({ "note_id": note["id"] }))
        .await;
    assert_eq!(read["content"], "by bob");
    alice
        .shared("nc_share_delete", json!({ "share_id": share["id"] }))
        .await;
    let gone = bob
        .failed("nc_webdav_read_file", json!({ "path": "/T1.md" }))
        .await;
    assert!(gone.contains("(HTTP 404)"), "{gone}");
}

#[tokio::test]
async fn files_and_the_rest() {
    let (_sandbox, alice) = open_sandbox().await;
    let write = json!({ "path": "/f.txt", "content": "text" });
    let written = alice.done("nc_webdav_write_file", write.clone()).await;
    assert_eq!(
        (&written["created"], &written["size"]),
        (&json!(true), &json!(4))
    );
    let again = alice.failed("nc_webdav_write_file", write).await;
    assert!(again.contains("File already exists"), "{again}");
    let listed = alice.done("nc_webdav_list_directory", json!({})).await;
    assert_eq!(
        (&listed["total_count"], &listed["files"][0]["name"]),
        (&json!(1), &json!("f.txt"))
    );
    let remove = json!({ "path": "/f.txt" });
    let removed = alice
        .call("nc_webdav_delete_resource", remove.clone())
        .await;
    assert_eq!(text(&removed), "{\"status_code\":204}");
    let missing = alice.call("nc_webdav_delete_resource", remove).await;
    assert_eq!(
        (text(&missing), &missing["isError"]),
        ("{\"status_code\":404}", &json!(false))
    );

    let calendars = alice.done("nc_calendar_list_calendars", json!({})).await;
    assert_eq!(calendars["calendars"][0]["name"], "personal");
    let boards = alice.failed("deck_get_boards", json!({})).await;
    assert!(boards.contains("'deck' app is not installed"), "{boards}");
    assert_eq!(
        alice.failed("nc_webdav_list", json!({})).await,
        "Unknown tool: nc_webdav_list"
    );
    let bare = alice.failed("nc_notes_get_note", json!({})).await;
    assert!(bare.contains("note_id\n  Field required"), "{bare}");
    let read = alice
        .request("resources/read", json!({ "uri": "nc://capabilities" }))
        .await;
    let document = read["result"]["contents"][0]["text"]
        .as_str()
        .expect("a text");
    let document: Value = serde_json::from_str(document).expect("JSON");
    assert!(document["ocs"]["data"]["capabilities"]["notes"].is_object());
}

#[tokio::test]
async fn concurrent_appends_are_all_kept_unless_a_knob_loses_them() {
    let (sandbox, alice) = open_sandbox().await;
    let note = json!({ "title": "T", "content": "begin", "category": "" });
    let id = alice.done("nc_notes_create_note", note).await["id"].clone();
    let append = |text: String| {
        let (alice, id) = (&alice, &id);
        async move {
            let arguments = json!({ "note_id": id, "content": text });
            alice.done("nc_notes_append_content", arguments).await
        }
    };
    futures_util::future::join_all((0..20).map(|number| append(format!("part {number};")))).await;
    let content = async || {
        let read = alice
            .done("nc_notes_get_note", json!({ "note_id": id }))
            .await;
        read["content"].as_str().expect("a text").to_owned()
    };
    let kept = content().await;
    for number in 0..20 {
        assert!(kept.contains(&format!("part {number};")), "{number}");
    }

    let knobs = Knobs {
        lost_appends: 1.0,
        ..Knobs::default()
    };
    sandbox.knobs().set(knobs).expect("valid knobs");
    append("never written".to_owned()).await;
    assert_eq!(content().await, kept);
    let entries = sandbox.journal().entries();
    let lost: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.planted.as_ref()?.error.clone())
        .collect();
    assert_eq!(lost, ["lost_append"]);
}

#[tokio::test]
async fn the_journal_knows_who_called_which_tool_and_how_it_ended() {
    let sandbox = sandbox(|config| config.consent = false).await;
    let token = token_of(&sandbox, "alice", ALL_SCOPES).await;
    provision(&sandbox, "alice").await;
    let alice = Session::open(&sandbox, Some(&token)).await;
    sandbox.journal().clear();
    alice
        .done("nc_notes_search_notes", json!({ "query": "" }))
        .await;
    alice
        .failed("nc_notes_get_note", json!({ "note_id": 1 }))
        .await;
    let odd = alice.request("tools/call", json!({ "arguments": 1 })).await;
    assert!(odd["error"].is_object(), "{odd}");
    let entries = sandbox.journal().entries();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry.rpc_method.as_deref(), Some("tools/call"));
            assert_eq!(entry.user.as_deref(), Some("alice"));
            assert_eq!(entry.baggage["throng.step"], "flow/step");
            assert_eq!((entry.status, &*entry.route), (200, "/mcp"));
            (entry.tool.as_deref(), entry.outcome)
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some("nc_notes_search_notes"), Outcome::Ok),
            (Some("nc_notes_get_note"), Outcome::ToolError),
            (None, Outcome::RpcError),
        ]
    );
}

#[tokio::test]
async fn the_stateless_era_needs_no_session() {
    let (sandbox, _) = open_sandbox().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": { "name": "nc_notes_search_notes", "arguments": { "query": "" }, "_meta": meta },
    });
    let answer = Call::new("POST", sandbox.mcp_url())
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "nc_notes_search_notes")
        .json(&message)
        .send()
        .await;
    let result = reply(&answer)["result"].clone();
    assert_eq!(
        (&result["resultType"], &result["isError"]),
        (&json!("complete"), &json!(false))
    );
    let entries = sandbox.journal().entries();
    let last = entries.last().expect("an entry");
    assert_eq!(
        (last.tool.as_deref(), last.outcome),
        (Some("nc_notes_search_notes"), Outcome::Ok)
    );
}

#[tokio::test]
async fn the_trap_asks_and_waits_until_it_is_answered() {
    let sandbox = sandbox(|config| {
        config.consent = false;
        config.mcp.elicit_app_password = true;
    })
    .await;
    let token = token_of(&sandbox, "alice", ALL_SCOPES).await;
    let alice = Session::open(&sandbox, Some(&token)).await;
    let params = json!({ "name": "nc_notes_search_notes", "arguments": { "query": "" } });
    let mut stream = alice.post("tools/call", params).open().await;
    let mut seen = String::new();
    while !seen.contains("elicitation/create") {
        seen.push_str(&stream.next().await.expect("the question comes"));
    }
    let question = seen
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .expect("data");
    let question: Value = serde_json::from_str(question).expect("a message");
    let error = json!({ "code": -32601, "message": "not supported" });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "error": error });
    assert_eq!(alice.message(&answer).send().await.status, 202);
    while let Some(text) = stream.next().await {
        seen.push_str(&text);
    }
    assert!(
        seen.contains("not provisioned") && seen.contains("\"isError\":true"),
        "{seen}"
    );
}
