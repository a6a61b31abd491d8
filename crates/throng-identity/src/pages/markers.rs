//! Finds single elements and attributes in raw HTML text without parsing it.
//!
//! Good for markers that one known application writes; not a parser: comments and scripts are text like any other.

use std::borrow::Cow;

use memchr::memmem;

/// The start tag (`<input ...>`) of the element with this id; `id="..."` or `id='...'`.
pub(crate) fn element_with_id<'a>(html: &'a str, id: &str) -> Option<&'a str> {
    for quote in ['"', '\''] {
        let marker = format!("id={quote}{id}{quote}");
        for at in memmem::find_iter(html.as_bytes(), marker.as_bytes()) {
            // `data-id="..."` is another attribute.
            let own = html[..at].ends_with(|c: char| c.is_ascii_whitespace());
            if let Some(tag) = own.then(|| tag_around(html, at)).flatten() {
                return Some(tag);
            }
        }
    }
    None
}

/// The value of the first attribute of this name anywhere in the text, entities resolved.
pub(crate) fn first_attribute<'a>(html: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let marker = format!("{name}=");
    memmem::find_iter(html.as_bytes(), marker.as_bytes())
        .find_map(|at| attribute(tag_around(html, at)?, name))
}

/// The start tag that the byte offset `at` lies in.
fn tag_around(html: &str, at: usize) -> Option<&str> {
    let start = memchr::memrchr(b'<', &html.as_bytes()[..at])?;
    let mut quote = None;
    for (i, byte) in html.as_bytes().iter().enumerate().skip(start) {
        match (quote, byte) {
            (None, b'>') => return (i > at).then(|| &html[start..=i]),
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

/// An attribute's value in a start tag, entities resolved; the empty string for an attribute without value.
pub(crate) fn attribute<'a>(tag: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let inner = tag
        .strip_prefix('<')?
        .trim_end_matches('>')
        .trim_end_matches('/');
    let mut rest = inner.trim_start_matches(|c: char| !c.is_ascii_whitespace());
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .find(|c: char| c == '=' || c.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let found = &rest[..end];
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    after[1..].split_once(quote).unwrap_or((&after[1..], ""))
                }
                _ => after.split_at(
                    after
                        .find(|c: char| c.is_ascii_whitespace())
                        .unwrap_or(after.len()),
                ),
            };
        } else if found.is_empty() {
            // A lone `=` cannot come here, but an endless loop must not depend on that.
            return None;
        }
        if found.eq_ignore_ascii_case(name) {
            return Some(unescape(value));
        }
    }
}

/// Resolves character references: numbers and the names that escaping functions write.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest[1..]
            .split_once(';')
            .map(|(name, _)| name)
            .filter(|name| name.len() <= 8);
        let resolved = reference.and_then(|name| {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        });
        let resolved = resolved.or_else(|| {
            Some(match reference? {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                "plus" => '+',
                "sol" => '/',
                "equals" => '=',
                "colon" => ':',
                "nbsp" => '\u{a0}',
                _ => return None,
            })
        });
        match (resolved, reference) {
            (Some(c), Some(name)) => {
                out.push(c);
                rest = &rest[name.len() + 2..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_attributes_are_found() {
        let html = r#"<div data-id="x" a=1></div><input type="hidden" id="x" value="a &gt; b"/><p id='y' checked data-z=q>"#;
        assert_eq!(
            attribute(element_with_id(html, "x").unwrap(), "value").unwrap(),
            "a > b"
        );
        let y = element_with_id(html, "y").unwrap();
        assert_eq!(attribute(y, "checked").unwrap(), "");
        assert_eq!(attribute(y, "data-z").unwrap(), "q");
        assert_eq!(attribute(y, "z"), None);
        assert_eq!(element_with_id(html, "nope"), None);
        assert_eq!(first_attribute(html, "data-z").unwrap(), "q");
        assert_eq!(first_attribute("text data-z=1", "data-z"), None);
    }

    #[test]
    fn references_are_resolved_once() {
        assert_eq!(
            unescape("a&amp;lt;&#43;&#x2F;&#039;&unknown;&"),
            "a&lt;+/'&unknown;&"
        );
        assert_eq!(unescape("&#xD800;&#99999999;"), "&#xD800;&#99999999;");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(html in r#"[<>a-z="'&;#x /\n]{0,60}"#) {
            element_with_id(&html, "a");
            first_attribute(&html, "a");
            attribute(&html, "a");
            unescape(&html);
        }

        #[test]
        fn unescape_undoes_escape(text in r#"[a-z<>&"'+é;#]{0,40}"#) {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#039;");
            proptest::prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
