//! The OpenAPI 3.1 document of what is served: every operation with its parameters, bodies and all the
//! statuses that it can answer with. Planted bugs are not in it.

use serde_json::{Value, json};

use super::config::Integr8scodeConfig;
use super::routes::{Operation, PREFIX, ROUTES};
use super::schema::{self, STATUSES, reference};

/// Where a list begins at the latest.
const LAST_START: i64 = i64::MAX;

/// The schema of a `limit` of the query.
pub(super) fn limit(most: i64, default: i64) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most, "default": default })
}

/// The schema of a `skip` or `offset` of the query.
pub(super) fn start() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": LAST_START, "default": 0 })
}

/// The schema of a `status` of the query.
pub(super) fn status() -> Value {
    json!({ "type": "string", "enum": STATUSES })
}

/// The schema of an `Idempotency-Key`.
pub(super) fn idempotency_key() -> Value {
    json!({ "type": "string", "maxLength": 255 })
}

/// What one operation takes and answers, apart from what all have in common.
struct Description {
    summary: &'static str,
    /// Schema and content type of the body.
    body: Option<(&'static str, &'static str)>,
    parameters: Vec<Value>,
    /// The status of success and the body that comes with it.
    success: (u16, Success),
    /// Refusals with an `Error` body beside those that follow from the rest.
    refusals: &'static [(u16, &'static str)],
}

enum Success {
    Empty,
    Json(Value),
    Events,
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const NOT_FOUND: (u16, &str) = (404, "There is no such thing, or it is another user's");
const NO_EXECUTION: (u16, &str) = (404, "There is no such execution");
const NOT_OWNER: (u16, &str) = (403, "It is another user's, or the CSRF token is wrong");

fn query(name: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema })
}

/// A request without a body, and its answer.
fn plain(summary: &'static str, schema: &str) -> Description {
    Description {
        summary,
        body: None,
        parameters: Vec::new(),
        success: (200, Success::Json(reference(schema))),
        refusals: &[],
    }
}

fn describe(operation: Operation) -> Description {
    let with_body = |summary, body, schema: &str| Description {
        body: Some((body, JSON)),
        ..plain(summary, schema)
    };
    match operation {
        Operation::Register | Operation::Login | Operation::Me | Operation::Logout => {
            describe_account(operation)
        }
        Operation::Execute => Description {
            parameters: vec![json!({
                "name": "Idempotency-Key",
                "in": "header",
                "required": false,
                "schema": idempotency_key(),
            })],
            refusals: &[(409, "The Idempotency-Key was used for another script")],
            ..with_body("Submit a script", "ExecutionRequest", "ExecutionAccepted")
        },
        Operation::Result => Description {
            refusals: &[NOT_OWNER, NO_EXECUTION],
            ..plain("What came of an execution", "ExecutionResult")
        },
        Operation::Events => Description {
            parameters: vec![query("limit", limit(1000, 100))],
            success: (
                200,
                Success::Json(json!({
                    "type": "array",
                    "items": reference("ExecutionEvent"),
                })),
            ),
            refusals: &[NOT_OWNER, NO_EXECUTION],
            ..plain("What has happened to an execution", "ExecutionEvent")
        },
        Operation::Cancel => Description {
            refusals: &[
                (400, "It has ended, or the body is no UTF-8"),
                NOT_OWNER,
                NO_EXECUTION,
            ],
            ..with_body("Cancel an execution", "CancelRequest", "CancelAnswer")
        },
        Operation::Retry => Description {
            refusals: &[(400, "It has not ended"), NOT_OWNER, NO_EXECUTION],
            ..plain(
                "Submit the script of an ended execution again",
                "ExecutionAccepted",
            )
        },
        Operation::ListExecutions => Description {
            parameters: vec![
                query("status", status()),
                query("limit", limit(200, 50)),
                query("skip", start()),
            ],
            ..plain("One's own executions, newest first", "ExecutionList")
        },
        Operation::ExecutionStream => Description {
            success: (200, Success::Events),
            refusals: &[NOT_OWNER, NO_EXECUTION],
            ..plain("Follow an execution", "ExecutionEvent")
        },
        Operation::NotificationStream => Description {
            success: (200, Success::Events),
            ..plain("Follow one's notifications; it never ends", "Notification")
        },
        Operation::CreateScript => with_body("Save a script", "ScriptCreate", "Script"),
        Operation::ListScripts => plain("One's saved scripts", "ScriptList"),
        Operation::GetScript => Description {
            refusals: &[NOT_FOUND],
            ..plain("A saved script", "Script")
        },
        Operation::UpdateScript => Description {
            refusals: &[NOT_FOUND],
            ..with_body("Change a saved script", "ScriptUpdate", "Script")
        },
        Operation::DeleteScript => Description {
            success: (204, Success::Empty),
            refusals: &[NOT_FOUND],
            ..plain("Delete a saved script", "Script")
        },
        Operation::GetSettings => plain("One's settings", "Settings"),
        Operation::SetTheme => with_body("Choose a theme", "ThemeUpdate", "Settings"),
        Operation::ListNotifications => Description {
            parameters: vec![query("limit", limit(100, 50)), query("offset", start())],
            ..plain("One's notifications, newest first", "NotificationList")
        },
        Operation::MarkAllRead => Description {
            success: (204, Success::Empty),
            ..plain("Mark all notifications as read", "Notification")
        },
        Operation::ExampleScripts => plain("Scripts to start with", "ExampleScripts"),
        Operation::Limits => plain("What executions may use", "Limits"),
        Operation::Live => plain("Whether the server lives", "Liveness"),
        Operation::Grafana => with_body("Take Grafana's alerts", "GrafanaWebhook", "AlertsTaken"),
        Operation::OpenApi => Description {
            success: (200, Success::Json(json!({ "type": "object" }))),
            ..plain("This document", "Message")
        },
    }
}

