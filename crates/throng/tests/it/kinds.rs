//! Logins without a page of the target's: client credentials, token exchange, identity assertions, tokens that are there already.
//! Each as a whole run, with sessions and a report, and renewed by its own means.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_sandbox::{NextcloudConfig, PreregisteredClient, Secret};

use crate::report::count;
use crate::support::{Ended, World};

const CLIENT: &str = "load-generator";
/// Long and odd, so that finding it in an output is no accident.
const CLIENT_SECRET: &str = "Kz4-client-secret-of-nobody-Qw8";
/// That of `World::create_user`.
const PASSWORD: &str = "not-one-of-ours-8Kd";

/// What the users of most runs here do.
const WORK: &str = r#"
load: { pause: 20ms }
workload: look
workloads: { look: { look: 1 } }
workflows:
  look:
    actors: [a]
    steps:
      - create: { as: a, call: nc_notes_create_note, with: { title: "N {uid}", content: c, category: k }, save: { note: $.id } }
      - read: { as: a, call: nc_notes_get_note, with: { note_id: "{note}" } }
"#;

fn with_client(config: &mut NextcloudConfig) {
    config.clients.push(PreregisteredClient {
        id: CLIENT.to_owned(),
        secret: Some(Secret::new(CLIENT_SECRET)),
        redirect_uris: vec![throng_identity::login::DEFAULT_REDIRECT_URI.to_owned()],
        jwt_access_tokens: true,
    });
}

/// A scenario of this directory, whose users do [`WORK`].
fn scenario(world: &World, before_work: &str) {
    let text = format!(
        "name: kinds\ntarget: {{ protocol: mcp, url: \"http://localhost/mcp\" }}\n{before_work}{WORK}"
    );
    std::fs::write(world.path("kinds.yaml"), text).expect("a file");
}

/// The shipped scenario with another kind of login.
pub(crate) fn nextcloud(world: &World, login: &str) {
    let shipped = include_str!("../../../../scenarios/nextcloud.yaml");
    let kind = "kind: oauth # found out from the target's 401";
    assert!(shipped.contains(kind));
    std::fs::write(world.path("kinds.yaml"), shipped.replace(kind, login)).expect("a file");
}

/// Requests to the provider that brought tokens.
fn token_requests(world: &World) -> u64 {
    let counts = world.sandbox.journal().counts().counts;
    let tokens = counts
        .iter()
        .filter(|count| &*count.route == "/apps/oidc/token" && count.status == 200);
    tokens.map(|count| count.count).sum()
}

fn shows_nothing(ended: &Ended) {
    let report = ended.report().to_string();
    // Of what looks like a token the first letters may show, and no more.
    let token = regex::Regex::new("eyJ[A-Za-z0-9_-]{8}").expect("a pattern");
    for text in [&ended.stdout, &ended.stderr, &report] {
        for secret in [CLIENT_SECRET, PASSWORD] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        assert!(!token.is_match(text), "a token is in {text}");
    }
}

