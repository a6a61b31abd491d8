//! A site whose users log in and sign up by forms, with its cookies and tokens, some of it made by scripts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use http::{Method, StatusCode, header};
use throng_client::Client;
use throng_identity::Secret;
use throng_identity::hooks::{Hook, Values};
use throng_identity::login::{FormLogin, FormPage, LoginDriver, Problem, log_in_by_form};
use throng_identity::retry::RetryPolicy;
use tokio::net::TcpListener;

use crate::provider::connector;

pub(crate) const PASSWORD: &str = "corr3ct-horse-battery";
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a script's login is under way.
const SCRIPT_TAKES: Duration = Duration::from_millis(700);

/// How long a slow one is: longer than a page that wants nothing is looked at.
const SLOW_TAKES: Duration = Duration::from_secs(7);

pub(crate) type Fields = BTreeMap<String, String>;

/// Users with their passwords, forms that were taken, and how the site behaves.
#[derive(Clone, Default)]
pub(crate) struct Site {
    pub(crate) users: Arc<Mutex<BTreeMap<String, String>>>,
    pub(crate) taken: Arc<Mutex<Vec<Fields>>>,
    /// Where a logged-in user is led to instead of a welcome.
    pub(crate) leads_to: Option<&'static str>,
    /// A login sets no cookie.
    pub(crate) forgets: bool,
    /// A login sets a cookie that lets nobody in.
    pub(crate) pretends: bool,
    /// What a script's login sets is for a part of the site only.
    pub(crate) below: bool,
    /// The first answer to a login is 503.
    pub(crate) stumbles: Arc<Mutex<bool>>,
}

impl Site {
    pub(crate) fn with_user(name: &str) -> Self {
        let site = Self::default();
        let mut users = site.users.lock().unwrap();
        users.insert(name.to_owned(), PASSWORD.to_owned());
        drop(users);
        site
    }

    pub(crate) async fn start(&self) -> String {
        let app = Router::new()
            .route("/login/", get(login_page).post(log_in))
            .route("/two/", get(name_page).post(name_taken))
            .route("/tenant/", get(tenant_page).post(log_in))
            .route("/mail/", get(mail_page).post(log_in))
            .route("/odd/", get(odd_page).post(log_in))
            .route("/search/", get(search_page))
            .route("/words/", get(login_page).post(failed_in_words))
            .route("/account", get(account_page))
            .route("/both/", get(both_page).post(log_in))
            .route("/two-logins/", get(two_logins_page).post(log_in))
            .route("/app/", get(app_page))
            .route("/app.js", get(app_script))
            .route("/api/login", post(log_in_by_script))
            .route("/api/me", get(me_below))
            .route("/guarded/", get(guarded_page).post(log_in))
            .route("/choices/", get(choices_page).post(log_in))
            .route("/restless", get(restless_page))
            .route("/never", get(std::future::pending::<()>))
            .route("/app-with-list/", get(app_with_list_page))
            .route("/list", post(name_page))
            .route("/stuck/", get(name_page).post(name_page))
            .route("/portal", get(portal_page))
            .route("/forwarded/", get(login_page).post(forwarded))
            .route("/session", get(session_page))
            .route("/timed", get(timed_page))
            .route("/locked/", get(login_page).post(locked))
            .route("/wary/", get(login_page).post(wary))
            .route("/moody/{mood}", get(moody_page))
            .route("/signup/", get(sign_up_page).post(sign_up))
            .route("/me", get(me))
            .route("/welcome", get(|| async { Html("<p>Welcome</p>") }))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    pub(crate) fn taken(&self) -> Vec<Fields> {
        self.taken.lock().unwrap().clone()
    }
}

/// A page with the token of its form, which is also in a cookie.
fn page(title: &str, fields: &str, error: &str) -> Response {
    let html = format!(
        "<title>{title}</title><form action='/search/'><input name=q></form>\
         <div class=errors>{error}</div>\
         <form method=post><input type=hidden name=token value=t0ken>{fields}\
         <button>Go</button></form>"
    );
    let set = AppendHeaders([(header::SET_COOKIE, "token=t0ken; Path=/")]);
    (set, Html(html)).into_response()
}

const LOGIN: &str = "<input name=username required><input type=password name=password required>";

async fn login_page() -> Response {
    page("Sign in", LOGIN, "")
}

async fn tenant_page() -> Response {
    let fields = format!("{LOGIN}<input name=tenant required>");
    page("Sign in", &fields, "")
}

async fn mail_page() -> Response {
    let fields = "<input type=email name=username><input type=password name=password>";
    page("Sign in", fields, "")
}

/// What takes the password doesn't say so.
async fn odd_page() -> Response {
    page("Door", "<input name=a1><input name=a2>", "")
}

async fn name_page() -> Response {
    page("Who are you?", "<input name=login_name>", "")
}

async fn name_taken(headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    if let Err(refused) = genuine(&headers, &form) {
        return *refused;
    }
    let name = &form["login_name"];
    page_to("/login/", name)
}

fn page_to(action: &str, name: &str) -> Response {
    let html = format!(
        "<title>Password</title><form method=post action='{action}'>\
         <input type=hidden name=token value=t0ken><input type=hidden name=username value='{name}'>\
         <input type=password name=password></form>"
    );
    Html(html).into_response()
}

/// First a form to sign up with, then the login.
async fn both_page() -> Response {
    let sign_up = "<form method=post action=/join><input name=username><input type=email name=email>\
         <input type=password name=password></form>";
    page("Sign in", LOGIN, sign_up)
}

/// Two forms for name and password.
async fn two_logins_page() -> Response {
    let other = format!("<form method=post action=/other>{LOGIN}</form>");
    let fields = "<input name=a1><input type=password name=a2>";
    page("Sign in", fields, &other)
}

/// Its form is made by a script.
async fn app_page() -> Html<&'static str> {
    Html("<title>App</title><div id=app></div><script src=/app.js></script>")
}

