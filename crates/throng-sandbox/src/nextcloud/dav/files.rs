//! A user's files by path.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::xml::{Multistatus, Property, Requested, escape, namespace};
use super::{Depth, multistatus, options, read_propfind, sabre_error};
use crate::auth::Authenticated;
use crate::nextcloud::content::files::{
    self, Precondition, Refused, Seen, etag_matches, permission,
};
use crate::nextcloud::content::path::FilePath;
use crate::state::AppState;
use crate::store::StoreError;
use crate::timestamp::{http_date, unix_millis, unix_seconds};

/// What a GET of a directory shows.
pub(crate) const DIRECTORY_TEXT: &str = "This is the WebDAV interface. It can only be accessed by \
    WebDAV clients such as the Nextcloud desktop sync client.";

/// The largest file that a PUT may bring.
const UPLOAD_LIMIT: usize = 64 * 1024 * 1024;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/remote.php/dav/files/{user}", any(home))
        .route("/remote.php/dav/files/{user}/", any(home))
        .route("/remote.php/dav/files/{user}/{*path}", any(below))
}

async fn home(
    authenticated: Authenticated,
    state: State<AppState>,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, StoreError> {
    handle(authenticated, state, (user, String::new()), request).await
}

async fn below(
    authenticated: Authenticated,
    state: State<AppState>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Result<Response, StoreError> {
    handle(authenticated, state, path, request).await
}

async fn handle(
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    (user, path): (String, String),
    request: Request,
) -> Result<Response, StoreError> {
    if !user.eq_ignore_ascii_case(&account.id) {
        let message = format!("Principal with name {user} not found");
        return Ok(sabre_error(StatusCode::NOT_FOUND, "NotFound", &message));
    }
    let Ok(path) = FilePath::parse(&path) else {
        return Ok(sabre_error(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "Invalid path",
        ));
    };
    let user = account.id.as_str();
    let (parts, body) = request.into_parts();
    match (&parts.method, parts.method.as_str()) {
        (&Method::GET | &Method::HEAD, _) => get(&state, user, &path, &parts.headers),
        (&Method::PUT, _) => put(&state, user, &path, &parts.headers, body).await,
        (&Method::DELETE, _) => delete(&state, user, &path),
        (&Method::OPTIONS, _) => Ok(options()),
        (_, "MKCOL") => make_directory(&state, user, &path),
        (_, "PROPFIND") => match read_propfind(body).await {
            Ok(requested) => {
                find_properties(&state, user, &path, &requested, Depth::of(&parts.headers))
            }
            Err(response) => Ok(response),
        },
        (_, other) => {
            let message = format!(
                "There was no plugin in the system that was willing to handle this {other} method."
            );
            Ok(sabre_error(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                &message,
            ))
        }
    }
}

fn not_found(path: &FilePath) -> Response {
    let message = Refused::NotFound(path.clone()).to_string();
    sabre_error(StatusCode::NOT_FOUND, "NotFound", &message)
}

fn get(
    state: &AppState,
    user: &str,
    path: &FilePath,
    headers: &HeaderMap,
) -> Result<Response, StoreError> {
    let found = state.store.with(|db| {
        let seen = files::look(db, user, path, unix_millis())?;
        let content = match &seen {
            Some(seen) if !seen.file.directory => files::content(db, seen.file.id)?,
            _ => Vec::new(),
        };
        Ok(seen.map(|seen| (seen, content)))
    })?;
    let Some((seen, content)) = found else {
        return Ok(not_found(path));
    };
    if seen.file.directory {
        return Ok((StatusCode::OK, DIRECTORY_TEXT).into_response());
    }
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| etag_matches(value, &seen.file.etag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = match seen.file.content_type.as_str() {
            text if text.starts_with("text/") => format!("{text};charset=UTF-8"),
            other => other.to_owned(),
        };
        ([(header::CONTENT_TYPE, content_type)], content).into_response()
    };
    set(
        &mut response,
        "last-modified",
        &http_date(seen.file.modified),
    );
    set_identity(&mut response, seen.file.id, &seen.file.etag);
    Ok(response)
}

async fn put(
    state: &AppState,
    user: &str,
    path: &FilePath,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, StoreError> {
    let content = match to_bytes(body, UPLOAD_LIMIT).await {
        Ok(content) => content,
        Err(error) => {
            return Ok(sabre_error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "EntityTooLarge",
                &error.to_string(),
            ));
        }
    };
    let header = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .map(str::to_owned)
    };
    let precondition = Precondition {
        if_match: header(header::IF_MATCH),
        if_none_match: header(header::IF_NONE_MATCH),
    };
    let written = state.store.transaction(|db| {
        let file = (&*content, content_type_of(path.name()));
        let now = (unix_seconds(), unix_millis());
        files::write(db, user, path, file, &precondition, now)
    })?;
    Ok(match written {
        Ok(written) => {
            let mut response = if written.created {
                StatusCode::CREATED.into_response()
            } else {
                StatusCode::NO_CONTENT.into_response()
            };
            set_identity(&mut response, written.id, &written.etag);
            response
        }
        Err(Refused::ParentMissing) => not_found(&path.parent_path()),
        Err(Refused::Exists) => sabre_error(
            StatusCode::CONFLICT,
            "Conflict",
            "PUT is not allowed on non-files.",
        ),
        Err(refused) => refusal(&refused),
    })
}

fn make_directory(state: &AppState, user: &str, path: &FilePath) -> Result<Response, StoreError> {
    let now = (unix_seconds(), unix_millis());
    let made = state
        .store
        .transaction(|db| files::make_directory(db, user, path, now))?;
    Ok(match made {
        Ok(id) => {
            let mut response = StatusCode::CREATED.into_response();
            set(&mut response, "oc-fileid", &file_id(id));
            response
        }
        Err(refused) => refusal(&refused),
    })
}

fn delete(state: &AppState, user: &str, path: &FilePath) -> Result<Response, StoreError> {
    let removed = state
        .store
        .transaction(|db| files::remove(db, user, path, unix_millis()))?;
    Ok(match removed {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refusal(&refused),
    })
}

fn refusal(refused: &Refused) -> Response {
    let (status, exception) = match refused {
        Refused::NotFound(_) => (StatusCode::NOT_FOUND, "NotFound"),
        Refused::ParentMissing => (StatusCode::CONFLICT, "Conflict"),
        Refused::Exists => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        Refused::Forbidden(_) => (StatusCode::FORBIDDEN, "Forbidden"),
        Refused::Precondition(header) => {
            let message = precondition_message(header);
            return sabre_error(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                message,
            );
        }
    };
    sabre_error(status, exception, &refused.to_string())
}

/// What Sabre says about a precondition that did not hold.
fn precondition_message(header: &str) -> &'static str {
    if header == "If-None-Match" {
        "An If-None-Match header was specified, but the ETag matched (or * was specified)."
    } else {
        "An If-Match header was specified, but none of the specified ETags matched."
    }
}

