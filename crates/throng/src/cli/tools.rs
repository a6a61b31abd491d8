//! `throng tools`: what a target offers, for whoever writes a scenario.

use std::process::ExitCode;

use serde_json::{Value, json};
use throng_client::mcp::Tool;
use throng_workflow::drift::wanted;

use super::args::ToolsArgs;
use super::run::inspect::inspect;
use super::{CommandError, Output, tell};

/// Lists the tools of the scenario's target.
pub(crate) fn tools(args: &ToolsArgs, output: Output) -> Result<ExitCode, CommandError> {
    let seen = inspect(
        args.scenario.as_deref(),
        &args.target,
        &args.oauth_client,
        output,
    )?;
    let text = if args.json {
        let list: Vec<Value> = seen.tools.iter().map(as_json).collect();
        let text = serde_json::to_string_pretty(&list);
        text.map_err(|error| CommandError::failed(error.into()))?
    } else {
        let blocks: Vec<String> = seen.tools.iter().map(describe).collect();
        blocks.join("\n")
    };
    super::print(&format!("{}\n", text.trim_end()))?;
    for (name, why) in seen.tools.dropped() {
        tell(&format!("  ! '{name}' can't be used: {why}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A tool with the keys of MCP's `tools/list`.
fn as_json(tool: &Tool) -> Value {
    let mut described = json!({ "name": tool.name });
    let keys = [
        ("title", tool.title.as_deref().map(Value::from)),
        ("description", tool.description.as_deref().map(Value::from)),
        ("inputSchema", Some(tool.input_schema.clone())),
        ("outputSchema", tool.output_schema.clone()),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            described[key] = value;
        }
    }
    described
}

/// Name, first line of the description, and a line for each argument.
fn describe(tool: &Tool) -> String {
    let mut text = format!("{}\n", tool.name);
    let about = tool.description.as_deref().or(tool.title.as_deref());
    if let Some(line) = about.and_then(|about| about.trim().lines().next()) {
        text.push_str(&format!("    {}\n", line.trim()));
    }
    let arguments = arguments(&tool.input_schema);
    let width = |of: fn(&Argument) -> &str| {
        let widths = arguments
            .iter()
            .map(|argument| of(argument).chars().count());
        widths.max().unwrap_or(0)
    };
    let (names, kinds) = (width(|a| &a.name), width(|a| &a.kind));
    for Argument { name, kind, needed } in &arguments {
        let line = format!("      {name:names$}  {kind:kinds$}  {needed}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

struct Argument {
    name: String,
    kind: String,
    /// `required`, or what holds without it.
    needed: String,
}

/// The required ones first, else in the server's order.
fn arguments(schema: &Value) -> Vec<Argument> {
    let required = |name: &str| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|known| known == name))
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut arguments: Vec<Argument> = properties
        .into_iter()
        .flatten()
        .map(|(name, property)| Argument {
            name: name.clone(),
            kind: match wanted(property) {
                words if words.is_empty() => "any".to_owned(),
                words => words,
            },
            needed: match property.get("default") {
                _ if required(name) => "required".to_owned(),
                Some(Value::Null) | None => "optional".to_owned(),
                Some(default) => format!("optional, {default}"),
            },
        })
        .collect();
    arguments.sort_by_key(|argument| argument.needed != "required");
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_described_with_its_arguments() {
        let tool = Tool {
            name: "share".to_owned(),
            title: None,
            description: Some("\n  Shares a file.\n\nAt length.".to_owned()),
            input_schema: json!({
                "properties": {
                    "note": { "anyOf": [{ "type": "string" }, { "type": "null" }], "default": null },
                    "kind": { "enum": ["user", "group"], "default": "user" },
                    "path": { "type": "string" },
                    "any": {},
                },
                "required": ["path"],
            }),
            output_schema: None,
            header_params: Vec::new(),
        };
        assert_eq!(
            describe(&tool),
            "share\n    \
             Shares a file.\n      \
             path  string                  required\n      \
             note  string or null          optional\n      \
             kind  one of \"user\", \"group\"  optional, \"user\"\n      \
             any   any                     optional\n"
        );
        assert_eq!(
            as_json(&tool)["inputSchema"]["required"],
            json!(["path"]),
            "with the server's own keys"
        );
    }

    #[test]
    fn a_tool_without_anything_is_its_name() {
        let tool = Tool {
            name: "ping".to_owned(),
            title: None,
            description: None,
            input_schema: Value::Null,
            output_schema: None,
            header_params: Vec::new(),
        };
        assert_eq!(describe(&tool), "ping\n");
    }
}
