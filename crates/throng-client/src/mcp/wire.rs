//! JSON-RPC messages as bytes: built in one buffer, parsed no further than needed.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::CallError;

/// A message from the server, taken apart but not parsed.
pub(crate) enum Message {
    Response {
        id: Option<u64>,
        outcome: Outcome,
    },
    Request {
        /// As sent: a number or a string.
        id: Bytes,
        method: String,
        params: Option<Bytes>,
    },
    Notification {
        method: String,
        params: Option<Bytes>,
    },
}

pub(crate) enum Outcome {
    Result(Bytes),
    Error(RpcError),
}

#[derive(Debug, Deserialize)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) data: Option<Value>,
}

impl RpcError {
    pub(crate) fn into_call_error(self, status: StatusCode) -> CallError {
        CallError::Rpc {
            code: self.code,
            message: self.message,
            data: self.data.map(Box::new),
            status,
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// Takes a message apart; the parts share its memory.
pub(crate) fn parse(message: &Bytes) -> Result<Message, String> {
    let envelope: Envelope<'_> =
        serde_json::from_slice(message).map_err(|error| error.to_string())?;
    let share = |raw: &RawValue| message.slice_ref(raw.get().as_bytes());
    if let Some(method) = envelope.method {
        let (method, params) = (method.into_owned(), envelope.params.map(share));
        return Ok(match envelope.id {
            Some(id) => Message::Request {
                id: share(id),
                method,
                params,
            },
            None => Message::Notification { method, params },
        });
    }
    let outcome = match (envelope.result, envelope.error) {
        (_, Some(error)) => Outcome::Error(error),
        (Some(result), None) => Outcome::Result(share(result)),
        (None, None) => return Err("neither a result nor an error nor a method".to_owned()),
    };
    Ok(Message::Response {
        id: envelope.id.and_then(|id| id.get().parse().ok()),
        outcome,
    })
}

/// A request that is being written: `params` is open and takes members.
pub(crate) struct Writer {
    buffer: BytesMut,
    /// A member has been written into `params`.
    started: bool,
}

impl Writer {
    /// Begins a request; `more` is the room its members will take.
    pub(crate) fn request(id: u64, method: &str, more: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(64 + method.len() + more);
        buffer.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        buffer.put_slice(itoa::Buffer::new().format(id).as_bytes());
        buffer.put_slice(b",\"method\":\"");
        buffer.put_slice(method.as_bytes());
        buffer.put_slice(b"\",\"params\":{");
        Self {
            buffer,
            started: false,
        }
    }

    /// Begins a notification.
    pub(crate) fn notification(method: &str, more: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(64 + method.len() + more);
        buffer.put_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"");
        buffer.put_slice(method.as_bytes());
        buffer.put_slice(b"\",\"params\":{");
        Self {
            buffer,
            started: false,
        }
    }

    /// Adds a member whose value is JSON already. The name needs no escaping.
    pub(crate) fn member(&mut self, name: &str, json: &[u8]) {
        if self.started {
            self.buffer.put_u8(b',');
        }
        self.started = true;
        self.buffer.put_u8(b'"');
        self.buffer.put_slice(name.as_bytes());
        self.buffer.put_slice(b"\":");
        self.buffer.put_slice(json);
    }

    /// Adds all members of a JSON object.
    pub(crate) fn members(&mut self, object: &[u8]) {
        let inner = object.trim_ascii();
        let inner = inner
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .unwrap_or_default()
            .trim_ascii();
        if inner.is_empty() {
            return;
        }
        if self.started {
            self.buffer.put_u8(b',');
        }
        self.started = true;
        self.buffer.put_slice(inner);
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.buffer.put_slice(b"}}");
        self.buffer.freeze()
    }
}

/// The answer to a request of the server.
pub(crate) fn answer(id: &[u8], outcome: Result<&Value, (i64, &str)>) -> Bytes {
    let mut buffer = Vec::with_capacity(96 + id.len());
    buffer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    buffer.extend_from_slice(id);
    match outcome {
        Ok(result) => {
            buffer.extend_from_slice(b",\"result\":");
            buffer.extend_from_slice(result.to_string().as_bytes());
        }
        Err((code, message)) => {
            let error = serde_json::json!({ "code": code, "message": message });
            buffer.extend_from_slice(b",\"error\":");
            buffer.extend_from_slice(error.to_string().as_bytes());
        }
    }
    buffer.push(b'}');
    buffer.into()
}

/// `text` as a JSON string, quotes included.
pub(crate) fn json_string(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn write_json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing a text to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_taken_apart_without_copying() {
        let body =
            Bytes::from_static(br#" {"jsonrpc":"2.0", "result" : {"isError": false}, "id" :7}"#);
        let Ok(Message::Response {
            id: Some(7),
            outcome: Outcome::Result(result),
        }) = parse(&body)
        else {
            panic!("not a response");
        };
        assert_eq!(result, &br#"{"isError": false}"#[..]);
        assert_eq!(result.as_ptr(), body[30..].as_ptr());
    }

    #[test]
    fn messages_are_told_apart() {
        let kind = |text: &'static str| match parse(&Bytes::from_static(text.as_bytes())) {
            Ok(Message::Request { id, method, params }) => {
                format!("request {id:?} {method} {}", params.is_some())
            }
            Ok(Message::Notification { method, params }) => {
                format!("notification {method} {}", params.is_some())
            }
            Ok(Message::Response { id, outcome }) => match outcome {
                Outcome::Result(result) => format!("result {id:?} {result:?}"),
                Outcome::Error(error) => format!("error {id:?} {} {}", error.code, error.message),
            },
            Err(_) => "invalid".to_owned(),
        };
        assert_eq!(
            kind(r#"{"id":"a-1","method":"elicitation/create","params":{}}"#),
            r#"request b"\"a-1\"" elicitation/create true"#
        );
        assert_eq!(
            kind(r#"{"method":"notifications\/message"}"#),
            "notification notifications/message false"
        );
        assert_eq!(
            kind(r#"{"id":3,"error":{"code":-32601,"message":"no"}}"#),
            "error Some(3) -32601 no"
        );
        assert_eq!(
            kind(r#"{"id":null,"error":{"code":-32700}}"#),
            "error None -32700 "
        );
        assert_eq!(kind(r#"{"id":3,"result":{}}"#), r#"result Some(3) b"{}""#);
        for invalid in [r#"{"id":3}"#, "[]", "", r#"{"id":3,"result":{"#, "<html>"] {
            assert_eq!(kind(invalid), "invalid", "{invalid}");
        }
    }

    #[test]
    fn a_request_is_written_member_by_member() {
        let mut writer = Writer::request(12, "tools/call", 0);
        writer.member("name", json_string("a\"b").as_bytes());
        writer.member("arguments", b"{\"x\":[1]}");
        writer.members(b" { \"y\" : 2 } ");
        writer.members(b"{}");
        let value: Value = serde_json::from_slice(&writer.finish()).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"jsonrpc": "2.0", "id": 12, "method": "tools/call",
                "params": {"name": "a\"b", "arguments": {"x": [1]}, "y": 2}})
        );
        let value: Value =
            serde_json::from_slice(&Writer::notification("notifications/initialized", 0).finish())
                .unwrap();
        assert_eq!(
            value,
            serde_json::json!({"jsonrpc": "2.0", "method": "notifications/initialized", "params": {}})
        );
    }

    #[test]
    fn answers_keep_the_id_as_sent() {
        let refused = answer(b"\"a-1\"", Err((-32601, "Method not found")));
        assert_eq!(
            refused,
            r#"{"jsonrpc":"2.0","id":"a-1","error":{"code":-32601,"message":"Method not found"}}"#
        );
        let pong = answer(b"5", Ok(&serde_json::json!({})));
        assert_eq!(pong, r#"{"jsonrpc":"2.0","id":5,"result":{}}"#);
    }
}
