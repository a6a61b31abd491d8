//! What a page of markup says, for messages: its text without tags, scripts and styles, and with them without the hidden
//! values of its forms. A scan and no parser, so that a target that fails often costs little.

/// Elements whose content nobody reads.
const UNREAD: [&str; 4] = ["script", "style", "template", "noscript"];

/// Whether a body is a page of markup rather than any text.
pub(crate) fn is_page(text: &str) -> bool {
    let start = text.trim_start();
    let tag = start.get(..9).unwrap_or(start).to_ascii_lowercase();
    tag.starts_with("<!doctype") || tag.starts_with("<html") || tag.starts_with("<head")
}

/// The text of a page, or of its start, with one blank between words.
pub(crate) fn visible(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        push(&mut out, &rest[..at]);
        let tag = &rest[at + 1..];
        if let Some(comment) = tag.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let name = tag.find(|c: char| !c.is_ascii_alphanumeric());
        let name = tag[..name.unwrap_or(tag.len())].to_ascii_lowercase();
        let Some(end) = tag.find('>') else {
            return out;
        };
        rest = &tag[end + 1..];
        if UNREAD.contains(&name.as_str()) {
            rest = after_closing(rest, &name);
        }
    }
    push(&mut out, rest);
    out
}

fn push(out: &mut String, text: &str) {
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
}

/// What follows the end tag of an element; nothing, where it has none.
fn after_closing<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        let tag = &rest[at + 2..];
        let closes = tag
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name));
        if closes {
            return tag.split_once('>').map_or("", |(_, after)| after);
        }
        rest = tag;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_start() {
        for page in ["<!DOCTYPE html>", "\n <HTML lang=en>", "<head>"] {
            assert!(is_page(page), "{page}");
        }
        for other in [
            "",
            "<",
            "<a/>",
            "<?xml version=\"1.0\"?>",
            "{\"a\": \"<html>\"}",
            "ä<html",
        ] {
            assert!(!is_page(other), "{other}");
        }
    }

    #[test]
    fn only_what_a_person_sees_is_left() {
        let page = "<!doctype html><title>403  Forbidden</title><style>html { a > b }</style>\
             <script>if (1 < 2) { x = '</p>' }</SCRIPT ><!-- <p>hidden -->\n\
             <h1>No</h1><form><input type=hidden value=t0ken></form> CSRF <b>failed</b>.";
        assert_eq!(visible(page), "403 Forbidden No CSRF failed .");
        for (cut, text) in [
            ("<p>a <b", "a"),
            ("<style>b", ""),
            ("a < b", "a"),
            ("<!-- x", ""),
        ] {
            assert_eq!(visible(cut), text, "{cut}");
        }
    }
}
