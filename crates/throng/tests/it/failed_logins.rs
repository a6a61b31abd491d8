//! What a user is told when a login fails, word for word. Here by plain HTTP; by a browser in `third_party`.

// The provider of the identity crate's tests: its oddities are needed here whole, and a copy would go its own way.
#[path = "../../../throng-identity/tests/it/provider.rs"]
#[expect(
    dead_code,
    clippy::disallowed_methods,
    reason = "the other crate's tests need more of it, and keep its task's handle"
)]
pub(crate) mod provider;

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::provider::{Config, PASSWORD, Pages, Provider, USER};
use crate::support::{Ended, NobodyThere, Running, home, throng};

/// What is given for the password where it's not to be right. Long and odd, so that finding it in an output is no accident.
const WRONG: &str = "Wr0ng-sesame-of-4711-xyz";

/// What a login meets with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    WrongPassword,
    AccountLocked,
    ConsentDenied,
    /// Where users are sent, nobody listens.
    ProviderDown,
    /// Not even its metadata can be had.
    ProviderDownFromTheBeginning,
    CertificateNotTrusted,
    /// The response at the redirect URI is from another than was asked.
    WrongIssuer,
    /// The metadata is somebody else's.
    WrongIssuerOfTheMetadata,
    Captcha,
}

impl Trouble {
    pub(crate) const ALL: [Self; 9] = [
        Self::WrongPassword,
        Self::AccountLocked,
        Self::ConsentDenied,
        Self::ProviderDown,
        Self::ProviderDownFromTheBeginning,
        Self::CertificateNotTrusted,
        Self::WrongIssuer,
        Self::WrongIssuerOfTheMetadata,
        Self::Captcha,
    ];

    /// Whether the login has pages before it fails.
    pub(crate) fn is_met_by_browsers(self) -> bool {
        !matches!(
            self,
            Self::ProviderDownFromTheBeginning | Self::WrongIssuerOfTheMetadata
        )
    }

    fn config(self, nobody: &NobodyThere, untrusted: &Untrusted) -> Config {
        let mut config = Config::default();
        match self {
            Self::WrongPassword => {}
            Self::AccountLocked => config.pages = Pages::Locked,
            Self::ConsentDenied => config.pages = Pages::Denied,
            Self::ProviderDown => {
                let url = format!("{}/authorize", nobody.origin());
                config.metadata = json!({ "authorization_endpoint": url });
            }
            Self::ProviderDownFromTheBeginning => {
                config.resource = json!({ "authorization_servers": [nobody.origin()] });
            }
            Self::CertificateNotTrusted => {
                let url = format!("https://127.0.0.1:{}/authorize", untrusted.port);
                config.metadata = json!({ "authorization_endpoint": url });
            }
            Self::WrongIssuer => config.iss = "http://evil.test",
            Self::WrongIssuerOfTheMetadata => {
                config.metadata = json!({ "issuer": "http://evil.test" });
            }
            Self::Captcha => config.pages = Pages::Captcha,
        }
        config
    }

    fn password(self) -> &'static str {
        match self {
            Self::WrongPassword => WRONG,
            _ => PASSWORD,
        }
    }
}

/// A server whose certificate nobody has vouched for.
struct Untrusted {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Untrusted {
    async fn start() -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let issued = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who doesn't believe the certificate goes away; nobody else comes.
                let _ = acceptor.accept(stream).await;
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }
}

/// A provider in trouble, and a user's home with a scenario whose users log in there.
pub(crate) struct Rig {
    trouble: Trouble,
    _provider: Provider,
    _nobody: NobodyThere,
    _untrusted: Untrusted,
    pub(crate) home: TempDir,
}

impl Rig {
    pub(crate) async fn new(trouble: Trouble) -> Self {
        let (nobody, untrusted) = (NobodyThere::new().await, Untrusted::start().await);
        let provider = Provider::start(trouble.config(&nobody, &untrusted)).await;
        let home = home();
        let scenario = format!(
            "name: failing\ntarget: {{ protocol: mcp, url: \"{}\" }}\nlogin: {{ kind: oauth }}\nusers: {{ from: users.csv }}\nworkflows:\n  look:\n    actors: [me]\n    steps:\n      - search: {{ call: nc_notes_search_notes, with: {{ query: x }} }}\n",
            provider.mcp_url()
        );
        std::fs::write(home.path().join("failing.yaml"), scenario).expect("a file");
        let users = format!("name,password\n{USER},{}\n", trouble.password());
        std::fs::write(home.path().join("users.csv"), users).expect("a file");
        Self {
            trouble,
            _provider: provider,
            _nobody: nobody,
            _untrusted: untrusted,
            home,
        }
    }

