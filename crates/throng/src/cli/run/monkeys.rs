//! The monkey swarm of a run: who the monkeys are, and where they stand among the names of the run.
//!
//! Making requests, judging and shrinking are `throng-fuzz`'s; users are made as all others are.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use throng_client::Connector;
use throng_fuzz::{Accounts, Monkey, NoAccounts};
use throng_identity::login::LoginDriver;
use throng_identity::provision::Identity;
use throng_metrics::{Catalog, UserId};
use throng_workflow::Scenario;

use super::prepare::Prepared;
use crate::cli::fuzz::{Users, load_document, settings};

/// What `{prefix}` stands for in the monkeys' names: users of their own, whose sessions may be ended and whose things may be
/// deleted at any time.
pub(super) fn prefix(of_users: &str) -> String {
    format!("{of_users}_monkey")
}

/// The swarm before its load.
pub(super) struct Monkeys {
    pub(super) monkey: Arc<Monkey>,
    /// The names of the whole run.
    pub(super) catalog: Arc<Catalog>,
}

/// Who the monkeys are.
pub(super) struct Team {
    names: Vec<String>,
    accounts: Arc<dyn Accounts>,
}

impl Team {
    /// Users who are logged in.
    ///
    /// # Errors
    /// If the scenario's login can't be understood.
    pub(super) fn of(
        identities: Vec<Identity>,
        scenario: &Scenario,
        connector: &Connector,
        driver: &LoginDriver,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            names: identities.iter().map(|one| one.name.clone()).collect(),
            accounts: Users::new(identities, scenario, connector, driver)?,
        })
    }

    /// Names that stand for nobody: the target asks no one who he is.
    pub(super) fn nobody(names: Vec<String>, connector: &Connector) -> Self {
        Self {
            names,
            accounts: Arc::new(NoAccounts(connector.clone())),
        }
    }
}

/// Lets the monkeys' steps, which come after so many others, be of the same endpoint as theirs where only the names of what
/// varies differ: `GET /scripts/{script_id}` is `GET /scripts/{script}`.
fn share_endpoints(catalog: &mut Catalog, before: usize) {
    let (users, monkeys) = catalog.steps.split_at_mut(before);
    for step in monkeys {
        let shape = shape(&step.endpoint);
        if let Some(same) = users
            .iter()
            .find(|user| self::shape(&user.endpoint) == shape)
        {
            step.endpoint.clone_from(&same.endpoint);
        }
    }
}

/// An endpoint without the names of what varies in it.
fn shape(endpoint: &str) -> String {
    let mut parts = endpoint.split('{');
    let mut shape = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shape.push_str("{}");
        shape.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    shape
}

/// Whether a replay will find the scenario: where there was none, one was made up.
fn can_be_read_again(origin: &str) -> bool {
    Path::new(origin).is_file() || throng_workflow::builtin::names().any(|name| name == origin)
}

/// Reads the target's document and makes the swarm; its steps and users come after those that the catalog has.
///
/// # Errors
/// Where there is no document, or the scenario names operations that it hasn't.
pub(super) async fn ready(
    prepared: &Prepared<'_>,
    team: Team,
    mut catalog: Catalog,
) -> anyhow::Result<Monkeys> {
    let file = &prepared.file;
    let given = prepared.openapi.as_deref();
    let found = load_document(given, &file.scenario, &file.origin, &*team.accounts).await?;
    let before = u32::try_from(catalog.users.len()).map_err(|_| anyhow!("too many users"))?;
    for name in &team.names {
        catalog.add_user(name.as_str());
    }
    let mut settings = settings(&file.scenario, &file.origin, &found, prepared.seed)?;
    if !can_be_read_again(&file.origin) {
        settings.scenario = None;
    }
    settings.first_user = UserId(before);
    settings.corpus = Some(prepared.corpus());
    let steps = catalog.steps.len();
    let monkey = Monkey::new(found.document, team.accounts, settings, &mut catalog)?;
    share_endpoints(&mut catalog, steps);
    Ok(Monkeys {
        monkey,
        catalog: Arc::new(catalog),
    })
}

#[cfg(test)]
mod tests {
    use throng_metrics::WorkflowRole;

    use super::*;

    #[test]
    fn an_endpoint_is_one_whatever_its_parameters_are_called() {
        let mut catalog = Catalog::default();
        let users = catalog.add_workflow("users", WorkflowRole::Workflow);
        catalog.add_step(users, "read", "GET /scripts/{script}");
        catalog.add_step(users, "result", "GET /executions/{execution}/result");
        let monkeys = catalog.add_workflow("monkey", WorkflowRole::Workflow);
        let names = [
            "GET /executions/{execution_id}/result",
            "GET /scripts/{script_id}",
            "DELETE /scripts/{script_id}",
            "GET /scripts",
        ];
        for name in names {
            catalog.add_step(monkeys, name, name);
        }
        share_endpoints(&mut catalog, 2);
        let endpoints: Vec<&str> = catalog.steps[2..]
            .iter()
            .map(|step| step.endpoint.as_str())
            .collect();
        assert_eq!(
            endpoints,
            [
                "GET /executions/{execution}/result",
                "GET /scripts/{script}",
                "DELETE /scripts/{script_id}",
                "GET /scripts",
            ]
        );
        // What a step is called stays: the target's journal knows it by that.
        assert_eq!(catalog.steps[3].name, "GET /scripts/{script_id}");
    }
}
