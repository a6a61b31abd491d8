//! The names of a run's workflows, steps, users and counters, fixed before the run.
//!
//! Events carry dense indices into these lists, so that nothing on the measured path handles strings.

use crate::{CounterId, StepId, UserId, WorkflowId};

/// All names of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Indexed by [`WorkflowId`].
    pub workflows: Vec<WorkflowInfo>,
    /// Indexed by [`StepId`].
    pub steps: Vec<StepInfo>,
    /// Indexed by [`UserId`].
    pub users: Vec<String>,
    /// Indexed by [`CounterId`].
    pub counters: Vec<CounterInfo>,
}

/// A workflow's name and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowInfo {
    /// The name as in the scenario.
    pub name: String,
    /// Where it is reported.
    pub role: WorkflowRole,
}

/// Where a workflow is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkflowRole {
    /// Under `workflows`.
    #[default]
    Workflow,
    /// Under `baseline`: its steps are the "baseline operations", its executions are no workflows.
    Baseline,
}

/// A step's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// The workflow that it belongs to.
    pub workflow: WorkflowId,
    /// The name as in the scenario, unique in its workflow.
    pub name: String,
    /// The tool's name, or method and route template (`GET /executions/{id}`). Never a raw URL.
    pub endpoint: String,
}

/// A counter's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterInfo {
    /// The name as in reports and thresholds.
    pub name: String,
}

/// The counters of what became of the users' tokens. Every scenario has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCounters {
    /// Tokens renewed by a refresh token.
    pub refreshes: CounterId,
    /// Tokens renewed by a full login.
    pub logins: CounterId,
    /// Tokens renewed by another grant of the kind that brought the first one.
    pub grants: CounterId,
    /// Logins for more scopes.
    pub step_ups: CounterId,
    /// Renewals and step-ups that failed.
    pub failures: CounterId,
    /// Calls that the target refused for their token: 401, or 403 `insufficient_scope`.
    pub refusals: CounterId,
    /// Those of them that were sent again.
    pub retries: CounterId,
}

impl TokenCounters {
    /// Their names in reports and thresholds.
    pub const NAMES: [&str; 7] = [
        "token_refreshes",
        "token_logins",
        "token_grants",
        "token_step_ups",
        "token_failures",
        "token_refusals",
        "token_retries",
    ];

    /// Adds them to a catalog.
    pub fn add(catalog: &mut Catalog) -> Self {
        let [
            refreshes,
            logins,
            grants,
            step_ups,
            failures,
            refusals,
            retries,
        ] = Self::NAMES.map(|name| catalog.counter(name));
        Self {
            refreshes,
            logins,
            grants,
            step_ups,
            failures,
            refusals,
            retries,
        }
    }
}

impl Catalog {
    /// Adds a workflow and returns its index.
    pub fn add_workflow(&mut self, name: impl Into<String>, role: WorkflowRole) -> WorkflowId {
        self.workflows.push(WorkflowInfo {
            name: name.into(),
            role,
        });
        WorkflowId(index(self.workflows.len()))
    }

    /// Adds a step and returns its index.
    pub fn add_step(
        &mut self,
        workflow: WorkflowId,
        name: impl Into<String>,
        endpoint: impl Into<String>,
    ) -> StepId {
        self.steps.push(StepInfo {
            workflow,
            name: name.into(),
            endpoint: endpoint.into(),
        });
        StepId(index(self.steps.len()))
    }

    /// Adds a user and returns its index.
    pub fn add_user(&mut self, name: impl Into<String>) -> UserId {
        self.users.push(name.into());
        UserId(index(self.users.len()))
    }

    /// The counter of that name; added if it is new.
    pub fn counter(&mut self, name: &str) -> CounterId {
        if let Some(found) = self.counters.iter().position(|c| c.name == name) {
            return CounterId(found as u32);
        }
        self.counters.push(CounterInfo {
            name: name.to_owned(),
        });
        CounterId(index(self.counters.len()))
    }

    /// `workflow/step`, the key of a step in reports.
    pub fn step_key(&self, step: StepId) -> String {
        match self.steps.get(step.0 as usize) {
            Some(info) => match self.workflows.get(info.workflow.0 as usize) {
                Some(workflow) => format!("{}/{}", workflow.name, info.name),
                None => info.name.clone(),
            },
            None => format!("step {}", step.0),
        }
    }

    /// The steps of a workflow, in order.
    pub fn steps_of(&self, workflow: WorkflowId) -> impl Iterator<Item = (StepId, &StepInfo)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, step)| step.workflow == workflow)
            .map(|(index, step)| (StepId(index as u32), step))
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length - 1).expect("a catalog has fewer than 2^32 entries")
}
