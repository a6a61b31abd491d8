//! From a schema to the strategy of the values that fit it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{SBoxedStrategy, Union};
use serde_json::{Map, Value};

use super::flat::{Findings, Flat, Way, flatten};
use super::number::{doubles, integers, json_doubles, json_integer};
use super::{SchemaError, Schemas, Values, format, garbage, text};

/// How many schemas one strategy is made of at most; beyond that, what is optional is left out.
const MOST_PARTS: usize = 4_000;
/// How many more items than it must have a list has, as a rule; and how many more members an open object.
const USUAL_ITEMS: usize = 4;
/// The longest list at an upper edge.
const MOST_ITEMS: usize = 64;

/// Values that fit.
pub(super) fn valid(
    root: &Value,
    schema: &Value,
    schemas: &Schemas,
) -> Result<Values, SchemaError> {
    let mut builder = Builder::new(root);
    let Some(values) = builder.at(schema, &Way::default())? else {
        return Err(SchemaError::Impossible(shortened(schema)));
    };
    if !builder.found.uncertain {
        return Ok(values);
    }
    let validator = schemas.validator(schema)?;
    Ok(values
        .prop_filter("doesn't fit the whole schema", move |value| {
            validator.is_valid(value)
        })
        .sboxed())
}

fn shortened(schema: &Value) -> String {
    schema.to_string().chars().take(200).collect()
}

/// One schema's way to a strategy.
pub(super) struct Builder<'a> {
    root: &'a Value,
    /// What was found that the strategy doesn't keep by itself.
    pub(super) found: Findings,
    parts: usize,
}

