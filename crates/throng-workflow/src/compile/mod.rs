//! From the file to the program: every name is resolved, everything that can be known before the run is checked.
//!
//! All mistakes are reported; the program of a file with mistakes must not be run.

mod directory;
mod http;
mod login;
mod mix;
mod names;
mod property;
mod token;
mod value;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use throng_client::mcp::ToolName;
use throng_metrics::{Catalog, WorkflowId};

use self::http::HttpTarget;
use crate::blocks::{self, Block};
use crate::decode::At;
use crate::encode::percent_text;
use crate::model::{self, Protocol, Scenario};
use crate::problem::Problems;
use crate::program::{
    Action, Baggage, Condition, Counters, ForEach, PathProgram, Place, Program, Refused, Save,
    Statement, Step, ToolUse, Until, Workflow,
};
use crate::scalar::Span;
use crate::template::JsonTemplate;
pub(crate) use directory::take_none;
pub use mix::ALL;
use names::{Names, Visible};
pub use property::properties;
use value::Values;

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

    fn step(&mut self, name: &At<String>, step: &model::Step, visible: &mut Visible) -> Step {
        match self.steps.iter().find(|(known, _)| *known == name.value) {
            Some((_, line)) => self.problems.add_with_help(
                name.mark,
                format!(
                    "`{}` already has a step `{}` (line {line})",
                    self.workflow.value, name.value
                ),
                "give it a name of its own: steps are told apart by their names in the report",
            ),
            None => self.steps.push((name.value.clone(), name.mark.line)),
        }
        let actor = self
            .names
            .actor(step.actor.as_ref(), name, visible, self.problems);
        let actor_name = self.names.name_of(actor, visible);
        let mut values = Values {
            names: &mut self.names,
            visible,
            problems: self.problems,
            used: Vec::new(),
        };
        let when = step.when.as_ref().map(|template| values.text(template));
        let unless = step.unless.as_ref().map(|template| values.text(template));
        // A condition may look at what was never saved: that is what it is for.
        values.used.clear();
        token::check_renewal(step, self.login, values.problems);
        let (mut action, endpoint) = match (&step.token, self.http) {
            (Some(token), _) => token::action(name, step, token, self.login, values.problems),
            (None, Some(http)) => http.action(name, step, &mut values),
            // Said enough.
            (None, None) if http::refuse_http(step, values.problems) => {
                (http::nothing(), String::new())
            }
            (None, None) => action(name, step, &mut values, self.tools),
        };
        let until = step.until.as_ref().map(|until| {
            token::check_until(name, step, until, values.problems);
            Until {
                condition: match &until.refused {
                    None => values.condition(&until.condition(), self.catalog),
                    Some(_) => Condition {
                        place: Place::Path(PathProgram {
                            path: Default::default(),
                            sources: Vec::new(),
                        }),
                        tests: Vec::new(),
                    },
                },
                refused: until.refused.as_ref().map(|refused| refused.0.clone()),
                every: positive(&until.every, "every", values.problems),
                within: until.within.value.0,
            }
        });
        let until = match &mut action {
            // Events are looked at as they come; nothing is polled.
            Action::Listen(listen) => {
                listen.until = until.map(|until| until.condition);
                None
            }
            _ => until,
        };
        let checks = step
            .check
            .0
            .iter()
            .map(|check| values.condition(check, self.catalog))
            .collect();
        let refused = step.refused.as_ref().map(|refused| Refused {
            error: refused.error.0.clone(),
            count: refused
                .count
                .as_ref()
                .map(|name| self.catalog.counter(&values.counter(name))),
            must: refused.must,
        });
        if let (Some(until), Some(Refused { must: true, .. })) = (&step.until, &refused) {
            values.problems.add_with_help(
                until.mark,
                format!(
                    "`{}` must be refused (`must: true`), so there is no answer that `until` could wait for",
                    name.value
                ),
                "leave out one of the two",
            );
        }
        if refused.is_none() && !step.or_else.is_empty() {
            values.problems.add_with_help(
                name.mark,
                format!(
                    "`{}` has `or_else`, but says no refusal that it would be for",
                    name.value
                ),
                "add `refused: { error: \"...\" }`",
            );
        }
        let captures = http::captures(step, &mut values);
        let appended: Vec<_> = step
            .append_to
            .0
            .iter()
            .map(|(_, value)| values.json(value))
            .collect();
        let needs = values.used;
        let before = visible.clone();
        let saves = step
            .save
            .0
            .iter()
            .zip(captures)
            .map(|((key, _), from)| Save {
                name: key.value.clone(),
                from,
                target: self.names.save(key, visible, self.problems),
            })
            .collect();
        let appends = step
            .append_to
            .0
            .iter()
            .zip(appended)
            .map(|((list, _), value)| (self.names.list(list, visible, self.problems), value))
            .collect();
        let id = self.catalog.add_step(self.id, name.value.clone(), endpoint);
        let mut refused_visible = before;
        let or_else = self.blocks(&step.or_else, &mut refused_visible);
        visible.merge(refused_visible);
        Step {
            id,
            name: name.value.clone(),
            actor,
            actor_name,
            when,
            unless,
            action,
            timeout: step.timeout.map_or(self.target.timeout.0, Duration::from),
            baggage: self.target.baggage.then(|| baggage(self.workflow, name)),
            until,
            refused,
            checks,
            saves,
            appends,
            or_else,
            renew: step.renews(),
            expects: !step.expect.0.is_empty() || step.refused.is_some(),
            needs,
        }
    }
}

