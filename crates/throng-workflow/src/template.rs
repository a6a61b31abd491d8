//! Texts with placeholders: `Hello {bob.name}`, `{note}`, `{share | int}`.
//!
//! Here is the syntax only. Which names exist is known where a workflow is compiled.

use crate::decode::Decode;
use crate::node::{Kind, Node};
use crate::problem::{Mark, Problems};
use crate::scalar::schema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// A text with placeholders. `{{` and `}}` stand for literal braces.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// The parts in order; literal texts are never empty.
    pub segments: Vec<Segment>,
    /// Where it stands.
    pub mark: Mark,
    /// The same with the names of the environment's variables for their values, where it has any: such a value may be a
    /// secret.
    pub named: Option<Vec<Segment>>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Segment {
    /// Text as it is.
    Text(String),
    /// A value to be put in.
    Placeholder(Placeholder),
}

/// `{name}`, `{actor.property}` or `{name | filter}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Placeholder {
    /// The words between the dots: one or two.
    pub words: Vec<String>,
    /// What is done with the value.
    pub filter: Filter,
    /// Where it stands.
    pub mark: Mark,
}

/// What is done with a value before it is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Filter {
    /// Nothing.
    #[default]
    None,
    /// `int`: a text of digits becomes a whole number.
    Int,
    /// `text`: any value becomes a text.
    Text,
}

impl Placeholder {
    /// The name as it was written.
    pub fn name(&self) -> String {
        self.words.join(".")
    }
}

impl Template {
    /// Whether there is nothing to put in.
    pub(crate) fn is_literal(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| matches!(segment, Segment::Text(_)))
    }

    /// The one placeholder, when the whole text is one: it then keeps the type of its value.
    pub fn whole(&self) -> Option<&Placeholder> {
        match self.segments.as_slice() {
            [Segment::Placeholder(placeholder)] => Some(placeholder),
            _ => None,
        }
    }

    /// The placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Placeholder(placeholder) => Some(placeholder),
            Segment::Text(_) => None,
        })
    }

    /// Fills in texts only, by a function from names to values; for names of users and other places off the measured
    /// path. The error is the name that has no value.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut out = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => out.push_str(text),
                Segment::Placeholder(placeholder) => {
                    let name = placeholder.name();
                    out.push_str(&value(&name).ok_or(name)?);
                }
            }
        }
        Ok(out)
    }
}

/// Reads a template; mistakes are reported at their place.
pub fn parse(text: &str, mark: Mark, problems: &mut Problems) -> Template {
    let mut segments = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let offset = text[..text.len() - rest.len() + at].chars().count();
        let brace = &rest[at..=at];
        if rest[at + 1..].starts_with(brace) {
            literal.push_str(brace);
            rest = &rest[at + 2..];
            continue;
        }
        let place = mark.within(text, offset, 1);
        if brace == "}" {
            problems.add_with_help(
                place,
                "a `}` without its `{`",
                "write `}}` for a literal `}`",
            );
            rest = &rest[at + 1..];
            continue;
        }
        let Some(end) = rest[at..].find('}') else {
            problems.add_with_help(
                place,
                "a `{` without its `}`",
                "write `{{` for a literal `{`",
            );
            rest = "";
            break;
        };
        let inner = &rest[at + 1..at + end];
        let place = mark.within(text, offset, end + 1);
        if let Some((words, filter)) = placeholder(inner, place, problems) {
            if !literal.is_empty() {
                segments.push(Segment::Text(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Placeholder(Placeholder {
                words,
                filter,
                mark: place,
            }));
        }
        rest = &rest[at + end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        segments.push(Segment::Text(literal));
    }
    Template {
        segments,
        mark,
        named: None,
    }
}

fn placeholder(inner: &str, mark: Mark, problems: &mut Problems) -> Option<(Vec<String>, Filter)> {
    let (name, filter) = match inner.split_once('|') {
        Some((name, filter)) => (name.trim(), filter.trim()),
        None => (inner.trim(), ""),
    };
    let filter = match filter {
        "" => Filter::None,
        "int" => Filter::Int,
        "text" => Filter::Text,
        other => {
            problems.unknown(mark, "filter", other, ["int", "text"]);
            Filter::None
        }
    };
    let words: Vec<String> = name.split('.').map(str::to_owned).collect();
    if words.len() <= 2 && words.iter().all(|word| is_name(word)) {
        return Some((words, filter));
    }
    problems.add_with_help(
        mark,
        format!("expected a name such as {{note}} or {{bob.name}}, found {{{inner}}}"),
        "write `{{` and `}}` for literal braces",
    );
    None
}

/// Whether a word may be the name of a variable, an actor, a list or a counter.
pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

schema!(Template, "Template", { "type": "string", "description": "a text with placeholders such as {note} or {bob.name}" });

impl Decode for Template {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Text(text) => Self {
                // What is wrong with it is reported of the text itself.
                named: node
                    .named
                    .as_ref()
                    .map(|named| parse(named, node.mark, &mut Problems::new("", "")).segments),
                ..parse(text, node.mark, problems)
            },
            _ => {
                problems.wrong_kind(node, "a text");
                Self {
                    mark: node.mark,
                    ..Self::default()
                }
            }
        }
    }
}