    /// What `throng COMMAND` says on standard error, with its exit code, for a snapshot. No secret is in any of its outputs.
    pub(crate) async fn said(&self, command: &str, flags: &str) -> String {
        let (name, more) = match command {
            "login" => ("login", vec!["--user", USER]),
            _ => ("run", vec!["-d", "0.2", "-w", "0"]),
        };
        let flags = flags.split_whitespace();
        let arguments = [name, "failing.yaml"].into_iter().chain(more).chain(flags);
        let mut command = throng(self.home.path(), arguments);
        command
            .env("THRONG_USER_PASSWORD", self.trouble.password())
            .env("PATH", std::env::var_os("PATH").expect("a PATH"));
        let ended = Running::start(command, self.home.path()).ended().await;
        for secret in [WRONG, PASSWORD, "s3cr3t"] {
            let said = format!("{ended}");
            assert!(!said.contains(secret), "{secret} is in {said}");
        }
        told(self.trouble, name, &ended)
    }
}

/// Users who fail alike: the message stands once, with those whom it is about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_logins_that_fail_alike_are_told_of_once() {
    let rig = Rig::new(Trouble::WrongPassword).await;
    let mut users = "name,password\n".to_owned();
    for name in ["bob", "carol", "dave", "erin", "frank"] {
        // Writing to a String can't fail.
        let _ = writeln!(users, "{name},{WRONG}");
    }
    std::fs::write(rig.home.path().join("users.csv"), users).expect("a file");
    let output = rig.home.path().join("report.json");
    let arguments = ["run", "failing.yaml", "-d", "0.2", "-w", "0", "--output"];
    let mut command = throng(rig.home.path(), arguments);
    command.arg(&output).args(["--login", "http"]);
    let mut running = Running::start(command, rig.home.path());
    running.report = Some(output);
    let ended = running.ended().await.with_code(3);
    let message = "the credentials were refused";
    assert_eq!(ended.stderr.matches(message).count(), 1, "{ended}");
    assert_eq!(ended.stderr.matches("✗ User").count(), 5, "{ended}");
    assert!(!ended.stdout.contains(message), "{ended}");
    let report = ended.report();
    assert_eq!(report["setup"]["login"]["failures"], 5);
    let reasons = crate::report::reasons(report, "target_failed");
    assert_eq!(reasons.matches(message).count(), 1, "{reasons}");
    let warnings = ended.stderr.lines().filter(|line| line.starts_with("  !"));
    let verdict = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("VERDICT"));
    let told: Vec<_> = warnings.chain(verdict).collect();
    insta::with_settings!({ filters => FILTERS }, {
        insta::assert_snapshot!("many_alike", told.join("\n"));
    });
}

fn told(trouble: Trouble, command: &str, ended: &Ended) -> String {
    let mut text = format!("# {trouble:?}: throng {command} (exit code ");
    // Writing to a String can't fail.
    let _ = match ended.code {
        Some(code) => writeln!(text, "{code})"),
        None => writeln!(text, "none)"),
    };
    let verdict = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("VERDICT"));
    for line in ended.stderr.lines().chain(verdict) {
        // Where tests run as root, and nowhere else.
        if !line.contains("sandbox doesn't work for root") {
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// What is another each time.
pub(crate) const FILTERS: [(&str, &str); 7] = [
    (
        r"throng-report_user_\d{8}T\d{6}Z",
        "throng-report_user_[TIME]",
    ),
    (r"(Lorem ipsum ?)+(Lorem ips…)?", "[PAGE]"),
    (r"\b\d{10}-[0-9a-f]{16}(, seed \d+)?", "[RUN]"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
    (r"/[^ ;]*/\.tmp[A-Za-z0-9]+", "[HOME]"),
    (r"\b\d+(\.\d+)? (ms|s)\b", "[TIME]"),
    (r"throng-[a-z0-9]{8}\b", "throng-[LETTERS]"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_fails_by_plain_http_says_where_and_why_and_what_helps() {
    let mut said = JoinSet::new();
    for (at, trouble) in Trouble::ALL.into_iter().enumerate() {
        said.spawn(async move {
            let rig = Rig::new(trouble).await;
            let login = rig.said("login", "--login http").await;
            let run = rig.said("run", "--login http").await;
            (at, format!("{login}\n{run}"))
        });
    }
    let mut said = said.join_all().await;
    said.sort();
    let said: Vec<String> = said.into_iter().map(|(_, said)| said).collect();
    insta::with_settings!({ filters => FILTERS }, {
        insta::assert_snapshot!("by_http", said.join("\n"));
    });
}