/// A property of an object.
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// Its schema.
    pub(super) schema: Value,
    /// Whether it must be there.
    pub(super) required: bool,
    /// What fits; `None` where nothing finite does.
    pub(super) values: Option<Values>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self {
            root,
            found: Findings::default(),
            parts: 0,
        }
    }

    pub(super) fn flatten(&mut self, schema: &Value, way: &Way) -> Result<Vec<Flat>, SchemaError> {
        flatten(self.root, schema, way, &mut self.found)
    }

    /// The values of a schema; `None` where nothing finite fits.
    pub(super) fn at(&mut self, schema: &Value, way: &Way) -> Result<Option<Values>, SchemaError> {
        self.parts += 1;
        let mut choices = Vec::new();
        for flat in self.flatten(schema, way)? {
            choices.extend(self.choices(&flat)?);
        }
        Ok(united(choices))
    }

    /// Whether what is optional is to be left out.
    fn full(&self) -> bool {
        self.parts > MOST_PARTS
    }

    fn choices(&mut self, flat: &Flat) -> Result<Vec<Values>, SchemaError> {
        let types = flat.types();
        if let Some(values) = flat.rules.get("enum").and_then(Value::as_array) {
            let beside = ["enum", "type", "title", "description", "default"];
            if flat.rules.keys().any(|key| !beside.contains(&key.as_str())) {
                self.found.uncertain = true;
            }
            let fitting: Vec<Value> = values
                .iter()
                .filter(|value| types.is_empty() || types.iter().any(|kind| is_of(value, kind)))
                .cloned()
                .collect();
            return Ok(match fitting.is_empty() {
                true => Vec::new(),
                false => vec![select(fitting).sboxed()],
            });
        }
        if types.is_empty() {
            return Ok(vec![garbage()]);
        }
        let mut choices = Vec::new();
        for kind in &types {
            choices.extend(self.of_type(flat, kind)?);
        }
        Ok(choices)
    }

    /// The values of one type.
    pub(super) fn of_type(
        &mut self,
        flat: &Flat,
        kind: &str,
    ) -> Result<Option<Values>, SchemaError> {
        Ok(match kind {
            "null" => Some(Just(Value::Null).sboxed()),
            "boolean" => Some(any::<bool>().prop_map(Value::Bool).sboxed()),
            "integer" => whole_numbers(flat),
            "number" => self.numbers(flat),
            "string" => Some(texts(flat)?.prop_map(Value::String).sboxed()),
            "array" => self.lists(flat)?,
            "object" => self.objects(flat)?,
            other => return Err(SchemaError::Invalid(format!("unknown type {other:?}"))),
        })
    }

    fn numbers(&mut self, flat: &Flat) -> Option<Values> {
        let whole = whole_numbers(flat);
        if flat.rules.contains_key("multipleOf") {
            if whole.is_some() && whole_step(flat).is_some() {
                return whole;
            }
            self.found.uncertain = true;
            let step = flat.rules.get("multipleOf")?.as_f64()?;
            let (low, high) = bounds(flat);
            let low = low.map_or(i128::from(i32::MIN), |low| (low / step).ceil() as i128);
            let high = high.map_or(i128::from(i32::MAX), |high| (high / step).floor() as i128);
            let times = integers(Some(low), Some(high), None)?;
            return Some(json_doubles(
                times.prop_map(move |times| times as f64 * step).sboxed(),
            ));
        }
        let (low, high) = bounds(flat);
        let fractions = doubles(low, high).map(json_doubles);
        united(whole.into_iter().chain(fractions).collect())
    }

    fn lists(&mut self, flat: &Flat) -> Result<Option<Values>, SchemaError> {
        let least = flat.count("minItems").unwrap_or(0);
        let most = flat.count("maxItems").unwrap_or(usize::MAX);
        if least > most {
            return Ok(None);
        }
        let first = flat.rules.get("prefixItems").and_then(Value::as_array);
        let mut fixed = Vec::new();
        for schema in first.into_iter().flatten().take(most) {
            match self.at(schema, &flat.way)? {
                Some(values) => fixed.push(values),
                None => break,
            }
        }
        let anything = Value::Bool(true);
        let rest = flat.rules.get("items").unwrap_or(&anything);
        let rest = match rest == &Value::Bool(false) || self.full() && least <= fixed.len() {
            true => None,
            false => self.at(rest, &flat.way)?,
        };
        let (low, high) = (least.saturating_sub(fixed.len()), most - fixed.len());
        let Some(rest) = rest else {
            return Ok((low == 0).then(|| fixed.prop_map(Value::Array).sboxed()));
        };
        let usual = high.min(low + USUAL_ITEMS);
        let mut tails = vec![(6, vec(rest.clone(), low..=usual).sboxed())];
        if high > usual && high <= MOST_ITEMS {
            tails.push((1, vec(rest, high..=high).sboxed()));
        }
        let unique = flat.rules.get("uniqueItems") == Some(&Value::Bool(true));
        let lists = (fixed, Union::new_weighted(tails)).prop_map(move |(mut all, tail)| {
            for item in tail {
                if !unique || !all.contains(&item) {
                    all.push(item);
                }
            }
            Value::Array(all)
        });
        Ok(Some(lists.sboxed()))
    }

    /// The declared properties of an object.
    pub(super) fn members(&mut self, flat: &Flat) -> Result<Option<Vec<Member>>, SchemaError> {
        let anything = Value::Bool(true);
        let required = flat.required();
        let declared = flat.rules.get("properties").and_then(Value::as_object);
        let others = flat.rules.get("additionalProperties").unwrap_or(&anything);
        let undeclared = required
            .iter()
            .filter(|name| !declared.is_some_and(|declared| declared.contains_key(**name)))
            .map(|name| ((*name).to_owned(), others));
        let declared = declared.into_iter().flatten();
        let all = declared
            .map(|(name, schema)| (name.clone(), schema))
            .chain(undeclared);
        let mut members = Vec::new();
        for (name, schema) in all {
            let required = required.contains(&name.as_str());
            let read_only = schema.get("readOnly") == Some(&Value::Bool(true));
            if !required && (read_only || self.full()) {
                continue;
            }
            let values = self.at(schema, &flat.way)?;
            if required && values.is_none() {
                return Ok(None);
            }
            let schema = schema.clone();
            members.push(Member {
                name,
                schema,
                required,
                values,
            });
        }
        Ok(Some(members))
    }

    fn objects(&mut self, flat: &Flat) -> Result<Option<Values>, SchemaError> {
        let Some(members) = self.members(flat)? else {
            return Ok(None);
        };
        let most = flat.count("maxProperties").unwrap_or(usize::MAX);
        let least = flat.count("minProperties").unwrap_or(0);
        let required: Vec<String> = members
            .iter()
            .filter(|member| member.required)
            .map(|member| member.name.clone())
            .collect();
        if required.len() > most {
            return Ok(None);
        }
        let more = self.additional(flat, members.len(), least)?;
        let objects = (object(members), more).prop_map(move |(mut object, more)| {
            for (name, value) in more {
                if !object.contains_key(&name) {
                    object.insert(name, value);
                }
            }
            while object.len() > most {
                let last = object.keys().rev().find(|name| !required.contains(name));
                let Some(last) = last.cloned() else { break };
                object.shift_remove(&last);
            }
            Value::Object(object)
        });
        Ok(Some(objects.sboxed()))
    }

    /// Members that are not declared, where they are allowed in so many words, or where nothing else is declared.
    fn additional(
        &mut self,
        flat: &Flat,
        declared: usize,
        least: usize,
    ) -> Result<SBoxedStrategy<Vec<(String, Value)>>, SchemaError> {
        let none = || Just(Vec::new()).sboxed();
        let schema = match flat.rules.get("additionalProperties") {
            Some(Value::Bool(false)) => return Ok(none()),
            Some(schema) => schema.clone(),
            None if declared == 0 => Value::Bool(true),
            None => return Ok(none()),
        };
        if self.full() && least <= declared {
            return Ok(none());
        }
        let Some(values) = self.at(&schema, &flat.way)? else {
            return Ok(none());
        };
        let low = least.saturating_sub(declared);
        let high = if declared == 0 {
            low + USUAL_ITEMS
        } else {
            low + 2
        };
        Ok(vec((text(0, Some(24)), values), low..=high).sboxed())
    }
}

