//! YAML text as a tree whose every value knows its place in the file.
//!
//! Also here, because they work on the tree before anybody interprets it: `${NAME}` from the environment and values given
//! by flags. This module knows no key of the scenario format.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;

use crate::problem::{Mark, Problems};

/// One value of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub mark: Mark,
    /// Whether `${NAME}` stood in it. Such a value is never shown in a message.
    pub from_environment: bool,
    /// The text with each `${NAME}` as `{NAME}`, for names that must tell what varies and no value of the environment.
    pub named: Option<String>,
}

/// The kinds of value, as in JSON; maps keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub mark: Mark,
}

impl Node {
    /// A text given by a flag.
    pub fn text(text: impl Into<String>, flag: &'static str) -> Self {
        Self {
            kind: Kind::Text(text.into()),
            mark: Mark::flag(flag),
            from_environment: false,
            named: None,
        }
    }

    /// A list given by a flag.
    pub fn list(items: Vec<Node>, flag: &'static str) -> Self {
        Self {
            kind: Kind::List(items),
            mark: Mark::flag(flag),
            from_environment: false,
            named: None,
        }
    }

    /// The value under `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries
                .iter()
                .find(|(k, _)| k.text == key)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// Puts `value` at a dotted path such as `users.count`, making the maps on the way.
    pub fn set(&mut self, path: &str, value: Node) {
        let (head, rest) = path
            .split_once('.')
            .map_or((path, None), |(head, rest)| (head, Some(rest)));
        if !matches!(self.kind, Kind::Map(_)) {
            self.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(entries) = &mut self.kind else {
            return;
        };
        let at = entries
            .iter()
            .position(|(key, _)| key.text == head)
            .unwrap_or_else(|| {
                let key = Key {
                    text: head.to_owned(),
                    mark: value.mark,
                };
                entries.push((
                    key,
                    Node {
                        kind: Kind::Null,
                        mark: value.mark,
                        from_environment: false,
                        named: None,
                    },
                ));
                entries.len() - 1
            });
        match rest {
            Some(rest) => entries[at].1.set(rest, value),
            None => entries[at].1 = value,
        }
    }

    /// Takes the value at a dotted path away.
    pub fn remove(&mut self, path: &str) {
        let (head, rest) = path
            .split_once('.')
            .map_or((path, None), |(head, rest)| (head, Some(rest)));
        let Kind::Map(entries) = &mut self.kind else {
            return;
        };
        match rest {
            Some(rest) => {
                if let Some((_, node)) = entries.iter_mut().find(|(key, _)| key.text == head) {
                    node.remove(rest);
                }
            }
            None => entries.retain(|(key, _)| key.text != head),
        }
    }

    /// The same value as JSON, to compare with.
    #[cfg(test)]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Parses YAML (one document). Broken syntax is one problem and no tree.
pub(crate) fn parse(source: &str, problems: &mut Problems) -> Option<Node> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Kind>>(source, options) {
        Ok(root) => Some(Node::from(root)),
        Err(error) => {
            let mark = error.location().map_or(
                Mark {
                    line: 1,
                    column: 1,
                    length: 1,
                    flag: None,
                },
                |at| Mark {
                    line: at.line() as u32,
                    column: at.column() as u32,
                    length: 1,
                    flag: None,
                },
            );
            let text = error.without_snippet().to_string();
            // The place is told apart from the message, and the parser's options are no business of the file's author.
            let text = text.split(" at line ").next().unwrap_or(&text);
            let text = text
                .split(", set DuplicateKeyPolicy")
                .next()
                .unwrap_or(text)
                .trim_end_matches(':')
                .to_owned();
            let text = text.replace("simple key expected ':'", "expected a `:` after the key");
            let message = format!("this is not valid YAML: {text}");
            // These two are where they are said to be.
            if text.starts_with("duplicate") || text.starts_with("unclosed quote") {
                problems.add(mark, message);
            } else {
                problems.syntax(mark, message);
            }
            None
        }
    }
}

impl From<Spanned<Kind>> for Node {
    fn from(spanned: Spanned<Kind>) -> Self {
        Self {
            mark: mark_of(spanned.referenced),
            kind: spanned.value,
            from_environment: false,
            named: None,
        }
    }
}

fn mark_of(location: serde_saphyr::Location) -> Mark {
    Mark {
        line: location.line() as u32,
        column: location.column() as u32,
        length: (location.span().len() as u32).max(1),
        flag: None,
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value)
            .map(Kind::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element::<Spanned<Kind>>()? {
            items.push(Node::from(item));
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key {
                mark: mark_of(key.referenced),
                text: key.value,
            };
            entries.push((key, Node::from(map.next_value::<Spanned<Kind>>()?)));
        }
        Ok(Kind::Map(entries))
    }
}

/// Looks a variable of the environment up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces `${NAME}` and `${NAME:-default}` in every text (`$${` stands for a literal `${`). With `tolerate_missing`, a
/// variable that is not set is left as it stands and returned instead of being a problem.
pub(crate) fn substitute(
    root: &mut Node,
    environment: Lookup<'_>,
    tolerate_missing: bool,
    problems: &mut Problems,
) -> Vec<String> {
    let mut missing = Vec::new();
    walk(root, &mut |node| {
        let Kind::Text(text) = &node.kind else { return };
        if !text.contains("${") {
            return;
        }
        match expand(text, environment) {
            Ok((expanded, used)) => {
                let by_name = |name: &str| Some(format!("{{{name}}}"));
                node.named = expand(text, &by_name).ok().map(|(named, _)| named);
                node.kind = Kind::Text(expanded);
                node.from_environment |= used;
            }
            Err(ExpandError::Missing { name, .. }) if tolerate_missing => {
                node.from_environment = true;
                missing.push(name);
            }
            Err(ExpandError::Missing { name, offset }) => {
                let mark = node.mark.within(text, offset, name.len() + 3);
                problems.add_with_help(
                    mark,
                    format!("the environment variable {name} is not set"),
                    format!("set {name}, or give a default: `${{{name}:-...}}`"),
                );
                node.from_environment = true;
            }
            Err(ExpandError::Malformed { offset, why }) => {
                problems.add_with_help(
                    node.mark.within(text, offset, 2),
                    format!("{why} in the reference to an environment variable"),
                    "write `${NAME}` or `${NAME:-default}`; `$${` stands for a literal `${`",
                );
            }
        }
    });
    missing.sort();
    missing.dedup();
    missing
}

fn walk(node: &mut Node, visit: &mut dyn FnMut(&mut Node)) {
    visit(node);
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| walk(item, visit)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| walk(value, visit)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

enum ExpandError {
    Missing { name: String, offset: usize },
    Malformed { offset: usize, why: &'static str },
}

fn expand(text: &str, environment: Lookup<'_>) -> Result<(String, bool), ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut used = false;
    while let Some(at) = rest.find("${") {
        let offset = text.len() - rest.len() + at;
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or(ExpandError::Malformed {
            offset,
            why: "missing `}`",
        })?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(ExpandError::Malformed {
                offset,
                why: "bad name",
            });
        }
        // As in a shell, `:-` also stands in for a variable that is set but empty.
        let value = environment(name).filter(|value| !value.is_empty() || default.is_none());
        match value.as_deref().or(default) {
            Some(value) => out.push_str(value),
            None => {
                return Err(ExpandError::Missing {
                    name: name.to_owned(),
                    offset,
                });
            }
        }
        used = true;
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok((out, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(source: &str) -> Node {
        let mut problems = Problems::new("t.yaml", source);
        let node = parse(source, &mut problems).expect("valid");
        assert!(problems.is_empty());
        node
    }

    fn at(node: &Node) -> (u32, u32) {
        (node.mark.line, node.mark.column)
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let root = tree("a: 1\nb:\n  - x\n  - { c: \"y z\", d: on }\n");
        assert_eq!(at(root.get("a").unwrap()), (1, 4));
        let Kind::List(items) = &root.get("b").unwrap().kind else {
            panic!("a list")
        };
        assert_eq!(at(&items[0]), (3, 5));
        assert_eq!(at(items[1].get("c").unwrap()), (4, 10));
        assert_eq!(
            items[1].get("d").unwrap().kind,
            Kind::Text("on".into()),
            "YAML 1.2: `on` is a text"
        );
        let Kind::Map(entries) = &root.kind else {
            panic!("a map")
        };
        assert_eq!((entries[1].0.mark.line, entries[1].0.mark.column), (2, 1));
    }

    #[test]
    fn aliases_point_to_where_they_are_used() {
        let root = tree("a: &x { k: 1 }\nb: *x\n");
        assert_eq!(
            root.get("b").unwrap().to_json(),
            serde_json::json!({"k": 1})
        );
        assert_eq!(at(root.get("b").unwrap()), (2, 4));
    }

    #[test]
    fn duplicate_keys_and_bad_syntax_are_one_problem_with_a_place() {
        for (source, line) in [
            ("a: 1\na: 2\n", 2),
            ("a: [1, 2\nb: 3\n", 2),
            ("a: \"x\n", 2),
        ] {
            let mut problems = Problems::new("t.yaml", source);
            assert!(parse(source, &mut problems).is_none());
            let found = problems.into_sorted();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].mark.line >= 1 && found[0].mark.line <= line,
                "{found:?}"
            );
        }
    }

    #[test]
    fn environment_is_replaced_with_defaults_and_escapes() {
        let environment = |name: &str| match name {
            "HOST" => Some("h".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("http://${HOST}:${PORT:-80}/", "http://h:80/"),
            ("${EMPTY:-x}", "x"),
            ("$${HOST} $5", "${HOST} $5"),
            ("[${EMPTY}]", "[]"),
        ] {
            let (expanded, _) = expand(text, &environment).ok().expect(text);
            assert_eq!(expanded, expected);
        }
        assert!(matches!(
            expand("${NOPE}", &environment),
            Err(ExpandError::Missing { .. })
        ));
        assert!(matches!(
            expand("${NOPE", &environment),
            Err(ExpandError::Malformed { .. })
        ));
        assert!(matches!(
            expand("${1A}", &environment),
            Err(ExpandError::Malformed { .. })
        ));
    }

    #[test]
    fn values_are_set_and_removed_by_path() {
        let mut root = tree("users: { count: 2 }\n");
        root.set("users.count", Node::text("5", "--users"));
        root.set("load.seed", Node::text("1", "--seed"));
        root.remove("users.nothing");
        assert_eq!(
            root.to_json(),
            serde_json::json!({"users": {"count": "5"}, "load": {"seed": "1"}})
        );
        root.remove("load.seed");
        assert_eq!(
            root.to_json(),
            serde_json::json!({"users": {"count": "5"}, "load": {}})
        );
    }
}
