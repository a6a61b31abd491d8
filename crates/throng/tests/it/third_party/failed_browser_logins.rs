//! What a user is told when a login fails in a browser, word for word. What each of the browsers says itself is in the identity
//! crate's tests, which start one for all cases.

use super::browser_runs::{Browser, left};
use crate::failed_logins::{FILTERS, Rig, Trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_fails_by_a_browser_says_where_and_why_and_what_helps() {
    let browser = Browser::new("chromium").await;
    let mut said = Vec::new();
    for trouble in Trouble::ALL {
        if !trouble.is_met_by_browsers() {
            continue;
        }
        let rig = Rig::new(trouble).await;
        said.push(rig.said("login", &browser.flags()).await);
        if trouble == Trouble::WrongPassword {
            said.push(rig.said("run", &browser.flags()).await);
        }
        assert_eq!(left(rig.home.path()), [""; 0]);
    }
    insta::with_settings!({ filters => FILTERS }, {
        insta::assert_snapshot!("by_chromium", said.join("\n"));
    });
}
