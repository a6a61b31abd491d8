//! What a scenario file may say of properties: what must hold for every example of a kind.
//!
//! The values of an example stand for names in steps of the same language as a workflow's. How values are made of what is
//! given is not known here: it is kept as it stands.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

use crate::blocks::{Actor, Block};
use crate::decode::{At, Decode, Named, OneOrMany, record};
use crate::http::raw;
use crate::node::{Kind, Node};
use crate::problem::Problems;
use crate::scalar::schema;
use crate::template::Template;

record! {
    /// Something that must hold for every example: a request, or steps, with values that are made up anew each time.
    Property ("a property") {
        /// What must hold, in a sentence.
        "description" description: Option<String>;
        /// The values of an example: name -> how they are made. Steps use them as `{name}`.
        "given" given: Named<Given>;
        /// In place of `steps`: POST to this path.
        "post" post: Option<Template>;
        /// In place of `steps`: PUT to this path.
        "put" put: Option<Template>;
        /// In place of `steps`: PATCH this path.
        "patch" patch: Option<Template>;
        /// In place of `steps`: GET this path.
        "get" get: Option<Template>;
        /// In place of `steps`: DELETE this path.
        "delete" delete: Option<Template>;
        /// With one of these: how the JSON body is made.
        "json" json: Option<Given>;
        /// Who takes part; `[user]` when left out. The first is the user that tries the example.
        "actors" actors: Vec<Actor>;
        /// What is done with an example, and what must come of it.
        "steps" steps: Vec<Block>;
        /// What is always done in the end.
        "finally" finally: Vec<Block>;
        /// Statuses that no answer may have: 500, or 5xx for all of them. 5xx when left out.
        "never" never: OneOrMany<At<Statuses>>;
        /// The statuses that an answer may have; all but those of `never` when left out.
        "status" status: OneOrMany<At<Statuses>>;
        /// Steps of which exactly one may be accepted, such as registers of one name at the same time.
        "exactly_one" exactly_one: Vec<At<String>>;
        /// How many examples are tried; 100 when left out.
        "cases" cases: Option<At<u32>>;
        /// The share of examples that the target must accept, such as 50%; 10% when left out. Below, hardly any example came
        /// to what is to be tested, and the property is called vacuous.
        "min_accepted" min_accepted: Option<At<Share>>;
        /// Whether it is tried only when it is named.
        "by_name" by_name: bool = false;
    }
}

/// How values are made: a JSON Schema with a few words more, a list to choose from, or a value. Braces are braces.
#[derive(Clone, Debug, Default)]
pub struct Given(pub Value);

impl JsonSchema for Given {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Given".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a JSON Schema, { body_of: \"POST /path\" }, { nearly: schema }, { anything: true }, a list to choose from, or a value",
        })
    }
}

impl Decode for Given {
    fn decode(node: &Node, _: &mut Problems) -> Self {
        Self(raw(node))
    }
}

/// A status, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// `404`
    One(u16),
    /// `4xx`, by its first digit.
    Class(u16),
}

impl Default for Statuses {
    fn default() -> Self {
        Self::Class(5)
    }
}

impl Statuses {
    /// Whether a status is one of them.
    pub fn has(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl std::fmt::Display for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(one) => write!(f, "{one}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

schema!(Statuses, "Statuses", {
    "anyOf": [
        { "type": "integer", "minimum": 100, "maximum": 599 },
        { "type": "string", "pattern": "^[1-5](xx|[0-9][0-9])$" }
    ]
});

impl Decode for Statuses {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let text = match &node.kind {
            Kind::Number(number) => number.to_string(),
            Kind::Text(text) => text.to_lowercase(),
            _ => String::new(),
        };
        let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
        match (class, text.parse()) {
            (Some(class @ 1..=5), _) => Self::Class(class),
            (None, Ok(one @ 100..=599)) => Self::One(one),
            _ => {
                problems.wrong_kind(node, "a status such as 500, or a class such as 5xx");
                Self::default()
            }
        }
    }
}

/// A share, written in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub f64);

schema!(Share, "Share", { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$", "description": "a share such as 50%" });

impl Decode for Share {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let percent = match &node.kind {
            Kind::Text(text) => text.trim().strip_suffix('%'),
            _ => None,
        };
        let percent = percent.and_then(|text| text.trim().parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=100.0).contains(percent)) {
            Some(percent) => Self(percent / 100.0),
            None => {
                problems.wrong_kind(node, "a share from 0% to 100%, such as 50%");
                Self::default()
            }
        }
    }
}
