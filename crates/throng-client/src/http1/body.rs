//! Where the body of a response ends (RFC 9112, sections 6 and 7).

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};

use super::{Head, Malformed, advance};

/// Most bytes that the extensions of one chunk, or the trailers, may have: nobody here looks at them.
const MOST_EXTRA: u32 = 16 << 10;

/// Takes a body out of what is received.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(Chunks),
    /// It ends with the connection.
    UntilClose,
}

#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Of the chunk's size while that is read, of its data then.
    left: u64,
    /// Bytes of this chunk's extensions so far, or of the trailers.
    extra: u32,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FirstDigit,
    Size,
    /// Space after the size, which some servers fill up to a fixed width.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer's line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
    ChunkFailed,
    TrailersFailed,
}

impl State {
    /// What is wrong where a byte came that may not be.
    fn failed(self) -> Self {
        match self {
            Self::TrailerStart | Self::Trailer | Self::TrailerLf | Self::EndLf => {
                Self::TrailersFailed
            }
            _ => Self::ChunkFailed,
        }
    }
}

impl Decoder {
    /// Of a response without a body.
    pub(super) const NONE: Self = Self::Length(0);

    /// Of the response to a request of this method; and whether the connection can be used after it.
    ///
    /// # Errors
    /// If its length cannot be known.
    pub(super) fn of(method: &Method, head: &Head) -> Result<(Self, bool), Malformed> {
        let Head {
            status,
            version,
            headers,
        } = head;
        if *status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((Self::NONE, false));
        }
        if method == Method::CONNECT && status.is_success() {
            return Ok((Self::NONE, false));
        }
        if method == Method::HEAD
            || matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            return Ok((Self::NONE, true));
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if *version == Version::HTTP_10 {
                return Err(Malformed::Encoding);
            }
            if is_chunked(headers) {
                // Both together may be an attempt at smuggling: the connection is not used again (section 6.3, item 3).
                let alone = !headers.contains_key(header::CONTENT_LENGTH);
                return Ok((Self::Chunked(Chunks::new()), alone));
            }
            return Ok((Self::UntilClose, false));
        }
        Ok(match length(headers)? {
            Some(length) => (Self::Length(length), true),
            None => (Self::UntilClose, false),
        })
    }

    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == State::Done,
            Self::UntilClose => false,
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// The next piece of the body, if it has come; and takes what frames it.
    ///
    /// # Errors
    /// If the chunks are malformed.
    pub(super) fn decode(&mut self, unread: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        match self {
            Self::Length(left) => {
                let piece = take(unread, *left);
                *left -= piece.len() as u64;
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Self::Chunked(chunks) => chunks.decode(unread),
            Self::UntilClose => Ok(Some(std::mem::take(unread)).filter(|piece| !piece.is_empty())),
        }
    }
}

/// As much of `unread` as there is, at most `most` bytes.
fn take(unread: &mut Bytes, most: u64) -> Bytes {
    match usize::try_from(most) {
        Ok(most) if most < unread.len() => unread.split_to(most),
        _ => std::mem::take(unread),
    }
}

impl Chunks {
    fn new() -> Self {
        Self {
            state: State::FirstDigit,
            left: 0,
            extra: 0,
        }
    }

    fn decode(&mut self, unread: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        self.frame(unread)?;
        if self.state != State::Data || unread.is_empty() {
            return Ok(None);
        }
        let piece = take(unread, self.left);
        self.left -= piece.len() as u64;
        if self.left == 0 {
            self.state = State::DataCr;
            // The end of the body often comes with its last piece. What is wrong is found again when more is asked for.
            let _ = self.frame(unread);
        }
        Ok(Some(piece))
    }

    /// Takes what is no data, up to the next data.
    fn frame(&mut self, unread: &mut Bytes) -> Result<(), Malformed> {
        let mut taken = 0;
        for &byte in unread.iter() {
            if matches!(
                self.state,
                State::Data | State::Done | State::ChunkFailed | State::TrailersFailed
            ) {
                break;
            }
            taken += 1;
            self.state = self.next(byte).unwrap_or(self.state.failed());
        }
        advance(unread, taken);
        match self.state {
            State::ChunkFailed => Err(Malformed::Chunk),
            State::TrailersFailed => Err(Malformed::Trailers),
            _ => Ok(()),
        }
    }

    /// The state after a byte; nothing where that byte may not be.
    fn next(&mut self, byte: u8) -> Option<State> {
        Some(match (self.state, byte) {
            (State::FirstDigit | State::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                self.left = self.left.checked_mul(16)?.checked_add(digit.into())?;
                State::Size
            }
            (State::Size | State::Padding | State::Extension, b'\r') => State::SizeLf,
            (State::Size | State::Padding, b' ' | b'\t') => self.extra(State::Padding)?,
            (State::Size | State::Padding, b';') => self.extra(State::Extension)?,
            // A line feed alone ends no line: others would see the line go on.
            (State::Extension, byte) if byte != b'\n' => self.extra(State::Extension)?,
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.extra = 0;
                State::FirstDigit
            }
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => {
                self.extra(State::Trailer)?
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return None,
        })
    }

