//! As whom a directory is asked: what its requests carry, and the requests that log in.

use std::sync::Arc;
use std::time::Duration;

use throng_client::Client;
use tokio::sync::Mutex;

use crate::hooks::{self, Hook, HookError, Values};
use crate::retry::RetryPolicy;

/// How an administrator is known to a directory.
#[derive(Debug, Clone, Default)]
pub struct Authentication {
    /// What the requests may use, such as a `{token}`. It is kept out of messages; a key that is no word is for that alone.
    pub known: Values,
    /// Requests that log him in: what they save, all others may use. Made before the first one, and again when one is answered
    /// with a 401.
    pub before: Vec<Hook>,
}

/// What the login of an administrator came to, one for all requests.
#[derive(Debug, Default)]
pub(super) struct Session(Mutex<Option<Arc<Values>>>);

impl Session {
    /// What all requests may use, after a login where there was none. Whoever comes meanwhile waits for it.
    pub(super) async fn values(
        &self,
        authentication: &Authentication,
        client: &Client,
        timeout: Duration,
    ) -> Result<Arc<Values>, HookError> {
        let mut session = self.0.lock().await;
        if let Some(values) = &*session {
            return Ok(values.clone());
        }
        let mut values = authentication.known.clone();
        for hook in &authentication.before {
            // Whoever asks has a retry policy of his own.
            hooks::send(hook, client, &mut values, &RetryPolicy::once(), timeout).await?;
        }
        Ok(session.insert(Arc::new(values)).clone())
    }

    /// Ends a login that is refused, unless there is a newer one.
    pub(super) async fn forget(&self, refused: &Arc<Values>) {
        let mut session = self.0.lock().await;
        if session
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, refused))
        {
            *session = None;
        }
    }
}
