//! What is answered without a login: examples, limits, health, and the alerts of older versions.

use axum::response::Response;
use serde_json::json;

use super::call::Call;
use super::reply::{self, Refusal};
use crate::timestamp::rfc3339_now;

pub(super) fn example_scripts() -> Response {
    reply::ok(&json!({ "scripts": {
        "python": "print(\"Hello from the sandbox\")\n",
    } }))
}

pub(super) fn limits(call: &Call) -> Response {
    reply::ok(&json!({
        "cpu_limit": "1000m",
        "memory_limit": "128Mi",
        "cpu_request": "1000m",
        "memory_request": "128Mi",
        "execution_timeout": call.app.config.times.limit.as_secs(),
        "supported_runtimes": {
            "python": { "versions": ["3.9", "3.10", "3.11", "3.12"], "file_ext": "py" },
        },
    }))
}

pub(super) fn live(call: &Call) -> Response {
    reply::ok(&json!({
        "status": "ok",
        "uptime_seconds": call.app.started.elapsed().as_secs(),
        "timestamp": rfc3339_now(),
    }))
}

pub(super) fn grafana(call: &Call) -> Result<Response, Refusal> {
    let body = call.json("GrafanaWebhook")?;
    let alerts = body["alerts"].as_array().map_or(0, Vec::len);
    Ok(reply::ok(&json!({
        "message": "Webhook received and processed",
        "alerts_received": alerts,
        "alerts_processed": alerts,
        "errors": [],
    })))
}