    fn extra(&mut self, state: State) -> Option<State> {
        self.extra += 1;
        (self.extra <= MOST_EXTRA).then_some(state)
    }
}

/// Whether `chunked` is the last of the encodings.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .next_back();
    last.and_then(|value| value.to_str().ok())
        .and_then(|text| text.rsplit(',').next())
        .is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("chunked"))
}

/// What `Content-Length` says. Said several times, it must be the same (RFC 9110, section 8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for text in value.as_bytes().split(|&byte| byte == b',') {
            let said = decimal(text.trim_ascii()).ok_or(Malformed::Length)?;
            if *length.get_or_insert(said) != said {
                return Err(Malformed::Length);
            }
        }
    }
    Ok(length)
}

/// Digits and nothing else: no sign.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;

    /// How the response to a request of `method` is framed: the decoder, and whether the connection may serve again.
    fn framing(method: &str, response: &str) -> Result<(String, bool), Malformed> {
        let bytes = Bytes::copy_from_slice(response.as_bytes());
        let (head, length) = head::parse(&bytes)?.expect("a whole head");
        assert_eq!(length, bytes.len(), "{response}");
        let (decoder, keeps) = Decoder::of(&method.parse().unwrap(), &head)?;
        let decoder = match decoder {
            Decoder::Length(length) => length.to_string(),
            Decoder::Chunked(_) => "chunked".to_owned(),
            Decoder::UntilClose => "until close".to_owned(),
        };
        Ok((decoder, keeps))
    }

    /// RFC 9112, section 6.3, in the order of its rules.
    #[test]
    fn the_head_says_where_the_body_ends() {
        let chunked = "transfer-encoding: chunked\r\n";
        for (method, status, headers, expected) in [
            ("HEAD", "1.1 200 OK", "content-length: 5\r\n", ("0", true)),
            ("HEAD", "1.1 200 OK", chunked, ("0", true)),
            ("GET", "1.1 204 No Content", "", ("0", true)),
            (
                "GET",
                "1.1 304 Not Modified",
                "content-length: 5\r\n",
                ("0", true),
            ),
            ("GET", "1.1 101 Switching", "", ("0", false)),
            (
                "CONNECT",
                "1.1 200 OK",
                "content-length: 5\r\n",
                ("0", false),
            ),
            ("GET", "1.1 200 OK", chunked, ("chunked", true)),
            (
                "GET",
                "1.1 200 OK",
                "Transfer-Encoding: gzip, Chunked\r\n",
                ("chunked", true),
            ),
            (
                "GET",
                "1.1 200 OK",
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                ("chunked", true),
            ),
            (
                "GET",
                "1.1 200 OK",
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                ("chunked", false),
            ),
            (
                "GET",
                "1.1 200 OK",
                "transfer-encoding: gzip\r\n",
                ("until close", false),
            ),
            (
                "GET",
                "1.1 200 OK",
                "transfer-encoding: chunked, gzip\r\n",
                ("until close", false),
            ),
            ("GET", "1.1 200 OK", "content-length: 5\r\n", ("5", true)),
            (
                "POST",
                "1.1 404 Not Found",
                "content-length: 0\r\n",
                ("0", true),
            ),
            ("GET", "1.0 200 OK", "content-length: 007\r\n", ("7", true)),
            (
                "GET",
                "1.1 200 OK",
                "content-length: 5\r\ncontent-length: 5, 5\r\n",
                ("5", true),
            ),
            ("GET", "1.1 200 OK", "", ("until close", false)),
            ("GET", "1.0 200 OK", "", ("until close", false)),
        ] {
            let response = format!("HTTP/{status}\r\n{headers}\r\n");
            let (decoder, keeps) = framing(method, &response).expect(&response);
            // Whether HTTP/1.0 and `Connection` allow another exchange is the head's to say; the end of one that only the
            // end of the connection tells is the end of both.
            let keeps = keeps && decoder != "until close";
            assert_eq!((decoder.as_str(), keeps), expected, "{method} {response}");
        }
    }

    #[test]
    fn a_length_that_nobody_can_know_is_an_error() {
        for headers in [
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: -5\r\n",
            "content-length: 0x5\r\n",
            "content-length: \r\n",
            "content-length: 5,\r\n",
            "content-length: 18446744073709551616\r\n",
        ] {
            let error = framing("GET", &format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).unwrap_err();
            assert!(matches!(error, Malformed::Length), "{headers}");
        }
        let error = framing(
            "GET",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        assert!(matches!(error.unwrap_err(), Malformed::Encoding));
    }

    /// What comes of a chunked body that is received in pieces of `size` bytes: the body, whether it has ended, and what is
    /// left over.
    fn unchunk(text: &str, size: usize) -> Result<(String, bool, String), Malformed> {
        let mut decoder = Decoder::Chunked(Chunks::new());
        let (mut body, mut left) = (Vec::new(), Vec::new());
        for received in text.as_bytes().chunks(size) {
            let mut unread = Bytes::copy_from_slice(received);
            while let Some(piece) = decoder.decode(&mut unread)? {
                assert!(!piece.is_empty());
                body.extend_from_slice(&piece);
            }
            left.extend_from_slice(&unread);
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(body), decoder.is_done(), text(left)))
    }

    #[test]
    fn chunks_are_put_together_however_they_come() {
        for (sent, body, done, left) in [
            ("0\r\n\r\n", "", true, ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", true, ""),
            (
                "00005\r\nhello\r\nA\r\n, world, a\r\n000\r\n\r\n",
                "hello, world, a",
                true,
                "",
            ),
            (
                "5;name=\"v;al\"\r\nhello\r\n0;last\r\n\r\n",
                "hello",
                true,
                "",
            ),
            ("5 \t;x\r\nhello\r\n0\r\n\r\n", "hello", true, ""),
            (
                "5\r\nhello\r\n0\r\ntrailer: yes\r\nanother: 1\r\n\r\n",
                "hello",
                true,
                "",
            ),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", true, ""),
            ("5\r\nhello\r\n0\r\n\r\nHTTP/1.1", "hello", true, "HTTP/1.1"),
            ("5\r\nhello\r\n", "hello", false, ""),
            ("5\r\nhel", "hel", false, ""),
            ("5\r\nhello\r\n0\r\n", "hello", false, ""),
            ("5\r\nhello\r\n0\r\ntrailer: yes\r\n", "hello", false, ""),
        ] {
            for size in 1..=sent.len() {
                let expected = (body.to_owned(), done, left.to_owned());
                assert_eq!(unchunk(sent, size).unwrap(), expected, "{sent:?} by {size}");
            }
        }
    }

    #[test]
    fn malformed_chunks_are_errors_however_they_come() {
        let long = format!("5;{}\r\n", "x".repeat(MOST_EXTRA as usize));
        let trailers = format!("0\r\na: {}\r\n\r\n", "x".repeat(MOST_EXTRA as usize));
        for sent in [
            "\r\n",
            "x\r\n",
            "-5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 6\r\nhello\r\n",
            "5 x\r\nhello\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;x\nhello\r\n0\r\n\r\n",
            "5\r\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloo\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "0\r\n\n",
            "0\r\ntrailer: yes\n\r\n",
            "10000000000000000\r\n",
            &long,
            &trailers,
        ] {
            for size in [1, 2, 7, sent.len()] {
                let trailers = sent.starts_with("0\r\n");
                let as_expected = match unchunk(sent, size).unwrap_err() {
                    Malformed::Chunk => !trailers,
                    Malformed::Trailers => trailers,
                    _ => false,
                };
                assert!(as_expected, "{sent:?} by {size}");
            }
        }
    }

    /// Some servers fill every size up with spaces. What is allowed of them is a matter of each chunk, or long streams end.
    #[test]
    fn any_number_of_chunks_may_be_padded() {
        let count = MOST_EXTRA as usize / 4;
        let sent = format!("{}0       \r\n\r\n", "1       \r\nx\r\n".repeat(count));
        let expected = ("x".repeat(count), true, String::new());
        assert_eq!(unchunk(&sent, 1000).unwrap(), expected);
    }

    #[test]
    fn nothing_received_is_held_after_a_body() {
        for (mut decoder, sent) in [
            (Decoder::Length(5), "hello"),
            (Decoder::Chunked(Chunks::new()), "5\r\nhello\r\n0\r\n\r\n"),
            (Decoder::Chunked(Chunks::new()), "5\r\nhello\r\n"),
            (Decoder::UntilClose, "hello"),
        ] {
            let received = Bytes::copy_from_slice(sent.as_bytes());
            let mut unread = received.clone();
            while decoder.decode(&mut unread).unwrap().is_some() {}
            assert!(received.is_unique(), "{sent:?}");
        }
    }

    #[test]
    fn a_body_of_known_length_leaves_what_comes_after_it() {
        let mut unread = Bytes::from_static(b"hello, world");
        let mut decoder = Decoder::Length(5);
        assert_eq!(decoder.decode(&mut unread).unwrap().unwrap(), "hello");
        assert!(decoder.is_done());
        assert_eq!(decoder.decode(&mut unread).unwrap(), None);
        assert_eq!(unread, ", world");
    }
}