fn action(
    name: &At<String>,
    step: &model::Step,
    values: &mut Values<'_>,
    tools: &mut Vec<ToolUse>,
) -> (Action, String) {
    if step.call.is_none()
        && let Some(with) = &step.with
    {
        let mark = with
            .placeholders()
            .first()
            .map_or(name.mark, |placeholder| placeholder.mark);
        values
            .problems
            .add(mark, "`with` needs a `call` that it is for");
    }
    match (&step.call, &step.resource) {
        (Some(call), None) => {
            let arguments = match &step.with {
                None => JsonTemplate::Map(Vec::new()),
                Some(JsonTemplate::Map(entries)) => JsonTemplate::Map(entries.clone()),
                Some(_) => {
                    values
                        .problems
                        .add(call.mark, "the arguments in `with` must be a map of names");
                    JsonTemplate::Map(Vec::new())
                }
            };
            tools.push(tool_use(call, &arguments));
            let pieces = values.json(&arguments);
            (
                Action::Call {
                    tool: ToolName::new(call),
                    arguments: pieces,
                },
                call.value.clone(),
            )
        }
        (None, Some(resource)) => {
            // Like a route: values that vary are shown by name.
            let endpoint = resource.named.as_ref().unwrap_or(&resource.segments);
            let endpoint = endpoint.iter().map(|segment| match segment {
                crate::template::Segment::Text(text) => text.clone(),
                crate::template::Segment::Placeholder(placeholder) => {
                    format!("{{{}}}", placeholder.name())
                }
            });
            let endpoint = format!("read {}", endpoint.collect::<String>());
            (
                Action::Resource {
                    uri: values.text(resource),
                },
                endpoint,
            )
        }
        (given, _) => {
            let found = if given.is_some() { "both" } else { "neither" };
            values.problems.add_with_help(
                name.mark,
                format!(
                    "`{}` needs exactly one of call and resource, found {found}",
                    name.value
                ),
                "say what it does: `call: name_of_a_tool` or `resource: \"nc://capabilities\"`",
            );
            (
                Action::Resource {
                    uri: Default::default(),
                },
                String::new(),
            )
        }
    }
}

fn tool_use(call: &At<String>, arguments: &JsonTemplate) -> ToolUse {
    let entries = match arguments {
        JsonTemplate::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    ToolUse {
        tool: call.value.clone(),
        mark: call.mark,
        arguments: Some(
            entries
                .iter()
                .map(|(key, value)| (key.value.clone(), key.mark, fixed_value(value)))
                .collect(),
        ),
    }
}

fn fixed_value(template: &JsonTemplate) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match template {
        JsonTemplate::Null => Value::Null,
        JsonTemplate::Bool(value) => (*value).into(),
        JsonTemplate::Number(number) => Value::Number(number.clone()),
        JsonTemplate::Text(text) => text.fill(|_| None).ok()?.into(),
        JsonTemplate::List(items) => items
            .iter()
            .map(fixed_value)
            .collect::<Option<Vec<_>>>()?
            .into(),
        JsonTemplate::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Some((key.value.clone(), fixed_value(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

fn positive(span: &At<Span>, what: &str, problems: &mut Problems) -> Duration {
    if span.0.is_zero() && !problems.reported_in(span.mark) {
        problems.add(span.mark, format!("`{what}` must be more than 0"));
    }
    span.0
}

/// The header of W3C Baggage (<https://www.w3.org/TR/baggage/>) that names workflow, step and phase.
pub(crate) fn baggage(workflow: &str, step: &str) -> Baggage {
    let value = |phase: &str| {
        let text = format!(
            "throng.step={}/{},throng.phase={phase}",
            percent_text(workflow),
            percent_text(step)
        );
        HeaderValue::from_str(&text).expect("percent-encoded text is a valid header")
    };
    Baggage {
        warmup: value("warmup"),
        measured: value("measured"),
        finally: value("finally"),
    }
}
