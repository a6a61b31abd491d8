//! The blocks that steps are put together from, and the actors. Their forms are told apart by their keys, which needs more
//! than a list of keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::decode::{At, Decode, record};
use crate::model::Step;
use crate::node::{Key, Kind, Node};
use crate::problem::Problems;
use crate::scalar::{Span, schema};
use crate::template::is_name;

/// An actor of a workflow: one user, or a group of them.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// Its name.
    pub name: At<String>,
    /// How many users it is.
    pub count: ActorCount,
}

/// How many users an actor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActorCount {
    /// One.
    #[default]
    One,
    /// A group: at least `min`, and up to `max` as far as there are users.
    Between {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// A group: all who are left, at least one.
    Rest,
}

impl ActorCount {
    /// The fewest users that are needed.
    pub fn minimum(self) -> u32 {
        match self {
            Self::One | Self::Rest => 1,
            Self::Between { min, .. } => min,
        }
    }

    /// Whether it is a group.
    pub(crate) fn is_group(self) -> bool {
        self != Self::One
    }
}

impl Decode for Actor {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let actor = match &node.kind {
            Kind::Text(name) => Self {
                name: At {
                    value: name.clone(),
                    mark: node.mark,
                },
                count: ActorCount::One,
            },
            Kind::Map(entries) if entries.len() == 1 => {
                let (name, count) = &entries[0];
                Self {
                    name: name.into(),
                    count: group(count, problems),
                }
            }
            _ => {
                problems.wrong_kind(node, "an actor: a name, or a group such as { editors: 2 }");
                return Self::default();
            }
        };
        if !is_name(&actor.name) {
            problems.add_with_help(
                actor.name.mark,
                format!("`{}` cannot be the name of an actor", actor.name.value),
                "a name has letters, digits and `_` only, and does not start with a digit",
            );
        }
        actor
    }
}

fn group(node: &Node, problems: &mut Problems) -> ActorCount {
    let count = match &node.kind {
        Kind::Number(number) => number
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .map(|n| (n, n)),
        Kind::Text(text) if text == "rest" => return ActorCount::Rest,
        Kind::Text(text) => match text.split_once("..") {
            Some((min, max)) => min.trim().parse().ok().zip(max.trim().parse().ok()),
            None => text.parse().ok().map(|n| (n, n)),
        },
        _ => None,
    };
    match count {
        Some((min, max)) if min >= 1 && max >= min => ActorCount::Between { min, max },
        _ => {
            problems.wrong_kind(
                node,
                "the size of a group: a number from 1, a range such as 1..3, or rest",
            );
            ActorCount::Between { min: 1, max: 1 }
        }
    }
}

schema!(Actor, "Actor", {
    "anyOf": [
        { "type": "string" },
        { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {
            "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": r"^(rest|\d+(\.\.\d+)?|.*\$\{.*)$" }]
        } }
    ]
});

/// A part of a workflow.
#[derive(Clone, Debug)]
pub enum Block {
    /// One measured operation.
    Step {
        /// Its name.
        name: At<String>,
        /// The operation.
        step: Box<Step>,
    },
    /// The same for each user of a group.
    ForEach(ForEach),
    /// Several at once.
    Parallel(Parallel),
    /// One of several, by weight.
    OneOf(OneOf),
    /// One after the other, as a branch of `parallel` or a choice.
    Sequence(Sequence),
    /// Time to think.
    Pause(Span),
}

impl Default for Block {
    fn default() -> Self {
        Self::Pause(Span::default())
    }
}

record! {
    /// The same for each user of a group.
    ForEach ("for_each") {
        /// What the user is called inside.
        "for_each" actor: At<String>;
        /// The group.
        "in" group: At<String>;
        /// Whether all do it at once; else one after the other.
        "at_once" at_once: bool = false;
        /// What each does. Variables saved here are each one's own.
        "steps" steps: Vec<Block>;
    }
}

record! {
    /// Several blocks at once; done when all are done. Variables saved in one are known after it, not in the others.
    Parallel ("parallel") {
        /// The blocks.
        "parallel" branches: Vec<Block>;
    }
}

record! {
    /// One of several, drawn by weight for each execution.
    OneOf ("one_of") {
        /// The choices.
        "one_of" choices: Vec<Choice>;
    }
}

record! {
    /// A choice of `one_of`.
    Choice ("a choice") {
        /// How often, in relation to the others.
        "weight" weight: At<u32> = At { value: 1, mark: Default::default() };
        /// What is done.
        "steps" steps: Vec<Block>;
    }
}

record! {
    /// Blocks one after the other.
    Sequence ("steps") {
        /// The blocks.
        "steps" steps: Vec<Block>;
    }
}

record! {
    /// Time to think.
    Pause ("pause") {
        /// How long.
        "pause" pause: Span;
    }
}

/// Keys that start a block and so cannot be names of steps.
const WORDS: [&str; 5] = ["for_each", "parallel", "one_of", "steps", "pause"];

