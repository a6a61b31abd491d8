//! Clients, grants and tokens in the database.
//!
//! A grant is what one user gave one client in one login. All tokens that follow from it, through
//! however many refreshes, belong to it and end with it. Tokens are stored as digests only.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::client::Client;
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
CREATE TABLE IF NOT EXISTS oidc_client_keys (
    client TEXT PRIMARY KEY REFERENCES oidc_clients(id) ON DELETE CASCADE,
    jwks TEXT NOT NULL
) STRICT, WITHOUT ROWID;
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

/// What one user gave one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// 0 before it is kept.
    pub(super) id: i64,
    pub(super) client_id: String,
    pub(super) user: String,
    pub(super) scope: String,
    /// The resource that its access tokens are for; empty for the client itself.
    pub(super) resource: String,
    pub(super) auth_time: i64,
}

/// Tokens about to be kept.
pub(super) struct NewTokens<'a> {
    pub(super) access: [u8; 32],
    pub(super) refresh: Option<[u8; 32]>,
    pub(super) scope: &'a str,
    pub(super) audience: &'a str,
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
}

/// What became of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    Done,
    /// The refresh token had been used: its whole grant is now revoked.
    Reused,
    /// The refresh token or its grant vanished meanwhile.
    Gone,
}

impl Store {
    /// Makes a configured client, or brings an existing one up to date.
    pub(crate) fn put_preregistered_client(
        &self,
        client: &PreregisteredClient,
    ) -> Result<(), StoreError> {
        self.put_client(&Client {
            id: client.id.clone(),
            secret: client.secret.as_ref().map(|secret| digest(secret.expose())),
            name: client.id.clone(),
            redirect_uris: client.redirect_uris.clone(),
            scope: String::new(),
            jwt: client.jwt_access_tokens,
            resource_url: String::new(),
            registration_token: None,
            issued_at: unix_now(),
            expires_at: 0,
        })
    }

    /// Makes a client or replaces the one with its id, whose grants stay.
    pub(super) fn put_client(&self, client: &Client) -> Result<(), StoreError> {
        self.with(|connection| insert_client(connection, client))
    }