/// A form sent to the token endpoint, or JSON to the registration, by somebody else than what is tested.
async fn post(world: &World, path: &str, content_type: &str, body: String) -> Value {
    let client = Client::new(&Connector::new(ConnectorOptions::default()).expect("a connector"));
    let request = http::Request::post(format!("{}{path}", world.sandbox.url()))
        .header("content-type", content_type)
        .body(body.into())
        .expect("a request");
    let answer = client.send(request, Duration::from_secs(30)).await;
    let answer = answer.expect("an answer");
    assert!(answer.status.is_success(), "{answer:?}");
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// A token for the MCP server that a user gets as a client of its own.
pub(crate) async fn token_of(world: &World, user: &str) -> String {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", user)
        .append_pair("client_secret", PASSWORD)
        .append_pair("resource", world.sandbox.mcp_url())
        .append_pair("scope", "notes.read notes.write")
        .finish();
    let form_type = "application/x-www-form-urlencoded";
    let answer = post(world, "/apps/oidc/token", form_type, form).await;
    answer["access_token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_is_all_users_and_asks_again_when_its_token_is_over() {
    let world = World::with(|config| {
        with_client(config);
        config.knobs.token_lifetime_s = 2;
    })
    .await;
    scenario(
        &world,
        "login: { kind: client_credentials, client: { id: load-generator, secret: \"${CLIENT_SECRET}\" } }\n",
    );
    let mut command = world.command(arguments(&world, "-u 3 -d 4 -w 0 -vvv"));
    command.env("CLIENT_SECRET", CLIENT_SECRET);
    let ended = run(&world, command).await.with_code(0);
    shows_nothing(&ended);
    let report = ended.report();
    assert!(count(report, "/summary/total_operations") > 0, "{ended}");
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
    assert!(ended.stderr.contains("all users are one client"), "{ended}");
    assert!(ended.stderr.contains("Tokens come from"), "{ended}");
    // Each user has a token of its own and gets another when that is over; there is no refresh token, and no password.
    assert!(token_requests(&world) > 3, "{ended}");
    assert_eq!(
        world.users().await,
        [format!("service-account-{CLIENT}")],
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_proves_itself_by_a_key() {
    let world = World::new().await;
    let key = rcgen::KeyPair::generate().expect("a key");
    let point = key.public_key_raw();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let registration = json!({
        "client_name": "with a key",
        "redirect_uris": ["http://127.0.0.1/none"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "k1", "x": part(&point[1..33]), "y": part(&point[33..]) },
        ] },
    });
    let json_type = "application/json";
    let registered = post(
        &world,
        "/apps/oidc/register",
        json_type,
        registration.to_string(),
    )
    .await;
    let id = registered["client_id"].as_str().expect("an id");
    std::fs::write(world.path("key.pem"), key.serialize_pem()).expect("a file");
    let login = |name: &str| {
        format!(
            "login: {{ kind: client_credentials, client: {{ id: {id}, key: {name}, key_id: k1 }} }}\n"
        )
    };
    scenario(&world, &login("key.pem"));
    let command = world.command(arguments(&world, "-u 1 -d 1 -w 0"));
    let ended = run(&world, command).await.with_code(0);
    shows_nothing(&ended);
    assert!(
        count(ended.report(), "/summary/total_operations") > 0,
        "{ended}"
    );

    // Somebody else's key.
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(world.path("other.pem"), other).expect("a file");
    scenario(&world, &login("other.pem"));
    let command = world.command(arguments(&world, "-u 1 -d 1 -w 0"));
    let ended = run(&world, command).await.with_code(3);
    assert!(ended.stderr.contains("401"), "{ended}");
    assert!(ended.stderr.contains("invalid_client"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_is_a_client_of_its_own() {
    let world = World::new().await;
    nextcloud(&world, "kind: client_credentials");
    whole_run(&world, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_exchanged_for_a_token() {
    let world = World::with(|config| config.knobs.token_lifetime_s = 3).await;
    nextcloud(&world, "kind: token_exchange");
    // Each user a code, and an exchange, and another when that token is over.
    whole_run(&world, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enterprise_says_who_its_users_are() {
    let world = World::new().await;
    nextcloud(&world, "kind: token_exchange\n  via: id_jag");
    // Each user a code, an identity assertion, and what that brings.
    whole_run(&world, 6).await;
}

/// Runs the shipped workflows with two users and looks at what it takes to get so many tokens, at least.
async fn whole_run(world: &World, tokens: u64) {
    whole_run_with(world, "", tokens).await;
}

/// [`whole_run`] with further flags.
pub(crate) async fn whole_run_with(world: &World, flags: &str, tokens: u64) {
    let flags = format!("-u 2 -d 3 -w 0 -vvv --workload note_share{flags}");
    let mut command = world.command(arguments(world, &flags));
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    let ended = run(world, command).await.with_code(0);
    shows_nothing(&ended);
    let report = ended.report();
    assert!(
        count(report, "/steps/note_share~1read_shared_note/count") > 0,
        "{ended}"
    );
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
    assert!(token_requests(world) >= tokens, "{ended}");
    assert!(world.users().await.is_empty(), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_without_a_page_takes_no_browser() {
    let world = World::new().await;
    for login in [
        "client_credentials",
        "token_exchange\n  subject: { value: given }",
    ] {
        nextcloud(&world, &format!("kind: {login}"));
        let command = world.command(arguments(&world, "-u 2 --browser chromium"));
        let ended = run(&world, command).await.with_code(2);
        let kind = login.split('\n').next().expect("a kind");
        let wanted = format!("this login, of kind `{kind}`, has none");
        assert!(ended.stderr.contains(&wanted), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_there_are_used_as_they_are() {
    let world = World::new().await;
    let mut csv = "name,token\n".to_owned();
    let mut one = String::new();
    for name in ["ann", "ben"] {
        world.create_user(name).await;
        one = token_of(&world, name).await;
        csv += &format!("{name},{one}\n");
    }
    std::fs::write(world.path("users.csv"), &csv).expect("a file");
    // Without an app password the sandbox's tools do nothing: that the users are known is what shows here.
    let resource = "load: { pause: 20ms }\nworkload: look\nworkloads: { look: { look: 1 } }\nworkflows:\n  look: { actors: [a], steps: [ { read: { as: a, resource: \"nc://capabilities\" } } ] }\n";
    let file = |login: &str| {
        let text = format!(
            "name: kinds\ntarget: {{ protocol: mcp, url: \"http://localhost/mcp\" }}\n{login}{resource}"
        );
        std::fs::write(world.path("kinds.yaml"), text).expect("a file");
    };
    file("login: { kind: bearer }\nusers: { from: users.csv }\n");
    let command = world.command(arguments(&world, "-d 1 -w 0 -vvv"));
    let ended = run(&world, command).await.with_code(0);
    shows_nothing(&ended);
    assert!(!ended.stderr.contains("one token"), "{ended}");
    let journal = world.sandbox.journal().counts().counts;
    let called = |user: &str| {
        let by = |count: &&throng_sandbox::Count| {
            count.user.as_deref() == Some(user) && &*count.route == "/mcp"
        };
        journal
            .iter()
            .filter(by)
            .map(|count| count.count)
            .sum::<u64>()
    };
    assert!(called("ann") > 0 && called("ben") > 0, "{journal:?}");

    file("login: { kind: bearer, token: \"${TOKEN}\" }\n");
    let mut command = world.command(arguments(&world, "-u 2 -d 1 -w 0"));
    command.env("TOKEN", &one);
    let ended = run(&world, command).await.with_code(0);
    shows_nothing(&ended);
    assert!(ended.stderr.contains("all users have one token"), "{ended}");

    // A token that nobody issued, and that nobody can renew.
    let mut command = world.command(arguments(&world, "-u 1 -d 1 -w 0"));
    command.env("TOKEN", format!("{CLIENT_SECRET}-as-a-token"));
    let ended = run(&world, command).await.with_code(3);
    assert!(!ended.stderr.contains(CLIENT_SECRET), "{ended}");
    assert!(ended.stderr.contains("401"), "{ended}");
}

fn arguments(world: &World, more: &str) -> Vec<String> {
    let report = world.path("report.json");
    let _ = std::fs::remove_file(&report);
    let line = format!(
        "run kinds.yaml --url {} --output {} {more}",
        world.sandbox.mcp_url(),
        report.display()
    );
    line.split(' ').map(str::to_owned).collect()
}

async fn run(world: &World, command: tokio::process::Command) -> Ended {
    let mut running = crate::support::Running::start(command, world.home.path());
    running.report = Some(world.path("report.json"));
    running.ended().await
}
