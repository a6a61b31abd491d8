//! The Notes app: the text files below `/Notes`, by their file id.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::files::{self, etag_matches};
use super::new_etag;
use super::path::FilePath;

const ROOT: &str = "/Notes";
const SUFFIX: &str = ".md";
const CONTENT_TYPE: &str = "text/markdown";

/// A note with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) id: i64,
    pub(crate) title: String,
    /// Empty, or directories joined by slashes.
    pub(crate) category: String,
    pub(crate) content: String,
    pub(crate) etag: String,
    /// Unix seconds.
    pub(crate) modified: i64,
    pub(crate) favorite: bool,
}

/// What a request wants changed; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) title: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) favorite: Option<bool>,
    pub(crate) modified: Option<i64>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Updated {
    /// It was made.
    Done(Note),
    /// The note's entity tag is another one by now; the note as it stands.
    Stale(Note),
    /// The user has no such note.
    Missing,
}

const COLUMNS: &str = "id, parent, name, content, etag, modified, favorite";
const IS_NOTE: &str = "directory = 0 AND (parent = '/Notes' OR parent LIKE '/Notes/%') AND (name LIKE '%.md' OR name LIKE '%.txt')";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Note> {
    let (parent, name): (String, String) = (row.get(1)?, row.get(2)?);
    let title = name
        .rsplit_once('.')
        .map_or(name.as_str(), |(stem, _)| stem);
    Ok(Note {
        id: row.get(0)?,
        title: title.to_owned(),
        category: parent
            .strip_prefix(ROOT)
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        content: String::from_utf8_lossy(row.get_ref(3)?.as_blob()?).into_owned(),
        etag: row.get(4)?,
        modified: row.get(5)?,
        favorite: row.get(6)?,
    })
}

/// One note of the user's own; a note that somebody shares has no id for the recipient.
pub(crate) fn find(db: &Connection, owner: &str, id: i64) -> rusqlite::Result<Option<Note>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM files WHERE id = ?1 AND owner = ?2 AND {IS_NOTE}"
    ))?
    .query_row(params![id, owner], from_row)
    .optional()
}

/// All notes of a user, the least recently modified first (the order in which chunks are served).
pub(crate) fn list(db: &Connection, owner: &str) -> rusqlite::Result<Vec<Note>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM files WHERE owner = ?1 AND {IS_NOTE} ORDER BY modified, id"
    ))?
    .query_map([owner], from_row)?
    .collect()
}

/// Creates a note; a title that is taken in its category gets a number.
pub(crate) fn create(
    db: &Connection,
    owner: &str,
    change: &Change,
    now: i64,
) -> rusqlite::Result<Note> {
    let category = clean_category(change.category.as_deref().unwrap_or_default());
    let content = change.content.clone().unwrap_or_default();
    let wanted = match change.title.as_deref().map(clean_title) {
        Some(title) if !title.is_empty() => title,
        _ => title_from(&content),
    };
    let directory = ensure_directory(db, owner, &category, now)?;
    let title = free_title(db, owner, &directory, &wanted, None)?;
    let modified = change.modified.unwrap_or(now);
    let (id, etag) = files::insert(
        db,
        owner,
        &directory.join(&format!("{title}{SUFFIX}")),
        Some((content.as_bytes(), CONTENT_TYPE)),
        modified,
    )?;
    let favorite = change.favorite.unwrap_or(false);
    if favorite {
        db.prepare_cached("UPDATE files SET favorite = 1 WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(Note {
        id,
        title,
        category,
        content,
        etag,
        modified,
        favorite,
    })
}

/// Changes a note, if `if_match` (an `If-Match` header value) names its current entity tag or is absent.
pub(crate) fn update(
    db: &Connection,
    owner: &str,
    id: i64,
    if_match: Option<&str>,
    change: &Change,
    now: i64,
) -> rusqlite::Result<Updated> {
    let Some(mut note) = find(db, owner, id)? else {
        return Ok(Updated::Missing);
    };
    if if_match.is_some_and(|wanted| !etag_matches(wanted, &note.etag)) {
        return Ok(Updated::Stale(note));
    }
    if let Some(category) = &change.category {
        note.category = clean_category(category);
    }
    let directory = ensure_directory(db, owner, &note.category, now)?;
    let wanted = change
        .title
        .as_deref()
        .map(clean_title)
        .filter(|title| !title.is_empty());
    note.title = free_title(
        db,
        owner,
        &directory,
        wanted.as_deref().unwrap_or(&note.title),
        Some(id),
    )?;
    if let Some(content) = &change.content {
        note.content.clone_from(content);
    }
    note.favorite = change.favorite.unwrap_or(note.favorite);
    note.modified = change.modified.unwrap_or(now);
    note.etag = new_etag();
    let suffix = files::find_by_id(db, id)?
        .filter(|file| file.path.name().ends_with(".txt"))
        .map_or(SUFFIX, |_| ".txt");
    db.prepare_cached(
        "UPDATE files SET parent = ?2, name = ?3, content = ?4, etag = ?5, modified = ?6, favorite = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        id,
        directory.as_str(),
        format!("{}{suffix}", note.title),
        note.content.as_bytes(),
        note.etag,
        note.modified,
        note.favorite
    ])?;
    Ok(Updated::Done(note))
}