/// Any JSON value whose texts are templates.
#[derive(Clone, Debug, Default)]
pub enum JsonTemplate {
    /// `null`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text; when it is one placeholder and nothing else, the value keeps its type.
    Text(Template),
    /// An array.
    List(Vec<JsonTemplate>),
    /// An object.
    Map(Vec<(crate::decode::At<String>, JsonTemplate)>),
}

schema!(JsonTemplate, "Json", {
    "description": "any value; its texts may have placeholders such as {note} or {bob.name}; a text that is a placeholder only keeps the type of the value"
});

impl Decode for JsonTemplate {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        match &node.kind {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(*value),
            Kind::Number(number) => Self::Number(number.clone()),
            Kind::Text(text) => Self::Text(parse(text, node.mark, problems)),
            Kind::List(items) => Self::List(
                items
                    .iter()
                    .map(|item| Self::decode(item, problems))
                    .collect(),
            ),
            Kind::Map(_) if problems.bare_placeholder(node).is_some() => {
                let placeholder = problems.bare_placeholder(node).unwrap_or_default();
                problems.add_with_help(
                    Mark {
                        length: placeholder.chars().count() as u32,
                        ..node.mark
                    },
                    format!("`{placeholder}` without quotes is a map with the key `{}`, not a placeholder", placeholder.trim_matches(['{', '}'])),
                    crate::problem::quote_it(&placeholder),
                );
                Self::Text(parse(&placeholder, node.mark, problems))
            }
            Kind::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.into(), Self::decode(value, problems)))
                    .collect(),
            ),
        }
    }
}

impl JsonTemplate {
    /// The placeholders in all of its texts.
    pub fn placeholders(&self) -> Vec<&Placeholder> {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => Vec::new(),
            Self::Text(template) => template.placeholders().collect(),
            Self::List(items) => items.iter().flat_map(Self::placeholders).collect(),
            Self::Map(entries) => entries
                .iter()
                .flat_map(|(_, value)| value.placeholders())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Template, Vec<String>) {
        let mut problems = Problems::new("t.yaml", "");
        let template = parse(text, Mark::default(), &mut problems);
        (
            template,
            problems
                .into_sorted()
                .into_iter()
                .map(|p| p.message)
                .collect(),
        )
    }

    fn fill(text: &str) -> String {
        let (template, problems) = read(text);
        assert!(problems.is_empty(), "{problems:?}");
        template.fill(|name| Some(format!("<{name}>"))).unwrap()
    }

    #[test]
    fn placeholders_and_braces() {
        assert_eq!(fill("a {x} b {bob.name}{y}"), "a <x> b <bob.name><y>");
        assert_eq!(fill("{{literal}} { x }"), "{literal} <x>");
        assert_eq!(fill("{{{x}}}"), "{<x>}");
        assert_eq!(fill("ünï {x} é"), "ünï <x> é");
        assert_eq!(fill(""), "");
    }

    #[test]
    fn filters() {
        let (template, problems) = read("{share | int}");
        assert!(problems.is_empty());
        assert_eq!(template.whole().unwrap().filter, Filter::Int);
        assert_eq!(read("{share | foo}").1, ["unknown filter `foo`"]);
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["{", "a {b", "}", "{a b}", "{1x}", "{a.b.c}", "{}"] {
            assert_eq!(read(text).1.len(), 1, "{text}");
        }
    }
}
