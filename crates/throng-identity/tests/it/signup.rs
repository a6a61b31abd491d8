//! Whose a user is who signs up by a form: sites say "taken" and "closed" in many ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect, Response};
use axum::routing::{delete, get};
use axum::{Form, Router};
use http::{Method, StatusCode, header};
use regex::Regex;
use throng_identity::Ledger;
use throng_identity::cleanup::CleanupReport;
use throng_identity::directory::Directory;
use throng_identity::directory::declared::{Creating, Declared, Requests};
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::hooks::Hook;
use throng_identity::login::{FormLogin, FormPage, FormRegistration, LoginDriver};
use throng_identity::provision::{LoginWay, ProvisionPlan, Provisioned, provision};
use throng_identity::retry::RetryPolicy;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::provider::connector;
use crate::support::cleaned;

const TIMEOUT: Duration = Duration::from_secs(10);

/// How a site answers to a registration.
#[derive(Clone, Copy)]
enum Manner {
    /// 200 and some words, whether there was such a user or not.
    Words,
    /// 200, and nobody is made.
    Closed,
    /// A redirect to the login page, whose form has the same fields.
    Flask,
    /// The same redirect where the name is taken, without a word.
    Mute,
    /// The same redirect, to a page without any form.
    Formless,
    /// A redirect to a page that the new user may not see.
    Forbidden,
}

#[derive(Clone)]
struct Site {
    manner: Manner,
    users: Arc<Mutex<BTreeMap<String, String>>>,
    deletions: Arc<Mutex<Vec<String>>>,
}

const FORM: &str = "<form method=post><input name=username><input type=password name=password>\
     <button>Go</button></form>";

async fn form() -> Html<&'static str> {
    Html(FORM)
}

async fn login_page(State(site): State<Site>) -> Html<&'static str> {
    match site.manner {
        Manner::Formless => Html("<p>Come in"),
        _ => form().await,
    }
}

async fn sign_up(State(site): State<Site>, Form(form): Form<BTreeMap<String, String>>) -> Response {
    let mut users = site.users.lock().unwrap();
    let (name, password) = (form["username"].clone(), form["password"].clone());
    match site.manner {
        Manner::Closed => return Html("<p>Registration is closed.").into_response(),
        Manner::Mute if users.contains_key(&name) => None,
        _ if users.contains_key(&name) => {
            return Html("<p>A user of this name already exists.").into_response();
        }
        _ => users.insert(name, password),
    };
    match site.manner {
        Manner::Flask | Manner::Mute | Manner::Formless => Redirect::to("/login").into_response(),
        Manner::Forbidden => Redirect::to("/members").into_response(),
        _ => Html("<p>Welcome!").into_response(),
    }
}

async fn log_in(State(site): State<Site>, Form(form): Form<BTreeMap<String, String>>) -> Response {
    if site.users.lock().unwrap().get(&form["username"]) != form.get("password") {
        return Html(format!("<p class=error>Wrong password</p>{FORM}")).into_response();
    }
    let set = AppendHeaders([(header::SET_COOKIE, "session=good; Path=/")]);
    (set, Redirect::to("/")).into_response()
}

