//! A user's settings and notifications. A notification is an execution of the user's that has ended.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::call::{Call, text};
use super::execution::{Execution, uuid};
use super::reply::{self, Refusal};
use super::world::{Read, User};
use crate::secret::digest;
use crate::timestamp::rfc3339_millis;

pub(super) fn set_theme(call: &Call, user: &User) -> Result<Response, Refusal> {
    let body = call.json("ThemeUpdate")?;
    user.set_theme(text(&body, "theme"));
    Ok(reply::ok(&user.settings()))
}

pub(super) fn notifications(call: &Call, user: &User) -> Result<Response, Refusal> {
    let (limit, offset) = call.page(100, "offset")?;
    let read = user.read();
    let mut ended: Vec<Arc<Execution>> = user.executions();
    ended.retain(|execution| execution.ended().is_some());
    ended
        .sort_by_key(|execution| std::cmp::Reverse(execution.ended().map(|age| execution.at(age))));
    let all: Vec<Value> = ended
        .iter()
        .filter_map(|execution| notification(execution, read))
        .collect();
    let unread = all
        .iter()
        .filter(|notification| notification["read_at"].is_null())
        .count();
    let page = page(&all, limit, offset);
    Ok(reply::ok(&json!({
        "notifications": page,
        "total": all.len(),
        "unread_count": unread,
    })))
}

pub(super) fn mark_all_read(user: &User) -> Response {
    user.mark_all_read();
    reply::no_content()
}

/// What the owner is told when an execution has ended; `None` before that.
pub(super) fn notification(execution: &Execution, read: Read) -> Option<Value> {
    let ended = execution.ended()?;
    let (severity, subject) = execution.notice();
    let read_at = read.at(execution.at(ended)).map(rfc3339_millis);
    Some(json!({
        "notification_id": uuid(&digest(&format!("{}/notification", execution.id))),
        "channel": "in_app",
        "status": if read_at.is_some() { "read" } else { "delivered" },
        "subject": subject,
        "body": format!("Your execution {} has ended", execution.id),
        "action_url": format!("/executions/{}", execution.id),
        "created_at": execution.timestamp(ended),
        "read_at": read_at,
        "severity": severity,
        "tags": ["execution"],
    }))
}

/// A part of a list; both numbers have been checked to be no less than zero.
pub(super) fn page<T>(all: &[T], limit: i64, start: i64) -> &[T] {
    let start = usize::try_from(start).unwrap_or(usize::MAX).min(all.len());
    let limit = usize::try_from(limit).unwrap_or_default();
    &all[start..all.len().min(start.saturating_add(limit))]
}
