//! A workflow as it is run: every name is an index, every text is cut into pieces, every header is built.
//!
//! Made by [`crate::compile()`]; interpreted by [`crate::run`]. Nothing here looks a name up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jsonschema::Validator;
use regex::Regex;
use serde_json::Value;
use throng_client::mcp::ToolName;
use throng_client::{Base, DoubleSubmit};
use throng_identity::tokens::TokenAction;
use throng_metrics::{Catalog, CounterId, StepId, TokenCounters, WorkflowId};

use crate::blocks::ActorCount;
use crate::http::Redirects;
use crate::model::{JsonType, Role};
use crate::path::Path;
use crate::problem::Mark;
use crate::property::Statuses;
use crate::template::Filter;

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
    /// The steps of the workload that use a token as it is: a 401 is their answer.
    pub fn not_renewing(&self) -> Vec<StepId> {
        self.those(|step| !step.renew)
    }

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

/// One measured operation.
#[derive(Debug)]
pub struct Step {
    /// Its index.
    pub id: StepId,
    /// Its name.
    pub name: String,
    /// Who does it.
    pub actor: ActorRef,
    /// The same as it is called in the file.
    pub actor_name: String,
    /// Only when this has a value.
    pub when: Option<Pieces>,
    /// Only when this has none.
    pub unless: Option<Pieces>,
    /// What is done.
    pub action: Action,
    /// How long one call may take.
    pub timeout: Duration,
    /// The `baggage` header of each phase; `None` when the target wants none.
    pub baggage: Option<Baggage>,
    /// What is waited for.
    pub until: Option<Until>,
    /// An expected refusal.
    pub refused: Option<Refused>,
    /// What must hold.
    pub checks: Vec<Condition>,
    /// What is kept.
    pub saves: Vec<Save>,
    /// What is added to lists.
    pub appends: Vec<(usize, Pieces)>,
    /// What is done when it was refused.
    pub or_else: Vec<Statement>,
    /// Whether a token that is over or refused is renewed for it.
    pub renew: bool,
    /// Whether the file says which answers it expects.
    pub expects: bool,
    /// The values that it cannot do without: in `finally`, it is left out when one was never saved.
    pub needs: Vec<Source>,
}

impl Step {
    /// Whether anything looks at the result; else it need not even be parsed.
    pub fn reads_result(&self) -> bool {
        let until = self.until.iter().map(|until| &until.condition);
        until.chain(&self.checks).any(Condition::reads_result)
            || self
                .saves
                .iter()
                .any(|save| matches!(save.from, SaveFrom::Path(_)))
            // The answer to a call that should have been refused is shown.
            || self.refused.as_ref().is_some_and(|refused| refused.must)
    }
}

/// The `baggage` header, by phase.
#[derive(Clone, Debug)]
pub struct Baggage {
    /// While the samples are thrown away.
    pub warmup: HeaderValue,
    /// While they count.
    pub measured: HeaderValue,
    /// In `finally`, while they count.
    pub finally: HeaderValue,
}

/// What is done.
#[derive(Debug)]
pub enum Action {
    /// An MCP tool is called.
    Call {
        /// Its name.
        tool: ToolName,
        /// Its arguments: a JSON object.
        arguments: Pieces,
    },
    /// An MCP resource is read.
    Resource {
        /// Its URI.
        uri: Pieces,
    },
    /// An HTTP request is sent.
    Request(Box<Request>),
    /// Server-sent events are listened to.
    Listen(Box<Listen>),
    /// Something is done with the user's token.
    Token(TokenAction),
}

/// An HTTP request.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where it goes when that is not the target.
    pub base: Option<Base>,
    /// Path and query, percent-encoded.
    pub path: Content,
    /// Headers that are the same each time.
    pub headers: HeaderMap,
    /// The others.
    pub more: Vec<(HeaderName, Pieces)>,
    /// The body.
    pub body: Content,
    /// The statuses that are no error; any 2xx when there is none.
    pub expect: Vec<u16>,
    /// The cookie that a header repeats.
    pub double_submit: Option<Arc<DoubleSubmit>>,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// Cookies whose values are kept after the answer.
    pub cookies: Vec<String>,
}

impl Request {
    /// Whether a status is no error.
    pub fn expects(&self, status: u16) -> bool {
        match self.expect.as_slice() {
            [] => (200..300).contains(&status),
            expected => expected.contains(&status),
        }
    }
}

/// Listening to server-sent events.
#[derive(Debug)]
pub struct Listen {
    /// What is asked for.
    pub request: Request,
    /// The event that ends it.
    pub until: Option<Condition>,
    /// The number of events that ends it.
    pub events: Option<u64>,
    /// How long it lasts at most.
    pub within: Duration,
}

