//! Users who register themselves and log in by a declared request: the session is a cookie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use throng_identity::cleanup::CleanupReport;
use throng_identity::directory::declared::{Creating, Declared, Requests};
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::directory::{Directory, NewUser};
use throng_identity::hooks::{Hook, HookBody, SaveFrom};
use throng_identity::provision::{LoginWay, ProvisionPlan, Provisioned, provision};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Ledger, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::provider::connector;
use crate::support::cleaned;

/// The target: users by name, with mail address and password; and how many answers are lost, by what was asked.
#[derive(Clone, Default)]
struct Site(
    Arc<Mutex<BTreeMap<String, (String, String)>>>,
    Arc<Mutex<BTreeMap<String, u32>>>,
);

impl Site {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// Does what is asked so many times more, and says that it failed.
    fn lose(&self, asked: &str, times: u32) {
        self.1.lock().unwrap().insert(asked.to_owned(), times);
    }

    fn lost(&self, asked: &str) -> Option<Response> {
        let mut losses = self.1.lock().unwrap();
        let times = losses.get_mut(asked)?;
        *times = times.checked_sub(1)?;
        let at_once = AppendHeaders([(header::RETRY_AFTER, "0")]);
        Some((StatusCode::INTERNAL_SERVER_ERROR, at_once).into_response())
    }

    async fn start(&self) -> Url {
        let app = Router::new()
            .route("/register", post(register))
            .route("/login", post(log_in))
            .route("/me", get(me))
            .route("/users/{name}", delete(remove))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Url::parse(&url).unwrap()
    }
}

async fn register(State(site): State<Site>, Json(body): Json<Value>) -> Response {
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    let mut users = site.0.lock().unwrap();
    if !text("email").contains('@') {
        return (StatusCode::UNPROCESSABLE_ENTITY, "a mail address, please").into_response();
    }
    let lost = site.lost(&format!("register {}", text("username")));
    if users.contains_key(&text("username")) {
        return lost.unwrap_or_else(|| StatusCode::CONFLICT.into_response());
    }
    users.insert(text("username"), (text("email"), text("password")));
    if let Some(lost) = lost {
        return lost;
    }
    Json(json!({"id": users.len()})).into_response()
}

