//! How texts are put into URLs, forms and multipart heads.

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3): a value that stays within its path segment
/// or query component whatever is in it.
pub(crate) fn percent(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            other => hex(*other, out),
        }
    }
}

/// Encodes for `application/x-www-form-urlencoded` (URL Standard, section 5.2).
pub(crate) fn form(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => hex(*other, out),
        }
    }
}

/// Encodes only what no URL may have: what the author wrote of a path stays as it was meant.
pub(crate) fn path(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => {
                hex(byte, &mut out)
            }
            other => out.push(other),
        }
    }
    ascii(out)
}

/// Encodes for a quoted parameter of `multipart/form-data` (HTML Standard, "multipart form data").
pub(crate) fn quoted(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\r' | b'\n' => hex(*byte, out),
            other => out.push(*other),
        }
    }
}

/// [`percent`] as a text.
pub(crate) fn percent_text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    percent(text.as_bytes(), &mut out);
    ascii(out)
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

fn ascii(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("everything that is not ASCII was encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(encode: fn(&[u8], &mut Vec<u8>), text: &str) -> String {
        let mut out = Vec::new();
        encode(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_place_has_its_own_encoding() {
        let text = "a/b c?ü&=%+~*\"\r\n";
        assert_eq!(
            by(percent, text),
            "a%2Fb%20c%3F%C3%BC%26%3D%25%2B~%2A%22%0D%0A"
        );
        assert_eq!(by(form, text), "a%2Fb+c%3F%C3%BC%26%3D%25%2B%7E*%22%0D%0A");
        assert_eq!(by(quoted, text), "a/b c?ü&=%+~*%22%0D%0A");
        assert_eq!(path("/a b/%2F?x={ü}"), "/a%20b/%2F?x=%7B%C3%BC%7D");
        assert_eq!(percent_text("é"), "%C3%A9");
    }
}
