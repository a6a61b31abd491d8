//! The envelope of Nextcloud's OCS APIs, in JSON and in XML, and the CSRF check in front of them.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

/// How one OCS request wants its answer. As an extractor it refuses requests without the
/// `OCS-APIRequest` header where that is a CSRF fault: put it first among a handler's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ocs {
    /// `/ocs/v1.php`: always HTTP 200, success is statuscode 100.
    version_1: bool,
    json: bool,
}

impl Ocs {
    /// The answer format of a request under `/ocs/`; `None` for any other.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let path = parts.uri.path();
        if !path.starts_with("/ocs/") {
            return None;
        }
        let query = parts.uri.query().unwrap_or_default();
        let format = url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == "format")
            .map(|(_, value)| value == "json");
        let accepts_json = || {
            parts
                .headers
                .get(header::ACCEPT)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.contains("application/json"))
        };
        Some(Self {
            version_1: path.starts_with("/ocs/v1.php"),
            json: format.unwrap_or_else(accepts_json),
        })
    }

    /// Success.
    pub(crate) fn ok(self, data: Value) -> Response {
        let code = if self.version_1 { 100 } else { 200 };
        self.answer(StatusCode::OK, "ok", code, "OK", &data)
    }

    /// A failure: the HTTP status of version 2, and the status code of the envelope.
    pub(crate) fn error(self, status: StatusCode, code: u16, message: &str) -> Response {
        self.answer(status, "failure", code, message, &json!([]))
    }

    fn answer(
        self,
        status: StatusCode,
        word: &str,
        code: u16,
        message: &str,
        data: &Value,
    ) -> Response {
        // A missing login is the one failure that version 1 shows as an HTTP status.
        let status = if self.version_1 && status != StatusCode::UNAUTHORIZED {
            StatusCode::OK
        } else {
            status
        };
        let meta = json!({ "status": word, "statuscode": code, "message": message });
        if self.json {
            let body = json!({ "ocs": { "meta": meta, "data": data } });
            return (status, Json(body)).into_response();
        }
        let mut body = "<?xml version=\"1.0\"?>\n<ocs>\n".to_owned();
        write_xml(&mut body, "meta", &meta);
        write_xml(&mut body, "data", data);
        body.push_str("</ocs>\n");
        let headers = [(header::CONTENT_TYPE, "application/xml; charset=utf-8")];
        (status, headers, body).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Ocs {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Some(ocs) = Self::of(parts) else {
            return Err(StatusCode::NOT_FOUND.into_response());
        };
        let safe = [Method::GET, Method::HEAD].contains(&parts.method);
        let has_header = parts
            .headers
            .get("ocs-apirequest")
            .is_some_and(|value| value == "true");
        if safe || has_header {
            return Ok(ocs);
        }
        let body = Json(json!({ "message": "CSRF check failed" }));
        Err((StatusCode::PRECONDITION_FAILED, body).into_response())
    }
}

/// Writes a value as Nextcloud does: elements of lists are called `element`, null is empty.
fn write_xml(out: &mut String, name: &str, value: &Value) {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => escape(text),
        Value::Array(items) => {
            let mut inner = String::new();
            for item in items {
                write_xml(&mut inner, "element", item);
            }
            inner
        }
        Value::Object(members) => {
            let mut inner = String::new();
            for (key, member) in members {
                write_xml(&mut inner, key, member);
            }
            inner
        }
    };
    // Writing to a string cannot fail.
    let _ = if text.is_empty() {
        writeln!(out, "<{name}/>")
    } else {
        writeln!(out, "<{name}>{text}</{name}>")
    };
}

/// Escapes text for XML and HTML, attribute values included.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#039;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ocs(uri: &str, accept: &str) -> Ocs {
        let request = http::Request::builder()
            .uri(uri)
            .header("accept", accept)
            .body(())
            .unwrap();
        Ocs::of(&request.into_parts().0).expect("an OCS path")
    }

    async fn text(response: Response) -> (u16, String) {
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn version_2_in_json() {
        let ocs = ocs("/ocs/v2.php/cloud/user", "application/json");
        let (status, body) = text(ocs.error(StatusCode::BAD_REQUEST, 102, "exists")).await;
        assert_eq!(status, 400);
        let expected = r#"{"ocs":{"meta":{"status":"failure","statuscode":102,"message":"exists"},"data":[]}}"#;
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn version_1_is_always_200_and_xml_is_the_default() {
        let xml = ocs("/ocs/v1.php/cloud/user", "*/*");
        let (status, body) = text(xml.error(StatusCode::BAD_REQUEST, 102, "a<b")).await;
        assert_eq!(status, 200);
        assert!(body.contains("<message>a&lt;b</message>"), "{body}");
        let json = ocs("/ocs/v1.php/cloud/user?format=json", "*/*");
        let (_, body) = text(json.ok(json!({ "id": "x" }))).await;
        assert!(body.contains(r#""statuscode":100"#), "{body}");
    }
}
