//! Whether a scenario still fits its target: its tool calls held against what the server offers, before the run.
//!
//! A difference is the suite's fault and not the server's, and is said as such.

use serde_json::Value;
use throng_client::mcp::{Tool, Tools};
use throng_metrics::{StepId, Tally};

use crate::ScenarioFile;
use crate::problem::{Mark, Problem, Problems, suggest};
use crate::program::{Program, ToolUse};

/// Answers that it takes to say of a path that it is not there.
const ENOUGH_ANSWERS: u64 = 3;

/// HTTP steps whose every answer said that there is no such path or method: 404, 405, 410 or 501, and nothing else. Where the
/// path names a thing (`/notes/{id}`), 404 and 410 may as well say that the thing is gone, which is the target's fault.
pub fn unserved(program: &Program, tally: &Tally) -> Vec<String> {
    let steps = program.catalog.steps.iter().zip(tally.steps());
    steps
        .enumerate()
        .filter(|(_, (_, step))| step.failed >= ENOUGH_ANSWERS && step.good() == 0)
        .filter_map(|(index, (info, step))| {
            let (status, count) = step.statuses.iter().max_by_key(|(_, count)| *count)?;
            let names_a_thing = info.endpoint.contains('{');
            let absent = |(status, _)| match status {
                405 | 501 => true,
                404 | 410 => !names_a_thing,
                _ => false,
            };
            let answered: u64 = step.statuses.iter().map(|(_, count)| count).sum();
            (answered == step.failed && step.statuses.iter().all(absent)).then(|| {
                format!(
                    "{}: {} was answered {status} {count} times and never otherwise: the target has no such path, or no \
                     longer",
                    program.catalog.step_key(StepId(index as u32)),
                    info.endpoint
                )
            })
        })
        .collect()
}

/// Every way in which the file's tool calls do not fit the server's tools: unknown tools and arguments, required arguments
/// that are missing, fixed values that a tool's schema does not allow.
pub fn drift(file: &ScenarioFile, tools: &Tools) -> Vec<Problem> {
    let mut problems = Problems::new(&file.origin, &file.source);
    for tool_use in &file.program.tools {
        match tools.get(&tool_use.tool) {
            Some(tool) => arguments(tool_use, tool, &mut problems),
            None => {
                let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
                problems.add_with_help(
                    tool_use.mark,
                    format!("the server has no tool `{}`", tool_use.tool),
                    suggest(&tool_use.tool, &known),
                );
            }
        }
    }
    problems.into_sorted()
}

fn arguments(tool_use: &ToolUse, tool: &Tool, problems: &mut Problems) {
    let Some(given) = &tool_use.arguments else {
        return;
    };
    let empty = serde_json::Map::new();
    let properties = tool
        .input_schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let open = tool
        .input_schema
        .get("additionalProperties")
        .is_some_and(|more| more.as_bool() != Some(false));
    for (name, mark, value) in given {
        match properties.get(name) {
            Some(schema) => {
                if let Some(value) = value.as_ref().filter(|value| !allows(schema, value)) {
                    problems.add(
                        *mark,
                        format!(
                            "the server's tool `{}` does not take {value} as `{name}`: it wants {}",
                            tool.name,
                            wanted(schema)
                        ),
                    );
                }
            }
            None if open => {}
            None => {
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                problems.add_with_help(
                    *mark,
                    format!("the server's tool `{}` has no argument `{name}`", tool.name),
                    suggest(name, &known),
                );
            }
        }
    }
    let required = tool.input_schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !given.iter().any(|(known, ..)| known == name) {
            let mark: Mark = tool_use.mark;
            problems.add(
                mark,
                format!(
                    "the server's tool `{}` needs the argument `{name}`",
                    tool.name
                ),
            );
        }
    }
}

/// Whether a schema allows a value, as far as that is plain to see: types, enumerations and choices. What is more involved is
/// left to the server.
fn allows(schema: &Value, value: &Value) -> bool {
    for choice in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema.get(choice).and_then(Value::as_array) {
            return schemas.iter().any(|schema| allows(schema, value));
        }
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.contains(value);
    }
    if let Some(only) = schema.get("const") {
        return only == value;
    }
    match schema.get("type") {
        Some(Value::String(name)) => is_of(value, name),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .any(|name| is_of(value, name)),
        _ => true,
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

/// What a schema wants, in words: `string`, `integer or null`, `one of "a", "b"`. Empty where it doesn't say.
pub fn wanted(schema: &Value) -> String {
    for choice in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema.get(choice).and_then(Value::as_array) {
            return schemas.iter().map(wanted).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return format!(
            "one of {}",
            words
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
        None => schema
            .get("const")
            .map_or_else(String::new, Value::to_string),
    }
}
