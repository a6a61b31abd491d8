//! A small authorization server whose oddities each test chooses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::discovery::{self, Authorization};
use throng_identity::login::LoginPlan;
use throng_identity::registration::{OAuthClient, TokenAuth};
use throng_identity::retry::RetryPolicy;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct-horse-77";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:8765/throng/callback";

/// How users meet the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// No page at all: a code at once.
    None,
    /// User and password in one form.
    One,
    /// User first, password next.
    Two,
    /// One form, then consent.
    Consent,
    /// The code comes in a form that submits itself.
    FormPost,
    /// A meta refresh leads to the form.
    Refresh,
    /// Redirects without end.
    Loop,
    /// 500.
    Broken,
    /// 429 twice, then a code.
    Busy,
    /// Nothing is ever answered.
    Silent,
    /// A page that only a script can fill.
    Script,
    /// A page whose script makes a form in two steps, without a `form` element, and sends it by itself.
    Scripted,
    /// One form, among fields that nobody sees and buttons that do other things.
    Decoys,
    /// Nothing on it says what it is, neither on the page that takes name and password nor on the one that asks for consent.
    Unreadable,
    /// One form with a captcha in it.
    Captcha,
    /// One form; whoever logs in is told that his account is locked.
    Locked,
    /// A script that tries whether a browser is there, and then one form.
    Challenge,
    /// An error response at the redirect URI.
    Denied,
    /// A redirect to `throng-test://...`.
    CustomScheme,
    /// The form's answer is a 307 to another origin.
    Leak,
}

/// What the provider does. Public fields, changed before it starts.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) pages: Pages,
    /// Merged over the metadata; null removes.
    pub(crate) metadata: Value,
    /// Merged over the resource's metadata; `Null` as a whole: there is none.
    pub(crate) resource: Value,
    /// `iss` of the authorization response; `{base}` is filled in, empty means none.
    pub(crate) iss: &'static str,
    pub(crate) state: Option<&'static str>,
    /// Makes the access token of the provider's address.
    pub(crate) access: Option<MakeToken>,
    /// Merged over the id token's claims.
    pub(crate) claims: Value,
    pub(crate) signer: Option<Arc<Signer>>,
    pub(crate) lifetime: Option<u64>,
    pub(crate) refresh: Refresh,
    /// Another origin that the login passes through.
    pub(crate) via: Option<Url>,
    /// Answers of the registration endpoint before the good one.
    pub(crate) registration: Vec<(u16, Option<u64>)>,
    /// How far its clock is ahead, in seconds.
    pub(crate) ahead: i64,
    /// Each answer to a refresh takes a permit of this, after it was decided.
    pub(crate) gate: Option<Arc<Semaphore>>,
}

pub(crate) type MakeToken = Arc<dyn Fn(&str) -> String + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    None,
    Rotating,
    /// Given out, and then never accepted.
    Dead,
    /// Answered with 500.
    Broken,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pages: Pages::One,
            metadata: json!({}),
            resource: json!({}),
            iss: "{base}",
            state: None,
            access: None,
            claims: json!({}),
            signer: None,
            lifetime: Some(900),
            refresh: Refresh::None,
            via: None,
            registration: Vec::new(),
            ahead: 0,
            gate: None,
        }
    }
}

/// Signs id tokens.
pub(crate) struct Signer {
    pub(crate) key: EncodingKey,
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<&'static str>,
    pub(crate) jwks: Value,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) form: HashMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn cookie(&self) -> &str {
        self.headers
            .get(header::COOKIE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }
}

struct Inner {
    base: String,
    config: Config,
    seen: Mutex<Vec<Seen>>,
    /// Authorization requests by code: query, and the code's PKCE challenge in it.
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
    refresh: Mutex<Option<String>>,
    counter: Mutex<u64>,
    /// With which status the token endpoint and the pages answer while the provider is in trouble; 0 for none.
    trouble: AtomicU16,
    revoked: Mutex<Vec<String>>,
}

