//! Whether a result is what it should be.

use std::borrow::Cow;

use http::{HeaderName, header};
use serde_json::Value;
use throng_metrics::CounterId;

use super::driver::{Driver, HttpReply};
use super::failure::{cut, fold, names_a_secret, shorten, shown};
use super::render::Missing;
use super::scope::{Execution, Scope};
use crate::model::JsonType;
use crate::program::{Condition, Expected, Place, Test};

/// As much of what was expected is in a cause, in characters.
const LONGEST_OBJECT: usize = 80;

/// What came of a condition.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It holds. What is counted instead of failing is said here.
    Holds(Vec<(CounterId, u64)>),
    /// It does not hold: the cause without values, and the message with them.
    Fails {
        /// Groups failures.
        cause: String,
        /// One concrete message.
        message: String,
    },
}

impl<D: Driver> Execution<'_, D> {
    /// Judges a result.
    pub(super) fn judge(
        &self,
        condition: &Condition,
        result: &Value,
        http: Option<&HttpReply>,
        scope: &Scope<'_>,
    ) -> Result<Verdict, Missing> {
        let (path, header);
        let (place, found) = match &condition.place {
            Place::Path(program) => {
                path = self.path(program, scope)?;
                (program.path.source.as_str(), path.first(result))
            }
            Place::Header(name) => {
                header = http.and_then(|http| http.header(name));
                (name.as_str(), header.as_ref())
            }
        };
        let mut counted = Vec::new();
        for test in &condition.tests {
            match test {
                Test::Status(expected) => match http.map_or(0, |http| http.status) {
                    status if expected.contains(&status) => continue,
                    status => return Ok(wrong_status(expected, status)),
                },
                Test::Schema(validator) => {
                    match found.map_or(Ok(()), |found| validator.validate(found)) {
                        Ok(()) if found.is_some() => continue,
                        Ok(()) => {
                            let cause = format!("{place} is not there");
                            let message = cause.clone();
                            return Ok(Verdict::Fails { cause, message });
                        }
                        Err(error) => return Ok(unfit(place, &error)),
                    }
                }
                _ => {}
            }
            let expected = match test {
                Test::Equals(expected)
                | Test::NotEquals(expected)
                | Test::Contains(expected)
                | Test::NotContains(expected)
                | Test::ContainsEach(expected, _) => self.expected(expected, scope)?,
                _ => Cow::Owned(Value::Null),
            };
            if let (Test::ContainsEach(_, Some(counter)), Some(found)) = (test, found) {
                let missing = missing(found, &expected);
                if !missing.is_empty() {
                    counted.push((*counter, missing.len() as u64));
                }
                continue;
            }
            if let Some(what) = fails(test, found, &expected) {
                let found = match found {
                    Some(_) if names_a_secret(place) => "***".to_owned(),
                    Some(value) => shorten(&shown(value)),
                    None => "nothing".to_owned(),
                };
                let secret = names_a_secret(place);
                let detail = match &*expected {
                    Value::Null => String::new(),
                    _ if secret => " ***".to_owned(),
                    expected => format!(" {}", shorten(&shown(expected))),
                };
                let object = match object(test) {
                    text if secret && !text.is_empty() => " ***".to_owned(),
                    text => text,
                };
                return Ok(Verdict::Fails {
                    cause: format!("{place} {what}{object}"),
                    message: format!("{place} {what}{detail}, found {found}"),
                });
            }
        }
        Ok(Verdict::Holds(counted))
    }
}

fn wrong_status(expected: &[u16], found: u16) -> Verdict {
    let expected: Vec<String> = expected.iter().map(u16::to_string).collect();
    let cause = format!("the status should be {}", expected.join(" or "));
    Verdict::Fails {
        message: format!("{cause}, found {found}"),
        cause,
    }
}

/// What does not fit a schema; the cause names the place without its indices. The value itself is not shown: it may be
/// anything, and hold anything.
fn unfit(place: &str, error: &jsonschema::ValidationError<'_>) -> Verdict {
    let at = error.instance_path().to_string();
    Verdict::Fails {
        cause: fold(&format!("{place} does not fit the schema at `{at}`")),
        message: shorten(&format!(
            "{place} does not fit the schema at `{at}`: {}",
            error.masked()
        )),
    }
}

