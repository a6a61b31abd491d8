//! What passes between the program and its target is read on the wire, and no secret of it is in any output.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use regex::bytes::Regex;
use throng_identity::login::DEFAULT_REDIRECT_URI as REDIRECT_URI;
use throng_sandbox::{ErrorKind, NextcloudConfig, PreregisteredClient};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{ADMIN_PASSWORD, Ended, Running, World};
use crate::trouble::knob;

/// Everything that went through, a stream by itself for each direction of each connection.
pub(crate) type Recorded = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// A proxy in front of a port of the sandbox that writes down what passes.
pub(crate) struct Tap {
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

/// Where the sandbox listens behind its taps: the same ports at another loopback address, which nobody else uses.
pub(crate) const BEHIND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl Tap {
    pub(crate) async fn open(recorded: &Recorded) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let recorded = recorded.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect((BEHIND, port)).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                connections.spawn(relay(near_read, far_write, stream(&recorded)));
                connections.spawn(relay(far_read, near_write, stream(&recorded)));
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn stream(recorded: &Recorded) -> Arc<Mutex<Vec<u8>>> {
    let stream = Arc::default();
    recorded.lock().expect("no panic").push(Arc::clone(&stream));
    stream
}

async fn relay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    record: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        record
            .lock()
            .expect("no panic")
            .extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    // A connection that was closed on one side: the other side learns of it.
    let _ = to.shutdown().await;
}

/// A sandbox behind taps.
pub(crate) async fn tapped(
    change: impl FnOnce(&mut NextcloudConfig),
) -> (World, [Tap; 2], Recorded) {
    tapped_by(Recorded::default(), change).await
}

/// [`tapped`], with what else is recorded.
pub(crate) async fn tapped_by(
    recorded: Recorded,
    change: impl FnOnce(&mut NextcloudConfig),
) -> (World, [Tap; 2], Recorded) {
    let taps = [Tap::open(&recorded).await, Tap::open(&recorded).await];
    let world = World::with(|config| {
        config.listen = IpAddr::V4(BEHIND);
        (config.port, config.mcp_port) = (taps[0].port, taps[1].port);
        config.public_url = Some(taps[0].origin());
        config.mcp_public_url = Some(taps[1].origin());
        change(config);
    })
    .await;
    (world, taps, recorded)
}

/// Kinds of secrets, and where on the wire they are.
const PATTERNS: [(&str, &str); 21] = [
    ("token", r"(?i)\nauthorization: bearer ([^\r\n]+)"),
    ("basic", r"(?i)\nauthorization: basic ([^\r\n]+)"),
    ("cookie", r"(?i)\nset-cookie: [^=\r\n]+=([^;\r\n]+)"),
    ("password", r"(?:\n|&)password=([^&\s]+)"),
    // Canaille's forms are of several parts.
    ("password", r#"name="password"\r\n\r\n([^\r\n]+)"#),
    ("request token", r#"name="csrf_token"\r\n\r\n([^\r\n]+)"#),
    ("request token", r"(?:\n|&)requesttoken=([^&\s]+)"),
    ("request token", r"(?:\n|&)csrfmiddlewaretoken=([^&\s]+)"),
    ("request token", r"(?i)\nrequesttoken: ([^\r\n]+)"),
    ("code", r"[?&\n]code=([^&\s]+)"),
    ("verifier", r"(?:\n|&)code_verifier=([^&\s]+)"),
    ("refresh token", r#""refresh_token": ?"([^"]+)""#),
    ("id token", r#""id_token": ?"([^"]+)""#),
    ("client secret", r#""client_secret": ?"([^"]+)""#),
    ("registration", r#""registration_access_token": ?"([^"]+)""#),
    ("app password", r#""apppassword": ?"([^"]+)""#),
    ("client secret", r"(?:\n|&)client_secret=([^&\s]+)"),
    ("assertion", r"(?:\n|&)(?:client_)?assertion=([^&\s]+)"),
    ("subject token", r"(?:\n|&)subject_token=([^&\s]+)"),
    ("access token", r#""access_token": ?"([^"]+)""#),
    ("revoked token", r"(?:\n|&)token=([^&\s]+)"),
];

/// What is too short, or a word of everyday use, proves nothing where it's found.
const SHORTEST: usize = 16;

/// All secrets that were on the wire, by kind, as they were there and decoded.
pub(crate) fn secrets(recorded: &Recorded) -> BTreeMap<&'static str, Vec<String>> {
    let mut secrets = BTreeMap::<_, Vec<String>>::new();
    let patterns = PATTERNS.map(|(kind, pattern)| (kind, Regex::new(pattern).expect("a pattern")));
    for stream in recorded.lock().expect("no panic").iter() {
        let stream = stream.lock().expect("no panic");
        for (kind, pattern) in &patterns {
            for found in pattern.captures_iter(&stream) {
                let text = String::from_utf8_lossy(&found[1]).into_owned();
                let known = secrets.entry(*kind).or_default();
                if let Some(password) = basic_password(kind, &text) {
                    known.push(password);
                }
                let decoded = percent_decoded(&text);
                known.extend([text, decoded]);
            }
        }
    }
    for known in secrets.values_mut() {
        known.retain(|secret| secret.len() >= SHORTEST && !secret.contains("loadtest_user"));
        known.sort();
        known.dedup();
    }
    secrets
}

fn basic_password(kind: &str, text: &str) -> Option<String> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    let decoded = decoded.ok().filter(|_| kind == "basic")?;
    let decoded = String::from_utf8(decoded).ok()?;
    decoded
        .split_once(':')
        .map(|(_, password)| password.to_owned())
}

fn percent_decoded(text: &str) -> String {
    let pair = url::form_urlencoded::parse(text.as_bytes()).next();
    pair.map_or_else(String::new, |(name, _)| name.into_owned())
}

/// Every output of a run: both streams, the report, and all that it keeps on disk.
fn outputs(home: &Path, ended: &Ended) -> Vec<(String, Vec<u8>)> {
    let mut outputs = vec![
        (
            "standard output".to_owned(),
            ended.stdout.clone().into_bytes(),
        ),
        (
            "standard error".to_owned(),
            ended.stderr.clone().into_bytes(),
        ),
    ];
    files(home, &mut outputs);
    outputs
}

fn files(directory: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((
                path.display().to_string(),
                std::fs::read(&path).expect("a file"),
            ));
        }
    }
}

/// Asserts that no output holds a secret, whole or the beginning of a long one.
#[track_caller]
pub(crate) fn keeps_its_secrets(home: &Path, ended: &Ended, secrets: &BTreeMap<&str, Vec<String>>) {
    let contains = |output: &[u8], secret: &str| {
        output
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    };
    // Whatever begins like a JWT is one.
    let jwt = Regex::new("eyJ[A-Za-z0-9_-]{12,}").expect("a pattern");
    for (name, output) in outputs(home, ended) {
        for (kind, secrets) in secrets {
            for secret in secrets {
                // The beginnings of JWTs are all alike, and looked for below.
                let is_jwt = secret.starts_with("eyJ");
                let beginning = if is_jwt { secret } else { &secret[..SHORTEST] };
                assert!(
                    !contains(&output, beginning),
                    "a {kind} is in the {name}: {secret}\n{}",
                    String::from_utf8_lossy(&output)
                );
            }
        }
        assert!(
            !contains(&output, &ADMIN_PASSWORD[..SHORTEST]),
            "the administrator's password is in the {name}"
        );
        if let Some(found) = jwt.find(&output) {
            panic!(
                "a JWT is in the {name}: {}",
                String::from_utf8_lossy(found.as_bytes())
            );
        }
    }
}

/// What each run of so many users, whose tokens were renewed, must have sent or received for this to show anything.
#[track_caller]
pub(crate) fn is_rich(secrets: &BTreeMap<&str, Vec<String>>, users: usize) {
    has(
        secrets,
        &[
            ("token", 2 * users),
            ("basic", users + 1),
            ("cookie", 2 * users),
            ("password", users),
            ("request token", users),
            ("code", users),
            ("verifier", users),
            ("refresh token", users),
            ("id token", users),
            ("app password", users),
        ],
    );
}

/// So many of each kind, at least.
#[track_caller]
pub(crate) fn has(secrets: &BTreeMap<&str, Vec<String>>, wanted: &[(&str, usize)]) {
    for (kind, least) in wanted.iter().copied() {
        let found = secrets.get(kind).map_or(0, Vec::len);
        assert!(
            found >= least,
            "only {found} of kind {kind} were on the wire"
        );
    }
}

#[tokio::test]
async fn a_run_keeps_its_secrets() {
    // Tokens that expire on the way, so that renewing them is told of, too.
    let (world, _taps, recorded) = tapped(|config| config.knobs.token_lifetime_s = 2).await;
    let ended = world.ran("-u 3 -d 3 -w 0 -vv --no-cleanup", 0).await;
    let seen = secrets(&recorded);
    is_rich(&seen, 3);
    assert!(seen.contains_key("registration"));
    keeps_its_secrets(world.home.path(), &ended, &seen);
    let cleaned = world.cleanup("-vv").await.with_code(0);
    keeps_its_secrets(world.home.path(), &cleaned, &secrets(&recorded));
}

/// With all the log there is, and a client that has a secret.
#[tokio::test]
async fn not_even_the_trace_gives_a_secret_away() {
    const CLIENT_SECRET: &str = "Jq3-client-keeps-this-to-itself-R7w";
    let (world, _taps, recorded) = tapped(|config| {
        config.knobs.token_lifetime_s = 2;
        config.clients.push(PreregisteredClient {
            id: "the-client".to_owned(),
            secret: Some(CLIENT_SECRET.into()),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            jwt_access_tokens: true,
        });
    })
    .await;
    let report = world.path("report.json");
    let mut command = world.command(["run", "nextcloud", "-u", "3", "-d", "3", "-w", "0", "-vvv"]);
    command
        .args([
            "--url",
            world.sandbox.mcp_url(),
            "--client-id",
            "the-client",
        ])
        .arg("--output")
        .arg(report)
        .env("THRONG_CLIENT_SECRET", CLIENT_SECRET);
    let started = Running::start(command, world.home.path());
    let ended = started.ended().await.with_code(0);
    for told in ["logged in", "renewed its token", "answered"] {
        assert!(ended.stderr.contains(told), "nobody {told}: {ended}");
    }
    let mut seen = secrets(&recorded);
    is_rich(&seen, 3);
    seen.insert("client secret", vec![CLIENT_SECRET.to_owned()]);
    keeps_its_secrets(world.home.path(), &ended, &seen);
}

/// What fails is told in detail, and without the secrets in it.
#[tokio::test]
async fn failures_keep_their_secrets() {
    for (pattern, error) in [
        ("POST /apps/oidc/token", ErrorKind::Http(500)),
        ("POST /login", ErrorKind::Http(503)),
        ("GET /apps/oidc/authorize", ErrorKind::Http(500)),
        ("POST /apps/oidc/consent/grant", ErrorKind::Reset),
        ("* /ocs/v2.php/core/getapppassword", ErrorKind::Http(403)),
        ("POST /mcp", ErrorKind::Http(401)),
    ] {
        let (world, _taps, recorded) = tapped(|config| {
            config.knobs = knob(pattern, |knob| {
                knob.error_rate = Some(1.0);
                knob.error = error;
            });
        })
        .await;
        let ended = world.ran("-u 2 -d 1 -w 0 -vv", 3).await;
        let secrets = secrets(&recorded);
        assert!(!secrets.is_empty(), "{pattern}");
        keeps_its_secrets(world.home.path(), &ended, &secrets);
        assert_eq!(world.users().await, [""; 0], "{pattern}: {ended}");
    }
}

/// Logins without a page: what a client proves itself by, and what is exchanged.
#[tokio::test]
async fn logins_of_other_kinds_keep_their_secrets() {
    const CLIENT_SECRET: &str = "Kz4-client-secret-of-nobody-Qw8";
    for (login, wanted) in [
        (
            "kind: client_credentials",
            [("basic", 2), ("access token", 2)],
        ),
        (
            "kind: token_exchange",
            [("subject token", 2), ("access token", 2)],
        ),
        (
            "kind: token_exchange\n  via: id_jag",
            [("assertion", 2), ("subject token", 2)],
        ),
    ] {
        let (world, _taps, recorded) = tapped(|config| config.knobs.token_lifetime_s = 3).await;
        crate::kinds::nextcloud(&world, login);
        let ended = world
            .run_scenario("kinds.yaml", "-u 2 -d 0.5 -w 0 -vvv")
            .ended()
            .await;
        let ended = ended.with_code(0);
        let seen = secrets(&recorded);
        has(&seen, &wanted);
        keeps_its_secrets(world.home.path(), &ended, &seen);
    }

    // Tokens that are there already, one good, one that nobody issued.
    let (world, _taps, recorded) = tapped(|_| {}).await;
    world.create_user("ann").await;
    let good = crate::kinds::token_of(&world, "ann").await;
    let file = "name: kinds\ntarget: { protocol: mcp, url: \"http://localhost/mcp\" }\nlogin: { kind: bearer, token: \"${TOKEN}\" }\nworkflows:\n  look: { actors: [a], steps: [ { read: { as: a, resource: \"nc://capabilities\" } } ] }\n";
    std::fs::write(world.path("kinds.yaml"), file).expect("a file");
    for (token, code) in [(&*good, 0), (CLIENT_SECRET, 3)] {
        let started = world.run_command("kinds.yaml", "-u 1 -d 0.5 -w 0 -vvv", |command| {
            command.env("TOKEN", token);
        });
        let ended = started.ended().await.with_code(code);
        let seen = secrets(&recorded);
        has(&seen, &[("token", 1)]);
        keeps_its_secrets(world.home.path(), &ended, &seen);
    }
}

/// Runs about tokens, in which each kind of them is used, revoked and refused.
#[tokio::test]
async fn runs_about_tokens_keep_their_secrets() {
    let runs = [
        ("token_expiry", "--workload over -d 1"),
        ("token_expiry", "--workload refused -d 1"),
        ("refresh_storm", "-d 1"),
        ("revocation_lag", "-d 1"),
        ("session_over_refresh", "-d 1"),
    ];
    let runs = runs.map(async |(scenario, flags)| {
        let (world, _taps, recorded) = tapped(|config| config.knobs.token_lifetime_s = 2).await;
        let ended = world.run_scenario(scenario, &format!("-u 2 -w 0 -vvv {flags}"));
        let ended = ended.ended().await;
        let seen = secrets(&recorded);
        has(&seen, &[("token", 2), ("refresh token", 2), ("code", 2)]);
        let operations = ended.report()["summary"]["total_operations"].as_u64();
        assert!(operations > Some(0), "{scenario}: {ended}");
        keeps_its_secrets(world.home.path(), &ended, &seen);
    });
    futures_util::future::join_all(runs).await;
}
