//! The client under test of the official conformance suite (npm `@modelcontextprotocol/conformance`).
//!
//! The suite starts it once per scenario: the URL of its server is the last argument, the scenario is in
//! `MCP_CONFORMANCE_SCENARIO`, and `MCP_CONFORMANCE_CONTEXT` may hold JSON with tool calls to make. Authorization
//! scenarios are not served here: this crate does not log in.
//!
//! Run: `conformance client --command target/debug/examples/conformance --requirements 2026-07-28`.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program"
)]

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use throng_client::{
    Client, Connector, ConnectorOptions,
    mcp::{
        Anonymous, Answer, CallError, CallOptions, Handler, Listener, OpenOptions, Server,
        ServerOptions, Session, ToolCall,
    },
};

type Failure = Box<dyn std::error::Error>;

/// Accepts every elicitation with the defaults of its schema (SEP-1034).
struct AcceptDefaults;

impl Handler for AcceptDefaults {
    fn answer(&self, method: &str, params: &Value) -> Answer {
        if method != "elicitation/create" {
            return Answer::Unsupported;
        }
        let mut content = Map::new();
        if let Some(Value::Object(properties)) = params.pointer("/requestedSchema/properties") {
            for (name, schema) in properties {
                let value = schema
                    .get("default")
                    .cloned()
                    .unwrap_or_else(|| sample(schema));
                content.insert(name.clone(), value);
            }
        }
        Answer::Result(json!({ "action": "accept", "content": content }))
    }
}

/// Some value of a JSON Schema's type.
fn sample(schema: &Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => json!(3),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("text"),
    }
}

/// Arguments that a tool's schema demands.
fn arguments(schema: &Value) -> Value {
    let mut arguments = Map::new();
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        let property = schema.pointer(&format!("/properties/{name}"));
        arguments.insert(name.to_owned(), sample(property.unwrap_or(&Value::Null)));
    }
    Value::Object(arguments)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let url = std::env::args()
        .next_back()
        .ok_or("no URL was given")?
        .parse()?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context: Value = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };
    let client = Client::new(&Connector::new(ConnectorOptions::default())?);
    let options = ServerOptions {
        client_name: "throng-conformance".to_owned(),
        capabilities: json!({ "elicitation": { "applyDefaults": true } }),
        handler: Some(Arc::new(AcceptDefaults)),
        ..ServerOptions::default()
    };
    let server = Server::new(&url, options)?;
    let session =
        Session::open(server, client, Arc::new(Anonymous), &OpenOptions::default()).await?;
    let options = CallOptions::timeout(Duration::from_secs(15));
    // What the server asks beside a call comes on its own stream, which it need not offer (405).
    match session.listen(None, Duration::from_secs(5)).await {
        Ok(listener) => {
            tokio::select! {
                result = exercise(&session, &scenario, &context, &options) => result?,
                result = attend(listener) => result?,
            }
        }
        Err(CallError::Protocol(_) | CallError::Http { .. }) => {
            exercise(&session, &scenario, &context, &options).await?;
        }
        Err(error) => return Err(error.into()),
    }
    session.close(Duration::from_secs(5)).await.result?;
    Ok(())
}

/// Answers what comes on the server's stream, as long as the exercise lasts.
async fn attend(mut listener: Listener<'_>) -> Result<(), Failure> {
    while let Some(notification) = listener.next(Duration::from_secs(60)).await? {
        eprintln!("notification {}", notification.method);
    }
    std::future::pending().await
}

async fn exercise(
    session: &Session,
    scenario: &str,
    context: &Value,
    options: &CallOptions,
) -> Result<(), Failure> {
    if scenario == "initialize" {
        return Ok(());
    }
    let tools = session.list_tools(options).await?;
    for (name, reason) in tools.dropped() {
        eprintln!("tool {name:?} is dropped: {reason}");
    }
    if let Some(calls) = context.get("toolCalls").and_then(Value::as_array) {
        for call in calls {
            let name = call["name"].as_str().ok_or("a call without a name")?;
            call_tool(session, name, &call["arguments"], options).await?;
        }
        return Ok(());
    }
    for tool in tools.iter() {
        let arguments = if tool.name == "json_schema_echo" {
            let focal = tools.iter().find(|other| other.name != tool.name);
            json!({ "schema": focal.ok_or("no schema to echo")?.input_schema })
        } else {
            arguments(&tool.input_schema)
        };
        call_tool(session, &tool.name, &arguments, options).await?;
    }
    if scenario == "http-standard-headers" {
        resources_and_prompts(session, options).await?;
    }
    Ok(())
}

async fn call_tool(
    session: &Session,
    name: &str,
    arguments: &Value,
    options: &CallOptions,
) -> Result<(), CallError> {
    let call = ToolCall::new(name, arguments.to_string());
    let result = session.call_tool(&call, options).await.result?;
    eprintln!("{name}: isError {} {}", result.is_error, result.text());
    Ok(())
}

async fn resources_and_prompts(session: &Session, options: &CallOptions) -> Result<(), Failure> {
    let list = |raw: &[u8], key: &str| -> Result<Vec<Value>, Failure> {
        let mut value: Value = serde_json::from_slice(raw)?;
        Ok(serde_json::from_value(value[key].take())?)
    };
    let request = session.request("resources/list", &Value::Null, options);
    for resource in list(&request.await.result?, "resources")? {
        let uri = resource["uri"].as_str().ok_or("a resource without URI")?;
        session.read_resource(uri, options).await.result?;
    }
    let request = session.request("prompts/list", &Value::Null, options);
    for prompt in list(&request.await.result?, "prompts")? {
        let params = json!({ "name": prompt["name"] });
        let request = session.request("prompts/get", &params, options);
        request.await.result?;
    }
    Ok(())
}