/// What is sent: known when the file is read, or put together.
#[derive(Debug)]
pub enum Content {
    /// Known.
    Fixed(Bytes),
    /// Put together.
    Made(Pieces),
}

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorRef {
    /// The actor with this index.
    One(usize),
    /// The user of the loop this many scopes out.
    Loop(usize),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A text that is unique to this execution.
    Uid,
    /// What is unique to this run.
    Run,
    /// The number of this execution, among those of its virtual user.
    Iteration,
    /// What is known of an actor from the start.
    Actor(ActorRef, ActorField),
    /// What a step saved for an actor.
    Property(ActorRef, usize),
    /// What a step saved.
    Variable {
        /// How many scopes out.
        up: usize,
        /// Which value there.
        slot: usize,
    },
    /// A list.
    List(usize),
}

/// What is known of an actor from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorField {
    /// Its login name.
    Name,
    /// Its display name.
    DisplayName,
    /// Its mail address.
    Email,
    /// What the login's requests saved: index among the names of [`crate::accounts::Login::saved`].
    Saved(usize),
}

/// A text or a JSON value cut into what is fixed and what is put in.
#[derive(Clone, Debug, Default)]
pub struct Pieces(pub Vec<Piece>);

/// A part of it.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Fixed.
    Fixed(Box<str>),
    /// Fixed, and no text.
    Raw(Bytes),
    /// A value.
    Value {
        /// Where it comes from.
        source: Source,
        /// What is done with it.
        filter: Filter,
        /// How it is put in.
        form: Form,
        /// Its name, for messages.
        name: Box<str>,
    },
}

/// How a value is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As JSON of its own type.
    Json,
    /// As text inside a JSON string: escaped.
    InString,
    /// As text.
    Text,
    /// As text, percent-encoded.
    Percent,
    /// As text, encoded for a form.
    Urlencoded,
    /// As text, encoded for the head of a multipart part.
    Quoted,
}

impl Pieces {
    /// As it stands in the file, about: what is put in by its name.
    pub fn template(&self) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Fixed(text) => text.to_string(),
                Piece::Raw(_) => "...".to_owned(),
                Piece::Value { name, .. } => format!("{{{name}}}"),
            })
            .collect()
    }

    /// The text, when nothing is put in.
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Fixed(text)] => Some(text),
            _ => None,
        }
    }
}

/// A path and where its placeholders come from, in their order.
#[derive(Clone, Debug)]
pub struct PathProgram {
    /// The path.
    pub path: Path,
    /// The sources.
    pub sources: Vec<Source>,
}

/// What must hold for a result.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Where.
    pub place: Place,
    /// What.
    pub tests: Vec<Test>,
}

impl Condition {
    /// Whether it looks at the result, and not only at what came with it.
    fn reads_result(&self) -> bool {
        matches!(self.place, Place::Path(_))
            && self
                .tests
                .iter()
                .any(|test| !matches!(test, Test::Status(_)))
    }
}

/// Where something must hold.
#[derive(Clone, Debug)]
pub enum Place {
    /// At a path of the result.
    Path(PathProgram),
    /// In a header of the answer.
    Header(HeaderName),
}

/// One thing that must hold.
#[derive(Clone, Debug)]
pub enum Test {
    /// The answer's status is one of these.
    Status(Vec<u16>),
    /// It fits a JSON Schema.
    Schema(Arc<Validator>),
    /// There is something, or nothing.
    Exists(bool),
    /// Equal.
    Equals(Expected),
    /// Not equal.
    NotEquals(Expected),
    /// Has in it.
    Contains(Expected),
    /// Does not have in it.
    NotContains(Expected),
    /// Has every element in it; what is missing fails, or is counted.
    ContainsEach(Expected, Option<CounterId>),
    /// Matches.
    Matches(Regex),
    /// Has a type.
    Type(JsonType),
    /// Has a length.
    Length(u64),
    /// Number or length from.
    AtLeast(f64),
    /// Number or length up to.
    AtMost(f64),
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Known when the file is read.
    Fixed(Value),
    /// JSON to be put together.
    Computed(Pieces),
}

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Until {
    /// It; nothing where a refusal is waited for.
    pub condition: Condition,
    /// The refusal that is waited for, by its words.
    pub refused: Option<Regex>,
    /// Time between two calls.
    pub every: Duration,
    /// How long it is waited for.
    pub within: Duration,
}

/// An expected refusal.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error matches this.
    pub error: Regex,
    /// It is counted here.
    pub count: Option<CounterId>,
    /// The step fails without it.
    pub must: bool,
}

/// A value to keep.
#[derive(Clone, Debug)]
pub struct Save {
    /// Its name, for messages.
    pub name: String,
    /// Where it is in the result.
    pub from: SaveFrom,
    /// Where it goes.
    pub target: SaveTarget,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum SaveFrom {
    /// A path of the result.
    Path(PathProgram),
    /// A header.
    Header(HeaderName),
    /// The first group of a match in the body.
    Regex(Regex),
    /// A cookie, by its place in [`Request::cookies`].
    Cookie(usize, String),
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveTarget {
    /// To a variable.
    Variable {
        /// How many scopes out.
        up: usize,
        /// Which value there.
        slot: usize,
    },
    /// To a property of an actor.
    Property(ActorRef, usize),
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
