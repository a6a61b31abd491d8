//! Against the `rmcp` crate's server, which shares no code with us.

use std::sync::Arc;

use axum::{Router, serve::ListenerExt as _};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use throng_client::{
    Client,
    mcp::{
        Anonymous, CallError, CallOptions, Era, EraChoice, OpenOptions, Server, ServerOptions,
        Session, ToolCall,
    },
};
use tokio::task::JoinSet;

use crate::{LONG, connector};

#[derive(Clone)]
struct Echo;

fn tool() -> Tool {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let Value::Object(schema) = schema else {
        unreachable!("an object is written there");
    };
    Tool::new("echo", "Returns its text.", schema)
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![tool()]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name != "echo" {
            return Err(ErrorData::invalid_params("there is only `echo`", None));
        }
        let text = request.arguments.as_ref().and_then(|all| all.get("text"));
        Ok(match text {
            Some(text) => CallToolResult::structured(json!({ "text": text })).into(),
            None => CallToolResult::error(vec![ContentBlock::text("no text")]).into(),
        })
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == "echo").then(tool)
    }
}

async fn serve(config: StreamableHttpServerConfig, tasks: &mut JoinSet<()>) -> String {
    let service = StreamableHttpService::new(
        || Ok(Echo),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let router = Router::new().route_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("nodelay"));
    tasks.spawn(async move {
        axum::serve(listener, router).await.expect("serving");
    });
    url
}

#[tokio::test]
async fn both_eras_with_either_kind_of_reply() {
    let mut tasks = JoinSet::new();
    for (era, expected) in [
        (EraChoice::Detect, Era::Stateless),
        (EraChoice::Stateless, Era::Stateless),
        (EraChoice::Sessions, Era::Sessions),
    ] {
        for (sessions, json_reply) in [(true, false), (false, true), (false, false)] {
            let config = StreamableHttpServerConfig::default()
                .with_legacy_session_mode(sessions)
                .with_json_response(json_reply);
            let url = serve(config, &mut tasks).await;
            let options = ServerOptions {
                era,
                ..ServerOptions::default()
            };
            let server = Server::new(&url.parse().unwrap(), options).unwrap();
            let what = format!("{era:?}, sessions {sessions}, JSON {json_reply}");
            let session = Session::open(
                server.clone(),
                Client::new(&connector()),
                Arc::new(Anonymous),
                &OpenOptions::default(),
            )
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(server.era(), Some(expected), "{what}");
            exercise(&session, &what).await;
            session.close(LONG).await.result.unwrap();
        }
    }
}

async fn exercise(session: &Session, what: &str) {
    let options = CallOptions::timeout(LONG);
    let tools = session.list_tools(&options).await.unwrap();
    assert_eq!(tools.get("echo").unwrap().input_schema["type"], "object");
    for text in ["a", "ü \"quoted\" \u{1F980}", &"long ".repeat(20_000)] {
        let call = ToolCall::new("echo", json!({ "text": text }).to_string());
        let call = session.call_tool(&call, &options).await;
        let result = call
            .result
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!result.is_error);
        assert_eq!(result.structured(), Some(json!({ "text": text })), "{what}");
    }
    let failed = session
        .call_tool(&ToolCall::new("echo", "{}"), &options)
        .await;
    let failed = failed.result.unwrap();
    assert_eq!((failed.is_error, failed.text().as_str()), (true, "no text"));
    let unknown = session
        .call_tool(&ToolCall::new("nope", "{}"), &options)
        .await;
    let error = unknown.result.unwrap_err();
    assert!(
        matches!(error, CallError::Rpc { code: -32602, .. }),
        "{what}: {error:?}"
    );
    // One connection, unless a stream outlived its response.
    assert_eq!(session.client().idle_connections(), 1, "{what}");
}
