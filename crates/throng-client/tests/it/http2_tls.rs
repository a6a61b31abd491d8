//! HTTP/2 with prior knowledge and over TLS, and whom TLS trusts.

use std::{
    convert::Infallible,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use throng_client::{
    Client, Connector, ConnectorError, ConnectorOptions, HttpVersion, TransportFailure, Trust,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use crate::{LONG, get, post};

/// An echo server; its replies say which version and host the request had.
struct Echo {
    port: u16,
    connections: Arc<AtomicUsize>,
    authority: String,
    _tasks: JoinSet<()>,
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    let host = request.headers().contains_key("host");
    let authority = request.uri().authority().map(ToString::to_string);
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let mut response = Response::new(Full::new(body));
    for (name, value) in [
        ("x-version", version),
        ("x-host", host.to_string()),
        ("x-authority", authority.unwrap_or_default()),
    ] {
        let value = value.parse().expect("a header value");
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

fn acceptor(
    issued: &rcgen::CertifiedKey<rcgen::KeyPair>,
    alpn: &[&[u8]],
) -> tokio_rustls::TlsAcceptor {
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![issued.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
    .expect("a certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

impl Echo {
    async fn start(tls: Option<&[&[u8]]>) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let acceptor = tls.map(|alpn| acceptor(&issued, alpn));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                counted.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                served.spawn(async move {
                    // Connections that fail are what some tests want.
                    match acceptor {
                        None => {
                            let _ = conn::http2::Builder::new(TokioExecutor::new())
                                .serve_connection(TokioIo::new(stream), service_fn(echo))
                                .await;
                        }
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            let io = TokioIo::new(stream);
                            if http2 {
                                let _ = conn::http2::Builder::new(TokioExecutor::new())
                                    .serve_connection(io, service_fn(echo))
                                    .await;
                            } else {
                                let _ = conn::http1::Builder::new()
                                    .serve_connection(io, service_fn(echo))
                                    .await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            connections,
            authority: issued.cert.pem(),
            _tasks: tasks,
        }
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn authority_file(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(self.authority.as_bytes()).expect("written");
        file
    }
}

fn client(version: HttpVersion, trust: Trust) -> Client {
    let options = ConnectorOptions {
        version,
        trust,
        ..ConnectorOptions::default()
    };
    Client::new(&Connector::new(options).expect("options"))
}

#[tokio::test]
async fn http2_with_prior_knowledge_shares_one_connection() {
    let server = Echo::start(None).await;
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let client = client(HttpVersion::Http2, Trust::Native);
    let first = client.send(post(&url, "hello"), LONG).await.unwrap();
    assert_eq!(
        (first.version, &first.body[..]),
        (Version::HTTP_2, &b"hello"[..])
    );
    assert_eq!(first.headers["x-version"], "HTTP/2.0");
    assert_eq!(first.headers["x-host"], "false");
    assert_eq!(
        first.headers["x-authority"],
        format!("127.0.0.1:{}", server.port)
    );
    assert!(first.sent > 5 && first.received > 5);
    let sends = (0..20).map(|_| client.send(post(&url, "hello"), LONG));
    for exchange in futures_util::future::join_all(sends).await {
        assert!(exchange.unwrap().reused);
    }
    assert_eq!((server.count(), client.idle_connections()), (1, 1));
}

#[tokio::test]
async fn tls_negotiates_the_version() {
    for (offered, version, spoken) in [
        (
            &[&b"h2"[..], b"http/1.1"][..],
            HttpVersion::Auto,
            Version::HTTP_2,
        ),
        (&[b"http/1.1"], HttpVersion::Auto, Version::HTTP_11),
        (&[], HttpVersion::Auto, Version::HTTP_11),
        (&[b"h2", b"http/1.1"], HttpVersion::Http1, Version::HTTP_11),
        (&[b"h2"], HttpVersion::Http2, Version::HTTP_2),
    ] {
        let server = Echo::start(Some(offered)).await;
        let file = server.authority_file();
        let client = client(version, Trust::Only(vec![file.path().to_owned()]));
        let url = format!("https://localhost:{}/", server.port);
        for reused in [false, true] {
            let exchange = client.send(post(&url, "x"), LONG).await.unwrap();
            assert_eq!((exchange.version, exchange.reused), (spoken, reused));
            assert_eq!(
                exchange.headers["x-host"],
                (spoken == Version::HTTP_11).to_string()
            );
        }
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn only_trusted_certificates_are_accepted() {
    let server = Echo::start(Some(&[b"http/1.1"])).await;
    let file = server.authority_file();
    let named = format!("https://localhost:{}/", server.port);
    let addressed = format!("https://127.0.0.1:{}/", server.port);
    let own = Trust::NativeAnd(vec![file.path().to_owned()]);
    for (trust, url, trusted) in [
        (Trust::Native, &named, false),
        (own.clone(), &named, true),
        // The certificate is for the name.
        (own, &addressed, false),
        (Trust::Anything, &named, true),
        (Trust::Anything, &addressed, true),
    ] {
        let result = client(HttpVersion::Auto, trust.clone())
            .send(get(url), LONG)
            .await;
        match result {
            Ok(_) => assert!(trusted, "{trust:?} {url}"),
            Err(error) => {
                assert!(!trusted, "{trust:?} {url}: {error}");
                assert!(
                    matches!(error.failure(), TransportFailure::Certificate(_)),
                    "{error:?}"
                );
                assert!(error.is_connect());
            }
        }
    }
}

#[tokio::test]
async fn a_bad_file_of_authorities_is_found_at_once() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for path in [empty.path().to_owned(), "/no/such/file.pem".into()] {
        let options = ConnectorOptions {
            trust: Trust::Only(vec![path.clone()]),
            ..ConnectorOptions::default()
        };
        let error = Connector::new(options).unwrap_err();
        let ConnectorError::Authority { path: named, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*named, path);
    }
}

/// Anybody on the way can end a TCP connection: only TLS's own word for it is the end of a body that the connection ends
/// (RFC 9112, section 9.8). A body that says its length needs none.
#[tokio::test]
async fn a_body_that_tls_does_not_end_is_cut_off() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let acceptor = acceptor(&issued, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    for (head, notified, whole) in [
        ("\r\n", true, true),
        ("\r\n", false, false),
        ("content-length: 5\r\n\r\n", false, true),
        ("content-length: 6\r\n\r\n", true, false),
    ] {
        let serve = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let response = format!("HTTP/1.1 200 OK\r\n{head}hello");
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            if notified {
                stream.shutdown().await.unwrap();
            }
        };
        let client = client(HttpVersion::Http1, Trust::Anything);
        let (result, ()) = tokio::join!(client.send(get(&url), LONG), serve);
        match result {
            Ok(exchange) => assert!(whole && exchange.body == "hello", "{head:?}, {notified}"),
            Err(error) => {
                let closed = matches!(error.failure(), TransportFailure::Closed);
                assert!(!whole && closed, "{head:?}, {notified}: {error:?}");
            }
        }
    }
}
