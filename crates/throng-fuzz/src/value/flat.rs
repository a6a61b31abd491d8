//! A schema as a choice of flat ones: references followed, `allOf` merged, `anyOf` and `oneOf` multiplied out.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::SchemaError;

/// Nobody's API wants a text or a list of more, and a document may say anything.
const LARGEST_LEAST: usize = 5_000;

/// How often one reference may stand on the way down: what is recursive ends there.
const MOST_REPEATED: usize = 2;
/// How many choices are kept of one schema.
const MOST_CHOICES: usize = 64;

/// Keywords that merging and building don't look at, or not wholly: values are checked against the whole schema then.
const UNCERTAIN: [&str; 15] = [
    "not",
    "if",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "contains",
    "minContains",
    "maxContains",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "additionalItems",
    "minProperties",
    "uniqueItems",
];

/// The references on the way down to a schema.
#[derive(Clone, Debug, Default)]
pub(super) struct Way(Option<Rc<(String, Way)>>);

impl Way {
    fn count(&self, reference: &str) -> usize {
        let mut count = 0;
        let mut way = self;
        while let Some(step) = &way.0 {
            count += usize::from(step.0 == reference);
            way = &step.1;
        }
        count
    }

    fn and(&self, reference: &str) -> Self {
        Self(Some(Rc::new((reference.to_owned(), self.clone()))))
    }
}

/// One choice of a schema, without references and combinations at its top.
#[derive(Clone, Debug, Default)]
pub(super) struct Flat {
    /// Its keywords.
    pub(super) rules: Map<String, Value>,
    /// How it was come to.
    pub(super) way: Way,
}

/// What flattening found besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// Values that are built must be checked against the whole schema.
    pub(super) uncertain: bool,
}

/// The choices of a schema. None where nothing fits, or nothing finite.
pub(super) fn flatten(
    root: &Value,
    schema: &Value,
    way: &Way,
    found: &mut Findings,
) -> Result<Vec<Flat>, SchemaError> {
    let map = match schema {
        Value::Bool(false) => return Ok(Vec::new()),
        Value::Bool(true) => {
            return Ok(vec![Flat {
                way: way.clone(),
                ..Flat::default()
            }]);
        }
        Value::Object(map) => map,
        other => return Err(SchemaError::Invalid(format!("{other}"))),
    };
    let mut own = map.clone();
    let parts = ["$ref", "allOf", "anyOf", "oneOf"].map(|key| own.shift_remove(key));
    let [reference, all, any, one] = parts;
    if let Some(value) = own.shift_remove("const") {
        own.insert("enum".to_owned(), json!([value]));
    }
    if UNCERTAIN.iter().any(|keyword| own.contains_key(*keyword)) {
        found.uncertain = true;
    }
    let mut choices = vec![Flat {
        rules: own,
        way: way.clone(),
    }];
    if let Some(Value::String(reference)) = reference {
        if way.count(&reference) >= MOST_REPEATED {
            return Ok(Vec::new());
        }
        let target = resolve(root, &reference)?;
        let branches = flatten(root, target, &way.and(&reference), found)?;
        choices = product(choices, &branches, found);
    }
    for part in list(all) {
        let branches = flatten(root, &part, way, found)?;
        choices = product(choices, &branches, found);
    }
    let one = list(one);
    found.uncertain |= one.len() > 1 && !told_apart(&one);
    for alternatives in [list(any), one] {
        if alternatives.is_empty() {
            continue;
        }
        let mut branches = Vec::new();
        for part in &alternatives {
            branches.extend(flatten(root, part, way, found)?);
        }
        choices = product(choices, &branches, found);
    }
    choices.truncate(MOST_CHOICES);
    Ok(choices)
}

/// What a reference leads to.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Result<&'a Value, SchemaError> {
    let unknown = || SchemaError::Reference(reference.to_owned());
    let pointer = reference.strip_prefix('#').ok_or_else(unknown)?;
    let pointer = pointer.replace("%7B", "{").replace("%7D", "}");
    root.pointer(&pointer).ok_or_else(unknown)
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// Whether no value fits two of these, by their types alone.
fn told_apart(schemas: &[Value]) -> bool {
    let mut seen = Vec::new();
    schemas.iter().all(|schema| {
        let kind = schema["type"].as_str().map(|kind| match kind {
            "integer" => "number",
            kind => kind,
        });
        kind.is_some_and(|kind| {
            let new = !seen.contains(&kind);
            seen.push(kind);
            new
        })
    })
}

