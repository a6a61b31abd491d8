//! A scenario's users as monkeys: the sessions that the set-up gave them, and further ones.

use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use throng_client::{Client, Connector};
use throng_fuzz::{Account, Accounts};
use throng_identity::hooks::{self, Values};
use throng_identity::login::{LoginDriver, log_in_by_form};
use throng_identity::provision::{Identity, LoginWay};
use throng_identity::retry::RetryPolicy;
use throng_workflow::Scenario;
use throng_workflow::model::LoginKind;
use throng_workflow::template::Template;

use super::login_script::login_script;
use crate::cli::run::setup::{REQUEST_LIMIT, declared_login};

/// Users who are logged in, for monkeys alone, or known to whoever tells how they do it.
pub(crate) struct Users {
    identities: Vec<Identity>,
    connector: Connector,
    /// How they log in again; none with OAuth, where a new session is a new token of a walk through pages.
    login: Option<LoginWay>,
    authorization: Option<Template>,
    scripts: Vec<Option<String>>,
}

impl Users {
    /// The users of a scenario. Where monkeys get them, nobody else may use them: their sessions are ended and their things
    /// deleted.
    ///
    /// # Errors
    /// If the scenario's login can't be understood.
    pub(crate) fn new(
        identities: Vec<Identity>,
        scenario: &Scenario,
        connector: &Connector,
        driver: &LoginDriver,
    ) -> anyhow::Result<Arc<Self>> {
        let login = match scenario.login.kind {
            LoginKind::OAuth
            | LoginKind::ClientCredentials
            | LoginKind::TokenExchange
            | LoginKind::Bearer
            | LoginKind::None => None,
            LoginKind::Request | LoginKind::Form => Some(declared_login(scenario, driver)?),
        };
        let authorization = scenario.monkey.authorization.clone();
        let password = |identity: &Identity| identity.password.expose().to_owned();
        let one_password = identities
            .windows(2)
            .all(|pair| password(&pair[0]) == password(&pair[1]));
        let scripts = identities
            .iter()
            .map(|identity| {
                login_script(
                    login.as_ref(),
                    identity,
                    authorization.as_ref(),
                    scenario,
                    one_password,
                )
            })
            .collect();
        Ok(Arc::new(Self {
            identities,
            connector: connector.clone(),
            login,
            authorization,
            scripts,
        }))
    }

    /// The value of `Authorization`, of what the login saved.
    fn authorization(&self, values: &Values) -> anyhow::Result<Option<HeaderValue>> {
        let Some(template) = &self.authorization else {
            return Ok(None);
        };
        let text = template
            .fill(|name| {
                let name = name.strip_prefix("user.").unwrap_or(name);
                values.get(name).map(|value| value.expose().to_owned())
            })
            .map_err(|name| {
                anyhow::anyhow!("monkey.authorization: the login saved no {{{name}}}")
            })?;
        let mut value = HeaderValue::from_str(&text)
            .context("monkey.authorization: what the login saved can't be in a header")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn open(&self, n: usize) -> anyhow::Result<Account> {
        let identity = self.identities.get(n).context("there is no such user")?;
        let login = self
            .login
            .as_ref()
            .context("this kind of login opens no second session")?;
        let client = Client::with_cookies(&self.connector);
        let mut values = identity.values();
        let policy = RetryPolicy::default();
        match login {
            LoginWay::Requests(requests) => {
                for request in &**requests {
                    hooks::send(request, &client, &mut values, &policy, REQUEST_LIMIT).await?;
                }
            }
            LoginWay::Form(form) => {
                log_in_by_form(form, &client, &identity.name, &identity.password, &values).await?;
            }
            LoginWay::OAuth(_) | LoginWay::Grant(_) | LoginWay::Bearer(_) => {
                anyhow::bail!("this kind of login opens no second session")
            }
        }
        Ok(Account {
            name: identity.name.clone(),
            client,
            authorization: self.authorization(&values)?,
        })
    }
}

impl Accounts for Users {
    fn len(&self) -> usize {
        self.identities.len()
    }

    fn account(&self, n: usize) -> Account {
        let identity = &self.identities[n];
        let authorization = match &identity.tokens {
            Some(tokens) => Some(tokens.header()),
            // What is missing showed when the set-up tried it; without it the target says who is known.
            None => self.authorization(&identity.values()).unwrap_or_default(),
        };
        Account {
            name: identity.name.clone(),
            client: match &identity.tokens {
                // The cookies are those of the provider's pages.
                Some(_) => Client::with_cookies(&self.connector),
                None => identity.client.clone(),
            },
            authorization,
        }
    }

    fn nobody(&self) -> Client {
        Client::new(&self.connector)
    }

    fn log_in(&self, n: usize) -> BoxFuture<'_, anyhow::Result<Account>> {
        Box::pin(self.open(n))
    }

    fn login_script(&self, n: usize) -> Option<String> {
        self.scripts.get(n)?.clone()
    }
}
