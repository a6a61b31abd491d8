//! Logins and registrations by the forms of a site, with its cookies and tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use http::{Method, StatusCode, header};
use regex::Regex;
use throng_client::Client;
use throng_identity::Secret;
use throng_identity::directory::declared::{Creating, Declared, Requests};
use throng_identity::directory::{Creation, Directory, NewUser};
use throng_identity::hooks::{Hook, Values};
use throng_identity::login::{
    FormLogin, FormPage, FormRegistration, Problem, Purpose, log_in_by_form,
};
use throng_identity::retry::RetryPolicy;
use tokio::net::TcpListener;
use url::Url;

use crate::provider::connector;

const PASSWORD: &str = "corr3ct-horse-battery";
const TIMEOUT: Duration = Duration::from_secs(10);

type Fields = BTreeMap<String, String>;

/// Users with their passwords, forms that were taken, and how the site behaves.
#[derive(Clone, Default)]
struct Site {
    users: Arc<Mutex<BTreeMap<String, String>>>,
    taken: Arc<Mutex<Vec<Fields>>>,
    /// Where a logged-in user is led to instead of a welcome.
    leads_to: Option<&'static str>,
    /// A login sets no cookie.
    forgets: bool,
    /// A login sets a cookie that lets nobody in.
    pretends: bool,
    /// The first answer to a login is 503.
    stumbles: Arc<Mutex<bool>>,
}

impl Site {
    fn with_user(name: &str) -> Self {
        let site = Self::default();
        let mut users = site.users.lock().unwrap();
        users.insert(name.to_owned(), PASSWORD.to_owned());
        drop(users);
        site
    }

