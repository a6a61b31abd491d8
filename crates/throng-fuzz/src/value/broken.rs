//! Values that break one rule of their schema and keep the others.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::SBoxedStrategy;
use serde_json::{Value, json};

use super::build::{Builder, Member, bounds, object, united, whole_bounds};
use super::flat::{Flat, Way};
use super::number::{any_number, json_integer};
use super::text::repeated;
use super::{SchemaError, Values, garbage, odd_text, text};

/// The longest text that is made only to be too long.
const LONGEST: usize = 200_000;
/// The most items of a list that is made only to be too long.
const MOST_ITEMS: usize = 2_000;

/// Values that nearly fit.
pub(super) fn near_valid(root: &Value, schema: &Value) -> Result<Values, SchemaError> {
    let mut builder = Builder::new(root);
    let broken = broken(&mut builder, schema, &Way::default(), 0)?;
    Ok(united(broken).unwrap_or_else(garbage))
}

/// How deep in a value something is broken at most.
const DEEPEST: usize = 6;

/// Each way in which one rule can be broken.
fn broken(
    builder: &mut Builder<'_>,
    schema: &Value,
    way: &Way,
    depth: usize,
) -> Result<Vec<Values>, SchemaError> {
    let flats = builder.flatten(schema, way)?;
    let mut all = Vec::new();
    let mut types: Vec<String> = Vec::new();
    for flat in &flats {
        let of_flat = flat.types();
        if of_flat.is_empty() && !flat.rules.contains_key("enum") {
            // One of the choices takes anything.
            return Ok(Vec::new());
        }
        types.extend(of_flat);
    }
    for flat in &flats {
        if let Some(values) = flat.rules.get("enum").and_then(Value::as_array) {
            all.push(not_listed(values));
            continue;
        }
        for kind in flat.types() {
            match kind.as_str() {
                "string" => all.extend(wrong_texts(flat)),
                "integer" | "number" => all.extend(wrong_numbers(flat, &kind)),
                "array" => all.extend(wrong_lists(builder, flat, depth)?),
                "object" => all.extend(wrong_objects(builder, flat, depth)?),
                _ => {}
            }
        }
    }
    if !types.is_empty() {
        // First, since it's the simplest: what fails for null is shrunk to null.
        all.splice(0..0, of_another_type(&types));
    }
    Ok(all)
}

