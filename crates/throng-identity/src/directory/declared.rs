//! Directories whose requests are declared: by a scenario (`http-register`, `http`), or by a module beside this one that knows an
//! API ([`super::scim`], [`super::keycloak`]).
//!
//! Without a [`Listing`] nobody can say who is there. Where nothing deletes users, those of a run stay; with a password that is
//! the same in every run they can be used again.

mod listing;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use throng_client::{Client, Exchange};
use url::Url;

pub use self::listing::Listing;
use self::listing::{Cache, Found};
pub use self::session::Authentication;
use self::session::Session;
use super::{Creation, Deletion, Directory, DirectoryError, NewUser};
use crate::hooks::{self, Hook, HookError, Values};
use crate::login::form::{self, Registered};
use crate::login::{FormRegistration, Walker};
use crate::secret::Secret;

/// The requests. Their placeholders are `{name}`, `{display_name}`, `{given_name}`, `{family_name}`, `{email}` and `{password}`; the
/// deletion knows `{name}` only, since a later cleanup knows no more, and `{id}` where the listing tells it.
#[derive(Debug, Clone)]
pub struct Requests {
    /// What makes a user.
    pub create: Creating,
    /// The statuses by which a declared request says that there is such a user.
    pub exists: Vec<u16>,
    /// Whether such a user is used, with the password given: it is the same in every run.
    pub reuse: bool,
    /// Deletes a user. Its `expect` is what it answers where there was one; a 404 or 410 that is not in it means that there
    /// was none, or that the request is wrong: the listing tells, where there is one.
    pub delete: Option<Hook>,
    /// Says who is there.
    pub list: Option<Listing>,
}

/// How a user is made.
#[derive(Debug, Clone)]
pub enum Creating {
    /// By a declared request.
    Request(Box<Hook>),
    /// By a form on a page, with the cookies and the token that come with it.
    Form(FormRegistration),
}

/// Which directory it is.
#[derive(Debug, Clone)]
pub struct About {
    /// The word for its kind in scenario files and in the ledger.
    pub kind: &'static str,
    /// Its address, as in the ledger.
    pub url: Url,
    /// As whom we act, as in the ledger; empty where that has no name.
    pub admin: String,
    /// What to look at where the directory knows us not: keys of the scenario file. Nothing where everybody may ask.
    pub credentials: Option<&'static str>,
}

/// A directory whose requests are declared.
#[derive(Debug)]
pub struct Declared {
    about: About,
    client: Client,
    requests: Requests,
    authentication: Authentication,
    session: Session,
    /// Set once the directory is known to refuse searches: then all users are listed instead.
    whole: AtomicBool,
    cache: Cache,
    timeout: Duration,
}

impl Declared {
    /// The directory; each request takes at most `timeout`.
    pub fn new(
        client: &Client,
        about: About,
        requests: Requests,
        authentication: Authentication,
        timeout: Duration,
    ) -> Self {
        Self {
            about,
            // A login that a registration may begin is not asked for.
            client: client.without_cookies(),
            requests,
            authentication,
            session: Session::default(),
            whole: AtomicBool::new(false),
            cache: Cache::default(),
            timeout,
        }
    }

    /// A target where everybody may register.
    pub fn register(client: &Client, url: Url, requests: Requests, timeout: Duration) -> Self {
        let about = About {
            kind: "http-register",
            url,
            admin: String::new(),
            credentials: None,
        };
        Self::new(client, about, requests, Authentication::default(), timeout)
    }

    /// From now on all users are listed instead of being searched.
    pub(super) fn search_whole(&self) {
        self.whole.store(true, Ordering::Relaxed);
    }

    /// Logs in, where that takes requests.
    pub(super) async fn log_in(&self) -> Result<(), DirectoryError> {
        let session = &self.session;
        session
            .values(&self.authentication, &self.client, self.timeout)
            .await
            .map(drop)
            .map_err(Into::into)
    }

