//! Users by SCIM 2.0 (RFC 7643, RFC 7644), as identity providers and applications take them from each other.
//!
//! Searches are filters (RFC 7644 section 3.4.2.2). Where a server has none, says so in its `ServiceProviderConfig` or refuses one,
//! all of its users are listed instead.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use throng_client::Client;
use url::Url;

use super::declared::{About, Authentication, Creating, Declared, Listing, Requests};
use super::{Creation, Deletion, Directory, DirectoryError, NewUser};
use crate::hooks::{self, Hook, HookAuth, HookBody, Values};
use crate::secret::Secret;

/// The media type of SCIM (RFC 7644 section 8.1).
const MEDIA_TYPE: &str = "application/scim+json";

/// How an administrator is known to a SCIM server.
#[derive(Debug, Clone)]
pub enum ScimLogin {
    /// HTTP Basic.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that does not change (RFC 6750).
    Bearer(Secret),
    /// By headers, which may use what requests before them saved.
    Declared {
        /// The requests, and what they may use.
        authentication: Authentication,
        /// Names and templates of the headers.
        headers: Vec<(String, String)>,
    },
}

/// A SCIM server.
#[derive(Debug)]
pub struct Scim {
    users: Declared,
    config: Hook,
}

#[derive(Deserialize)]
struct Config {
    filter: Option<Filter>,
}

#[derive(Deserialize)]
struct Filter {
    supported: bool,
}

impl Scim {
    /// The server whose base URL is `url`, such as `https://example.com/scim/v2`; each request takes at most `timeout`.
    pub fn new(client: &Client, url: Url, login: ScimLogin, timeout: Duration) -> Self {
        let mut headers = vec![(
            "Accept".to_owned(),
            format!("{MEDIA_TYPE}, application/json"),
        )];
        let mut admin = String::new();
        let (auth, authentication) = match login {
            ScimLogin::Basic { user, password } => {
                admin.clone_from(&user);
                let known = [
                    ("directory_admin", Secret::new(user)),
                    ("directory_password", password),
                ];
                (
                    HookAuth::Basic {
                        user: "{directory_admin}".to_owned(),
                        password: "{directory_password}".to_owned(),
                    },
                    knowing(known),
                )
            }
            ScimLogin::Bearer(token) => (HookAuth::Bearer, knowing([("token", token)])),
            ScimLogin::Declared {
                authentication,
                headers: declared,
            } => {
                headers.extend(declared);
                (HookAuth::None, authentication)
            }
        };
        let base = url.as_str().trim_end_matches('/').to_owned();
        let hook = |name: &str, method: Method, path: &str| Hook {
            headers: headers.clone(),
            auth: auth.clone(),
            ..Hook::new(name, method, format!("{base}{path}"))
        };
        let mut create = hook("create", Method::POST, "/Users");
        let typed = ("Content-Type".to_owned(), MEDIA_TYPE.to_owned());
        create.headers.push(typed);
        create.body = HookBody::Json(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "{name}",
            "externalId": "{name}",
            "name": {
                "formatted": "{display_name}",
                "givenName": "{given_name}",
                "familyName": "{family_name}",
            },
            "displayName": "{display_name}",
            // Whoever has one address has a primary one; there are servers that refuse to be told.
            "emails": [{ "value": "{email}" }],
            "password": "{password}",
            "active": true,
        }));
        let requests = Requests {
            create: Creating::Request(Box::new(create)),
            exists: vec![StatusCode::CONFLICT.as_u16()],
            reuse: false,
            delete: Some(hook("delete", Method::DELETE, "/Users/{id}")),
            list: Some(listing(hook)),
        };
        let about = About {
            kind: "scim",
            url,
            admin,
            credentials: Some("the directory's admin and password, or its token"),
        };
        Self {
            config: hook("config", Method::GET, "/ServiceProviderConfig"),
            users: Declared::new(client, about, requests, authentication, timeout),
        }
    }

    /// Reads what the server can do. One that does not say is asked for filters and believed when it refuses them.
    async fn check_now(&self) -> Result<(), DirectoryError> {
        self.users.log_in().await?;
        let (answer, all) = self.users.ask(&self.config, &Values::new()).await?;
        if hooks::is_passing(answer.status) {
            return Err(hooks::refused(&self.config, &answer, &all)?.into());
        }
        let config = serde_json::from_slice::<Config>(&answer.body).ok();
        let config = config.filter(|_| answer.status.is_success());
        if let Some(Config {
            filter: Some(Filter { supported: false }),
        }) = config
        {
            self.users.search_whole();
        }
        Ok(())
    }
}

/// How users are listed: by the beginning of their names, one by his whole name, and all where the server knows no filters.
fn listing(hook: impl Fn(&str, Method, &str) -> Hook) -> Listing {
    let filter = |operator: &str| format!("/Users?filter=userName%20{operator}%20%22{{search}}%22");
    Listing {
        request: hook("list", Method::GET, &filter("sw")),
        exact: Some(hook("find", Method::GET, &filter("eq"))),
        whole: Some(hook("list", Method::GET, "/Users")),
        // The length of a page is the server's: there are some that fall over a `count`, or over a first page that is asked
        // for as such.
        next: Some("startIndex={start}".to_owned()),
        users: "$.Resources".to_owned(),
        name: "$.userName".to_owned(),
        id: Some("$.id".to_owned()),
        total: Some("$.totalResults".to_owned()),
        // RFC 7643 section 4.1.1: `userName` is compared without regard to case.
        caseless: true,
        quoted: true,
    }
}

fn knowing(values: impl IntoIterator<Item = (&'static str, Secret)>) -> Authentication {
    let values = values.into_iter();
    Authentication {
        known: values.map(|(key, value)| (key.to_owned(), value)).collect(),
        before: Vec::new(),
    }
}

impl Directory for Scim {
    fn kind(&self) -> &'static str {
        self.users.kind()
    }

    fn url(&self) -> &Url {
        self.users.url()
    }

    fn admin(&self) -> &str {
        self.users.admin()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        self.check_now().boxed()
    }

    fn create<'a>(&'a self, user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        self.users.create(user)
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        self.users.delete(name)
    }

    fn list<'a>(&'a self, stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        self.users.list(stem)
    }
}
