//! An answer that never comes, and a run that is over before anybody could know.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    routing::{get, post},
};
use serde_json::json;
use throng_engine::{Load, StopSignals};
use throng_fuzz::{Accounts, Check, Document, Monkey, Settings};
use throng_metrics::Catalog;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    server::serving,
    swarm::of,
    users::{Style, Users},
};

/// What the target does, and what was seen of it.
#[derive(Clone, Default)]
struct Switch {
    /// From now on nothing is answered where it was told that something is broken.
    silent: Arc<AtomicBool>,
    /// Somebody waits for such an answer.
    waited_for: Arc<Notify>,
}

async fn serve(switch: Switch) -> String {
    let boom = async move || {
        if switch.silent.load(Ordering::SeqCst) {
            switch.waited_for.notify_one();
            pending::<()>().await;
        }
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({ "detail": "broken" })),
        )
    };
    let register = async || (StatusCode::CREATED, Json(json!({})));
    let log_in = async || ([(header::SET_COOKIE, "sid=1; Path=/")], Json(json!({})));
    let routes = Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(log_in))
        .route("/boom", get(boom))
        .route("/never", get(async || pending::<StatusCode>().await))
        .route("/fine", get(async || Json(json!({ "fine": true }))));
    serving("/api/v1", routes).await
}

/// A swarm of three on two paths of the target, run for half a second; whoever is in flight then is cut off.
async fn ran(users: &Arc<Users>, path: &str, timeout: Duration) -> Arc<Monkey> {
    let answers = || json!({ "get": { "responses": { "200": { "description": "" } } } });
    let mut paths = serde_json::Map::new();
    for path in [path, "/api/v1/fine"] {
        paths.insert(path.to_owned(), answers());
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "t", "version": "1" },
        "paths": paths,
    });
    let document = Document::load(document.to_string().as_bytes(), "/api/v1").expect("a document");
    let mut sending = users.sending();
    sending.timeout = timeout;
    let settings = Settings::new(sending, 20_261_122);
    let mut catalog = Catalog::default();
    for index in 0..3 {
        catalog.add_user(format!("monkey {index}"));
    }
    let accounts = Arc::clone(users) as Arc<dyn Accounts>;
    let monkey =
        Monkey::new(Arc::new(document), accounts, settings, &mut catalog).expect("a swarm");
    let load = Load {
        users: 3,
        warmup: Duration::ZERO,
        duration: Duration::from_millis(500),
        pause: Duration::ZERO,
        graceful_stop: Duration::ZERO,
        ..Load::default()
    };
    throng_engine::run(
        &load,
        Arc::clone(&monkey),
        Arc::new(catalog),
        Arc::new(()),
        StopSignals::default(),
        |_| {},
    )
    .await;
    monkey
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_ends_when_it_is_given_up_whatever_the_target_does() {
    let switch = Switch::default();
    let users = Users::register(&serve(switch.clone()).await, Style::Cookies, 3).await;
    let hour = Duration::from_secs(3_600);
    let monkey = ran(&users, "/api/v1/boom", hour).await;
    // The next one who asks waits for an hour, if he is let.
    switch.silent.store(true, Ordering::SeqCst);
    let abort = CancellationToken::new();
    let settling = monkey.settle(Duration::from_secs(600), &abort);
    let given_up = async {
        switch.waited_for.notified().await;
        abort.cancel();
    };
    let both = async { tokio::join!(settling, given_up) };
    let both = tokio::time::timeout(Duration::from_secs(60), both).await;
    let (found, ()) = both.expect("it was given up");
    assert_eq!(found.findings.len(), 0, "{found:?}");
    let once = found.seen_once.iter();
    let once: Vec<_> = once.filter(|it| it.check == Check::ServerError).collect();
    assert_eq!(once.len(), 1, "{found:?}");
    assert_eq!((once[0].repeated, once[0].tried), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_found_by_a_run_that_is_shorter_than_it() {
    let users = Users::register(&serve(Switch::default()).await, Style::Cookies, 3).await;
    let monkey = ran(&users, "/api/v1/never", Duration::from_millis(700)).await;
    let never = CancellationToken::new();
    let found = monkey.settle(Duration::from_secs(4), &never).await;
    let hangs = of(&found, Check::Hang);
    assert_eq!(hangs.len(), 1, "{found:?}");
    assert_eq!(hangs[0].operation, "GET /never");
    assert!(hangs[0].repeated > 0, "{:?}", hangs[0]);
}