fn describe_account(operation: Operation) -> Description {
    match operation {
        Operation::Register => Description {
            body: Some(("UserCreate", JSON)),
            refusals: &[(409, "The username is taken")],
            ..plain("Register", "User")
        },
        Operation::Login => Description {
            body: Some(("Credentials", FORM)),
            refusals: &[
                (401, "Username or password are wrong"),
                (423, "Too many wrong passwords"),
            ],
            ..plain(
                "Log in: sets the cookies access_token and csrf_token",
                "LoggedIn",
            )
        },
        Operation::Logout => plain(
            "Log out: ends the session and clears its cookies",
            "Message",
        ),
        _ => plain("Who is logged in", "User"),
    }
}

/// The document for a sandbox of this configuration at this origin.
pub(super) fn document(config: &Integr8scodeConfig, origin: &str) -> Value {
    let mut paths = serde_json::Map::new();
    for route in ROUTES.iter().filter(|route| route.served(config.alerts)) {
        let mut item = serde_json::Map::new();
        for (method, operation) in route.operations {
            let shown = operation_object(*operation, route.path, method.is_safe(), config);
            item.insert(method.as_str().to_lowercase(), shown);
        }
        paths.insert(format!("{PREFIX}{}", route.path), Value::Object(item));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Integr8sCode (sandbox)",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What throng's sandbox of Integr8sCode serves.",
        },
        "servers": [{ "url": origin }],
        "paths": paths,
        "components": {
            "schemas": *schema::COMPONENTS,
            "securitySchemes": {
                "session": { "type": "apiKey", "in": "cookie", "name": "access_token" },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "The value of the cookie csrf_token, with every method that changes something.",
                },
            },
        },
    })
}

fn operation_object(
    operation: Operation,
    path: &str,
    safe: bool,
    config: &Integr8scodeConfig,
) -> Value {
    let description = describe(operation);
    let exempt = matches!(operation, Operation::Register | Operation::Login);
    let mut parameters = description.parameters;
    let in_query = parameters
        .iter()
        .any(|parameter| parameter["schema"]["type"].is_string());
    if let Some((_, rest)) = path.split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        let schema = json!({ "type": "string", "minLength": 1 });
        parameters.insert(
            0,
            json!({ "name": name, "in": "path", "required": true, "schema": schema }),
        );
    }
    let mut responses = serde_json::Map::new();
    let mut answer = |status: u16, text: &str, content: Option<(&str, Value)>| {
        let mut response = json!({ "description": text });
        if let Some((kind, schema)) = content {
            response["content"] = json!({ kind: { "schema": schema } });
        }
        responses.insert(status.to_string(), response);
    };
    let (status, success) = description.success;
    answer(
        status,
        "Done",
        match success {
            Success::Empty => None,
            Success::Json(schema) => Some((JSON, schema)),
            Success::Events => Some(("text/event-stream", json!({ "type": "string" }))),
        },
    );
    let mut refuse =
        |status: u16, text: &str| answer(status, text, Some((JSON, reference("Error"))));
    if operation.protected() {
        refuse(401, "Nobody is logged in");
    }
    if !safe && !exempt {
        refuse(403, "The CSRF token is missing, or is not this session's");
    }
    if description.body.is_some() {
        refuse(400, "The body is no UTF-8");
        refuse(413, "The body is larger than 10 MB");
    }
    for (status, text) in description.refusals {
        refuse(*status, text);
    }
    if description.body.is_some() || in_query {
        answer(
            422,
            "Something is missing or wrong",
            Some((JSON, reference("Invalid"))),
        );
    }
    if config.rate_limits && super::limits::limit(&format!("{PREFIX}{path}")).is_some() {
        answer(
            429,
            "Too many requests in a minute",
            Some((JSON, reference("RateLimited"))),
        );
    }
    let mut shown = json!({
        "operationId": format!("{operation:?}"),
        "summary": description.summary,
        "responses": responses,
    });
    if !parameters.is_empty() {
        shown["parameters"] = json!(parameters);
    }
    if let Some((schema, kind)) = description.body {
        let content = json!({ kind: { "schema": reference(schema) } });
        shown["requestBody"] = json!({ "required": true, "content": content });
    }
    if operation.protected() {
        let needs = if safe {
            json!([{ "session": [] }])
        } else {
            json!([{ "session": [], "csrf": [] }])
        };
        shown["security"] = needs;
    }
    shown
}
