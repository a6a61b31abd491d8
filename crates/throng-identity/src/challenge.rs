//! The `WWW-Authenticate` header of a 401 or 403 (RFC 9110 section 11.6.1), of which `Bearer` is read (RFC 6750, RFC 9728).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// A `Bearer` challenge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Where the protected resource's metadata is (RFC 9728 section 5.1).
    pub resource_metadata: Option<String>,
    /// Scopes that the resource asks for.
    pub scope: Vec<String>,
    /// Why the request was refused, e.g. `insufficient_scope`.
    pub error: Option<String>,
}

impl Challenge {
    /// The first `Bearer` challenge among the headers.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find_map(Self::parse)
    }

    /// The first `Bearer` challenge in the value of a `WWW-Authenticate` header.
    pub fn parse(text: &str) -> Option<Self> {
        let mut found: Option<Self> = None;
        for item in items(text) {
            // `Bearer realm="x"` starts a challenge, `scope="y"` belongs to the one before it.
            let (scheme, parameter) = match item.split_once(|c: char| c.is_ascii_whitespace()) {
                Some((scheme, rest)) if is_token(scheme) && !rest.trim_start().starts_with('=') => {
                    (Some(scheme), rest.trim())
                }
                _ if is_token(item) => (Some(item), ""),
                _ => (None, item),
            };
            if let Some(scheme) = scheme {
                if found.is_some() {
                    return found;
                }
                found = scheme.eq_ignore_ascii_case("bearer").then(Self::default);
            }
            let (Some(challenge), Some((name, value))) = (&mut found, parameter.split_once('='))
            else {
                continue;
            };
            let value = unquote(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "resource_metadata" => challenge.resource_metadata = Some(value),
                "scope" => challenge.scope = value.split_whitespace().map(str::to_owned).collect(),
                "error" => challenge.error = Some(value),
                _ => {}
            }
        }
        found
    }
}

/// Splits at commas outside quotes.
fn items(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    items.push(text[start..].trim());
    items.retain(|item| !item.is_empty());
    items
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else {
        return text.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_is_found_among_others() {
        let challenge = |metadata: Option<&str>, scope: &[&str], error: Option<&str>| {
            Some(Challenge {
                resource_metadata: metadata.map(str::to_owned),
                scope: scope.iter().map(|s| (*s).to_owned()).collect(),
                error: error.map(str::to_owned),
            })
        };
        let cases = [
            (
                "Bearer resource_metadata=\"http://h/x,y\", scope=\"a b\"",
                challenge(Some("http://h/x,y"), &["a", "b"], None),
            ),
            (
                "Basic realm=\"r, Bearer\", bearer error=invalid_token , Scope = \"c\"",
                challenge(None, &["c"], Some("invalid_token")),
            ),
            ("Bearer", challenge(None, &[], None)),
            (
                "Bearer realm=\"a\\\"b\", error=\"e\", Digest scope=\"z\"",
                challenge(None, &[], Some("e")),
            ),
            ("Basic realm=x", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(Challenge::parse(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            Challenge::parse(&text);
        }
    }
}
