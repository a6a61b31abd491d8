//! Executions: submitting, watching, cancelling, retrying. They belong to one user; others get a 403.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::bugs::Bug;
use super::call::{Call, text};
use super::execution::{Event, Execution, Job, Status, new_id};
use super::openapi;
use super::personal::page;
use super::reply::{self, Refusal};
use super::validate;
use super::world::{Submission, User};

/// What the planted stack trace shows.
const STACK_TRACE: &str = "Traceback (most recent call last):\n  File \"/app/app/api/routes/execution.py\", line 86, in create_execution\n    payload = json.loads(await request.body())\n  File \"/usr/local/lib/python3.12/json/decoder.py\", line 355, in raw_decode\n    raise JSONDecodeError(\"Expecting value\", s, err.value) from None\njson.decoder.JSONDecodeError: Expecting value";

pub(super) fn execute(call: &Call, user: &User) -> Result<Response, Refusal> {
    let body = match call.json("ExecutionRequest") {
        Err(Refusal::Invalid(mut faults)) if call.app.has(Bug::StackTraceInError) => {
            for fault in &mut faults {
                if fault["type"] == "json_invalid" {
                    fault["ctx"]["error"] = json!(STACK_TRACE);
                }
            }
            return Err(Refusal::Invalid(faults));
        }
        body => body?,
    };
    let or = |name: &str, default: &str| body[name].as_str().unwrap_or(default).to_owned();
    let job = Job {
        script: text(&body, "script").to_owned(),
        lang: or("lang", "python"),
        lang_version: or("lang_version", "3.11"),
    };
    let key = call.header("idempotency-key").filter(|key| !key.is_empty());
    if let Some(key) = &key {
        let mut faults = Vec::new();
        let loc = [json!("header"), json!("idempotency-key")];
        validate::check(&json!(key), &openapi::idempotency_key(), &loc, &mut faults);
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
    }
    submit(call, user, key.as_deref(), &job)
}

fn submit(call: &Call, user: &User, key: Option<&str>, job: &Job) -> Result<Response, Refusal> {
    let make = || {
        Execution::new(
            new_id(),
            user.id.clone(),
            job.clone(),
            &call.app.config.times,
        )
    };
    match call.app.world.submit(user, key, make, job) {
        Submission::New(execution) | Submission::Repeated(execution) => Ok(reply::ok(&json!({
            "execution_id": execution.id,
            "status": "queued",
        }))),
        Submission::Conflict => Err(Refusal::Domain(
            StatusCode::CONFLICT,
            "ConflictError",
            "Idempotency-Key was used for another script".to_owned(),
        )),
    }
}

/// The execution that the path names, if it is this user's.
pub(super) fn own(call: &Call, user: &User) -> Result<Arc<Execution>, Refusal> {
    let execution =
        call.app.world.execution(&call.parameter).ok_or_else(|| {
            Refusal::not_found(format!("Execution '{}' not found", call.parameter))
        })?;
    if execution.owner == user.id {
        Ok(execution)
    } else {
        Err(Refusal::forbidden("Access denied"))
    }
}

pub(super) fn result(call: &Call, user: &User) -> Result<Response, Refusal> {
    let execution = own(call, user)?;
    Ok(reply::ok(&execution.result(execution.age())))
}

pub(super) fn events(call: &Call, user: &User) -> Result<Response, Refusal> {
    let mut faults = Vec::new();
    let limit = call.number("limit", &openapi::limit(1000, 100), &mut faults);
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let execution = own(call, user)?;
    let age = execution.age();
    let mut past: Vec<Event> = execution.events();
    past.retain(|event| event.at <= age);
    let shown: Vec<Value> = page(&past, limit, 0)
        .iter()
        .map(|event| execution.event_json(*event))
        .collect();
    Ok(reply::ok(&json!(shown)))
}

pub(super) fn cancel(call: &Call, user: &User) -> Result<Response, Refusal> {
    call.json("CancelRequest")?;
    let execution = own(call, user)?;
    let (status, message, event) = match execution.cancel() {
        Status::Cancelled => ("already_cancelled", "Execution is already cancelled", None),
        ended @ Status::Ended(_) => {
            return Err(Refusal::Domain(
                StatusCode::BAD_REQUEST,
                "InvalidStateError",
                format!("Cannot cancel execution in {} state", ended.name()),
            ));
        }
        _ => {
            let event = execution.events().last().copied();
            let event = event.map(|event| execution.event_id(event));
            (
                "cancellation_requested",
                "Cancellation request submitted",
                event,
            )
        }
    };
    Ok(reply::ok(&json!({
        "execution_id": execution.id,
        "status": status,
        "message": message,
        "event_id": event,
    })))
}

pub(super) fn retry(call: &Call, user: &User) -> Result<Response, Refusal> {
    let execution = own(call, user)?;
    let status = execution.status(execution.age());
    if !status.terminal() {
        return Err(Refusal::Domain(
            StatusCode::BAD_REQUEST,
            "InvalidStateError",
            format!("Cannot retry execution in {} state", status.name()),
        ));
    }
    submit(call, user, None, &execution.job)
}

pub(super) fn list(call: &Call, user: &User) -> Result<Response, Refusal> {
    let mut faults = Vec::new();
    let status = call.choice("status", &openapi::status(), &mut faults);
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let (limit, skip) = call.page(200, "skip")?;
    if skip >= i64::from(i32::MAX) && call.app.has(Bug::NumberEdge500) {
        return Err(Refusal::Crash);
    }
    let mut all = user.executions();
    if let Some(status) = status {
        all.retain(|execution| execution.status(execution.age()).name() == status);
    }
    let shown = page(&all, limit, skip);
    let executions: Vec<Value> = shown
        .iter()
        .map(|execution| execution.result(execution.age()))
        .collect();
    let end = usize::try_from(skip)
        .unwrap_or(usize::MAX)
        .saturating_add(shown.len());
    Ok(reply::ok(&json!({
        "executions": executions,
        "total": all.len(),
        "limit": limit,
        "skip": skip,
        "has_more": end < all.len(),
    })))
}
