//! A request as HTTP/1.1 sends it.

use http::{HeaderName, HeaderValue, header};

use crate::{cookies::Sent, request::Outgoing};

/// Writes the head. How the body is framed is decided here and not by the request's headers: a `Content-Length` that isn't the
/// body's would make the rest of the connection unreadable. A request without a body may say that its length is 0.
pub(super) fn write(
    out: &mut Vec<u8>,
    outgoing: &dyn Outgoing,
    body: &[u8],
    cookies: Option<&Sent>,
) {
    let target = outgoing.target();
    out.extend_from_slice(outgoing.method().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.path.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let cookies = cookies.filter(|_| !outgoing.says(&header::COOKIE));
    let cookie = cookies.and_then(|sent| sent.header.as_ref());
    let token = cookie.and_then(|_| {
        let csrf = outgoing.double_submit()?;
        Some((&csrf.header, cookies?.value(&csrf.cookie)?))
    });
    outgoing.each_header(&mut |name, value| {
        let ours = match *name {
            header::TRANSFER_ENCODING => true,
            header::CONTENT_LENGTH => !body.is_empty() || value != "0",
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
    if !body.is_empty() {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
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
        write(&mut out, &plain, &plain.body(), None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_length_of_a_body_is_ours_to_say() {
        let post = || Request::post("http://user:word@localhost:8080/a?b=c");
        for (name, value, body, expected) in [
            ("x-a", "b", "", "x-a: b\r\n"),
            ("x-a", "b", "four", "x-a: b\r\ncontent-length: 4\r\n"),
            ("content-length", "0", "", "content-length: 0\r\n"),
            ("content-length", "7", "", ""),
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
        let text = written(post().body("").unwrap());
        assert_eq!(text, "POST /a?b=c HTTP/1.1\r\nhost: localhost:8080\r\n\r\n");
    }
}
