//! The Notes app's API: `/apps/notes/api/v1/notes`, also under `/index.php`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::content::files::etag_matches;
use super::content::notes::{self, Change, Note, Updated};
use super::fields::Fields;
use crate::auth::Authenticated;
use crate::secret::digest;
use crate::state::AppState;
use crate::store::StoreError;
use crate::timestamp::{http_date, unix_seconds};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/apps/notes/api/v1/notes", get(list).post(create))
        .route(
            "/apps/notes/api/v1/notes/{id}",
            get(read).put(update).delete(remove),
        )
        .route("/apps/notes/api/v1/settings", get(settings))
}

/// A note as the API shows it.
pub(crate) fn as_json(note: &Note) -> Value {
    json!({
        "id": note.id,
        "title": note.title,
        "modified": note.modified,
        "category": note.category,
        "favorite": note.favorite,
        "readonly": false,
        "error": false,
        "errorType": "",
        "content": note.content,
        "etag": note.etag,
    })
}

async fn settings(_: Authenticated) -> Json<Value> {
    Json(json!({ "notesPath": "Notes", "fileSuffix": ".md", "noteMode": "rich" }))
}

async fn list(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, StoreError> {
    let mut all = state.store.with(|db| notes::list(db, &account.id))?;
    if let Some(category) = fields.text("category") {
        all.retain(|note| note.category == category);
    }
    let excluded: Vec<_> = fields
        .text("exclude")
        .map(|names| names.split(',').map(str::to_owned).collect())
        .unwrap_or_default();
    let chunk = Chunk::of(&all, &fields);
    let body: Vec<Value> = all[chunk.full.clone()]
        .iter()
        .map(|note| without(as_json(note), &excluded))
        // The last chunk names all other notes, so that a client sees which are gone.
        .chain(
            all.iter()
                .enumerate()
                .filter(|(at, _)| chunk.next.is_none() && !chunk.full.contains(at))
                .map(|(_, note)| json!({ "id": note.id })),
        )
        .collect();
    let newest = all.iter().map(|note| note.modified).max().unwrap_or(0);
    let mut response = Json(&body).into_response();
    let etag = list_etag(&all, &excluded);
    if fields.text("chunkSize").is_none() && matches_none(&headers, &etag) {
        return Ok(not_modified(&etag));
    }
    let answer = response.headers_mut();
    put(answer, "etag", &format!("\"{etag}\""));
    put(answer, "last-modified", &http_date(newest));
    put(answer, "x-notes-api-versions", "0.2, 1.3");
    if let Some(cursor) = &chunk.next {
        put(answer, "x-notes-chunk-cursor", cursor);
        put(
            answer,
            "x-notes-chunk-pending",
            &(all.len() - chunk.full.end).to_string(),
        );
    }
    Ok(response)
}

/// Which notes one answer holds in full.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    full: std::ops::Range<usize>,
    /// Where the next chunk begins; `None`: this is the last one.
    next: Option<String>,
}

impl Chunk {
    /// `notes` in the order of (modified, id), which is what a cursor names: `modified-id`.
    fn of(notes: &[Note], fields: &Fields) -> Self {
        let prune_before = fields.integer("pruneBefore").unwrap_or(0);
        let begin = fields
            .text("chunkCursor")
            .and_then(|cursor| {
                let (modified, id) = cursor.split_once('-')?;
                Some((modified.parse::<i64>().ok()?, id.parse::<i64>().ok()?))
            })
            .unwrap_or((i64::MIN, i64::MIN));
        let begin = notes.partition_point(|note| {
            (note.modified, note.id) <= begin || note.modified < prune_before
        });
        let size = fields
            .integer("chunkSize")
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| *size > 0)
            .unwrap_or(usize::MAX);
        let end = begin.saturating_add(size).min(notes.len());
        let next = (end < notes.len()).then(|| {
            let last = &notes[end - 1];
            format!("{}-{}", last.modified, last.id)
        });
        Self {
            full: begin..end,
            next,
        }
    }
}

fn without(mut note: Value, excluded: &[String]) -> Value {
    if let Some(members) = note.as_object_mut() {
        members.retain(|name, _| name == "id" || !excluded.contains(name));
    }
    note
}

fn list_etag(notes: &[Note], excluded: &[String]) -> String {
    let mut all = excluded.join(",");
    for note in notes {
        all.push_str(&note.etag);
    }
    digest(&all)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn create(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let change = change(&fields);
    let note = state
        .store
        .transaction(|db| notes::create(db, &account.id, &change, unix_seconds()))?;
    Ok(shown(StatusCode::OK, &note))
}

async fn read(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Response, StoreError> {
    Ok(
        match state.store.with(|db| notes::find(db, &account.id, id))? {
            None => missing(),
            Some(note) if matches_none(&headers, &note.etag) => not_modified(&note.etag),
            Some(note) => shown(StatusCode::OK, &note),
        },
    )
}

async fn update(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, StoreError> {
    let if_match = headers
        .get(header::IF_MATCH)
        .and_then(|value| value.to_str().ok());
    let change = change(&fields);
    let updated = state
        .store
        .transaction(|db| notes::update(db, &account.id, id, if_match, &change, unix_seconds()))?;
    Ok(match updated {
        Updated::Done(note) => shown(StatusCode::OK, &note),
        Updated::Stale(note) => shown(StatusCode::PRECONDITION_FAILED, &note),
        Updated::Missing => missing(),
    })
}

async fn remove(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, StoreError> {
    let removed = state
        .store
        .transaction(|db| notes::delete(db, &account.id, id))?;
    Ok(if removed {
        Json(json!([])).into_response()
    } else {
        missing()
    })
}

fn change(fields: &Fields) -> Change {
    Change {
        title: fields.text("title"),
        category: fields.text("category"),
        content: fields.text("content"),
        favorite: fields.flag("favorite"),
        modified: fields.integer("modified").filter(|modified| *modified > 0),
    }
}

fn shown(status: StatusCode, note: &Note) -> Response {
    let mut response = (status, Json(as_json(note))).into_response();
    put(
        response.headers_mut(),
        "etag",
        &format!("\"{}\"", note.etag),
    );
    response
}

fn not_modified(etag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    put(response.headers_mut(), "etag", &format!("\"{etag}\""));
    response
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, Json(json!([]))).into_response()
}

fn matches_none(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| etag_matches(value, etag))
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // The values here are hexadecimal digits, numbers and dates: always valid.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
