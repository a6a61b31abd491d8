//! Files and directories of each user, as WebDAV sees them: the own ones, and those that others share.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::path::FilePath;
use super::{new_etag, shares};

/// What the share API calls permissions: a bit set.
pub(crate) mod permission {
    pub(crate) const READ: u32 = 1;
    pub(crate) const UPDATE: u32 = 2;
    pub(crate) const CREATE: u32 = 4;
    pub(crate) const DELETE: u32 = 8;
    pub(crate) const SHARE: u32 = 16;
    pub(crate) const ALL: u32 = 31;
}

/// A file or directory without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) id: i64,
    pub(crate) owner: String,
    pub(crate) path: FilePath,
    pub(crate) directory: bool,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) etag: String,
    /// Unix seconds.
    pub(crate) modified: i64,
}

/// A file as one user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) file: File,
    /// Where it stands in the viewer's tree; differs from `file.path` when it is shared.
    pub(crate) path: FilePath,
    /// What the viewer may do with it ([`permission`]).
    pub(crate) permissions: u32,
    /// The share it comes through.
    pub(crate) share: Option<i64>,
    /// It is the shared file itself, not something inside a shared directory.
    pub(crate) mount: bool,
}

/// Why an operation on files was refused. Functions answer `Result<Result<_, Refused>>`: the outer error is the database's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Nothing stands at that path.
    #[error("File with name {0} could not be located")]
    NotFound(FilePath),
    /// The directory it should stand in does not exist.
    #[error("Parent node does not exist")]
    ParentMissing,
    /// Something stands there already.
    #[error("The resource you tried to create already exists")]
    Exists,
    /// The viewer's permissions do not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// `If-Match` or `If-None-Match` did not hold; which one.
    #[error("An {0} header was specified, but the condition did not hold")]
    Precondition(&'static str),
}

/// A condition on what stands at the path before it is written (RFC 9110, section 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Precondition {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
}

impl Precondition {
    /// Holds for what stands there now (`None`: nothing does)?
    pub(crate) fn check(&self, current: Option<&str>) -> Result<(), Refused> {
        if let Some(wanted) = &self.if_match
            && !current.is_some_and(|etag| etag_matches(wanted, etag))
        {
            return Err(Refused::Precondition("If-Match"));
        }
        if let Some(unwanted) = &self.if_none_match
            && current.is_some_and(|etag| etag_matches(unwanted, etag))
        {
            return Err(Refused::Precondition("If-None-Match"));
        }
        Ok(())
    }
}

/// Does a header value (`*`, or a comma-separated list of entity tags, quoted, weak or bare) name `etag`?
pub(crate) fn etag_matches(header: &str, etag: &str) -> bool {
    header
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).trim_matches('"') == etag)
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) id: i64,
    pub(crate) etag: String,
    pub(crate) created: bool,
}

pub(super) const COLUMNS: &str = "f.id, f.owner, f.parent, f.name, f.directory, length(f.content), f.content_type, f.etag, f.modified";

/// Reads [`COLUMNS`], from column 0 on.
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<File> {
    let (parent, name): (String, String) = (row.get(2)?, row.get(3)?);
    let path = FilePath::parse(&format!("{parent}/{name}")).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(File {
        id: row.get(0)?,
        owner: row.get(1)?,
        path,
        directory: row.get(4)?,
        size: row.get::<_, i64>(5)?.unsigned_abs(),
        content_type: row.get(6)?,
        etag: row.get(7)?,
        modified: row.get(8)?,
    })
}

/// A file of the user's own.
pub(crate) fn find_own(
    db: &Connection,
    owner: &str,
    path: &FilePath,
) -> rusqlite::Result<Option<File>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM files f WHERE f.owner = ?1 AND f.parent = ?2 AND f.name = ?3"
    ))?
    .query_row(params![owner, path.parent(), path.name()], from_row)
    .optional()
}

