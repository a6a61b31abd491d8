//! Users of a Keycloak: a server of ours that answers as its documentation says. No real one was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Form, Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use throng_identity::Secret;
use throng_identity::directory::declared::Declared;
use throng_identity::directory::keycloak::{
    ADMIN_CLIENT, ADMIN_REALM, KeycloakLogin, Realm, keycloak,
};
use throng_identity::directory::{Creation, Deletion, Directory, DirectoryError};
use tokio::net::TcpListener;
use url::Url;

use crate::provider::client;
use crate::sandbox::user;

const TIMEOUT: Duration = Duration::from_secs(20);
const PASSWORD: &str = "adm1n-of-the-master-realm";
const SECRET: &str = "s3cret-of-a-service-account";

#[derive(Default)]
struct Realms {
    users: Vec<Value>,
    made: u32,
    /// The token that is good now, and for how many more requests.
    token: (u32, u32),
    grants: Vec<String>,
    requests: Vec<String>,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Realms>>);

impl Server {
    async fn start(&self) -> Url {
        let users = "/auth/admin/realms/{realm}/users";
        let app = Router::new()
            .route(
                "/auth/realms/{realm}/protocol/openid-connect/token",
                post(token),
            )
            .route(users, get(list).post(create))
            .route(&format!("{users}/{{id}}"), delete(remove))
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/auth/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Url::parse(&url).unwrap()
    }

    /// 401 without a good token. Each is good for three requests, as if it were short-lived.
    fn refuses(&self, headers: &HeaderMap) -> Option<Response> {
        let mut realms = self.0.lock().unwrap();
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let good = format!("Bearer token-{}", realms.token.0);
        if realms.token.1 == 0 || given != Some(&*good) {
            let body = Json(json!({"error": "HTTP 401 Unauthorized"}));
            return Some((StatusCode::UNAUTHORIZED, body).into_response());
        }
        realms.token.1 -= 1;
        None
    }
}

