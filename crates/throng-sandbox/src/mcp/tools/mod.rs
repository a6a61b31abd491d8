//! The tools: the real server's names, parameters, scopes and result shapes, working on the sandbox's store.
//!
//! Of the real server's 121 tools, those that the load-test scenarios use, and their near relatives.

mod files;
mod notes;
mod other;
mod output;
mod shares;

use http::StatusCode;
use serde_json::{Map, Value};

use super::arguments::{Arguments, Parameter};
use crate::journal::Note;
use crate::state::AppState;
use crate::store::StoreError;
use output::Output;

/// A tool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) scope: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) output: Output,
    pub(super) nature: Nature,
    run: fn(&Call<'_>) -> Result<Answer, Failure>,
}

/// What a tool does to the world, for `annotations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Reads,
    Changes,
    /// The same call twice changes as much as once.
    ChangesOnce,
    Destroys,
}

/// One call of a tool.
pub(super) struct Call<'a> {
    pub(super) tool: &'static str,
    pub(super) state: &'a AppState,
    pub(super) user: &'a str,
    pub(super) arguments: Arguments,
    pub(super) note: &'a Note,
}

/// What a tool answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// An object, as text and as structured content.
    Object(Value),
    /// A text, which the structured content holds as `result`.
    Text(String),
    /// A value that is shown as text only.
    Bare(Value),
}

/// Why a tool did not answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The tool says what is wrong, in a result with `isError`.
    Tool(String),
    /// The sandbox itself is broken.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// A failure that the tool itself found.
    fn executing(tool: &str, message: impl std::fmt::Display) -> Self {
        Self::Tool(format!("Error executing tool {tool}: {message}"))
    }

    /// The failure of a request to Nextcloud, as the real server words it: what failed, where, and what Nextcloud said.
    fn http(call: &Call<'_>, status: StatusCode, resource: &str, said: &str) -> Self {
        let summary = match status.as_u16() {
            400 => "Invalid request",
            403 => "Permission denied",
            404 => "Not found",
            405 => "Operation not allowed here",
            409 => "Conflict",
            412 => "Resource changed since it was read",
            _ => "Request rejected",
        };
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(" Server said: {said}")
        };
        Self::Tool(format!(
            "{} failed: {summary} — \"{resource}\" (HTTP {}).{said}",
            call.tool,
            status.as_u16()
        ))
    }
}

/// All tools, in the order in which they are listed.
pub(super) const ALL: &[Tool] = &[
    notes::CREATE,
    notes::UPDATE,
    notes::APPEND,
    notes::SEARCH,
    notes::LIST,
    notes::GET,
    notes::DELETE,
    shares::CREATE,
    shares::DELETE,
    shares::GET,
    shares::LIST,
    shares::UPDATE,
    files::LIST_DIRECTORY,
    files::READ,
    files::WRITE,
    files::CREATE_DIRECTORY,
    files::DELETE,
    other::LIST_CALENDARS,
    other::GET_BOARDS,
];

/// The tool of this name.
pub(super) fn find(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.name == name)
}

impl Tool {
    /// Checks the arguments and runs the tool.
    pub(super) fn call(
        &self,
        state: &AppState,
        user: &str,
        note: &Note,
        arguments: Map<String, Value>,
    ) -> Result<Answer, Failure> {
        let arguments = Arguments::read(self.name, self.parameters, arguments)
            .map_err(|faults| Failure::executing(self.name, faults))?;
        (self.run)(&Call {
            tool: self.name,
            state,
            user,
            arguments,
            note,
        })
    }

    /// Whether the apps of this Nextcloud can serve it.
    pub(super) fn is_available(&self) -> bool {
        self.name != other::GET_BOARDS.name
    }
}
