//! Texts, JSON values and conditions, cut into pieces.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use serde_json::Value;
use throng_metrics::Catalog;

use super::names::{Names, Visible};
use crate::decode::At;
use crate::encode;
use crate::model::Check;
use crate::path::Path;
use crate::problem::Problems;
use crate::program::{
    Condition, Content, Expected, Form, PathProgram, Piece, Pieces, Place, Source, Test,
};
use crate::template::{Filter, JsonTemplate, Segment, Template};

/// What is needed to resolve names, and what is collected on the way.
pub(super) struct Values<'a> {
    pub(super) names: &'a mut Names,
    pub(super) visible: &'a Visible,
    pub(super) problems: &'a mut Problems,
    /// Every source that was used.
    pub(super) used: Vec<Source>,
}

impl Values<'_> {
    /// A text.
    pub(super) fn text(&mut self, template: &Template) -> Pieces {
        let mut out = Cutter::default();
        self.segments(template, Form::Text, &mut out);
        out.finish()
    }

    /// A JSON value.
    pub(super) fn json(&mut self, template: &JsonTemplate) -> Pieces {
        let mut out = Cutter::default();
        self.write_json(template, &mut out);
        out.finish()
    }

    /// A value to compare with.
    pub(super) fn expected(&mut self, template: &JsonTemplate) -> Expected {
        let pieces = self.json(template);
        match pieces
            .fixed()
            .and_then(|text| serde_json::from_str(text).ok())
        {
            Some(value) => Expected::Fixed(value),
            None => Expected::Computed(pieces),
        }
    }

    /// A text, encoded as its place wants it.
    pub(super) fn encoded(&mut self, template: &Template, form: Form, out: &mut Cutter) {
        self.segments(template, form, out);
    }

    /// A path of a URL: what is put in stays within its segment; what the author wrote is kept as far as a URL may have it.
    pub(super) fn url_path(&mut self, template: &Template, out: &mut Cutter) {
        for segment in &template.segments {
            match segment {
                Segment::Text(text) => out.fixed(&encode::path(text)),
                Segment::Placeholder(placeholder) => {
                    let source = self.source(placeholder);
                    out.value(
                        source,
                        placeholder.filter,
                        Form::Percent,
                        placeholder.name(),
                    );
                }
            }
        }
    }

    /// A path.
    pub(super) fn path(&mut self, path: &Path) -> PathProgram {
        let placeholders: Vec<_> = path.template.placeholders().cloned().collect();
        let sources = placeholders
            .iter()
            .map(|placeholder| self.source(placeholder))
            .collect();
        PathProgram {
            path: path.clone(),
            sources,
        }
    }

    fn source(&mut self, placeholder: &crate::template::Placeholder) -> Source {
        let source = self.names.source(placeholder, self.visible, self.problems);
        if !self.used.contains(&source) {
            self.used.push(source.clone());
        }
        source
    }

    fn segments(&mut self, template: &Template, form: Form, out: &mut Cutter) {
        for segment in &template.segments {
            match segment {
                Segment::Text(text) if form == Form::InString => {
                    let quoted = Value::from(text.as_str()).to_string();
                    out.fixed(&quoted[1..quoted.len() - 1]);
                }
                Segment::Text(text) => out.fixed(&literal(text, form)),
                Segment::Placeholder(placeholder) => {
                    let source = self.source(placeholder);
                    out.value(source, placeholder.filter, form, placeholder.name());
                }
            }
        }
    }

    pub(super) fn write_json(&mut self, template: &JsonTemplate, out: &mut Cutter) {
        match template {
            JsonTemplate::Null => out.fixed("null"),
            JsonTemplate::Bool(value) => out.fixed(if *value { "true" } else { "false" }),
            JsonTemplate::Number(number) => out.fixed(&number.to_string()),
            JsonTemplate::Text(text) => match text.whole() {
                // A text keeps its quotes: only the bare placeholder gives its type away.
                Some(placeholder) if placeholder.filter != Filter::Text => {
                    let source = self.source(placeholder);
                    out.value(source, placeholder.filter, Form::Json, placeholder.name());
                }
                _ => {
                    out.fixed("\"");
                    self.segments(text, Form::InString, out);
                    out.fixed("\"");
                }
            },
            JsonTemplate::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    out.fixed(if index == 0 { "[" } else { "," });
                    self.write_json(item, out);
                }
                out.fixed(if items.is_empty() { "[]" } else { "]" });
            }
            JsonTemplate::Map(entries) => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.fixed(if index == 0 { "{" } else { "," });
                    out.fixed(&Value::from(key.value.as_str()).to_string());
                    out.fixed(":");
                    self.write_json(value, out);
                }
                out.fixed(if entries.is_empty() { "{}" } else { "}" });
            }
        }
    }

    /// What must hold.
    pub(super) fn condition(&mut self, check: &Check, catalog: &mut Catalog) -> Condition {
        let mut tests = Vec::new();
        if !check.status.0.is_empty() {
            tests.push(Test::Status(check.status.0.clone()));
        }
        if let Some(schema) = &check.schema {
            match jsonschema::validator_for(&schema.value.0) {
                Ok(validator) => tests.push(Test::Schema(Arc::new(validator))),
                Err(error) => {
                    let what = format!("this is not a valid JSON Schema: {error}");
                    self.problems.add(schema.mark, what);
                    // Not "nothing to check" as well.
                    tests.push(Test::Exists(true));
                }
            }
        }
        if let Some(exists) = check.exists {
            tests.push(Test::Exists(exists));
        }
        let mut compare =
            |values: &mut Self, given: &Option<JsonTemplate>, test: fn(Expected) -> Test| {
                if let Some(template) = given {
                    let expected = values.expected(template);
                    tests.push(test(expected));
                }
            };
        compare(self, &check.equals, Test::Equals);
        compare(self, &check.not_equals, Test::NotEquals);
        compare(self, &check.contains, Test::Contains);
        compare(self, &check.not_contains, Test::NotContains);
        if let Some(template) = &check.contains_each {
            let counter = check
                .count_missing
                .as_ref()
                .map(|name| catalog.counter(&self.counter(name)));
            tests.push(Test::ContainsEach(self.expected(template), counter));
        } else if let Some(name) = &check.count_missing {
            self.problems
                .add(name.mark, "`count_missing` needs `contains_each` beside it");
        }
        tests.extend(
            check
                .matches
                .as_ref()
                .map(|pattern| Test::Matches(pattern.0.clone())),
        );
        tests.extend(check.json_type.map(Test::Type));
        tests.extend(check.length.map(Test::Length));
        tests.extend(check.at_least.map(Test::AtLeast));
        tests.extend(check.at_most.map(Test::AtMost));
        if tests.is_empty() {
            self.problems.add_with_help(
                check.mark,
                "this says nothing that could be checked",
                "add one of exists, equals, not_equals, contains, not_contains, contains_each, matches, type, length, \
                 at_least, at_most, schema, status",
            );
        }
        let place = match &check.header {
            None => Place::Path(self.path(&check.path)),
            Some(name) => Place::Header(self.header_name(name)),
        };
        Condition { place, tests }
    }

    /// The name of a header.
    pub(super) fn header_name(&mut self, name: &At<String>) -> HeaderName {
        HeaderName::from_bytes(name.value.as_bytes()).unwrap_or_else(|_| {
            self.problems
                .add(name.mark, format!("`{}` is no header name", name.value));
            http::header::HOST
        })
    }

    /// The name of a counter.
    pub(super) fn counter(&mut self, name: &At<String>) -> String {
        if !crate::template::is_name(name) {
            self.problems.add(
                name.mark,
                format!("`{}` cannot be the name of a counter", name.value),
            );
        }
        name.value.clone()
    }
}