impl HttpReply {
    /// A header's value. Of a cookie only that it is there.
    pub(super) fn header(&self, name: &HeaderName) -> Option<Value> {
        let value = self.headers.get(name)?;
        Some(if *name == header::SET_COOKIE {
            Value::from("***")
        } else {
            String::from_utf8_lossy(value.as_bytes())
                .into_owned()
                .into()
        })
    }
}

/// What was expected, as it stands in the file: what varies is there by its name, so that the cause stays one.
fn object(test: &Test) -> String {
    let expected = match test {
        Test::Equals(expected)
        | Test::NotEquals(expected)
        | Test::Contains(expected)
        | Test::NotContains(expected)
        | Test::ContainsEach(expected, _) => expected,
        _ => return String::new(),
    };
    let text = match expected {
        Expected::Fixed(value) => value.to_string(),
        Expected::Computed(pieces) => pieces.template(),
    };
    format!(" {}", cut(&text, LONGEST_OBJECT))
}

/// Says how a test fails; `None` when it does not.
fn fails(test: &Test, found: Option<&Value>, expected: &Value) -> Option<String> {
    if let Test::Exists(exists) = test {
        let wrong = found.is_some() != *exists;
        return wrong.then(|| {
            if *exists {
                "should exist"
            } else {
                "should not exist"
            }
            .to_owned()
        });
    }
    // What is not there equals nothing and has nothing in it.
    let Some(found) = found else {
        return match test {
            Test::NotEquals(_) | Test::NotContains(_) => None,
            _ => Some("is not there".to_owned()),
        };
    };
    let (holds, what) = match test {
        // The answer's own and the schema were looked at before.
        Test::Exists(_) | Test::Status(_) | Test::Schema(_) => (true, String::new()),
        Test::Equals(_) => (equal(found, expected), "should be".to_owned()),
        Test::NotEquals(_) => (!equal(found, expected), "should not be".to_owned()),
        Test::Contains(_) => (contains(found, expected), "should contain".to_owned()),
        Test::NotContains(_) => (!contains(found, expected), "should not contain".to_owned()),
        Test::ContainsEach(..) => (
            missing(found, expected).is_empty(),
            "should contain each of".to_owned(),
        ),
        Test::Matches(regex) => {
            let matches = match found {
                Value::String(text) => regex.is_match(text),
                other => regex.is_match(&other.to_string()),
            };
            (matches, format!("should match /{regex}/"))
        }
        Test::Type(json_type) => (
            has_type(found, *json_type),
            format!("should be of type {}", json_type.word()),
        ),
        Test::Length(length) => (
            size(found) == Some(*length as f64),
            format!("should have the length {length}"),
        ),
        Test::AtLeast(least) => (
            measure(found).is_some_and(|n| n >= *least),
            format!("should be at least {least}"),
        ),
        Test::AtMost(most) => (
            measure(found).is_some_and(|n| n <= *most),
            format!("should be at most {most}"),
        ),
    };
    (!holds).then_some(what)
}

/// Equal as JSON, where 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn contains(found: &Value, part: &Value) -> bool {
    match (found, part) {
        (Value::String(text), Value::String(part)) => text.contains(part),
        (Value::String(text), part) => text.contains(&part.to_string()),
        (Value::Array(items), part) => items.iter().any(|item| equal(item, part)),
        (Value::Object(map), Value::String(key)) => map.contains_key(key),
        _ => false,
    }
}

/// The elements of a list that are not in what was found.
fn missing<'v>(found: &Value, list: &'v Value) -> Vec<&'v Value> {
    match list {
        Value::Array(items) => items.iter().filter(|item| !contains(found, item)).collect(),
        one if contains(found, one) => Vec::new(),
        one => vec![one],
    }
}