/// The keys that belong to a block beside the word that starts it.
fn keys_of(word: &str) -> &'static [&'static str] {
    match word {
        "for_each" => &["for_each", "in", "at_once", "steps"],
        "parallel" => &["parallel"],
        "one_of" => &["one_of"],
        "steps" => &["steps"],
        _ => &["pause"],
    }
}

impl Decode for Block {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let Kind::Map(entries) = &node.kind else {
            problems.wrong_kind(
                node,
                "a step under its name: `- create_note: { as: alice, call: ... }`",
            );
            problems.lose(node.mark);
            return Self::default();
        };
        // `for_each` also has `steps`: it comes first.
        let word = WORDS.into_iter().find(|word| node.get(word).is_some());
        if let Some(blocks) = without_dashes(node, entries, word, problems) {
            return blocks;
        }
        match word {
            Some("for_each") => Self::ForEach(ForEach::decode(node, problems)),
            Some("parallel") => Self::Parallel(Parallel::decode(node, problems)),
            Some("one_of") => Self::OneOf(OneOf::decode(node, problems)),
            Some("steps") => Self::Sequence(Sequence::decode(node, problems)),
            Some(_) => Self::Pause(Pause::decode(node, problems).pause),
            None => step(node, entries, problems),
        }
    }
}

/// A step under its name. One whose keys stand beside its name is reported, and read as it was meant.
fn step(node: &Node, entries: &[(Key, Node)], problems: &mut Problems) -> Block {
    match entries {
        [(name, body)] => Block::Step {
            name: name.into(),
            step: Box::new(Step::decode(body, problems)),
        },
        [(name, body), rest @ ..] => {
            problems.add_with_help(
                name.mark,
                format!(
                    "expected one step under its name, found {}",
                    crate::problem::describe(node)
                ),
                "each step is an entry of the list: `- name: { as: ..., call: ... }`, with its keys indented further \
                 than its name",
            );
            if body.kind != Kind::Null {
                problems.lose(node.mark);
                return Block::default();
            }
            let body = Node {
                kind: Kind::Map(rest.to_vec()),
                ..node.clone()
            };
            Block::Step {
                name: name.into(),
                step: Box::new(Step::decode(&body, problems)),
            }
        }
        [] => {
            problems.wrong_kind(node, "a step under its name");
            problems.lose(node.mark);
            Block::default()
        }
    }
}

/// Several blocks in one entry of the list, because the dash before all but the first is missing. Reported, and read as they
/// were meant. `None` where it is something else.
fn without_dashes(
    node: &Node,
    entries: &[(Key, Node)],
    word: Option<&str>,
    problems: &mut Problems,
) -> Option<Block> {
    let own = word.map_or(&[][..], keys_of);
    let is_own = |key: &Key| own.contains(&key.text.as_str());
    let steps = || entries.iter().filter(|(key, _)| !is_own(key));
    let count = steps().count() + usize::from(word.is_some());
    let blocks_only = steps().all(|(key, value)| {
        matches!(value.kind, Kind::Map(_)) || WORDS.contains(&key.text.as_str())
    });
    if count < 2 || !blocks_only {
        return None;
    }
    let first_is_own = is_own(&entries[0].0);
    let (late, _) = entries[1..]
        .iter()
        .find(|(key, _)| !(first_is_own && is_own(key)))?;
    problems.add_with_help(
        late.mark,
        format!("`{}` has no `-` of its own", late.text),
        "put one before it: each step or block is an entry of the list",
    );
    let part = |entries: Vec<(Key, Node)>| Node {
        kind: Kind::Map(entries),
        ..node.clone()
    };
    let mut parts: Vec<Node> = Vec::new();
    let of_word: Vec<_> = entries.iter().filter(|(key, _)| is_own(key)).collect();
    for entry in entries {
        if !is_own(&entry.0) {
            parts.push(part(vec![entry.clone()]));
        } else if of_word.first().is_some_and(|first| first.0 == entry.0) {
            parts.push(part(of_word.iter().copied().cloned().collect()));
        }
    }
    Some(Block::Sequence(Sequence {
        mark: node.mark,
        steps: parts
            .iter()
            .map(|part| Block::decode(part, problems))
            .collect(),
    }))
}

impl JsonSchema for Block {
    fn schema_name() -> Cow<'static, str> {
        "Block".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let step = generator.subschema_for::<Step>();
        let blocks = [
            generator.subschema_for::<ForEach>(),
            generator.subschema_for::<Parallel>(),
            generator.subschema_for::<OneOf>(),
            generator.subschema_for::<Sequence>(),
            generator.subschema_for::<Pause>(),
        ];
        let named = json_schema!({
            "type": "object",
            "description": "a step under its name",
            "minProperties": 1,
            "maxProperties": 1,
            "propertyNames": { "not": { "enum": WORDS } },
            "additionalProperties": step,
        });
        let forms: Vec<Schema> = std::iter::once(named).chain(blocks).collect();
        json_schema!({ "anyOf": forms })
    }
}
