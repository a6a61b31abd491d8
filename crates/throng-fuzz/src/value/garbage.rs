//! What no schema asked for: any JSON, and bodies that are none.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::SBoxedStrategy;
use serde_json::Value;

use super::number::any_number;
use super::{Values, text};

/// How deep a nesting that is meant to be too deep is at most.
const DEEPEST: usize = 20_000;
/// The longest text of a body, in bytes.
const LONGEST: usize = 300_000;

/// Any JSON value: nested a few levels, with odd texts and numbers at the edges.
pub fn garbage() -> Values {
    let leaf = weighted![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => any_number(),
        5 => text(0, Some(48)).prop_map(Value::String),
    ]
    .sboxed();
    let object = |value: Values| {
        vec((text(0, Some(12)), value), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
            .sboxed()
    };
    let list = |value: Values| vec(value, 0..4).prop_map(Value::Array).sboxed();
    let level = |inner: Values| {
        weighted![4 => leaf.clone(), 1 => list(inner.clone()), 1 => object(inner)].sboxed()
    };
    level(level(level(leaf.clone())))
}

/// Bodies that are broken JSON, or JSON that few think of: lone surrogates, NUL, numbers beyond 64 bits, deep nesting, members
/// twice, cut off, other encodings, nothing at all. `keys` are names of members, so that what is odd comes to where the
/// target looks; without any, made-up ones.
pub fn garbage_body(keys: &[String]) -> SBoxedStrategy<Bytes> {
    let keys = match keys {
        [] => vec!["a".to_owned(), "id".to_owned(), "name".to_owned()],
        keys => keys.to_vec(),
    };
    let key = select(keys.clone());
    // A value as it stands in the text, under one of the keys.
    let under = |raw: SBoxedStrategy<String>| {
        (key.clone(), raw)
            .prop_map(|(key, raw)| format!("{{{}:{raw}}}", Value::String(key)).into_bytes())
            .sboxed()
    };
    let object = Strategy::sboxed(
        keys.iter()
            .map(|_| garbage())
            .collect::<Vec<_>>()
            .prop_map(move |values| Value::Object(keys.iter().cloned().zip(values).collect())),
    );
    let written = object.prop_map(|value| value.to_string()).sboxed();
    weighted![
        3 => under(surrogates()),
        2 => under(text(0, Some(8)).prop_map(|text| format!("\"{}\\u0000\"", escaped(&text))).sboxed()),
        3 => under(numbers()),
        2 => under((10_usize..DEEPEST).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)).sboxed()),
        1 => (10_usize..DEEPEST).prop_map(|depth| "{\"a\":".repeat(depth).into_bytes()),
        2 => (key.clone(), garbage(), garbage())
            .prop_map(|(key, one, other)| {
                let key = Value::String(key);
                format!("{{{key}:{one},{key}:{other}}}").into_bytes()
            }),
        2 => (written.clone(), any::<proptest::sample::Index>())
            .prop_map(|(text, place)| {
                let mut bytes = text.into_bytes();
                bytes.truncate(place.index(bytes.len()));
                bytes
            }),
        1 => under((1_usize..LONGEST).prop_map(|length| format!("\"{}\"", "a".repeat(length))).sboxed()),
        2 => (key.clone(), vec(128_u8.., 1..6)).prop_map(|(key, wrong)| {
            let mut bytes = format!("{{{}:\"", Value::String(key)).into_bytes();
            bytes.extend(wrong);
            bytes.extend(b"\"}");
            bytes
        }),
        1 => written.clone().prop_map(|text| utf16(&text)),
        1 => written.clone().prop_map(|text| [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat()),
        1 => written.prop_map(|text| format!("{text},").into_bytes()),
        2 => select(&SHORT[..]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..64),
    ]
    .prop_map(Bytes::from)
    .sboxed()
}

/// Bodies that are short enough to be written down.
const SHORT: [&str; 16] = [
    "",
    " ",
    "null",
    "0",
    "\"\"",
    "[]",
    "[{}]",
    "{",
    "}",
    "{,}",
    "{\"a\":1,}",
    "{'a':1}",
    "// {}",
    "NaN",
    "\0",
    "<a/>",
];

/// Halves of surrogate pairs, alone or in the wrong order, as escapes: JSON allows them, UTF-8 doesn't.
fn surrogates() -> SBoxedStrategy<String> {
    let half = (0xd800_u16..0xe000).prop_map(|half| format!("\\u{half:04x}"));
    (text(0, Some(4)), vec(half, 1..3), text(0, Some(4)))
        .prop_map(|(before, halves, after)| {
            format!(
                "\"{}{}{}\"",
                escaped(&before),
                halves.concat(),
                escaped(&after)
            )
        })
        .sboxed()
}

/// A text as it stands between quotes.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Numbers that don't fit into 64 bits, or that aren't JSON.
fn numbers() -> SBoxedStrategy<String> {
    weighted![
        3 => select(&[
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809",
            "1e400", "-1e400", "1E+2", "-0", "-0.0", "1e-400",
        ][..]).prop_map(str::to_owned),
        1 => select(&["NaN", "Infinity", "-Infinity", "01", "+1", "0x10", ".5", "1.", "1_000", "--1"][..])
            .prop_map(str::to_owned),
        2 => (1_u8..10, 19_usize..5_000).prop_map(|(digit, length)| digit.to_string().repeat(length)),
    ]
    .sboxed()
}

fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}