/// Removes a note and the shares of it; `false`: the user has no such note.
pub(crate) fn delete(db: &Connection, owner: &str, id: i64) -> rusqlite::Result<bool> {
    if find(db, owner, id)?.is_none() {
        return Ok(false);
    }
    if let Some(file) = files::find_by_id(db, id)? {
        files::remove_tree(db, &file)?;
    }
    Ok(true)
}

/// Drops what a file name may not hold, as the app does.
fn clean_title(title: &str) -> String {
    title
        .replace(
            [
                '*', '|', '/', '\\', ':', '"', '<', '>', '?', '\n', '\r', '\0',
            ],
            " ",
        )
        .trim()
        .trim_start_matches('.')
        .trim_start()
        .to_owned()
}

fn clean_category(category: &str) -> String {
    category
        .split('/')
        .map(clean_title)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

/// A note without a title is named after the first line of its text.
fn title_from(content: &str) -> String {
    let line = content
        .lines()
        .map(clean_title)
        .find(|line| !line.is_empty());
    line.map_or_else(
        || "New note".to_owned(),
        |line| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .take(100)
                .collect()
        },
    )
}

fn ensure_directory(
    db: &Connection,
    owner: &str,
    category: &str,
    now: i64,
) -> rusqlite::Result<FilePath> {
    let mut directory = FilePath::root().join(ROOT.trim_start_matches('/'));
    let exists = |directory: &FilePath| -> rusqlite::Result<()> {
        if files::find_own(db, owner, directory)?.is_none() {
            files::insert(db, owner, directory, None, now)?;
        }
        Ok(())
    };
    exists(&directory)?;
    for part in category.split('/').filter(|part| !part.is_empty()) {
        directory = directory.join(part);
        exists(&directory)?;
    }
    Ok(directory)
}

/// `T`, or `T (2)`, `T (3)`, ... if another note has the name.
fn free_title(
    db: &Connection,
    owner: &str,
    directory: &FilePath,
    wanted: &str,
    own: Option<i64>,
) -> rusqlite::Result<String> {
    let mut title = wanted.to_owned();
    for number in 2.. {
        let taken = files::find_own(db, owner, &directory.join(&format!("{title}{SUFFIX}")))?;
        if taken.is_none_or(|file| Some(file.id) == own) {
            break;
        }
        title = format!("{wanted} ({number})");
    }
    Ok(title)
}

#[cfg(test)]
mod tests {
    use super::super::in_memory;
    use super::*;

    fn note(title: &str, category: &str, content: &str) -> Change {
        Change {
            title: Some(title.into()),
            category: Some(category.into()),
            content: Some(content.into()),
            ..Change::default()
        }
    }

    #[test]
    fn a_note_is_a_file_below_its_category() {
        let db = in_memory();
        let made = create(&db, "alice", &note("T1", "Work/Plans", "text"), 5).unwrap();
        let path = FilePath::parse("/Notes/Work/Plans/T1.md").unwrap();
        let file = files::find_own(&db, "alice", &path).unwrap().unwrap();
        assert_eq!((file.id, file.etag.as_str()), (made.id, made.etag.as_str()));
        assert_eq!(find(&db, "alice", made.id).unwrap(), Some(made.clone()));
        assert_eq!(
            find(&db, "bob", made.id).unwrap(),
            None,
            "not the recipient's note"
        );
        assert!(delete(&db, "alice", made.id).unwrap());
        assert!(!delete(&db, "alice", made.id).unwrap());
    }

    #[test]
    fn a_duplicate_title_gets_a_number() {
        let db = in_memory();
        let titles: Vec<_> = (0..3)
            .map(|_| create(&db, "alice", &note("T", "", ""), 5).unwrap().title)
            .collect();
        assert_eq!(titles, ["T", "T (2)", "T (3)"]);
        assert_eq!(
            create(&db, "alice", &note("T", "Other", ""), 5)
                .unwrap()
                .title,
            "T"
        );
    }

    #[test]
    fn a_stale_tag_is_refused_with_the_note_as_it_stands() {
        let db = in_memory();
        let made = create(&db, "alice", &note("T", "", "one"), 5).unwrap();
        let change = Change {
            content: Some("two".into()),
            ..Change::default()
        };
        let quoted = format!("\"{}\"", made.etag);
        let Updated::Done(second) =
            update(&db, "alice", made.id, Some(&quoted), &change, 6).unwrap()
        else {
            panic!("the tag was current");
        };
        assert_eq!(
            (second.title.as_str(), second.content.as_str()),
            ("T", "two")
        );
        assert_eq!(
            update(&db, "alice", made.id, Some(&quoted), &change, 7).unwrap(),
            Updated::Stale(second)
        );
        assert_eq!(
            update(&db, "bob", made.id, None, &change, 7).unwrap(),
            Updated::Missing
        );
    }

    #[test]
    fn titles_lose_what_file_names_cannot_hold() {
        let cases = [("a/b:c", "a b c"), ("..x", "x"), ("  ", ""), ("ok", "ok")];
        for (raw, clean) in cases {
            assert_eq!(clean_title(raw), clean, "{raw}");
        }
        let untitled = Change {
            content: Some("\n# Heading\ntext".into()),
            ..Change::default()
        };
        let db = in_memory();
        assert_eq!(create(&db, "alice", &untitled, 5).unwrap().title, "Heading");
        assert_eq!(
            create(&db, "alice", &Change::default(), 5).unwrap().title,
            "New note"
        );
    }
}