    /// Makes a dynamically registered client, unless there are `limit` of them already. Expired ones
    /// are deleted on the way, with all their grants.
    pub(super) fn register_client(
        &self,
        client: &Client,
        limit: usize,
    ) -> Result<bool, StoreError> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached("DELETE FROM oidc_clients WHERE expires_at BETWEEN 1 AND ?")?
                .execute([unix_now()])?;
            let count: i64 = transaction
                .prepare_cached(
                    "SELECT count(*) FROM oidc_clients WHERE registration_token IS NOT NULL",
                )?
                .query_row([], |row| row.get(0))?;
            if usize::try_from(count).is_ok_and(|count| count >= limit) {
                return Ok(false);
            }
            insert_client(transaction, client)?;
            Ok(true)
        })
    }

    /// Keeps the public keys by which a client proves who it is, as JSON.
    pub(super) fn put_client_keys(&self, id: &str, jwks: &str) -> Result<(), StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("INSERT INTO oidc_client_keys (client, jwks) VALUES (?, ?)")?
                .execute([id, jwks])
        })?;
        Ok(())
    }

    /// The public keys of a client that has some, as JSON.
    pub(super) fn client_keys(&self, id: &str) -> Result<Option<String>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT jwks FROM oidc_client_keys WHERE client = ?")?
                .query_row([id], |row| row.get(0))
                .optional()
        })
    }

    /// The client of this id, expired or not.
    pub(super) fn client(&self, id: &str) -> Result<Option<Client>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, secret, name, redirect_uris, scope, jwt, resource_url,
                         registration_token, issued_at, expires_at
                     FROM oidc_clients WHERE id = ?",
                )?
                .query_row([id], client)
                .optional()
        })
    }

    /// Deletes a client with all its grants.
    pub(super) fn delete_client(&self, id: &str) -> Result<(), StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM oidc_clients WHERE id = ?")?
                .execute([id])
        })?;
        Ok(())
    }

    /// The scope that a user has consented to a client having.
    pub(super) fn consented_scope(
        &self,
        user: &str,
        client: &str,
    ) -> Result<Option<String>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached("SELECT scope FROM oidc_consents WHERE account = ? AND client = ?")?
                .query_row([user, client], |row| row.get(0))
                .optional()
        })
    }

    /// Remembers a consent in place of the earlier one.
    pub(super) fn keep_consent(
        &self,
        user: &str,
        client: &str,
        scope: &str,
    ) -> Result<(), StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO oidc_consents (account, client, scope) VALUES (?, ?, ?)
                     ON CONFLICT (account, client) DO UPDATE SET scope = excluded.scope",
                )?
                .execute([user, client, scope])
        })?;
        Ok(())
    }

    /// Keeps a new grant with its first tokens and gives back its id.
    pub(super) fn keep_grant(
        &self,
        grant: &Grant,
        tokens: &NewTokens<'_>,
    ) -> Result<i64, StoreError> {
        self.transaction(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO oidc_grants (client, account, scope, resource, auth_time)
                     VALUES (?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    grant.client_id,
                    grant.user,
                    grant.scope,
                    grant.resource,
                    grant.auth_time
                ])?;
            let id = transaction.last_insert_rowid();
            insert_tokens(transaction, id, tokens)?;
            Ok(id)
        })
    }

    /// The grant that a refresh token belongs to, used or not, unless it is revoked.
    pub(super) fn grant_of_refresh_token(
        &self,
        token: &[u8; 32],
    ) -> Result<Option<Grant>, StoreError> {
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, client, account, scope, resource, auth_time FROM oidc_grants
                     WHERE NOT revoked
                       AND id = (SELECT grant_id FROM oidc_refresh_tokens WHERE digest = ?)",
                )?
                .query_row([token], |row| {
                    Ok(Grant {
                        id: row.get(0)?,
                        client_id: row.get(1)?,
                        user: row.get(2)?,
                        scope: row.get(3)?,
                        resource: row.get(4)?,
                        auth_time: row.get(5)?,
                    })
                })
                .optional()
        })
    }

    /// Uses a refresh token up and keeps the tokens that follow, or revokes the grant where the token
    /// had been used before. Of several at once, one succeeds.
    pub(super) fn rotate(
        &self,
        grant: &Grant,
        used: &[u8; 32],
        tokens: &NewTokens<'_>,
    ) -> Result<Refreshed, StoreError> {
        self.transaction(|transaction| {
            let state: Option<(bool, bool)> = transaction
                .prepare_cached(
                    "SELECT r.used, g.revoked FROM oidc_refresh_tokens r
                     JOIN oidc_grants g ON g.id = r.grant_id WHERE r.digest = ?",
                )?
                .query_row([used], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match state {
                None | Some((_, true)) => return Ok(Refreshed::Gone),
                Some((true, false)) => {
                    revoke_grant(transaction, grant.id)?;
                    return Ok(Refreshed::Reused);
                }
                Some((false, false)) => {}
            }
            transaction
                .prepare_cached("UPDATE oidc_refresh_tokens SET used = 1 WHERE digest = ?")?
                .execute([used])?;
            // What is long over is of no use to anybody; a grant may live for thousands of refreshes.
            transaction
                .prepare_cached(
                    "DELETE FROM oidc_access_tokens WHERE grant_id = ? AND expires_at < ?",
                )?
                .execute(params![grant.id, tokens.issued_at - 3600])?;
            insert_tokens(transaction, grant.id, tokens)?;
            Ok(Refreshed::Done)
        })
    }

    /// Revokes a grant and all its tokens.
    pub(super) fn revoke_grant(&self, id: i64) -> Result<(), StoreError> {
        self.with(|connection| revoke_grant(connection, id))
    }

    /// Revokes an access token, or by a refresh token its grant, if it is one of this client's. Gives back the digests of the
    /// access tokens that end by it.
    pub(super) fn revoke_token(
        &self,
        token: &[u8; 32],
        client: &str,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        self.transaction(|transaction| {
            let ended = transaction
                .prepare_cached(
                    "SELECT t.digest FROM oidc_access_tokens t JOIN oidc_grants g ON g.id = t.grant_id
                     WHERE g.client = ?2 AND NOT t.revoked AND NOT g.revoked AND (t.digest = ?1
                         OR g.id = (SELECT grant_id FROM oidc_refresh_tokens WHERE digest = ?1))",
                )?
                .query_map(params![token, client], |row| row.get(0))?
                .collect::<Result<Vec<[u8; 32]>, _>>()?;
            transaction
                .prepare_cached(
                    "UPDATE oidc_access_tokens SET revoked = 1 WHERE digest = ?1
                     AND grant_id IN (SELECT id FROM oidc_grants WHERE client = ?2)",
                )?
                .execute(params![token, client])?;
            transaction
                .prepare_cached(
                    "UPDATE oidc_grants SET revoked = 1 WHERE client = ?2
                     AND id = (SELECT grant_id FROM oidc_refresh_tokens WHERE digest = ?1)",
                )?
                .execute(params![token, client])?;
            Ok(ended)
        })
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

fn insert_client(connection: &Connection, client: &Client) -> rusqlite::Result<()> {
    let redirect_uris = serde_json::Value::from(client.redirect_uris.clone()).to_string();
    connection
        .prepare_cached(
            "INSERT INTO oidc_clients (id, secret, name, redirect_uris, scope, jwt, resource_url,
                 registration_token, issued_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE SET secret = ?2, name = ?3, redirect_uris = ?4, scope = ?5,
                 jwt = ?6, resource_url = ?7, registration_token = ?8, issued_at = ?9,
                 expires_at = ?10",
        )?
        .execute(params![
            client.id,
            client.secret,
            client.name,
            redirect_uris,
            client.scope,
            client.jwt,
            client.resource_url,
            client.registration_token,
            client.issued_at,
            client.expires_at
        ])?;
    Ok(())
}

fn client(row: &Row<'_>) -> rusqlite::Result<Client> {
    let redirect_uris: String = row.get(3)?;
    let redirect_uris = serde_json::from_str(&redirect_uris).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Client {
        id: row.get(0)?,
        secret: row.get(1)?,
        name: row.get(2)?,
        redirect_uris,
        scope: row.get(4)?,
        jwt: row.get(5)?,
        resource_url: row.get(6)?,
        registration_token: row.get(7)?,
        issued_at: row.get(8)?,
        expires_at: row.get(9)?,
    })
}

fn insert_tokens(
    connection: &Connection,
    grant: i64,
    tokens: &NewTokens<'_>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO oidc_access_tokens
                 (digest, grant_id, scope, audience, issued_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            tokens.access,
            grant,
            tokens.scope,
            tokens.audience,
            tokens.issued_at,
            tokens.expires_at
        ])?;
    if let Some(refresh) = tokens.refresh {
        connection
            .prepare_cached("INSERT INTO oidc_refresh_tokens (digest, grant_id) VALUES (?, ?)")?
            .execute(params![refresh, grant])?;
    }
    Ok(())
}

fn revoke_grant(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE oidc_grants SET revoked = 1 WHERE id = ?")?
        .execute([id])?;
    Ok(())
}
