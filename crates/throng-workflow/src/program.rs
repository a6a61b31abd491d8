//! A workflow as it is run: every name is an index, every text is cut into pieces, every header is built.
//!
//! Made by [`crate::compile()`]; interpreted by [`crate::run`]. Nothing here looks a name up.

mod condition;
mod step;
mod value;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use throng_identity::tokens::TokenAction;
use throng_metrics::{Catalog, CounterId, StepId, TokenCounters, WorkflowId};

pub use self::condition::{Condition, Expected, Place, Refused, Test, Until};
pub use self::step::{Action, Baggage, Content, Listen, Request, Step};
pub use self::value::{
    ActorField, ActorRef, Form, PathProgram, Piece, Pieces, Save, SaveFrom, SaveTarget, Source,
};
use crate::blocks::ActorCount;
use crate::model::Role;
use crate::problem::Mark;
use crate::property::Statuses;

/// All workflows of a scenario, ready to run, and the names of everything that will be measured.
#[derive(Debug)]
pub struct Program {
    /// The workflows, in the order of the file; the index is the [`WorkflowId`].
    pub workflows: Vec<Workflow>,
    /// The workload: workflow and weight. The weights are exact and their sum is more than 0.
    pub mix: Vec<(WorkflowId, u32)>,
    /// Names of workflows, steps, users and counters.
    pub catalog: Arc<Catalog>,
    /// The counters that the interpreter itself counts.
    pub counters: Counters,
    /// Every tool call of the file, for comparison with what the server offers.
    pub tools: Vec<ToolUse>,
}

/// All properties of a scenario, ready to be tried.
#[derive(Debug)]
pub struct Properties {
    /// Their steps, each property's as a workflow of its own, with a catalog of their own: no run's report knows them.
    pub program: Arc<Program>,
    /// The properties, in the order of the file.
    pub all: Vec<Property>,
}

/// What must hold for every example.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What must hold, in a sentence.
    pub description: Option<String>,
    /// Its steps: an index into the program's workflows.
    pub workflow: usize,
    /// The values of an example: name, where the value goes, and how it is made, as it stands in the file.
    pub given: Vec<(String, SaveTarget, Value)>,
    /// Statuses that no answer may have, unless its step expects them.
    pub never: Vec<Statuses>,
    /// The statuses that an answer may have; any others than those of `never` when empty.
    pub status: Vec<Statuses>,
    /// Steps of which exactly one may be accepted.
    pub exactly_one: Vec<StepId>,
    /// How many examples are tried, where the file says it.
    pub cases: Option<u32>,
    /// The share of examples that must be accepted, from 0 to 1, where the file says it.
    pub min_accepted: Option<f64>,
    /// Whether it is tried only when it is named.
    pub by_name: bool,
}

/// The counters that every scenario has.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// What became of the users' tokens.
    pub tokens: TokenCounters,
    /// Calls that were sent again.
    pub retries: CounterId,
}

/// A workflow.
#[derive(Debug)]
pub struct Workflow {
    /// Its index.
    pub id: WorkflowId,
    /// Its name.
    pub name: String,
    /// What it counts as.
    pub role: Role,
    /// How many users each actor is; the first is the virtual user.
    pub actors: Vec<ActorCount>,
    /// Whether nobody else uses the users meanwhile.
    pub exclusive: bool,
    /// How many values the root scope has room for.
    pub variables: usize,
    /// How many properties each participant has room for.
    pub properties: usize,
    /// How many lists there are.
    pub lists: usize,
    /// What is done.
    pub steps: Vec<Statement>,
    /// What is always done in the end.
    pub finally: Vec<Statement>,
}

/// A part of a workflow.
#[derive(Debug)]
pub enum Statement {
    /// One operation.
    Step(Box<Step>),
    /// The same for each user of a group.
    ForEach(ForEach),
    /// Several at once.
    Parallel(Vec<Statement>),
    /// One of several, by weight.
    OneOf(Vec<(u32, Vec<Statement>)>),
    /// One after the other.
    Sequence(Vec<Statement>),
    /// Time to think.
    Pause(Duration),
}

/// The same for each user of a group.
#[derive(Debug)]
pub struct ForEach {
    /// Which actor is the group.
    pub group: usize,
    /// Whether all at once.
    pub at_once: bool,
    /// How many values each one's own scope has room for.
    pub variables: usize,
    /// What each does.
    pub steps: Vec<Statement>,
}

/// A tool call of the file.
#[derive(Clone, Debug)]
pub struct ToolUse {
    /// The tool.
    pub tool: String,
    /// Where it is named.
    pub mark: Mark,
    /// Its arguments, where they stand, and their values as far as they are fixed; `None` when they are not known.
    pub arguments: Option<Vec<(String, Mark, Option<Value>)>>,
}

impl Counters {
    /// Adds them to a catalog.
    pub fn add(catalog: &mut Catalog) -> Self {
        Self {
            tokens: TokenCounters::add(catalog),
            retries: catalog.counter("retries"),
        }
    }
}

impl Program {
    /// Whether a step of the workload revokes a token.
    pub fn revokes(&self) -> bool {
        let revoking = |step: &Step| {
            matches!(
                step.action,
                Action::Token(TokenAction::Revoke | TokenAction::RevokeRefresh)
            )
        };
        !self.those(revoking).is_empty()
    }

    /// The steps of the workload that must be refused.
    pub fn must_be_refused(&self) -> Vec<StepId> {
        self.those(|step| step.refused.as_ref().is_some_and(|refused| refused.must))
    }

    /// Those steps of the workload that are of a kind.
    fn those(&self, is: impl Fn(&Step) -> bool) -> Vec<StepId> {
        let mut found = Vec::new();
        for (id, _) in &self.mix {
            let workflow = &self.workflows[id.0 as usize];
            for statements in [&workflow.steps, &workflow.finally] {
                each_step(statements, &mut |step| {
                    if is(step) {
                        found.push(step.id);
                    }
                });
            }
        }
        found
    }
}

/// Every step, wherever it stands.
fn each_step(statements: &[Statement], visit: &mut dyn FnMut(&Step)) {
    for statement in statements {
        match statement {
            Statement::Step(step) => {
                visit(step);
                each_step(&step.or_else, visit);
            }
            Statement::ForEach(each) => each_step(&each.steps, visit),
            Statement::Parallel(inner) | Statement::Sequence(inner) => each_step(inner, visit),
            Statement::OneOf(choices) => {
                for (_, inner) in choices {
                    each_step(inner, visit);
                }
            }
            Statement::Pause(_) => {}
        }
    }
}

impl Workflow {
    /// The fewest users that it needs.
    pub fn minimum_users(&self) -> u32 {
        self.actors.iter().map(|actor| actor.minimum()).sum()
    }
}
