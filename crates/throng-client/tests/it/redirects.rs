//! Redirects, followed on request only.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use throng_client::{Base, Client, Message, TransportFailure};

use crate::{LONG, connector, script::Script};

/// Redirects `/STATUS/REST` to `/REST`, or with `?to=URL` there; `/loop` to itself; answers everything else.
async fn server() -> Script {
    Script::start(|_, mut peer| async move {
        while let Some(request) = peer.request().await {
            let path = request.split(' ').nth(1).expect("a path").to_owned();
            let head = match path.split('/').nth(1) {
                Some("loop") => "307 Again\r\nlocation: loop\r\n".to_owned(),
                Some("nowhere") => "302 Found\r\nlocation: mailto:a@b\r\n".to_owned(),
                Some(status) if status.parse::<u16>().is_ok() => {
                    let to = match path.split_once("?to=") {
                        Some((_, url)) => url,
                        None => &path[4..],
                    };
                    format!(
                        "{status} Moved\r\nlocation: {to}\r\nset-cookie: at{status}=1; Path=/\r\n"
                    )
                }
                _ => "200 OK\r\n".to_owned(),
            };
            peer.send(&format!("HTTP/1.1 {head}content-length: 0\r\n\r\n"))
                .await;
        }
    })
    .await
}

async fn follow(
    server: &Script,
    method: Method,
    path: &str,
) -> Result<throng_client::Followed, throng_client::TransportError> {
    let base = Base::new(&server.url).unwrap();
    let mut secret = HeaderValue::from_static("s3cr3t");
    secret.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
        (HeaderName::from_static("x-key"), secret),
        (
            HeaderName::from_static("x-csrf-token"),
            HeaderValue::from_static("s3cr3t"),
        ),
        (
            HeaderName::from_static("traceparent"),
            HeaderValue::from_static("00-1-2-01"),
        ),
    ]);
    if path.contains("?to=") {
        // Of the message, in place of those of the jar.
        headers.insert(header::COOKIE, HeaderValue::from_static("sid=s3cr3t"));
    }
    let message = Message {
        method: &method,
        path: Bytes::copy_from_slice(path.as_bytes()),
        headers: &headers,
        more: &[],
        body: Bytes::from_static(b"body"),
        double_submit: None,
    };
    let client = Client::with_cookies(&connector());
    client.send_following(&base, &message, LONG, 3).await
}

#[tokio::test]
async fn the_method_changes_as_in_browsers() {
    for (status, method, expected) in [
        (301, Method::POST, "GET"),
        (302, Method::POST, "GET"),
        (303, Method::POST, "GET"),
        (303, Method::PUT, "GET"),
        (307, Method::POST, "POST"),
        (308, Method::POST, "POST"),
        (302, Method::PUT, "PUT"),
        (301, Method::GET, "GET"),
    ] {
        let server = server().await;
        let done = follow(&server, method, &format!("/{status}/end?q=1"))
            .await
            .unwrap();
        assert_eq!((done.exchange.status, done.redirects), (StatusCode::OK, 1));
        let seen = server.seen();
        let last = &seen[1];
        assert!(
            last.starts_with(&format!("{expected} /end?q=1 HTTP/1.1\r\n")),
            "{status}: {last}"
        );
        assert_eq!(
            last.ends_with("body"),
            expected != "GET" || status == 301 && seen[0].starts_with("GET"),
            "{last}"
        );
        assert!(last.contains(&format!("cookie: at{status}=1")), "{last}");
        assert_eq!(
            done.exchange.sent as usize,
            seen.iter().map(String::len).sum::<usize>()
        );
    }
}

#[tokio::test]
async fn secrets_stay_with_their_origin() {
    let (here, there) = (server().await, server().await);
    let path = format!("/307/?to={}/other", there.url);
    let done = follow(&here, Method::POST, &path).await.unwrap();
    assert_eq!(done.redirects, 1);
    assert!(here.seen()[0].contains("x-key: s3cr3t"));
    assert!(here.seen()[0].contains("cookie: sid=s3cr3t"));
    let other = there.seen().remove(0);
    assert!(other.starts_with("POST /other HTTP/1.1\r\n"), "{other}");
    assert!(!other.contains("s3cr3t"), "{other}");
    assert!(other.contains("content-type: text/plain"), "{other}");
    assert!(other.contains("traceparent: 00-1-2-01"), "{other}");
    assert!(other.ends_with("body"), "{other}");
}

#[tokio::test]
async fn what_leads_nowhere_is_the_answer_and_a_loop_an_error() {
    let server = server().await;
    let done = follow(&server, Method::GET, "/nowhere").await.unwrap();
    assert_eq!(
        (done.exchange.status, done.redirects),
        (StatusCode::FOUND, 0)
    );
    let error = follow(&server, Method::GET, "/loop").await.unwrap_err();
    assert!(
        matches!(
            error.failure(),
            TransportFailure::TooManyRedirects { limit: 3 }
        ),
        "{error:?}"
    );
    assert_eq!(server.seen().len(), 5);
}