async fn token(
    State(server): State<Server>,
    Path(realm): Path<String>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let mut realms = server.0.lock().unwrap();
    let is = |key: &str, value: &str| form.get(key).is_some_and(|given| given == value);
    let known = match form["grant_type"].as_str() {
        "password" => {
            realm == "master"
                && is("client_id", "admin-cli")
                && is("username", "admin")
                && is("password", PASSWORD)
        }
        "client_credentials" => {
            realm == "load" && is("client_id", "provisioner") && is("client_secret", SECRET)
        }
        _ => false,
    };
    if !known {
        let body =
            json!({"error": "invalid_grant", "error_description": "Invalid user credentials"});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    realms.grants.push(form["grant_type"].clone());
    realms.token = (realms.token.0 + 1, 3);
    let token = format!("token-{}", realms.token.0);
    Json(json!({"access_token": token, "expires_in": 60, "token_type": "Bearer"})).into_response()
}

async fn create(
    State(server): State<Server>,
    headers: HeaderMap,
    Path(realm): Path<String>,
    Json(mut body): Json<Value>,
) -> Response {
    if let Some(refused) = server.refuses(&headers) {
        return refused;
    }
    assert_eq!(realm, "load");
    let mut realms = server.0.lock().unwrap();
    let name = body["username"].as_str().unwrap().to_lowercase();
    if realms.users.iter().any(|user| user["username"] == *name) {
        let body = Json(json!({"errorMessage": "User exists with same username"}));
        return (StatusCode::CONFLICT, body).into_response();
    }
    realms.made += 1;
    let id = format!("f81d4fae-7dec-11d0-a765-{:012}", realms.made);
    body["username"] = name.into();
    body["id"] = id.clone().into();
    realms.users.push(body);
    let location = format!("http://localhost/auth/admin/realms/load/users/{id}");
    (
        StatusCode::CREATED,
        AppendHeaders([(header::LOCATION, location)]),
    )
        .into_response()
}

async fn list(
    State(server): State<Server>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if let Some(refused) = server.refuses(&headers) {
        return refused;
    }
    let mut realms = server.0.lock().unwrap();
    realms.requests.push(format!("{query:?}"));
    let number = |key: &str| query[key].parse::<usize>().unwrap();
    let (search, exact) = (query["username"].to_lowercase(), query["exact"] == "true");
    let found = realms.users.iter().filter(|user| {
        let name = user["username"].as_str().unwrap();
        if exact {
            name == search
        } else {
            name.contains(&search)
        }
    });
    // Fewer than were asked for, so that there are pages.
    let page = found.skip(number("first")).take(number("max").min(2));
    let page: Vec<Value> = page
        .map(|user| json!({"id": user["id"], "username": user["username"], "enabled": true}))
        .collect();
    Json(page).into_response()
}

async fn remove(
    State(server): State<Server>,
    headers: HeaderMap,
    Path((_, id)): Path<(String, String)>,
) -> Response {
    if let Some(refused) = server.refuses(&headers) {
        return refused;
    }
    let mut realms = server.0.lock().unwrap();
    let before = realms.users.len();
    realms.users.retain(|user| user["id"] != *id);
    if realms.users.len() == before {
        return (
            StatusCode::NOT_FOUND,
            Json(json!({"error": "User not found"})),
        )
            .into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}

fn administrator(password: &str) -> KeycloakLogin {
    KeycloakLogin::Password {
        user: "admin".to_owned(),
        password: Secret::new(password),
        client: ADMIN_CLIENT.to_owned(),
        client_secret: None,
    }
}

fn directory(url: &Url, admin_realm: &str, login: KeycloakLogin) -> Declared {
    let realm = Realm {
        url: url.clone(),
        name: "load".to_owned(),
        admin_realm: admin_realm.to_owned(),
        login,
    };
    keycloak(&client(), &realm, TIMEOUT)
}

#[tokio::test]
async fn users_are_made_so_that_they_can_log_in_and_are_found_and_deleted_by_id() {
    let server = Server::default();
    let url = server.start().await;
    let keycloak = directory(&url, ADMIN_REALM, administrator(PASSWORD));
    keycloak.check().await.unwrap();
    for name in [
        "Load_user_1",
        "load_user_2",
        "load_user_10",
        "my_load_user_1",
    ] {
        assert_eq!(
            keycloak.create(&user(name)).await.unwrap(),
            Creation::Created
        );
    }
    let made = server.0.lock().unwrap().users[0].clone();
    assert_eq!(
        made,
        json!({
            "id": "f81d4fae-7dec-11d0-a765-000000000001",
            "username": "load_user_1",
            "email": "Load_user_1@benchmark.local",
            "emailVerified": true,
            "firstName": "The",
            "lastName": "Load_user_1",
            "enabled": true,
            "requiredActions": [],
            "credentials": [{"type": "password", "value": "Corr3ct-horse!", "temporary": false}],
        })
    );
    let error = keycloak.create(&user("load_user_2")).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Exists { .. }), "{error}");

    // The search finds parts of names; who isn't called so is left out.
    assert_eq!(
        keycloak.list("load_user_").await.unwrap(),
        ["load_user_1", "load_user_2", "load_user_10"]
    );
    // As it is kept there, whatever case it was made with; and not its namesakes.
    assert_eq!(
        keycloak.delete("Load_user_1").await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(
        keycloak.delete("Load_user_1").await.unwrap(),
        Deletion::AlreadyGone
    );
    let realms = server.0.lock().unwrap();
    let left: Vec<&str> = realms
        .users
        .iter()
        .map(|user| user["username"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["load_user_2", "load_user_10", "my_load_user_1"]);
    // Tokens ran out on the way, and were asked for again.
    assert!(realms.grants.len() > 2, "{:?}", realms.grants);
    assert!(
        realms
            .requests
            .iter()
            .any(|asked| asked.contains(r#""exact": "true""#)),
        "{:?}",
        realms.requests
    );
}

#[tokio::test]
async fn a_service_account_may_do_it_too() {
    let server = Server::default();
    let url = server.start().await;
    let login = KeycloakLogin::Client {
        id: "provisioner".to_owned(),
        secret: Secret::new(SECRET),
    };
    let keycloak = directory(&url, "load", login);
    assert_eq!(
        keycloak.create(&user("a")).await.unwrap(),
        Creation::Created
    );
    assert_eq!(server.0.lock().unwrap().grants, ["client_credentials"]);
    assert_eq!(keycloak.admin(), "provisioner");
    assert_eq!(keycloak.url().path(), "/auth/admin/realms/load");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::default();
    let url = server.start().await;
    let keycloak = directory(&url, ADMIN_REALM, administrator("wr0ng-and-secret"));
    let error = keycloak.check().await.unwrap_err();
    let text = format!("{error} {error:?} {keycloak:?}");
    assert!(
        error.to_string().contains("Invalid user credentials"),
        "{error}"
    );
    assert!(!text.contains("wr0ng-and-secret"), "{text}");
    assert!(!error.is_passing());
}
