//! Runs and logins at providers that are not ours keep their secrets, which have other names and places there.

use throng_sandbox::{IssuerConfig, McpAuth, Secret};

use super::browser_runs::{Browser, left};
use super::outside::write_csv;
use super::providers::{CLIENT, CLIENT_SECRET, Provider, RESOURCE, RESOURCE_SECRET, users};
use crate::docs::root;
use crate::secrets::{Recorded, Tap, has, keeps_its_secrets, secrets, tapped_by};
use crate::support::{Running, World};

const CLIENT_LINE: &str =
    "  client: { id: \"${OAUTH_CLIENT_ID}\", secret: \"${OAUTH_CLIENT_SECRET}\" }\n";

/// The example for identity providers, where no output is looked for: it names files with secrets.
fn example(with_client: bool, users: &[(String, String)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = std::fs::read_to_string(root().join("examples/identity-provider.yaml"));
    let mut text = text.expect("the example");
    assert!(text.contains(CLIENT_LINE));
    if !with_client {
        text = text.replace(CLIENT_LINE, "");
    }
    std::fs::write(directory.path().join("example.yaml"), text).expect("a file");
    write_csv(users, &directory.path().join("users.csv"));
    directory
}

fn start(
    world: &World,
    directory: &tempfile::TempDir,
    command: &str,
    password: &str,
    more: &str,
) -> Running {
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (scenario, report) = (file("example.yaml"), world.path("report.json"));
    let mut arguments = vec![command.to_owned(), scenario];
    if command == "run" {
        arguments.extend(["--users-from".to_owned(), file("users.csv")]);
        arguments.extend(["--output".to_owned(), report.display().to_string()]);
    }
    arguments.extend(more.split_whitespace().map(str::to_owned));
    let mut command = world.command(arguments);
    command
        .env("MCP_URL", world.sandbox.mcp_url())
        .env("OAUTH_CLIENT_ID", CLIENT)
        .env("OAUTH_CLIENT_SECRET", CLIENT_SECRET)
        .env("THRONG_USER_PASSWORD", password)
        .env("PATH", std::env::var_os("PATH").expect("a PATH"));
    Running::start(command, world.home.path())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_oidc_provider_keep_their_secrets() {
    let users = users(2);
    let recorded = Recorded::default();
    let tap = Tap::open(&recorded).await;
    let provider = Provider::oidc_provider_behind(Some(tap.port), 3, "secrets").await;
    assert_eq!(provider.issuer, tap.origin());
    let (world, _taps, recorded) = tapped_by(recorded, |config| {
        config.mcp.auth = McpAuth::Outside(IssuerConfig::new(&*provider.issuer));
    })
    .await;
    let files = example(false, &users);
    let ended = start(&world, &files, "run", "", "-d 4 -w 0 -vvv")
        .ended()
        .await;
    let ended = ended.with_code(0);
    let seen = secrets(&recorded);
    let wanted = [
        ("token", 4),
        ("cookie", 4),
        ("password", 2),
        ("code", 2),
        ("verifier", 2),
        ("refresh token", 4),
        ("id token", 2),
        ("registration", 1),
    ];
    has(&seen, &wanted);
    keeps_its_secrets(world.home.path(), &ended, &seen);

    let browser = Browser::new("chromium").await;
    let flags = format!("-d 0.5 -w 0 -vvv {}", browser.flags());
    let ended = start(&world, &files, "run", "", &flags).ended().await;
    let seen = secrets(&recorded);
    has(&seen, &[("code", 4), ("verifier", 4)]);
    keeps_its_secrets(world.home.path(), &ended.with_code(0), &seen);
    assert_eq!(left(world.home.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_canaille_keep_their_secrets() {
    let users = users(2);
    let recorded = Recorded::default();
    let tap = Tap::open(&recorded).await;
    let provider = Provider::canaille_behind(Some(tap.port), &users, &[], "secrets").await;
    assert_eq!(provider.issuer, tap.origin());
    let (world, _taps, recorded) = tapped_by(recorded, |config| {
        config.mcp.auth = McpAuth::Outside(IssuerConfig {
            audience: Some(RESOURCE.to_owned()),
            introspection: Some((RESOURCE.to_owned(), Secret::new(RESOURCE_SECRET))),
            ..IssuerConfig::new(&*provider.issuer)
        });
    })
    .await;
    let files = example(true, &users);
    let ended = start(&world, &files, "run", "", "-d 1 -w 0 -vvv")
        .ended()
        .await;
    let ended = ended.with_code(0);
    let seen = secrets(&recorded);
    let wanted = [
        ("token", 2),
        ("basic", 2),
        ("cookie", 2),
        ("password", 2),
        ("code", 2),
        ("verifier", 2),
        ("id token", 2),
    ];
    has(&seen, &wanted);
    keeps_its_secrets(world.home.path(), &ended, &seen);

    // As a client that registers itself, whose redirect URI may be any.
    let browser = Browser::new("chromium").await;
    let files = example(false, &users);
    let (name, password) = &users[0];
    for (password, code) in [(&**password, 0), ("Wr0ng-sesame-of-4711-xyz", 3)] {
        let flags = format!("--user {name} -vvv {}", browser.flags());
        let ended = start(&world, &files, "login", password, &flags);
        let ended = ended.ended().await;
        let seen = secrets(&recorded);
        keeps_its_secrets(world.home.path(), &ended.with_code(code), &seen);
    }
    has(&secrets(&recorded), &[("code", 3), ("password", 3)]);
    assert_eq!(left(world.home.path()), [""; 0]);
}
