//! `/__sandbox/*`: what the sandbox says about itself, and how it is told things.
//!
//! On the Nextcloud's listener only, without a login (the sandbox is a test's own), never journalled
//! and never delayed by knobs.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::journal::{Counts, Page};
use crate::knobs::Knobs;
use crate::state::AppState;
use crate::store::StoreError;

pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/__sandbox/journal", get(journal).delete(clear_journal))
        .route("/__sandbox/journal/counts", get(counts))
        .route("/__sandbox/users", get(users))
        .route("/__sandbox/knobs", get(knobs).put(set_knobs))
        .route("/__sandbox/stop", post(stop))
        .with_state(state)
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

async fn journal(State(state): State<AppState>, Query(query): Query<PageQuery>) -> Json<Page> {
    Json(state.journal.page(query.after, query.limit))
}

async fn counts(State(state): State<AppState>) -> Json<Counts> {
    Json(state.journal.counts())
}

async fn clear_journal(State(state): State<AppState>) -> StatusCode {
    state.journal.clear();
    StatusCode::NO_CONTENT
}

async fn users(State(state): State<AppState>) -> Result<Json<Vec<String>>, StoreError> {
    let accounts = state.store.search_accounts("", None, 0)?;
    Ok(Json(
        accounts.into_iter().map(|account| account.id).collect(),
    ))
}

async fn knobs(State(state): State<AppState>) -> Json<Knobs> {
    Json(state.knobs.get())
}

async fn set_knobs(State(state): State<AppState>, Json(knobs): Json<Knobs>) -> Response {
    match state.knobs.set(knobs) {
        Ok(()) => Json(state.knobs.get()).into_response(),
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

async fn stop(State(state): State<AppState>) -> StatusCode {
    state.stop.cancel();
    StatusCode::ACCEPTED
}
