//! The users that the monkeys are, as the program hands them over.
//!
//! They belong to the monkeys alone: a session of theirs may be ended, and what they own may be deleted, at any time.

use std::fmt;

use futures_util::future::BoxFuture;
use http::HeaderValue;
use throng_client::Client;

/// A user who is logged in.
///
/// A clone is the same session: it shares connections and cookies.
#[derive(Clone)]
pub struct Account {
    /// The name by which the target knows the user.
    pub name: String,
    /// Connections and cookies; a cookie jar of its own.
    pub client: Client,
    /// The value of `Authorization`, where the session goes by a token. It is never shown.
    pub authorization: Option<HeaderValue>,
}

/// Users, and how to open further sessions of theirs.
pub trait Accounts: Send + Sync + 'static {
    /// How many there are. With none, everything is done as nobody; with one, nothing is tried with another's things.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session that the user `n` (from 0, below [`Accounts::len`]) was given at the start. The same one each time.
    fn account(&self, n: usize) -> Account;

    /// A client without cookies and without any login, of connections of its own.
    fn nobody(&self) -> Client;

    /// Opens a new session of the user `n`: new cookies, a new token.
    fn log_in(&self, n: usize) -> BoxFuture<'_, anyhow::Result<Account>>;

    /// Lines of bash that open a session of the user `n` by curl. They find the origin in `$URL`, the password in
    /// `$THRONG_PASSWORD` and the cookie jar to write in `$jar`; a token goes as a whole header value into the variable
    /// `authorization`. `None` if that can't be said in a few lines; the reader is then told to log in by himself.
    fn login_script(&self, n: usize) -> Option<String>;
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// No users at all: everything is done as nobody.
#[derive(Debug, Clone)]
pub struct NoAccounts(pub throng_client::Connector);

impl Accounts for NoAccounts {
    fn len(&self) -> usize {
        0
    }

    fn account(&self, _: usize) -> Account {
        Account {
            name: String::new(),
            client: self.nobody(),
            authorization: None,
        }
    }

    fn nobody(&self) -> Client {
        Client::new(&self.0)
    }

    fn log_in(&self, _: usize) -> BoxFuture<'_, anyhow::Result<Account>> {
        Box::pin(async { anyhow::bail!("there are no users") })
    }

    fn login_script(&self, _: usize) -> Option<String> {
        None
    }
}
