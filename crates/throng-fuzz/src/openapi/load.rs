//! From bytes to operations.

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Content, Document, DocumentError, Operation, Parameter, Place, Response, StatusPattern,
    Version, essence,
};

/// The keys of a path item that are methods.
const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
/// So many references are followed in a row.
const LONGEST_CHAIN: usize = 32;

impl Document {
    /// Reads a document, JSON or YAML. `prefix` is what the scenario puts before all its paths: it is left out of the
    /// operations' names (and of nothing else).
    ///
    /// # Errors
    /// If it is no OpenAPI 3 document, or has no operations.
    pub fn load(bytes: &[u8], prefix: &str) -> Result<Self, DocumentError> {
        let root = parse(bytes)?;
        let version = version(&root)?;
        let base = base_path(&root);
        let mut notes = Vec::new();
        let mut operations = Vec::new();
        let no_paths = Map::new();
        for (template, item) in root["paths"].as_object().unwrap_or(&no_paths) {
            let item = resolve(&root, item);
            for method in METHODS {
                if !item[method].is_object() {
                    continue;
                }
                let path = format!("{base}{template}");
                if !path.starts_with('/') {
                    notes.push(format!("the path `{template}` doesn't begin with a slash"));
                    continue;
                }
                let made = operation(&root, method, &path, item, prefix, &mut notes);
                operations.push(made);
            }
        }
        if operations.is_empty() {
            return Err(DocumentError::Empty);
        }
        Ok(Self {
            version,
            operations,
            notes,
            root,
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Value, DocumentError> {
    let as_json = serde_json::from_slice(bytes);
    let looks_like_json = bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b'{');
    match as_json {
        Ok(value) => Ok(value),
        Err(error) if looks_like_json => Err(DocumentError::Syntax(error.to_string())),
        Err(_) => {
            let text =
                std::str::from_utf8(bytes).map_err(|e| DocumentError::Syntax(e.to_string()))?;
            serde_saphyr::from_str(text).map_err(|error| {
                let text = error.to_string();
                DocumentError::Syntax(text.lines().next().unwrap_or_default().to_owned())
            })
        }
    }
}

fn version(root: &Value) -> Result<Version, DocumentError> {
    // YAML may have read `3.0` as a number.
    let text = match &root["openapi"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    if text.starts_with("3.0") {
        Ok(Version::V3_0)
    } else if text.starts_with("3.") {
        Ok(Version::V3_1)
    } else if let Some(old) = root["swagger"].as_str() {
        Err(DocumentError::Version(format!(
            "it is Swagger {old}; convert it to OpenAPI 3 first"
        )))
    } else if text.is_empty() {
        Err(DocumentError::Version("it has no `openapi` key".to_owned()))
    } else {
        Err(DocumentError::Version(format!("its version is {text}")))
    }
}

/// The path of the first server's URL, without a slash at its end.
fn base_path(root: &Value) -> String {
    let server = &root["servers"][0];
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        let default = variable["default"].as_str().unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |start| &rest[start..]),
        None => &url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.trim_end_matches('/');
    if path.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn operation(
    root: &Value,
    method: &str,
    path: &str,
    item: &Value,
    prefix: &str,
    notes: &mut Vec<String>,
) -> Operation {
    let given = &item[method];
    let method = match method {
        "get" => Method::GET,
        "put" => Method::PUT,
        "post" => Method::POST,
        "delete" => Method::DELETE,
        "options" => Method::OPTIONS,
        "head" => Method::HEAD,
        "patch" => Method::PATCH,
        _ => Method::TRACE,
    };
    let shown = path
        .strip_prefix(prefix.trim_end_matches('/'))
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    let name = format!("{method} {shown}");
    let mut parameters: Vec<Parameter> = Vec::new();
    let own = given["parameters"].as_array().into_iter().flatten();
    let shared = item["parameters"].as_array().into_iter().flatten();
    for parameter in own.chain(shared) {
        let Some(parameter) = read_parameter(resolve(root, parameter)) else {
            continue;
        };
        let known = |other: &Parameter| {
            other.place == parameter.place && other.name.eq_ignore_ascii_case(&parameter.name)
        };
        if !parameters.iter().any(known) {
            parameters.push(parameter);
        }
    }
    let body = resolve(root, &given["requestBody"]);
    let mut operation = Operation {
        method,
        path: path.to_owned(),
        id: given["operationId"].as_str().map(str::to_owned),
        parameters,
        bodies: contents(&body["content"]),
        body_required: body["required"] == true,
        responses: responses(root, &given["responses"], &name, notes),
        secured: secured(root, given),
        name,
    };
    // A parameter of the path that nobody described is there all the same.
    let undescribed: Vec<String> = operation
        .path_parameters()
        .filter(|name| {
            let known = |p: &Parameter| p.place == Place::Path && p.name == *name;
            !operation.parameters.iter().any(known)
        })
        .map(str::to_owned)
        .collect();
    for name in undescribed {
        operation.parameters.push(Parameter {
            name,
            place: Place::Path,
            required: true,
            schema: json!({ "type": "string", "minLength": 1 }),
        });
    }
    operation
}

fn read_parameter(given: &Value) -> Option<Parameter> {
    let place = match given["in"].as_str()? {
        "path" => Place::Path,
        "query" => Place::Query,
        "header" => Place::Header,
        _ => return None,
    };
    let name = given["name"].as_str()?.to_owned();
    // OpenAPI: these are described elsewhere and ignored here.
    if place == Place::Header
        && ["accept", "content-type", "authorization"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let in_content = given["content"]
        .as_object()
        .and_then(|content| content.values().next())
        .map(|content| &content["schema"]);
    let schema = given.get("schema").or(in_content).cloned();
    Some(Parameter {
        name,
        place,
        required: given["required"] == true || place == Place::Path,
        schema: schema.unwrap_or(Value::Bool(true)),
    })
}

fn contents(given: &Value) -> Vec<Content> {
    let given = given.as_object().into_iter().flatten();
    given
        .map(|(media_type, content)| Content {
            media_type: essence(media_type),
            schema: content.get("schema").cloned(),
        })
        .collect()
}

fn responses(root: &Value, given: &Value, name: &str, notes: &mut Vec<String>) -> Vec<Response> {
    let mut responses = Vec::new();
    for (key, response) in given.as_object().into_iter().flatten() {
        let class = key.as_bytes();
        let status = match key.parse::<u16>() {
            Ok(exact) => StatusPattern::Exact(exact),
            Err(_) if key == "default" => StatusPattern::Default,
            Err(_) if class.len() == 3 && key[1..].eq_ignore_ascii_case("XX") => {
                StatusPattern::Class(u16::from(class[0].wrapping_sub(b'0')))
            }
            Err(_) if key.starts_with("x-") => continue,
            Err(_) => {
                notes.push(format!("{name}: `{key}` is no status"));
                continue;
            }
        };
        responses.push(Response {
            status,
            content: contents(&resolve(root, response)["content"]),
        });
    }
    responses
}

/// Whether a requirement is declared and none of its alternatives is "nobody".
fn secured(root: &Value, operation: &Value) -> bool {
    let given = operation.get("security").or_else(|| root.get("security"));
    let Some(alternatives) = given.and_then(Value::as_array) else {
        return false;
    };
    !alternatives.is_empty()
        && alternatives
            .iter()
            .all(|one| one.as_object().is_some_and(|schemes| !schemes.is_empty()))
}

/// See [`Document::resolve`].
pub(super) fn resolve<'a>(root: &'a Value, value: &'a Value) -> &'a Value {
    let mut current = value;
    for _ in 0..LONGEST_CHAIN {
        let Some(reference) = current["$ref"].as_str() else {
            return current;
        };
        let found = reference
            .strip_prefix('#')
            .and_then(|pointer| root.pointer(&percent_decoded(pointer)));
        match found {
            Some(found) => current = found,
            None => return current,
        }
    }
    value
}

/// A reference is a URI: `%7B` in it stands for `{`.
fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map_or_else(|| text.to_owned(), |(_, value)| value.into_owned())
}
