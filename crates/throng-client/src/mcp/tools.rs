//! The tools of a server, listed once for all its sessions.

use std::collections::HashMap;

use http::HeaderName;
use serde::Deserialize;
use serde_json::Value;

use super::{CallError, Era, headers};

/// A tool as its server describes it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The name to call it by.
    pub name: String,
    /// The title for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The JSON Schema of the arguments, exactly as received (references to other places are not followed).
    pub input_schema: Value,
    /// The JSON Schema of `structuredContent`, if there is one.
    pub output_schema: Option<Value>,
    /// The parameters that are mirrored in headers (stateless era).
    pub header_params: Vec<HeaderParam>,
}

/// A parameter that is mirrored in a header `Mcp-Param-...` (2026-07-28, `x-mcp-header`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderParam {
    /// Where it is in the arguments: names from the outermost inwards.
    pub path: Vec<String>,
    /// The header.
    pub header: HeaderName,
}

/// All tools of a server.
#[derive(Debug, Default)]
pub struct Tools {
    list: Vec<Tool>,
    positions: HashMap<String, usize>,
    dropped: Vec<(String, String)>,
}

#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    tools: Vec<Described>,
    #[serde(default, rename = "nextCursor")]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    input_schema: Value,
    #[serde(default)]
    output_schema: Option<Value>,
}

impl Tools {
    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.positions
            .get(name)
            .map(|&position| &self.list[position])
    }

    /// All tools, in the server's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Tool> {
        self.list.iter()
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tools that must not be used since their `x-mcp-header` annotations are invalid: name and reason.
    pub fn dropped(&self) -> &[(String, String)] {
        &self.dropped
    }

    pub(crate) fn parse_page(result: &[u8]) -> Result<Page, CallError> {
        serde_json::from_slice(result)
            .map_err(|error| CallError::protocol(format_args!("tools/list: {error}")))
    }

    pub(crate) fn add(&mut self, page: Page, era: Era) {
        for described in page.tools {
            let header_params = match era {
                Era::Sessions => Vec::new(),
                Era::Stateless => match headers::annotations(&described.input_schema) {
                    Ok(params) => params,
                    Err(reason) => {
                        self.dropped.push((described.name, reason));
                        continue;
                    }
                },
            };
            self.positions
                .insert(described.name.clone(), self.list.len());
            self.list.push(Tool {
                name: described.name,
                title: described.title,
                description: described.description,
                input_schema: described.input_schema,
                output_schema: described.output_schema,
                header_params,
            });
        }
    }
}