async fn log_in(State(site): State<Site>, Form(form): Form<BTreeMap<String, String>>) -> Response {
    let users = site.0.lock().unwrap();
    match users.get(&form["username"]) {
        Some((_, password)) if *password == form["password"] => {
            let cookie = format!("session={}; Path=/; HttpOnly", form["username"]);
            let set = AppendHeaders([(header::SET_COOKIE, cookie)]);
            (set, Json(json!({"csrf_token": "c5rf"}))).into_response()
        }
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn me(headers: http::HeaderMap) -> String {
    let cookie = headers.get(header::COOKIE);
    cookie.map_or("nobody".to_owned(), |value| {
        value.to_str().unwrap().to_owned()
    })
}

async fn remove(State(site): State<Site>, Path(name): Path<String>) -> Response {
    let removed = site.0.lock().unwrap().remove(&name);
    let lost = site.lost(&format!("delete {name}"));
    lost.unwrap_or_else(|| match removed {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

fn hook(name: &str, method: Method, url: String, body: HookBody) -> Hook {
    Hook {
        body,
        ..Hook::new(name, method, url)
    }
}

struct World {
    site: Site,
    url: Url,
    ledger: Ledger,
    _state: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let site = Site::default();
        let state = tempfile::tempdir().unwrap();
        Self {
            url: site.start().await,
            site,
            ledger: Ledger::open(&state.path().join("l.sqlite")).unwrap(),
            _state: state,
        }
    }

    fn directory(&self, deletes: bool, reuse: bool) -> Arc<dyn Directory> {
        self.deleting_at(deletes.then_some("users"), reuse)
    }

    /// Users are deleted under this path.
    fn deleting_at(&self, path: Option<&str>, reuse: bool) -> Arc<dyn Directory> {
        let url = &self.url;
        let body = json!({"username": "{name}", "email": "{email}", "password": "{password}"});
        let requests = Requests {
            create: Creating::Request(Box::new(hook(
                "register",
                Method::POST,
                format!("{url}register"),
                HookBody::Json(body),
            ))),
            exists: vec![409],
            reuse,
            list: None,
            delete: path.map(|path| {
                hook(
                    "delete",
                    Method::DELETE,
                    format!("{url}{path}/{{name}}"),
                    HookBody::None,
                )
            }),
        };
        let client = throng_client::Client::new(&connector());
        let timeout = Duration::from_secs(10);
        Arc::new(Declared::register(&client, url.clone(), requests, timeout))
    }

    /// Provisions three users.
    async fn provision(&self, directory: &Arc<dyn Directory>, emails: &str) -> Run {
        let password = Some(Secret::new("the-same-each-time"));
        self.provision_with(directory, emails, password).await
    }

    async fn provision_with(
        &self,
        directory: &Arc<dyn Directory>,
        emails: &str,
        password: Option<Secret>,
    ) -> Run {
        let form = [("username", "{name}"), ("password", "{password}")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let login = Hook {
            expect: vec![200],
            save: vec![("csrf".to_owned(), SaveFrom::Path("$.csrf_token".to_owned()))],
            ..hook(
                "login",
                Method::POST,
                format!("{}login", self.url),
                HookBody::Form(form.into()),
            )
        };
        let names = NameTemplates::default();
        let plan = ProvisionPlan {
            users: 3,
            prefix: Prefix::new("load").unwrap(),
            names: NameTemplates::new("{prefix}_user_{n}", "User {n}", emails).unwrap_or(names),
            known: None,
            directory: Some(directory.clone()),
            connector: connector(),
            login: LoginWay::Requests(Arc::new([login])),
            password,
            after_login: Arc::new([]),
            timeout: Duration::from_secs(10),
            concurrency: 2,
            retry: RetryPolicy {
                attempts: 2,
                ..RetryPolicy::default()
            },
            stop_at_failure: false,
            login_grace: None,
            run: self.ledger.begin_run().unwrap(),
        };
        let cancel = CancellationToken::new();
        let provisioned = provision(&plan, &self.ledger, &cancel, Arc::new(|_| {})).await;
        Run { plan, provisioned }
    }

    async fn clean(&self, run: &Run) -> CleanupReport {
        cleaned(&run.plan, &self.ledger).await
    }
}

struct Run {
    plan: ProvisionPlan,
    provisioned: Provisioned,
}

const NAMES: [&str; 3] = ["load_user_1", "load_user_2", "load_user_3"];

#[tokio::test]
async fn users_register_log_in_by_cookie_and_are_deleted() {
    let world = World::start().await;
    let run = world
        .provision(&world.directory(true, false), "{name}@example.com")
        .await;
    assert!(run.provisioned.failures.is_empty(), "{:?}", run.provisioned);
    assert_eq!(world.site.names(), NAMES);
    for identity in &run.provisioned.identities {
        let me = Request::get(format!("{}me", world.url)).body(bytes::Bytes::new());
        let answer = identity
            .client
            .send(me.unwrap(), Duration::from_secs(10))
            .await
            .unwrap();
        // Each its own cookie, and only that.
        assert_eq!(answer.body, format!("session={}", identity.name));
        assert!(identity.tokens.is_none());
        let saved: Vec<_> = identity
            .saved
            .iter()
            .map(|(k, v)| (&**k, v.expose()))
            .collect();
        assert_eq!(saved, [("csrf", "c5rf")]);
    }
    let report = world.clean(&run).await;
    assert_eq!(report.deleted, NAMES);
    assert!(report.is_complete() && report.staying.is_empty());
    assert_eq!(world.site.names(), Vec::<String>::new());
}

#[tokio::test]
async fn users_that_nothing_deletes_stay_are_named_and_used_again() {
    let world = World::start().await;
    let keeps = world.directory(false, true);
    let first = world.provision(&keeps, "{name}@example.com").await;
    let report = world.clean(&first).await;
    assert_eq!(report.staying, NAMES);
    assert!(report.is_complete() && report.deleted.is_empty());
    // Nobody's work any more.
    assert!(world.ledger.open_entries().unwrap().is_empty());

    let second = world.provision(&keeps, "{name}@example.com").await;
    assert_eq!(second.provisioned.identities.len(), 3);
    // Not made by this run, hence not named by it.
    assert!(world.clean(&second).await.staying.is_empty());

    let strict = world.directory(false, false);
    let third = world.provision(&strict, "{name}@example.com").await;
    let told: Vec<_> = third
        .provisioned
        .failures
        .iter()
        .map(|(_, e)| e.to_string())
        .collect();
    assert!(told[0].contains("load_user_1 exists already"), "{told:?}");
    assert!(world.ledger.open_entries().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_registration_and_a_wrong_password_say_what_the_target_said() {
    let world = World::start().await;
    let directory = world.directory(true, true);
    let run = world.provision(&directory, "{name}.example.com").await;
    let told = run.provisioned.failures[0].1.to_string();
    assert!(
        told.contains("creating load_user_1")
            && told.contains("422")
            && told.contains("a mail address, please"),
        "{told}"
    );
    assert!(world.ledger.open_entries().unwrap().is_empty());

    let taken = ("x@example.com".to_owned(), "somebody else's".to_owned());
    world
        .site
        .0
        .lock()
        .unwrap()
        .insert(NAMES[0].to_owned(), taken);
    let run = world.provision(&directory, "{name}@example.com").await;
    let told = run.provisioned.failures[0].1.to_string();
    assert!(
        told.contains("logging in load_user_1") && told.contains("401"),
        "{told}"
    );
    assert!(!told.contains("the-same-each-time"), "{told}");
    assert_eq!(run.provisioned.identities.len(), 2);
    // The stranger's account is not ours to delete.
    assert_eq!(world.clean(&run).await.deleted, NAMES[1..]);
    assert_eq!(world.site.names(), NAMES[..1]);
}

#[tokio::test]
async fn who_is_there_after_a_lost_answer_is_ours_if_our_password_logs_in() {
    let world = World::start().await;
    let taken = ("x@example.com".to_owned(), "somebody else's".to_owned());
    let users = world.site.0.clone();
    users.lock().unwrap().insert(NAMES[0].to_owned(), taken);
    for name in NAMES {
        world.site.lose(&format!("register {name}"), 1);
    }
    let directory = world.directory(true, false);
    let run = world
        .provision_with(&directory, "{name}@example.com", None)
        .await;
    assert_eq!(run.provisioned.identities.len(), 2, "{:?}", run.provisioned);
    let told = run.provisioned.failures[0].1.to_string();
    assert!(
        told.contains("load_user_1 exists already") && !told.contains("throng cleanup"),
        "{told}"
    );
    let report = world.clean(&run).await;
    assert_eq!(report.deleted, NAMES[1..]);
    assert!(report.unknown.is_empty());
    assert_eq!(world.site.names(), NAMES[..1]);
}

#[tokio::test]
async fn an_earlier_runs_user_is_not_deleted_for_a_lost_answer() {
    let world = World::start().await;
    let earlier = world.directory(false, true);
    let run = world.provision(&earlier, "{name}@example.com").await;
    world.clean(&run).await;

    world.site.lose("register load_user_2", 1);
    let deletes = world.directory(true, true);
    let run = world.provision(&deletes, "{name}@example.com").await;
    assert_eq!(run.provisioned.identities.len(), 3, "{:?}", run.provisioned);
    assert!(world.clean(&run).await.found.is_empty());
    assert_eq!(world.site.names(), NAMES);
}

#[tokio::test]
async fn whom_nobody_knows_to_be_created_is_neither_deleted_nor_said_to_stay() {
    let world = World::start().await;
    world.site.lose("register load_user_1", 9);
    for deletes in [false, true] {
        let directory = world.directory(deletes, false);
        let run = world
            .provision_with(&directory, "{name}@example.com", None)
            .await;
        let told = run.provisioned.failures[0].1.to_string();
        assert!(told.contains("500"), "{told}");
        let report = world.clean(&run).await;
        assert_eq!(report.unknown, NAMES[..1]);
        assert!(!report.staying.contains(&NAMES[0].to_owned()));
        assert!(!report.deleted.contains(&NAMES[0].to_owned()));
        assert!(world.ledger.open_entries().unwrap().is_empty());
    }
    assert!(world.site.names().contains(&NAMES[0].to_owned()));
}

#[tokio::test]
async fn a_deletion_that_finds_nobody_deleted_nobody() {
    let world = World::start().await;
    let astray = world.deleting_at(Some("nowhere"), false);
    let run = world.provision(&astray, "{name}@example.com").await;
    let report = world.clean(&run).await;
    assert!(!report.is_complete() && report.gone.is_empty());
    assert_eq!(report.left.len(), 3);
    let why = &report.left[0].why;
    assert!(
        why.contains("404") && why.contains("no such user, or no such path"),
        "{why}"
    );
    assert_eq!(world.site.names(), NAMES);
}

#[tokio::test]
async fn a_user_who_is_gone_after_a_lost_answer_was_deleted() {
    let world = World::start().await;
    world.site.lose("delete load_user_3", 1);
    let run = world
        .provision(&world.directory(true, false), "{name}@example.com")
        .await;
    let report = world.clean(&run).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.deleted, NAMES[..2]);
    assert_eq!(report.gone, NAMES[2..]);
}

#[tokio::test]
async fn a_registration_that_fails_says_how_long_to_wait() {
    let world = World::start().await;
    world.site.lose("register someone", 1);
    let user = NewUser {
        name: "someone".to_owned(),
        display_name: "Some One".to_owned(),
        email: "someone@example.com".to_owned(),
        password: Secret::new("pass"),
    };
    let error = world
        .directory(true, false)
        .create(&user)
        .await
        .unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::ZERO));
}