/// A running provider; dropping it stops it.
pub(crate) struct Provider {
    inner: Arc<Inner>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            base,
            config,
            seen: Mutex::default(),
            codes: Mutex::default(),
            refresh: Mutex::default(),
            counter: Mutex::default(),
            trouble: AtomicU16::new(0),
            revoked: Mutex::default(),
        });
        let app = Router::new().fallback(answer).with_state(inner.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { inner, task }
    }

    pub(crate) async fn with(pages: Pages) -> Self {
        Self::start(Config {
            pages,
            ..Config::default()
        })
        .await
    }

    pub(crate) fn base(&self) -> &str {
        &self.inner.base
    }

    pub(crate) fn mcp_url(&self) -> Url {
        Url::parse(&format!("{}/mcp", self.base())).unwrap()
    }

    /// From now on all that concerns logins and tokens is answered with this status; 0 ends that.
    pub(crate) fn trouble(&self, status: u16) {
        self.inner.trouble.store(status, Ordering::SeqCst);
    }

    /// Takes back the refresh token that was given out last, as a provider does that saw an old one used again.
    pub(crate) fn revoke_family(&self) {
        *self.inner.refresh.lock().unwrap() = None;
    }

    /// What the revocation endpoint was given, by kind and number.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.inner.revoked.lock().unwrap().clone()
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.inner
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.path == path)
            .cloned()
            .collect()
    }

    pub(crate) async fn discover(&self) -> Authorization {
        discovery::discover(&client(), &self.mcp_url(), Duration::from_secs(5))
            .await
            .unwrap()
    }

    /// A plan for this provider, with little patience.
    pub(crate) async fn plan(&self) -> LoginPlan {
        let authorization = Arc::new(self.discover().await);
        let mut plan = LoginPlan::new(
            authorization,
            Arc::new(public_client()),
            Url::parse(REDIRECT).unwrap(),
            vec!["openid".into()],
        );
        plan.timeout = Duration::from_secs(5);
        plan.retry = RetryPolicy {
            attempts: 3,
            budget: Duration::from_secs(5),
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(5),
        };
        plan
    }
}

pub(crate) fn public_client() -> OAuthClient {
    OAuthClient {
        id: "throng-client".into(),
        secret: None,
        auth: TokenAuth::Public,
        key: None,
        registration: None,
    }
}

pub(crate) fn connector() -> Connector {
    Connector::new(ConnectorOptions::default()).unwrap()
}

pub(crate) fn client() -> Client {
    Client::with_cookies(&connector())
}