async fn app_with_list_page() -> Html<&'static str> {
    Html(
        "<title>App</title><div id=app></div><script src=/app.js></script><form method=post action=/list>\
         <input type=email name=email required><button>Subscribe</button></form>",
    )
}

/// A refusal without a status, a form or a cookie.
async fn failed_in_words() -> Html<&'static str> {
    Html("<h1>Login failed</h1><a href=/words/>Try again</a>")
}

/// Asks whoever is logged in for his password.
async fn account_page() -> Html<&'static str> {
    Html(
        "<form method=post action=/delete>Delete account <input type=password name=password></form>",
    )
}

/// Lets another user log in as well.
async fn portal_page() -> Html<&'static str> {
    Html("<form method=post action=/other><input name=user><input type=password name=pass></form>")
}

/// The page's own form, and what it shows while the login is under way, and afterwards.
const SCRIPT: &str = r#"
    const app = document.getElementById("app");
    app.innerHTML = `<label>Name <input autocomplete=username></label>
        <input type=password placeholder=Password><button disabled>Log in</button><p class=error></p>`;
    const [name, password] = app.querySelectorAll("input");
    const [button, error] = [app.querySelector("button"), app.querySelector("p")];
    app.addEventListener("input", () => { button.disabled = !(name.value && password.value); });
    button.addEventListener("click", async () => {
        button.hidden = true;
        const body = new URLSearchParams({ username: name.value, password: password.value });
        const answer = await fetch("/api/login", { method: "POST", body });
        if (answer.ok) { app.innerHTML = "<h1>Welcome</h1>"; return; }
        button.hidden = false;
        error.textContent = await answer.text();
    });
"#;

async fn app_script() -> Response {
    let kind = AppendHeaders([(header::CONTENT_TYPE, "text/javascript")]);
    (kind, SCRIPT).into_response()
}

async fn log_in_by_script(State(site): State<Site>, Form(form): Form<Fields>) -> Response {
    site.taken.lock().unwrap().push(form.clone());
    tokio::time::sleep(SCRIPT_TAKES).await;
    if site.users.lock().unwrap().get(&form["username"]) != Some(&form["password"]) {
        let said = format!("Wrong password: {}", form["password"]);
        return (StatusCode::FORBIDDEN, said).into_response();
    }
    let path = if site.below { "/api" } else { "/" };
    let cookie = format!("session=good; Path={path}; HttpOnly");
    AppendHeaders([(header::SET_COOKIE, cookie)]).into_response()
}

/// Only what is sent below `/api` has the cookie.
async fn me_below(headers: HeaderMap) -> StatusCode {
    me(headers).await
}

