//! Targets where everybody may register: one declared request or a form makes a user, another request may delete it.
//!
//! There is no list of users and no administrator. Where nothing deletes users, those of a run stay; with a password that is
//! the same in every run they can be used again.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use throng_client::Client;
use url::Url;

use super::{Creation, Deletion, Directory, DirectoryError, NewUser};
use crate::hooks::{self, Hook, HookError, Values};
use crate::login::form::{self, Registered};
use crate::login::{FormRegistration, Walker};
use crate::retry::RetryPolicy;
use crate::secret::Secret;

/// The requests. Their placeholders are `{name}`, `{display_name}`, `{email}` and `{password}`; the deletion knows `{name}` only,
/// since a later cleanup knows no more.
#[derive(Debug, Clone)]
pub struct RegisterRequests {
    /// What makes a user.
    pub register: Registering,
    /// The statuses by which a declared request says that there is such a user.
    pub exists: Vec<u16>,
    /// Whether such a user is used, with the password given: it is the same in every run.
    pub reuse: bool,
    /// Deletes a user. Its `expect` is what it answers where there was one; a 404 or 410 that is not in it means that there
    /// was none, or that the request is wrong.
    pub delete: Option<Hook>,
}

/// How a user is made.
#[derive(Debug, Clone)]
pub enum Registering {
    /// By a declared request.
    Request(Box<Hook>),
    /// By a form on a page, with the cookies and the token that come with it.
    Form(FormRegistration),
}

/// A target where everybody may register.
#[derive(Debug)]
pub struct Register {
    client: Client,
    url: Url,
    requests: RegisterRequests,
    timeout: Duration,
}

impl Register {
    /// The directory of the target at `url`; each request takes at most `timeout`.
    pub fn new(client: &Client, url: Url, requests: RegisterRequests, timeout: Duration) -> Self {
        Self {
            // A login that the registration may begin is not asked for.
            client: client.without_cookies(),
            url,
            requests,
            timeout,
        }
    }

    async fn register(&self, user: &NewUser) -> Result<Creation, DirectoryError> {
        let values: Values = [
            ("name", Secret::new(user.name.clone())),
            ("display_name", Secret::new(user.display_name.clone())),
            ("email", Secret::new(user.email.clone())),
            ("password", user.password.clone()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        let made = match &self.requests.register {
            Registering::Request(request) => self.request(request, &values).await?,
            Registering::Form(form) => {
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
            url: self.url.to_string(),
            cleanable: false,
        })
    }

    async fn request(&self, request: &Hook, values: &Values) -> Result<Registered, DirectoryError> {
        let answer = hooks::attempt(request, &self.client, values, self.timeout).await?;
        if request.expects(answer.status) {
            Ok(Registered::Made)
        } else if self.requests.exists.contains(&answer.status.as_u16()) {
            Ok(Registered::Exists)
        } else {
            Err(hooks::refused(request, &answer, values)?.into())
        }
    }

    async fn delete(&self, name: &str) -> Result<Deletion, DirectoryError> {
        let Some(request) = &self.requests.delete else {
            return Err(DirectoryError::NoDeletion {
                url: self.url.to_string(),
                name: name.to_owned(),
            });
        };
        let mut values = Values::from([("name".to_owned(), Secret::new(name))]);
        // Whoever calls has a retry policy of his own.
        match hooks::send(
            request,
            &self.client,
            &mut values,
            &RetryPolicy::once(),
            self.timeout,
        )
        .await
        {
            Ok(_) => Ok(Deletion::Deleted),
            Err(HookError::Status {
                method,
                url,
                status: status @ (StatusCode::NOT_FOUND | StatusCode::GONE),
                ..
            }) => Err(DirectoryError::NoSuchUser {
                method: method.to_string(),
                url,
                status,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Directory for Register {
    fn kind(&self) -> &'static str {
        "http-register"
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn admin(&self) -> &str {
        ""
    }

    /// Nothing can be known before somebody registers.
    fn check(&self) -> BoxFuture<'_, Result<(), DirectoryError>> {
        async { Ok(()) }.boxed()
    }

    fn create<'a>(&'a self, user: &'a NewUser) -> BoxFuture<'a, Result<Creation, DirectoryError>> {
        self.register(user).boxed()
    }

    fn can_delete(&self) -> bool {
        self.requests.delete.is_some()
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Deletion, DirectoryError>> {
        self.delete(name).boxed()
    }

    fn can_list(&self) -> bool {
        false
    }

    fn list<'a>(&'a self, _stem: &'a str) -> BoxFuture<'a, Result<Vec<String>, DirectoryError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}
