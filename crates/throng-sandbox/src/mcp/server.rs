//! The MCP server's handler: lists tools and resources, and runs tools for the caller.

use std::sync::Arc;

use http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ConstString, ContentBlock,
    CustomRequest, CustomResult, ElicitRequest, ElicitRequestParams, ElicitationSchema, ErrorCode,
    ErrorData, GetPromptRequestParams, GetPromptResponse, Implementation, JsonObject,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
    Resource, ResourceContents, ServerCapabilities, ServerConfig, ServerRequest,
    SetLevelRequestMethod, SetLevelRequestParams, SubscribeRequestMethod, SubscribeRequestParams,
    SubscriptionFilter, ToolAnnotations, UnsubscribeRequestMethod, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use super::app_password::{Provisioned, provisioned};
use super::auth::{Caller, Scopes};
use super::fixtures;
use super::tools::{self, Answer, Failure, Nature, Tool};
use crate::journal::{Note, Outcome};
use crate::nextcloud::capabilities;
use crate::state::AppState;
use crate::store::StoreError;

const CAPABILITIES: &str = "nc://capabilities";

/// The handler; one clone for each session or stateless request.
#[derive(Clone)]
pub(super) struct NextcloudTools {
    state: AppState,
    listed: Arc<[rmcp::model::Tool]>,
}

/// What the request that is being handled brought along.
struct Request {
    caller: Caller,
    note: Note,
}

impl Request {
    /// Reads what the layers around `/mcp` put into the HTTP request.
    fn of(context: &RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        let parts = context.extensions.get::<Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        let note = parts.and_then(|parts| parts.extensions.get::<Note>());
        match (caller, note) {
            (Some(caller), Some(note)) => Ok(Self {
                caller: caller.clone(),
                note: note.clone(),
            }),
            _ => Err(ErrorData::internal_error(
                "the request came without its caller",
                None,
            )),
        }
    }
}

impl NextcloudTools {
    pub(super) fn new(state: AppState) -> Self {
        let available = tools::ALL.iter().filter(|tool| tool.is_available());
        let fixtures = state.config.mcp.fixtures.then(fixtures::tools);
        let listed = available
            .map(listed)
            .chain(fixtures.into_iter().flatten())
            .collect();
        Self { state, listed }
    }

    fn fixtures(&self) -> bool {
        self.state.config.mcp.fixtures
    }

    /// Why this caller may not use the tool, if so.
    async fn refusal(
        &self,
        tool: &Tool,
        request: &Request,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<String>, StoreError> {
        let Scopes::Granted(granted) = &request.caller.scopes else {
            return Ok(None);
        };
        let (name, scope) = (tool.name, tool.scope);
        if self.state.config.mcp.require_app_password && self.state.issuer.is_none() {
            match provisioned(&self.state.store, &request.caller.user)? {
                Provisioned::Unrestricted => {}
                Provisioned::Only(scopes) if scopes.iter().any(|one| one == scope) => {}
                Provisioned::Only(_) => {
                    return Ok(Some(format!(
                        "{name} failed: Access denied to {name}: Missing scopes: {scope}."
                    )));
                }
                Provisioned::No => {
                    if self.state.config.mcp.elicit_app_password {
                        ask_for_app_password(context).await;
                    }
                    return Ok(Some(format!(
                        "{name} failed: Access denied to {name}: Nextcloud access not provisioned. \
                         Please call 'nc_auth_provision_access' first."
                    )));
                }
            }
        }
        if request.caller.scopes.contain(scope) {
            return Ok(None);
        }
        let mut granted = granted.to_vec();
        granted.sort_unstable();
        let granted = if granted.is_empty() {
            "none".to_owned()
        } else {
            granted.join(", ")
        };
        Ok(Some(format!(
            "{name} failed: Access denied to {name}: Missing required scopes: {scope}. Token has scopes: {granted}"
        )))
    }

    fn accept_with_fixtures<M: ConstString>(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if self.fixtures() {
            return Ok(());
        }
        Request::of(context)?.note.outcome(Outcome::RpcError);
        Err(ErrorData::method_not_found::<M>())
    }

    async fn run(
        &self,
        params: CallToolRequestParams,
        request: &Request,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, Failure> {
        let Some(tool) = tools::find(&params.name) else {
            return Err(Failure::Tool(format!("Unknown tool: {}", params.name)));
        };
        if let Some(refusal) = self.refusal(tool, request, context).await? {
            return Err(Failure::Tool(refusal));
        }
        let arguments = params.arguments.unwrap_or_default();
        let user = &request.caller.user;
        tool.call(&self.state, user, &request.note, arguments)
            .map(shown)
    }
}

/// Waits for the answer as long as it takes; what it is does not matter, because nothing has been provisioned by it.
async fn ask_for_app_password(context: &RequestContext<RoleServer>) {
    let schema = json!({
        "type": "object",
        "properties": {
            "acknowledged": {
                "type": "boolean",
                "default": false,
                "description": "Check this box after enabling Nextcloud access",
            },
        },
    });
    let Ok(requested_schema) = serde_json::from_value::<ElicitationSchema>(schema) else {
        // The schema above is constant and valid.
        return;
    };
    let ask = ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: "Nextcloud access is not yet provisioned for this user.".to_owned(),
        requested_schema,
    });
    if let Err(error) = context
        .peer
        .send_request(ServerRequest::ElicitRequest(ask))
        .await
    {
        tracing::debug!(%error, "the client could not be asked for an app password");
    }
}

