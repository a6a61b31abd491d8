//! Users made by an administrator's declared requests: a token request, a list in pages, deletions by id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use throng_identity::Secret;
use throng_identity::directory::declared::{
    About, Authentication, Creating, Declared, Listing, Requests,
};
use throng_identity::directory::{Creation, Deletion, Directory, DirectoryError};
use throng_identity::hooks::{Hook, HookBody, SaveFrom, Values};
use tokio::net::TcpListener;
use url::Url;

use crate::provider::client;
use crate::sandbox::user;

const KEY: &str = "k3y-of-the-administrator";

/// Users by id; and how many tokens were given out, of which the last one is good.
#[derive(Clone, Default)]
struct Site(Arc<Mutex<(BTreeMap<u32, String>, u32)>>);

impl Site {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().0.values().cloned().collect()
    }

    async fn start(&self) -> Url {
        let app = Router::new()
            .route("/token", post(token))
            .route("/users", get(list).post(create))
            .route("/users/{id}", delete(remove))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Url::parse(&url).unwrap()
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let good = format!("session {}", self.0.lock().unwrap().1);
        headers
            .get("x-admin")
            .is_some_and(|given| given.as_bytes() == good.as_bytes())
    }
}

async fn token(State(site): State<Site>, Json(body): Json<Value>) -> Response {
    if body["key"] != KEY {
        let message = format!("{} is no key", body["key"]);
        return (StatusCode::UNAUTHORIZED, Json(json!({"message": message}))).into_response();
    }
    let mut site = site.0.lock().unwrap();
    site.1 += 1;
    Json(json!({"session": site.1})).into_response()
}

async fn create(State(site): State<Site>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !site.knows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let name = body["login"].as_str().unwrap().to_owned();
    let mut site = site.0.lock().unwrap();
    if site.0.values().any(|there| *there == name) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let id = site.0.last_key_value().map_or(1, |(id, _)| id + 1);
    site.0.insert(id, name);
    StatusCode::CREATED.into_response()
}

/// Two on a page, by the number of the page; fuzzy.
async fn list(
    State(site): State<Site>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if !site.knows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let page: usize = query["page"].parse().unwrap();
    let site = site.0.lock().unwrap();
    let found = site.0.iter().filter(|(_, name)| name.contains(&query["q"]));
    let found: Vec<Value> = found
        .skip(2 * (page - 1))
        .take(2)
        .map(|(id, name)| json!({"uid": id, "profile": {"login": name}}))
        .collect();
    Json(json!({"data": {"items": found}})).into_response()
}

async fn remove(State(site): State<Site>, headers: HeaderMap, Path(id): Path<u32>) -> Response {
    if !site.knows(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match site.0.lock().unwrap().0.remove(&id) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn directory(url: &Url, key: &str) -> Declared {
    let hook = |name: &str, method: Method, path: &str, body: HookBody| Hook {
        headers: vec![("X-Admin".to_owned(), "session {admin_session}".to_owned())],
        body,
        ..Hook::new(name, method, format!("{url}{path}"))
    };
    let token = Hook {
        headers: Vec::new(),
        save: vec![(
            "admin_session".to_owned(),
            SaveFrom::Path("$.session".to_owned()),
        )],
        ..hook(
            "token",
            Method::POST,
            "token",
            HookBody::Json(json!({"key": "{directory_password}"})),
        )
    };
    let new = json!({"login": "{name}", "mail": "{email}", "password": "{password}"});
    let list = "users?q={search}&page={page}";
    let requests = Requests {
        create: Creating::Request(Box::new(hook(
            "create",
            Method::POST,
            "users",
            HookBody::Json(new),
        ))),
        exists: vec![422],
        reuse: false,
        delete: Some(hook("delete", Method::DELETE, "users/{id}", HookBody::None)),
        list: Some(Listing {
            request: hook("list", Method::GET, list, HookBody::None),
            exact: None,
            whole: None,
            next: None,
            users: "$.data.items".to_owned(),
            name: "$.profile.login".to_owned(),
            id: Some("$.uid".to_owned()),
            total: None,
            caseless: false,
            quoted: false,
        }),
    };
    let about = About {
        kind: "http",
        url: url.clone(),
        admin: String::new(),
        credentials: Some("the key"),
    };
    let authentication = Authentication {
        known: Values::from([("directory_password".to_owned(), Secret::new(key))]),
        before: vec![token],
    };
    Declared::new(
        &client(),
        about,
        requests,
        authentication,
        Duration::from_secs(10),
    )
}

#[tokio::test]
async fn an_administrator_logs_in_once_and_again_when_his_session_ends() {
    let site = Site::default();
    let directory = directory(&site.start().await, KEY);
    for name in [
        "load_user_1",
        "load_user_2",
        "load_user_3",
        "load_user_10",
        "xload_user_1",
    ] {
        assert_eq!(
            directory.create(&user(name)).await.unwrap(),
            Creation::Created
        );
    }
    assert_eq!(site.0.lock().unwrap().1, 1);
    let error = directory.create(&user("load_user_1")).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Exists { .. }), "{error}");

    // His session is ended from elsewhere.
    site.0.lock().unwrap().1 += 10;
    let mut listed = directory.list("load_user_").await.unwrap();
    listed.sort();
    assert_eq!(
        listed,
        ["load_user_1", "load_user_10", "load_user_2", "load_user_3"]
    );
    assert_eq!(site.0.lock().unwrap().1, 12);
}

#[tokio::test]
async fn ids_are_looked_up_right_before_a_deletion() {
    let site = Site::default();
    let directory = directory(&site.start().await, KEY);
    for name in ["a_user_1", "a_user_10", "a_user_11"] {
        directory.create(&user(name)).await.unwrap();
    }
    assert_eq!(directory.list("a_user_").await.unwrap().len(), 3);
    // Meanwhile ids change hands: 1 is a stranger's now.
    {
        let users = &mut site.0.lock().unwrap().0;
        users.insert(1, "stranger".to_owned());
        users.insert(9, "a_user_1".to_owned());
    }
    assert_eq!(
        directory.delete("a_user_1").await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(site.names(), ["stranger", "a_user_10", "a_user_11"]);
    assert_eq!(
        directory.delete("a_user_1").await.unwrap(),
        Deletion::AlreadyGone
    );

    // Two of one name: nobody can say which is ours.
    site.0.lock().unwrap().0.insert(20, "a_user_10".to_owned());
    let error = directory.delete("a_user_10").await.unwrap_err();
    assert!(matches!(error, DirectoryError::Ambiguous { .. }), "{error}");
    assert_eq!(site.names().len(), 4);
}

#[tokio::test]
async fn a_wrong_key_is_told_and_not_shown() {
    let site = Site::default();
    let directory = directory(&site.start().await, "wr0ng-key-of-nobody");
    let error = directory.check().await.unwrap_err();
    let text = format!("{error} {error:?} {directory:?}");
    assert!(error.to_string().contains("is no key"), "{error}");
    assert!(!text.contains("wr0ng-key"), "{text}");
    let error = directory.create(&user("a")).await.unwrap_err();
    assert!(error.nothing_was_created(), "{error}");
    assert_eq!(site.names(), [""; 0]);
}
