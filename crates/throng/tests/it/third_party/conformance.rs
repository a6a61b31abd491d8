//! The official MCP conformance suite: our client in front of its servers, and the sandbox's MCP server and OpenID provider behind
//! its clients.
//!
//! Which scenarios must pass is written down here, scenario by scenario: one that no longer passes fails the test, and so
//! does a new one that nobody has looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use throng_client::{Client, Connector, ConnectorOptions};
use throng_sandbox::PreregisteredClient;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::programs::{Group, Program};
use crate::support::{self, World};

/// Either set of scenarios takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// Only compiles where `cargo test` has not done it before.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// The file in a home directory that a sandbox logs to.
const LOG: &str = "sandbox.log";

/// What a client of either revision must pass, the extensions' scenarios for machines and enterprises among them.
const CLIENT_ALWAYS: &[&str] = &[
    "auth/basic-cimd",
    "auth/client-credentials-basic",
    "auth/client-credentials-jwt",
    "auth/enterprise-managed-authorization",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/pre-registration",
    "auth/scope-from-scopes-supported",
    "auth/scope-from-www-authenticate",
    "auth/scope-omitted-when-undefined",
    "auth/scope-retry-limit",
    "auth/scope-step-up",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-none",
    "auth/token-endpoint-auth-post",
    "auth/wif-jwt-bearer",
    "json-schema-2020-12-preservation",
    "tools_call",
];
const CLIENT_2026_07_28: &[&str] = &[
    "auth/authorization-server-migration",
    "auth/iss-normalized",
    "auth/iss-not-advertised",
    "auth/iss-supported",
    "auth/iss-supported-missing",
    "auth/iss-unexpected",
    "auth/iss-wrong-issuer",
    "auth/metadata-issuer-mismatch",
    "auth/offline-access-not-supported",
    "auth/offline-access-scope",
    "auth/resource-mismatch",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "http-standard-headers",
    "json-schema-ref-no-deref",
    "request-metadata",
    "sep-2322-client-request-state",
];
const CLIENT_2025_11_25: &[&str] = &[
    "elicitation-sep1034-client-defaults",
    "initialize",
    "sse-retry",
];
/// Tokens bound to a key (RFC 9449) of an extension that is a draft. No revision demands them, and no server that throng is for
/// issues them.
const CLIENT_NOT_APPLICABLE: &[&str] = &["auth/dpop", "auth/dpop-nonce"];
/// A server of the revision before resources had metadata: it is its own authorization server.
const CLIENT_2025_03_26: &str = "auth/2025-03-26-oauth-metadata-backcompat";

/// What a server of either era must pass.
const SERVER_ALWAYS: &[&str] = &[
    "completion-complete",
    "dns-rebinding-protection",
    "json-schema-2020-12",
    "prompts-get-embedded-resource",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-with-image",
    "prompts-list",
    "resources-list",
    "resources-read-binary",
    "resources-read-text",
    "resources-templates-read",
    "server-sse-multiple-streams",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-error",
    "tools-call-image",
    "tools-call-mixed-content",
    "tools-call-simple-text",
    "tools-call-with-progress",
    "tools-list",
];
const SERVER_2026_07_28: &[&str] = &[
    "caching",
    "http-custom-header-server-validation",
    "http-header-validation",
    "input-required-result-basic-elicitation",
    "input-required-result-basic-list-roots",
    "input-required-result-basic-sampling",
    "input-required-result-capability-check",
    "input-required-result-ignore-extra-params",
    "input-required-result-missing-input-response",
    "input-required-result-multi-round",
    "input-required-result-multiple-input-requests",
    "input-required-result-non-tool-request",
    "input-required-result-request-state",
    "input-required-result-result-type",
    "input-required-result-tampered-state",
    "input-required-result-unsupported-methods",
    "input-required-result-validate-input",
    "sep-2164-resource-not-found",
    "server-stateless",
];
const SERVER_2025_11_25: &[&str] = &[
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "logging-set-level",
    "ping",
    "resources-subscribe",
    "resources-unsubscribe",
    "server-initialize",
    "server-session-lifecycle",
    "tools-call-elicitation",
    "tools-call-sampling",
    "tools-call-with-logging",
];
/// A tool that ends its own stream in the middle of a call. The suite has it as pending and no revision demands it; the
/// real server's streams cannot be resumed, so the sandbox has no use for it.
const SERVER_NOT_APPLICABLE: &[&str] = &["server-sse-polling"];

