//! Users of an HTTP target: nothing is opened, since each request stands for itself.

use throng_workflow::{Crowd, CrowdOptions, Person};

use super::prepare::Prepared;
use crate::cli::narrator::Narrator;

/// The crowd of an HTTP target.
pub(super) fn over_http(
    prepared: &Prepared<'_>,
    people: Vec<Person>,
    options: CrowdOptions,
    narrator: &mut Narrator,
) -> anyhow::Result<Crowd> {
    let users = people.len();
    let target = &prepared.file.scenario.target;
    narrator.step(&format!("Handing {users} users their connections..."));
    let crowd = Crowd::over_http(people, &target.url, options)?;
    narrator.done(&format!("{users} users with cookies of their own, HTTP"));
    Ok(crowd)
}
