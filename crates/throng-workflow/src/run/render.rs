//! Puts texts, arguments and paths together: one buffer, no detour.

use std::borrow::Cow;

use serde_json::Value;

use super::driver::Driver;
use super::scope::{Execution, Scope, Seen};
use crate::encode;
use crate::path::ResolvedPath;
use crate::program::{Expected, Form, PathProgram, Piece, Pieces};
use crate::template::Filter;

/// Why something could not be put together: a sentence.
pub(super) type Missing = String;

impl<D: Driver> Execution<'_, D> {
    /// Puts a text or a JSON value together.
    pub(super) fn render(&self, pieces: &Pieces, scope: &Scope<'_>) -> Result<Vec<u8>, Missing> {
        let mut out = Vec::with_capacity(pieces.capacity());
        for piece in &pieces.0 {
            match piece {
                Piece::Fixed(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Raw(bytes) => out.extend_from_slice(bytes),
                Piece::Value {
                    source,
                    filter,
                    form,
                    name,
                } => self
                    .see(source, scope, |seen| write(&seen, *filter, *form, &mut out))
                    .unwrap_or_else(|| Err("was never saved".to_owned()))
                    .map_err(|why| format!("`{{{name}}}` {why}"))?,
            }
        }
        Ok(out)
    }

    /// Puts a text together.
    pub(super) fn text(&self, pieces: &Pieces, scope: &Scope<'_>) -> Result<String, Missing> {
        let bytes = self.render(pieces, scope)?;
        // Every piece is a text, so that this never is lossy.
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Puts a value together.
    pub(super) fn value(&self, pieces: &Pieces, scope: &Scope<'_>) -> Result<Value, Missing> {
        if let [
            Piece::Value {
                source,
                filter: Filter::None,
                form: Form::Json,
                name,
            },
        ] = pieces.0.as_slice()
        {
            return self
                .see(source, scope, |seen| seen.to_json())
                .ok_or_else(|| format!("`{{{name}}}` was never saved"));
        }
        let bytes = self.render(pieces, scope)?;
        serde_json::from_slice(&bytes).map_err(|error| format!("a value came out wrong: {error}"))
    }

    /// The value to compare with.
    pub(super) fn expected<'e>(
        &self,
        expected: &'e Expected,
        scope: &Scope<'_>,
    ) -> Result<Cow<'e, Value>, Missing> {
        match expected {
            Expected::Fixed(value) => Ok(Cow::Borrowed(value)),
            Expected::Computed(pieces) => self.value(pieces, scope).map(Cow::Owned),
        }
    }

    /// The path with its placeholders put in.
    pub(super) fn path<'p>(
        &self,
        path: &'p PathProgram,
        scope: &Scope<'_>,
    ) -> Result<ResolvedPath<'p>, Missing> {
        let mut sources = path.sources.iter();
        path.path
            .resolve(|_| self.see(sources.next()?, scope, |seen| Cow::Owned(seen.to_json())))
            .map_err(|name| format!("`{{{name}}}` was never saved"))
    }

    /// Whether a condition such as `when` has a value that is not empty, not false and not null.
    pub(super) fn holds(&self, pieces: &Pieces, scope: &Scope<'_>) -> bool {
        match pieces.0.as_slice() {
            [Piece::Value { source, .. }] => self
                .see(source, scope, |seen| seen.is_truthy())
                .unwrap_or(false),
            _ => self
                .render(pieces, scope)
                .is_ok_and(|text| !text.is_empty()),
        }
    }
}

impl Pieces {
    /// A little more than the result usually needs.
    fn capacity(&self) -> usize {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Fixed(text) => text.len(),
                Piece::Raw(bytes) => bytes.len(),
                Piece::Value { .. } => 40,
            })
            .sum()
    }
}

fn write(seen: &Seen<'_>, filter: Filter, form: Form, out: &mut Vec<u8>) -> Result<(), Missing> {
    if filter == Filter::Int {
        return write_int(seen, out);
    }
    match (form, seen) {
        (Form::Json, seen) => write_json(seen, out),
        (Form::InString, Seen::Text(text)) => escape(text, out),
        (Form::InString, Seen::Json(Value::String(text))) => escape(text, out),
        (Form::InString, other) => escape(&other.to_json().to_string(), out),
        (Form::Text, Seen::Text(text)) => out.extend_from_slice(text.as_bytes()),
        (Form::Text, Seen::Json(Value::String(text))) => out.extend_from_slice(text.as_bytes()),
        (Form::Text, other) => out.extend_from_slice(other.to_json().to_string().as_bytes()),
        (Form::Percent, seen) => encoded(seen, encode::percent, out),
        (Form::Urlencoded, seen) => encoded(seen, encode::form, out),
        (Form::Quoted, seen) => encoded(seen, encode::quoted, out),
    }
    Ok(())
}

/// As text, encoded.
fn encoded(seen: &Seen<'_>, encode: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
    match seen {
        Seen::Text(text) => encode(text.as_bytes(), out),
        Seen::Json(Value::String(text)) => encode(text.as_bytes(), out),
        other => encode(other.to_json().to_string().as_bytes(), out),
    }
}

fn write_int(seen: &Seen<'_>, out: &mut Vec<u8>) -> Result<(), Missing> {
    let number: Option<i64> = match seen {
        Seen::Text(text) => text.trim().parse().ok(),
        Seen::Json(Value::String(text)) => text.trim().parse().ok(),
        Seen::Json(Value::Number(number)) => number.as_i64(),
        Seen::Json(_) | Seen::List(_) => None,
    };
    let number = number.ok_or("is no whole number")?;
    out.extend_from_slice(number.to_string().as_bytes());
    Ok(())
}

fn write_json(seen: &Seen<'_>, out: &mut Vec<u8>) {
    match seen {
        Seen::Text(text) => {
            out.push(b'"');
            escape(text, out);
            out.push(b'"');
        }
        Seen::Json(value) => {
            serde_json::to_writer(out, value).expect("writing to memory cannot fail")
        }
        Seen::List(items) => {
            serde_json::to_writer(out, items).expect("writing to memory cannot fail")
        }
    }
}

/// Escapes for the inside of a JSON string (RFC 8259 section 7).
fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[start..at]);
        start = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_survives_in_a_string(text in any::<String>()) {
            let mut out = b"\"".to_vec();
            escape(&text, &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn a_whole_placeholder_keeps_its_type(value in json()) {
            let mut out = Vec::new();
            write(&Seen::Json(&value), Filter::None, Form::Json, &mut out).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), value);
        }

        #[test]
        fn any_value_fits_into_a_text(value in json()) {
            let mut out = b"\"<".to_vec();
            write(&Seen::Json(&value), Filter::None, Form::InString, &mut out).unwrap();
            out.extend_from_slice(b">\"");
            let shown = match &value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), format!("<{shown}>"));
        }
    }

    #[test]
    fn ints() {
        for (value, expected) in [
            (Value::from("17"), Ok("17")),
            (Value::from(17), Ok("17")),
            (Value::from(" -3 "), Ok("-3")),
            (Value::from("1.5"), Err(())),
            (Value::from("x"), Err(())),
            (Value::Null, Err(())),
        ] {
            let mut out = Vec::new();
            let found = write(&Seen::Json(&value), Filter::Int, Form::Json, &mut out);
            assert_eq!(
                found
                    .map(|()| String::from_utf8(out).unwrap())
                    .map_err(|_| ()),
                expected.map(str::to_owned)
            );
        }
    }
}