/// An object of its members: those that are required always, the others more often than not.
pub(super) fn object(members: Vec<Member>) -> SBoxedStrategy<Map<String, Value>> {
    let mut names = Vec::new();
    let mut values = Vec::new();
    for member in members {
        let Some(strategy) = member.values else {
            continue;
        };
        names.push(member.name);
        values.push(match member.required {
            true => strategy.prop_map(Some).sboxed(),
            false => proptest::option::weighted(0.6, strategy).sboxed(),
        });
    }
    values
        .prop_map(move |values| {
            let present = names.iter().zip(values);
            present
                .filter_map(|(name, value)| Some((name.clone(), value?)))
                .collect()
        })
        .sboxed()
}

/// One strategy of several, the first being the simplest; `None` of none.
pub(super) fn united(mut choices: Vec<Values>) -> Option<Values> {
    match choices.len() {
        0 => None,
        1 => choices.pop(),
        _ => Some(Union::new(choices).sboxed()),
    }
}

/// Whether a value is of a type.
pub(super) fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Lower and upper bound, both allowed.
pub(super) fn bounds(flat: &Flat) -> (Option<f64>, Option<f64>) {
    let rule = |name: &str| flat.rules.get(name).and_then(Value::as_f64);
    let tighter =
        |one: Option<f64>, other: Option<f64>, choose: fn(f64, f64) -> f64| match (one, other) {
            (Some(one), Some(other)) => Some(choose(one, other)),
            (one, other) => one.or(other),
        };
    let low = tighter(
        rule("minimum"),
        rule("exclusiveMinimum").map(f64::next_up),
        f64::max,
    );
    let high = tighter(
        rule("maximum"),
        rule("exclusiveMaximum").map(f64::next_down),
        f64::min,
    );
    match flat.rules.get("format").and_then(Value::as_str) {
        Some("float") => (
            Some(low.unwrap_or(f64::from(f32::MIN))),
            Some(high.unwrap_or(f64::from(f32::MAX))),
        ),
        _ => (low, high),
    }
}

/// The same for integers.
pub(super) fn whole_bounds(flat: &Flat) -> (Option<i128>, Option<i128>) {
    let exact = |name: &str| {
        let value = flat.rules.get(name)?;
        let whole = value.as_i64().map(i128::from);
        whole.or_else(|| value.as_u64().map(i128::from))
    };
    let rounded = |name: &str, round: fn(f64) -> f64| {
        let value = flat.rules.get(name)?;
        exact(name).or_else(|| value.as_f64().map(|number| round(number) as i128))
    };
    let above = exact("exclusiveMinimum").map(|bound| bound + 1);
    let above = above.or_else(|| rounded("exclusiveMinimum", f64::ceil));
    let below = exact("exclusiveMaximum").map(|bound| bound - 1);
    let below = below.or_else(|| rounded("exclusiveMaximum", f64::floor));
    let low = rounded("minimum", f64::ceil).into_iter().chain(above).max();
    let high = rounded("maximum", f64::floor)
        .into_iter()
        .chain(below)
        .min();
    match flat.rules.get("format").and_then(Value::as_str) {
        Some("int32") => (
            Some(low.unwrap_or(i128::from(i32::MIN))),
            Some(high.unwrap_or(i128::from(i32::MAX))),
        ),
        Some("int64") => (
            Some(low.unwrap_or(i128::from(i64::MIN))),
            Some(high.unwrap_or(i128::from(i64::MAX))),
        ),
        _ => (low, high),
    }
}

fn whole_step(flat: &Flat) -> Option<i128> {
    let step = flat.rules.get("multipleOf")?.as_f64()?;
    (step >= 1.0 && step.fract() == 0.0).then_some(step as i128)
}

fn whole_numbers(flat: &Flat) -> Option<Values> {
    let (low, high) = whole_bounds(flat);
    Some(
        integers(low, high, whole_step(flat))?
            .prop_map(json_integer)
            .sboxed(),
    )
}

/// The texts of a schema of type string.
fn texts(flat: &Flat) -> Result<SBoxedStrategy<String>, SchemaError> {
    let least = flat.count("minLength").unwrap_or(0);
    let most = flat.count("maxLength");
    if most.is_some_and(|most| least > most) {
        return Err(SchemaError::Impossible(format!(
            "texts of {least} characters and more, but at most {most:?}"
        )));
    }
    let rule = |name: &str| flat.rules.get(name).and_then(Value::as_str);
    let shaped = match (rule("pattern"), rule("format")) {
        (Some(pattern), _) => {
            Some(
                format::pattern(pattern).map_err(|reason| SchemaError::Pattern {
                    pattern: pattern.to_owned(),
                    reason,
                })?,
            )
        }
        (None, Some(format)) => format::texts(format),
        (None, None) => None,
    };
    Ok(match shaped {
        None => text(least, most),
        Some(texts) if least == 0 && most.is_none() => texts,
        Some(texts) => texts
            .prop_filter("too short or too long", move |text| {
                let length = text.chars().count();
                length >= least && most.is_none_or(|most| length <= most)
            })
            .sboxed(),
    })
}
