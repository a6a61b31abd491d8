//! OAuth errors as JSON (RFC 6749 section 5.2).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::keys::SignError;
use crate::store::StoreError;

/// What the provider's JSON endpoints answer instead of success.
#[derive(Debug)]
pub(super) enum OAuthError {
    /// An error code and its description, with status 400.
    Refused(&'static str, &'static str),
    /// `invalid_client` with status 401; true where the client used HTTP Basic.
    InvalidClient(bool),
    /// A bearer token that is missing or not valid.
    InvalidToken,
    /// The sandbox itself failed.
    Store(StoreError),
    /// The sandbox itself failed.
    Sign(SignError),
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SignError> for OAuthError {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body =
            |code: &str, text: &str| Json(json!({ "error": code, "error_description": text }));
        let mut response = match self {
            Self::Refused(code, text) => {
                (StatusCode::BAD_REQUEST, body(code, text)).into_response()
            }
            Self::InvalidClient(basic) => {
                let text = "Client authentication failed.";
                let mut response =
                    (StatusCode::UNAUTHORIZED, body("invalid_client", text)).into_response();
                if basic {
                    response.headers_mut().insert(
                        header::WWW_AUTHENTICATE,
                        HeaderValue::from_static("Basic realm=\"oidc\""),
                    );
                }
                response
            }
            Self::InvalidToken => {
                let text = "The access token is missing, unknown or no longer valid.";
                let mut response =
                    (StatusCode::UNAUTHORIZED, body("invalid_token", text)).into_response();
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer error=\"invalid_token\""),
                );
                response
            }
            Self::Store(error) => error.into_response(),
            Self::Sign(error) => {
                tracing::error!(%error, "the provider failed");
                let text = "The provider cannot sign.";
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    body("server_error", text),
                )
                    .into_response()
            }
        };
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