/// Puts pieces one after the other, neighbouring fixed ones into one.
#[derive(Default)]
pub(super) struct Cutter {
    pieces: Vec<Piece>,
    text: String,
}

impl Cutter {
    pub(super) fn fixed(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds bytes that need not be text.
    pub(super) fn raw(&mut self, bytes: Bytes) {
        self.flush();
        self.pieces.push(Piece::Raw(bytes));
    }

    fn value(&mut self, source: Source, filter: Filter, form: Form, name: String) {
        self.flush();
        self.pieces.push(Piece::Value {
            source,
            filter,
            form,
            name: name.into(),
        });
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces
                .push(Piece::Fixed(std::mem::take(&mut self.text).into()));
        }
    }

    pub(super) fn finish(mut self) -> Pieces {
        self.flush();
        Pieces(self.pieces)
    }

    /// The same, known already where nothing is put in.
    pub(super) fn content(self) -> Content {
        let pieces = self.finish();
        match pieces.fixed() {
            Some(text) => Content::Fixed(Bytes::copy_from_slice(text.as_bytes())),
            None => Content::Made(pieces),
        }
    }
}

/// What the author wrote of a text, as its form has it.
fn literal(text: &str, form: Form) -> Cow<'_, str> {
    let encode: fn(&[u8], &mut Vec<u8>) = match form {
        Form::Percent => encode::percent,
        Form::Urlencoded => encode::form,
        Form::Quoted => encode::quoted,
        Form::Json | Form::InString | Form::Text => return Cow::Borrowed(text),
    };
    let mut out = Vec::new();
    encode(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned().into()
}
