//! `examples/jupyter.yaml` on a Jupyter Server: one password for all, and Tornado's `_xsrf` cookie.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::process::Command;

use super::cookies::{Example, USERS, all_went_well, count};
use super::programs::Program;
use super::served::{Port, Served};
use crate::support::request;

const PASSWORD: &str = "lab-p4ssword-of-all-Zt";
/// What the server keeps of it: salted and hashed by SHA-256, as `jupyter_server.auth.passwd` does with `algorithm=`.
const HASHED: &str =
    "sha256:3b75d78cbcc2:aa859df3160168a5e041903f8f1bfd4e0924f4948947efd3a86592aae66b55f0";

/// The running server.
struct Jupyter {
    _served: Served,
    port: Port,
}

impl Jupyter {
    async fn start(test: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let files = home.path().join("files");
        std::fs::create_dir(&files).expect("a directory");
        let port = Port::reserve();
        let mut command = Command::new(Program::JupyterServer.path());
        command
            .args(["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"])
            .arg(format!("--ServerApp.port={}", port.number()))
            .arg("--ServerApp.port_retries=0")
            .arg(format!("--ServerApp.root_dir={}", files.display()))
            .arg("--ServerApp.terminals_enabled=False")
            // Its counts of answers are read without a login.
            .arg("--ServerApp.authenticate_prometheus=False")
            .arg(format!(
                "--PasswordIdentityProvider.hashed_password={HASHED}"
            ))
            .current_dir(home.path())
            .env_clear();
        let log = format!("{test}.jupyter-server");
        let (served, _) = Served::start(command, home, "is running at", &log).await;
        Self {
            _served: served,
            port,
        }
    }

    fn example(&self, password: &str) -> Example {
        let url = self.port.origin();
        Example::new(
            "jupyter.yaml",
            &[("JUPYTER_URL", &url), ("JUPYTER_PASSWORD", password)],
        )
    }

    /// Answers that the server itself counted, by handler, method and status.
    async fn answers(&self) -> BTreeMap<String, u64> {
        let (status, body) = request(&self.port.origin(), "GET", "/metrics", "").await;
        assert_eq!(status, 200, "{body}");
        let lines = body.lines();
        let counts =
            lines.filter_map(|line| line.strip_prefix("http_request_duration_seconds_count{"));
        counts
            .map(|line| {
                let (labels, count) = line.split_once("} ").expect("labels and a number");
                let value = |label: &str| {
                    let (_, rest) = labels.split_once(&format!("{label}=\"")).expect("a label");
                    rest.split('"').next().expect("a value")
                };
                let handler = value("handler").rsplit('.').next().expect("a name");
                let key = format!("{handler} {} {}", value("method"), value("status_code"));
                (key, count.parse::<f64>().expect("a number") as u64)
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_users_of_a_jupyter_server_work_with_files() {
    let server = Jupyter::start("files").await;
    let ended = server.example(PASSWORD).run("-d 4").await.with_code(0);
    all_went_well(&ended, USERS, &[]);
    let report = ended.report();
    assert_eq!(report["run"]["login"], "form");
    // Nobody was created, and nobody stays.
    assert_eq!(report["cleanup"]["created"], 0, "{ended}");
    assert_eq!(report["cleanup"]["left"], 0, "{ended}");
    let phases = report["setup"].as_object().expect("phases");
    assert!(!phases.contains_key("provision"), "{phases:?}");

    let answers = server.answers().await;
    let users = USERS as u64;
    assert_eq!(answers["LoginFormHandler POST 302"], users);
    assert_eq!(answers["IdentityHandler GET 200"], users);
    assert_eq!(answers["LogoutHandler GET 200"], users);
    let of = |steps: &[&str]| steps.iter().map(|step| count(report, step)).sum::<u64>();
    for (method, status, steps) in [
        ("PUT", 201, &["text/create", "notebook/directory"][..]),
        ("PUT", 200, &["text/save", "notebook/save"]),
        (
            "GET",
            200,
            &["text/read", "text/read_again", "notebook/read"],
        ),
        ("GET", 404, &["text/old_name"]),
        ("POST", 201, &["notebook/create"]),
        ("PATCH", 200, &["text/rename"]),
        (
            "DELETE",
            204,
            &[
                "text/delete",
                "notebook/delete_notebook",
                "notebook/delete_directory",
            ],
        ),
    ] {
        let counted = answers[&format!("ContentsHandler {method} {status}")];
        assert_eq!(counted, of(steps), "{method} {status}: {ended}");
    }
}

/// Else the test above would prove little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jupyter_server_refuses_a_wrong_password_and_a_request_without_its_token() {
    let server = Jupyter::start("refuses").await;
    let ended = server
        .example("wr0ng-password-Zt")
        .run("-d 1")
        .await
        .with_code(3);
    assert!(
        ended.stderr.contains("the credentials were refused")
            && ended.stderr.contains("Invalid credentials"),
        "{ended}"
    );

    let example = server.example(PASSWORD);
    let forged = example.with("csrf: { cookie: _xsrf,", "csrf: { cookie: other,");
    let ended = forged.run("-d 1 -u 1 --workload text").await.with_code(3);
    let create = &ended.report()["steps"]["text/create"];
    assert!(create["statuses"]["403"].as_u64() > Some(0), "{ended}");
    assert_eq!(create["statuses"]["201"], Value::Null, "{ended}");
}
