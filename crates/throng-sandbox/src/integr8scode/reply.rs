//! Answers: bodies, errors in the shapes that the real server gives them, cookies.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::connection::CloseSilently;

/// Why a request is refused. Handlers give it back with `?`.
pub(super) enum Refusal {
    /// `{"detail": ..., "type": ...}`: the application's own errors.
    Domain(StatusCode, &'static str, String),
    /// `{"detail": ...}`: the framework's and the CSRF check's errors.
    Plain(StatusCode, &'static str),
    /// 422 with everything that is wrong.
    Invalid(Vec<Value>),
    /// An exception that nobody handled; only planted bugs come to this.
    Crash,
}

impl Refusal {
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::Domain(StatusCode::NOT_FOUND, "NotFoundError", detail.into())
    }

    pub(super) fn forbidden(detail: &str) -> Self {
        Self::Domain(StatusCode::FORBIDDEN, "ForbiddenError", detail.to_owned())
    }

    pub(super) fn into_response(self) -> Response {
        match self {
            Self::Domain(status, kind, detail) => {
                json_with(status, &json!({ "detail": detail, "type": kind }))
            }
            Self::Plain(status, detail) => json_with(status, &json!({ "detail": detail })),
            Self::Invalid(faults) => json_with(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "detail": faults }),
            ),
            Self::Crash => {
                let mut response = Response::new(Body::from("Internal Server Error"));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                set(
                    &mut response,
                    header::CONTENT_TYPE,
                    "text/plain; charset=utf-8",
                );
                // The real server drops the connection without a word about it.
                response.extensions_mut().insert(CloseSilently);
                response
            }
        }
    }
}

/// A 200.
pub(super) fn ok(body: &Value) -> Response {
    json_with(StatusCode::OK, body)
}

/// A 204.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn json_with(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

/// Sets a header; a value that cannot stand in one is left out.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What scripts may do with a cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scripts {
    MayRead,
    MayNotRead,
}

/// Sets a cookie with the attributes of the real ones. An empty value removes it.
pub(super) fn set_cookie(response: &mut Response, name: &str, value: &str, scripts: Scripts) {
    let http_only = match scripts {
        Scripts::MayRead => "",
        Scripts::MayNotRead => "HttpOnly; ",
    };
    let (value, age) = if value.is_empty() {
        ("\"\"", 0)
    } else {
        (value, 86_400)
    };
    let cookie =
        format!("{name}={value}; {http_only}Max-Age={age}; Path=/; SameSite=strict; Secure");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