/// A file by its id, whoever owns it.
pub(crate) fn find_by_id(db: &Connection, id: i64) -> rusqlite::Result<Option<File>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM files f WHERE f.id = ?1"))?
        .query_row([id], from_row)
        .optional()
}

/// What stands at `path` in the viewer's tree: an own file, else what a visible share puts there.
pub(crate) fn look(
    db: &Connection,
    viewer: &str,
    path: &FilePath,
    now_ms: i64,
) -> rusqlite::Result<Option<Seen>> {
    if let Some(file) = find_own(db, viewer, path)? {
        return Ok(Some(Seen {
            path: path.clone(),
            permissions: permission::ALL,
            share: None,
            mount: false,
            file,
        }));
    }
    let Some((first, rest)) = path.split_first() else {
        return Ok(None);
    };
    let Some((share, mounted)) = shares::mounted_at(db, viewer, first, now_ms)? else {
        return Ok(None);
    };
    let mount = rest.is_root();
    let file = if mount {
        Some(mounted)
    } else {
        find_own(db, &mounted.owner, &mounted.path.concat(&rest))?
    };
    Ok(file.map(|file| Seen {
        path: path.clone(),
        permissions: share.permissions,
        share: Some(share.id),
        mount,
        file,
    }))
}

/// What stands in a directory (its own children, and in the root also what is shared), by name.
pub(crate) fn list(
    db: &Connection,
    viewer: &str,
    directory: &Seen,
    now_ms: i64,
) -> rusqlite::Result<Vec<Seen>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM files f WHERE f.owner = ?1 AND f.parent = ?2 AND f.name <> '' ORDER BY f.name"
    ))?;
    let mut found = statement
        .query_map(
            params![directory.file.owner, directory.file.path.as_str()],
            from_row,
        )?
        .map(|file| {
            file.map(|file| Seen {
                path: directory.path.join(file.path.name()),
                permissions: directory.permissions,
                share: directory.share,
                mount: false,
                file,
            })
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if directory.path.is_root() {
        for (share, file) in shares::mounts(db, viewer, now_ms)? {
            found.push(Seen {
                path: FilePath::root().join(share.target.trim_start_matches('/')),
                permissions: share.permissions,
                share: Some(share.id),
                mount: true,
                file,
            });
        }
        found.sort_by(|a, b| a.path.name().cmp(b.path.name()));
    }
    Ok(found)
}

/// A file's bytes.
pub(crate) fn content(db: &Connection, id: i64) -> rusqlite::Result<Vec<u8>> {
    db.prepare_cached("SELECT content FROM files WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
}

/// Creates or overwrites a file in the viewer's tree.
pub(crate) fn write(
    db: &Connection,
    viewer: &str,
    path: &FilePath,
    (content, content_type): (&[u8], &str),
    precondition: &Precondition,
    (now, now_ms): (i64, i64),
) -> rusqlite::Result<Result<Written, Refused>> {
    if let Some(seen) = look(db, viewer, path, now_ms)? {
        if seen.file.directory {
            return Ok(Err(Refused::Exists));
        }
        if let Err(refused) = precondition.check(Some(&seen.file.etag)) {
            return Ok(Err(refused));
        }
        if seen.permissions & permission::UPDATE == 0 {
            return Ok(Err(Refused::Forbidden("No permission to update the file")));
        }
        let etag = overwrite(db, seen.file.id, content, now)?;
        return Ok(Ok(Written {
            id: seen.file.id,
            etag,
            created: false,
        }));
    }
    if let Err(refused) = precondition.check(None) {
        return Ok(Err(refused));
    }
    let parent = match creatable_parent(db, viewer, path, now_ms)? {
        Ok(parent) => parent,
        Err(refused) => return Ok(Err(refused)),
    };
    let (id, etag) = insert(
        db,
        &parent.owner,
        &parent.path.join(path.name()),
        Some((content, content_type)),
        now,
    )?;
    Ok(Ok(Written {
        id,
        etag,
        created: true,
    }))
}

/// Creates a directory in the viewer's tree.
pub(crate) fn make_directory(
    db: &Connection,
    viewer: &str,
    path: &FilePath,
    (now, now_ms): (i64, i64),
) -> rusqlite::Result<Result<i64, Refused>> {
    if look(db, viewer, path, now_ms)?.is_some() {
        return Ok(Err(Refused::Exists));
    }
    let parent = match creatable_parent(db, viewer, path, now_ms)? {
        Ok(parent) => parent,
        Err(refused) => return Ok(Err(refused)),
    };
    let (id, _) = insert(db, &parent.owner, &parent.path.join(path.name()), None, now)?;
    Ok(Ok(id))
}

/// Removes a file, or a directory with all that is in it. For the recipient of a share this ends the share and no more.
pub(crate) fn remove(
    db: &Connection,
    viewer: &str,
    path: &FilePath,
    now_ms: i64,
) -> rusqlite::Result<Result<(), Refused>> {
    let Some(seen) = look(db, viewer, path, now_ms)? else {
        return Ok(Err(Refused::NotFound(path.clone())));
    };
    if path.is_root() {
        let why = "The home directory cannot be deleted";
        return Ok(Err(Refused::Forbidden(why)));
    }
    if seen.mount
        && let Some(share) = seen.share
    {
        shares::delete(db, share)?;
        return Ok(Ok(()));
    }
    if seen.permissions & permission::DELETE == 0 {
        return Ok(Err(Refused::Forbidden("No permission to delete the file")));
    }
    remove_tree(db, &seen.file)?;
    Ok(Ok(()))
}

/// Removes a file whatever the permissions say, with what is in it and the shares of it.
pub(super) fn remove_tree(db: &Connection, file: &File) -> rusqlite::Result<()> {
    if file.directory {
        // '0' follows '/', so this range is exactly what stands below the directory.
        let below = params![
            file.owner,
            file.path.as_str(),
            format!("{}/", file.path.as_str()),
            format!("{}0", file.path.as_str())
        ];
        db.prepare_cached(
            "DELETE FROM files WHERE owner = ?1 AND (parent = ?2 OR (parent >= ?3 AND parent < ?4))",
        )?
        .execute(below)?;
    }
    db.prepare_cached("DELETE FROM files WHERE id = ?1")?
        .execute([file.id])?;
    Ok(())
}

/// Replaces a file's bytes; the new entity tag.
pub(super) fn overwrite(
    db: &Connection,
    id: i64,
    content: &[u8],
    now: i64,
) -> rusqlite::Result<String> {
    let etag = new_etag();
    db.prepare_cached("UPDATE files SET content = ?2, etag = ?3, modified = ?4 WHERE id = ?1")?
        .execute(params![id, content, etag, now])?;
    Ok(etag)
}

/// Adds a file (`Some` content and type) or a directory (`None`) to the owner's tree; its id and entity tag.
pub(super) fn insert(
    db: &Connection,
    owner: &str,
    path: &FilePath,
    file: Option<(&[u8], &str)>,
    now: i64,
) -> rusqlite::Result<(i64, String)> {
    let etag = new_etag();
    let (content, content_type) = file.unwrap_or((&[], "httpd/unix-directory"));
    db.prepare_cached(
        "INSERT INTO files (owner, parent, name, directory, content, content_type, etag, modified)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        owner,
        path.parent(),
        path.name(),
        file.is_none(),
        content,
        content_type,
        etag,
        now
    ])?;
    Ok((db.last_insert_rowid(), etag))
}

/// The owner's directory in which the viewer may create `path`.
fn creatable_parent(
    db: &Connection,
    viewer: &str,
    path: &FilePath,
    now_ms: i64,
) -> rusqlite::Result<Result<File, Refused>> {
    let parent = look(db, viewer, &path.parent_path(), now_ms)?;
    Ok(match parent {
        Some(parent) if parent.file.directory && parent.permissions & permission::CREATE == 0 => {
            Err(Refused::Forbidden("No permission to create files here"))
        }
        Some(parent) if parent.file.directory => Ok(parent.file),
        _ => Err(Refused::ParentMissing),
    })
}

#[cfg(test)]
mod tests {
    use super::super::in_memory;
    use super::*;

    const NOW: (i64, i64) = (1_000, 1_000_000);

    fn path(raw: &str) -> FilePath {
        FilePath::parse(raw).unwrap()
    }

    fn put(db: &Connection, who: &str, at: &str, content: &str) -> Result<Written, Refused> {
        let text = (content.as_bytes(), "text/plain");
        write(db, who, &path(at), text, &Precondition::default(), NOW).unwrap()
    }

    #[test]
    fn a_file_is_created_overwritten_and_removed() {
        let db = in_memory();
        let first = put(&db, "alice", "/a.txt", "one").unwrap();
        assert!(first.created);
        let second = put(&db, "alice", "/a.txt", "two").unwrap();
        assert!(!second.created && second.id == first.id && second.etag != first.etag);
        assert_eq!(content(&db, first.id).unwrap(), b"two");
        remove(&db, "alice", &path("/a.txt"), NOW.1)
            .unwrap()
            .unwrap();
        assert!(matches!(
            remove(&db, "alice", &path("/a.txt"), NOW.1).unwrap(),
            Err(Refused::NotFound(_))
        ));
    }

    #[test]
    fn a_file_needs_its_directory_and_directories_are_removed_whole() {
        let db = in_memory();
        assert!(matches!(
            put(&db, "alice", "/D/a.txt", "x"),
            Err(Refused::ParentMissing)
        ));
        make_directory(&db, "alice", &path("/D"), NOW)
            .unwrap()
            .unwrap();
        assert!(matches!(
            make_directory(&db, "alice", &path("/D"), NOW).unwrap(),
            Err(Refused::Exists)
        ));
        make_directory(&db, "alice", &path("/D/E"), NOW)
            .unwrap()
            .unwrap();
        put(&db, "alice", "/D/E/a.txt", "x").unwrap();
        put(
            &db,
            "alice",
            "/D0.txt",
            "stays: it only sorts after the directory",
        )
        .unwrap();
        remove(&db, "alice", &path("/D"), NOW.1).unwrap().unwrap();
        let root = look(&db, "alice", &FilePath::root(), NOW.1)
            .unwrap()
            .unwrap();
        let names: Vec<_> = list(&db, "alice", &root, NOW.1)
            .unwrap()
            .iter()
            .map(|seen| seen.path.name().to_owned())
            .collect();
        assert_eq!(names, ["D0.txt"]);
        let left: i64 = db
            .query_row("SELECT count(*) FROM files", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 3, "the two roots and D0.txt");
    }

    #[test]
    fn preconditions_are_kept() {
        let db = in_memory();
        let with = |if_match: Option<&str>, if_none_match: Option<&str>| {
            let condition = Precondition {
                if_match: if_match.map(str::to_owned),
                if_none_match: if_none_match.map(str::to_owned),
            };
            write(
                &db,
                "alice",
                &path("/a"),
                (b"x", "text/plain"),
                &condition,
                NOW,
            )
            .unwrap()
        };
        assert!(with(Some("*"), None).is_err(), "nothing to overwrite");
        let etag = with(None, Some("*")).unwrap().etag;
        assert!(with(None, Some("*")).is_err(), "it exists");
        assert!(with(Some("\"other\""), None).is_err());
        assert!(with(Some(&format!("\"{etag}\"")), None).is_ok());
    }

    #[test]
    fn entity_tags_match_in_every_spelling() {
        for header in ["*", "\"e\"", "W/\"e\"", "e", "\"x\", \"e\""] {
            assert!(etag_matches(header, "e"), "{header}");
        }
        for header in ["\"x\"", "", "ee"] {
            assert!(!etag_matches(header, "e"), "{header}");
        }
    }
}
