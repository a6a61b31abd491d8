//! Keycloak's users, by its admin REST API (`/admin/realms/{realm}/users`).
//!
//! Written after its documentation: <https://www.keycloak.org/docs-api/latest/rest-api/index.html>, sections "Users" and
//! "UserRepresentation". User names are kept in lower case there, and a user without first and last name cannot log in to a
//! realm whose profile requires them, which since version 24 is every new one.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use throng_client::Client;
use url::Url;

use super::declared::{About, Authentication, Creating, Declared, Listing, Requests};
use crate::hooks::{Hook, HookAuth, HookBody, SaveFrom};
use crate::secret::Secret;

/// Users asked for at once when listing; Keycloak's own default.
const PAGE: u32 = 100;
/// The client that every realm has for its administrators.
pub const ADMIN_CLIENT: &str = "admin-cli";
/// The realm whose administrators may manage all others.
pub const ADMIN_REALM: &str = "master";

/// A realm of a Keycloak.
#[derive(Debug, Clone)]
pub struct Realm {
    /// The server, with what its paths begin with (`/auth` before version 17).
    pub url: Url,
    /// The realm whose users are made.
    pub name: String,
    /// The realm at which the administrator logs in.
    pub admin_realm: String,
    /// Who he is.
    pub login: KeycloakLogin,
}

/// How an administrator gets his token.
#[derive(Debug, Clone)]
pub enum KeycloakLogin {
    /// By name and password, through a client that takes them (direct access grants).
    Password {
        /// His name.
        user: String,
        /// His password.
        password: Secret,
        /// The client, [`ADMIN_CLIENT`] unless another is wanted.
        client: String,
        /// Its secret, if it has one.
        client_secret: Option<Secret>,
    },
    /// As a client with a service account that may manage users.
    Client {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Secret,
    },
}

/// The directory of a realm; each request takes at most `timeout`.
pub fn keycloak(client: &Client, realm: &Realm, timeout: Duration) -> Declared {
    let users = below(&realm.url, &["admin", "realms", &realm.name, "users"]);
    let hook = |name: &str, method: Method, rest: &str| Hook {
        auth: HookAuth::Bearer,
        ..Hook::new(name, method, format!("{users}{rest}"))
    };
    let search = |exact: bool| {
        format!(
            "?username={{search}}&exact={exact}&first={{offset}}&max={PAGE}&briefRepresentation=true"
        )
    };
    let listing = Listing {
        request: hook("list", Method::GET, &search(false)),
        exact: Some(hook("find", Method::GET, &search(true))),
        whole: None,
        next: None,
        users: "$".to_owned(),
        name: "$.username".to_owned(),
        id: Some("$.id".to_owned()),
        total: None,
        caseless: true,
        quoted: false,
    };
    let mut create = hook("create", Method::POST, "");
    create.body = HookBody::Json(json!({
        "username": "{name}",
        "email": "{email}",
        "emailVerified": true,
        "firstName": "{given_name}",
        "lastName": "{family_name}",
        "enabled": true,
        "requiredActions": [],
        "credentials": [{ "type": "password", "value": "{password}", "temporary": false }],
    }));
    let requests = Requests {
        create: Creating::Request(Box::new(create)),
        exists: vec![StatusCode::CONFLICT.as_u16()],
        reuse: false,
        delete: Some(hook("delete", Method::DELETE, "/{id}")),
        list: Some(listing),
    };
    let admin = match &realm.login {
        KeycloakLogin::Password { user, .. } => user,
        KeycloakLogin::Client { id, .. } => id,
    };
    let about = About {
        kind: "keycloak",
        // Users of two realms are not the same.
        url: below(&realm.url, &["admin", "realms", &realm.name]),
        admin: admin.clone(),
        credentials: Some(
            "the directory's admin and password (or client), its realm and admin_realm",
        ),
    };
    Declared::new(client, about, requests, authentication(realm), timeout)
}

/// The token request: the password grant or the client credentials grant (RFC 6749 sections 4.3 and 4.4).
fn authentication(realm: &Realm) -> Authentication {
    let path = [
        "realms",
        &realm.admin_realm,
        "protocol",
        "openid-connect",
        "token",
    ];
    let mut token = Hook::new("token", Method::POST, below(&realm.url, &path).to_string());
    token.save = vec![(
        "token".to_owned(),
        SaveFrom::Path("$.access_token".to_owned()),
    )];
    let mut form = Vec::new();
    let mut known = Vec::new();
    let mut field = |name: &str, key: &str, value: &Secret| {
        form.push((name.to_owned(), format!("{{{key}}}")));
        known.push((key.to_owned(), value.clone()));
    };
    let grant = match &realm.login {
        KeycloakLogin::Password {
            user,
            password,
            client,
            client_secret,
        } => {
            field(
                "client_id",
                "directory_client",
                &Secret::new(client.clone()),
            );
            field("username", "directory_admin", &Secret::new(user.clone()));
            field("password", "directory_password", password);
            if let Some(secret) = client_secret {
                field("client_secret", "client_secret", secret);
            }
            "password"
        }
        KeycloakLogin::Client { id, secret } => {
            field("client_id", "directory_client", &Secret::new(id.clone()));
            field("client_secret", "client_secret", secret);
            "client_credentials"
        }
    };
    form.push(("grant_type".to_owned(), grant.to_owned()));
    token.body = HookBody::Form(form);
    Authentication {
        known: known.into_iter().collect(),
        before: vec![token],
    }
}

fn below(url: &Url, path: &[&str]) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Fails only for URLs like `data:`, which the settings do not let through.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}
