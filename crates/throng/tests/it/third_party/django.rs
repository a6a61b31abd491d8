//! `examples/django.yaml` on a Django application with its own sign-up, login, sessions and CSRF protection.

use serde_json::Value;
use tokio::process::Command;

use super::cookies::{Example, USERS, all_went_well};
use super::programs::Program;
use super::served::Served;
use crate::docs::root;
use crate::secrets::{BEHIND, Tap};
use crate::support::request;

/// What guards the endpoints that only a test deployment has.
pub(super) const ADMIN_TOKEN: &str = "k9-notes-admin-token-Wq";

/// The running site.
pub(super) struct Notes {
    _served: Served,
    pub(super) url: String,
}

impl Notes {
    async fn start(test: &str) -> Self {
        Self::started(test, false, None).await
    }

    /// The site behind a tap, by whose address it is known.
    pub(super) async fn behind(tap: &Tap, test: &str) -> Self {
        let listen = format!("{BEHIND}:{}", tap.port);
        let site = Self::started(test, false, Some(listen)).await;
        Self {
            url: tap.origin(),
            ..site
        }
    }

    async fn started(test: &str, https: bool, listen: Option<String>) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let site = root().join("crates/throng/tests/it/third_party/django");
        let mut command = Command::new(Program::Django.path());
        command
            .arg("serve.py")
            .current_dir(site)
            .env_clear()
            .env(
                "NOTES_SECRET_KEY",
                "of-no-use-elsewhere-0123456789-0123456789-0123456789",
            )
            .env("NOTES_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("NOTES_DATABASE", home.path().join("notes.sqlite"));
        if let Some(listen) = listen {
            command.env("NOTES_LISTEN", listen);
        }
        if https {
            let file = home.path().join("certificate.pem");
            std::fs::write(&file, certificate()).expect("a file");
            command.arg(file).env("NOTES_HTTPS", "1");
        }
        const READY: &str = "listening on ";
        let log = format!("{test}.django");
        let (served, line) = Served::start(command, home, READY, &log).await;
        let (_, url) = line.split_once(READY).expect("the address");
        Self {
            _served: served,
            url: url.trim().to_owned(),
        }
    }

    pub(super) fn example(&self) -> Example {
        let environment = [
            ("NOTES_URL", &*self.url),
            ("NOTES_ADMIN_TOKEN", ADMIN_TOKEN),
            ("KEPT_PASSWORD", "n0tes-of-all-tests-Xy"),
        ];
        Example::new("django.yaml", &environment)
    }

