//! The client under test of the official conformance suite (npm `@modelcontextprotocol/conformance`).
//!
//! The suite starts it once per scenario: the URL of its server is the last argument, the scenario is in
//! `MCP_CONFORMANCE_SCENARIO`, and `MCP_CONFORMANCE_CONTEXT` may hold JSON with tool calls to make, or with the credentials of a
//! client. Scenarios named `auth/...` want a login; all of it is the library's: this program only says, as a scenario file would,
//! which kind of login and what it is given for it.
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
        Anonymous, Answer, Authorize, CallError, CallOptions, Handler, Listener, OpenOptions,
        Server, ServerOptions, Session, ToolCall,
    },
};
use throng_identity::assertion::AssertionKey;
use throng_identity::discovery::{Authorization, Flow, discover_for, discover_issuer};
use throng_identity::enrolment::{Enrolment, Moved};
use throng_identity::login::grant::{Subject, TokenKind};
use throng_identity::login::{
    DEFAULT_REDIRECT_URI, Grant, GrantClient, GrantPlan, LoginPlan, Whom, log_in, log_in_by_grant,
};
use throng_identity::registration::{ClientSource, Proof, proven};
use throng_identity::retry::RetryPolicy;
use throng_identity::scopes::{self, Known};
use throng_identity::tokens::{Recovery, Refusal};
use throng_identity::{Ledger, Secret, TokenCell};
use url::Url;

/// Where the suite expects a client to have published its metadata document; it tells clients in no other way.
const METADATA_DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";
/// Time allowed for each request of a login.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    let url: Url = std::env::args()
        .next_back()
        .ok_or("no URL was given")?
        .parse()?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context: Value = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };
    let connector = Connector::new(ConnectorOptions::default())?;
    // Holds the ledger of registrations, of which nothing is left when the suite's servers are gone.
    let home = tempfile::tempdir()?;
    let tokens = if scenario.starts_with("auth/") {
        Some(log_in_for(&scenario, &url, &context, &connector, home.path()).await?)
    } else {
        None
    };
    let options = ServerOptions {
        client_name: "throng-conformance".to_owned(),
        capabilities: json!({ "elicitation": { "applyDefaults": true } }),
        handler: Some(Arc::new(AcceptDefaults)),
        ..ServerOptions::default()
    };
    let authorize: Arc<dyn Authorize> = match &tokens {
        Some(tokens) => Arc::new(tokens.clone()),
        None => Arc::new(Anonymous),
    };
    let server = Server::new(&url, options)?;
    let client = Client::new(&connector);
    let session = insist(tokens.as_ref(), async || {
        let (server, client) = (server.clone(), client.clone());
        Session::open(server, client, authorize.clone(), &OpenOptions::default()).await
    })
    .await?;
    let user = User { session, tokens };
    let options = CallOptions::timeout(Duration::from_secs(15));
    // What the server asks beside a call comes on its own stream, which it need not offer (405).
    match user.session.listen(None, Duration::from_secs(5)).await {
        Ok(listener) => {
            tokio::select! {
                result = exercise(&user, &scenario, &context, &options) => result?,
                result = attend(listener) => result?,
            }
        }
        Err(CallError::Protocol(_) | CallError::Http { .. }) => {
            exercise(&user, &scenario, &context, &options).await?;
        }
        Err(error) => return Err(error.into()),
    }
    user.session.close(Duration::from_secs(5)).await.result?;
    Ok(())
}

/// Somebody with an open session, and with a token where the scenario wants one.
struct User {
    session: Session,
    tokens: Option<TokenCell>,
}

impl User {
    /// Calls with a second try where another token may help, as a run's steps do.
    async fn insist<T>(
        &self,
        call: impl AsyncFnMut() -> Result<T, CallError>,
    ) -> Result<T, Failure> {
        insist(self.tokens.as_ref(), call).await
    }
}

