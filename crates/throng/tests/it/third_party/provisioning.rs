//! Users made by SCIM at servers that nobody here wrote: `scim2-server`, which has filters, and Canaille, which has none and at which
//! these users can log in.

use rustix::process::Signal;
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::Secret;
use throng_identity::directory::scim::{Scim, ScimLogin};
use throng_identity::directory::{Creation, Deletion, Directory, DirectoryError, NewUser};
use tokio::process::Command;
use url::Url;

use super::programs::Program;
use super::providers::{Provider, RESOURCE, RESOURCE_SECRET};
use super::served::{Port, Served};
use crate::report::count;
use crate::support::{Running, home, throng};

const TOKEN: &str = "t0ken-of-a-provisioner-Wq4";

fn user(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        display_name: format!("The {name}"),
        email: format!("{name}@provider.example"),
        password: Secret::new("Corr3ct-horse!"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scim2_server_makes_finds_and_deletes_users() {
    let (port, home) = (Port::reserve(), home());
    let mut command = Command::new(Program::Scim2Server.path());
    command
        .args([
            "--bearer-token",
            TOKEN,
            "--port",
            &port.number().to_string(),
        ])
        .current_dir(home.path())
        .env_clear();
    let (server, _) = Served::start(command, home, "Serving SCIM on", "provisioning.scim2").await;
    let url = Url::parse(&format!("{}/v2", port.origin())).expect("an address");
    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    let client = Client::new(&connector);
    let timeout = std::time::Duration::from_secs(20);
    let scim = |token: &str| {
        let login = ScimLogin::Bearer(Secret::new(token));
        Scim::new(&client, url.clone(), login, timeout)
    };
    let wrong = scim("wr0ng").create(&user("nobody")).await.unwrap_err();
    assert!(
        matches!(wrong, DirectoryError::Unauthorized { .. }),
        "{wrong}"
    );

    let scim = scim(TOKEN);
    scim.check().await.expect("it answers");
    let names = [
        "carol_loadtest",
        "loadtest_user_1",
        "loadtest_user_10",
        "loadtest_user_2",
    ];
    for name in names {
        assert_eq!(
            scim.create(&user(name)).await.expect("made"),
            Creation::Created
        );
    }
    let taken = scim.create(&user("Loadtest_User_1")).await.unwrap_err();
    assert!(matches!(taken, DirectoryError::Exists { .. }), "{taken}");
    let mut listed = scim.list("loadtest_user_").await.expect("a list");
    listed.sort();
    assert_eq!(listed, names[1..]);
    assert_eq!(
        scim.delete("loadtest_user_1").await.expect("an answer"),
        Deletion::Deleted
    );
    assert_eq!(
        scim.delete("loadtest_user_1").await.expect("an answer"),
        Deletion::AlreadyGone
    );
    let mut left = scim.list("").await.expect("a list");
    left.sort();
    assert_eq!(
        left,
        ["carol_loadtest", "loadtest_user_10", "loadtest_user_2"]
    );
    drop(server);
}

/// Made at Canaille by SCIM with a token of a client's own, logged in by its pages, at work on its pages, gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_makes_its_users_at_canaille_and_takes_them_away() {
    let strangers = ["loadtest_user_1x", "person"]
        .map(|name| (name.to_owned(), "pW-0-of-a-stranger".to_owned()));
    let provider = Provider::canaille(&strangers, &[], "provisioning").await;
    let home = home();
    let issuer = &provider.issuer;
    let source = format!(
        r#"name: canaille
target: {{ protocol: http, url: "{issuer}" }}
directory:
  kind: scim
  url: "{issuer}/scim/v2"
  before:
    - token:
        post: "{issuer}/oauth/token"
        basic: ["{RESOURCE}", "${{SECRET}}"]
        form: {{ grant_type: client_credentials }}
        save: {{ scim_token: $.access_token }}
  headers: {{ Authorization: "Bearer {{scim_token}}" }}
login:
  kind: form
  page: /login
  logged_in: {{ get: "/profile/{{user.name}}", expect: 200 }}
users: {{ count: 6, email: "{{name}}@provider.example" }}
load: {{ warmup: 0s, duration: 1s }}
workflows:
  look:
    actors: [me]
    steps:
      - profile: {{ get: "/profile/{{me.name}}", expect: 200 }}
"#
    );
    let file = home.path().join("canaille.yaml");
    std::fs::write(&file, source).expect("written");
    let file = file.to_str().expect("a plain path");
    let start = |arguments: &[&str]| {
        let mut command = throng(home.path(), arguments);
        command.env("SECRET", RESOURCE_SECRET);
        Running::start(command, home.path())
    };
    let report = home.path().join("report.json");
    let report = report.to_str().expect("a plain path");
    let ended = start(&["run", file, "--output", report]).ended().await;
    let ended = ended.with_code(0);
    let report = std::fs::read_to_string(report).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(count(&report, "/cleanup/users/created"), 6, "{ended}");
    assert_eq!(count(&report, "/cleanup/users/deleted"), 6, "{ended}");
    assert!(!ended.to_string().contains(RESOURCE_SECRET), "{ended}");

    let mut running = start(&["run", file, "-d", "60"]);
    running
        .until("its users are there", |running| {
            running.said().contains("Successfully created")
        })
        .await;
    running.signal(Signal::KILL);
    running.ended().await;
    let listed = start(&["cleanup", file, "--dry-run"])
        .ended()
        .await
        .with_code(0);
    assert!(
        listed.stdout.contains("6 users would be deleted"),
        "{listed}"
    );
    assert!(!listed.stdout.contains("loadtest_user_1x"), "{listed}");
    let cleaned = start(&["cleanup", file]).ended().await.with_code(0);
    assert!(cleaned.stdout.contains("6 of 6 users deleted"), "{cleaned}");
    // None of them is left, and the strangers are no business of ours.
    let by_name = start(&["cleanup", file, "--prefix", "loadtest"])
        .ended()
        .await;
    assert!(by_name.stdout.contains("0 of 0 users deleted"), "{by_name}");
}
