//! A raw HTTP client with a cookie jar, and the steps of a login that most tests need.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use throng_sandbox::{NextcloudConfig, NextcloudSandbox, Secret};
use tokio::net::TcpStream;

pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";
pub(crate) const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-in-all";

/// A sandbox whose administrator has [`PASSWORD`], without the limits that tests would run into.
pub(crate) async fn sandbox(change: impl FnOnce(&mut NextcloudConfig)) -> NextcloudSandbox {
    let mut config = NextcloudConfig {
        registrations_per_minute: None,
        ..NextcloudConfig::default()
    };
    config.admin.password = Secret::new(PASSWORD);
    change(&mut config);
    NextcloudSandbox::start(config).await.expect("a sandbox")
}

/// An answer, its body read.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.json()[member].as_str().expect("a text").to_owned()
    }

    /// The `detail` of an error.
    pub(crate) fn detail(&self) -> String {
        self.text("detail")
    }

    /// A parameter of the location's query.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let location = url::Url::parse(self.location()).expect("an absolute location");
        location
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The value of an attribute of the page.
    pub(crate) fn attribute(&self, name: &str) -> String {
        let begin = format!("{name}=\"");
        let rest = self
            .body
            .split_once(&begin)
            .unwrap_or_else(|| panic!("no {name}: {}", self.body))
            .1;
        let value = rest.split_once('"').expect("a closing quote").0;
        value
            .replace("&quot;", "\"")
            .replace("&#039;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    }

    pub(crate) fn request_token(&self) -> String {
        self.attribute("data-requesttoken")
    }

    /// An initial state of the page, decoded.
    pub(crate) fn state(&self, name: &str) -> Option<Value> {
        let begin = format!("id=\"initial-state-core-{name}\" value=\"");
        let (_, rest) = self.body.split_once(&begin)?;
        let decoded = STANDARD.decode(rest.split_once('"')?.0).expect("base64");
        Some(serde_json::from_slice(&decoded).expect("JSON"))
    }

    pub(crate) fn sets_cookie(&self, name: &str) -> bool {
        let begin = format!("{name}=");
        self.headers
            .get_all(header::SET_COOKIE)
            .iter()
            .any(|value| value.to_str().is_ok_and(|value| value.starts_with(&begin)))
    }
}

/// One browser: a cookie jar, and one connection that is opened anew when it was closed.
pub(crate) struct Http {
    origin: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
    pub(crate) accept: &'static str,
    /// Who logs in at a login page, and with which password.
    pub(crate) login: (&'static str, &'static str),
}

impl Http {
    pub(crate) fn new(sandbox: &NextcloudSandbox) -> Self {
        Self::to(sandbox.url())
    }

    pub(crate) fn to(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            connection: None,
            cookies: BTreeMap::new(),
            accept: "text/html",
            login: ("admin", PASSWORD),
        }
    }

    /// Takes a cookie out of the jar and gives back its value.
    pub(crate) fn forget(&mut self, cookie: &str) -> String {
        self.cookies
            .remove(cookie)
            .expect("the cookie is in the jar")
    }

    pub(crate) fn remember(&mut self, cookie: &str, value: &str) {
        self.cookies.insert(cookie.to_owned(), value.to_owned());
    }

    pub(crate) async fn try_send(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
        let path = url.strip_prefix(&self.origin).unwrap_or(url);
        let mut sender = match self.connection.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => {
                let address = self.origin.trim_start_matches("http://");
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                // It ends with the sender; what went wrong shows at the sender, too.
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.origin.trim_start_matches("http://"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header(header::ACCEPT, self.accept);
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        let response = sender.send_request(request.body(Full::from(body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.connection = Some(sender);
        for value in parts.headers.get_all(header::SET_COOKIE) {
            let value = value.to_str()?;
            let (pair, attributes) = value.split_once(';').unwrap_or((value, ""));
            let (name, value) = pair.split_once('=').ok_or("a cookie without a value")?;
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec())?,
        })
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Reply {
        let sent = self.try_send(method, url, headers, body).await;
        sent.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    pub(crate) async fn get(&mut self, url: &str) -> Reply {
        self.send(Method::GET, url, &[], String::new()).await
    }

    pub(crate) async fn get_with(&mut self, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, url, headers, String::new()).await
    }

    pub(crate) async fn post(&mut self, url: &str, form: &[(&str, &str)]) -> Reply {
        self.post_with(url, form, &[]).await
    }

    pub(crate) async fn post_with(
        &mut self,
        url: &str,
        form: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/x-www-form-urlencoded"));
        self.send(Method::POST, url, &headers, form_encoded(form))
            .await
    }

    pub(crate) async fn json(&mut self, method: Method, url: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        self.send(method, url, &headers, body.to_string()).await
    }
}

pub(crate) fn form_encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish()
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(crate) fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// A client's own part of the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) scope: &'static str,
    pub(crate) resource: Option<String>,
}

impl Application {
    /// Registers with these members beside the redirect URI.
    pub(crate) async fn register(http: &mut Http, members: Value) -> Self {
        let mut body =
            serde_json::json!({ "client_name": "test", "redirect_uris": [REDIRECT_URI] });
        for (key, value) in members.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let reply = http.json(Method::POST, "/apps/oidc/register", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let text = |key: &str| reply.json()[key].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("client_id"),
            secret: text("client_secret"),
            scope: "openid profile email offline_access notes.read",
            resource: None,
        }
    }

    /// The URL of an authorization request.
    pub(crate) fn authorize_url(&self) -> String {
        let challenge = challenge();
        let mut query = vec![
            ("client_id", self.id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", self.scope),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if let Some(resource) = &self.resource {
            query.push(("resource", resource));
        }
        format!("/apps/oidc/authorize?{}", form_encoded(&query))
    }

    /// Exchanges a code.
    pub(crate) async fn exchange(&self, http: &mut Http, code: &str) -> Reply {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        form.extend(self.credentials());
        http.post("/apps/oidc/token", &form).await
    }

    pub(crate) async fn refresh(&self, http: &mut Http, token: &str) -> Reply {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        form.extend(self.credentials());
        http.post("/apps/oidc/token", &form).await
    }

    pub(crate) async fn introspect(&self, http: &mut Http, token: &str) -> Value {
        let mut form = vec![("token", token)];
        form.extend(self.credentials());
        let reply = http.post("/apps/oidc/introspect", &form).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    pub(crate) fn credentials(&self) -> Vec<(&'static str, &str)> {
        let mut form = vec![("client_id", self.id.as_str())];
        if !self.secret.is_empty() {
            form.push(("client_secret", &self.secret));
        }
        form
    }
}

/// Logs in at the login page that a redirect leads to.
pub(crate) async fn log_in(http: &mut Http, login_url: &str) -> Reply {
    let page = http.get(login_url).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let token = page.request_token();
    let redirect_url = page.state("loginRedirectUrl");
    let redirect_url = redirect_url.as_ref().and_then(Value::as_str).unwrap_or("/");
    let form = [
        ("user", http.login.0),
        ("password", http.login.1),
        ("requesttoken", token.as_str()),
        ("redirect_url", redirect_url),
        ("timezone", "UTC"),
        ("timezone_offset", "0"),
    ];
    let reply = http.post("/login", &form).await;
    assert!(reply.sets_cookie("nc_token"), "{reply:?}");
    reply
}

/// Goes all the way from the authorization request to the code, granting what is asked.
pub(crate) async fn authorize(http: &mut Http, application: &Application) -> String {
    let mut reply = http.get(&application.authorize_url()).await;
    for _ in 0..4 {
        assert_eq!(reply.status, 303, "{}", reply.body);
        if let Some(code) = reply.query("code") {
            return code;
        }
        let location = reply.location().to_owned();
        reply = if location.contains("/login?") {
            log_in(http, &location).await;
            http.get(&application.authorize_url()).await
        } else if location.ends_with("/apps/oidc/consent") {
            let page = http.get(&location).await;
            let scopes = page.attribute("data-scopes");
            let token = page.request_token();
            let headers = [("requesttoken", token.as_str())];
            let form = [("scopes", scopes.as_str())];
            http.post_with("/apps/oidc/consent/grant", &form, &headers)
                .await
        } else {
            http.get(&location).await
        };
    }
    panic!("no code after {reply:?}");
}

/// The tokens of a whole login.
pub(crate) async fn tokens(http: &mut Http, application: &Application) -> Value {
    let code = authorize(http, application).await;
    let reply = application.exchange(http, &code).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

pub(crate) async fn userinfo(http: &mut Http, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    http.get_with("/apps/oidc/userinfo", &[("authorization", &bearer)])
        .await
}

/// Verifies a JWT with the provider's published keys, by a library of its own.
pub(crate) async fn verified(
    sandbox: &NextcloudSandbox,
    http: &mut Http,
    token: &str,
    audience: &str,
) -> (jsonwebtoken::Header, Value) {
    let keys = http.get("/apps/oidc/jwks").await.json();
    let header = jsonwebtoken::decode_header(token).expect("a JWT");
    let key = keys["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .find(|key| key["kid"].as_str() == header.kid.as_deref())
        .expect("the key of the kid");
    let text = |name: &str| key[name].as_str().expect("a component");
    let key = DecodingKey::from_rsa_components(text("n"), text("e")).expect("an RSA key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[sandbox.url()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a valid token");
    (header, decoded.claims)
}
