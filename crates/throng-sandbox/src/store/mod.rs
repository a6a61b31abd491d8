//! What the sandbox keeps: one SQLite database, in memory or in the data directory.
//!
//! Each part of the sandbox owns its tables: it adds its `SCHEMA` to [`SCHEMAS`] and its functions in
//! an `impl Store` of its own module. One connection under a mutex is enough, because every statement
//! takes microseconds; the lock is never held over an await. Browser sessions, authorization codes and
//! throttles are not here: they die with the process, as they may.

mod accounts;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::{IntoResponse, Response};
use rusqlite::{Connection, Transaction};

pub(crate) use accounts::{Account, CreateAccount, NewAccount};

/// The tables of all parts; later ones may reference earlier ones.
pub(crate) const SCHEMAS: [&[&str]; 4] = [
    &[accounts::SCHEMA],
    &[crate::oidc::SCHEMA],
    crate::nextcloud::SCHEMAS,
    &[crate::mcp::SCHEMA],
];

/// A failure of the database. The message names no values, hence no secrets.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox's database failed")]
pub struct StoreError(#[from] rusqlite::Error);

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        let error: &dyn std::error::Error = &self.0;
        tracing::error!(error, "the sandbox's database failed");
        http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// The database.
pub(crate) struct Store(Mutex<Connection>);

impl Store {
    /// Opens `sandbox.sqlite` in the directory, or a database in memory, and makes missing tables.
    pub(crate) fn open(data: Option<&Path>) -> Result<Self, StoreError> {
        let connection = match data {
            Some(directory) => Connection::open(directory.join("sandbox.sqlite"))?,
            None => Connection::open_in_memory()?,
        };
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;",
        )?;
        connection.set_prepared_statement_cache_capacity(256);
        for schema in SCHEMAS.into_iter().flatten() {
            connection.execute_batch(schema)?;
        }
        Ok(Self(Mutex::new(connection)))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic under the lock rolls its transaction back: the connection stays usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs statements on the connection. Use `prepare_cached`; do not block in it.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(work(&self.lock())?)
    }

    /// Runs statements that take effect together or, on an error, not at all.
    pub(crate) fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