    /// Rows of the database, and answers by step and status.
    pub(super) async fn seen(&self) -> Value {
        let (status, body) = request(&self.url, "GET", "/testing/seen/", "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

/// What a report counted, as the site counts it.
pub(super) fn measured(report: &Value) -> Value {
    let mut measured = serde_json::Map::new();
    for (name, step) in report["steps"].as_object().expect("steps") {
        let statuses = step["statuses"].as_object().expect("statuses");
        let of_step = statuses.iter();
        measured.extend(of_step.map(|(status, n)| (format!("{name} {status}"), n.clone())));
    }
    Value::Object(measured)
}

/// A key and a certificate of its own for this machine.
fn certificate() -> String {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_users_of_a_django_application_keep_notes() {
    let site = Notes::start("keep_notes").await;
    let ended = site.example().run("-d 4").await.with_code(0);
    all_went_well(&ended, USERS, &["privacy/pry", "privacy/tamper"]);
    let report = ended.report();
    assert_eq!(report["run"]["login"], "form");
    assert_eq!(report["cleanup"]["created"], USERS, "{ended}");
    assert_eq!(report["cleanup"]["deleted"], USERS, "{ended}");

    let seen = site.seen().await;
    assert_eq!(seen["users"], 0, "users are left: {ended}");
    assert_eq!(seen["notes"], 0, "notes are left: {ended}");
    assert_eq!(seen["answers"], measured(report), "{ended}");
}

/// Else the test above would prove little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_django_application_refuses_who_is_not_as_a_browser() {
    let site = Notes::start("refuses").await;
    let example = site.example();
    let forged = example.with("csrf: { cookie: csrftoken,", "csrf: { cookie: other,");
    let ended = forged.run("-d 1 -u 1 --workload keep").await.with_code(3);
    let report = ended.report();
    assert_eq!(
        report["steps"]["keep/create"]["statuses"]["201"],
        Value::Null
    );
    assert!(
        report["steps"]["keep/create"]["statuses"]["403"].as_u64() > Some(0),
        "{ended}"
    );
    assert!(ended.stdout.contains("CSRF verification failed"), "{ended}");
    // Without its token the logout is refused, too; that is told, and no more.
    assert!(
        ended.stderr.contains("1 sessions were not ended properly")
            && ended
                .stderr
                .contains("/accounts/logout/: expected 302, got 403"),
        "{ended}"
    );

    let example = site.example().with("page: /accounts/login/", "page: /");
    let ended = example.run("-d 1 -u 2").await.with_code(3);
    assert!(
        ended
            .stderr
            .contains("expected a login form on the page \"Notes\""),
        "{ended}"
    );
    // Who was created for it is gone.
    assert_eq!(site.seen().await["users"], 0, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_django_application_stay_and_are_used_again() {
    let site = Notes::start("stay").await;
    let deletes = "  delete:\n    delete: \"/testing/users/{user.name}/\"\n    \
         headers: { Authorization: \"Bearer ${NOTES_ADMIN_TOKEN}\" }\n    expect: 204\n";
    let users = "users: { count: 10, prefix: notes }";
    let known = "users: { count: 10, prefix: kept, password: \"${KEPT_PASSWORD}\" }";
    let example = site.example().with(deletes, "").with(users, known);
    let ended = example.run("-d 1").await.with_code(0);
    assert_eq!(ended.report()["cleanup"]["created"], USERS, "{ended}");
    let staying = ended.report()["cleanup"]["staying"].as_array();
    assert_eq!(staying.map(Vec::len), Some(USERS), "{ended}");
    assert_eq!(site.seen().await["users"], USERS);

    let ended = example.run("-d 1").await.with_code(0);
    assert_eq!(ended.report()["cleanup"]["created"], 0, "{ended}");
    assert!(
        ended
            .stderr
            .contains("10 users were there already and stay"),
        "{ended}"
    );
    assert_eq!(site.seen().await["users"], USERS);
}

/// What a property finds is shown by a script that fills in Django's login form, and sends its token with each change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_logs_in_at_a_django_application_by_its_form() {
    const PASSWORD: &str = "n0tes-of-all-tests-Xy";
    let site = Notes::start("script").await;
    let deletes = "  delete:\n    delete: \"/testing/users/{user.name}/\"\n    \
         headers: { Authorization: \"Bearer ${NOTES_ADMIN_TOKEN}\" }\n    expect: 204\n";
    let users = "users: { count: 10, prefix: notes }";
    let known = "users: { count: 10, prefix: kept, password: \"${KEPT_PASSWORD}\" }\n\
        properties:\n  nobody_keeps_notes:\n    given: { text: { type: string, pattern: \"^[a-z]{1,9}$\" } }\n    \
        actors: [writer, reader]\n    steps:\n      \
        - write: { as: writer, post: /api/notes/, json: { title: \"{uid}\", text: \"{text}\" }, expect: 201, save: { note: $.id } }\n      \
        - other: { as: reader, get: \"/api/notes/{note}/\", expect: 404 }\n      \
        - own: { as: writer, get: \"/api/notes/{note}/\", expect: 404 }\n";
    let example = site.example().with(deletes, "").with(users, known);
    let ended = example.property("--cases 3").await.with_code(97);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let failure = &report["properties"][0]["counterexamples"][0]["failure"];
    let file = failure["file"].as_str().expect("a script");
    let script = std::fs::read_to_string(example.home().join(file)).expect("a script");
    for text in [&script, &ended.stdout, &ended.stderr] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    let said = |password: &'static str| {
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .env("THRONG_PASSWORD", password);
        async move { command.output().await.expect("bash") }
    };
    let shown = said(PASSWORD).await;
    let (shown, errors) = (
        String::from_utf8_lossy(&shown.stdout).into_owned(),
        String::from_utf8_lossy(&shown.stderr).into_owned(),
    );
    let statuses = "write: HTTP 201 (expected 201)\nother: HTTP 404 (expected 404)\n\
        own: HTTP 200 (expected 404)\n{";
    assert!(shown.starts_with(statuses), "{shown}{errors}{script}");
    let refused = said("not-the-password").await;
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && errors.contains("cannot log in as kept_user_"),
        "{errors}"
    );
}

/// Over https Django believes no request that doesn't say where it comes from, and its cookies are `Secure`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_django_application_say_over_https_where_they_come_from() {
    let site = Notes::started("https", true, None).await;
    assert!(site.url.starts_with("https://"), "{}", site.url);
    let ended = site.example().run("-d 2 --insecure").await.with_code(0);
    all_went_well(&ended, USERS, &["privacy/pry", "privacy/tamper"]);
    assert_eq!(ended.report()["cleanup"]["deleted"], USERS, "{ended}");

    let astray = site.example().with(
        "  # The names are those",
        "  headers: { Origin: \"https://elsewhere.example\" }\n  # The names are those",
    );
    let ended = astray
        .run("-d 1 -u 1 --workload keep --insecure")
        .await
        .with_code(3);
    assert!(ended.stdout.contains("CSRF verification failed"), "{ended}");
}