fn find_properties(
    state: &AppState,
    user: &str,
    path: &FilePath,
    requested: &Requested,
    depth: Depth,
) -> Result<Response, StoreError> {
    let now = unix_millis();
    let found = state.store.with(|db| {
        let Some(seen) = files::look(db, user, path, now)? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        if depth == Depth::One && seen.file.directory {
            found = files::list(db, user, &seen, now)?;
        }
        found.insert(0, seen);
        Ok(Some(found))
    })?;
    let Some(found) = found else {
        return Ok(not_found(path));
    };
    let mut answer = Multistatus::new();
    for seen in &found {
        let slash = if seen.file.directory { "/" } else { "" };
        let href = format!("/remote.php/dav/files/{user}{}{slash}", seen.path.as_str());
        answer.response(&href, requested, &USUAL, |property| {
            property_of(seen, user, property)
        });
    }
    Ok(multistatus(answer))
}

/// What every file has, if a request names no properties.
const USUAL: [Property; 5] = [
    Property::new(namespace::DAV, "getlastmodified"),
    Property::new(namespace::DAV, "getcontentlength"),
    Property::new(namespace::DAV, "resourcetype"),
    Property::new(namespace::DAV, "getetag"),
    Property::new(namespace::DAV, "getcontenttype"),
];

fn property_of(seen: &Seen, user: &str, property: &Property) -> Option<String> {
    let file = &seen.file;
    let name = if seen.path.is_root() {
        user
    } else {
        seen.path.name()
    };
    let value = match (&*property.namespace, &*property.name) {
        (namespace::DAV, "displayname") => escape(name).into_owned(),
        (namespace::DAV, "getlastmodified") => http_date(file.modified),
        (namespace::DAV, "getetag") => format!("&quot;{}&quot;", file.etag),
        (namespace::DAV, "resourcetype") if file.directory => "<d:collection/>".to_owned(),
        (namespace::DAV, "resourcetype") => String::new(),
        (namespace::DAV, "getcontentlength") if !file.directory => file.size.to_string(),
        (namespace::DAV, "getcontenttype") if !file.directory => {
            escape(&file.content_type).into_owned()
        }
        (namespace::OWNCLOUD, "fileid") => file.id.to_string(),
        (namespace::OWNCLOUD, "id") => file_id(file.id),
        (namespace::OWNCLOUD, "size") => file.size.to_string(),
        (namespace::OWNCLOUD, "permissions") => letters(seen),
        (namespace::OWNCLOUD, "favorite") => "0".to_owned(),
        (namespace::OWNCLOUD, "owner-id") => escape(&file.owner).into_owned(),
        (namespace::NEXTCLOUD, "has-preview") => "false".to_owned(),
        _ => return None,
    };
    Some(value)
}

/// `oc:permissions`: S shared, R may be shared, M mounted, G readable, D deletable, NV renameable and movable, W writable
/// (files), CK may get files and directories.
fn letters(seen: &Seen) -> String {
    let has = |bit| seen.permissions & bit != 0;
    let letters = [
        ('S', seen.share.is_some()),
        ('R', has(permission::SHARE)),
        ('M', false),
        ('G', has(permission::READ)),
        ('D', has(permission::DELETE)),
        ('N', has(permission::UPDATE)),
        ('V', has(permission::UPDATE)),
        ('W', has(permission::UPDATE) && !seen.file.directory),
        ('C', has(permission::CREATE) && seen.file.directory),
        ('K', has(permission::CREATE) && seen.file.directory),
    ];
    letters
        .iter()
        .filter(|(_, has)| *has)
        .map(|(letter, _)| letter)
        .collect()
}

/// `OC-FileId`: the id, and the instance's.
fn file_id(id: i64) -> String {
    format!("{id:08}ocsandbox")
}

fn set_identity(response: &mut Response, id: i64, etag: &str) {
    let etag = format!("\"{etag}\"");
    set(response, "etag", &etag);
    set(response, "oc-etag", &etag);
    set(response, "oc-fileid", &file_id(id));
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    // The values here are hexadecimal digits, numbers and dates: always valid.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The type of a file by its name; Nextcloud does not believe what the upload says.
pub(crate) fn content_type_of(name: &str) -> &'static str {
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    match suffix.to_ascii_lowercase().as_str() {
        "md" | "markdown" => "text/markdown",
        "txt" | "log" | "text" => "text/plain",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "css" => "text/css",
        "js" => "application/javascript",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}
