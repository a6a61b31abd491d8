//! Shares: a file of one user that stands in another user's root.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::files::{self, File, permission};

/// A share with one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) id: i64,
    pub(crate) file: i64,
    pub(crate) owner: String,
    pub(crate) recipient: String,
    /// Bits of [`permission`].
    pub(crate) permissions: u32,
    /// Unix seconds.
    pub(crate) created: i64,
    /// Where it stands in the recipient's root: `/T1.md`.
    pub(crate) target: String,
    /// Unix milliseconds; before it the recipient does not see the share.
    pub(crate) visible_at: i64,
}

const COLUMNS: &str =
    "s.id, s.file, s.owner, s.recipient, s.permissions, s.created, s.target, s.visible_at";

fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Share> {
    Ok(Share {
        id: row.get(first)?,
        file: row.get(first + 1)?,
        owner: row.get(first + 2)?,
        recipient: row.get(first + 3)?,
        permissions: row.get(first + 4)?,
        created: row.get(first + 5)?,
        target: row.get(first + 6)?,
        visible_at: row.get(first + 7)?,
    })
}

/// Single files can be neither created nor deleted through a share: those bits are dropped, as Nextcloud does.
pub(crate) fn effective(permissions: u32, directory: bool) -> u32 {
    let permissions = permissions & permission::ALL;
    if directory {
        permissions
    } else {
        permissions & !(permission::CREATE | permission::DELETE)
    }
}

/// Shares a file with a user. A share of the same file with the same user is answered as it stands, unchanged.
pub(crate) fn create(
    db: &Connection,
    file: &File,
    recipient: &str,
    permissions: u32,
    (now, visible_at): (i64, i64),
) -> rusqlite::Result<Share> {
    let existing = db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM shares s WHERE s.file = ?1 AND s.recipient = ?2"
        ))?
        .query_row(params![file.id, recipient], |row| from_row(row, 0))
        .optional()?;
    if let Some(share) = existing {
        return Ok(share);
    }
    let target = free_target(db, recipient, file.path.name())?;
    db.prepare_cached(
        "INSERT INTO shares (file, owner, recipient, permissions, created, target, visible_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        file.id,
        file.owner,
        recipient,
        effective(permissions, file.directory),
        now,
        target,
        visible_at
    ])?;
    Ok(Share {
        id: db.last_insert_rowid(),
        file: file.id,
        owner: file.owner.clone(),
        recipient: recipient.to_owned(),
        permissions: effective(permissions, file.directory),
        created: now,
        target,
        visible_at,
    })
}

/// A share by its id, with the file that is shared.
pub(crate) fn find(db: &Connection, id: i64) -> rusqlite::Result<Option<(Share, File)>> {
    Ok(select(db, "s.id = ?1", params![id])?.pop())
}

/// What a user has shared with others, oldest first; of one file only, if one is given.
pub(crate) fn by_owner(
    db: &Connection,
    owner: &str,
    file: Option<i64>,
) -> rusqlite::Result<Vec<(Share, File)>> {
    select(
        db,
        "s.owner = ?1 AND (?2 IS NULL OR s.file = ?2) ORDER BY s.id",
        params![owner, file],
    )
}

/// What is shared with a user and visible by now, oldest first.
pub(crate) fn mounts(
    db: &Connection,
    recipient: &str,
    now_ms: i64,
) -> rusqlite::Result<Vec<(Share, File)>> {
    select(
        db,
        "s.recipient = ?1 AND s.visible_at <= ?2 ORDER BY s.id",
        params![recipient, now_ms],
    )
}

/// The visible share that stands under `name` in the recipient's root.
pub(crate) fn mounted_at(
    db: &Connection,
    recipient: &str,
    name: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<(Share, File)>> {
    let target = format!("/{name}");
    Ok(select(
        db,
        "s.recipient = ?1 AND s.target = ?2 AND s.visible_at <= ?3",
        params![recipient, target, now_ms],
    )?
    .pop())
}

/// Changes what the recipient may do; the share afterwards.
pub(crate) fn set_permissions(db: &Connection, id: i64, permissions: u32) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE shares SET permissions = ?2 WHERE id = ?1")?
        .execute(params![id, permissions])?;
    Ok(())
}

/// Ends a share; `false`: there was none.
pub(crate) fn delete(db: &Connection, id: i64) -> rusqlite::Result<bool> {
    Ok(db
        .prepare_cached("DELETE FROM shares WHERE id = ?1")?
        .execute([id])?
        > 0)
}

