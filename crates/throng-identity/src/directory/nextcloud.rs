//! Nextcloud's users by its provisioning API (`/ocs/v2.php/cloud/users`).
//!
//! Its `search` matches any part of id, display name and mail address, so [`list`](Directory::list) returns strangers, too.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use throng_client::{Client, Exchange};
use url::{Url, form_urlencoded};

use super::{Creation, Deletion, Directory, DirectoryError, NewUser};
use crate::redact;
use crate::retry;
use crate::secret::Secret;
use crate::wire;

/// Users asked for at once when listing.
const PAGE: usize = 500;

/// A Nextcloud and one of its administrators.
#[derive(Debug)]
pub struct Nextcloud {
    client: Client,
    url: Url,
    admin: String,
    authorization: HeaderValue,
    password: Secret,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Envelope {
    ocs: Ocs,
}

#[derive(Deserialize)]
struct Ocs {
    meta: Meta,
    #[serde(default)]
    data: serde_json::Value,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    statuscode: i64,
    message: Option<String>,
}

impl Nextcloud {
    /// The Nextcloud at `url` (a path such as `/cloud` is kept). `client` is the administrator's and has no cookies: with a
    /// session, requests would have to pass Nextcloud's CSRF check.
    pub fn new(client: Client, url: Url, admin: &str, password: Secret, timeout: Duration) -> Self {
        Self {
            client: client.without_cookies(),
            url,
            admin: admin.to_owned(),
            authorization: wire::basic(admin, &password),
            password,
            timeout,
        }
    }

