//! The tools of the Notes app. A user's own notes only: a shared note has no id for its recipient.

use serde_json::{Value, json};

use super::output::{Field, Kind as Out, Output, SUCCESS, TIMESTAMP, always, usually};
use super::{Answer, Call, Failure, Nature, Tool};
use crate::mcp::arguments::{Kind, Parameter, Presence};
use crate::nextcloud::content::new_etag;
use crate::nextcloud::content::notes::{self, Change, Note, Updated};
use crate::timestamp::{rfc3339_now, unix_seconds};

const NOTE_ID: Parameter = Parameter::required("note_id", Kind::Integer);
const CONTENT: Parameter = Parameter::required("content", Kind::Text);

/// What an appended text is separated by.
const SEPARATOR: &str = "\n---\n";

const URL: Field = usually("url", Out::TextOrNull);
const CHANGED: &[Field] = &[
    SUCCESS,
    TIMESTAMP,
    always("id", Out::Integer),
    always("title", Out::Text),
    always("category", Out::Text),
    always("etag", Out::Text),
    URL,
];
const FOUND: &[Field] = &[
    always("id", Out::Integer),
    always("title", Out::Text),
    usually("category", Out::Text),
    usually("score", Out::NumberOrNull),
    URL,
];

pub(super) const CREATE: Tool = Tool {
    name: "nc_notes_create_note",
    title: "Create Note",
    description: "Create a note",
    scope: "notes.write",
    parameters: &[
        Parameter::required("title", Kind::Text),
        CONTENT,
        Parameter::required("category", Kind::Text),
    ],
    output: Output::Object("CreateNoteResponse", CHANGED),
    nature: Nature::Changes,
    run: create,
};

pub(super) const UPDATE: Tool = Tool {
    name: "nc_notes_update_note",
    title: "Update Note",
    description: "Change a note that nobody has changed since its etag was read; null keeps what there is",
    scope: "notes.write",
    parameters: &[
        NOTE_ID,
        Parameter::required("etag", Kind::Text),
        Parameter::required("title", Kind::TextOrNull),
        Parameter::required("content", Kind::TextOrNull),
        Parameter::required("category", Kind::TextOrNull),
    ],
    output: Output::Object("UpdateNoteResponse", CHANGED),
    nature: Nature::Changes,
    run: update,
};

pub(super) const APPEND: Tool = Tool {
    name: "nc_notes_append_content",
    title: "Append to Note",
    description: "Append text to a note, behind a line of three dashes",
    scope: "notes.write",
    parameters: &[NOTE_ID, CONTENT],
    output: Output::Object("AppendContentResponse", CHANGED),
    nature: Nature::Changes,
    run: append,
};

pub(super) const SEARCH: Tool = Tool {
    name: "nc_notes_search_notes",
    title: "Search Notes",
    description: "Find notes by the words of their titles and texts",
    scope: "notes.read",
    parameters: &[Parameter::required("query", Kind::Text)],
    output: Output::Object(
        "SearchNotesResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            always("results", Out::Objects(FOUND)),
            always("query", Out::Text),
            always("total_found", Out::Integer),
        ],
    ),
    nature: Nature::Reads,
    run: search,
};

pub(super) const LIST: Tool = Tool {
    name: "nc_notes_list_notes",
    title: "List Notes",
    description: "List notes, of one category if it is given",
    scope: "notes.read",
    parameters: &[
        Parameter::optional("category", Kind::TextOrNull, Presence::Null),
        Parameter::optional("limit", Kind::Integer, Presence::Number(100)),
    ],
    output: Output::Object(
        "ListNotesResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            always("total_found", Out::Integer),
            usually("category", Out::TextOrNull),
            always("results", Out::Objects(FOUND)),
        ],
    ),
    nature: Nature::Reads,
    run: list,
};

pub(super) const GET: Tool = Tool {
    name: "nc_notes_get_note",
    title: "Get Note",
    description: "Read a note",
    scope: "notes.read",
    parameters: &[NOTE_ID],
    output: Output::Object(
        "Note",
        &[
            always("id", Out::Integer),
            always("title", Out::Text),
            always("content", Out::Text),
            usually("category", Out::Text),
            always("modified", Out::Integer),
            usually("favorite", Out::Boolean),
            always("etag", Out::Text),
            usually("readonly", Out::Boolean),
            URL,
        ],
    ),
    nature: Nature::Reads,
    run: get,
};

pub(super) const DELETE: Tool = Tool {
    name: "nc_notes_delete_note",
    title: "Delete Note",
    description: "Delete a note",
    scope: "notes.write",
    parameters: &[NOTE_ID],
    output: Output::Object(
        "DeleteNoteResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            usually("status_code", Out::IntegerOrNull),
            usually("message", Out::TextOrNull),
            always("deleted_id", Out::Integer),
        ],
    ),
    nature: Nature::Destroys,
    run: delete,
};

fn url(call: &Call<'_>, id: i64) -> String {
    format!("{}/index.php/apps/notes/note/{id}", call.state.url)
}

fn changed(call: &Call<'_>, note: &Note) -> Answer {
    Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "id": note.id,
        "title": note.title,
        "category": note.category,
        "etag": note.etag,
        "url": url(call, note.id),
    }))
}

fn missing(id: i64) -> Failure {
    Failure::Tool(format!("Note {id} not found"))
}

fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let change = Change {
        title: call.arguments.text_or_null("title").map(str::to_owned),
        content: call.arguments.text_or_null("content").map(str::to_owned),
        category: call.arguments.text_or_null("category").map(str::to_owned),
        ..Change::default()
    };
    let note = call
        .state
        .store
        .transaction(|db| notes::create(db, call.user, &change, unix_seconds()))?;
    Ok(changed(call, &note))
}

fn get(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("note_id");
    let note = call.state.store.with(|db| notes::find(db, call.user, id))?;
    let note = note.ok_or_else(|| missing(id))?;
    Ok(Answer::Object(json!({
        "id": note.id,
        "title": note.title,
        "content": note.content,
        "category": note.category,
        "modified": note.modified,
        "favorite": note.favorite,
        "etag": note.etag,
        "readonly": false,
        "url": url(call, note.id),
    })))
}

fn update(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("note_id");
    // An empty text keeps what there is, like null.
    let given = |name| {
        call.arguments
            .text_or_null(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let change = Change {
        title: given("title"),
        content: given("content"),
        category: given("category"),
        ..Change::default()
    };
    let etag = call.arguments.text("etag");
    let updated = call
        .state
        .store
        .transaction(|db| notes::update(db, call.user, id, Some(etag), &change, unix_seconds()))?;
    match updated {
        Updated::Done(note) => Ok(changed(call, &note)),
        Updated::Stale(_) => Err(Failure::Tool(format!(
            "Note {id} has been modified by someone else. Please refresh and try again."
        ))),
        Updated::Missing => Err(missing(id)),
    }
}

/// Reads and writes under one lock: unlike the real server's, this append never loses another one. What the `lost_appends`
/// knob takes away is marked in the journal.
fn append(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("note_id");
    let content = call.arguments.text("content");
    let lost = call.state.knobs.draw_lost_append();
    let note = call.state.store.transaction(|db| {
        let Some(mut note) = notes::find(db, call.user, id)? else {
            return Ok(None);
        };
        if lost {
            note.etag = new_etag();
            return Ok(Some(note));
        }
        let joined = if note.content.is_empty() {
            content.to_owned()
        } else {
            format!("{}{SEPARATOR}{content}", note.content)
        };
        let change = Change {
            content: Some(joined),
            ..Change::default()
        };
        Ok(
            match notes::update(db, call.user, id, None, &change, unix_seconds())? {
                Updated::Done(note) | Updated::Stale(note) => Some(note),
                Updated::Missing => None,
            },
        )
    })?;
    let note = note.ok_or_else(|| missing(id))?;
    if lost {
        call.note.planted("lost_append");
    }
    Ok(changed(call, &note))
}

fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("note_id");
    let deleted = call
        .state
        .store
        .transaction(|db| notes::delete(db, call.user, id))?;
    if !deleted {
        return Err(missing(id));
    }
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "status_code": 200,
        "message": format!("Note {id} deleted successfully"),
        "deleted_id": id,
    })))
}

fn found(call: &Call<'_>, note: &Note, score: Option<f64>) -> Value {
    json!({
        "id": note.id,
        "title": note.title,
        "category": note.category,
        "score": score,
        "url": url(call, note.id),
    })
}

fn search(call: &Call<'_>) -> Result<Answer, Failure> {
    let query = call.arguments.text("query");
    let notes = call.state.store.with(|db| notes::list(db, call.user))?;
    let words = words_of(query);
    let results: Vec<Value> = if words.is_empty() {
        notes.iter().map(|note| found(call, note, None)).collect()
    } else {
        let mut scored: Vec<_> = notes
            .iter()
            .map(|note| (score(&words, note), note))
            .filter(|(score, _)| *score >= 0.5)
            .collect();
        // Stable, so that equals stay in the order of the list.
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored
            .iter()
            .map(|(score, note)| found(call, note, Some(*score)))
            .collect()
    };
    let total = results.len();
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "results": results,
        "query": query,
        "total_found": total,
    })))
}

/// Lower-case words of more than one letter.
fn words_of(query: &str) -> Vec<String> {
    let lower = query.to_lowercase();
    let words = lower.split_whitespace();
    words
        .filter(|word| word.chars().nth(1).is_some())
        .map(str::to_owned)
        .collect()
}

/// The share of the words that the title has, three times, plus the share that the text has.
fn score(words: &[String], note: &Note) -> f64 {
    let share = |text: &str| {
        let lower = text.to_lowercase();
        let present: std::collections::HashSet<_> = lower.split_whitespace().collect();
        let hits = words.iter().filter(|word| present.contains(word.as_str()));
        // A query has far fewer words than a float counts exactly.
        hits.count() as f64 / words.len() as f64
    };
    3.0 * share(&note.title) + share(&note.content)
}

fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let category = call.arguments.text_or_null("category");
    let limit = call.arguments.integer("limit");
    let limit = usize::try_from(limit).map_err(|_| {
        let message = "limit: Input should be greater than or equal to 0";
        Failure::executing(call.tool, message)
    })?;
    let mut notes = call.state.store.with(|db| notes::list(db, call.user))?;
    notes.retain(|note| category.is_none_or(|category| note.category == category));
    let results: Vec<_> = notes
        .iter()
        .take(limit)
        .map(|note| found(call, note, None))
        .collect();
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "total_found": notes.len(),
        "category": category,
        "results": results,
    })))
}
