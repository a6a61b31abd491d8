//! How a user of an HTTP target ends the session: by a declared request, once, off the measured path.

use std::sync::Arc;
use std::time::Duration;

use throng_client::Client;
use throng_identity::hooks::{self, Hook, HookError, Values};
use throng_identity::retry::RetryPolicy;

/// One user's logout.
#[derive(Clone, Debug)]
pub struct Logout {
    /// The request, the same for all.
    pub request: Arc<Hook>,
    /// What fills its placeholders.
    pub values: Values,
}

impl Logout {
    /// Sends it with the user's cookies, and with the CSRF token among them where the target wants one.
    ///
    /// # Errors
    /// If it could not be sent, or the answer is not as the request expects.
    pub async fn send(mut self, client: &Client, timeout: Duration) -> Result<(), HookError> {
        let once = RetryPolicy::once();
        hooks::send(&self.request, client, &mut self.values, &once, timeout).await?;
        Ok(())
    }
}
