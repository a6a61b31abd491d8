//! JSONPath (RFC 9535) with placeholders: `$.id`, `$[?@.id == '{share}'].file_target`.
//!
//! A placeholder inside quotes puts its text in, escaped; outside quotes it becomes a JSON literal of its type. Plain member
//! and index paths, which are almost all, are followed directly.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use serde_json_path::JsonPath;

use crate::decode::Decode;
use crate::node::{Kind, Node};
use crate::problem::{Mark, Problems};
use crate::scalar::schema;
use crate::template::{self, Placeholder, Segment, Template};

/// A path of the file.
#[derive(Clone, Debug)]
pub struct Path {
    /// The path as it is written, with its placeholders.
    pub source: String,
    /// The same, cut into its parts.
    pub template: Template,
    fixed: Option<Fixed>,
}

#[derive(Clone, Debug)]
enum Fixed {
    Plain(Vec<Part>),
    General(Arc<JsonPath>),
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Member(String),
    Index(usize),
}

impl Default for Path {
    fn default() -> Self {
        Self {
            source: "$".to_owned(),
            template: Template::default(),
            fixed: Some(Fixed::Plain(Vec::new())),
        }
    }
}

schema!(Path, "JsonPath", { "type": "string", "pattern": r"^\$", "description": "a JSONPath (RFC 9535) into the result" });

impl Decode for Path {
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        let Kind::Text(text) = &node.kind else {
            problems.wrong_kind(node, "a JSONPath such as $.id");
            return Self::default();
        };
        if node.from_environment && !text.starts_with('$') {
            // Its text is not shown.
            problems.add(node.mark, "a JSONPath starts with `$`");
            return Self::default();
        }
        Self::parse(text, node.mark, problems)
    }
}

impl Path {
    /// Whether it's the default: the whole result.
    pub(crate) fn is_whole(&self) -> bool {
        self.source == "$"
    }

    /// Reads a path; mistakes are reported at their place.
    pub fn parse(text: &str, mark: Mark, problems: &mut Problems) -> Self {
        let before = problems.len();
        let source = text.to_owned();
        let template = template::parse(text, mark, problems);
        if problems.len() > before {
            return Self {
                source,
                template,
                ..Self::default()
            };
        }
        // Placeholders are checked by putting something harmless in their place.
        let sample =
            render(&template, |_| Some(Cow::Owned(Value::String("x".into())))).unwrap_or_default();
        let parsed = match JsonPath::parse(&sample) {
            Ok(path) => path,
            Err(_) if !sample.starts_with('$') => {
                let likely = if template::is_name(text) {
                    format!("`$.{text}`")
                } else {
                    "`$.id`, `$.items[0].name` or `$[?@.id == {share}]`".to_owned()
                };
                problems.add_with_help(
                    mark,
                    "a JSONPath starts with `$`",
                    format!("write {likely}"),
                );
                return Self {
                    source,
                    template,
                    ..Self::default()
                };
            }
            Err(error) => {
                problems.add_with_help(
                    mark.within(text, error.position(), 1),
                    format!("this is not a valid JSONPath: {}", error.message()),
                    "valid are `$.id`, `$.items[0].name` or `$[?@.id == {share}].name`, for instance",
                );
                return Self {
                    source,
                    template,
                    ..Self::default()
                };
            }
        };
        let fixed = template.is_literal().then(|| match plain(&sample) {
            Some(parts) => Fixed::Plain(parts),
            None => Fixed::General(Arc::new(parsed)),
        });
        Self {
            source,
            template,
            fixed,
        }
    }

    /// Makes the path ready for use: what has placeholders is rendered with `value`. The error is the placeholder without a
    /// value, or the path that came out wrong.
    pub fn resolve<'v>(
        &self,
        value: impl FnMut(&Placeholder) -> Option<Cow<'v, Value>>,
    ) -> Result<ResolvedPath<'_>, String> {
        Ok(match &self.fixed {
            Some(Fixed::Plain(parts)) => ResolvedPath(Resolved::Plain(parts)),
            Some(Fixed::General(path)) => ResolvedPath(Resolved::Fixed(path)),
            None => {
                let text = render(&self.template, value)?;
                let path = JsonPath::parse(&text).map_err(|error| format!("{text}: {error}"))?;
                ResolvedPath(Resolved::Rendered(Box::new(path)))
            }
        })
    }
}

/// A path that can be followed.
#[derive(Debug)]
pub struct ResolvedPath<'a>(Resolved<'a>);

#[derive(Debug)]
enum Resolved<'a> {
    Plain(&'a [Part]),
    Fixed(&'a JsonPath),
    Rendered(Box<JsonPath>),
}

impl ResolvedPath<'_> {
    /// The first value that the path leads to.
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        match &self.0 {
            Resolved::Plain(parts) => follow(parts, root),
            Resolved::Fixed(path) => path.query(root).first(),
            Resolved::Rendered(path) => path.query(root).first(),
        }
    }
}