fn select(
    db: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<(Share, File)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {}, {COLUMNS} FROM shares s JOIN files f ON f.id = s.file WHERE {condition}",
        files::COLUMNS
    ))?;
    statement
        .query_map(values, |row| Ok((from_row(row, 9)?, files::from_row(row)?)))?
        .collect()
}

/// A name that neither an own file nor another share has in the recipient's root: `T.md`, `T (2).md`, ...
fn free_target(db: &Connection, recipient: &str, name: &str) -> rusqlite::Result<String> {
    let mut taken = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM files WHERE owner = ?1 AND parent = '' AND name = ?2)
             OR EXISTS (SELECT 1 FROM shares WHERE recipient = ?1 AND target = '/' || ?2)",
    )?;
    let (stem, suffix) = match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    };
    let mut candidate = name.to_owned();
    for number in 2.. {
        if !taken.query_row(params![recipient, candidate], |row| row.get::<_, bool>(0))? {
            break;
        }
        candidate = format!("{stem} ({number}){suffix}");
    }
    Ok(format!("/{candidate}"))
}

#[cfg(test)]
mod tests {
    use super::super::files::{Precondition, look, remove, write};
    use super::super::in_memory;
    use super::super::path::FilePath;
    use super::*;

    const NOW: (i64, i64) = (1_000, 1_000_000);

    fn path(raw: &str) -> FilePath {
        FilePath::parse(raw).unwrap()
    }

    fn put(db: &Connection, who: &str, at: &str) -> Result<File, files::Refused> {
        let written = write(
            db,
            who,
            &path(at),
            (b"text", "text/plain"),
            &Precondition::default(),
            NOW,
        )
        .unwrap()?;
        Ok(files::find_by_id(db, written.id).unwrap().unwrap())
    }

    fn two_users() -> Connection {
        in_memory()
    }

    #[test]
    fn a_share_stands_in_the_recipients_root_under_a_free_name() {
        let db = two_users();
        put(&db, "bob", "/T.md").unwrap();
        let file = put(&db, "alice", "/T.md").unwrap();
        let share = create(&db, &file, "bob", 1, (1, 0)).unwrap();
        assert_eq!(share.target, "/T (2).md");
        let seen = look(&db, "bob", &path("/T (2).md"), NOW.1)
            .unwrap()
            .unwrap();
        assert_eq!(
            (seen.file.id, seen.permissions, seen.mount),
            (file.id, 1, true)
        );
        let again = create(&db, &file, "bob", 15, (2, 0)).unwrap();
        assert_eq!(again, share, "an identical share is answered as it stands");
    }

    #[test]
    fn a_share_is_invisible_until_it_has_propagated() {
        let db = two_users();
        let file = put(&db, "alice", "/T.md").unwrap();
        create(&db, &file, "bob", 1, (1, 5_000)).unwrap();
        assert!(mounts(&db, "bob", 4_999).unwrap().is_empty());
        assert!(look(&db, "bob", &path("/T.md"), 4_999).unwrap().is_none());
        assert_eq!(mounts(&db, "bob", 5_000).unwrap().len(), 1);
        assert_eq!(by_owner(&db, "alice", None).unwrap().len(), 1);
        assert_eq!(by_owner(&db, "alice", Some(file.id + 1)).unwrap().len(), 0);
    }

    #[test]
    fn permissions_bind_the_recipient_and_deleting_the_mount_ends_only_the_share() {
        let db = two_users();
        let file = put(&db, "alice", "/T.md").unwrap();
        let share = create(&db, &file, "bob", 15, (1, 0)).unwrap();
        assert_eq!(
            share.permissions, 3,
            "no create and delete on a single file"
        );
        put(&db, "bob", "/T.md").expect("update is allowed");
        set_permissions(&db, share.id, 1).unwrap();
        assert!(put(&db, "bob", "/T.md").is_err(), "read-only");
        remove(&db, "bob", &path("/T.md"), NOW.1).unwrap().unwrap();
        assert!(find(&db, share.id).unwrap().is_none());
        assert!(look(&db, "alice", &path("/T.md"), NOW.1).unwrap().is_some());
        assert!(!delete(&db, share.id).unwrap());
    }

    #[test]
    fn removing_the_file_ends_its_shares() {
        let db = two_users();
        let file = put(&db, "alice", "/T.md").unwrap();
        let share = create(&db, &file, "bob", 1, (1, 0)).unwrap();
        remove(&db, "alice", &path("/T.md"), NOW.1)
            .unwrap()
            .unwrap();
        assert!(find(&db, share.id).unwrap().is_none());
    }
}