async fn insist<T>(
    tokens: Option<&TokenCell>,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, Failure> {
    let mut recovery = Recovery::default();
    loop {
        let sent = tokens.map(TokenCell::header);
        let error = match call().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match (tokens.zip(sent), Refusal::of_call(&error)) {
            (Some((tokens, stale)), Some(refusal))
                if recovery.after(tokens, &stale, &refusal).await? => {}
            _ => return Err(error.into()),
        }
    }
}

/// The user that the suite's servers let in without a page.
fn somebody() -> Whom {
    Whom {
        name: "somebody".to_owned(),
        password: Secret::new("not asked for"),
        token: None,
    }
}

/// Logs in by the kind of login that the scenario is about, with what its context gives.
async fn log_in_for(
    scenario: &str,
    url: &Url,
    context: &Value,
    connector: &Connector,
    home: &std::path::Path,
) -> Result<TokenCell, Failure> {
    let text = |key: &str| context[key].as_str().map(str::to_owned);
    let need = |key: &str| text(key).ok_or_else(|| format!("the context has no {key}"));
    let http = Client::new(connector);
    let client = Client::with_cookies(connector);
    if matches!(
        scenario,
        "auth/client-credentials-jwt"
            | "auth/client-credentials-basic"
            | "auth/enterprise-managed-authorization"
            | "auth/wif-jwt-bearer"
    ) {
        let authorization = discover_for(Flow::Direct, &http, url, TIMEOUT).await?;
        let proof = match text("private_key_pem") {
            Some(pem) => Proof::Key(Arc::new(AssertionKey::from_pem(&pem.into(), None, None)?)),
            None => Proof::of(text("client_secret").map(Secret::new)),
        };
        let grant = match scenario {
            "auth/enterprise-managed-authorization" => {
                enterprise_managed(&http, &authorization, &need).await?
            }
            "auth/wif-jwt-bearer" => Grant::Assertion(given(need("valid_jwt")?, TokenKind::Jwt)),
            _ => Grant::ClientCredentials,
        };
        let plan = Arc::new(GrantPlan {
            client: GrantClient::Shared(Arc::new(proven(
                &need("client_id")?,
                &proof,
                &authorization,
            ))),
            scopes: scopes::choose_for_machine(&Known::of(&authorization, None)),
            authorization: Arc::new(authorization),
            grant,
            timeout: TIMEOUT,
            retry: RetryPolicy::default(),
        });
        let whom = somebody();
        let login = log_in_by_grant(&plan, &client, &whom, None).await?;
        return Ok(TokenCell::of_grant(login.tokens, plan, &client, whom));
    }
    let source = match text("client_id") {
        Some(id) => ClientSource::PreRegistered {
            id,
            proof: Proof::of(text("client_secret").map(Secret::new)),
        },
        None if scenario == "auth/basic-cimd" => {
            ClientSource::MetadataDocument(Url::parse(METADATA_DOCUMENT)?)
        }
        None => ClientSource::Dynamic,
    };
    let ledger = Ledger::open(&home.join("ledger.sqlite"))?;
    let enrolment = Arc::new(Enrolment {
        http,
        target: url.clone(),
        source,
        scopes: None,
        redirect_uri: Url::parse(DEFAULT_REDIRECT_URI)?,
        client_name: "throng conformance".to_owned(),
        run: ledger.begin_run()?,
        ledger,
        flow: Flow::Code,
        timeout: TIMEOUT,
        moved: Moved::default(),
    });
    let authorization = enrolment.discover().await?;
    let scopes = enrolment.choose_scopes(&authorization);
    let oauth_client = enrolment.take_client(&authorization, &scopes).await?;
    let redirect_uri = enrolment.redirect_uri.clone();
    let plan = Arc::new(LoginPlan {
        enrolment: Some(enrolment),
        timeout: TIMEOUT,
        ..LoginPlan::new(Arc::new(authorization), oauth_client, redirect_uri, scopes)
    });
    let Whom { name, password, .. } = somebody();
    let login = log_in(&plan, &client, &name, &password).await?;
    Ok(TokenCell::new(login.tokens, plan, &client, &name, password))
}

/// A token that the scenario's context gives.
fn given(token: String, kind: TokenKind) -> Subject {
    Subject {
        kind,
        shared: Some(token.into()),
        login: None,
    }
}

/// The exchange of an id token at an identity provider, of which the scenario's context tells.
async fn enterprise_managed(
    http: &Client,
    authorization: &Authorization,
    need: &impl Fn(&str) -> Result<String, String>,
) -> Result<Grant, Failure> {
    let issuer = need("idp_issuer")?;
    let resource = authorization.resource.as_deref();
    let provider = discover_issuer(Flow::Direct, http, &issuer, resource, TIMEOUT).await?;
    Ok(Grant::EnterpriseManaged {
        subject: given(need("idp_id_token")?, TokenKind::Id),
        provider_client: Arc::new(proven(&need("idp_client_id")?, &Proof::Public, &provider)),
        provider: Arc::new(provider),
    })
}

/// Answers what comes on the server's stream, as long as the exercise lasts.
async fn attend(mut listener: Listener<'_>) -> Result<(), Failure> {
    while let Some(notification) = listener.next(Duration::from_secs(60)).await? {
        eprintln!("notification {}", notification.method);
    }
    std::future::pending().await
}

async fn exercise(
    user: &User,
    scenario: &str,
    context: &Value,
    options: &CallOptions,
) -> Result<(), Failure> {
    if scenario == "initialize" {
        return Ok(());
    }
    let tools = user
        .insist(async || user.session.list_tools(options).await)
        .await?;
    for (name, reason) in tools.dropped() {
        eprintln!("tool {name:?} is dropped: {reason}");
    }
    if let Some(calls) = context.get("toolCalls").and_then(Value::as_array) {
        for call in calls {
            let name = call["name"].as_str().ok_or("a call without a name")?;
            call_tool(user, name, &call["arguments"], options).await?;
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
        call_tool(user, &tool.name, &arguments, options).await?;
    }
    if scenario == "http-standard-headers" {
        resources_and_prompts(&user.session, options).await?;
    }
    Ok(())
}

async fn call_tool(
    user: &User,
    name: &str,
    arguments: &Value,
    options: &CallOptions,
) -> Result<(), Failure> {
    let call = ToolCall::new(name, arguments.to_string());
    let result = user
        .insist(async || user.session.call_tool(&call, options).await.result)
        .await?;
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
