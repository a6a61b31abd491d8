//! What a tab does and tells, the same for each browser.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;
use throng_browser::{Engine, LoadFailure, TabOptions};

use super::support::{LIMIT, Running, serve, until};

/// Runs a test for each browser.
macro_rules! each {
    ($($name:ident),* $(,)?) => {
        mod chromium { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Chromium).await; })* }
        mod firefox { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Firefox).await; })* }
        mod webkit { $(#[tokio::test] async fn $name() { super::$name(throng_browser::Engine::Webkit).await; })* }
    };
}

each!(
    pages_are_opened_read_and_told_of,
    cookies_are_each_tabs_own,
    what_can_not_be_had_is_told,
    pictures_have_no_secrets,
    requests_can_be_kept_from_being_sent,
    dialogs_hold_nothing_up,
);

fn pages() -> Router {
    let cookies = || async {
        let set = [
            (header::SET_COOKIE, "seen=by-server; Path=/; HttpOnly"),
            (header::CONTENT_TYPE, "text/html"),
        ];
        (set, "<title>Cookies</title><p id=it>set</p>")
    };
    Router::new()
        .route("/", get(|| async { Html("<title>Start</title><p id=it>here</p>") }))
        .route("/away", get(|| async { Redirect::to("/") }))
        .route("/missing", get(|| async { (StatusCode::NOT_FOUND, Html("<title>No</title><p id=it>none</p>")) }))
        .route("/cookies", get(cookies))
        .route("/echo", get(|headers: axum::http::HeaderMap| async move {
            let sent = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
            Html(format!("<title>Echo</title><p id=it>[{}]</p>", sent.unwrap_or_default()))
        }))
        .route("/secrets", get(|| async {
            Html("<title>Secrets</title><form><input id=name value='alice'><input id=pass type=password value='pa55-w0rd'>\
                  <textarea id=area>it is pa55-w0rd</textarea></form><p id=it>code aZ3dEfGhIjKlMnOpQrStUvWxYz and pa55-w0rd</p>")
        }))
        .route("/dialog", get(|| async {
            Html("<title>Dialog</title><script>alert('Careful!'); document.title = 'After';</script><p id=it>on</p>")
        }))
        .route("/leave", get(|| async { Redirect::to("http://app.invalid/callback?code=c0de&state=1").into_response() }))
}

const TEXT: &str = "(document.getElementById('it')?.textContent ?? null)";

async fn pages_are_opened_read_and_told_of(engine: Engine) {
    let (running, base) = (Running::start(engine).await, serve(pages()).await);
    let mut tab = running.tab().await;
    tab.open(&format!("{base}/away")).await.unwrap();
    assert_eq!(until(&mut tab, TEXT).await, "here");
    assert_eq!(tab.evaluate("document.title").await.unwrap(), "Start");
    assert_eq!(
        tab.evaluate("[1, { a: null }]").await.unwrap().to_string(),
        r#"[1,{"a":null}]"#
    );
    assert!(tab.evaluate("nothing.at.all").await.is_err());
    if engine != Engine::Webkit {
        let told: Vec<_> = tab
            .visits()
            .iter()
            .map(|visit| (visit.url.clone(), visit.status))
            .collect();
        assert_eq!(
            told,
            [
                (format!("{base}/away"), Some(303)),
                (format!("{base}/"), Some(200))
            ]
        );
    }
    tab.open(&format!("{base}/missing")).await.unwrap();
    assert_eq!(
        until(&mut tab, &format!("document.title === 'No' && {TEXT}")).await,
        "none"
    );
    tab.close().await.unwrap();
    running.end().await;
}