async fn answer(State(idp): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let pairs = |text: &[u8]| {
        form_urlencoded::parse(text)
            .into_owned()
            .collect::<HashMap<_, _>>()
    };
    let seen = Seen {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        form: pairs(&body),
        headers: parts.headers,
        body,
    };
    idp.seen.lock().unwrap().push(seen.clone());
    let trouble = idp.trouble.load(Ordering::SeqCst);
    if trouble != 0 && matches!(seen.path.as_str(), "/token" | "/authorize" | "/login") {
        return StatusCode::from_u16(trouble).unwrap().into_response();
    }
    match (&seen.method, seen.path.as_str()) {
        (&Method::POST, "/mcp") => {
            let challenge = match idp.config.resource {
                Value::Null => "Bearer".to_owned(),
                _ => format!(
                    "Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"",
                    idp.base
                ),
            };
            (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, challenge)],
            )
                .into_response()
        }
        (_, "/.well-known/oauth-protected-resource/mcp") if !idp.config.resource.is_null() => {
            let own = json!({"resource": format!("{}/mcp", idp.base), "authorization_servers": [idp.base], "scopes_supported": ["notes.read"]});
            axum::Json(merged(own, &idp.config.resource)).into_response()
        }
        (_, "/.well-known/oauth-authorization-server") => {
            axum::Json(idp.metadata()).into_response()
        }
        (_, "/jwks") => axum::Json(
            idp.config
                .signer
                .as_ref()
                .map_or(json!({"keys": []}), |s| s.jwks.clone()),
        )
        .into_response(),
        (&Method::POST, "/register") => idp.register(),
        (&Method::DELETE, "/register/c1") => StatusCode::NO_CONTENT.into_response(),
        (_, "/authorize") => idp.authorize(&seen).await,
        (&Method::POST, "/login") => idp.login(&seen),
        (&Method::POST, "/user") => Html(form(
            "/login",
            r#"<input type=password name=password>"#,
            &seen.form,
        ))
        .into_response(),
        (&Method::POST, "/consent") => match seen.form.get("decision").map(String::as_str) {
            Some("allow") => idp.arrive(&seen.form),
            _ => StatusCode::BAD_REQUEST.into_response(),
        },
        (_, "/hop") => {
            // Passed through on another origin; cookies tell who it was.
            let back = seen.query.get("back").cloned().unwrap_or_default();
            ([(header::SET_COOKIE, "hop=1; Path=/")], Redirect::to(&back)).into_response()
        }
        (_, "/ask") => Html(form("/consent", UNREADABLE_CONSENT, &seen.query)).into_response(),
        (_, "/form") => Html(form("/login", ONE, &seen.query)).into_response(),
        (&Method::POST, "/token") => {
            let answer = idp.token(&seen);
            let is_refresh =
                seen.form.get("grant_type").map(String::as_str) == Some("refresh_token");
            if let Some(gate) = idp.config.gate.as_ref().filter(|_| is_refresh) {
                gate.acquire().await.unwrap().forget();
            }
            answer
        }
        (&Method::POST, "/revoke") => {
            let token = seen.form.get("token").cloned().unwrap_or_default();
            let kind = token.split('-').next().unwrap_or_default().to_owned();
            idp.revoked.lock().unwrap().push(kind);
            StatusCode::OK.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

const ONE: &str = r#"<label>User <input name=username></label><input type=password name=password><button type=submit name=go value=1>Sign in</button>"#;

/// Nothing that a person sees takes the name of a person.
const DECOYS: &str = r#"
<div style="position:absolute;left:-9999px"><input name=username_confirm autocomplete=username></div>
<input name=website style="opacity:0"><input name=email style="display:none"><input name=user_name style="height:1px;width:1px;border:0;padding:0">
<label>User <input name=username></label><input type=password name=password><input type=password name=password2 style="visibility:hidden">
<button type=button onclick="location='/elsewhere'">Show password</button><button type=button onclick="location='/elsewhere'">Continue with Google</button>
<a role=button href="/elsewhere">Forgot password?</a><label><input type=checkbox name=terms required> I accept</label>
<button type=submit name=go value=1>Sign in</button>"#;

const CHALLENGE: &str = "<title>Just a moment...</title><script>window._cf_chl_opt = {};
setTimeout(() => { document.cookie = 'passed=1; path=/'; location.reload(); }, 400);</script><p>Checking</p>";

/// Name first, then the password, on one page; what is typed counts only where events tell of it.
const SCRIPTED: &str = r#"<!DOCTYPE html><title>App</title><div id=root></div><script>
setTimeout(() => {
  const root = document.getElementById("root");
  root.attachShadow({ mode: "open" }).innerHTML =
    "<label>Your email or name <input type=email id=who autocomplete=username></label> <span id=msg role=alert></span> <button disabled>Continue</button>";
  const shadow = root.shadowRoot, button = shadow.querySelector("button"), values = {};
  const listen = (input, key) => input.addEventListener("input", () => { values[key] = input.value; button.disabled = !input.value; });
  listen(shadow.querySelector("input"), "username");
  button.addEventListener("click", async () => {
    if (!shadow.querySelector("[type=password]")) {
      setTimeout(() => {
        shadow.querySelector("label").innerHTML = "Password <input type=password>";
        button.textContent = "Sign in";
        button.disabled = true;
        listen(shadow.querySelector("input"), "password");
      }, 100);
      return;
    }
    const form = new URLSearchParams(location.search);
    for (const [key, value] of Object.entries(values)) form.set(key, value);
    const answer = await fetch("/login", { method: "POST", body: form, headers: { "x-scripted": "1" } });
    if (answer.ok) location = (await answer.json()).location;
    else shadow.getElementById("msg").textContent = "That is not right.";
  });
}, 150);
</script>"#;

/// Two fields that hide what is typed, without names, and what is pressed is no button.
const UNREADABLE: &str = r#"<!DOCTYPE html><title>Test provider</title>
<div id=one><input type=password></div><div id=two><input type=password></div><div class=go style="width:40px">&#10148;</div><script>
document.querySelector(".go").addEventListener("click", async () => {
  const form = new URLSearchParams(location.search), [one, two] = document.querySelectorAll("input");
  form.set("username", one.value);
  form.set("password", two.value);
  const answer = await fetch("/login", { method: "POST", body: form, headers: { "x-scripted": "1" } });
  if (answer.ok) location = (await answer.json()).location;
});
</script>"#;

/// What it takes to go on is no button either.
const UNREADABLE_CONSENT: &str = r#"<input type=hidden name=decision value=allow>
<div class=no onclick="location='/elsewhere'">&#10006;</div><div class=yes onclick="this.closest('form').submit()">&#10004;</div>"#;

/// A form that carries the authorization request along.
fn form(action: &str, inputs: &str, carry: &HashMap<String, String>) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;");
    let hidden: String = carry
        .iter()
        .filter(|(name, _)| *name != "password" && *name != "go")
        .map(|(name, value)| {
            format!(
                "<input type=hidden name=\"{}\" value=\"{}\">",
                escape(name),
                escape(value)
            )
        })
        .collect();
    let filler = "<p>Lorem ipsum</p>".repeat(20);
    format!(
        "<!DOCTYPE html><title>Test provider</title>{filler}<form action=/search><input name=q></form><form method=post action=\"{action}\">{hidden}{inputs}</form>"
    )
}

