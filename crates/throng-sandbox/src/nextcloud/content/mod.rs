//! What the sandbox's Nextcloud remembers: accounts' files, the notes among them, and shares.
//!
//! Free functions over a [`rusqlite::Connection`]: they know neither HTTP nor the clock (callers pass the time), so that the
//! MCP server and the HTTP routes work on the very same rules. A note *is* a file (`/Notes/<category>/<title>.md`, the note's
//! id is the file's id), as in Nextcloud; that is why a shared note reaches its recipient as a file and not as a note.

pub(crate) mod files;
pub(crate) mod notes;
pub(crate) mod path;
pub(crate) mod shares;

/// Tables and indices of this module, which build on the accounts'; safe to run on a database that has them already.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS files (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    owner        TEXT NOT NULL COLLATE NOCASE REFERENCES accounts (id) ON DELETE CASCADE,
    parent       TEXT NOT NULL,          -- '' for what stands in the root, else '/Notes/Work'
    name         TEXT NOT NULL,          -- '' only for the root directory itself
    directory    INTEGER NOT NULL,
    content      BLOB NOT NULL,
    content_type TEXT NOT NULL,
    etag         TEXT NOT NULL,
    modified     INTEGER NOT NULL,       -- unix seconds
    favorite     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner, parent, name)
) STRICT;
CREATE TABLE IF NOT EXISTS shares (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    file        INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    owner       TEXT NOT NULL COLLATE NOCASE,
    recipient   TEXT NOT NULL COLLATE NOCASE REFERENCES accounts (id) ON DELETE CASCADE,
    permissions INTEGER NOT NULL,
    created     INTEGER NOT NULL,        -- unix seconds
    target      TEXT NOT NULL,           -- where it stands in the recipient's root: '/T1.md'
    visible_at  INTEGER NOT NULL,        -- unix milliseconds: the recipient sees it from then on
    UNIQUE (file, recipient)
) STRICT;
-- Every account has its root directory from the start.
CREATE TRIGGER IF NOT EXISTS accounts_have_a_home AFTER INSERT ON accounts BEGIN
    INSERT INTO files (owner, parent, name, directory, content, content_type, etag, modified)
    VALUES (NEW.id, '', '', 1, x'', 'httpd/unix-directory', lower(hex(randomblob(16))), unixepoch());
END;
CREATE INDEX IF NOT EXISTS shares_by_recipient ON shares (recipient, target);
CREATE INDEX IF NOT EXISTS shares_by_owner ON shares (owner);
";

/// A fresh entity tag: 32 hexadecimal digits, as Nextcloud's are.
pub(crate) fn new_etag() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The tables in memory, with the accounts `alice` and `bob`.
#[cfg(test)]
pub(crate) fn in_memory() -> rusqlite::Connection {
    let db = rusqlite::Connection::open_in_memory().expect("an in-memory database opens");
    db.execute_batch("PRAGMA foreign_keys = ON")
        .expect("the pragma is known");
    for schema in crate::store::SCHEMAS.into_iter().flatten() {
        db.execute_batch(schema).expect("the schemas are valid");
    }
    for id in ["alice", "bob"] {
        db.execute(
            "INSERT INTO accounts (id, display_name, email, admin, salt, password) VALUES (?, '', '', 0, x'', x'')",
            [id],
        )
        .expect("the account is new");
    }
    db
}
