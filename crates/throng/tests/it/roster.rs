//! Users who are there already, named in a file: they log in and work, and stay as they were.

use crate::support::{World, request};

/// That of `World::create_user`.
const PASSWORD: &str = "not-one-of-ours-8Kd";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_a_file_work_and_nobody_is_created_or_deleted() {
    let world = World::new().await;
    for name in ["ann", "ben", "cid"] {
        world.create_user(name).await;
    }
    let csv = "name,password,password_file,display_name\nann,${OF_ANN},,\nben,,ben.txt,Ben B.\ncid,${OF_ANN},,\n";
    std::fs::write(world.path("users.csv"), csv).expect("a file");
    std::fs::write(world.path("ben.txt"), format!("{PASSWORD}\n")).expect("a file");
    let report = world.path("report.json");
    let arguments = format!(
        "run nextcloud --url {} --users-from users.csv -u 2 -d 2 -w 0 --workload note_share --output {}",
        world.sandbox.mcp_url(),
        report.display()
    );
    let mut command = world.command(arguments.split(' '));
    command.env("OF_ANN", PASSWORD);
    let ended = crate::support::Running::start(command, world.home.path())
        .ended()
        .await
        .with_code(0);
    assert!(!format!("{ended}").contains(PASSWORD), "{ended}");
    assert!(ended.stderr.contains("Logging 2 users in"), "{ended}");
    let text = std::fs::read_to_string(report).expect("a report");
    assert!(!text.contains(PASSWORD), "{text}");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let users = report["users"].as_object().expect("a table of users");
    let names: Vec<&str> = users.keys().map(String::as_str).collect();
    assert_eq!(names, ["ann", "ben"]);
    assert!(report["steps"]["note_share/read_shared_note"]["count"].as_u64() > Some(0));
    assert_eq!(report["cleanup"]["users"]["created"], 0, "{text}");
    assert_eq!(world.users().await, ["ann", "ben", "cid"]);
    let (status, _) = request(
        world.sandbox.url(),
        "GET",
        "/ocs/v2.php/cloud/users/ann",
        "",
    )
    .await;
    assert_eq!(status, 200);

    std::fs::write(world.path("three.csv"), csv.replace("${OF_ANN}", PASSWORD)).expect("a file");
    let ended = world.run("--users-from three.csv -u 4").ended().await;
    let ended = ended.with_code(2);
    assert!(
        ended
            .stderr
            .contains("4 users are wanted, but there are 3 in three.csv"),
        "{ended}"
    );
}
