//! Content codings (RFC 9110, section 8.4): a body as it was before the server compressed it.
//!
//! Decoding is apart from receiving: a body that nobody looks at is not decompressed, and the time it takes belongs to
//! whoever looks, not to the server's latency.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, HeaderValue, header};

/// What to send as `Accept-Encoding` where an answer may be compressed: everything that [`decode`] reads.
pub const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, br");

/// How much a brotli decoder reads at once, in bytes.
const BROTLI_BUFFER: usize = 8 << 10;

/// Why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A coding that was not asked for and is not known.
    #[error("unknown content coding `{0}`")]
    Unknown(String),
    /// The body is not what its coding says.
    #[error("the body is no valid {coding}: {source}")]
    Invalid {
        /// The coding named.
        coding: &'static str,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The decoded body is larger than allowed: a small answer can hold gigabytes of zeros.
    #[error("the decoded body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// The body without its content codings, at most `limit` bytes. A body without any is returned as it is, not copied.
///
/// # Errors
/// If a coding is unknown, the body does not fit it, or the result is too large.
pub fn decode(headers: &HeaderMap, body: &Bytes, limit: usize) -> Result<Bytes, ContentError> {
    let mut body = body.clone();
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(body);
    }
    let mut codings: Vec<String> = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        codings.extend(text.split(',').map(|word| word.trim().to_ascii_lowercase()));
    }
    // The last one named was put on last.
    for coding in codings.iter().rev() {
        // The answer to HEAD and a 304 name a coding without having a body.
        if body.is_empty() {
            break;
        }
        body = match coding.as_str() {
            "" | "identity" => body,
            "gzip" | "x-gzip" => unpack("gzip", MultiGzDecoder::new(&body[..]), limit)?,
            "br" => unpack(
                "br",
                brotli_decompressor::Decompressor::new(&body[..], BROTLI_BUFFER),
                limit,
            )?,
            other => return Err(ContentError::Unknown(other.to_owned())),
        };
    }
    Ok(body)
}

fn unpack(coding: &'static str, from: impl Read, limit: usize) -> Result<Bytes, ContentError> {
    let mut whole = Vec::new();
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    from.take(allowed)
        .read_to_end(&mut whole)
        .map_err(|source| ContentError::Invalid { coding, source })?;
    if whole.len() > limit {
        return Err(ContentError::TooLarge { limit });
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// `hello hello hello` as node's zlib compresses it (RFC 7932).
    const BROTLI: &[u8] = &[
        0x1b, 0x10, 0x00, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0x96, 0x6c, 0x20, 0x6f,
        0x01, 0x4f, 0x1c, 0x60, 0x1c,
    ];

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    fn headers(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))])
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        let packed = gzip(b"hello");
        for coding in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
            assert_eq!(decode(&headers(coding), &packed, 5).unwrap(), "hello");
        }
        assert_eq!(
            decode(&headers("gzip, gzip"), &gzip(&packed), 100).unwrap(),
            "hello"
        );
        assert_eq!(
            decode(&headers("gzip"), &Bytes::new(), 5).unwrap(),
            Bytes::new()
        );
    }

    #[test]
    fn a_body_without_coding_is_not_copied() {
        let body = Bytes::from_static(b"plain");
        let same = decode(&HeaderMap::new(), &body, 0).unwrap();
        assert_eq!(same.as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let packed = gzip(&[0; 10_000]);
        assert!(matches!(
            decode(&headers("gzip"), &packed, 9_999),
            Err(ContentError::TooLarge { limit: 9_999 })
        ));
        for coding in ["gzip", "br"] {
            assert!(matches!(
                decode(&headers(coding), &Bytes::from_static(b"\x11\x22plain"), 100),
                Err(ContentError::Invalid { .. })
            ));
        }
        assert!(matches!(
            decode(&headers("gzip"), &packed.slice(..packed.len() - 9), 100_000),
            Err(ContentError::Invalid { .. })
        ));
        let error = decode(&headers("zstd"), &packed, 100).unwrap_err();
        assert_eq!(error.to_string(), "unknown content coding `zstd`");
    }

    #[test]
    fn brotli_is_read() {
        assert_eq!(
            decode(&headers("br"), &Bytes::from_static(BROTLI), 100).unwrap(),
            "hello hello hello"
        );
    }
}
