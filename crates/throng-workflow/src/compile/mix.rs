//! Which workflows run how often, and whether there are users enough for them.

use throng_metrics::WorkflowId;

use crate::model::Scenario;
use crate::problem::Problems;
use crate::program::Workflow;

/// Whether there are as many users as the workflows that run need.
pub(super) fn check_users(
    scenario: &Scenario,
    workflows: &[Workflow],
    mix: &[(WorkflowId, u32)],
    problems: &mut Problems,
) {
    let count = &scenario.users.count;
    let users = count.value;
    if users == 0 {
        return;
    }
    let most = mix.iter().map(|(id, _)| &workflows[id.0 as usize]);
    let Some(greedy) = most.max_by_key(|workflow| workflow.minimum_users()) else {
        return;
    };
    let needed = greedy.minimum_users();
    if needed <= users {
        return;
    }
    let enough = |name: &str| {
        workflows
            .iter()
            .find(|workflow| workflow.name == name)
            .is_none_or(|workflow| workflow.minimum_users() <= users)
    };
    let fitting = scenario.workloads.0.iter().find(|(_, workload)| {
        let mut weights = workload.0.iter();
        weights.all(|(name, weight)| weight.value == 0 || enough(name))
    });
    let fitting = fitting
        .map(|(name, _)| name.value.as_str())
        .or_else(|| scenario.workflows.names().find(|name| enough(name)));
    let mut help = format!("raise users.count (--users) to {needed}");
    if let Some(name) = fitting {
        help.push_str(&format!(", or choose what needs fewer: --workload {name}"));
    }
    problems.add_with_help(
        count.mark,
        format!(
            "`{}` needs {needed} users, but there {} {users}",
            greedy.name,
            if users == 1 { "is" } else { "are" },
        ),
        help,
    );
}

/// The name for all workflows with the same weight, unless the file has a workload of this name.
pub const ALL: &str = "all";

/// The chosen workload. Without any workload in the file, every workflow has the same weight.
pub(super) fn mix(scenario: &Scenario, problems: &mut Problems) -> Vec<(WorkflowId, u32)> {
    let index = |name: &str| scenario.workflows.names().position(|known| known == name);
    for (name, workload) in &scenario.workloads.0 {
        for (workflow, _) in &workload.0 {
            if index(workflow).is_none() {
                problems.unknown(
                    workflow.mark,
                    "workflow",
                    workflow,
                    scenario.workflows.names(),
                );
            }
        }
        if workload
            .0
            .iter()
            .map(|(_, weight)| u64::from(weight.value))
            .sum::<u64>()
            == 0
        {
            problems.add(
                name.mark,
                format!(
                    "the weights of the workload `{}` add up to nothing",
                    name.value
                ),
            );
        }
    }
    let chosen = match &scenario.workload {
        Some(name) => {
            let found = scenario.workloads.get(name);
            // A workflow's own name is a workload, too: that workflow only.
            if found.is_none() {
                if let Some(only) = index(name) {
                    return vec![(WorkflowId(only as u32), 1)];
                }
                if name.value == ALL {
                    return every_workflow(scenario);
                }
                problems.unknown(
                    name.mark,
                    "workload",
                    name,
                    scenario.workloads.names().chain(
                        scenario
                            .workflows
                            .names()
                            .filter(|name| scenario.workloads.get(name).is_none())
                            .chain([ALL]),
                    ),
                );
            }
            found
        }
        None => scenario.workloads.0.first().map(|(_, workload)| workload),
    };
    match chosen {
        Some(workload) => workload
            .0
            .iter()
            .filter(|(_, weight)| weight.value > 0)
            .filter_map(|(name, weight)| Some((WorkflowId(index(name)? as u32), weight.value)))
            .collect(),
        None => every_workflow(scenario),
    }
}

fn every_workflow(scenario: &Scenario) -> Vec<(WorkflowId, u32)> {
    (0..scenario.workflows.0.len() as u32)
        .map(|n| (WorkflowId(n), 1))
        .collect()
}