/// What an authorization server must pass, whatever the revision: the specification leaves them to others.
const AUTHORIZATION: &[&str] = &[
    "authorization-code-grant",
    "authorization-server-metadata-endpoint",
];

#[tokio::test]
async fn our_client_passes_all_scenarios_of_2026_07_28() {
    client("2026-07-28", CLIENT_2026_07_28).await;
}

#[tokio::test]
async fn our_client_passes_all_scenarios_of_2025_11_25() {
    client("2025-11-25", CLIENT_2025_11_25).await;
}

#[tokio::test]
async fn our_client_logs_in_at_a_server_of_2025_03_26() {
    let command = conformance_client().await;
    let command = command.to_str().expect("a UTF-8 path");
    let output = suite(&[
        "client",
        "--command",
        command,
        "--scenario",
        CLIENT_2025_03_26,
        "--spec-version",
        "2025-03-26",
    ])
    .await;
    assert!(output.contains("OVERALL: PASSED"), "{output}");
}

#[tokio::test]
async fn the_sandbox_passes_all_scenarios_of_2026_07_28() {
    server("2026-07-28", SERVER_2026_07_28).await;
}

#[tokio::test]
async fn the_sandbox_passes_all_scenarios_of_2025_11_25() {
    server("2025-11-25", SERVER_2025_11_25).await;
}

#[tokio::test]
async fn the_sandboxs_provider_passes_all_scenarios_for_authorization_servers() {
    let world = World::with(|config| {
        config.consent = false;
        config.clients.push(PreregisteredClient {
            id: "conformance".to_owned(),
            // The suite sends a secret only where a provider knows no client without one.
            secret: None,
            // The port of a loopback address may be any.
            redirect_uris: vec!["http://127.0.0.1:1/callback".to_owned()],
            jwt_access_tokens: true,
        });
    })
    .await;
    let port = free_port().await.to_string();
    let (url, resource) = (world.sandbox.url(), world.sandbox.mcp_url());
    let mut command = Command::new(Program::Node.path());
    command
        .arg(Program::Conformance.path())
        .args(["authorization", "--url", url, "--resource", resource])
        .args(["--client-id", "conformance"])
        .args(["--port", &port])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the program starts");
    let _group = Group::of(&child);
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut output = String::new();
    let (mut address, mut listens, mut visited) = (None, false, false);
    // It waits for a browser to come by, and says where that shall go before it listens for its return.
    while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .unwrap_or_else(|_| panic!("it says nothing more:\n{output}"))
        .expect("its output")
    {
        output += &format!("{line}\n");
        listens |= line.starts_with("Callback server started");
        if line.starts_with(url) && line.contains("/authorize?") {
            address = Some(line);
        }
        if let Some(address) = address.take_if(|_| listens) {
            visit(url, &address).await;
            visited = true;
        }
    }
    assert!(visited, "it named no address to go to:\n{output}");
    let expected = AUTHORIZATION.iter().copied().collect();
    compare(&verdicts(&output), &expected, &output);
}

/// A port that was free a moment ago: the suite takes none of its own choice.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The administrator logs in as in a browser, and goes to an address and on to where that leads.
async fn visit(origin: &str, address: &str) {
    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    let browser = Client::with_cookies(&connector);
    let get = |url: &str| {
        http::Request::get(url)
            .body(Bytes::new())
            .expect("a request")
    };
    let send = async |request| browser.send(request, LIMIT).await.expect("an answer");
    let page = send(get(&format!("{origin}/login"))).await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let (_, token) = page.split_once("data-requesttoken=\"").expect("a token");
    let (token, _) = token.split_once('"').expect("the token's end");
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("user", "admin")
        .append_pair("password", support::ADMIN_PASSWORD)
        .append_pair("requesttoken", token)
        .finish();
    let login = http::Request::post(format!("{origin}/login"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.into())
        .expect("a request");
    assert_eq!(send(login).await.status, 303);
    let answer = send(get(address)).await;
    let location = answer.headers.get("location").expect("a redirect");
    let back = send(get(location.to_str().expect("an address"))).await;
    assert_eq!(back.status, 200);
}

async fn client(revision: &str, only_here: &[&str]) {
    let command = conformance_client().await;
    let command = command.to_str().expect("a UTF-8 path");
    let output = suite(&["client", "--command", command, "--requirements", revision]).await;
    let mut verdicts = verdicts(&output);
    verdicts.retain(|name, _| !CLIENT_NOT_APPLICABLE.contains(&name.as_str()));
    let expected = CLIENT_ALWAYS.iter().chain(only_here).copied().collect();
    compare(&verdicts, &expected, &output);
}

async fn server(revision: &str, only_here: &[&str]) {
    let home = support::home();
    let (_sandbox, url) = open_sandbox(home.path()).await;
    let mut output = suite(&[
        "server",
        "--url",
        &url,
        "--suite",
        "all",
        "--spec-version",
        revision,
    ])
    .await;
    let mut verdicts = verdicts(&output);
    verdicts.retain(|name, _| !SERVER_NOT_APPLICABLE.contains(&name.as_str()));
    let expected = SERVER_ALWAYS.iter().chain(only_here).copied().collect();
    output += "\n--- the sandbox's log\n";
    output += &std::fs::read_to_string(home.path().join(LOG)).expect("the sandbox's log");
    compare(&verdicts, &expected, &output);
}

/// A sandbox of the program whose MCP server asks nobody who he is, and the URL of that server.
async fn open_sandbox(home: &Path) -> (Child, String) {
    let mut child = support::throng(home, ["sandbox", "nextcloud", "--open-mcp", "--json"])
        .args(["--port", "0", "--mcp-port", "0"])
        .stdout(Stdio::piped())
        .stderr(File::create(home.join(LOG)).expect("a file for the log"))
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line())
        .await
        .expect("a sandbox in time")
        .expect("its output")
        .expect("a line that says where it is");
    let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
    let url = ready["mcp_url"].as_str().expect("a URL").to_owned();
    (child, url)
}

