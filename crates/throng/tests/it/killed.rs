//! `kill -9` at any moment, and `throng cleanup` after it: nothing of ours stays, and nobody else's goes.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use crate::support::{World, eventually};

/// Users that look like ours to a search and aren't.
const STRANGERS: [&str; 3] = ["carol_loadtest", "loadtest_user_1x", "xloadtest_user_1"];
const ROUNDS: usize = 20;
const RUN: &str = "--workload sharing -u 10 -d 0.3 -w 0 --pause 0";

#[tokio::test]
async fn a_cleanup_removes_what_a_kill_left_and_no_more() {
    let world = World::new().await;
    for stranger in STRANGERS {
        world.create_user(stranger).await;
    }
    let journal = world.sandbox.journal();
    let so_far = || journal.counts().total;

    // A moment is a number of requests: those of a whole run span set-up, load and its own cleaning up.
    let before = so_far();
    world.ran(RUN, 0).await;
    let whole = so_far() - before;
    assert_eq!(world.users().await, STRANGERS);

    let mut random = StdRng::seed_from_u64(20);
    let mut killed_with_users = 0;
    for round in 0..ROUNDS {
        let moment = random.random_range(0..whole);
        let before = so_far();
        let mut running = world.run(RUN);
        eventually("the moment", || {
            running.has_ended() || so_far() - before >= moment
        })
        .await;
        if !running.has_ended() {
            running.signal(Signal::KILL);
        }
        running.ended().await;
        // What was on its way arrives or is dropped; after that nothing changes any more.
        eventually("all is quiet", || journal.counts().in_flight == 0).await;

        let left = world.users().await;
        let ours: Vec<&String> = left
            .iter()
            .filter(|user| !STRANGERS.contains(&user.as_str()))
            .collect();
        killed_with_users += usize::from(!ours.is_empty());
        let listed = world.cleanup("--dry-run").await.with_code(0);
        for user in &ours {
            let line = format!("  {user} (");
            assert!(listed.stdout.contains(&line), "round {round}: {listed}");
        }
        for stranger in STRANGERS {
            let line = format!("  {stranger} (");
            assert!(!listed.stdout.contains(&line), "round {round}: {listed}");
        }
        assert_eq!(
            world.users().await,
            left,
            "round {round}: a dry run deletes nothing"
        );

        let cleaned = world.cleanup("").await.with_code(0);
        assert_eq!(
            world.users().await,
            STRANGERS,
            "round {round}, at {moment} of {whole}: {cleaned}"
        );
    }
    // The moments are spread, so that most kills leave somebody; else this would have shown nothing.
    assert!(killed_with_users >= ROUNDS / 3, "only {killed_with_users}");
}

/// Users of a run that is still alive are left alone, and taken with `--force`.
#[tokio::test]
async fn a_cleanup_leaves_a_living_run_alone() {
    let world = World::new().await;
    let mut running = world.run("--workload baseline -u 2 -d 60 -w 0");
    let journal = world.sandbox.journal();
    running
        .until("it's under way", |_| crate::journal::total(&journal) > 0)
        .await;
    let said = running.said();
    let cleaned = beside(&world, "").await;
    assert!(
        cleaned.contains("2 left alone"),
        "{cleaned}; the run said {said}"
    );
    assert_eq!(world.users().await.len(), 2);
    let forced = beside(&world, "--force").await;
    assert!(forced.contains("2 of 2 users deleted"), "{forced}");
    assert_eq!(world.users().await, [""; 0]);
    running.signal(Signal::INT);
    running.ended().await;
}

/// A cleanup while the run's output files are in use.
async fn beside(world: &World, arguments: &str) -> String {
    let arguments = std::iter::once("cleanup").chain(arguments.split_whitespace());
    let output = world.command(arguments).output().await.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
