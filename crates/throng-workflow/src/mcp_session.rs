//! One user's MCP calls: sent by the session, and what the result is to those who look at it.

use std::time::Instant;

use serde_json::Value;
use throng_client::mcp::{
    Call, CallError, CallOptions, ResourceResult, Session, ToolCall, ToolResult,
};
use throng_identity::tokens::Refusal;
use throng_metrics::{Failure, FailureKind};

use crate::crowd::misfit;
use crate::run::Task;
use crate::run::failure::{failure, failure_with, fold};

/// Sends a call by a session.
pub(crate) async fn send(
    session: &Session,
    task: &Task<'_>,
    options: &CallOptions,
    wants_value: bool,
) -> Sent {
    match task {
        Task::Call(tool, arguments) => {
            let call = ToolCall {
                name: (*tool).clone(),
                arguments: arguments.clone(),
            };
            Sent::from(session.call_tool(&call, options).await, |result| {
                tool_value(&result, wants_value)
            })
        }
        Task::Resource(uri) => Sent::from(session.read_resource(uri, options).await, |result| {
            Ok(if wants_value {
                resource_value(&result)
            } else {
                Value::Null
            })
        }),
        Task::Request(_) | Task::Listen(_) | Task::Token(_) => Sent {
            ended: None,
            sent: 0,
            received: 0,
            resent: false,
            result: Err(misfit()),
            denied: None,
        },
    }
}

/// What came of one call.
pub(crate) struct Sent {
    pub(crate) ended: Option<Instant>,
    pub(crate) sent: u32,
    pub(crate) received: u32,
    pub(crate) resent: bool,
    pub(crate) result: Result<Value, Failure>,
    pub(crate) denied: Option<Box<Refusal>>,
}

impl Sent {
    fn from<T>(call: Call<T>, value: impl FnOnce(T) -> Result<Value, Failure>) -> Self {
        Self {
            ended: call.answered(),
            sent: call.sent,
            received: call.received,
            resent: call.resent,
            denied: call
                .result
                .as_ref()
                .err()
                .and_then(Refusal::of_call)
                .map(Box::new),
            result: call
                .result
                .map_err(|error| failed_call(&error))
                .and_then(value),
        }
    }
}

/// The value that paths see: `structuredContent` (when all it has is `result`, that; JSON in a text decoded), else the text,
/// decoded where it is JSON.
fn tool_value(result: &ToolResult, wanted: bool) -> Result<Value, Failure> {
    if result.is_error {
        let text = result.text();
        let message = if text.is_empty() {
            "the tool answered isError without a text".to_owned()
        } else {
            text
        };
        return Err(failure(FailureKind::Tool, &message));
    }
    if !wanted {
        return Ok(Value::Null);
    }
    Ok(match result.structured() {
        Some(Value::Object(mut map)) if map.len() == 1 && map.contains_key("result") => {
            decoded(map.remove("result").unwrap_or_default())
        }
        Some(value) => value,
        None => decoded(Value::String(result.text())),
    })
}

fn resource_value(result: &ResourceResult) -> Value {
    decoded(Value::String(result.text()))
}

/// A text that is a JSON object or array, decoded. Other texts stay what they are: `"5"` is a text.
fn decoded(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or(value)
        }
        _ => value,
    }
}

fn failed_call(error: &CallError) -> Failure {
    let message = error.to_string();
    let kind = match error {
        _ if error.is_timeout() => FailureKind::Timeout,
        _ if error.is_unauthorized() => FailureKind::Auth,
        CallError::Transport(_) => FailureKind::Transport,
        CallError::Http { .. } | CallError::SessionLost => FailureKind::Http,
        _ => FailureKind::Rpc,
    };
    match error {
        // The code alone says little: servers use one code for many things.
        CallError::Rpc {
            code,
            message: text,
            ..
        } => failure_with(
            kind,
            format!("JSON-RPC error {code}: {}", fold(text)),
            &message,
        ),
        CallError::Protocol(text) => failure_with(kind, fold(text), &message),
        other => failure_with(kind, other.cause(), &message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_in_a_text_is_decoded_and_other_texts_are_not() {
        assert_eq!(decoded(json!("{\"id\":\"1\"}")), json!({"id": "1"}));
        assert_eq!(decoded(json!(" [1]")), json!([1]));
        for text in ["5", "true", "{broken", "", "plain"] {
            assert_eq!(decoded(json!(text)), json!(text));
        }
    }
}
