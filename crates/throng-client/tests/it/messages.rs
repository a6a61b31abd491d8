//! Messages to one origin: what is sent, and the double-submit cookie.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use throng_client::{Base, Client, DoubleSubmit, Message, TransportFailure};

use crate::{LONG, connector, script::Script};

fn header(request: &str, name: &str) -> Option<String> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

async fn server() -> Script {
    Script::start(|_, mut peer| async move {
        while let Some(request) = peer.request().await {
            let cookies = match request.split(' ').nth(1) {
                Some("/login") => "set-cookie: sid=1; HttpOnly\r\nset-cookie: csrf=first\r\n",
                Some("/again") => "set-cookie: csrf=second\r\n",
                _ => "",
            };
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\n{cookies}content-length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await
}

#[tokio::test]
async fn the_csrf_token_is_the_one_in_the_jar_when_the_request_is_sent() {
    let server = server().await;
    let base = Base::new(&format!("{}/ignored", server.url)).unwrap();
    let client = Client::with_cookies(&connector());
    let csrf = DoubleSubmit {
        cookie: "csrf".to_owned(),
        header: HeaderName::from_static("x-csrf-token"),
    };
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("x-fixed"),
        HeaderValue::from_static("1"),
    )]);
    for (path, double_submit) in [
        ("/login", Some(&csrf)),
        ("/a%20b?c=d", Some(&csrf)),
        ("/again", None),
        ("/", Some(&csrf)),
    ] {
        let message = Message {
            method: &Method::POST,
            path: Bytes::from_static(path.as_bytes()),
            headers: &headers,
            more: &[],
            body: Bytes::from_static(b"x"),
            double_submit,
        };
        let exchange = client.send_to(&base, &message, LONG).await.unwrap();
        assert_eq!(exchange.status, StatusCode::OK);
    }
    let seen = server.seen();
    let tokens: Vec<_> = seen
        .iter()
        .map(|request| header(request, "x-csrf-token"))
        .collect();
    let token = |text: &str| Some(text.to_owned());
    assert_eq!(tokens, [None, token("first"), None, token("second")]);
    assert!(seen[1].starts_with("POST /a%20b?c=d HTTP/1.1\r\n"));
    for request in &seen {
        assert_eq!(header(request, "x-fixed").as_deref(), Some("1"));
        assert_eq!(
            header(request, "host").as_deref(),
            server.url.strip_prefix("http://")
        );
        assert!(header(request, "user-agent").is_some());
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_path_that_is_none_is_no_request() {
    let base = Base::new("http://127.0.0.1:1").unwrap();
    let client = Client::new(&connector());
    for path in ["/a b", "a\u{7f}", "/\n"] {
        let message = Message {
            method: &Method::GET,
            path: Bytes::from_static(path.as_bytes()),
            headers: &HeaderMap::new(),
            more: &[],
            body: Bytes::new(),
            double_submit: None,
        };
        let error = client.send_to(&base, &message, LONG).await.unwrap_err();
        assert!(
            matches!(error.failure(), TransportFailure::Request(_)),
            "{path:?}: {error:?}"
        );
    }
    assert!(Base::new("ftp://host/").is_err());
    assert!(Base::new("/path").is_err());
}