/// Runs the suite and gives back what it said.
async fn suite(arguments: &[&str]) -> String {
    let mut command = Command::new(Program::Node.path());
    command.arg(Program::Conformance.path()).args(arguments);
    output(command, LIMIT).await.1
}

/// Runs a program to its end: whether it ended well, and what it said on both its outputs.
async fn output(mut command: Command, limit: Duration) -> (bool, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let _group = Group::of(&child);
    let output = tokio::time::timeout(limit, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{command:?} didn't end within {limit:?}"))
        .expect("what it says");
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), said.concat())
}

/// Whether each scenario passed, from lines like `✓ tools_call: 2 passed, 0 failed` of the summary. A scenario in which
/// nothing was checked has not passed.
fn verdicts(output: &str) -> BTreeMap<String, bool> {
    let summary = output.split("SUMMARY ===").nth(1).unwrap_or_default();
    summary
        .lines()
        .filter_map(|line| {
            let (passed, line) = match line.split_once(' ')? {
                ("✓", line) => (true, line),
                ("✗", line) => (false, line),
                _ => return None,
            };
            let (name, counts) = line.split_once(": ")?;
            Some((name.to_owned(), passed && !counts.starts_with("0 passed")))
        })
        .collect()
}

/// Exactly the expected scenarios ran, and each passed.
#[track_caller]
fn compare(verdicts: &BTreeMap<String, bool>, expected: &BTreeSet<&str>, output: &str) {
    let failed: Vec<_> = verdicts.iter().filter(|(_, passed)| !**passed).collect();
    let ran: BTreeSet<&str> = verdicts.keys().map(String::as_str).collect();
    let missing: Vec<_> = expected.difference(&ran).collect();
    let unknown: Vec<_> = ran.difference(expected).collect();
    assert!(
        failed.is_empty() && missing.is_empty() && unknown.is_empty(),
        "failed: {failed:?}; didn't run: {missing:?}; not written down here: {unknown:?}\n{output}"
    );
}

/// The client under test, an example of `throng-identity`. `cargo test` builds it with all tests of the workspace; where only
/// some are run, it is built here. Asked for in the workspace, it has the same features, so that nothing is built twice.
async fn conformance_client() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo tells this test about its package would look like a changed environment to the build scripts of
    // dependencies, and they and all that depends on them would be built again, here and by whoever calls cargo next.
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| name.to_str().is_some_and(is_of_this_package)) {
        cargo.env_remove(name);
    }
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--workspace",
            "--locked",
            "--example",
            "conformance",
        ])
        .args(["--message-format", "json-render-diagnostics"]);
    let (built, output) = output(cargo, BUILD_LIMIT).await;
    assert!(built, "the client could not be built:\n{output}");
    let path = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "conformance")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.unwrap_or_else(|| panic!("cargo names no executable:\n{output}"))
}

fn is_of_this_package(variable: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_EXE_",
        "CARGO_CRATE_",
    ]
    .iter()
    .any(|prefix| variable.starts_with(prefix))
}