    async fn start(&self) -> String {
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
            .route("/app-with-list/", get(app_with_list_page))
            .route("/list", post(name_page))
            .route("/stuck/", get(name_page).post(name_page))
            .route("/portal", get(portal_page))
            .route("/signup/", get(sign_up_page).post(sign_up))
            .route("/me", get(me))
            .route("/welcome", get(|| async { Html("<p>Welcome</p>") }))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn taken(&self) -> Vec<Fields> {
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

fn values(name: &str) -> Values {
    [
        ("name", name),
        ("email", "a@b.example"),
        ("password", PASSWORD),
    ]
    .map(|(key, value)| (key.to_owned(), Secret::new(value)))
    .into()
}

fn form(page: String, fields: &[(&str, &str)]) -> FormPage {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    FormPage {
        name: "login".to_owned(),
        page,
        fields: fields.iter().map(owned).collect(),
    }
}

fn login(page: String, fields: &[(&str, &str)]) -> FormLogin {
    FormLogin {
        form: form(page, fields),
        logged_in: None,
        timeout: TIMEOUT,
        retry: RetryPolicy::default(),
    }
}

fn probe(url: &str) -> Hook {
    Hook {
        expect: vec![200],
        ..Hook::new("logged_in", Method::GET, format!("{url}/me"))
    }
}

/// Logs alice in; what came of it, and the words of the error.
async fn attempt(login: &FormLogin) -> Result<Client, (Problem, String)> {
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

#[tokio::test]
async fn a_form_is_found_by_its_meaning_and_sent_as_a_browser_would() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let client = Client::with_cookies(&connector());
    let password = Secret::new(PASSWORD);
    let session = log_in_by_form(&by_form, &client, "alice", &password, &values("alice"))
        .await
        .unwrap();
    assert_eq!(session.attempts, 1);
    let purposes: Vec<_> = session.hops.iter().map(|hop| hop.purpose).collect();
    let wanted = [Purpose::Page, Purpose::Credentials, Purpose::Follow];
    assert_eq!(purposes, wanted);
    let jar = client.cookies().unwrap();
    let at = Url::parse(&url).unwrap();
    assert_eq!(jar.get(&at, "session").as_deref(), Some("good"));
    let sent = [
        ("password", PASSWORD),
        ("token", "t0ken"),
        ("username", "alice"),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(site.taken(), [Fields::from(sent)]);
}

#[tokio::test]
async fn two_pages_a_page_that_is_missing_and_a_passing_failure_are_no_obstacle() {
    let site = Site {
        leads_to: Some("/nowhere"),
        stumbles: Arc::new(Mutex::new(true)),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/two/"), &[]);
    by_form.logged_in = Some(probe(&url));
    attempt(&by_form).await.unwrap();
    assert_eq!(site.taken().len(), 1);
}

#[tokio::test]
async fn the_scenario_says_what_the_form_does_not() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let tenant = login(format!("{url}/tenant/"), &[]);
    let (problem, words) = attempt(&tenant).await.unwrap_err();
    assert!(matches!(problem, Problem::Unfilled(_)), "{words}");
    assert!(
        words.contains("tenant") && words.contains("`fields`"),
        "{words}"
    );
    assert!(site.taken().is_empty());
    let tenant = login(format!("{url}/tenant/"), &[("tenant", "of {name}")]);
    attempt(&tenant).await.unwrap();
    assert_eq!(site.taken()[0]["tenant"], "of alice");

    let odd = login(
        format!("{url}/odd/"),
        &[("a1", "{name}"), ("a2", "{password}")],
    );
    attempt(&odd).await.unwrap();
    let astray = login(format!("{url}/login/"), &[("user", "{name}")]);
    let (problem, words) = attempt(&astray).await.unwrap_err();
    assert!(matches!(problem, Problem::Field { .. }), "{words}");
    assert!(
        words.contains("`user`") && words.contains("token, username, password"),
        "{words}"
    );
}

#[tokio::test]
async fn a_field_for_a_mail_address_gets_one() {
    let site = Site::with_user("a@b.example");
    let url = site.start().await;
    attempt(&login(format!("{url}/mail/"), &[])).await.unwrap();
    assert_eq!(site.taken()[0]["username"], "a@b.example");
}

#[tokio::test]
async fn an_error_names_the_page_and_what_is_wrong_with_it() {
    let site = Site::with_user("bob");
    let url = site.start().await;
    let (problem, words) = attempt(&login(format!("{url}/login/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
    assert!(
        words.contains("at hop 2 (POST") && words.contains("Wrong password: [secret]"),
        "{words}"
    );

    let fields = [("tenant", "key-of-the-tenant")];
    let (_, words) = attempt(&login(format!("{url}/tenant/"), &fields))
        .await
        .unwrap_err();
    assert!(
        words.contains("[secret] [secret]") && !words.contains("key-of"),
        "{words}"
    );

    let (problem, words) = attempt(&login(format!("{url}/search/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(
        words.contains("\"Search me\"")
            && words.contains("a form with q")
            && words.contains("`fields`"),
        "{words}"
    );

    let (problem, words) = attempt(&login(format!("{url}/none/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::Status { .. }), "{words}");
    assert!(words.contains("404") && words.contains("/none/"), "{words}");
}

#[tokio::test]
async fn a_session_that_does_not_hold_is_none() {
    let forgets = Site {
        forgets: true,
        ..Site::with_user("alice")
    };
    let url = forgets.start().await;
    let (problem, words) = attempt(&login(format!("{url}/login/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoCookie), "{words}");

    let pretends = Site {
        pretends: true,
        ..Site::with_user("alice")
    };
    let url = pretends.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    attempt(&by_form).await.unwrap();
    by_form.logged_in = Some(probe(&url));
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::NotLoggedIn(_)), "{words}");
    assert!(words.contains("/me") && words.contains("401"), "{words}");
}

#[tokio::test]
async fn a_cookie_from_before_the_password_is_no_session() {
    let url = Site::with_user("alice").start().await;
    let (problem, words) = attempt(&login(format!("{url}/words/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoCookie), "{words}");
    assert!(words.contains("`logged_in`"), "{words}");
}

#[tokio::test]
async fn a_form_further_on_is_the_login_again_only_if_it_is_the_same() {
    let site = Site {
        leads_to: Some("/account"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    attempt(&login(format!("{url}/login/"), &[])).await.unwrap();

    // Another form for name and password: only the probe knows.
    let site = Site {
        leads_to: Some("/portal"),
        ..Site::with_user("alice")
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
    by_form.logged_in = Some(probe(&url));
    attempt(&by_form).await.unwrap();
    let site = Site {
        pretends: true,
        ..site
    };
    let url = site.start().await;
    let mut by_form = login(format!("{url}/login/"), &[]);
    by_form.logged_in = Some(probe(&url));
    let (problem, words) = attempt(&by_form).await.unwrap_err();
    assert!(matches!(problem, Problem::Credentials), "{words}");
}

#[tokio::test]
async fn the_password_goes_into_the_login_form_only() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    attempt(&login(format!("{url}/both/"), &[])).await.unwrap();
    let fields = [("a1", "{name}"), ("a2", "{password}")];
    attempt(&login(format!("{url}/two-logins/"), &fields))
        .await
        .unwrap();
    assert_eq!(site.taken().len(), 2);
}

#[tokio::test]
async fn a_form_that_is_no_login_gets_nothing() {
    let site = Site::with_user("alice");
    let url = site.start().await;
    let (problem, words) = attempt(&login(format!("{url}/app-with-list/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(words.contains("a form with email"), "{words}");

    // A script is no reason to look for another page or other fields.
    let (problem, words) = attempt(&login(format!("{url}/app/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NoForm { .. }), "{words}");
    assert!(
        words.contains("a script makes its form")
            && !words.contains("browser")
            && !words.contains("`fields`"),
        "{words}"
    );

    // Asked for the name twice: no password was sent, hence none refused.
    let (problem, words) = attempt(&login(format!("{url}/stuck/"), &[]))
        .await
        .unwrap_err();
    assert!(matches!(problem, Problem::NameAgain), "{words}");
}

fn directory(url: &str, fields: &[(&str, &str)], reuse: bool) -> Declared {
    let registration = FormRegistration {
        form: form(format!("{url}/signup/"), fields),
        exists: Some(Regex::new("(?i)taken").unwrap()),
    };
    let requests = Requests {
        create: Creating::Form(registration),
        exists: Vec::new(),
        reuse,
        list: None,
        delete: None,
    };
    let client = Client::new(&connector());
    Declared::register(&client, Url::parse(url).unwrap(), requests, TIMEOUT)
}

fn carol(email: &str) -> NewUser {
    NewUser {
        name: "carol".to_owned(),
        display_name: "Carol".to_owned(),
        email: email.to_owned(),
        password: Secret::new(PASSWORD),
    }
}

#[tokio::test]
async fn a_user_registers_by_a_form_and_logs_in() {
    let site = Site::default();
    let url = site.start().await;
    let fields = [("nickname", "{display_name}")];
    let join = directory(&url, &fields, false);
    let made = join.create(&carol("carol@b.example")).await.unwrap();
    // Whether it is, a login with its password will tell.
    let said = "Sign in: Go".to_owned();
    let likely = true;
    assert_eq!(made, Creation::Unproven { said, likely });
    let sent = [
        ("do", "join"),
        ("email", "carol@b.example"),
        ("nickname", "Carol"),
        ("password1", PASSWORD),
        ("password2", PASSWORD),
        ("terms", "on"),
        ("token", "t0ken"),
        ("username", "carol"),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(site.taken(), [Fields::from(sent)]);

    // There is one now, who is used or not.
    let error = join.create(&carol("carol@b.example")).await.unwrap_err();
    assert!(
        error.to_string().contains("carol exists already"),
        "{error}"
    );
    let join = directory(&url, &fields, true);
    let made = join.create(&carol("carol@b.example")).await.unwrap();
    assert_eq!(made, Creation::Reused);
}

#[tokio::test]
async fn a_refused_registration_says_what_the_page_said_and_made_nobody() {
    let site = Site::default();
    let url = site.start().await;
    let join = directory(&url, &[("nickname", "x")], false);
    let error = join.create(&carol("nowhere")).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("got its form again") && words.contains("Enter a mail address."),
        "{words}"
    );
    assert!(!words.contains(PASSWORD), "{words}");
    assert!(error.nothing_was_created() && !error.is_passing());
    // All is said: a source would say it again.
    assert!(std::error::Error::source(&error).is_none());

    let join = directory(&url, &[], false);
    let error = join.create(&carol("carol@b.example")).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("nickname") && words.contains("`fields`"),
        "{words}"
    );
    assert!(error.nothing_was_created());
}