/// Lets in only what runs scripts.
async fn guarded_page(headers: HeaderMap) -> Response {
    let cookies = headers.get(header::COOKIE).map(|value| value.as_bytes());
    if cookies.is_some_and(|cookies| cookies.windows(8).any(|part| part == b"passed=1")) {
        return login_page().await;
    }
    let page = "<title>Just a moment...</title><script>window._cf_chl_opt = {};\
         document.cookie = 'passed=1; path=/'; setTimeout(() => location.reload(), 100);</script>";
    (StatusCode::FORBIDDEN, Html(page)).into_response()
}

/// What the form leads to leads on by itself, and only that has the cookie.
async fn forwarded(State(site): State<Site>, Form(form): Form<Fields>) -> Html<&'static str> {
    match site.users.lock().unwrap().get(&form["username"]) == Some(&form["password"]) {
        true => Html("<meta http-equiv=refresh content='0; url=/session'><p>One moment"),
        false => Html("<p class=error>No"),
    }
}

async fn session_page() -> Response {
    let set = AppendHeaders([(header::SET_COOKIE, "session=good; Path=/")]);
    (set, Html("<h1>Welcome</h1>")).into_response()
}

/// Shows whoever has done nothing for a quarter of an hour the form again.
async fn timed_page() -> Html<&'static str> {
    Html("<meta http-equiv=refresh content='900; url=/login/'><h1>Welcome</h1>")
}

async fn locked() -> Response {
    let page = Html("<h1>Sorry</h1><p>Your account is locked. Call us.");
    (StatusCode::FORBIDDEN, page).into_response()
}

/// Lets nobody in who has failed once, unless he solves something.
async fn wary() -> Response {
    let fields = format!("{LOGIN}<img src=/none alt=captcha width=90 height=30>");
    page("Sign in", &fields, "Wrong password")
}

/// Its form stays while the login is under way, and is then
/// - `glad`: under a message that all went well, until the script goes on;
/// - `loud`: as it was, under a dialog that says what is wrong;
/// - `slow`: gone long before the answer comes.
async fn moody_page(Path(mood): Path<String>) -> Html<String> {
    let script = r#"
        const [form, said] = document.body.children;
        form.onsubmit = async (event) => {
            event.preventDefault();
            const body = new URLSearchParams(new FormData(form));
            if (mood === "slow") {
                form.remove();
                await new Promise((on) => fetch("/moody/wait").then(on));
            }
            const answer = await fetch("/api/login", { method: "POST", body });
            if (!answer.ok) return alert(await answer.text());
            said.innerHTML = "<div class='alert alert-success' role=alert>You are logged in. One moment please.</div>";
            setTimeout(() => location.assign("/welcome"), 1000);
        };"#;
    if mood == "wait" {
        tokio::time::sleep(SLOW_TAKES).await;
    }
    Html(format!(
        "<body><form>{LOGIN}<button>Go</button></form><p></p><script>const mood = '{mood}';{script}</script>"
    ))
}

async fn choices_page() -> Response {
    let fields = format!(
        "{LOGIN}<select name=realm><option value=a>A<option value=b>B</select>\
         <input type=radio name=role value=guest checked><input type=radio name=role value=member>\
         <input type=checkbox name=stay value=yes><input type=hidden name=device value=unknown>"
    );
    page("Sign in", &fields, "")
}

/// Has a request under way for ever, and never looks the same.
async fn restless_page() -> Html<&'static str> {
    Html(
        "<title>Live</title><p id=clock></p><script>fetch('/never');\
         setInterval(() => { clock.textContent = performance.now(); }, 100);</script>",
    )
}

async fn search_page() -> Html<&'static str> {
    Html("<title>Search me</title><form><input name=q></form>")
}

/// As a framework refuses what a browser would not have sent.
fn genuine(headers: &HeaderMap, form: &Fields) -> Result<(), Box<Response>> {
    let text = |name: http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let right = form.get("token").is_some_and(|token| token == "t0ken")
        && text(header::COOKIE).is_some_and(|cookies| cookies.contains("token=t0ken"))
        && text(header::ORIGIN) == Some(&format!("http://{host}"))
        && text(header::REFERER).is_some_and(|from| from.contains(host));
    if right {
        return Ok(());
    }
    let page = Html("<title>Forbidden</title><p>CSRF verification failed.");
    Err(Box::new((StatusCode::FORBIDDEN, page).into_response()))
}

