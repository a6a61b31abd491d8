//! Clients, grants and tokens in the database.
//!
//! A grant is what one user gave one client in one login. All tokens that follow from it, through
//! however many refreshes, belong to it and end with it. Tokens are stored as digests only.

use rusqlite::{OptionalExtension, params};

use crate::config::PreregisteredClient;
use crate::secret::digest;
use crate::store::{Store, StoreError, unix_now};

pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS oidc_clients (
    id TEXT PRIMARY KEY,
    secret BLOB,
    name TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    scope TEXT NOT NULL,
    jwt INTEGER NOT NULL,
    resource_url TEXT NOT NULL,
    registration_token BLOB,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS oidc_grants (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    client TEXT NOT NULL REFERENCES oidc_clients(id) ON DELETE CASCADE,
    account TEXT NOT NULL COLLATE NOCASE REFERENCES accounts(id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    resource TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS oidc_grants_client ON oidc_grants(client);
CREATE INDEX IF NOT EXISTS oidc_grants_account ON oidc_grants(account);
CREATE TABLE IF NOT EXISTS oidc_access_tokens (
    digest BLOB PRIMARY KEY,
    grant_id INTEGER NOT NULL REFERENCES oidc_grants(id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    audience TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS oidc_access_tokens_grant ON oidc_access_tokens(grant_id);
CREATE TABLE IF NOT EXISTS oidc_refresh_tokens (
    digest BLOB PRIMARY KEY,
    grant_id INTEGER NOT NULL REFERENCES oidc_grants(id) ON DELETE CASCADE,
    used INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS oidc_refresh_tokens_grant ON oidc_refresh_tokens(grant_id);
CREATE TABLE IF NOT EXISTS oidc_consents (
    account TEXT NOT NULL COLLATE NOCASE REFERENCES accounts(id) ON DELETE CASCADE,
    client TEXT NOT NULL REFERENCES oidc_clients(id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    PRIMARY KEY (account, client)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS oidc_consents_client ON oidc_consents(client);
";

/// An access token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredToken {
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) revoked: bool,
}

impl Store {
    /// Makes a configured client, or brings an existing one up to date.
    pub(crate) fn put_preregistered_client(
        &self,
        client: &PreregisteredClient,
    ) -> Result<(), StoreError> {
        let redirect_uris = serde_json::Value::from(client.redirect_uris.clone()).to_string();
        let secret = client.secret.as_ref().map(|secret| digest(secret.expose()));
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO oidc_clients (id, secret, name, redirect_uris, scope, jwt,
                         resource_url, registration_token, issued_at, expires_at)
                     VALUES (?1, ?2, ?1, ?3, '', ?4, '', NULL, ?5, 0)
                     ON CONFLICT (id) DO UPDATE SET secret = ?2, redirect_uris = ?3, jwt = ?4,
                         expires_at = 0",
                )?
                .execute(params![
                    client.id,
                    secret,
                    redirect_uris,
                    client.jwt_access_tokens,
                    unix_now()
                ])
        })?;
        Ok(())
    }

    /// The access token with this value, valid or not.
    pub(crate) fn access_token(&self, token: &str) -> Result<Option<StoredToken>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT g.account, g.client, t.scope, t.audience, t.issued_at, t.expires_at,
                         t.revoked OR g.revoked
                     FROM oidc_access_tokens t JOIN oidc_grants g ON g.id = t.grant_id
                     WHERE t.digest = ?",
                )?
                .query_row([digest(token)], |row| {
                    Ok(StoredToken {
                        user: row.get(0)?,
                        client_id: row.get(1)?,
                        scope: row.get(2)?,
                        audience: row.get(3)?,
                        issued_at: row.get(4)?,
                        expires_at: row.get(5)?,
                        revoked: row.get(6)?,
                    })
                })
                .optional()
        })
    }
}
