//! WebDAV: `/remote.php/dav/files/{uid}/...` with PUT, GET, MKCOL, PROPFIND and DELETE, and the discovery of the principal.
//!
//! No locks, versions, trash, searches, and no MOVE or COPY.

mod files;
pub(crate) mod xml;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, StatusCode, header};

use self::xml::{BadXml, Multistatus, Property, Requested, error_document, namespace};
use super::calendars::is_propfind;
use crate::auth::Authenticated;
use crate::state::AppState;

pub(crate) use files::{DIRECTORY_TEXT, content_type_of};

/// A PROPFIND body is at most this long; the longest that clients send has a kilobyte or two.
const PROPFIND_LIMIT: usize = 256 * 1024;

/// What a PROPFIND asks to be told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// The resource.
    Zero,
    /// The resource and what stands in it. Nextcloud takes `infinity` for this, too.
    One,
}

impl Depth {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get("depth").map(http::HeaderValue::as_bytes) {
            Some(b"0") => Self::Zero,
            _ => Self::One,
        }
    }
}

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/remote.php/dav", any(root))
        .route("/remote.php/dav/", any(root))
        .merge(files::router())
}

/// `PROPFIND /remote.php/dav/`: where a client learns its principal.
async fn root(
    Authenticated { account, .. }: Authenticated,
    State(_): State<AppState>,
    request: Request,
) -> Response {
    let (requested, _) = match propfind(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let usual = [Property::new(namespace::DAV, "resourcetype")];
    let mut answer = Multistatus::new();
    answer.response("/remote.php/dav/", &requested, &usual, |property| {
        match (&*property.namespace, &*property.name) {
            (namespace::DAV, "resourcetype") => Some("<d:collection/>".to_owned()),
            (namespace::DAV, "current-user-principal") => Some(format!(
                "<d:href>/remote.php/dav/principals/users/{}/</d:href>",
                xml::escape(&xml::encode_path(&account.id))
            )),
            _ => None,
        }
    });
    multistatus(answer)
}

/// What a PROPFIND asks for; any other method is answered here.
pub(super) async fn propfind(request: Request) -> Result<(Requested, Depth), Response> {
    if request.method() == http::Method::OPTIONS {
        return Err(options());
    }
    if !is_propfind(request.method()) {
        let message = format!("{} is not supported here", request.method());
        return Err(sabre_error(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            &message,
        ));
    }
    let depth = Depth::of(request.headers());
    Ok((read_propfind(request.into_body()).await?, depth))
}

async fn read_propfind(body: Body) -> Result<Requested, Response> {
    let body = axum::body::to_bytes(body, PROPFIND_LIMIT)
        .await
        .map_err(|error| bad_request(&error.to_string()))?;
    let body = std::str::from_utf8(&body).map_err(|_| bad_request("the body is not UTF-8"))?;
    xml::requested(body).map_err(|error: BadXml| bad_request(&error.to_string()))
}

fn bad_request(message: &str) -> Response {
    sabre_error(StatusCode::BAD_REQUEST, "BadRequest", message)
}

/// What this server can do.
fn options() -> Response {
    let headers = [
        ("dav", "1, 3, calendar-access, nc-calendar-webcal-cache"),
        ("allow", "OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, MKCOL"),
        ("ms-author-via", "DAV"),
    ];
    (StatusCode::OK, headers).into_response()
}

/// A 207 answer.
pub(super) fn multistatus(answer: Multistatus) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/xml; charset=utf-8")];
    (StatusCode::MULTI_STATUS, headers, answer.finish()).into_response()
}

/// A refusal in Sabre's XML.
pub(super) fn sabre_error(status: StatusCode, exception: &str, message: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/xml; charset=utf-8")];
    (status, headers, error_document(exception, message)).into_response()
}
