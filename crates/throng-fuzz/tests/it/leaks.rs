//! A server that tells secrets, in each place that a report quotes: none of them gets into one.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use throng_fuzz::Check;

use crate::{
    server::serving,
    swarm::{of, run},
    users::{Style, Users},
};

/// The sessions that were ever opened; none of them ends.
type Sessions = Arc<Mutex<Vec<String>>>;

#[expect(
    clippy::result_large_err,
    reason = "an answer of a handler of a test may be large"
)]
fn known(sessions: &Sessions, headers: &HeaderMap) -> Result<String, Response> {
    let cookies = headers
        .get(header::COOKIE)
        .and_then(|value| value.to_str().ok());
    let mut cookies = cookies.unwrap_or_default().split("; ");
    let session = cookies.find_map(|cookie| cookie.strip_prefix("sid="));
    let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let known = session.filter(|session| sessions.iter().any(|it| it == session));
    let refused = || (StatusCode::UNAUTHORIZED, Json(json!({}))).into_response();
    known.map(str::to_owned).ok_or_else(refused)
}

async fn serve() -> (String, Sessions) {
    let sessions = Sessions::default();
    let log_in = async |State(sessions): State<Sessions>| {
        let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = format!("opened-{:08}-abcdefgh", sessions.len() * 7_919);
        let cookie = format!("sid={session}; Path=/");
        sessions.push(session);
        ([(header::SET_COOKIE, cookie)], Json(json!({})))
    };
    let log_out = async |State(sessions): State<Sessions>, headers: HeaderMap| {
        let session = known(&sessions, &headers)?;
        let gone = [(header::SET_COOKIE, "sid=; Path=/; Max-Age=0")];
        Ok::<_, Response>((gone, Json(json!({ "ended": session, "size": "large" }))))
    };
    let boom = async |State(sessions): State<Sessions>, headers: HeaderMap| {
        let session = known(&sessions, &headers)?;
        let detail = format!("cannot load session {session} \u{1b}[31mred");
        let body = Json(json!({ "detail": detail }));
        Ok::<_, Response>((StatusCode::INTERNAL_SERVER_ERROR, body))
    };
    let me = async |State(sessions): State<Sessions>, headers: HeaderMap| {
        known(&sessions, &headers)?;
        Ok::<_, Response>(Json(json!({ "name": "somebody" })))
    };
    let token = async || Json(json!({ "token": "tok-0a1b2c3d4e5f", "size": "large" }));
    let register = async || (StatusCode::CREATED, Json(json!({})));
    let routes = Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/boom", get(boom))
        .route("/me", get(me))
        .route("/tokens", post(token))
        .with_state(Arc::clone(&sessions));
    let origin = serving("/api/v1", routes).await;
    (origin, sessions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_an_answer_gets_into_a_report() {
    let (origin, sessions) = serve().await;
    let users = Users::register(&origin, Style::Cookies, 2).await;
    let any = json!({ "application/json": { "schema": { "type": "object" } } });
    let size = json!({ "application/json": { "schema": {
        "type": "object", "properties": { "size": { "type": "integer" } },
    } } });
    let one = |method: &str, content: &serde_json::Value| {
        let responses = json!({
            "200": { "description": "ok", "content": content },
            "4XX": { "description": "no" },
        });
        json!({ method: { "security": [{ "cookie": [] }], "responses": responses } })
    };
    let document = json!({
        "openapi": "3.1.0",
        "paths": {
            "/api/v1/me": one("get", &any),
            "/api/v1/logout": one("post", &size),
            "/api/v1/boom": one("get", &any),
            "/api/v1/tokens": one("post", &size),
        },
    });
    let run = run(&users, document.to_string().as_bytes(), 60, |_| {}).await;
    let found = &run.found;
    for check in [
        Check::ServerError,
        Check::SessionAfterLogout,
        Check::BodyAgainstSchema,
    ] {
        assert!(!of(found, check).is_empty(), "{check} in {found}");
    }
    let all = serde_json::to_string(found).expect("JSON");
    let scripts = found.findings.iter().map(|it| it.curl.as_str());
    let all = format!("{all}\n{found}\n{}", scripts.collect::<String>());
    // Its digits left out, it's most of a secret still.
    assert!(!all.contains("opened-"), "{all}");
    assert!(!all.contains("tok-"), "{all}");
    for finding in &found.findings {
        let quoted = format!("{}{}{}", finding.message, finding.answer, finding.curl);
        assert!(!quoted.contains('\u{1b}'), "{quoted:?}");
    }
    assert!(
        all.contains(r#"{\"ended\":\"***\",\"size\":\"large\"}"#),
        "{all}"
    );
    let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(sessions.len() > 2);
}
