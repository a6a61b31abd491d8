//! What runs have created on targets, written down before it is created, so that nothing is left behind when a run dies.
//!
//! A SQLite file that several throng processes use at once. It holds names, never passwords or tokens. A commit survives the
//! death of the process at any moment (`kill -9`); for the machine's own death the file system's cache is trusted, because a
//! disk flush for each of a thousand users would make set-up slower than the target.

mod process;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use process::Process;
use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior, params};

use crate::directory::Directory;

/// Layout version, in SQLite's `user_version`.
const VERSION: i64 = 2;

/// How long a writer waits for the others; the longest write is one row.
const BUSY: Duration = Duration::from_secs(15);

const SCHEMA: &str = "
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    process TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER
) STRICT;
";

/// Of layout 2, which knows what stays.
const ENTRIES: &str = "
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL CHECK (kind IN ('user', 'client')),
    directory_kind TEXT NOT NULL,
    directory_url TEXT NOT NULL,
    admin TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('planned', 'created', 'deleting', 'deleted', 'stays')),
    expires INTEGER,
    planned_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX entries_open ON entries (directory_url, name) WHERE state NOT IN ('deleted', 'stays');
CREATE INDEX entries_run ON entries (run);
";

/// From layout 1 to 2: SQLite cannot change a check.
const KEEP_ENTRIES: &str = "
DROP INDEX entries_open;
DROP INDEX entries_run;
ALTER TABLE entries RENAME TO entries_1;
";
const MOVE_ENTRIES: &str = "
INSERT INTO entries SELECT * FROM entries_1;
DROP TABLE entries_1;
";

/// Brings the file to the current layout.
fn lay_out(connection: &Connection, steps: &[&str]) -> Result<(), rusqlite::Error> {
    for step in steps {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "user_version", VERSION)
}

/// The ledger could not be read or written. Without it nothing may be created.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The directory for the file.
    #[error("cannot create {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// SQLite's own complaint.
    #[error("ledger {}: {source}", path.display())]
    Sqlite {
        /// The ledger.
        path: PathBuf,
        /// What went wrong.
        source: rusqlite::Error,
    },
    /// Written by a newer throng.
    #[error("ledger {}: its layout {found} is newer than this throng knows ({VERSION}); use the newer throng", path.display())]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its layout.
        found: i64,
    },
    /// The thread that worked on it died, which is a bug.
    #[error("the ledger's task ended without a result")]
    Lost,
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user of a directory.
    User,
    /// A dynamically registered OAuth client.
    Client,
}

/// How far an entry's resource has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// About to be created: may or may not exist.
    Planned,
    /// Exists.
    Created,
    /// Its deletion has been asked for.
    Deleting,
    /// Gone.
    Deleted,
    /// There, or perhaps there, and nothing can delete it: written down, and no longer anybody's work.
    Stays,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Created => "created",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Stays => "stays",
        }
    }

    fn read(word: &str) -> Self {
        match word {
            "planned" => Self::Planned,
            "created" => Self::Created,
            "deleted" => Self::Deleted,
            "stays" => Self::Stays,
            _ => Self::Deleting,
        }
    }
}

/// Identifies a run; unique without coordination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunId(String);