/// A result as it goes over the wire.
fn shown(answer: Answer) -> CallToolResult {
    match answer {
        Answer::Object(value) => CallToolResult::structured(value),
        Answer::Text(text) => {
            let structured = json!({ "result": text });
            let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
            result.structured_content = Some(structured);
            result
        }
        Answer::Bare(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
    }
}

/// A tool as `tools/list` shows it.
fn listed(tool: &Tool) -> rmcp::model::Tool {
    let schema = super::arguments::input_schema(tool.name, tool.parameters);
    let mut listed = rmcp::model::Tool::new(tool.name, tool.description, Arc::new(schema))
        .with_title(tool.title);
    if let Some(schema) = tool.output.schema(tool.name) {
        listed = listed.with_raw_output_schema(Arc::new(schema));
    }
    let mut annotations = ToolAnnotations::new();
    annotations.open_world_hint = Some(true);
    match tool.nature {
        Nature::Reads => annotations.read_only_hint = Some(true),
        Nature::Changes => annotations.idempotent_hint = Some(false),
        Nature::ChangesOnce => annotations.idempotent_hint = Some(true),
        Nature::Destroys => {
            annotations.destructive_hint = Some(true);
            annotations.idempotent_hint = Some(true);
        }
    }
    listed.with_annotations(annotations)
}

fn broken(error: &StoreError) -> ErrorData {
    let source: &dyn std::error::Error = error;
    tracing::error!(error = source, "a tool call failed");
    ErrorData::internal_error(error.to_string(), None)
}

impl ServerHandler for NextcloudTools {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .build();
        if self.fixtures() {
            capabilities.completions = Some(JsonObject::new());
            capabilities.logging = Some(JsonObject::new());
            if let Some(resources) = &mut capabilities.resources {
                resources.subscribe = Some(true);
            }
        }
        let mut info = ServerConfig::new(capabilities);
        info.server_info = Implementation::new("throng-sandbox", env!("CARGO_PKG_VERSION"));
        info
    }

    /// Lists the tools that the token's scopes allow.
    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let request = Request::of(&context)?;
        // Who challenges lets a client see what it could ask for.
        let all = self.state.knobs.scope_challenges();
        let allowed = |listed: &&rmcp::model::Tool| {
            all || tools::find(&listed.name)
                .is_none_or(|tool| request.caller.scopes.contain(tool.scope))
        };
        let tools = self.listed.iter().filter(allowed).cloned().collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.listed.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let request = Request::of(&context)?;
        if self.fixtures()
            && let Some(answer) = fixtures::call(&params, &context).await
        {
            request.note.outcome(match &answer {
                Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => {
                    Outcome::ToolError
                }
                Ok(_) => Outcome::Ok,
                Err(_) => Outcome::RpcError,
            });
            return answer;
        }
        match self.run(params, &request, &context).await {
            Ok(result) => {
                request.note.outcome(Outcome::Ok);
                Ok(result.into())
            }
            Err(Failure::Tool(message)) => {
                request.note.outcome(Outcome::ToolError);
                Ok(CallToolResult::error(vec![ContentBlock::text(message)]).into())
            }
            Err(Failure::Store(error)) => {
                request.note.outcome(Outcome::RpcError);
                Err(broken(&error))
            }
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let capabilities = Resource::new(CAPABILITIES, "nc_get_capabilities")
            .with_description("The Nextcloud's capabilities")
            .with_mime_type("text/plain");
        let mut resources = vec![capabilities];
        if self.fixtures() {
            resources.extend(fixtures::resources());
        }
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = if self.fixtures() {
            fixtures::templates()?
        } else {
            Vec::new()
        };
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = if self.fixtures() {
            fixtures::prompts()?
        } else {
            Vec::new()
        };
        Ok(ListPromptsResult::with_all_items(prompts))
    }

    async fn get_prompt(
        &self,
        params: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let request = Request::of(&context)?;
        let answer = if self.fixtures() {
            fixtures::get_prompt(&params)
        } else {
            let message = format!("Unknown prompt: {}", params.name);
            Err(ErrorData::invalid_params(message, None))
        };
        if answer.is_err() {
            request.note.outcome(Outcome::RpcError);
        }
        answer
    }

    /// Accepted and without effect: what is logged does not depend on it.
    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.accept_with_fixtures::<SetLevelRequestMethod>(&context)
    }

    /// Accepted and without effect: the resource that can be watched never changes.
    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.accept_with_fixtures::<SubscribeRequestMethod>(&context)
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.accept_with_fixtures::<UnsubscribeRequestMethod>(&context)
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        self.fixtures().then(|| requested.clone())
    }

    async fn read_resource(
        &self,
        params: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let request = Request::of(&context)?;
        if self.fixtures()
            && let Some(result) = fixtures::read_resource(&params.uri)
        {
            return Ok(result.into());
        }
        if params.uri != CAPABILITIES {
            request.note.outcome(Outcome::RpcError);
            let message = format!("Unknown resource: {}", params.uri);
            return Err(ErrorData::resource_not_found(
                message,
                Some(json!({ "uri": params.uri })),
            ));
        }
        let text = capabilities_answer(&self.state).to_string();
        let contents = ResourceContents::text(text, CAPABILITIES).with_mime_type("text/plain");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Request::of(&context)?.note.outcome(Outcome::RpcError);
        Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            request.method,
            None,
        ))
    }
}

/// The whole answer of Nextcloud, as the real server hands it on.
fn capabilities_answer(state: &AppState) -> Value {
    json!({
        "ocs": {
            "meta": { "status": "ok", "statuscode": 200, "message": "OK" },
            "data": capabilities::data(&state.url, true),
        },
    })
}