async fn remove(State(site): State<Site>, Path(name): Path<String>) -> StatusCode {
    site.deletions.lock().unwrap().push(name.clone());
    match site.users.lock().unwrap().remove(&name) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// What came of two users, and of the cleanup after them.
struct Story {
    site: Site,
    provisioned: Provisioned,
    cleanup: CleanupReport,
}

impl Story {
    fn users(&self) -> Vec<String> {
        self.site.users.lock().unwrap().keys().cloned().collect()
    }

    fn deletions(&self) -> Vec<String> {
        let mut names = self.site.deletions.lock().unwrap().clone();
        names.sort();
        names
    }

    fn told(&self) -> Vec<String> {
        let failures = self.provisioned.failures.iter();
        failures.map(|(_, error)| error.to_string()).collect()
    }
}

/// Two users sign up at a site with these strangers, log in and are removed.
async fn story(manner: Manner, strangers: &[&str]) -> Story {
    let strangers = strangers
        .iter()
        .map(|name| ((*name).to_owned(), "theirs".to_owned()));
    let site = Site {
        manner,
        users: Arc::new(Mutex::new(strangers.collect())),
        deletions: Arc::default(),
    };
    let app = Router::new()
        .route("/signup", get(form).post(sign_up))
        .route("/login", get(login_page).post(log_in))
        .route("/members", get(|| async { StatusCode::FORBIDDEN }))
        .route("/", get(|| async { Html("<p>Hello") }))
        .route("/users/{name}", delete(remove))
        .with_state(site.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let page = |name: &str| FormPage {
        name: name.to_owned(),
        page: format!("{url}{name}"),
        fields: Vec::new(),
    };
    let requests = Requests {
        create: Creating::Form(FormRegistration {
            form: page("signup"),
            exists: Some(Regex::new("already exists").unwrap()),
        }),
        exists: Vec::new(),
        reuse: false,
        list: None,
        delete: Some(Hook {
            expect: vec![204],
            ..Hook::new("delete", Method::DELETE, format!("{url}users/{{name}}"))
        }),
    };
    let client = throng_client::Client::new(&connector());
    let directory: Arc<dyn Directory> =
        Arc::new(Declared::register(&client, url.clone(), requests, TIMEOUT));
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&state.path().join("l.sqlite")).unwrap();
    let plan = ProvisionPlan {
        users: 2,
        prefix: Prefix::new("load").unwrap(),
        names: NameTemplates::default(),
        known: None,
        directory: Some(directory.clone()),
        connector: connector(),
        login: LoginWay::Form(Arc::new(FormLogin {
            driver: LoginDriver::Http,
            form: page("login"),
            logged_in: None,
            timeout: TIMEOUT,
            retry: RetryPolicy::once(),
        })),
        password: None,
        after_login: Arc::new([]),
        login_grace: None,
        timeout: TIMEOUT,
        concurrency: 2,
        retry: RetryPolicy::once(),
        stop_at_failure: false,
        run: ledger.begin_run().unwrap(),
    };
    let cancel = CancellationToken::new();
    let provisioned = provision(&plan, &ledger, &cancel, Arc::new(|_| {})).await;
    let cleanup = cleaned(&plan, &ledger).await;
    assert!(ledger.open_entries().unwrap().is_empty());
    Story {
        site,
        provisioned,
        cleanup,
    }
}

const NAMES: [&str; 2] = ["load_user_1", "load_user_2"];

#[tokio::test]
async fn a_stranger_is_not_deleted_for_a_page_that_says_taken_without_a_status() {
    let story = story(Manner::Words, &NAMES[..1]).await;
    assert_eq!(story.provisioned.identities.len(), 1);
    let told = story.told();
    assert!(
        told[0].contains("load_user_1") && told[0].contains("A user of this name already exists."),
        "{told:?}"
    );
    assert_eq!(story.deletions(), NAMES[1..]);
    assert_eq!(story.users(), NAMES[..1]);
    assert!(story.cleanup.is_complete() && story.cleanup.unknown.is_empty());
}

#[tokio::test]
async fn whom_nobody_made_is_not_deleted() {
    let story = story(Manner::Closed, &[]).await;
    let told = story.told();
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("Registration is closed."), "{told:?}");
    assert!(story.deletions().is_empty());
    assert!(story.cleanup.is_complete() && story.cleanup.found.is_empty());
}

#[tokio::test]
async fn a_login_form_after_a_registration_is_not_the_registration_once_more() {
    let story = story(Manner::Flask, &[]).await;
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.provisioned.identities.len(), 2);
    assert_eq!(story.deletions(), NAMES);
    assert!(story.users().is_empty());
}

#[tokio::test]
async fn a_redirect_is_taken_for_a_success_unless_the_password_is_refused() {
    let mute = story(Manner::Mute, &NAMES[..1]).await;
    let told = mute.told();
    assert!(told[0].contains("the password is refused"), "{told:?}");
    assert_eq!(mute.deletions(), NAMES[1..]);
    assert_eq!(mute.users(), NAMES[..1]);

    // The file may have the wrong login page; whoever was made for it goes.
    let formless = story(Manner::Formless, &[]).await;
    assert!(formless.provisioned.identities.is_empty());
    assert_eq!(formless.deletions(), NAMES);
    assert!(formless.users().is_empty());
}

#[tokio::test]
async fn what_a_page_after_a_registration_refuses_says_nothing_about_the_user() {
    let story = story(Manner::Forbidden, &[]).await;
    let told = story.told();
    assert!(told[0].contains("403"), "{told:?}");
    // There may be such users, and the run says so.
    let mut unknown = story.cleanup.unknown.clone();
    unknown.sort();
    assert_eq!(unknown, NAMES);
    assert!(story.deletions().is_empty());
}