impl RunId {
    /// A new one: seconds since 1970 and 64 random bits, so that it sorts by time.
    pub fn generate() -> Self {
        Self(format!("{:010}-{:016x}", now(), rand::random::<u64>()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identifies an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(i64);

/// Where an entry's resource lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Kind of directory, e.g. `nextcloud`; `oauth` for client registrations.
    pub kind: String,
    /// Its URL; the issuer's for client registrations.
    pub url: String,
    /// As whom we act there; empty for client registrations.
    pub admin: String,
}

impl Place {
    /// The place of a directory's users.
    pub fn of(directory: &dyn Directory) -> Self {
        Self {
            kind: directory.kind().to_owned(),
            url: directory.url().to_string(),
            admin: directory.admin().to_owned(),
        }
    }

    /// The place of an authorization server's clients.
    pub fn issuer(issuer: &str) -> Self {
        Self {
            kind: "oauth".to_owned(),
            url: issuer.to_owned(),
            admin: String::new(),
        }
    }
}

/// A row that is not deleted.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// The run that planned it.
    pub run: RunId,
    /// The process of that run.
    pub process: Process,
    /// That run has ended in an orderly way (with `--no-cleanup`, its users stay).
    pub run_ended: bool,
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// The user's name or the client's id (or name, while planned).
    pub name: String,
    /// How far it has come.
    pub state: State,
    /// Seconds since 1970 after which the target itself forgets it.
    pub expires: Option<u64>,
    /// Seconds since 1970.
    pub planned_at: u64,
}

impl Entry {
    /// It belongs to a run that is still going on, in another process or in this one.
    pub fn is_in_use(&self) -> bool {
        !self.run_ended && self.process.is_alive()
    }
}

/// The open ledger. A clone is the same one. Calls block for some ten microseconds; from async code use [`Ledger::run`].
#[derive(Debug, Clone)]
pub struct Ledger {
    path: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
}

impl Ledger {
    /// Opens or creates the ledger at `path`, and the directories above it (for the user alone).
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let sqlite = |source| LedgerError::Sqlite {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            create_private(parent).map_err(|source| LedgerError::Directory {
                path: parent.to_owned(),
                source,
            })?;
        }
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        // Readers and writers of several processes side by side; a commit is in the file before it returns.
        write_ahead(&connection).map_err(sqlite)?;
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(sqlite)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(sqlite)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        let found: i64 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(sqlite)?;
        match found {
            0 => lay_out(&transaction, &[SCHEMA, ENTRIES]).map_err(sqlite)?,
            1 => {
                lay_out(&transaction, &[KEEP_ENTRIES, ENTRIES, MOVE_ENTRIES]).map_err(sqlite)?;
            }
            VERSION => {}
            found => {
                return Err(LedgerError::Newer {
                    path: path.to_owned(),
                    found,
                });
            }
        }
        transaction.commit().map_err(sqlite)?;
        Ok(Self {
            path: path.into(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Works with the ledger off the async threads.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.clone();
        tokio::task::spawn_blocking(move || work(&ledger))
            .await
            .map_err(|_| LedgerError::Lost)?
    }

    /// Notes that this process starts a run.
    pub fn begin_run(&self) -> Result<RunId, LedgerError> {
        let (id, process) = (RunId::generate(), Process::current());
        self.with(|connection| {
            connection.execute(
                "INSERT INTO runs (id, pid, process, started) VALUES (?1, ?2, ?3, ?4)",
                params![id.0, process.pid, process.mark, now()],
            )
        })?;
        Ok(id)
    }

    /// Notes that a run is over; what it left may be reaped by anybody from now on.
    pub fn end_run(&self, run: &RunId) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute(
                "UPDATE runs SET ended = ?2 WHERE id = ?1",
                params![run.0, now()],
            )
        })
        .map(drop)
    }

    /// Writes and commits an entry, before its resource is created.
    pub fn plan(
        &self,
        run: &RunId,
        kind: Kind,
        place: &Place,
        name: &str,
    ) -> Result<EntryId, LedgerError> {
        let kind = if kind == Kind::User { "user" } else { "client" };
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO entries (run, kind, directory_kind, directory_url, admin, name, state, planned_at, changed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'planned', ?7, ?7)",
            )?;
            statement.insert(params![run.0, kind, place.kind, place.url, place.admin, name, now()])
        })
        .map(EntryId)
    }

    /// Moves an entry on.
    pub fn set_state(&self, entry: EntryId, state: State) -> Result<(), LedgerError> {
        self.with(|connection| {
            let mut statement = connection
                .prepare_cached("UPDATE entries SET state = ?2, changed_at = ?3 WHERE id = ?1")?;
            statement.execute(params![entry.0, state.word(), now()])
        })
        .map(drop)
    }

    /// A client has been registered: under this id, until then.
    pub fn client_created(
        &self,
        entry: EntryId,
        client_id: &str,
        expires: Option<u64>,
    ) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute(
                "UPDATE entries SET name = ?2, expires = ?3, state = 'created', changed_at = ?4 WHERE id = ?1",
                params![entry.0, client_id, expires.and_then(|at| i64::try_from(at).ok()), now()],
            )
        })
        .map(drop)
    }

    /// Takes an entry back whose resource is certainly not ours: its creation was refused.
    pub fn forget(&self, entry: EntryId) -> Result<(), LedgerError> {
        self.with(|connection| {
            connection.execute("DELETE FROM entries WHERE id = ?1", params![entry.0])
        })
        .map(drop)
    }

    /// All entries that are still to be deleted, oldest first.
    pub fn open_entries(&self) -> Result<Vec<Entry>, LedgerError> {
        self.entries("e.state NOT IN ('deleted', 'stays')", params![])
    }

    /// A run's entries that are still to be deleted.
    pub fn open_entries_of(&self, run: &RunId) -> Result<Vec<Entry>, LedgerError> {
        self.entries(
            "e.state NOT IN ('deleted', 'stays') AND e.run = ?1",
            params![run.0],
        )
    }

    fn entries(
        &self,
        condition: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<Entry>, LedgerError> {
        self.with(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT e.id, e.run, r.pid, r.process, r.ended IS NOT NULL, e.kind, e.directory_kind, e.directory_url, e.admin,
                        e.name, e.state, e.expires, e.planned_at
                 FROM entries e JOIN runs r ON r.id = e.run WHERE {condition} ORDER BY e.id"
            ))?;
            statement.query_map(parameters, read_entry)?.collect()
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        // A panic elsewhere leaves the connection usable: every statement is a transaction of its own.
        let connection: MutexGuard<'_, Connection> = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|source| LedgerError::Sqlite {
            path: self.path.to_path_buf(),
            source,
        })
    }
}

/// Turns write-ahead logging on. It's the one thing for which SQLite doesn't wait by itself while another process does the
/// same: where a lock is raised, the busy timeout is not in force.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begin = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begin.elapsed() < BUSY =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "as SQLite's own busy timeout does for everything else"
                )]
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |at: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row
            .get::<_, Option<i64>>(at)?
            .and_then(|n| u64::try_from(n).ok()))
    };
    Ok(Entry {
        id: EntryId(row.get(0)?),
        run: RunId(row.get(1)?),
        process: Process {
            pid: row.get(2)?,
            mark: row.get(3)?,
        },
        run_ended: row.get(4)?,
        kind: if row.get::<_, String>(5)? == "user" {
            Kind::User
        } else {
            Kind::Client
        },
        place: Place {
            kind: row.get(6)?,
            url: row.get(7)?,
            admin: row.get(8)?,
        },
        name: row.get(9)?,
        state: State::read(&row.get::<_, String>(10)?),
        expires: number(11)?,
        planned_at: number(12)?.unwrap_or(0),
    })
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
