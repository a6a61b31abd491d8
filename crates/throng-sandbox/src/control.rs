//! `/__sandbox/*`: what a sandbox says about itself, and how it is told things.
//!
//! On the listener that also has the users, without a login (the sandbox is a test's own), never
//! journalled and never delayed by knobs.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::frame::Frame;
use crate::journal::{Counts, Page};
use crate::knobs::Knobs;
use crate::store::StoreError;

/// The routes; `users` lists the names of all users.
pub(crate) fn router(
    frame: Frame,
    users: impl Fn() -> Result<Vec<String>, StoreError> + Clone + Send + Sync + 'static,
) -> Router {
    Router::new()
        .route("/__sandbox/journal", get(journal).delete(clear_journal))
        .route("/__sandbox/journal/counts", get(counts))
        .route(
            "/__sandbox/users",
            get(move || async move { users().map(Json) }),
        )
        .route("/__sandbox/knobs", get(knobs).put(set_knobs))
        .route("/__sandbox/stop", post(stop))
        .with_state(frame)
}

#[derive(Deserialize)]
struct PageQuery {
    /// The number of the last entry already known.
    #[serde(default)]
    after: u64,
    #[serde(default = "default_limit")]
    limit: usize,
}

fn default_limit() -> usize {
    10_000
}

async fn journal(State(frame): State<Frame>, Query(query): Query<PageQuery>) -> Json<Page> {
    Json(frame.journal.page(query.after, query.limit))
}

async fn counts(State(frame): State<Frame>) -> Json<Counts> {
    Json(frame.journal.counts())
}

async fn clear_journal(State(frame): State<Frame>) -> StatusCode {
    frame.journal.clear();
    StatusCode::NO_CONTENT
}

async fn knobs(State(frame): State<Frame>) -> Json<Knobs> {
    Json(frame.knobs.get())
}

async fn set_knobs(State(frame): State<Frame>, Json(knobs): Json<Knobs>) -> Response {
    match frame.knobs.set(knobs) {
        Ok(()) => Json(frame.knobs.get()).into_response(),
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            (
                StatusCode::UNPROCESSABLE_ENTITY,
                Json(json!({ "errors": faults })),
            )
                .into_response()
        }
    }
}

async fn stop(State(frame): State<Frame>) -> StatusCode {
    frame.stop.cancel();
    StatusCode::ACCEPTED
}
