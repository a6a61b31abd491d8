//! One step: who does it, what it does, what it waits for, demands and keeps.

use std::time::Duration;

use ::http::HeaderValue;
use throng_client::mcp::ToolName;
use throng_metrics::Catalog;

use super::names::Visible;
use super::value::Values;
use super::{Compiler, http, token};
use crate::decode::At;
use crate::encode::percent_text;
use crate::model;
use crate::problem::Problems;
use crate::program::{
    Action, Baggage, Condition, PathProgram, Place, Refused, Save, Step, ToolUse, Until,
};
use crate::scalar::Span;
use crate::template::JsonTemplate;

impl Compiler<'_> {
    pub(super) fn step(
        &mut self,
        name: &At<String>,
        step: &model::Step,
        visible: &mut Visible,
    ) -> Step {
        self.name_step(name);
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
        let awaited = until(name, step, &mut values, self.catalog);
        let until = match &mut action {
            // Events are looked at as they come; nothing is polled.
            Action::Listen(listen) => {
                listen.until = awaited.map(|until| until.condition);
                None
            }
            _ => awaited,
        };
        let checks = step
            .check
            .0
            .iter()
            .map(|check| values.condition(check, self.catalog))
            .collect();
        let refused = refused(name, step, &mut values, self.catalog);
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

    /// Keeps in mind that there is a step of this name, and reports a second one.
    fn name_step(&mut self, name: &At<String>) {
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
    }
}

/// What is waited for.
fn until(
    name: &At<String>,
    step: &model::Step,
    values: &mut Values<'_>,
    catalog: &mut Catalog,
) -> Option<Until> {
    let until = step.until.as_ref()?;
    token::check_until(name, step, until, values.problems);
    Some(Until {
        condition: match &until.refused {
            None => values.condition(&until.condition(), catalog),
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
    })
}

/// The refusal that is expected, and whether `until` and `or_else` fit it.
fn refused(
    name: &At<String>,
    step: &model::Step,
    values: &mut Values<'_>,
    catalog: &mut Catalog,
) -> Option<Refused> {
    let refused = step.refused.as_ref().map(|refused| Refused {
        error: refused.error.0.clone(),
        count: refused
            .count
            .as_ref()
            .map(|name| catalog.counter(&values.counter(name))),
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
    refused
}

/// What is done on an MCP target, and the name of its endpoint.
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