    /// Makes a request once, logged in anew if the login has come to its end. Whatever status comes is an answer, but for a
    /// refusal of whoever we are. The values are all that it could use.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        values: &Values,
    ) -> Result<(Exchange, Values), DirectoryError> {
        let mut renewed = self.authentication.before.is_empty();
        loop {
            let known = self
                .session
                .values(&self.authentication, &self.client, self.timeout)
                .await?;
            let mut all = (*known).clone();
            all.extend(
                values
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            let answer = hooks::attempt(hook, &self.client, &all, self.timeout).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if !renewed => {
                    renewed = true;
                    self.session.forget(&known).await;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                    if self.about.credentials.is_some() =>
                {
                    return Err(self.refused_us(answer.status));
                }
                _ => return Ok((answer, all)),
            }
        }
    }

    fn refused_us(&self, status: StatusCode) -> DirectoryError {
        let url = self.about.url.to_string();
        let admin = &self.about.admin;
        if status == StatusCode::FORBIDDEN {
            let admin = match admin.as_str() {
                "" => "whoever the scenario's directory names".to_owned(),
                name => name.to_owned(),
            };
            return DirectoryError::Forbidden { url, admin };
        }
        DirectoryError::Unauthorized {
            url,
            refused: match admin.as_str() {
                "" => "the credentials".to_owned(),
                name => format!("the credentials of {name}"),
            },
            check: self.about.credentials.unwrap_or("the directory's keys"),
        }
    }

    async fn create_now(&self, user: &NewUser) -> Result<Creation, DirectoryError> {
        let values = values(user);
        let made = match &self.requests.create {
            Creating::Request(request) => self.request(request, &values).await?,
            Creating::Form(form) => {
                // One user's form and its token are not another's.
                let client = self.client.with_new_cookies();
                let walker = Walker {
                    client: &client,
                    user: &user.name,
                    password: &user.password,
                };
                form::register(form, walker, &values, self.timeout).await?
            }
        };
        match made {
            Registered::Made => return Ok(Creation::Created),
            Registered::Unproven {
                said,
                exists,
                likely,
            } if !(exists && self.requests.reuse) => {
                return Ok(Creation::Unproven { said, likely });
            }
            Registered::Exists | Registered::Unproven { .. } if self.requests.reuse => {
                return Ok(Creation::Reused);
            }
            Registered::Exists | Registered::Unproven { .. } => {}
        }
        Err(DirectoryError::Exists {
            name: user.name.clone(),
            url: self.about.url.to_string(),
            cleanable: self.can_list() && self.can_delete(),
        })
    }

    async fn request(&self, request: &Hook, values: &Values) -> Result<Registered, DirectoryError> {
        let (answer, all) = self.ask(request, values).await?;
        if request.expects(answer.status) {
            Ok(Registered::Made)
        } else if self.requests.exists.contains(&answer.status.as_u16()) {
            Ok(Registered::Exists)
        } else {
            Err(hooks::refused(request, &answer, &all)?.into())
        }
    }

    async fn delete_now(&self, name: &str) -> Result<Deletion, DirectoryError> {
        let Some(request) = &self.requests.delete else {
            return Err(DirectoryError::NoDeletion {
                url: self.about.url.to_string(),
                name: name.to_owned(),
            });
        };
        let mut values = Values::from([("name".to_owned(), Secret::new(name))]);
        let listing = self.requests.list.as_ref();
        // Right before the deletion: an id from earlier could be another user's by now.
        if let Some(listing) = listing.filter(|listing| listing.id.is_some()) {
            match self.find(listing, name).await? {
                None => return Ok(Deletion::AlreadyGone),
                Some(id) => values.insert("id".to_owned(), Secret::new(id)),
            };
        }
        let (answer, all) = self.ask(request, &values).await?;
        if request.expects(answer.status) {
            return Ok(Deletion::Deleted);
        }
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            if let Some(listing) = listing {
                self.cache.clear().await;
                if self.find(listing, name).await?.is_none() {
                    return Ok(Deletion::AlreadyGone);
                }
            }
            if let HookError::Status {
                method,
                url,
                status,
                ..
            } = hooks::refused(request, &answer, &all)?
            {
                let method = method.to_string();
                return Err(DirectoryError::NoSuchUser {
                    method,
                    url,
                    status,
                });
            }
        }
        Err(hooks::refused(request, &answer, &all)?.into())
    }

    /// The id of the one user of exactly this name; empty where the listing tells no ids.
    async fn find(&self, listing: &Listing, name: &str) -> Result<Option<String>, DirectoryError> {
        let found = listing::lookup(self, listing, name).await?;
        let mut ours = found.iter().filter(|found| listing.is_called(found, name));
        let Some(first) = ours.next() else {
            return Ok(None);
        };
        if ours.any(|other| other.id != first.id) {
            return Err(DirectoryError::Ambiguous {
                name: name.to_owned(),
                url: self.about.url.to_string(),
            });
        }
        match (&listing.id, &first.id) {
            (Some(path), None) => Err(self.no_list(listing, &format!("id at {path}"))),
            (_, id) => Ok(Some(id.clone().unwrap_or_default())),
        }
    }

    /// The answer to a listing is none.
    fn no_list(&self, listing: &Listing, wanted: &str) -> DirectoryError {
        DirectoryError::NoList {
            what: listing.request.name.clone(),
            url: self.about.url.to_string(),
            wanted: wanted.to_owned(),
        }
    }

    async fn list_now(&self, stem: &str) -> Result<Vec<String>, DirectoryError> {
        let Some(listing) = &self.requests.list else {
            return Ok(Vec::new());
        };
        let found = listing::beginning_with(self, listing, stem).await?;
        let names = found.into_iter().map(|Found { name, .. }| name);
        Ok(names.filter(|name| name.starts_with(stem)).collect())
    }
}

/// What requests may use of a user who is to be made.
fn values(user: &NewUser) -> Values {
    let (given, family) = user
        .display_name
        .rsplit_once(' ')
        .unwrap_or((&user.display_name, &user.name));
    [
        ("name", Secret::new(user.name.clone())),
        ("display_name", Secret::new(user.display_name.clone())),
        ("given_name", Secret::new(given)),
        ("family_name", Secret::new(family)),
        ("email", Secret::new(user.email.clone())),
        ("password", user.password.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

impl Directory for Declared {
    fn kind(&self) -> &'static str {
        self.about.kind
    }

    fn url(&self) -> &Url {
        &self.about.url
    }

    fn admin(&self) -> &str {
        &self.about.admin
    }

    /// Logs in where that takes requests. Of a target where everybody may register nothing can be known before somebody does.
    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        self.log_in().boxed()
    }

    fn create<'a>(&'a self, user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        self.create_now(user).boxed()
    }

    fn can_delete(&self) -> bool {
        self.requests.delete.is_some()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        self.delete_now(name).boxed()
    }

    fn can_list(&self) -> bool {
        self.requests.list.is_some()
    }

    fn list<'a>(&'a self, stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        self.list_now(stem).boxed()
    }
}
