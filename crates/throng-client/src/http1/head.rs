//! The head of a response: status line and headers (RFC 9112, sections 4 and 5).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};

use super::Malformed;

/// Most headers that a response may have.
const MOST_HEADERS: usize = 100;
/// Longest head, in bytes.
const LONGEST: usize = 256 << 10;

/// A head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

impl Head {
    /// Whether another one follows: 1xx, but for a switch of protocols, after which no HTTP comes (RFC 9110, section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether the server says that the connection persists (RFC 9112, section 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        let says = |option| {
            let values = self.headers.get_all(header::CONNECTION);
            values.iter().any(|value| has_option(value, option))
        };
        !says("close") && (self.version != Version::HTTP_10 || says("keep-alive"))
    }
}

/// Whether a value of `Connection` has this option.
pub(super) fn has_option(value: &HeaderValue, option: &str) -> bool {
    let mut options = value.as_bytes().split(|&byte| byte == b',');
    options.any(|said| said.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// The head that `bytes` begin with, and its length; nothing if it is not complete yet.
pub(super) fn parse(bytes: &Bytes) -> Result<Option<(Head, usize)>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut space = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut space,
    )?;
    let (httparse::Status::Complete(length), Some(code), Some(minor)) =
        (parsed, response.code, response.version)
    else {
        return if bytes.len() > LONGEST {
            Err(Malformed::LongHead { limit: LONGEST })
        } else {
            Ok(None)
        };
    };
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(http::Error::from)?;
        // Shares the memory of what was received.
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value));
        headers.append(name, value.map_err(http::Error::from)?);
    }
    let head = Head {
        status: StatusCode::from_u16(code).map_err(http::Error::from)?,
        version: if minor == 0 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        },
        headers,
    };
    Ok(Some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<(Head, usize)>, Malformed> {
        parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nempty:\r\n\r\n";
        for length in 0..text.len() {
            assert!(of(&text[..length]).unwrap().is_none(), "{length}");
        }
        let (head, length) = of(&format!("{text}body")).unwrap().unwrap();
        assert_eq!(
            (head.status, head.version),
            (StatusCode::OK, Version::HTTP_11)
        );
        assert_eq!(length, text.len());
        let headers: Vec<_> = head.headers.iter().collect();
        let expected = [
            ("content-type", "text/plain"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("empty", ""),
        ];
        assert_eq!(headers.len(), expected.len());
        for ((name, value), expected) in headers.into_iter().zip(expected) {
            assert_eq!((name.as_str(), value.to_str().unwrap()), expected);
        }
    }

    #[test]
    fn servers_that_leave_the_reason_out_are_understood() {
        for (line, status) in [
            ("HTTP/1.1 200", 200),
            ("HTTP/1.1 200 ", 200),
            ("HTTP/1.0 503 Nicht verf\u{fc}gbar", 503),
            ("HTTP/1.1 799 Nobody knows", 799),
        ] {
            let (head, _) = of(&format!("{line}\r\n\r\n")).unwrap().expect(line);
            assert_eq!(head.status.as_u16(), status, "{line}");
            assert_eq!(head.version == Version::HTTP_10, line.contains("1.0"));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nspace : before the colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnul: a\0b\r\n\r\n",
        ] {
            assert!(of(text).is_err(), "{text:?}");
        }
        let many = "a: b\r\n".repeat(MOST_HEADERS + 1);
        assert!(of(&format!("HTTP/1.1 200 OK\r\n{many}\r\n")).is_err());
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(LONGEST));
        assert!(matches!(of(&long).unwrap_err(), Malformed::LongHead { .. }));
    }

    #[test]
    fn a_connection_persists_unless_the_head_says_otherwise() {
        for (version, connection, expected) in [
            ("1.1", "", true),
            ("1.1", "connection: keep-alive\r\n", true),
            ("1.1", "connection: Close\r\n", false),
            ("1.1", "connection: x, close \r\n", false),
            ("1.1", "connection: x\r\nconnection: close\r\n", false),
            ("1.1", "connection: \u{fc}, close\r\n", false),
            ("1.1", "connection: closed, not-close\r\n", true),
            ("1.0", "", false),
            ("1.0", "connection: Keep-Alive\r\n", true),
            ("1.0", "connection: close, keep-alive\r\n", false),
        ] {
            let (head, _) = of(&format!("HTTP/{version} 200 OK\r\n{connection}\r\n"))
                .unwrap()
                .unwrap();
            assert_eq!(head.keeps_alive(), expected, "{version} {connection}");
        }
    }

    #[test]
    fn only_a_switch_of_protocols_is_a_final_1xx() {
        for (status, interim) in [(100, true), (101, false), (103, true), (200, false)] {
            let (head, _) = of(&format!("HTTP/1.1 {status} X\r\n\r\n"))
                .unwrap()
                .unwrap();
            assert_eq!(head.is_interim(), interim, "{status}");
        }
    }
}