fn has_type(value: &Value, json_type: JsonType) -> bool {
    match json_type {
        JsonType::Null => value.is_null(),
        JsonType::Boolean => value.is_boolean(),
        JsonType::Number => value.is_number(),
        JsonType::Text => value.is_string(),
        JsonType::Array => value.is_array(),
        JsonType::Object => value.is_object(),
    }
}

fn size(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Some(text.chars().count() as f64),
        Value::Array(items) => Some(items.len() as f64),
        Value::Object(map) => Some(map.len() as f64),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn measure(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| size(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;
    use serde_json::json;

    use crate::program::Expected;

    fn dummy() -> Expected {
        Expected::Fixed(Value::Null)
    }

    #[test]
    fn every_test_holds_and_fails() {
        let regex = Test::Matches(Regex::new("^a+$").unwrap());
        let cases: Vec<(Test, Value, Value, bool)> = vec![
            (Test::Equals(dummy()), json!(1), json!(1.0), true),
            (
                Test::Equals(dummy()),
                json!({"a": [1]}),
                json!({"a": [1.0]}),
                true,
            ),
            (Test::Equals(dummy()), json!("1"), json!(1), false),
            (Test::NotEquals(dummy()), json!("1"), json!(1), true),
            (Test::NotEquals(dummy()), json!(1), json!(1), false),
            (Test::Contains(dummy()), json!("hello"), json!("ell"), true),
            (Test::Contains(dummy()), json!("hello 5"), json!(5), true),
            (Test::Contains(dummy()), json!(["a", 1]), json!(1), true),
            (Test::Contains(dummy()), json!(["a"]), json!("b"), false),
            (
                Test::Contains(dummy()),
                json!({"key": 1}),
                json!("key"),
                true,
            ),
            (Test::Contains(dummy()), json!(5), json!(5), false),
            (Test::NotContains(dummy()), json!("hello"), json!("x"), true),
            (
                Test::NotContains(dummy()),
                json!("hello"),
                json!("h"),
                false,
            ),
            (
                Test::ContainsEach(dummy(), None),
                json!("a b c"),
                json!(["a", "c"]),
                true,
            ),
            (
                Test::ContainsEach(dummy(), None),
                json!("a b c"),
                json!(["a", "d"]),
                false,
            ),
            (
                Test::ContainsEach(dummy(), None),
                json!(["a"]),
                json!([]),
                true,
            ),
            (regex.clone(), json!("aaa"), Value::Null, true),
            (regex, json!("b"), Value::Null, false),
            (Test::Type(JsonType::Array), json!([]), Value::Null, true),
            (Test::Type(JsonType::Text), json!([]), Value::Null, false),
            (Test::Length(3), json!("äöü"), Value::Null, true),
            (Test::Length(3), json!([1]), Value::Null, false),
            (Test::Length(1), json!({"a": 1}), Value::Null, true),
            (Test::Length(1), json!(1), Value::Null, false),
            (Test::AtLeast(2.0), json!(2), Value::Null, true),
            (Test::AtLeast(2.0), json!([1]), Value::Null, false),
            (Test::AtMost(2.0), json!("abc"), Value::Null, false),
            (Test::AtMost(2.0), json!(1.5), Value::Null, true),
            (Test::AtMost(2.0), json!(null), Value::Null, false),
            (Test::Exists(true), json!(null), Value::Null, true),
            (Test::Exists(false), json!(null), Value::Null, false),
        ];
        for (test, found, expected, holds) in cases {
            assert_eq!(
                fails(&test, Some(&found), &expected).is_none(),
                holds,
                "{test:?} {found} {expected}"
            );
        }
    }

    #[test]
    fn nothing_equals_nothing_and_contains_nothing() {
        assert!(fails(&Test::Exists(false), None, &Value::Null).is_none());
        assert!(fails(&Test::Exists(true), None, &Value::Null).is_some());
        assert!(fails(&Test::Equals(dummy()), None, &Value::Null).is_some());
        assert!(fails(&Test::NotEquals(dummy()), None, &Value::Null).is_none());
        assert!(fails(&Test::NotContains(dummy()), None, &json!("x")).is_none());
        assert!(fails(&Test::AtMost(1.0), None, &Value::Null).is_some());
    }
}
