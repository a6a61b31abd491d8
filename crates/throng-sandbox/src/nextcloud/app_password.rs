//! App passwords by OCS: `getapppassword` and `apppassword`.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::auth::{Authenticated, Proof};
use crate::ocs::Ocs;
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    ["v1.php", "v2.php"]
        .into_iter()
        .fold(Router::new(), |router, version| {
            router
                .route(&format!("/ocs/{version}/core/getapppassword"), get(create))
                .route(&format!("/ocs/{version}/core/apppassword"), delete(remove))
        })
}

/// A new app password for whoever comes with a login password.
async fn create(
    State(state): State<AppState>,
    ocs: Ocs,
    user: Authenticated,
    headers: HeaderMap,
) -> Response {
    if user.proof != Proof::Password {
        let text = "You cannot request an new apppassword with an apppassword";
        return ocs.error(StatusCode::FORBIDDEN, 403, text);
    }
    let name = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("unknown");
    match state.store.new_app_password(&user.account.id, name) {
        Ok(password) => ocs.ok(json!({ "apppassword": password.expose() })),
        Err(error) => error.into_response(),
    }
}

/// Deletes the app password that the request itself came with.
async fn remove(State(state): State<AppState>, ocs: Ocs, user: Authenticated) -> Response {
    let Proof::AppPassword(password) = &user.proof else {
        return ocs.error(StatusCode::FORBIDDEN, 403, "no app password in use");
    };
    match state.store.delete_app_password(password.expose()) {
        Ok(_) => ocs.ok(json!([])),
        Err(error) => error.into_response(),
    }
}
