//! Users for the monkeys of a test, logged in through the client.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde_json::{Value, json};
use throng_client::{Client, Connector, ConnectorOptions, DoubleSubmit, Trust};
use throng_fuzz::{Account, Accounts, CsrfRule, Sending};
use url::Url;

pub(crate) const PASSWORD: &str = "testpass123!";
const TIME: std::time::Duration = std::time::Duration::from_secs(10);

/// How a target's users get in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A form, cookies and a token against forgery.
    Cookies,
    /// JSON, and a token for the Authorization header.
    Token,
}

/// Users of one target.
pub(crate) struct Users {
    origin: String,
    connector: Connector,
    style: Style,
    names: Vec<String>,
    accounts: Vec<Account>,
}

impl Users {
    /// Registers users and logs them in.
    pub(crate) async fn register(origin: &str, style: Style, count: usize) -> Arc<Self> {
        let connector = Connector::new(ConnectorOptions {
            trust: Trust::Anything,
            ..ConnectorOptions::default()
        });
        let mut users = Self {
            origin: origin.to_owned(),
            connector: connector.expect("a connector"),
            style,
            names: (0..count).map(|n| format!("monkey{n}")).collect(),
            accounts: Vec::new(),
        };
        for index in 0..count {
            let client = Client::new(&users.connector);
            let name = &users.names[index];
            let (path, body) = match style {
                Style::Cookies => (
                    "/api/v1/auth/register",
                    json!({ "username": name, "email": format!("{name}@example.com"), "password": PASSWORD }),
                ),
                Style::Token => (
                    "/base/people",
                    json!({ "handle": name, "secret": PASSWORD }),
                ),
            };
            let made = users
                .post(&client, path, "application/json", body.to_string())
                .await;
            assert!(made.status.is_success(), "{:?}", made.body);
            let account = users.log_in(index).await.expect("a session");
            users.accounts.push(account);
        }
        Arc::new(users)
    }

    async fn post(
        &self,
        client: &Client,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> throng_client::Exchange {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.origin))
            .header(header::CONTENT_TYPE, kind)
            .body(Bytes::from(body))
            .expect("a request");
        client.send(request, TIME).await.expect("an answer")
    }

    async fn session(&self, n: usize) -> anyhow::Result<Account> {
        let name = self.names[n].clone();
        let client = Client::with_cookies(&self.connector);
        let mut authorization = None;
        let answer = match self.style {
            Style::Cookies => {
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("username", &name)
                    .append_pair("password", PASSWORD)
                    .finish();
                let kind = "application/x-www-form-urlencoded";
                self.post(&client, "/api/v1/auth/login", kind, form).await
            }
            Style::Token => {
                let body = json!({ "handle": name, "secret": PASSWORD }).to_string();
                self.post(&client, "/base/sessions", "application/json", body)
                    .await
            }
        };
        anyhow::ensure!(answer.status.is_success(), "{}", answer.status);
        if self.style == Style::Token {
            let token: Value = serde_json::from_slice(&answer.body)?;
            let token = token["token"].as_str().expect("a token");
            authorization = Some(HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        Ok(Account {
            name,
            client,
            authorization,
        })
    }

    /// How requests go to this target.
    pub(crate) fn sending(&self) -> Sending {
        Sending {
            origin: Url::parse(&self.origin).expect("a URL"),
            timeout: TIME,
            window: std::time::Duration::from_millis(100),
            largest_body: 4 << 20,
            headers: Vec::new(),
            csrf: (self.style == Style::Cookies).then(|| {
                CsrfRule::new(DoubleSubmit {
                    cookie: "csrf_token".to_owned(),
                    header: HeaderName::from_static("x-csrf-token"),
                })
            }),
        }
    }
}

impl Accounts for Users {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn account(&self, n: usize) -> Account {
        self.accounts[n].clone()
    }

    fn nobody(&self) -> Client {
        Client::new(&self.connector)
    }

    fn log_in(&self, n: usize) -> BoxFuture<'_, anyhow::Result<Account>> {
        Box::pin(self.session(n))
    }

    fn login_script(&self, n: usize) -> Option<String> {
        let name = &self.names[n];
        Some(match self.style {
            Style::Cookies => format!(
                "curl -sk -c \"$jar\" -o /dev/null --data-urlencode username={name} --data-urlencode \"password=$THRONG_PASSWORD\" \"$URL/api/v1/auth/login\""
            ),
            Style::Token => format!(
                "authorization=\"Bearer $(curl -sk -H 'Content-Type: application/json' -d \"{{\\\"handle\\\":\\\"{name}\\\",\\\"secret\\\":\\\"$THRONG_PASSWORD\\\"}}\" \"$URL/base/sessions\" | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')\""
            ),
        })
    }
}
