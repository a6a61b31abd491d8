//! The parameters of an API request, wherever they stand: query, form or JSON body. Nextcloud does not tell them apart.

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Map, Value};

/// Parameters by name; those of the body win over those of the query.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// A text; numbers and booleans are taken as text, too.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// A number, also one that is written as text.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A flag: `true` and `1`, as text or not.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => Some(number.as_i64() == Some(1)),
            Value::String(text) => Some(matches!(text.as_str(), "true" | "1")),
            _ => None,
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let query = request.uri().query().unwrap_or_default();
        let mut fields: Map<String, Value> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect();
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        if content_type.starts_with("application/json") {
            if !body.is_empty() {
                let Ok(Value::Object(json)) = serde_json::from_slice(&body) else {
                    return Err((StatusCode::BAD_REQUEST, "invalid JSON body").into_response());
                };
                fields.extend(json);
            }
        } else if content_type.starts_with("application/x-www-form-urlencoded") {
            fields.extend(
                url::form_urlencoded::parse(&body)
                    .map(|(name, value)| (name.into_owned(), value.into_owned().into())),
            );
        }
        Ok(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(uri: &str, content_type: &str, body: &'static str) -> Result<Fields, Response> {
        let request = http::Request::post(uri)
            .header("content-type", content_type)
            .body(axum::body::Body::from(body))
            .unwrap();
        Fields::from_request(request, &()).await
    }

    #[tokio::test]
    async fn query_form_and_json_are_read_alike() {
        let form = read(
            "/x?a=1&b=q",
            "application/x-www-form-urlencoded",
            "b=f%26&c=true",
        );
        let form = form.await.unwrap();
        assert_eq!(form.integer("a"), Some(1));
        assert_eq!(form.text("b").as_deref(), Some("f&"));
        assert_eq!(form.flag("c"), Some(true));
        let json = read(
            "/x",
            "application/json; charset=utf-8",
            r#"{"a": 1, "b": null}"#,
        );
        let json = json.await.unwrap();
        assert_eq!(
            (json.text("a").as_deref(), json.text("b")),
            (Some("1"), None)
        );
        assert!(read("/x", "application/json", "[").await.is_err());
    }
}
