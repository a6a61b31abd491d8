//! A server of the older era, with sessions, is run as it wants to be: every user has a session, and ends it.

use std::collections::BTreeMap;

use throng_sandbox::{ErrorKind, Server};

use crate::report::{at, count};
use crate::run::agrees_with;
use crate::support::World;
use crate::{journal, trouble};

/// The sandbox's server speaks both eras. Where `server/discover` is as unknown to it as to an older one, it is taken for such.
#[tokio::test]
async fn users_of_a_server_with_sessions_have_one_each() {
    let world = World::with(|config| {
        config.knobs = trouble::knob("server/discover", |knob| {
            knob.error_rate = Some(1.0);
            knob.error = ErrorKind::Http(400);
        });
    })
    .await;
    let ended = world.ran("-u 4 -d 2 -w 0", 0).await;
    let report = ended.report();
    assert_eq!(at(report, "/run/versions/mcp"), "2025-11-25");
    assert_eq!(count(report, "/summary/failed_operations"), 0, "{ended}");
    let journal = world.sandbox.journal();
    agrees_with(&journal::measured(&journal), report);

    let users: Vec<String> = (1..=4).map(|n| format!("loadtest_user_{n}")).collect();
    let once_each: BTreeMap<String, u64> = users.into_iter().map(|user| (user, 1)).collect();
    let by_user = |is_it: &dyn Fn(&throng_sandbox::Count) -> bool| {
        let mut times = BTreeMap::<String, u64>::new();
        for count in journal.counts().counts {
            if count.server == Server::Mcp && is_it(&count) {
                let user = count.user.as_deref().unwrap_or_default().to_owned();
                *times.entry(user).or_default() += count.count;
            }
        }
        times
    };
    let begun = by_user(&|count| count.rpc_method.as_deref() == Some("initialize"));
    let closed = by_user(&|count| &*count.method == "DELETE" && &*count.route == "/mcp");
    assert_eq!((&begun, &closed), (&once_each, &once_each));
}