/// Values of types that aren't allowed.
fn of_another_type(types: &[String]) -> Option<Values> {
    let strategies: [(&str, Values); 6] = [
        ("null", Just(Value::Null).sboxed()),
        ("boolean", any::<bool>().prop_map(Value::Bool).sboxed()),
        ("number", any_number()),
        ("string", text(0, Some(24)).prop_map(Value::String).sboxed()),
        (
            "array",
            vec(garbage(), 0..3).prop_map(Value::Array).sboxed(),
        ),
        (
            "object",
            vec((text(0, Some(8)), garbage()), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
                .sboxed(),
        ),
    ];
    let allowed = |kind: &str| {
        types
            .iter()
            .any(|allowed| allowed == kind || (allowed == "integer" && kind == "number"))
    };
    let others = strategies.into_iter().filter(|(kind, _)| !allowed(kind));
    united(others.map(|(_, values)| values).collect())
}

/// Something like what is listed, but not listed.
fn not_listed(values: &[Value]) -> Values {
    let listed = values.to_vec();
    let mut alike: Vec<Value> = vec![json!("")];
    for value in values {
        match value {
            Value::String(word) => {
                alike.extend([
                    json!(word.to_uppercase()),
                    json!(format!("{word} ")),
                    json!([word]),
                ]);
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                alike.extend([json!(number + 0.5), json!(number.to_string())]);
            }
            other => alike.push(json!(other.to_string())),
        }
    }
    alike.retain(|value| !listed.contains(value));
    let other = odd_text(1, 12).prop_map(Value::String);
    let other = other.prop_filter("listed", move |value| !listed.contains(value));
    match alike.is_empty() {
        true => other.sboxed(),
        false => weighted![2 => select(alike), 1 => other].sboxed(),
    }
}

fn wrong_texts(flat: &Flat) -> Vec<Values> {
    let mut all: Vec<SBoxedStrategy<String>> = Vec::new();
    if let Some(least) = flat.count("minLength").filter(|least| *least > 0) {
        all.push(text(0, Some(least - 1)));
    }
    if let Some(most) = flat.count("maxLength").filter(|most| *most < LONGEST) {
        all.push(repeated(most + 1, most + 1));
        all.push(repeated(
            most + 1,
            most.saturating_mul(2).clamp(most + 2, LONGEST + 2),
        ));
    }
    if flat.rules.contains_key("pattern") || flat.rules.contains_key("format") {
        all.push(text(0, Some(24)));
    }
    all.into_iter()
        .map(|texts| texts.prop_map(Value::String).sboxed())
        .collect()
}

fn wrong_numbers(flat: &Flat, kind: &str) -> Vec<Values> {
    let mut all = Vec::new();
    let (low, high) = whole_bounds(flat);
    if let Some(low) = low {
        let below = select(vec![low - 1, low - 2, low - (1 << 31), low - (1 << 63)]);
        all.push(below.prop_map(json_integer).sboxed());
    }
    if let Some(high) = high {
        let above = select(vec![high + 1, high + 2, high + (1 << 31), high + (1 << 63)]);
        all.push(above.prop_map(json_integer).sboxed());
    }
    if kind == "integer" {
        // The last is whole, but beyond 64 bits, and written with an exponent.
        let fractions = select(vec![
            json!(0.5),
            json!(-0.1),
            json!(1e-7),
            json!(1.000_000_1),
            json!(1e21),
        ]);
        // As text, which lenient parsers take.
        let as_text = select(vec![
            json!("1"),
            json!(" 1"),
            json!("1.0"),
            json!("0x1"),
            json!(""),
        ]);
        all.extend([fractions.sboxed(), as_text.sboxed()]);
    } else if let (_, Some(high)) = bounds(flat) {
        all.push(Just(json!(high.next_up())).sboxed());
    }
    all
}

fn wrong_lists(
    builder: &mut Builder<'_>,
    flat: &Flat,
    depth: usize,
) -> Result<Vec<Values>, SchemaError> {
    let Some(items) = flat.rules.get("items").filter(|items| items.is_object()) else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    if let Some(fitting) = builder.at(items, &flat.way)? {
        let least = flat.count("minItems").unwrap_or(0);
        let lists = |length| vec(fitting.clone(), length).prop_map(Value::Array).sboxed();
        if least > 0 {
            all.push(lists(0..least));
        }
        if let Some(most) = flat.count("maxItems").filter(|most| *most < MOST_ITEMS) {
            all.push(lists(most + 1..most + 3));
        }
    }
    if depth < DEEPEST
        && let Some(item) = united(broken(builder, items, &flat.way, depth + 1)?)
    {
        let least = flat.count("minItems").unwrap_or(0).max(1);
        all.push(vec(item, least..least + 2).prop_map(Value::Array).sboxed());
    }
    Ok(all)
}

fn wrong_objects(
    builder: &mut Builder<'_>,
    flat: &Flat,
    depth: usize,
) -> Result<Vec<Values>, SchemaError> {
    let Some(members) = builder.members(flat)? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for place in 0..members.len() {
        let name = &members[place].name;
        if members[place].required {
            let name = name.clone();
            let without = object(copied(&members)).prop_map(move |mut object| {
                object.shift_remove(&name);
                Value::Object(object)
            });
            all.push(without.sboxed());
        }
        if depth < DEEPEST {
            let wrong = broken(builder, &members[place].schema, &flat.way, depth + 1)?;
            if let Some(wrong) = united(wrong) {
                let mut members = copied(&members);
                members[place].values = Some(wrong);
                members[place].required = true;
                all.push(object(members).prop_map(Value::Object).sboxed());
            }
        }
    }
    if flat.rules.get("additionalProperties") == Some(&Value::Bool(false)) {
        let declared: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let more = (object(copied(&members)), text(1, Some(12)), garbage());
        let more = more.prop_map(move |(mut object, name, value)| {
            let name = if declared.contains(&name) {
                format!("{name}_")
            } else {
                name
            };
            object.insert(name, value);
            Value::Object(object)
        });
        all.push(more.sboxed());
    }
    Ok(all)
}

fn copied(members: &[Member]) -> Vec<Member> {
    members
        .iter()
        .map(|member| Member {
            name: member.name.clone(),
            schema: member.schema.clone(),
            required: member.required,
            values: member.values.clone(),
        })
        .collect()
}
