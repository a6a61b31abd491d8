//! Cookie jars: one per identity.

use throng_client::{
    Client,
    cookies::{Jar, strike_out},
};
use url::Url;

use crate::{LONG, connector, get, script::Script};

async fn server() -> Script {
    Script::start(|_, mut peer| async move {
        while let Some(request) = peer.request().await {
            let cookies = if request.starts_with("GET /login") {
                "set-cookie: sid=s3cr3t; Path=/; HttpOnly\r\nset-cookie: area=x; Path=/area\r\n"
            } else if request.starts_with("GET /logout") {
                "set-cookie: sid=; Path=/; Max-Age=0\r\n"
            } else if request.starts_with("GET /foreign") {
                "set-cookie: evil=1; Domain=example.com\r\nset-cookie: tls=1; Secure\r\n"
            } else {
                ""
            };
            peer.send(&format!(
                "HTTP/1.1 302 Found\r\n{cookies}content-length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await
}

fn cookie(request: &str) -> Option<String> {
    let line = request
        .lines()
        .find(|line| line.to_lowercase().starts_with("cookie:"))?;
    Some(line[7..].trim().to_owned())
}

#[tokio::test]
async fn cookies_come_back_to_their_path_until_they_end() {
    let server = server().await;
    let client = Client::with_cookies(&connector());
    for path in [
        "/login", "/", "/area/1", "/logout", "/area/2", "/foreign", "/",
    ] {
        let url = format!("{}{path}", server.url);
        client.send(get(&url), LONG).await.unwrap();
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| cookie(seen)).collect();
    assert_eq!(sent[2].as_deref(), Some("area=x; sid=s3cr3t"));
    assert_eq!(
        [&sent[0], &sent[1], &sent[3], &sent[4], &sent[5], &sent[6]],
        [
            &None,
            &Some("sid=s3cr3t".to_owned()),
            &Some("sid=s3cr3t".to_owned()),
            &Some("area=x".to_owned()),
            &None,
            // Never a foreign domain's; a secure one only because loopback counts as secure, as in browsers.
            &Some("tls=1".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_jar_belongs_to_one_identity() {
    let server = server().await;
    let connector = connector();
    let login = format!("{}/login", server.url);
    let (alice, bob) = (
        Client::with_cookies(&connector),
        Client::with_cookies(&connector),
    );
    alice.send(get(&login), LONG).await.unwrap();
    for client in [&bob, &alice.without_cookies(), &alice.clone()] {
        client.send(get(&server.url), LONG).await.unwrap();
    }
    let sent: Vec<_> = server.seen().iter().map(|seen| cookie(seen)).collect();
    assert_eq!(sent, [None, None, None, Some("sid=s3cr3t".to_owned())]);

    let url = Url::parse(&login).unwrap();
    assert_eq!(
        alice.cookies().unwrap().get(&url, "sid").as_deref(),
        Some("s3cr3t")
    );
    assert!(bob.cookies().unwrap().is_empty());
    assert!(Client::new(&connector).cookies().is_none());
    assert!(!format!("{alice:?}").contains("s3cr3t"));
    alice.cookies().unwrap().clear();
    assert_eq!(alice.cookies().unwrap().len(), 0);
}

#[test]
fn what_is_left_of_a_secret_where_a_text_was_cut_is_struck_out_too() {
    for (text, expected) in [
        ("a s3cr3t-value b s3cr3t-value", "a *** b ***"),
        ("a s3cr3t…", "a ***…"),
        ("a s3cr3t", "a s3cr3t"),
        ("a s3c…", "a s3c…"),
        ("…", "…"),
        ("?p=s3cr3t%2Dvalue&q", "?p=***&q"),
        ("?p=s3cr3t%2D…", "?p=***…"),
    ] {
        assert_eq!(strike_out(text.to_owned(), "s3cr3t-value"), expected);
    }
}

/// A jar remembers what it sent last; nothing that changes what it should send next may be missed.
#[tokio::test]
async fn what_was_sent_last_is_not_sent_when_it_should_not_be() {
    let server = Script::start(|_, mut peer| async move {
        let mut asked = 0;
        while let Some(request) = peer.request().await {
            asked += 1;
            let cookies = if request.starts_with("GET /set") {
                format!("set-cookie: n={asked}; Path=/\r\n")
            } else if request.starts_with("GET /part") {
                "set-cookie: part=1; Path=/part\r\n".to_owned()
            } else {
                String::new()
            };
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\n{cookies}content-length: 0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let client = Client::with_cookies(&connector());
    let ask = async |path: &str| {
        let url = format!("{}{path}", server.url);
        client.send(get(&url), LONG).await.unwrap();
        cookie(server.seen().last().unwrap())
    };
    assert_eq!(ask("/set").await, None);
    assert_eq!(ask("/a").await.as_deref(), Some("n=1"));
    // Set anew: the answer to a request that carried the old one.
    assert_eq!(ask("/set").await.as_deref(), Some("n=1"));
    assert_eq!(ask("/a").await.as_deref(), Some("n=3"));
    assert_eq!(ask("/b").await.as_deref(), Some("n=3"));
    // Another port is the same host (RFC 6265, section 8.5), another host is none of its business.
    let jar = client.cookies().unwrap();
    let elsewhere: Url = "http://example.com/".parse().unwrap();
    assert_eq!(jar.header(&elsewhere), None);
    // One for a part of the host: from now on the path matters.
    ask("/part/1").await;
    assert_eq!(ask("/a").await.as_deref(), Some("n=3"));
    assert_eq!(ask("/part/2").await.as_deref(), Some("part=1; n=3"));
    assert_eq!(ask("/a").await.as_deref(), Some("n=3"));
    jar.clear();
    assert_eq!(ask("/a").await, None);
}

/// RFC 6265, section 5.4: longer paths first, and then the older ones. A double-submitted token is the one of the page's own path.
#[test]
fn cookies_go_in_the_order_of_their_paths_and_of_their_age() {
    let root: Url = "http://localhost/".parse().unwrap();
    let part: Url = "http://localhost/app/x".parse().unwrap();
    let set = |cookie: &str| {
        let mut headers = http::HeaderMap::new();
        headers.append(http::header::SET_COOKIE, cookie.parse().unwrap());
        headers
    };
    for tokens in [
        ["tok=ROOT; Path=/", "tok=APP; Path=/app"],
        ["tok=APP; Path=/app", "tok=ROOT; Path=/"],
    ] {
        let jar = Jar::new();
        for name in ["e", "c", "a", "d", "b"] {
            jar.store(&root, &set(&format!("{name}=1; Path=/")));
        }
        for token in tokens {
            jar.store(&part, &set(token));
        }
        // Setting it anew doesn't make it younger.
        jar.store(&root, &set("e=2; Path=/"));
        let sent = jar.header(&part).unwrap();
        assert_eq!(
            sent.to_str().unwrap(),
            "tok=APP; e=2; c=1; a=1; d=1; b=1; tok=ROOT"
        );
        assert_eq!(jar.get(&part, "tok").as_deref(), Some("APP"));
        assert_eq!(jar.get(&root, "tok").as_deref(), Some("ROOT"));
    }
}
