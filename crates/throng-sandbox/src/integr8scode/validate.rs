//! Checks bodies and parameters against the schemas of the OpenAPI document, and says what is wrong in
//! FastAPI's words (`type`, `loc`, `msg`, `input`, `ctx`).
//!
//! It knows the part of JSON Schema that [`super::schema`] uses, so that what is documented and what is
//! accepted cannot differ; it is no general validator.

use serde_json::{Value, json};

use super::email;
use super::schema;

/// Finds all faults of a value; `loc` is where it stands. A `null` schema accepts everything.
pub(super) fn check(value: &Value, schema: &Value, loc: &[Value], faults: &mut Vec<Value>) {
    let schema = schema::resolved(schema);
    if let Some(options) = schema["anyOf"].as_array() {
        // Only ever `anyOf: [something, null]`.
        if !value.is_null() {
            check(value, &options[0], loc, faults);
        }
        return;
    }
    if let Some(choices) = schema["enum"].as_array() {
        if !choices.contains(value) {
            let expected = quoted(choices);
            let msg = format!("Input should be {expected}");
            faults.push(fault(
                "enum",
                loc,
                &msg,
                value,
                Some(json!({ "expected": expected })),
            ));
        }
        return;
    }
    match schema["type"].as_str() {
        Some("object") => object(value, schema, loc, faults),
        Some("array") => array(value, schema, loc, faults),
        Some("string") => string(value, schema, loc, faults),
        Some("integer") if !value.is_i64() && !value.is_u64() => {
            faults.push(fault(
                "int_type",
                loc,
                "Input should be a valid integer",
                value,
                None,
            ));
        }
        Some("number") if !value.is_number() => {
            faults.push(fault(
                "float_type",
                loc,
                "Input should be a valid number",
                value,
                None,
            ));
        }
        Some("boolean") if !value.is_boolean() => {
            faults.push(fault(
                "bool_type",
                loc,
                "Input should be a valid boolean",
                value,
                None,
            ));
        }
        _ => {}
    }
}

fn object(value: &Value, schema: &Value, loc: &[Value], faults: &mut Vec<Value>) {
    let Some(members) = value.as_object() else {
        // A model and a plain dictionary are refused in different words.
        let (kind, msg) = if schema["properties"].is_object() {
            (
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
            )
        } else {
            ("dict_type", "Input should be a valid dictionary")
        };
        faults.push(fault(kind, loc, msg, value, None));
        return;
    };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let loc = below(loc, json!(name));
        match members.get(name) {
            Some(member) => check(member, property, &loc, faults),
            None if schema["required"]
                .as_array()
                .is_some_and(|names| names.contains(&json!(name))) =>
            {
                faults.push(fault("missing", &loc, "Field required", value, None));
            }
            None => {}
        }
    }
    if schema["additionalProperties"].is_object() {
        for (name, member) in members {
            check(
                member,
                &schema["additionalProperties"],
                &below(loc, json!(name)),
                faults,
            );
        }
    }
}

fn array(value: &Value, schema: &Value, loc: &[Value], faults: &mut Vec<Value>) {
    let Some(items) = value.as_array() else {
        faults.push(fault(
            "list_type",
            loc,
            "Input should be a valid list",
            value,
            None,
        ));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        check(item, &schema["items"], &below(loc, json!(index)), faults);
    }
}

fn string(value: &Value, schema: &Value, loc: &[Value], faults: &mut Vec<Value>) {
    let Some(text) = value.as_str() else {
        faults.push(fault(
            "string_type",
            loc,
            "Input should be a valid string",
            value,
            None,
        ));
        return;
    };
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        let msg = format!(
            "String should have at least {least} character{}",
            plural(least)
        );
        let context = json!({ "min_length": least });
        faults.push(fault("string_too_short", loc, &msg, value, Some(context)));
    }
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        let msg = format!(
            "String should have at most {most} character{}",
            plural(most)
        );
        let context = json!({ "max_length": most });
        faults.push(fault("string_too_long", loc, &msg, value, Some(context)));
    }
    if schema["format"] == "email"
        && let Err(reason) = email::check(text)
    {
        let msg = format!("value is not a valid email address: {reason}");
        faults.push(fault(
            "value_error",
            loc,
            &msg,
            value,
            Some(json!({ "reason": reason })),
        ));
    }
}

