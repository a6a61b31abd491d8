//! What a request carries: JSON, a form, a multipart form or a text, and the header that says which.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::pairs;
use crate::compile::value::{Cutter, Values};
use crate::decode::Named;
use crate::encode;
use crate::http::Part;
use crate::model::Step;
use crate::problem::Mark;
use crate::program::{Content, Form};

/// The keys that give a body, and where they stand.
pub(super) fn bodies(step: &Step) -> [(&'static str, Option<Mark>); 4] {
    [
        ("json", step.json.as_ref().map(|_| step.mark)),
        (
            "form",
            step.form.as_ref().map(|form| first_mark(form, step.mark)),
        ),
        (
            "multipart",
            step.multipart
                .as_ref()
                .map(|parts| first_mark(parts, step.mark)),
        ),
        ("body", step.body.as_ref().map(|body| body.mark)),
    ]
}

/// The body, and the header that says what it is.
pub(super) fn body(step: &Step, headers: &mut HeaderMap, values: &mut Values<'_>) -> Content {
    let given: Vec<_> = bodies(step)
        .into_iter()
        .filter_map(|(key, mark)| Some((key, mark?)))
        .collect();
    if let [first, second, ..] = given.as_slice() {
        values.problems.add(
            second.1,
            format!("a request has one body: `{}` or `{}`", first.0, second.0),
        );
    }
    if let Some(at) = step.content_type.as_ref().filter(|_| step.body.is_none()) {
        values.problems.add(
            at.mark,
            "`content_type` is the type of `body`, which is not there",
        );
    }
    let mut out = Cutter::default();
    let kind = if let Some(json) = &step.json {
        values.write_json(json, &mut out);
        "application/json".to_owned()
    } else if let Some(form) = &step.form {
        pairs(form, Form::Urlencoded, "", values, &mut out);
        "application/x-www-form-urlencoded".to_owned()
    } else if let Some(parts) = &step.multipart {
        multipart(parts, values, &mut out)
    } else if let Some(body) = &step.body {
        values.encoded(body, Form::Text, &mut out);
        let given = step.content_type.as_ref();
        given
            .map_or("text/plain; charset=utf-8", |kind| &kind.value)
            .to_owned()
    } else {
        return Content::Fixed(Bytes::new());
    };
    match HeaderValue::from_str(&kind) {
        Ok(kind) => {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        Err(_) => values.problems.add(
            step.content_type.as_ref().map_or(step.mark, |at| at.mark),
            "this cannot be a media type",
        ),
    }
    out.content()
}

fn first_mark<T>(named: &Named<T>, otherwise: Mark) -> Mark {
    named.0.first().map_or(otherwise, |(name, _)| name.mark)
}

/// Writes a multipart body (RFC 7578); returns its type with the boundary.
fn multipart(parts: &Named<Part>, values: &mut Values<'_>, out: &mut Cutter) -> String {
    // 122 random bits: no content has them by chance.
    let boundary = format!("throng-{:032x}", rand::random::<u128>());
    let quoted = |text: &str| {
        let mut bytes = Vec::new();
        encode::quoted(text.as_bytes(), &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for (name, Part(part)) in &parts.0 {
        out.fixed(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            quoted(name)
        ));
        let own_name = part
            .file
            .as_ref()
            .and_then(|file| std::path::Path::new(&file.value).file_name())
            .and_then(|name| name.to_str());
        if let Some(template) = &part.filename {
            out.fixed("; filename=\"");
            values.encoded(template, Form::Quoted, out);
            out.fixed("\"");
        } else if let Some(own_name) = own_name {
            out.fixed(&format!("; filename=\"{}\"", quoted(own_name)));
        }
        let kind = match (&part.media_type, &part.file) {
            (Some(kind), _) => Some(kind.value.as_str()),
            (None, Some(_)) => Some("application/octet-stream"),
            (None, None) => None,
        };
        if let Some(kind) = kind {
            out.fixed(&format!("\r\nContent-Type: {kind}"));
        }
        out.fixed("\r\n\r\n");
        if let Some(content) = &part.content {
            values.encoded(content, Form::Text, out);
        } else if let Some(file) = &part.file {
            match std::fs::read(values.problems.directory().join(&file.value)) {
                Ok(bytes) => out.raw(bytes.into()),
                Err(error) => values
                    .problems
                    .add(file.mark, format!("cannot read `{}`: {error}", file.value)),
            }
        }
        out.fixed("\r\n");
    }
    out.fixed(&format!("--{boundary}--\r\n"));
    format!("multipart/form-data; boundary={boundary}")
}
