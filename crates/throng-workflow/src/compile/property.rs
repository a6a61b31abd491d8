//! Properties: what they give becomes values that are known from the start, their steps are compiled like a workflow's.

use std::sync::Arc;

use throng_metrics::Catalog;

use super::http::HttpTarget;
use super::names::{Names, Visible};
use super::{Compiler, Problems};
use crate::blocks::{Actor, ActorCount, Block};
use crate::decode::At;
use crate::model::{self, Protocol, Role, Scenario};
use crate::problem::Mark;
use crate::program::{Counters, Program, Properties, Property, Workflow};
use crate::property::Statuses;
use crate::template::{JsonTemplate, Template, parse};

/// The name of the value that a property's own `json` makes.
const BODY: &str = "body";
/// The actor of a property that names none.
const USER: &str = "user";

/// Compiles the properties of a scenario.
pub fn properties(scenario: &Scenario, problems: &mut Problems) -> Properties {
    let mut catalog = Catalog {
        // What is wrong with them was reported for the workflows.
        users: crate::users::names(&scenario.users, &mut Problems::new("", "")),
        ..Catalog::default()
    };
    let counters = Counters::add(&mut catalog);
    let http = (scenario.target.protocol == Protocol::Http)
        .then(|| HttpTarget::new(&scenario.target, &mut Problems::new("", "")));
    let mut workflows = Vec::new();
    let mut all = Vec::new();
    for (index, (name, property)) in scenario.properties.0.iter().enumerate() {
        let next = scenario.properties.0.get(index + 1);
        let incomplete = problems.lost_between(name.mark, next.map(|(name, _)| name.mark));
        let Some(workflow) = workflow(name, property, incomplete, problems) else {
            continue;
        };
        let id = catalog.add_workflow(name.value.clone(), workflow.role.into());
        let mut tools = Vec::new();
        let mut compiler = Compiler {
            id,
            workflow: name,
            target: &scenario.target,
            http: http.as_ref(),
            login: scenario.login.kind,
            catalog: &mut catalog,
            names: Names::new(&workflow, scenario.login.saved(), incomplete),
            incomplete,
            steps: Vec::new(),
            tools: &mut tools,
            problems,
        };
        let mut visible = Visible::default();
        let mut given: Vec<_> = property
            .given
            .0
            .iter()
            .map(|(name, given)| {
                let target = compiler.names.save(name, &mut visible, compiler.problems);
                (name.value.clone(), target, given.0.clone())
            })
            .collect();
        if let Some(json) = &property.json {
            let body = named(BODY, name.mark);
            let target = compiler.names.save(&body, &mut visible, compiler.problems);
            given.push((BODY.to_owned(), target, json.0.clone()));
        }
        let compiled = compiler.workflow(&workflow, visible);
        all.push(Property {
            name: name.value.clone(),
            description: property.description.clone(),
            workflow: workflows.len(),
            given,
            never: match property.never.0.as_slice() {
                [] => vec![Statuses::Class(5)],
                given => given.iter().map(|statuses| statuses.value).collect(),
            },
            status: property
                .status
                .0
                .iter()
                .map(|statuses| statuses.value)
                .collect(),
            exactly_one: exactly_one(property, &compiled, &catalog, problems),
            cases: cases(property, problems),
            min_accepted: property.min_accepted.as_ref().map(|share| share.value.0),
            by_name: property.by_name,
        });
        workflows.push(compiled);
    }
    Properties {
        program: Arc::new(Program {
            workflows,
            mix: Vec::new(),
            catalog: Arc::new(catalog),
            counters,
            tools: Vec::new(),
        }),
        all,
    }
}

fn cases(property: &model::Property, problems: &mut Problems) -> Option<u32> {
    let cases = property.cases.as_ref()?;
    if cases.value == 0 && !problems.reported_in(cases.mark) {
        problems.add(
            cases.mark,
            "`cases` must be at least 1: without examples nothing is shown",
        );
    }
    Some(cases.value)
}

fn named(name: &str, mark: Mark) -> At<String> {
    At {
        value: name.to_owned(),
        mark,
    }
}

/// The property as a workflow: its steps, or the one that its own request stands for.
fn workflow(
    name: &At<String>,
    property: &model::Property,
    incomplete: bool,
    problems: &mut Problems,
) -> Option<model::Workflow> {
    let requests: Vec<(&str, &Template)> = [
        ("post", &property.post),
        ("put", &property.put),
        ("patch", &property.patch),
        ("get", &property.get),
        ("delete", &property.delete),
    ]
    .into_iter()
    .filter_map(|(method, path)| Some((method, path.as_ref()?)))
    .collect();
    let steps =
        match (requests.as_slice(), property.steps.as_slice()) {
            (_, []) if incomplete && requests.is_empty() => return None,
            ([(method, path)], []) => vec![request(name, property, method, path)],
            ([], steps) if !steps.is_empty() => {
                if property.json.is_some() {
                    problems.add_with_help(
                    name.mark,
                    format!("`{}` has `json` beside `steps`, which no step sends", name.value),
                    "put it into `given: { body: ... }`, and let a step send `json: \"{body}\"`",
                );
                }
                steps.to_vec()
            }
            _ => {
                problems.add_with_help(
                    name.mark,
                    format!(
                        "`{}` needs `steps`, or exactly one of post, put, patch, get, delete",
                        name.value
                    ),
                    "say what is tried: `post: /path` with `json: ...`, or `steps: [...]`",
                );
                return None;
            }
        };
    let actors = match property.actors.as_slice() {
        [] => vec![Actor {
            name: named(USER, name.mark),
            count: ActorCount::One,
        }],
        actors => actors.to_vec(),
    };
    Some(model::Workflow {
        mark: property.mark,
        role: Role::Workflow,
        description: property.description.clone(),
        actors,
        exclusive: false,
        steps,
        finally: property.finally.clone(),
    })
}

/// The step that a property's own request stands for.
fn request(name: &At<String>, property: &model::Property, method: &str, path: &Template) -> Block {
    let mut step = model::Step {
        mark: property.mark,
        json: property
            .json
            .is_some()
            .then(|| JsonTemplate::Text(parse("{body}", name.mark, &mut Problems::new("", "")))),
        ..model::Step::default()
    };
    let place = match method {
        "post" => &mut step.post,
        "put" => &mut step.put,
        "patch" => &mut step.patch,
        "get" => &mut step.get,
        _ => &mut step.delete,
    };
    *place = Some(path.clone());
    Block::Step {
        name: named(method, name.mark),
        step: Box::new(step),
    }
}

fn exactly_one(
    property: &model::Property,
    workflow: &Workflow,
    catalog: &Catalog,
    problems: &mut Problems,
) -> Vec<throng_metrics::StepId> {
    let own = || {
        let steps = catalog.steps.iter().zip(0..);
        steps.filter(|(step, _)| step.workflow == workflow.id)
    };
    if let [only] = property.exactly_one.as_slice() {
        problems.add(only.mark, "`exactly_one` needs at least two steps");
    }
    property
        .exactly_one
        .iter()
        .filter_map(|name| {
            let found = own().find(|(step, _)| step.name == name.value);
            if found.is_none() {
                let names = own()
                    .map(|(step, _)| step.name.as_str())
                    .collect::<Vec<_>>();
                problems.unknown(name.mark, "step", name, names);
            }
            found.map(|(_, index)| throng_metrics::StepId(index))
        })
        .collect()
}
