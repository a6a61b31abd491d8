//! `/ocs/v2.php/cloud/capabilities`: which apps there are, and what they can do.

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use axum::routing::get;
use http::header;
use http::request::Parts;
use serde_json::{Value, json};

use crate::auth::Authenticated;
use crate::ocs::Ocs;
use crate::state::AppState;

/// The Nextcloud that the sandbox stands in for: major, minor, micro, build.
pub(super) const VERSION: [u32; 4] = [25, 0, 13, 2];
/// The same, for people.
pub(super) const VERSION_TEXT: &str = "25.0.13";

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/ocs/v1.php/cloud/capabilities", get(answer))
        .route("/ocs/v2.php/cloud/capabilities", get(answer))
}

/// A login is optional here, but wrong credentials are refused.
struct MaybeAuthenticated(bool);

impl FromRequestParts<AppState> for MaybeAuthenticated {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(Self(false));
        }
        Authenticated::from_request_parts(parts, state).await?;
        Ok(Self(true))
    }
}

async fn answer(
    ocs: Ocs,
    MaybeAuthenticated(authenticated): MaybeAuthenticated,
    State(state): State<AppState>,
) -> Response {
    ocs.ok(data(&state.url, authenticated))
}

/// The data of the answer; without a login only what concerns the instance as a whole.
pub(crate) fn data(url: &str, authenticated: bool) -> Value {
    let [major, minor, micro, _] = VERSION;
    let mut capabilities = json!({
        "bruteforce": { "delay": 0 },
        "theming": { "name": "Nextcloud", "url": "https://nextcloud.com", "slogan": "a safe home for all your data" },
    });
    if authenticated {
        capabilities["core"] = json!({ "pollinterval": 60, "webdav-root": "remote.php/webdav", "reference-api": true });
        capabilities["dav"] = json!({ "chunking": "1.0" });
        capabilities["files"] = json!({ "bigfilechunking": true, "blacklisted_files": [".htaccess"], "comments": false,
            "undelete": false, "versioning": false });
        capabilities["files_sharing"] = json!({
            "api_enabled": true,
            "default_permissions": 31,
            "group_sharing": false,
            "resharing": false,
            "public": { "enabled": false },
            "user": { "send_mail": false, "expire_date": { "enabled": false } },
            "sharee": { "query_lookup_default": false, "always_show_unique": true },
        });
        capabilities["notes"] = json!({ "api_version": ["0.2", "1.3"], "version": "4.8.0" });
        capabilities["oidc"] = json!({ "version": "2.0.9", "issuer": url });
    }
    json!({
        "version": { "major": major, "minor": minor, "micro": micro, "string": VERSION_TEXT, "edition": "",
            "extendedSupport": false },
        "capabilities": capabilities,
    })
}
