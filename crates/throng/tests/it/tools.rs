//! A look at a target without a load: `throng tools`, and `throng check` with a target. Nothing stays there.

use serde_json::Value;
use throng_sandbox::Latency;

use crate::support::{NobodyThere, World};
use crate::trouble::knob;

#[tokio::test]
async fn the_tools_of_a_target_are_listed_and_nothing_stays_there() {
    let world = World::new().await;
    let call = async |arguments: &[&str]| {
        let url = ["--url", world.sandbox.mcp_url()];
        world.start(arguments.iter().chain(&url)).ended().await
    };
    let text = call(&["tools"]).await.with_code(0);
    assert_eq!(text.stderr, "", "{text}");
    assert!(
        text.stdout.contains(
            "nc_share_create\n    Share a file or directory with a user; permissions: 1 read, 2 update, 4 create, 8 delete, 16 share\n      \
             path         string          required\n"
        ),
        "{text}"
    );
    let json = call(&["tools", "nextcloud", "--json"]).await.with_code(0);
    let list: Vec<Value> = serde_json::from_str(&json.stdout).expect("JSON");
    let names = list.iter().filter_map(|tool| tool["name"].as_str());
    let lines = text.stdout.lines().filter(|line| line.starts_with("nc_"));
    assert_eq!(names.collect::<Vec<_>>(), lines.collect::<Vec<_>>());
    assert_eq!(world.users().await, [""; 0]);
    // A look is not in the way of a load whose users are there.
    world.create_user("loadtest_user_1").await;
    call(&["tools"]).await.with_code(0);
    assert_eq!(world.users().await, ["loadtest_user_1"]);
}

#[tokio::test]
async fn a_look_that_is_stopped_leaves_nothing_either() {
    let world = World::with(|config| {
        config.knobs = knob("POST /apps/oidc/token", |knob| {
            knob.latency = Some(Latency {
                fixed_ms: 60_000.0,
                jitter: None,
            });
        });
    })
    .await;
    let mut running = world.start(["-v", "tools", "--url", world.sandbox.mcp_url()]);
    running
        .until("the user is being made", |running| {
            running.said().contains("Creating user 'throng-")
        })
        .await;
    running.signal(rustix::process::Signal::INT);
    let ended = running.ended().await.with_code(105);
    assert_eq!(ended.stdout, "", "{ended}");
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn a_target_that_does_not_answer_has_no_tools() {
    let nobody = NobodyThere::new().await;
    let world = World::new().await;
    let url = format!("{}/mcp", nobody.origin());
    let ended = world
        .start(["tools", "--url", &url])
        .ended()
        .await
        .with_code(3);
    assert!(ended.stderr.contains("cannot connect"), "{ended}");
    assert_eq!(ended.stdout, "");
    assert_eq!(world.users().await, [""; 0]);
}

#[tokio::test]
async fn check_with_a_target_says_whether_the_file_fits_it() {
    let world = World::new().await;
    let check = async |file: &str, further: &[&str]| {
        let arguments = ["check", file].into_iter().chain(further.iter().copied());
        world.start(arguments).ended().await
    };
    let at_target = ["--url", world.sandbox.mcp_url()];
    let fits = check("nextcloud", &at_target).await.with_code(0);
    let says = format!("  fits {}, tool for tool\n", world.sandbox.mcp_url());
    assert!(fits.stdout.ends_with(&says), "{fits}");
    let text = throng_workflow::builtin::template("mcp-oauth").expect("a template");
    let text = text.replace("call: nc_notes_append_content", "call: nc_notes_append");
    std::fs::write(world.path("drift.yaml"), text).expect("a file");
    let alone = check("drift.yaml", &[]).await.with_code(0);
    assert!(alone.stdout.contains("sound"), "{alone}");
    for target in [&at_target[..], &["--sandbox"]] {
        let ended = check("drift.yaml", target).await.with_code(93);
        let mistake = "the server has no tool `nc_notes_append`";
        assert_eq!(ended.stderr.matches(mistake).count(), 1, "{ended}");
        assert_eq!(ended.stdout, "", "{ended}");
    }
    assert_eq!(world.users().await, [""; 0]);
    let ended = check("nextcloud", &["--insecure"]).await.with_code(2);
    assert!(
        ended.stderr.contains("name one with --sandbox or --url"),
        "{ended}"
    );
}