fn follow<'v>(parts: &[Part], root: &'v Value) -> Option<&'v Value> {
    parts.iter().try_fold(root, |value, part| match part {
        Part::Member(name) => value.get(name.as_str()),
        Part::Index(index) => value.get(index),
    })
}

/// The parts of a path that has only members and indices, such as `$.a.b[0]`.
fn plain(text: &str) -> Option<Vec<Part>> {
    let mut rest = text.strip_prefix('$')?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if !template::is_name(&after[..end]) {
                return None;
            }
            parts.push(Part::Member(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            if !index.chars().all(|c| c.is_ascii_digit()) {
                return None;
            }
            parts.push(Part::Index(index.parse().ok()?));
            rest = after;
        }
    }
    Some(parts)
}

/// Writes the path out. Inside quotes a value is put in as escaped text, outside as a JSON literal.
fn render<'v>(
    template: &Template,
    mut value: impl FnMut(&Placeholder) -> Option<Cow<'v, Value>>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    for segment in &template.segments {
        match segment {
            Segment::Text(text) => {
                let mut escaped = false;
                for c in text.chars() {
                    match (quote, c) {
                        _ if escaped => escaped = false,
                        (Some(_), '\\') => escaped = true,
                        (Some(open), c) if c == open => quote = None,
                        (None, '\'' | '"') => quote = Some(c),
                        _ => {}
                    }
                }
                out.push_str(text);
            }
            Segment::Placeholder(placeholder) => {
                let value = value(placeholder).ok_or_else(|| placeholder.name())?;
                match (quote, value.as_ref()) {
                    (Some(quote), Value::String(text)) => escape(text, quote, &mut out),
                    (Some(quote), other) => escape(&other.to_string(), quote, &mut out),
                    (None, Value::String(text)) => {
                        out.push('\'');
                        escape(text, '\'', &mut out);
                        out.push('\'');
                    }
                    (None, other) => {
                        let _ = write!(out, "{other}");
                    }
                }
            }
        }
    }
    Ok(out)
}

/// Escapes for a string literal of RFC 9535 section 2.3.1.1.
fn escape(text: &str, quote: char, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn path(text: &str) -> Path {
        let mut problems = Problems::new("t.yaml", "");
        let path = Path::parse(text, Mark::default(), &mut problems);
        assert!(problems.is_empty(), "{:?}", problems.into_sorted());
        path
    }

    fn first(text: &str, root: &Value, x: &Value) -> Option<Value> {
        let path = path(text);
        let resolved = path.resolve(|_| Some(Cow::Borrowed(x))).unwrap();
        resolved.first(root).cloned()
    }

    #[test]
    fn plain_paths_agree_with_the_general_ones() {
        let root = json!({"a": {"b": [1, {"c": "d"}]}, "$x": 1});
        for text in [
            "$",
            "$.a",
            "$.a.b",
            "$.a.b[1].c",
            "$.a.b[7]",
            "$.z",
            "$.a.z.q",
        ] {
            assert!(matches!(path(text).fixed, Some(Fixed::Plain(_))), "{text}");
            let general = JsonPath::parse(text).unwrap();
            assert_eq!(
                first(text, &root, &Value::Null),
                general.query(&root).first().cloned(),
                "{text}"
            );
        }
        assert_eq!(first("$['$x']", &root, &Value::Null), Some(json!(1)));
        assert_eq!(first("$.a.b[-1].c", &root, &Value::Null), Some(json!("d")));
    }

    #[test]
    fn placeholders_keep_their_type_outside_quotes() {
        let root = json!([{"id": "7", "v": "text"}, {"id": 7, "v": "number"}]);
        assert_eq!(
            first("$[?@.id == '{x}'].v", &root, &json!("7")),
            Some(json!("text"))
        );
        assert_eq!(
            first("$[?@.id == '{x}'].v", &root, &json!(7)),
            Some(json!("text"))
        );
        assert_eq!(
            first("$[?@.id == {x}].v", &root, &json!(7)),
            Some(json!("number"))
        );
        assert_eq!(
            first("$[?@.id == {x}].v", &root, &json!("7")),
            Some(json!("text"))
        );
    }

    #[test]
    fn bad_paths_are_problems() {
        for text in ["id", "$.", "$[?@.id = 1]", "$[", ""] {
            let mut problems = Problems::new("t.yaml", "");
            Path::parse(text, Mark::default(), &mut problems);
            assert_eq!(problems.len(), 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_found_again(text in any::<String>()) {
            let root = json!([{"id": "other"}, {"id": text, "v": 1}]);
            for path in ["$[?@.id == '{x}'].v", "$[?@.id == \"{x}\"].v", "$[?@.id == {x}].v"] {
                prop_assert_eq!(first(path, &root, &json!(text)), Some(json!(1)));
            }
        }
    }
}
