//! The server that plain HTTP clients are measured against: it takes a JSON body and answers with some 200 bytes of
//! JSON, on one thread, in a process of its own. Users register and log in as they would with any web application, and
//! it sets the cookies of a session and of a CSRF token; but it believes everybody, since what checking costs isn't
//! what is measured.
//!
//! `GET /calls` answers with the number of posts to `/echo` that were answered.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Brings the answer to about 200 bytes.
const FILLER: &str = "a reply is usually longer than what was asked: names, times, links, and the state of something";

type Calls = Arc<AtomicU64>;

/// Serve until killed; the first line of the standard output is the URL.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(serve())
}

async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .context("no port")?;
    println!("http://{}", listener.local_addr().context("no address")?);
    let router = Router::new()
        .route("/echo", post(echo))
        .route("/register", post(async || Json(json!({}))))
        .route("/login", post(login))
        .route(
            "/calls",
            get(async |State(calls): State<Calls>| calls.load(Ordering::Relaxed).to_string()),
        )
        .with_state(Calls::default());
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router)
        .await
        .context("the server ended")
}

async fn echo(State(calls): State<Calls>, Json(body): Json<Value>) -> Json<Value> {
    let id = calls.fetch_add(1, Ordering::Relaxed) + 1;
    Json(json!({"id": id, "text": body["text"], "filler": FILLER}))
}

async fn login() -> impl IntoResponse {
    const COOKIE: HeaderName = header::SET_COOKIE;
    let cookies = AppendHeaders([
        (
            COOKIE,
            "session=8a7c1f5e6d2b4c3a9f0e1d2c3b4a5968; Path=/; HttpOnly; SameSite=Strict",
        ),
        (
            COOKIE,
            "csrf_token=1b2c3d4e5f60718293a4b5c6d7e8f901; Path=/; SameSite=Strict",
        ),
    ]);
    (cookies, Json(json!({})))
}
