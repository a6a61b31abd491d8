//! The run's one OAuth client.

use std::time::Duration;

use throng_client::Client;

use crate::discovery::Authorization;
use crate::ledger::{Kind, Ledger, LedgerError, Place, RunId};
use crate::registration::{
    self, ClientSource, OAuthClient, RegistrationError, RegistrationRequest,
};
use crate::retry::RetryPolicy;

/// Why a run has no OAuth client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The ledger could not be written; nothing was registered.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The provider did not register one.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
}

/// The run's one OAuth client: the one that is known, or a new registration, written to the ledger before it is made.
pub async fn oauth_client(
    source: &ClientSource,
    http: &Client,
    authorization: &Authorization,
    request: &RegistrationRequest,
    (ledger, run): (&Ledger, &RunId),
    timeout: Duration,
) -> Result<OAuthClient, ClientError> {
    if let Some(known) = registration::known(source, authorization) {
        return Ok(known);
    }
    let (of, place) = (run.clone(), Place::issuer(&authorization.issuer));
    let name = request.client_name.clone();
    let entry = ledger
        .run(move |ledger| ledger.plan(&of, Kind::Client, &place, &name))
        .await?;
    match registration::register(
        http,
        authorization,
        request,
        &RetryPolicy::patient(),
        timeout,
    )
    .await
    {
        Ok(registered) => {
            let id = registered.id.clone();
            let expires = registered.registration.as_ref().and_then(|r| r.expires_at);
            ledger
                .run(move |ledger| ledger.client_created(entry, &id, expires))
                .await?;
            Ok(registered)
        }
        Err(error) => {
            if error.nothing_was_created() {
                ledger.run(move |ledger| ledger.forget(entry)).await?;
            }
            Err(error.into())
        }
    }
}