/// Reads an integer out of a query; the default where it is absent.
pub(super) fn integer(
    name: &str,
    given: Option<&str>,
    schema: &Value,
    faults: &mut Vec<Value>,
) -> i64 {
    let default = schema["default"].as_i64().unwrap_or_default();
    let Some(text) = given else {
        return default;
    };
    let loc = [json!("query"), json!(name)];
    let input = json!(text);
    let digits = text.trim().strip_prefix(['+', '-']).unwrap_or(text.trim());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        faults.push(fault("int_parsing", &loc, msg, &input, None));
        return default;
    }
    // Beyond 128 bits it is beyond every limit, too.
    let number = text
        .trim()
        .parse::<i128>()
        .unwrap_or(if text.trim().starts_with('-') {
            i128::MIN
        } else {
            i128::MAX
        });
    if let Some(least) = schema["minimum"]
        .as_i64()
        .filter(|least| number < i128::from(*least))
    {
        let msg = format!("Input should be greater than or equal to {least}");
        faults.push(fault(
            "greater_than_equal",
            &loc,
            &msg,
            &input,
            Some(json!({ "ge": least })),
        ));
        return default;
    }
    if let Some(most) = schema["maximum"]
        .as_i64()
        .filter(|most| number > i128::from(*most))
    {
        let msg = format!("Input should be less than or equal to {most}");
        faults.push(fault(
            "less_than_equal",
            &loc,
            &msg,
            &input,
            Some(json!({ "le": most })),
        ));
        return default;
    }
    i64::try_from(number).unwrap_or(default)
}

/// One element of the `detail` of a 422.
pub(super) fn fault(
    kind: &str,
    loc: &[Value],
    msg: &str,
    input: &Value,
    context: Option<Value>,
) -> Value {
    let mut fault = json!({ "type": kind, "loc": loc, "msg": msg, "input": input });
    if let Some(context) = context {
        fault["ctx"] = context;
    }
    fault
}

fn below(loc: &[Value], name: Value) -> Vec<Value> {
    let mut loc = loc.to_vec();
    loc.push(name);
    loc
}

/// `'light', 'dark' or 'auto'`.
fn quoted(choices: &[Value]) -> String {
    let names: Vec<String> = choices
        .iter()
        .map(|choice| format!("'{}'", choice.as_str().unwrap_or_default()))
        .collect();
    match names.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(value: &Value, schema: &Value) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        check(value, schema, &[json!("body")], &mut faults);
        let text = |fault: &Value, key: &str| fault[key].to_string();
        faults
            .iter()
            .map(|f| (text(f, "type"), text(f, "loc")))
            .collect()
    }

    #[test]
    fn bodies_are_checked_as_the_schemas_say() {
        let theme = schema::reference("ThemeUpdate");
        assert_eq!(faults(&json!({ "theme": "dark" }), &theme), []);
        let found = |kind: &str, loc: &str| vec![(format!("\"{kind}\""), loc.to_owned())];
        assert_eq!(
            faults(&json!({ "theme": "blue" }), &theme),
            found("enum", r#"["body","theme"]"#)
        );
        assert_eq!(
            faults(&json!({}), &theme),
            found("missing", r#"["body","theme"]"#)
        );
        assert_eq!(
            faults(&json!([1]), &theme),
            found("model_attributes_type", r#"["body"]"#)
        );
        let script = schema::reference("ScriptCreate");
        let body = json!({ "name": "n", "script": "s", "description": null });
        assert_eq!(faults(&body, &script), []);
        let body = json!({ "name": 1, "script": "s" });
        assert_eq!(
            faults(&body, &script),
            found("string_type", r#"["body","name"]"#)
        );
    }

    #[test]
    fn integers_of_a_query_keep_their_bounds() {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 });
        for (given, expected, kind) in [
            (None, 50, None),
            (Some("7"), 7, None),
            (Some(" +7 "), 7, None),
            (Some("0"), 50, Some("greater_than_equal")),
            (Some("201"), 50, Some("less_than_equal")),
            (Some("99999999999999999999999"), 50, Some("less_than_equal")),
            (
                Some("-99999999999999999999999"),
                50,
                Some("greater_than_equal"),
            ),
            (Some(""), 50, Some("int_parsing")),
            (Some("1.5"), 50, Some("int_parsing")),
        ] {
            let mut faults = Vec::new();
            assert_eq!(
                integer("limit", given, &schema, &mut faults),
                expected,
                "{given:?}"
            );
            assert_eq!(
                faults.first().and_then(|f| f["type"].as_str()),
                kind,
                "{given:?}"
            );
        }
    }
}
