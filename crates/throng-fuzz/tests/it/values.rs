//! Values from schemas: that they fit, that they nearly fit, that they shrink, and that a seed says which.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use proptest::strategy::{Strategy, ValueTree};
use serde_json::{Value, json};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_fuzz::value::{Schemas, draw, garbage, garbage_body, runner, text};
use throng_sandbox::{Integr8scodeConfig, Integr8scodeSandbox};

/// Schemas, each with what is special about it.
fn table() -> Vec<(&'static str, Value)> {
    vec![
        ("anything", json!({})),
        ("true", json!(true)),
        ("null", json!({ "type": "null" })),
        ("boolean", json!({ "type": "boolean" })),
        ("integer", json!({ "type": "integer" })),
        (
            "bounded",
            json!({ "type": "integer", "minimum": 1, "maximum": 200 }),
        ),
        (
            "one number",
            json!({ "type": "integer", "minimum": 7, "maximum": 7 }),
        ),
        ("negative", json!({ "type": "integer", "maximum": -5 })),
        ("int32", json!({ "type": "integer", "format": "int32" })),
        (
            "exclusive",
            json!({ "type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3 }),
        ),
        (
            "exclusive of 3.0",
            json!({ "type": "integer", "minimum": 0, "exclusiveMinimum": true, "maximum": 2 }),
        ),
        (
            "steps",
            json!({ "type": "integer", "multipleOf": 7, "minimum": 10, "maximum": 80 }),
        ),
        ("number", json!({ "type": "number" })),
        (
            "share",
            json!({ "type": "number", "minimum": 0, "exclusiveMaximum": 1 }),
        ),
        (
            "quarters",
            json!({ "type": "number", "multipleOf": 0.25, "minimum": -2, "maximum": 2 }),
        ),
        ("text", json!({ "type": "string" })),
        (
            "bounded text",
            json!({ "type": "string", "minLength": 8, "maxLength": 12 }),
        ),
        ("long text", json!({ "type": "string", "minLength": 300 })),
        (
            "pattern",
            json!({ "type": "string", "pattern": "^[a-z]{2,5}-\\d+$" }),
        ),
        (
            "pattern and length",
            json!({ "type": "string", "pattern": "^\\w+$", "maxLength": 5, "minLength": 2 }),
        ),
        (
            "loose pattern",
            json!({ "type": "string", "pattern": "abc" }),
        ),
        (
            "email",
            json!({ "type": "string", "format": "email", "maxLength": 40 }),
        ),
        ("uuid", json!({ "type": "string", "format": "uuid" })),
        (
            "date-time",
            json!({ "type": "string", "format": "date-time" }),
        ),
        ("date", json!({ "type": "string", "format": "date" })),
        ("uri", json!({ "type": "string", "format": "uri" })),
        (
            "hostname",
            json!({ "type": "string", "format": "hostname" }),
        ),
        ("ipv4", json!({ "type": "string", "format": "ipv4" })),
        ("ipv6", json!({ "type": "string", "format": "ipv6" })),
        (
            "duration",
            json!({ "type": "string", "format": "duration" }),
        ),
        ("enum", json!({ "enum": ["light", "dark", 3, null] })),
        (
            "enum of a type",
            json!({ "type": "string", "enum": ["a", "b", 3] }),
        ),
        ("const", json!({ "const": { "a": [1] } })),
        (
            "nullable of 3.0",
            json!({ "type": "string", "nullable": true }),
        ),
        (
            "type list",
            json!({ "type": ["string", "null"], "maxLength": 3 }),
        ),
        (
            "anyOf",
            json!({ "anyOf": [{ "type": "integer" }, { "type": "string", "maxLength": 2 }] }),
        ),
        (
            "oneOf that overlaps",
            json!({ "oneOf": [
            { "type": "integer", "maximum": 10 }, { "type": "integer", "minimum": 5 },
        ] }),
        ),
        (
            "not",
            json!({ "type": "integer", "minimum": 0, "maximum": 5, "not": { "enum": [0, 1, 2] } }),
        ),
        (
            "list",
            json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 3 }),
        ),
        ("empty list", json!({ "type": "array", "items": false })),
        (
            "set",
            json!({ "type": "array", "items": { "enum": [1, 2, 3] }, "uniqueItems": true, "minItems": 2 }),
        ),
        (
            "tuple",
            json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }], "items": false, "minItems": 2 }),
        ),
        (
            "contains",
            json!({ "type": "array", "items": { "enum": [1, 2] }, "contains": { "const": 2 } }),
        ),
        (
            "object",
            json!({ "type": "object", "required": ["a"], "additionalProperties": false, "properties": {
            "a": { "type": "integer" }, "b": { "type": "string", "maxLength": 4 },
        } }),
        ),
        (
            "dictionary",
            json!({ "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1, "maxProperties": 3 }),
        ),
        (
            "required without schema",
            json!({ "type": "object", "required": ["x"] }),
        ),
        (
            "allOf",
            json!({ "allOf": [
            { "type": "object", "required": ["a"], "properties": { "a": { "type": "integer", "minimum": 3 } } },
            { "type": "object", "required": ["b"], "properties": { "a": { "maximum": 9 }, "b": { "type": "boolean" } } },
        ] }),
        ),
        (
            "one or the other",
            json!({ "type": "object",
            "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
            "oneOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
        ),
        (
            "recursive",
            json!({ "$ref": "#/$defs/node", "$defs": { "node": { "type": "object", "required": ["next"], "properties": {
            "next": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/node" }] },
        } } } }),
        ),
    ]
}

fn drawn(schemas: &Schemas, schema: &Value, count: usize) -> Vec<Value> {
    let values = schemas.valid(schema).expect("a strategy");
    let mut runner = runner(7, 0);
    (0..count)
        .map(|_| draw(&values, &mut runner).expect("a value"))
        .collect()
}

#[test]
fn what_is_valid_passes_the_validator() {
    for (name, schema) in table() {
        let schemas = Schemas::alone(&schema);
        let validator = schemas.validator(&schema).expect(name);
        for value in drawn(&schemas, &schema, 200) {
            assert!(validator.is_valid(&value), "{name}: {value} for {schema}");
        }
    }
}

#[test]
fn what_is_nearly_valid_mostly_fails_the_validator() {
    for (name, schema) in table() {
        let schemas = Schemas::alone(&schema);
        let validator = schemas.validator(&schema).expect(name);
        let values = schemas.near_valid(&schema).expect(name);
        let mut runner = runner(7, 0);
        let refused = (0..200)
            .map(|_| draw(&values, &mut runner).expect("a value"))
            .filter(|value| !validator.is_valid(value))
            .count();
        let takes_anything = ["anything", "true"].contains(&name);
        // The validator does not know the format `int32`, whose edges are broken as well; and what breaks one of two
        // alternatives may fit the other.
        let expected = match name {
            _ if takes_anything => 0,
            "int32" => 80,
            "oneOf that overlaps" => 100,
            _ => 150,
        };
        assert!(
            refused >= expected,
            "{name}: only {refused} of 200 are refused"
        );
        assert!(!takes_anything || refused == 0, "{name}");
    }
}

#[test]
fn a_near_valid_object_has_one_thing_wrong() {
    let schema = json!({ "type": "object", "required": ["name", "limit"], "properties": {
        "name": { "type": "string", "maxLength": 20 },
        "limit": { "type": "integer", "minimum": 1, "maximum": 9 },
    } });
    let schemas = Schemas::alone(&schema);
    let validator = schemas.validator(&schema).expect("a validator");
    let values = schemas.near_valid(&schema).expect("a strategy");
    let mut runner = runner(3, 0);
    let mut places = HashSet::new();
    for _ in 0..300 {
        let value = draw(&values, &mut runner).expect("a value");
        let wrong: Vec<_> = validator.iter_errors(&value).collect();
        let values: HashSet<String> = wrong
            .iter()
            .map(|error| error.instance_path().to_string())
            .collect();
        assert!(values.len() <= 1, "{value} has wrong values at {values:?}");
        places.extend(wrong.iter().map(|error| error.schema_path().to_string()));
    }
    for place in [
        "/required",
        "/properties/name/maxLength",
        "/properties/limit/minimum",
        "/properties/limit/maximum",
    ] {
        assert!(
            places.iter().any(|seen| seen.ends_with(place)),
            "nothing breaks {place}: {places:?}"
        );
    }
}

#[tokio::test]
async fn the_schemas_of_an_openapi_document_give_values() {
    let config = Integr8scodeConfig {
        tls: false,
        ..Integr8scodeConfig::default()
    };
    let sandbox = Integr8scodeSandbox::start(config).await.expect("a sandbox");
    let connector = Connector::new(ConnectorOptions::default()).expect("a connector");
    let request = http::Request::get(sandbox.ready().openapi)
        .body(Bytes::new())
        .expect("a request");
    let answer = Client::new(&connector)
        .send(request, Duration::from_secs(10))
        .await
        .expect("an answer");
    let document: Value = serde_json::from_slice(&answer.body).expect("a document");
    let schemas = Schemas::new(&document);
    let components = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    assert!(components.len() > 25);
    for name in components.keys() {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        let validator = schemas.validator(&schema).expect(name);
        for value in drawn(&schemas, &schema, 60) {
            assert!(validator.is_valid(&value), "{name}: {value}");
        }
        let near = schemas.near_valid(&schema).expect(name);
        let mut runner = runner(1, 1);
        let refused = (0..100)
            .filter(|_| !validator.is_valid(&draw(&near, &mut runner).expect("a value")))
            .count();
        assert!(refused >= 75, "{name}: only {refused} of 100 are refused");
    }
}

#[test]
fn what_is_recursive_ends() {
    let schema = json!({ "$defs": {
        "tree": { "type": "object", "required": ["left", "right"], "properties": {
            "left": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/tree" }] },
            "right": { "anyOf": [{ "$ref": "#/$defs/tree" }, { "type": "null" }] },
        } },
        "endless": { "type": "object", "required": ["next"], "properties": { "next": { "$ref": "#/$defs/endless" } } },
    } });
    let schemas = Schemas::new(&schema);
    let tree = json!({ "$ref": "#/$defs/tree" });
    let validator = schemas
        .validator(&json!({ "allOf": [tree] }))
        .expect("a validator");
    assert!(
        drawn(&schemas, &tree, 100)
            .iter()
            .all(|value| validator.is_valid(value))
    );
    let endless = schemas.valid(&json!({ "$ref": "#/$defs/endless" }));
    assert!(
        endless
            .expect_err("nothing fits")
            .to_string()
            .starts_with("no value fits")
    );
}

#[test]
fn wrong_schemas_are_told() {
    let schemas = Schemas::alone(&json!({}));
    let message = |schema: Value| schemas.valid(&schema).expect_err("no values").to_string();
    assert_eq!(
        message(json!({ "$ref": "#/nowhere" })),
        "`$ref: #/nowhere` leads nowhere in the document"
    );
    assert!(
        message(json!({ "type": "string", "pattern": "(?=a)b" }))
            .starts_with("no texts can be generated")
    );
    assert_eq!(message(json!(false)), "no value fits the schema: false");
    assert_eq!(
        message(json!({ "type": "word" })),
        "not a JSON Schema: unknown type \"word\""
    );
}

#[test]
fn the_same_seed_gives_the_same_values() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": {}, "c": { "type": "number" } } });
    let schemas = Schemas::alone(&schema);
    let values = schemas.valid(&schema).expect("a strategy");
    let bodies = garbage_body(&["name".to_owned()]);
    let some = |seed, stream| -> Vec<(Value, Bytes)> {
        let mut runner = runner(seed, stream);
        (0..50)
            .map(|_| {
                let value = draw(&values, &mut runner).expect("a value");
                (value, draw(&bodies, &mut runner).expect("a body"))
            })
            .collect()
    };
    assert_eq!(some(1, 2), some(1, 2));
    assert_ne!(some(1, 2), some(1, 3));
    assert_ne!(some(1, 2), some(2, 2));
}

/// The smallest value that still fails, found as a runner finds it.
fn shrunk<S: Strategy>(values: &S, fails: impl Fn(&S::Value) -> bool) -> S::Value {
    let mut runner = runner(11, 0);
    let mut tree = (0..5_000)
        .map(|_| values.new_tree(&mut runner).expect("a tree"))
        .find(|tree| fails(&tree.current()))
        .expect("a value that fails");
    let mut smallest = tree.current();
    while tree.simplify() {
        loop {
            let value = tree.current();
            if fails(&value) {
                smallest = value;
                break;
            }
            if !tree.complicate() {
                return smallest;
            }
        }
    }
    smallest
}

#[test]
fn what_fails_shrinks_to_what_a_person_would_write() {
    let schema = json!({ "type": "object", "required": ["name", "script"], "properties": {
        "name": { "type": "string", "maxLength": 255 },
        "script": { "type": "string", "maxLength": 50_000 },
        "description": { "type": ["string", "null"] },
        "limit": { "type": "integer" },
        "tags": { "type": "array", "items": { "type": "string" } },
    } });
    let schemas = Schemas::alone(&schema);
    let values = schemas.valid(&schema).expect("a strategy");

    let astral = shrunk(&values, |value| {
        value["name"]
            .as_str()
            .is_some_and(|name| name.chars().any(|character| character > '\u{ffff}'))
    });
    let name = astral["name"].as_str().expect("a name").to_owned();
    assert_eq!(name.chars().count(), 1, "{astral}");
    assert_eq!(astral, json!({ "name": name, "script": "" }));

    let large = shrunk(&values, |value| {
        value["limit"]
            .as_i64()
            .is_some_and(|limit| limit > i64::from(i32::MAX))
    });
    assert_eq!(
        large,
        json!({ "name": "", "script": "", "limit": 2_147_483_648_i64 })
    );

    let long = shrunk(&values, |value| {
        value["script"]
            .as_str()
            .is_some_and(|script| script.len() > 1000)
    });
    assert_eq!(long["script"], "a".repeat(1001));
    let tagged = shrunk(&values, |value| {
        value["tags"].as_array().is_some_and(|tags| tags.len() > 1)
    });
    assert_eq!(tagged["tags"], json!(["", ""]));
}

#[test]
fn special_texts_lose_what_does_not_matter() {
    let texts = text(0, Some(255));
    let flag = shrunk(&texts, |text| {
        text.contains('\u{200d}') && text.contains('\u{1f308}')
    });
    assert_eq!(flag, "\u{200d}\u{1f308}");
}

#[test]
fn texts_are_odd_often_enough() {
    let mut runner = runner(5, 0);
    let texts: Vec<String> = (0..400)
        .map(|_| draw(&text(0, Some(255)), &mut runner).expect("a text"))
        .collect();
    let share = |such: fn(char) -> bool| texts.iter().filter(|text| text.chars().any(such)).count();
    assert!(
        share(|character| character > '\u{ffff}') > 80,
        "beyond the basic plane"
    );
    assert!(share(|character| character == '\0') > 20, "NUL");
    assert!(
        share(|character| ('\u{300}'..='\u{36f}').contains(&character)) > 20,
        "combining"
    );
    assert!(
        share(|character| ('\u{5d0}'..='\u{5ea}').contains(&character)) > 20,
        "right to left"
    );
    assert!(share(|character| character == '\u{200b}') > 4, "zero width");
    assert!(texts.iter().any(|text| text.is_empty()));
    assert!(texts.iter().any(|text| text.chars().count() == 255));
}

#[test]
fn numbers_stand_at_the_edges_of_types() {
    let schema = json!({ "type": "integer" });
    let seen: HashSet<String> = drawn(&Schemas::alone(&schema), &schema, 2_000)
        .iter()
        .map(Value::to_string)
        .collect();
    for edge in [
        "0",
        "-1",
        "255",
        "2147483647",
        "2147483648",
        "4294967295",
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
    ] {
        assert!(seen.contains(edge), "{edge}");
    }
}

#[test]
fn garbage_is_of_all_kinds() {
    let mut source = runner(9, 0);
    let bodies: Vec<Bytes> = (0..600)
        .map(|_| draw(&garbage_body(&["name".to_owned()]), &mut source).expect("a body"))
        .collect();
    let some = |what: &str, such: &dyn Fn(&[u8]) -> bool| {
        assert!(bodies.iter().any(|body| such(body)), "no body with {what}");
    };
    let has = |part: &'static [u8]| {
        move |body: &[u8]| body.windows(part.len()).any(|window| window == part)
    };
    some("a lone surrogate", &has(b"\\ud"));
    some("a NUL", &has(b"\\u0000"));
    some("deep nesting", &|body| {
        body.iter().filter(|byte| **byte == b'[').count() > 1_000
    });
    some("18446744073709551616", &has(b"18446744073709551616"));
    some("wrong UTF-8", &|body| std::str::from_utf8(body).is_err());
    some("UTF-16", &|body| body.starts_with(b"\xff\xfe"));
    some("nothing", &|body| body.is_empty());
    some("a member twice", &|body| {
        std::str::from_utf8(body).is_ok_and(|text| {
            text.starts_with("{\"name\":") && text.matches("\"name\":").count() == 2
        })
    });
    some("100 KB", &|body| body.len() > 100_000);
    let kinds: HashSet<u8> = (0..300)
        .map(|_| draw(&garbage(), &mut source).expect("a value"))
        .map(|value| match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Number(_) => 2,
            Value::String(_) => 3,
            Value::Array(_) => 4,
            Value::Object(_) => 5,
        })
        .collect();
    assert_eq!(kinds.len(), 6);
}
