//! A raw HTTPS client with a cookie jar that holds every answer against the served OpenAPI document.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use throng_sandbox::{Bug, Bugs, ExecutionTimes, Integr8scodeConfig, Integr8scodeSandbox};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::Reply;

pub(crate) const PASSWORD: &str = "testpass123!";

/// A sound sandbox whose executions go fast.
pub(crate) async fn sandbox(change: impl FnOnce(&mut Integr8scodeConfig)) -> Integr8scodeSandbox {
    let millis = std::time::Duration::from_millis;
    let mut config = Integr8scodeConfig {
        times: ExecutionTimes {
            queued: millis(5),
            scheduled: millis(10),
            running: millis(10),
            limit: millis(200),
        },
        ..Integr8scodeConfig::default()
    };
    change(&mut config);
    Integr8scodeSandbox::start(config).await.expect("a sandbox")
}

/// The same with one bug.
pub(crate) async fn with_bug(bug: Bug) -> Integr8scodeSandbox {
    sandbox(|config| config.bugs = Bugs::from_iter([bug])).await
}

/// One user's client.
pub(crate) struct Api {
    origin: String,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Full<Bytes>>>,
    pub(crate) connections: usize,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Whether the CSRF cookie is repeated in the header.
    pub(crate) csrf: bool,
    document: Option<Arc<Value>>,
}

impl Api {
    /// A client that trusts the sandbox's certificate. It believes the document where `sound`.
    pub(crate) async fn new(sandbox: &Integr8scodeSandbox, sound: bool) -> Self {
        let tls = sandbox.certificate().map(|pem| {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a PEM");
            roots.add(certificate).expect("a root");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        });
        let mut api = Self {
            origin: sandbox.url().to_owned(),
            tls,
            connection: None,
            connections: 0,
            cookies: BTreeMap::new(),
            csrf: true,
            document: None,
        };
        if sound {
            let document = api.get("/openapi.json").await.json();
            api.document = Some(Arc::new(document));
        }
        api
    }

    /// Another client of the same kind, with an empty jar and no connection.
    pub(crate) fn another(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            tls: self.tls.clone(),
            connection: None,
            connections: 0,
            cookies: BTreeMap::new(),
            csrf: true,
            document: self.document.clone(),
        }
    }

    /// Registers and logs in.
    pub(crate) async fn user(&self, name: &str) -> Self {
        let mut api = self.another();
        let reply = api.register(name).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let reply = api.log_in(name, PASSWORD).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        api
    }

    pub(crate) async fn register(&mut self, name: &str) -> Reply {
        let email = format!("{name}@example.com");
        let body = json!({ "username": name, "email": email, "password": PASSWORD });
        self.post("/auth/register", &body).await
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Reply {
        let form = crate::support::form_encoded(&[("username", name), ("password", password)]);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, "/auth/login", &headers, form.into_bytes())
            .await
    }

    async fn sender(&mut self) -> SendRequest<Full<Bytes>> {
        if let Some(mut sender) = self.connection.take()
            && !sender.is_closed()
            && sender.ready().await.is_ok()
        {
            return sender;
        }
        self.connections += 1;
        let address = self.origin.split("//").nth(1).expect("an origin");
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        // What drives a connection ends with its sender; what went wrong shows at the sender, too.
        match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from("127.0.0.1").expect("a name");
                let stream = tls.connect(name, stream).await.expect("a handshake");
                let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
                tokio::spawn(connection);
                sender
            }
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
                tokio::spawn(connection);
                sender
            }
        }
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(&mut self) {
        if let Some(mut sender) = self.connection.take() {
            while sender.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sends a request and gives back the head of the answer; the body comes as it is sent.
    pub(crate) async fn open(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> http::Response<Incoming> {
        let mut sender = self.sender().await;
        let path = if path.starts_with("/__") || path.starts_with("/api/") {
            path.to_owned()
        } else {
            format!("/api/v1{path}")
        };
        let mut request = Request::builder().method(method.clone()).uri(path).header(
            header::HOST,
            self.origin.split("//").nth(1).expect("an origin"),
        );
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        if !pairs.is_empty() {
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        if let Some(token) = self.cookies.get("csrf_token").filter(|_| self.csrf)
            && !method.is_safe()
        {
            request = request.header("x-csrf-token", token);
        }
        let request = request.body(Full::from(body)).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        self.connection = Some(sender);
        for value in response.headers().get_all(header::SET_COOKIE) {
            let value = value.to_str().expect("ASCII");
            let (pair, attributes) = value.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            if attributes.contains("Max-Age=0;") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let response = self.open(method.clone(), path, headers, body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let reply = Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).expect("UTF-8"),
        };
        if let Some(document) = &self.document
            && !path.starts_with("/__")
        {
            check(document, &method, path, &reply);
        }
        reply
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub(crate) async fn json(&mut self, method: Method, path: &str, body: &Value) -> Reply {
        self.raw(method, path, body.to_string().into_bytes()).await
    }

    pub(crate) async fn raw(&mut self, method: Method, path: &str, body: Vec<u8>) -> Reply {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.json(Method::POST, path, body).await
    }

    pub(crate) async fn put(&mut self, path: &str, body: &Value) -> Reply {
        self.json(Method::PUT, path, body).await
    }

    /// Submits a script and waits for its end; gives back its id and its result.
    pub(crate) async fn run(&mut self, script: &str) -> (String, Value) {
        let reply = self.post("/execute", &json!({ "script": script })).await;
        assert_eq!(
            (reply.status, reply.text("status").as_str()),
            (200, "queued")
        );
        let id = reply.text("execution_id");
        // The stream ends when the execution has.
        self.get(&format!("/events/executions/{id}")).await;
        let result = self.get(&format!("/executions/{id}/result")).await;
        assert_eq!(result.status, 200);
        (id, result.json())
    }

    pub(crate) async fn save_script(&mut self, name: &str) -> String {
        let reply = self
            .post("/scripts", &json!({ "name": name, "script": "print(1)" }))
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text("script_id")
    }
}

/// Panics where an answer is not as documented.
fn check(document: &Value, method: &Method, path: &str, reply: &Reply) {
    let shown = format!(
        "{method} {path}: {} {:?} {}",
        reply.status, reply.headers, reply.body
    );
    let path = path.split('?').next().expect("a path");
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let matches = |template: &str| {
        let template = template.strip_prefix("/api/v1").expect("the prefix");
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    };
    let paths = document["paths"].as_object().expect("paths");
    // A fixed path goes before one with a parameter; no parameter of ours is called like a fixed segment.
    let Some((_, item)) = paths.iter().find(|(template, _)| matches(template)) else {
        assert!(matches!(reply.status, 403 | 404 | 307), "{shown}");
        return;
    };
    let operation = &item[method.as_str().to_lowercase()];
    if operation.is_null() {
        let allowed = reply.status == 405 && !reply.header("allow").is_empty();
        assert!(allowed || reply.status == 403, "{shown}");
        return;
    }
    let response = &operation["responses"][reply.status.to_string()];
    assert!(response.is_object(), "not documented: {shown}");
    let Some(content) = response["content"].as_object() else {
        assert_eq!(reply.body, "", "{shown}");
        return;
    };
    let kind = reply
        .header("content-type")
        .split(';')
        .next()
        .unwrap_or_default();
    let schema = &content
        .get(kind)
        .unwrap_or_else(|| panic!("content type: {shown}"))["schema"];
    if kind != "application/json" {
        return;
    }
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    if let Err(error) = validator.validate(&reply.json()) {
        panic!("{error}: {shown}");
    }
}
