//! What is said of an outside issuer that doesn't fit, before anybody logs in.

use crate::support::{Ended, NobodyThere, Running, home, throng};

async fn run(arguments: &str) -> Ended {
    let home = home();
    std::fs::write(
        home.path().join("users.csv"),
        "name,password\nann,a\nben,b\n",
    )
    .expect("a file");
    let command = throng(home.path(), arguments.split(' '));
    Running::start(command, home.path()).ended().await
}

#[tokio::test]
async fn what_does_not_fit_an_outside_issuer_is_said_before_anything_is_started() {
    for (arguments, says) in [
        (
            "run nextcloud --users-from users.csv --issuer http://127.0.0.1:9 --url http://127.0.0.1:9/mcp",
            "--issuer is for the sandbox",
        ),
        (
            "run integr8scode --issuer http://127.0.0.1:9",
            "--issuer is for scenarios with `protocol: mcp`",
        ),
        (
            "run nextcloud --issuer http://127.0.0.1:9",
            "users that log in must be created somewhere: add a `directory`, or `users.from`",
        ),
        (
            "run nextcloud --users-from users.csv --issuer http://127.0.0.1:9 --issuer-client mcp",
            "--issuer-client: its secret isn't in THRONG_ISSUER_CLIENT_SECRET",
        ),
        (
            "run nextcloud --users-from users.csv --issuer-audience mcp",
            "--issuer <URL>",
        ),
        (
            "run nextcloud --users-from users.csv --auto-register true",
            "cannot be used with",
        ),
    ] {
        let ended = run(arguments).await.with_code(2);
        assert!(ended.stderr.contains(says), "{says}: {ended}");
        assert!(!ended.stderr.contains("Starting a sandbox"), "{ended}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_there_is_named() {
    let nobody = NobodyThere::new().await;
    let origin = nobody.origin();
    let ended = run(&format!(
        "run nextcloud --users-from users.csv --issuer {origin}"
    ))
    .await;
    let ended = ended.with_code(3);
    assert!(
        ended.stderr.contains(&format!("no metadata of the issuer {origin} found (tried {origin}/.well-known/oauth-authorization-server: ")),
        "{ended}"
    );
}