    fn api(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        // Fails only for URLs like `data:`, which the settings do not let through.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["ocs", "v2.php", "cloud"])
                .extend(path);
        }
        url
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        form: Option<String>,
    ) -> Result<Exchange, DirectoryError> {
        let name = name_of(&method);
        let mut builder = wire::request(method, url)
            .header("ocs-apirequest", "true")
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, self.authorization.clone());
        if form.is_some() {
            builder = builder.header(header::CONTENT_TYPE, wire::FORM);
        }
        let request = wire::finish(builder, form.unwrap_or_default());
        let shown = redact::url(url);
        let exchange = self
            .client
            .send(request, self.timeout)
            .await
            .map_err(|source| DirectoryError::Transport {
                method: name,
                url: shown.clone(),
                source,
            })?;
        let said = || wire::said(&exchange, &[&self.password]);
        match exchange.status {
            StatusCode::UNAUTHORIZED => Err(DirectoryError::Unauthorized {
                url: self.url.to_string(),
                refused: format!("the password of {}", self.admin),
                check: "NEXTCLOUD_USERNAME and NEXTCLOUD_PASSWORD or the directory's admin and password",
            }),
            StatusCode::FORBIDDEN => Err(DirectoryError::Forbidden {
                url: self.url.to_string(),
                admin: self.admin.clone(),
            }),
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(DirectoryError::Busy {
                    method: name,
                    url: shown,
                    status,
                    retry_after: retry::retry_after(&exchange.headers),
                    said: said(),
                })
            }
            _ => Ok(exchange),
        }
    }

    fn unexpected(
        &self,
        method: &'static str,
        url: &Url,
        expected: &'static str,
        exchange: &Exchange,
        secrets: &[&Secret],
    ) -> DirectoryError {
        let mut all = vec![&self.password];
        all.extend(secrets);
        DirectoryError::Unexpected {
            method,
            url: redact::url(url),
            expected,
            status: exchange.status,
            said: wire::said(exchange, &all),
        }
    }

    async fn check_now(&self) -> Result<(), DirectoryError> {
        let url = self.api(&["user"]);
        let exchange = self.call(Method::GET, &url, None).await?;
        let who =
            envelope(&exchange).and_then(|ocs| ocs.data.get("id")?.as_str().map(str::to_owned));
        if who.is_none() {
            return Err(self.unexpected(
                "GET",
                &url,
                "a Nextcloud's answer about the own account",
                &exchange,
                &[],
            ));
        }
        // Who may list may also create; subadministrators of a group may do both within it.
        let mut url = self.api(&["users"]);
        url.set_query(Some("limit=1"));
        let exchange = self.call(Method::GET, &url, None).await?;
        match exchange.status.is_success() {
            true => Ok(()),
            false => Err(self.unexpected("GET", &url, "a list of users", &exchange, &[])),
        }
    }

    async fn create_now(&self, user: &NewUser) -> Result<Creation, DirectoryError> {
        let url = self.api(&["users"]);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("userid", &user.name)
            .append_pair("password", user.password.expose())
            .append_pair("displayName", &user.display_name)
            .append_pair("email", &user.email)
            .finish();
        let exchange = self.call(Method::POST, &url, Some(form)).await?;
        let Some(ocs) = envelope(&exchange) else {
            return Err(self.unexpected(
                "POST",
                &url,
                "a Nextcloud's answer",
                &exchange,
                &[&user.password],
            ));
        };
        // v2 says 200, v1 (behind some proxies) 100; both with HTTP 200.
        if exchange.status.is_success() && matches!(ocs.meta.statuscode, 100 | 200) {
            return Ok(Creation::Created);
        }
        let explanation = match ocs.meta.statuscode {
            102 => {
                return Err(DirectoryError::Exists {
                    name: user.name.clone(),
                    url: self.url.to_string(),
                    cleanable: true,
                });
            }
            101 => {
                "the name has characters that are not allowed (a-z A-Z 0-9 _ . @ - '), or the password is against the server's policy"
            }
            103 => "the server failed to create it",
            107 => "the password is against the server's policy",
            108 => "neither a password nor a mail address was given",
            _ => "the server does not accept it",
        };
        let said = redact::text(
            &ocs.meta.message.unwrap_or_default(),
            &[&user.password, &self.password],
        );
        let url = self.url.to_string();
        Err(DirectoryError::Refused {
            url,
            name: user.name.clone(),
            explanation,
            code: ocs.meta.statuscode,
            said,
        })
    }

    async fn delete_now(&self, name: &str) -> Result<Deletion, DirectoryError> {
        let url = self.api(&["users", name]);
        let exchange = self.call(Method::DELETE, &url, None).await?;
        let code = envelope(&exchange).map_or(0, |ocs| ocs.meta.statuscode);
        match (exchange.status, code) {
            // 404 alone may be a proxy's or a wrong address's.
            (StatusCode::NOT_FOUND | StatusCode::OK, 998 | 404) => Ok(Deletion::AlreadyGone),
            (status, 100 | 200) if status.is_success() => Ok(Deletion::Deleted),
            _ => Err(self.unexpected(
                "DELETE",
                &url,
                "200, or 404 with statuscode 998",
                &exchange,
                &[],
            )),
        }
    }

    async fn list_now(&self, stem: &str) -> Result<Vec<String>, DirectoryError> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let mut url = self.api(&["users"]);
            let offset = seen.len();
            url.query_pairs_mut()
                .append_pair("search", stem)
                .append_pair("limit", &PAGE.to_string())
                .append_pair("offset", &offset.to_string());
            let exchange = self.call(Method::GET, &url, None).await?;
            let users = envelope(&exchange).and_then(|ocs| names(&ocs.data));
            let Some(users) = users.filter(|_| exchange.status.is_success()) else {
                return Err(self.unexpected("GET", &url, "a list of users", &exchange, &[]));
            };
            // A full page may be the last one, a short one may not be (several back ends). Only a page without news ends it,
            // also at a server that ignores `offset`.
            for name in users {
                if seen.insert(name.clone()) && name.starts_with(stem) {
                    found.push(name);
                }
            }
            if seen.len() == offset {
                return Ok(found);
            }
        }
    }
}

impl Directory for Nextcloud {
    fn kind(&self) -> &'static str {
        "nextcloud"
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn admin(&self) -> &str {
        &self.admin
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        self.check_now().boxed()
    }

    fn create<'a>(&'a self, user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        self.create_now(user).boxed()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        self.delete_now(name).boxed()
    }

    fn list<'a>(&'a self, stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        self.list_now(stem).boxed()
    }
}

fn envelope(exchange: &Exchange) -> Option<Ocs> {
    serde_json::from_slice::<Envelope>(&exchange.body)
        .ok()
        .map(|envelope| envelope.ocs)
}

/// `data.users`: a list, or an object where PHP numbered its entries with gaps. Missing when empty? Then `data` is `[]`.
fn names(data: &serde_json::Value) -> Option<Vec<String>> {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    match data.get("users") {
        Some(serde_json::Value::Array(users)) => users.iter().map(text).collect(),
        Some(serde_json::Value::Object(users)) => users.values().map(text).collect(),
        None if data.as_array().is_some_and(Vec::is_empty) => Some(Vec::new()),
        _ => None,
    }
}

fn name_of(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "GET",
    }
}
