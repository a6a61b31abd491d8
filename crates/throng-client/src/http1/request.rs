//! A request as HTTP/1.1 sends it.

use http::{HeaderName, HeaderValue, Method, header};

use super::head::has_option;
use crate::{cookies::Sent, request::Outgoing};

/// Writes the head. How the body is framed is decided here and not by the request's headers: a `Content-Length` that isn't the
/// body's would make the rest of the connection unreadable. Where a body is usual, the length of none is said, too: some
/// servers insist on it (RFC 9110, section 8.6); any other request may say that its length is 0.
///
/// Returns whether the request leaves the connection open for another one (RFC 9112, section 9.6).
pub(super) fn write(
    out: &mut Vec<u8>,
    outgoing: &dyn Outgoing,
    body: &[u8],
    cookies: Option<&Sent>,
) -> bool {
    let (target, method) = (outgoing.target(), outgoing.method());
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.path.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let cookies = cookies.filter(|_| !outgoing.says(&header::COOKIE));
    let cookie = cookies.and_then(|sent| sent.header.as_ref());
    let token = cookie.and_then(|_| {
        let csrf = outgoing.double_submit()?;
        Some((&csrf.header, cookies?.value(&csrf.cookie)?))
    });
    let usual = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let says_length = usual || !body.is_empty();
    let mut keeps = true;
    outgoing.each_header(&mut |name, value| {
        let ours = match *name {
            header::TRANSFER_ENCODING => true,
            header::CONTENT_LENGTH => says_length || value != "0",
            header::CONNECTION => {
                keeps &= !has_option(value, "close");
                false
            }
            _ => token.is_some_and(|(of, _)| of == name),
        };
        if !ours {
            line(out, name, value);
        }
    });
    if let Some(cookie) = cookie {
        line(out, &header::COOKIE, cookie);
    }
    if let Some((name, token)) = token {
        line(out, name, token);
    }
    if says_length {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    keeps
}

fn line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::request::Plain;

    fn written(request: Request<&'static str>) -> String {
        let request = request.map(|body| Bytes::from_static(body.as_bytes()));
        let plain = Plain::new(request, None).unwrap();
        let mut out = Vec::new();
        let keeps = write(&mut out, &plain, &plain.body(), None);
        assert_eq!(keeps, !plain.says(&header::CONNECTION));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_length_of_a_body_is_ours_to_say() {
        let post = || Request::post("http://user:word@localhost:8080/a?b=c");
        for (name, value, body, expected) in [
            ("x-a", "b", "", "x-a: b\r\ncontent-length: 0\r\n"),
            (
                "connection",
                "close",
                "four",
                "connection: close\r\ncontent-length: 4\r\n",
            ),
            ("x-a", "b", "four", "x-a: b\r\ncontent-length: 4\r\n"),
            ("content-length", "0", "", "content-length: 0\r\n"),
            ("content-length", "7", "", "content-length: 0\r\n"),
            ("content-length", "7", "four", "content-length: 4\r\n"),
            (
                "transfer-encoding",
                "chunked",
                "four",
                "content-length: 4\r\n",
            ),
        ] {
            let request = post().header(name, value).header("host", "h").body(body);
            let expected: Vec<_> = expected.split_terminator("\r\n").collect();
            let text = written(request.unwrap());
            let mut lines: Vec<_> = text.split("\r\n").collect();
            assert_eq!(lines.remove(0), "POST /a?b=c HTTP/1.1");
            lines.retain(|line| !line.is_empty() && *line != "host: h");
            assert_eq!(lines, expected, "{name}: {value}, {body:?}");
            assert!(text.ends_with("\r\n\r\n"));
        }
        let get = |url| Request::get(url).body("").unwrap();
        for (url, expected) in [
            (
                "http://user:word@localhost:8080/a?b=c",
                "GET /a?b=c HTTP/1.1\r\nhost: localhost:8080\r\n\r\n",
            ),
            ("http://[::1]", "GET / HTTP/1.1\r\nhost: [::1]\r\n\r\n"),
            ("http://h?b=c", "GET /?b=c HTTP/1.1\r\nhost: h\r\n\r\n"),
            ("http://h#d", "GET / HTTP/1.1\r\nhost: h\r\n\r\n"),
        ] {
            assert_eq!(written(get(url)), expected);
        }
    }
}
