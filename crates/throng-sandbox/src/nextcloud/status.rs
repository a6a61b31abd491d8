//! `/status.php`: the page that monitors look at. It needs no login.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::capabilities::{VERSION, VERSION_TEXT};
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/status.php", get(status))
}

async fn status() -> Json<Value> {
    let [major, minor, micro, build] = VERSION;
    Json(json!({
        "installed": true,
        "maintenance": false,
        "needsDbUpgrade": false,
        "version": format!("{major}.{minor}.{micro}.{build}"),
        "versionstring": VERSION_TEXT,
        "edition": "",
        "productname": "Nextcloud",
        "extendedSupport": false,
    }))
}