async fn cookies_are_each_tabs_own(engine: Engine) {
    let (running, base) = (Running::start(engine).await, serve(pages()).await);
    let (mut one, mut other) = (running.tab().await, running.tab().await);
    one.open(&format!("{base}/cookies")).await.unwrap();
    assert_eq!(until(&mut one, TEXT).await, "set");
    other.open(&format!("{base}/echo")).await.unwrap();
    assert_eq!(until(&mut other, TEXT).await, "[]");
    one.open(&format!("{base}/echo")).await.unwrap();
    assert_eq!(
        until(&mut one, &format!("document.title === 'Echo' && {TEXT}")).await,
        "[seen=by-server]"
    );
    let cookies = one.cookies().await.unwrap();
    assert_eq!(cookies.len(), 1);
    assert_eq!(
        (&*cookies[0].name, &*cookies[0].value, cookies[0].http_only),
        ("seen", "by-server", true)
    );
    assert!(other.cookies().await.unwrap().is_empty());
    one.close().await.unwrap();
    other.close().await.unwrap();
    // Nor does a later one find them.
    let mut later = running.tab().await;
    later.open(&format!("{base}/echo")).await.unwrap();
    assert_eq!(until(&mut later, TEXT).await, "[]");
    later.close().await.unwrap();
    running.end().await;
}

async fn what_can_not_be_had_is_told(engine: Engine) {
    let running = Running::start(engine).await;
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut tab = running.tab().await;
    tab.open(&format!("http://127.0.0.1:{port}/"))
        .await
        .unwrap();
    if !tab.tells_all() {
        assert_eq!(tab.evaluate("location.href").await.unwrap(), "about:blank");
        tab.close().await.unwrap();
        return running.end().await;
    }
    let failed = async {
        loop {
            if let Some(failure) = tab.failure() {
                return failure;
            }
            tab.changed(Duration::from_millis(50)).await;
        }
    };
    let failure = tokio::time::timeout(LIMIT, failed)
        .await
        .expect("it is told");
    assert!(matches!(failure, LoadFailure::Connection(_)), "{failure:?}");
    tab.close().await.unwrap();
    running.end().await;
}

async fn pictures_have_no_secrets(engine: Engine) {
    let (running, base) = (Running::start(engine).await, serve(pages()).await);
    let mut tab = running.tab().await;
    tab.open(&format!("{base}/secrets")).await.unwrap();
    until(&mut tab, TEXT).await;
    let picture = tab.picture(&["pa55-w0rd"]).await.unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    // What was pictured is what the page has now.
    let shown = "[it.textContent, document.getElementById('pass').value, document.getElementById('name').value, area.value]";
    let shown = tab.evaluate(shown).await.unwrap();
    assert_eq!(
        shown.to_string(),
        r#"["code … and [secret]","","alice","it is [secret]"]"#
    );
    tab.close().await.unwrap();
    running.end().await;
}

async fn requests_can_be_kept_from_being_sent(engine: Engine) {
    let (running, base) = (Running::start(engine).await, serve(pages()).await);
    let wanted = TabOptions {
        intercept: Some("http://app.invalid/callback".to_owned()),
    };
    if engine == Engine::Webkit {
        let error = running.browser.tab(&wanted).await.unwrap_err().to_string();
        assert!(error.contains("take another browser"), "{error}");
        return running.end().await;
    }
    let mut tab = running.browser.tab(&wanted).await.unwrap();
    tab.open(&format!("{base}/leave")).await.unwrap();
    let kept = async {
        loop {
            if let Some(kept) = tab.intercepted() {
                return kept;
            }
            tab.changed(Duration::from_millis(50)).await;
        }
    };
    let kept = tokio::time::timeout(LIMIT, kept).await.expect("it is kept");
    assert_eq!(kept.url, "http://app.invalid/callback?code=c0de&state=1");
    tab.close().await.unwrap();
    running.end().await;
}

async fn dialogs_hold_nothing_up(engine: Engine) {
    let (running, base) = (Running::start(engine).await, serve(pages()).await);
    let mut tab = running.tab().await;
    tab.open(&format!("{base}/dialog")).await.unwrap();
    assert_eq!(
        until(&mut tab, &format!("document.title === 'After' && {TEXT}")).await,
        "on"
    );
    if engine != Engine::Webkit {
        assert_eq!(tab.dialogs(), ["Careful!"]);
    }
    tab.close().await.unwrap();
    running.end().await;
}
