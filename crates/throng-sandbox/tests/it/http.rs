//! A plain HTTP client for the tests: one connection for each request, no redirects, no cookies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header as text; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| {
            value.to_str().expect("a header of visible characters")
        })
    }
}

/// A request in the making.
pub(crate) struct Call {
    method: Method,
    url: url::Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.parse().expect("a method"),
            url: url.parse().expect("an absolute URL"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .insert(name, value.parse().expect("a header value"));
        self
    }

    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization", &format!("Basic {encoded}"))
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body("application/x-www-form-urlencoded", form.finish())
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let mut stream = self.open().await;
        let mut body = String::new();
        while let Some(text) = stream.next().await {
            body.push_str(&text);
        }
        Answer {
            status: stream.status,
            headers: std::mem::take(&mut stream.headers),
            body,
        }
    }

    /// Sends it and leaves the answer's body to be read piece by piece.
    pub(crate) async fn open(self) -> Stream {
        let host = self.url.host_str().expect("a host").to_owned();
        let port = self.url.port_or_known_default().expect("a port");
        let stream = tokio::net::TcpStream::connect((host.as_str(), port))
            .await
            .expect("the sandbox listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("a handshake");
        let connection = tokio::spawn(connection);
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::builder()
            .method(self.method)
            .uri(path)
            .header("host", format!("{host}:{port}"))
            .body(Full::new(self.body))
            .expect("a request");
        request.headers_mut().extend(self.headers);
        let response = sender.send_request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        Stream {
            status: parts.status,
            headers: parts.headers,
            body,
            _sender: sender,
            connection,
        }
    }
}

/// An answer whose body is still coming.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    /// Held, because the connection ends with it.
    _sender: SendRequest<Full<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Stream {
    /// The next piece of the body; nothing at its end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let frame = self.body.frame().await?.expect("a whole body");
            if let Ok(data) = frame.into_data() {
                return Some(String::from_utf8(data.to_vec()).expect("a text body"));
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