fn merged(mut own: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        if value.is_null() {
            own.as_object_mut().unwrap().remove(key);
        } else {
            own[key] = value.clone();
        }
    }
    own
}

impl Inner {
    fn metadata(&self) -> Value {
        let base = &self.base;
        let mut own = json!({
            "issuer": base, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}/token"),
            "registration_endpoint": format!("{base}/register"), "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint": format!("{base}/revoke"),
        });
        if self.config.signer.is_some() {
            own["jwks_uri"] = format!("{base}/jwks").into();
        }
        merged(own, &self.config.metadata)
    }

    fn next(&self, what: &str) -> String {
        let mut counter = self.counter.lock().unwrap();
        *counter += 1;
        // Long enough to be taken for a secret, recognisable in a search.
        format!("{what}-s3cr3t-{:024}", *counter)
    }

    fn register(&self) -> Response {
        let earlier = self
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|s| s.path == "/register")
            .count()
            - 1;
        if let Some((status, wait)) = self.config.registration.get(earlier) {
            let mut response = StatusCode::from_u16(*status).unwrap().into_response();
            if let Some(wait) = wait {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, (*wait).into());
            }
            return response;
        }
        let registered = json!({
            "client_id": "c1", "client_secret_expires_at": 0, "token_endpoint_auth_method": "none",
            "registration_client_uri": format!("{}/register/c1", self.base), "registration_access_token": "rat-s3cr3t-1",
        });
        (StatusCode::CREATED, axum::Json(registered)).into_response()
    }

    async fn authorize(&self, seen: &Seen) -> Response {
        let earlier = self
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|s| s.path == "/authorize")
            .count()
            - 1;
        if let Some(via) = &self.config.via
            && !seen.query.contains_key("passed")
        {
            let mut back = Url::parse(&format!("{}/authorize", self.base)).unwrap();
            back.query_pairs_mut()
                .extend_pairs(&seen.query)
                .append_pair("passed", "1");
            let mut hop = via.join("/hop").unwrap();
            hop.query_pairs_mut().append_pair("back", back.as_str());
            return (
                [(header::SET_COOKIE, "provider=own-cookie-s3cr3t; Path=/")],
                Redirect::to(hop.as_str()),
            )
                .into_response();
        }
        match self.config.pages {
            Pages::None => self.arrive(&seen.query),
            Pages::One | Pages::Consent | Pages::Leak | Pages::FormPost => {
                Html(form("/login", ONE, &seen.query)).into_response()
            }
            Pages::Two => Html(form(
                "/user",
                r#"<input type=email name=username autocomplete=username><button>Next</button>"#,
                &seen.query,
            ))
            .into_response(),
            Pages::Refresh => {
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(&seen.query)
                    .finish();
                Html(format!(
                    "<meta http-equiv=refresh content=\"0; url=/form?{}\">",
                    query.replace('&', "&amp;")
                ))
                .into_response()
            }
            Pages::Loop => Redirect::to(&format!("/authorize?n={earlier}")).into_response(),
            Pages::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Html("<title>Oops</title><p class=error>database is down</p>"),
            )
                .into_response(),
            Pages::Busy if earlier < 2 => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response()
            }
            Pages::Busy => self.arrive(&seen.query),
            Pages::Silent => std::future::pending().await,
            Pages::Script => Html("<title>App</title><div id=root></div><script>render()</script>")
                .into_response(),
            Pages::Denied => {
                let state = seen.query.get("state").cloned().unwrap_or_default();
                let query = [
                    ("error", "access_denied"),
                    ("error_description", "not today"),
                    ("state", &state),
                    ("iss", &self.base),
                ];
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(query)
                    .finish();
                let back = seen
                    .query
                    .get("redirect_uri")
                    .map_or(REDIRECT, String::as_str);
                Redirect::to(&format!("{back}?{query}")).into_response()
            }
            Pages::Scripted => Html(SCRIPTED).into_response(),
            Pages::Unreadable => Html(UNREADABLE).into_response(),
            Pages::Decoys => {
                let page = form("/login", DECOYS, &seen.query);
                Html(format!(
                    "{page}<button onclick=\"location='/elsewhere'\">Sign up</button>"
                ))
                .into_response()
            }
            Pages::Captcha => {
                let inputs = format!(
                    "{ONE}<div class=g-recaptcha data-sitekey=k style=\"width:304px;height:78px\"></div>"
                );
                Html(form("/login", &inputs, &seen.query)).into_response()
            }
            Pages::Locked => Html(form("/login", ONE, &seen.query)).into_response(),
            Pages::Challenge if !seen.cookie().contains("passed=1") => {
                (StatusCode::FORBIDDEN, Html(CHALLENGE)).into_response()
            }
            Pages::Challenge => Html(form("/login", ONE, &seen.query)).into_response(),
            Pages::CustomScheme => Redirect::to("throng-test://cb?code=abc").into_response(),
        }
    }

    fn login(&self, seen: &Seen) -> Response {
        let right = seen.form.get("username").map(String::as_str) == Some(USER)
            && seen.form.get("password").map(String::as_str) == Some(PASSWORD);
        if self.config.pages == Pages::Leak {
            return Redirect::temporary("http://localhost:1/steal").into_response();
        }
        if self.config.pages == Pages::Locked {
            let page = form("/login", ONE, &HashMap::new());
            return Html(format!(
                "{page}<p role=alert>This account has been locked.</p>"
            ))
            .into_response();
        }
        if seen.headers.get("x-scripted").is_some() {
            // A script's own request: it goes on by itself.
            return if right && self.config.pages == Pages::Unreadable {
                let query = form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(seen.form.iter().filter(|(name, _)| *name != "password"))
                    .finish();
                axum::Json(json!({ "location": format!("/ask?{query}") })).into_response()
            } else if right {
                let arrived = self.arrive(&seen.form);
                let location = arrived.headers()[header::LOCATION]
                    .to_str()
                    .unwrap()
                    .to_owned();
                axum::Json(json!({ "location": location })).into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            };
        }
        if !right {
            let given = seen.form.get("password").cloned().unwrap_or_default();
            let page = form("/login", ONE, &seen.form);
            // A page that even repeats the password.
            return Html(format!(
                "{page}<div class=\"alert error\">Wrong password {given} for you</div>"
            ))
            .into_response();
        }
        if self.config.pages == Pages::Consent {
            let buttons = "<button name=decision value=deny>Deny</button><button name=decision value=allow>Allow</button>";
            return Html(form("/consent", buttons, &seen.form)).into_response();
        }
        self.arrive(&seen.form)
    }

    fn arrive(&self, request: &HashMap<String, String>) -> Response {
        let code = self.next("code");
        self.codes
            .lock()
            .unwrap()
            .insert(code.clone(), request.clone());
        let state = self.config.state.map_or_else(
            || request.get("state").cloned().unwrap_or_default(),
            str::to_owned,
        );
        let back = request.get("redirect_uri").map_or(REDIRECT, String::as_str);
        let iss = self.config.iss.replace("{base}", &self.base);
        let mut pairs = vec![("code", code), ("state", state)];
        if !iss.is_empty() {
            pairs.push(("iss", iss));
        }
        if self.config.pages == Pages::FormPost {
            let inputs: String = pairs
                .iter()
                .map(|(n, v)| format!("<input type=hidden name={n} value=\"{v}\">"))
                .collect();
            return Html(format!("<body onload=\"document.forms[0].submit()\"><form method=post action=\"{back}\">{inputs}</form>")).into_response();
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        Redirect::to(&format!("{back}?{query}")).into_response()
    }

    fn token(&self, seen: &Seen) -> Response {
        let refuse = |error: &str| {
            (StatusCode::BAD_REQUEST, axum::Json(json!({"error": error}))).into_response()
        };
        match seen.form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => {
                let code = seen.form.get("code").cloned().unwrap_or_default();
                let Some(request) = self.codes.lock().unwrap().remove(&code) else {
                    return refuse("invalid_grant");
                };
                let verifier = seen.form.get("code_verifier").cloned().unwrap_or_default();
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
                if request.get("code_challenge") != Some(&challenge)
                    || seen.form.get("redirect_uri").map(String::as_str)
                        != request.get("redirect_uri").map(String::as_str)
                {
                    return refuse("invalid_grant");
                }
                self.issue(request.get("nonce"))
            }
            Some("refresh_token") => {
                let known = self.refresh.lock().unwrap().clone();
                match self.config.refresh {
                    Refresh::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    Refresh::Rotating if known.as_ref() == seen.form.get("refresh_token") => {
                        self.issue(None)
                    }
                    _ => refuse("invalid_grant"),
                }
            }
            _ => refuse("unsupported_grant_type"),
        }
    }

    fn issue(&self, nonce: Option<&String>) -> Response {
        let access = match &self.config.access {
            Some(make) => make(&self.base),
            None => self.next("access"),
        };
        let mut tokens = json!({"access_token": access, "token_type": "Bearer", "expires_in": self.config.lifetime});
        if self.config.refresh != Refresh::None {
            let refresh = self.next("refresh");
            *self.refresh.lock().unwrap() = Some(refresh.clone());
            tokens["refresh_token"] = refresh.into();
        }
        if let Some(signer) = &self.config.signer {
            let now = self.now();
            let own = json!({"iss": self.base, "sub": USER, "aud": "throng-client", "exp": now + 300, "iat": now, "nbf": now, "auth_time": now, "nonce": nonce});
            let mut header = jsonwebtoken::Header::new(signer.algorithm);
            header.kid = signer.kid.map(str::to_owned);
            tokens["id_token"] =
                jsonwebtoken::encode(&header, &merged(own, &self.config.claims), &signer.key)
                    .unwrap()
                    .into();
        }
        let date = [(header::DATE, http_date(self.now()))];
        (date, axum::Json(tokens)).into_response()
    }

    /// What its clock says, in seconds since 1970.
    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.unwrap().as_secs()).unwrap() + self.config.ahead
    }
}

/// RFC 9110 section 5.6.7, years and months counted one by one.
fn http_date(seconds: i64) -> String {
    let (mut days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!(
        "{weekday}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
        days + 1,
        names[month],
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