fn product(left: Vec<Flat>, right: &[Flat], found: &mut Findings) -> Vec<Flat> {
    let mut all = Vec::new();
    for one in &left {
        for other in right {
            if all.len() >= MOST_CHOICES {
                return all;
            }
            if let Some(rules) = merged(&one.rules, &other.rules, found) {
                // The longer way knows more of what was come through.
                let way = other.way.clone();
                all.push(Flat { rules, way });
            }
        }
    }
    all
}

/// Both sets of rules in one; `None` when nothing fits both.
fn merged(
    one: &Map<String, Value>,
    other: &Map<String, Value>,
    found: &mut Findings,
) -> Option<Map<String, Value>> {
    let mut all = one.clone();
    for (key, new) in other {
        let Some(old) = all.get(key) else {
            all.insert(key.clone(), new.clone());
            continue;
        };
        if old == new {
            continue;
        }
        let both = match key.as_str() {
            "type" => common_types(old, new)?,
            "enum" => {
                let new = new.as_array()?;
                let values: Vec<&Value> = old
                    .as_array()?
                    .iter()
                    .filter(|value| new.contains(value))
                    .collect();
                if values.is_empty() {
                    return None;
                }
                json!(values)
            }
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
                if number(old) >= number(new) { old } else { new }.clone()
            }
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
                if number(old) <= number(new) { old } else { new }.clone()
            }
            "required" => {
                let mut names = old.as_array().cloned().unwrap_or_default();
                for name in new.as_array().into_iter().flatten() {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
                Value::Array(names)
            }
            "properties" => both_properties(old, new),
            "items" | "additionalProperties" => json!({ "allOf": [old, new] }),
            "description" | "title" | "example" | "examples" | "default" | "readOnly"
            | "writeOnly" | "deprecated" | "$comment" | "discriminator" | "xml" => continue,
            _ => {
                found.uncertain = true;
                continue;
            }
        };
        all.insert(key.clone(), both);
    }
    // `additionalProperties: false` of one part forbids what another part names.
    let closed = |rules: &Map<String, Value>| rules.contains_key("additionalProperties");
    if closed(one) != closed(other)
        || (closed(one) && one.get("properties") != other.get("properties"))
    {
        found.uncertain = true;
    }
    Some(all)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn both_properties(old: &Value, new: &Value) -> Value {
    let mut all = old.as_object().cloned().unwrap_or_default();
    for (name, schema) in new.as_object().into_iter().flatten() {
        let both = match all.get(name) {
            Some(old) if old != schema => json!({ "allOf": [old, schema] }),
            _ => schema.clone(),
        };
        all.insert(name.clone(), both);
    }
    Value::Object(all)
}

fn common_types(old: &Value, new: &Value) -> Option<Value> {
    let (old, new) = (type_names(old), type_names(new));
    let mut common: Vec<&str> = Vec::new();
    for one in &old {
        for other in &new {
            let both = match (one.as_str(), other.as_str()) {
                (one, other) if one == other => one,
                ("integer", "number") | ("number", "integer") => "integer",
                _ => continue,
            };
            if !common.contains(&both) {
                common.push(both);
            }
        }
    }
    if common.is_empty() {
        return None;
    }
    Some(json!(common))
}

fn type_names(value: &Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

impl Flat {
    /// The types that it allows: as it says, or as its other rules suggest. Empty where there's no telling.
    pub(super) fn types(&self) -> Vec<String> {
        if let Some(kind) = self.rules.get("type") {
            return type_names(kind);
        }
        let has = |keys: &[&str]| keys.iter().any(|key| self.rules.contains_key(*key));
        let kind = if has(&[
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "patternProperties",
        ]) {
            "object"
        } else if has(&[
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
        ]) {
            "array"
        } else if has(&["pattern", "minLength", "maxLength", "format"]) {
            "string"
        } else if has(&[
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
        ]) {
            "number"
        } else {
            return Vec::new();
        };
        vec![kind.to_owned()]
    }

    /// A rule that is a count. A least one is taken for [`LARGEST_LEAST`] where it is larger: such a value is not made, and what
    /// is made in its place breaks the rule.
    pub(super) fn count(&self, rule: &str) -> Option<usize> {
        let value = self.rules.get(rule)?;
        let count = value.as_u64().or_else(|| {
            let number = value.as_f64()?;
            // 3.0 is a count too.
            (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
        })?;
        let count = usize::try_from(count).ok()?;
        Some(if rule.starts_with("min") {
            count.min(LARGEST_LEAST)
        } else {
            count
        })
    }

    /// The names that must be there.
    pub(super) fn required(&self) -> Vec<&str> {
        self.rules
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }
}