async fn log_in(
    State(site): State<Site>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    if let Err(refused) = genuine(&headers, &form) {
        return *refused;
    }
    if std::mem::take(&mut *site.stumbles.lock().unwrap()) {
        let soon = AppendHeaders([(header::RETRY_AFTER, "0")]);
        return (StatusCode::SERVICE_UNAVAILABLE, soon).into_response();
    }
    site.taken.lock().unwrap().push(form.clone());
    let given = |one: &str, other: &str| form.get(one).or(form.get(other)).cloned();
    let (name, password) = (given("username", "a1"), given("password", "a2"));
    let users = site.users.lock().unwrap();
    let right = users.get(&name.clone().unwrap_or_default()) == password.as_ref();
    if !right {
        let tenant = form.get("tenant").map_or("", String::as_str);
        let said = format!("Wrong password: {} {tenant}", password.unwrap_or_default());
        return page("Sign in", LOGIN, &said);
    }
    let session = if site.pretends { "old" } else { "good" };
    let cookie = if site.forgets {
        "token=; Path=/; Max-Age=0".to_owned()
    } else {
        format!("session={session}; Path=/; HttpOnly")
    };
    let next = site.leads_to.unwrap_or("/welcome");
    let set = AppendHeaders([(header::SET_COOKIE, cookie)]);
    (set, Redirect::to(next)).into_response()
}

async fn me(headers: HeaderMap) -> StatusCode {
    let cookie = headers.get(header::COOKIE).map(|value| value.as_bytes());
    match cookie {
        Some(cookie) if cookie.windows(12).any(|part| part == b"session=good") => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    }
}

const SIGN_UP: &str = "<input name=username><input name=email type=email>\
     <input type=password name=password1><input type=password name=password2>\
     <input name=nickname required><input type=checkbox name=terms required>";

async fn sign_up_page() -> Response {
    let html = format!(
        "<title>Join</title><form action=/login/ method=post>{LOGIN}</form>\
         <form method=post><input type=hidden name=token value=t0ken>{SIGN_UP}\
         <button name=do value=cancel>Cancel</button><button name=do value=join>Sign up</button>"
    );
    let set = AppendHeaders([(header::SET_COOKIE, "token=t0ken; Path=/")]);
    (set, Html(html)).into_response()
}

async fn sign_up(
    State(site): State<Site>,
    headers: HeaderMap,
    Form(form): Form<Fields>,
) -> Response {
    if let Err(refused) = genuine(&headers, &form) {
        return *refused;
    }
    site.taken.lock().unwrap().push(form.clone());
    let mut users = site.users.lock().unwrap();
    if !form["email"].contains('@') {
        return page("Join", SIGN_UP, "Enter a mail address.");
    }
    if users.contains_key(&form["username"]) {
        return page("Join", SIGN_UP, "This name is taken.");
    }
    users.insert(form["username"].clone(), form["password1"].clone());
    Redirect::to("/login/").into_response()
}

pub(crate) fn values(name: &str) -> Values {
    [
        ("name", name),
        ("email", "a@b.example"),
        ("password", PASSWORD),
    ]
    .map(|(key, value)| (key.to_owned(), Secret::new(value)))
    .into()
}

pub(crate) fn form(page: String, fields: &[(&str, &str)]) -> FormPage {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    FormPage {
        name: "login".to_owned(),
        page,
        fields: fields.iter().map(owned).collect(),
    }
}

pub(crate) fn login(page: String, fields: &[(&str, &str)]) -> FormLogin {
    FormLogin {
        driver: LoginDriver::Http,
        form: form(page, fields),
        logged_in: None,
        timeout: TIMEOUT,
        retry: RetryPolicy::default(),
    }
}

pub(crate) fn probe(url: &str) -> Hook {
    Hook {
        expect: vec![200],
        ..Hook::new("logged_in", Method::GET, format!("{url}/me"))
    }
}

/// Logs alice in; the client, or what came instead, and the words of the error.
pub(crate) async fn attempt(login: &FormLogin) -> Result<Client, (Problem, String)> {
    let client = Client::with_cookies(&connector());
    let password = Secret::new(PASSWORD);
    match log_in_by_form(login, &client, "alice", &password, &values("alice")).await {
        Ok(_) => Ok(client),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains(PASSWORD), "{words}");
            assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
            Err((error.into_problem(), words))
        }
    }
}
