//! From the file to the program: every name is resolved, everything that can be known before the run is checked.
//!
//! All mistakes are reported; the program of a file with mistakes must not be run.

mod directory;
mod http;
mod login;
mod mix;
mod names;
mod property;
mod step;
mod token;
mod value;

use std::sync::Arc;

use throng_metrics::{Catalog, WorkflowId};

use self::http::HttpTarget;
use crate::blocks::{self, Block};
use crate::decode::At;
use crate::model::{self, Protocol, Scenario};
use crate::problem::Problems;
use crate::program::{Counters, ForEach, Program, Statement, ToolUse, Workflow};
pub(crate) use directory::take_none;
pub use mix::ALL;
use names::{Names, Visible};
pub use property::properties;
pub(crate) use step::baggage;

/// Compiles a scenario.
pub fn compile(scenario: &Scenario, problems: &mut Problems) -> Program {
    let mut catalog = Catalog {
        users: crate::users::names(&scenario.users, problems),
        ..Catalog::default()
    };
    let counters = Counters::add(&mut catalog);
    login::check(scenario, problems);
    // A file may have properties alone.
    let nothing = scenario.workflows.0.is_empty() && scenario.properties.0.is_empty();
    if nothing && !problems.lost_between(scenario.mark, None) {
        problems.add(scenario.mark, "a scenario needs at least one workflow");
    }
    http::check_target(&scenario.target, problems);
    scenario
        .monkey
        .check(scenario.target.protocol == Protocol::Http, problems);
    let http = (scenario.target.protocol == Protocol::Http)
        .then(|| HttpTarget::new(&scenario.target, problems));
    let mut tools = Vec::new();
    let workflows: Vec<Workflow> = scenario
        .workflows
        .0
        .iter()
        .enumerate()
        .map(|(index, (name, workflow))| {
            let next = scenario.workflows.0.get(index + 1);
            let incomplete = problems.lost_between(name.mark, next.map(|(name, _)| name.mark));
            let id = catalog.add_workflow(name.value.clone(), workflow.role.into());
            let compiler = Compiler {
                id,
                workflow: name,
                target: &scenario.target,
                http: http.as_ref(),
                login: scenario.login.kind,
                catalog: &mut catalog,
                names: Names::new(workflow, scenario.login.saved(), incomplete),
                incomplete,
                steps: Vec::new(),
                tools: &mut tools,
                problems,
            };
            compiler.workflow(workflow, Visible::default())
        })
        .collect();
    let mix = mix::mix(scenario, problems);
    mix::check_users(scenario, &workflows, &mix, problems);
    Program {
        workflows,
        mix,
        catalog: Arc::new(catalog),
        counters,
        tools,
    }
}

/// What is needed to compile one workflow.
struct Compiler<'a> {
    id: WorkflowId,
    workflow: &'a At<String>,
    target: &'a model::Target,
    /// What the target says of each request, where it speaks HTTP.
    http: Option<&'a HttpTarget>,
    /// How users log in: only OAuth brings tokens that a step could do something with.
    login: model::LoginKind,
    catalog: &'a mut Catalog,
    names: Names,
    /// Whether a part of it could not be read, so that what seems to be missing may be there.
    incomplete: bool,
    steps: Vec<(String, u32)>,
    tools: &'a mut Vec<ToolUse>,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    /// `visible` is what is known from the start.
    fn workflow(mut self, workflow: &model::Workflow, mut visible: Visible) -> Workflow {
        self.actors(&workflow.actors);
        if workflow.steps.is_empty() && !self.incomplete {
            self.problems.add(
                self.workflow.mark,
                format!("`{}` has no steps", self.workflow.value),
            );
        }
        let steps = self.blocks(&workflow.steps, &mut visible);
        let finally = self.blocks(&workflow.finally, &mut visible);
        Workflow {
            id: self.id,
            name: self.workflow.value.clone(),
            role: workflow.role,
            actors: workflow.actors.iter().map(|actor| actor.count).collect(),
            exclusive: workflow.exclusive,
            variables: self.names.root_size(),
            properties: self.names.property_count(),
            lists: self.names.list_count(),
            steps,
            finally,
        }
    }

    fn actors(&mut self, actors: &[blocks::Actor]) {
        match actors.first() {
            None if self.incomplete => {}
            None => self.problems.add_with_help(
                self.workflow.mark,
                format!("`{}` has no actors", self.workflow.value),
                "add `actors: [me]`",
            ),
            Some(first) if first.count.is_group() => self.problems.add(
                first.name.mark,
                format!(
                    "the first actor is the virtual user itself, so `{}` cannot be a group",
                    first.name.value
                ),
            ),
            Some(_) => {}
        }
        for (index, actor) in actors.iter().enumerate() {
            if actors[..index]
                .iter()
                .any(|other| other.name.value == actor.name.value)
            {
                self.problems.add(
                    actor.name.mark,
                    format!("the actor `{}` is there twice", actor.name.value),
                );
            }
            if actor.count == blocks::ActorCount::Rest && index + 1 < actors.len() {
                self.problems.add(
                    actor.name.mark,
                    "the group that takes the rest must be the last actor",
                );
            }
        }
    }

    fn blocks(&mut self, blocks: &[Block], visible: &mut Visible) -> Vec<Statement> {
        blocks
            .iter()
            .map(|block| self.block(block, visible))
            .collect()
    }

    fn block(&mut self, block: &Block, visible: &mut Visible) -> Statement {
        match block {
            Block::Step { name, step } => Statement::Step(Box::new(self.step(name, step, visible))),
            Block::ForEach(each) => {
                let group = self.names.group(&each.group, self.problems);
                let mut inner = self.names.enter(visible, &each.actor, group, self.problems);
                self.names.open();
                let steps = self.blocks(&each.steps, &mut inner);
                let variables = self.names.close();
                visible.merge(inner);
                Statement::ForEach(ForEach {
                    group,
                    at_once: each.at_once,
                    variables,
                    steps,
                })
            }
            Block::Parallel(parallel) => {
                if parallel.branches.len() < 2 {
                    self.problems
                        .add(parallel.mark, "`parallel` needs at least two branches");
                }
                let before = visible.clone();
                let mut saved: Vec<String> = Vec::new();
                let branches = parallel
                    .branches
                    .iter()
                    .map(|branch| {
                        let mut inner = before.clone();
                        let statement = self.block(branch, &mut inner);
                        let new = inner.new_since(&before);
                        if let Some(twice) = new.iter().find(|name| saved.contains(name)) {
                            self.problems.add(
                                parallel.mark,
                                format!("two branches of `parallel` save `{twice}`: which would count is up to chance"),
                            );
                        }
                        saved.extend(new);
                        visible.merge(inner);
                        statement
                    })
                    .collect();
                Statement::Parallel(branches)
            }
            Block::OneOf(one_of) => {
                if one_of.choices.iter().all(|choice| choice.weight.value == 0) {
                    self.problems
                        .add(one_of.mark, "the weights of `one_of` add up to nothing");
                }
                let before = visible.clone();
                let choices = one_of
                    .choices
                    .iter()
                    .map(|choice| {
                        let mut inner = before.clone();
                        let steps = self.blocks(&choice.steps, &mut inner);
                        visible.merge(inner);
                        (choice.weight.value, steps)
                    })
                    .collect();
                Statement::OneOf(choices)
            }
            Block::Sequence(sequence) => Statement::Sequence(self.blocks(&sequence.steps, visible)),
            Block::Pause(span) => Statement::Pause(span.0),
        }
    }
}
