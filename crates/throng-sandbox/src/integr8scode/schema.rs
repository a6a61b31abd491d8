//! The schemas of bodies: what requests are checked against and what the OpenAPI document shows.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// `components.schemas` of the OpenAPI document.
pub(super) static COMPONENTS: LazyLock<Value> = LazyLock::new(components);

/// A reference to one of [`COMPONENTS`].
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema itself where this is a reference.
pub(super) fn resolved(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(path) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            &COMPONENTS[name]
        }
        None => schema,
    }
}

/// The longest script, in characters.
pub(super) const SCRIPT_LENGTH: u64 = 50_000;

/// The statuses of an execution.
pub(super) const STATUSES: [&str; 8] = [
    "queued",
    "scheduled",
    "running",
    "completed",
    "failed",
    "timeout",
    "cancelled",
    "error",
];

fn text() -> Value {
    json!({ "type": "string" })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn nullable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn read_only(mut schema: Value) -> Value {
    schema["readOnly"] = json!(true);
    schema
}

/// An object whose listed properties are all required.
fn whole(properties: Value) -> Value {
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
        .collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// An object of which only some properties are required.
fn partly(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn merged(parts: [Value; 4]) -> Value {
    let mut all = serde_json::Map::new();
    for part in parts {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

fn components() -> Value {
    merged([accounts(), executions(), scripts_and_settings(), others()])
}

fn accounts() -> Value {
    json!({
        "UserCreate": partly(&["username", "email", "password"], json!({
            "username": { "type": "string", "minLength": 1, "maxLength": 255 },
            "email": { "type": "string", "format": "email", "maxLength": 320 },
            "password": { "type": "string", "minLength": 8, "maxLength": 1024, "writeOnly": true },
        })),
        "User": whole(json!({
            "user_id": read_only(text()),
            "username": text(),
            "email": text(),
            "role": read_only(json!({ "type": "string", "enum": ["user", "moderator", "admin"] })),
            "is_active": read_only(json!({ "type": "boolean" })),
            "is_superuser": read_only(json!({ "type": "boolean" })),
            "created_at": read_only(time()),
            "updated_at": read_only(time()),
            "bypass_rate_limit": nullable(json!({ "type": "boolean" })),
            "global_multiplier": nullable(json!({ "type": "number" })),
            "has_custom_limits": nullable(json!({ "type": "boolean" })),
        })),
        "Credentials": partly(&["username", "password"], json!({
            "username": { "type": "string", "minLength": 1 },
            "password": { "type": "string", "minLength": 1, "format": "password" },
        })),
        "LoggedIn": whole(json!({
            "message": text(),
            "username": text(),
            "role": { "type": "string", "enum": ["user", "moderator", "admin"] },
            "csrf_token": text(),
        })),
        "Message": whole(json!({ "message": text() })),
    })
}

fn executions() -> Value {
    json!({
        "ExecutionStatus": { "type": "string", "enum": STATUSES },
        "ExecutionRequest": partly(&["script"], json!({
            "script": { "type": "string", "maxLength": SCRIPT_LENGTH },
            "lang": { "type": "string", "enum": ["python"], "default": "python" },
            "lang_version": {
                "type": "string",
                "enum": ["3.9", "3.10", "3.11", "3.12"],
                "default": "3.11",
            },
        })),
        "ExecutionAccepted": whole(json!({
            "execution_id": text(),
            "status": reference("ExecutionStatus"),
        })),
        "ResourceUsage": whole(json!({
            "execution_time_wall_seconds": { "type": "number", "minimum": 0 },
            "cpu_time_jiffies": { "type": "integer", "minimum": 0 },
            "clk_tck_hertz": { "type": "integer", "minimum": 0 },
            "peak_memory_kb": { "type": "integer", "minimum": 0 },
        })),
        "ExecutionResult": whole(json!({
            "execution_id": text(),
            "status": reference("ExecutionStatus"),
            "stdout": nullable(text()),
            "stderr": nullable(text()),
            "lang": text(),
            "lang_version": text(),
            "resource_usage": nullable(reference("ResourceUsage")),
            "exit_code": nullable(json!({ "type": "integer" })),
            "error_type": nullable(json!({ "type": "string", "enum": ["script_error", "timeout"] })),
            "priority": { "type": "string", "enum": ["critical", "high", "normal", "low", "background"] },
        })),
        "ExecutionList": whole(json!({
            "executions": { "type": "array", "items": reference("ExecutionResult") },
            "total": { "type": "integer", "minimum": 0 },
            "limit": { "type": "integer" },
            "skip": { "type": "integer" },
            "has_more": { "type": "boolean" },
        })),
        "ExecutionEvent": partly(
            &["event_id", "event_type", "event_version", "timestamp", "aggregate_id", "metadata", "execution_id"],
            json!({
                "event_id": text(),
                "event_type": { "type": "string", "enum": [
                    "execution_requested", "execution_queued", "pod_created", "pod_scheduled",
                    "pod_running", "execution_completed", "execution_failed", "execution_timeout",
                    "execution_cancelled", "result_stored",
                ] },
                "event_version": text(),
                "timestamp": time(),
                "aggregate_id": text(),
                "metadata": whole(json!({
                    "service_name": text(), "service_version": text(), "user_id": text(),
                })),
                "execution_id": text(),
                "exit_code": { "type": "integer" },
                "stdout": text(),
                "stderr": text(),
            }),
        ),
        "CancelRequest": partly(&[], json!({
            "reason": { "type": "string", "maxLength": 1000, "default": "User requested cancellation" },
        })),
        "CancelAnswer": whole(json!({
            "execution_id": text(),
            "status": { "type": "string", "enum": ["cancellation_requested", "already_cancelled"] },
            "message": text(),
            "event_id": nullable(text()),
        })),
    })
}

fn scripts_and_settings() -> Value {
    let name = json!({ "type": "string", "maxLength": 255 });
    let script = json!({ "type": "string", "maxLength": SCRIPT_LENGTH });
    let short = json!({ "type": "string", "maxLength": 32 });
    let description = json!({ "type": "string", "maxLength": 2000 });
    let with_default = |mut schema: Value, default: &str| {
        schema["default"] = json!(default);
        schema
    };
    json!({
        "ScriptCreate": partly(&["name", "script"], json!({
            "name": name,
            "script": script,
            "lang": with_default(short.clone(), "python"),
            "lang_version": with_default(short.clone(), "3.11"),
            "description": nullable(description.clone()),
        })),
        "ScriptUpdate": partly(&[], json!({
            "name": nullable(name),
            "script": nullable(script),
            "lang": nullable(short.clone()),
            "lang_version": nullable(short),
            "description": nullable(description),
        })),
        "Script": whole(json!({
            "script_id": read_only(text()),
            "name": text(),
            "script": text(),
            "lang": text(),
            "lang_version": text(),
            "description": nullable(text()),
            "created_at": read_only(time()),
            "updated_at": read_only(time()),
        })),
        "ScriptList": whole(json!({
            "scripts": { "type": "array", "items": reference("Script") },
        })),
        "Theme": { "type": "string", "enum": ["light", "dark", "auto"] },
        "ThemeUpdate": whole(json!({ "theme": reference("Theme") })),
        "Settings": whole(json!({
            "user_id": text(),
            "theme": reference("Theme"),
            "timezone": text(),
            "date_format": text(),
            "time_format": text(),
            "notifications": whole(json!({
                "execution_completed": { "type": "boolean" },
                "execution_failed": { "type": "boolean" },
                "system_updates": { "type": "boolean" },
                "security_alerts": { "type": "boolean" },
                "channels": { "type": "array", "items": { "type": "string", "enum": ["in_app", "webhook", "slack"] } },
            })),
            "editor": whole(json!({
                "font_size": { "type": "integer" },
                "tab_size": { "type": "integer" },
                "use_tabs": { "type": "boolean" },
                "word_wrap": { "type": "boolean" },
                "show_line_numbers": { "type": "boolean" },
            })),
            "custom_settings": { "type": "object" },
            "version": { "type": "integer", "minimum": 1 },
            "created_at": time(),
            "updated_at": time(),
        })),
    })
}

fn others() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "Notification": whole(json!({
            "notification_id": text(),
            "channel": { "type": "string", "enum": ["in_app", "webhook", "slack"] },
            "status": { "type": "string", "enum": ["delivered", "read"] },
            "subject": text(),
            "body": text(),
            "action_url": text(),
            "created_at": time(),
            "read_at": nullable(time()),
            "severity": { "type": "string", "enum": ["low", "medium", "high", "urgent"] },
            "tags": { "type": "array", "items": { "type": "string" } },
        })),
        "NotificationList": whole(json!({
            "notifications": { "type": "array", "items": reference("Notification") },
            "total": { "type": "integer", "minimum": 0 },
            "unread_count": { "type": "integer", "minimum": 0 },
        })),
        "ExampleScripts": whole(json!({ "scripts": texts })),
        "Limits": whole(json!({
            "cpu_limit": text(),
            "memory_limit": text(),
            "cpu_request": text(),
            "memory_request": text(),
            "execution_timeout": { "type": "integer", "minimum": 0 },
            "supported_runtimes": { "type": "object", "additionalProperties": whole(json!({
                "versions": { "type": "array", "items": { "type": "string" } },
                "file_ext": text(),
            })) },
        })),
        "Liveness": whole(json!({
            "status": text(),
            "uptime_seconds": { "type": "integer", "minimum": 0 },
            "timestamp": time(),
        })),
        "GrafanaAlert": partly(&[], json!({
            "status": { "type": "string", "enum": ["firing", "resolved"] },
            "labels": texts,
            "annotations": texts,
            "startsAt": nullable(text()),
            "endsAt": nullable(text()),
            "generatorURL": nullable(text()),
            "fingerprint": nullable(text()),
        })),
        "GrafanaWebhook": partly(&["status"], json!({
            "receiver": nullable(text()),
            "status": { "type": "string", "enum": ["firing", "resolved"] },
            "alerts": { "type": "array", "items": reference("GrafanaAlert"), "default": [] },
            "groupKey": nullable(text()),
            "groupLabels": texts,
            "commonLabels": texts,
            "commonAnnotations": texts,
            "externalURL": nullable(text()),
            "version": nullable(text()),
        })),
        "AlertsTaken": whole(json!({
            "message": text(),
            "alerts_received": { "type": "integer", "minimum": 0 },
            "alerts_processed": { "type": "integer", "minimum": 0 },
            "errors": { "type": "array", "items": { "type": "string" } },
        })),
        "Error": partly(&["detail"], json!({ "detail": text(), "type": text() })),
        "RateLimited": whole(json!({
            "detail": text(),
            "retry_after": { "type": "integer", "minimum": 0 },
            "reset_at": time(),
        })),
        "Invalid": whole(json!({ "detail": { "type": "array", "items": partly(
            &["type", "loc", "msg", "input"],
            json!({
                "type": text(),
                "loc": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "integer" }] } },
                "msg": text(),
                "input": {},
                "ctx": { "type": "object" },
            }),
        ) } })),
    })
}
