//! One request on its way through a handler: its cookies, parameters and body.

use axum::body::Bytes;
use axum::extract::Request;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::dispatch::App;
use super::openapi;
use super::reply::Refusal;
use super::schema;
use super::validate;
use crate::journal::Note;

/// The largest body, in bytes.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// The two cookies that matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Cookies {
    access_token: Option<String>,
    csrf_token: Option<String>,
}

impl Cookies {
    /// Of several cookies of one name the last counts, as in Starlette.
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        let mut cookies = Self::default();
        for value in headers.get_all(header::COOKIE) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for pair in text.split(';') {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                let value = Some(value.trim().trim_matches('"').to_owned());
                match name.trim() {
                    "access_token" => cookies.access_token = value,
                    "csrf_token" => cookies.csrf_token = value,
                    _ => {}
                }
            }
        }
        cookies
    }

    pub(super) fn access_token(&self) -> Option<&str> {
        self.access_token
            .as_deref()
            .filter(|token| !token.is_empty())
    }

    pub(super) fn csrf_token(&self) -> Option<&str> {
        self.csrf_token.as_deref().filter(|token| !token.is_empty())
    }
}

/// What was sent as a body.
pub(super) enum Sent {
    Whole(Bytes),
    TooLarge,
    /// The client went away, or broke the framing.
    Broken,
}

impl Sent {
    /// Reads the body off a request.
    pub(super) async fn read(request: Request) -> (Request<()>, Self) {
        let (parts, body) = request.into_parts();
        let sent = match axum::body::to_bytes(body, BODY_LIMIT).await {
            Ok(bytes) => Self::Whole(bytes),
            Err(error) if is_limit(&error) => Self::TooLarge,
            Err(_) => Self::Broken,
        };
        (Request::from_parts(parts, ()), sent)
    }
}

/// A request for one operation.
pub(super) struct Call {
    pub(super) app: App,
    /// The path's parameter, decoded; empty where the path has none.
    pub(super) parameter: String,
    pub(super) cookies: Cookies,
    pub(super) note: Note,
    query: Vec<(String, String)>,
    request: Request<()>,
    body: Sent,
}

impl Call {
    pub(super) fn new(
        app: App,
        parameter: String,
        cookies: Cookies,
        note: Note,
        request: Request<()>,
        body: Sent,
    ) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Self {
            app,
            parameter,
            cookies,
            note,
            query,
            request,
            body,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        let value = self.request.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// A parameter of the query; the last of several.
    fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A number of the query, checked against its documented bounds.
    pub(super) fn number(&self, name: &str, parameter: &Value, faults: &mut Vec<Value>) -> i64 {
        validate::integer(name, self.query(name), parameter, faults)
    }

    /// A text of the query, checked against its documented schema.
    pub(super) fn choice(
        &self,
        name: &str,
        parameter: &Value,
        faults: &mut Vec<Value>,
    ) -> Option<String> {
        let value = self.query(name)?;
        let loc = [json!("query"), json!(name)];
        validate::check(&json!(value), parameter, &loc, faults);
        Some(value.to_owned())
    }

    /// The number that says how many, and the one that says from where.
    pub(super) fn page(&self, most: i64, from: &str) -> Result<(i64, i64), Refusal> {
        let mut faults = Vec::new();
        let limit = self.number("limit", &openapi::limit(most, 50), &mut faults);
        let start = self.number(from, &openapi::start(), &mut faults);
        if faults.is_empty() {
            Ok((limit, start))
        } else {
            Err(Refusal::Invalid(faults))
        }
    }

    fn body(&self) -> Result<&[u8], Refusal> {
        match &self.body {
            Sent::Whole(bytes) => Ok(bytes),
            Sent::TooLarge => Err(Refusal::Plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Request too large. Maximum size is 10.0MB",
            )),
            Sent::Broken => Err(unreadable()),
        }
    }

    /// The JSON body, checked against a schema of the OpenAPI document.
    pub(super) fn json(&self, schema: &str) -> Result<Value, Refusal> {
        let body = self.unchecked_json()?;
        let mut faults = Vec::new();
        validate::check(
            &body,
            &schema::reference(schema),
            &[json!("body")],
            &mut faults,
        );
        if faults.is_empty() {
            Ok(body)
        } else {
            Err(Refusal::Invalid(faults))
        }
    }

    /// The JSON body whatever it is.
    pub(super) fn unchecked_json(&self) -> Result<Value, Refusal> {
        let kind = self.header("content-type");
        let bytes = self.body()?;
        if bytes.is_empty() {
            let fault = validate::fault(
                "missing",
                &[json!("body")],
                "Field required",
                &Value::Null,
                None,
            );
            return Err(Refusal::Invalid(vec![fault]));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
        if !kind.is_none_or(|kind| is_json(&kind)) {
            // It is taken for a text, and a text is no object.
            return Ok(json!(text));
        }
        serde_json::from_str(text).map_err(|error| {
            let lines = text
                .split_inclusive('\n')
                .take(error.line().saturating_sub(1));
            let position = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let loc = [json!("body"), json!(position)];
            let context = json!({ "error": error.to_string() });
            Refusal::Invalid(vec![validate::fault(
                "json_invalid",
                &loc,
                "JSON decode error",
                &json!({}),
                Some(context),
            )])
        })
    }

    /// The fields of a form; anything else has none.
    pub(super) fn form(&self, schema: &str) -> Result<Value, Refusal> {
        let kind = self.header("content-type").unwrap_or_default();
        let bytes = self.body()?;
        let mut fields = serde_json::Map::new();
        if kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
        {
            for (name, value) in url::form_urlencoded::parse(bytes) {
                // An empty field counts as absent.
                if !value.is_empty() {
                    fields.insert(name.into_owned(), json!(value));
                }
            }
        }
        let fields = Value::Object(fields);
        let mut faults = Vec::new();
        validate::check(
            &fields,
            &schema::reference(schema),
            &[json!("body")],
            &mut faults,
        );
        for fault in &mut faults {
            // What was sent may be half a login: it is not repeated.
            fault["input"] = Value::Null;
        }
        if faults.is_empty() {
            Ok(fields)
        } else {
            Err(Refusal::Invalid(faults))
        }
    }
}

fn unreadable() -> Refusal {
    Refusal::Plain(
        StatusCode::BAD_REQUEST,
        "There was an error parsing the body",
    )
}

fn is_limit(error: &axum::Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// `application/json` or `application/*+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// A text member of a body that has been checked; empty where it is absent.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}
