//! Makes URLs and other people's text fit to be shown: no passwords, codes, tokens or cookies.
//!
//! Works on two levels: secrets we know are cut out by value, also where it is escaped, and what merely looks like one (a long run of
//! letters and digits) is shortened, because a page may show secrets that we never heard of.

use throng_client::spelling;
use url::Url;

use crate::secret::Secret;

/// Longest excerpt of a page that goes into an error, in characters.
pub(crate) const EXCERPT_CHARS: usize = 240;

/// A run of token characters this long is taken for a secret. Long paths stay readable because `/` ends a run, and UUIDs (36) because
/// `-` ends one unless the whole looks random; user names and error codes are far shorter.
const TOKEN_RUN: usize = 24;

/// Longest value of a query parameter shown, in characters: an address must fit into a message.
const PARAMETER_CHARS: usize = 80;

/// Query parameters whose values tell what went wrong and are no secret. Everything else is shown as `…`.
const SHOWN_PARAMETERS: &[&str] = &[
    "direct",
    "error",
    "error_description",
    "error_uri",
    "iss",
    "prompt",
    "response_mode",
    "response_type",
    "scope",
    "resource",
];

/// The URL without user info and fragment, and with the values of query parameters hidden unless they are known harmless.
pub(crate) fn url(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    shown.set_query(None);
    // Both only fail for URLs that cannot have user info, which then have none to hide.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    // One-time links carry their secret in the path.
    let mut out = shorten_tokens(shown.as_str());
    for (i, (name, value)) in url.query_pairs().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(&shorten_tokens(&name));
        out.push('=');
        if SHOWN_PARAMETERS.contains(&&*name) {
            let value = shorten_tokens(&value);
            match value.char_indices().nth(PARAMETER_CHARS) {
                Some((at, _)) => out.extend([&value[..at], "…"]),
                None => out.push_str(&value),
            }
        } else {
            out.push('…');
        }
    }
    out
}

/// Text on one line, without the given secrets and without anything that looks like one, at most
/// [`EXCERPT_CHARS`] long.
pub(crate) fn text(text: &str, secrets: &[&Secret]) -> String {
    let mut line = String::with_capacity(text.len().min(4 * EXCERPT_CHARS));
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    for secret in secrets {
        line = spelling::replace(line, secret.expose(), "[secret]");
    }
    let line = shorten_tokens(&line);
    match line.char_indices().nth(EXCERPT_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Replaces every long run of token characters by its first four and `…`.
fn shorten_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=' | '~') {
            run.push(c);
        } else {
            shorten_run(&run, &mut out);
            run.clear();
            out.push(c);
        }
    }
    shorten_run(&run, &mut out);
    out
}

/// Whether dashes may belong to it: something between them mixes capitals, small letters and digits, as UUIDs and words don't.
fn looks_random_with_dashes(run: &str) -> bool {
    run.len() >= TOKEN_RUN
        && run.split(['-', '_']).any(|part| {
            let has = |kind: fn(&u8) -> bool| part.as_bytes().iter().any(kind);
            has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
        })
}

fn shorten_run(run: &str, out: &mut String) {
    let shorten = |token: &str, out: &mut String| {
        out.extend(token.chars().take(4));
        out.push('…');
    };
    if looks_random_with_dashes(run) {
        return shorten(run, out);
    }
    for (at, part) in run.split('-').enumerate() {
        if at > 0 {
            out.push('-');
        }
        let random = part
            .chars()
            .any(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        if part.len() >= TOKEN_RUN && random {
            shorten(part, out);
        } else {
            out.push_str(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_names_and_harmless_values_only() {
        let cases = [
            (
                "http://u:p@h:8/cb?code=abc&state=xyz&iss=http%3A%2F%2Fi#access_token=t",
                "http://h:8/cb?code=…&state=…&iss=http://i",
            ),
            (
                "http://h/a?scope=openid%20profile",
                "http://h/a?scope=openid profile",
            ),
            (
                "http://h/interaction/Fmxm14TGoilVuEFu6h0BbiRzkh6gPMXZ/login",
                "http://h/interaction/Fmxm…/login",
            ),
            (
                "http://h/interaction/bZx8bu4aNXl04_cHVvO6B-B9KMZpEREJaJu7VYkhVYZ",
                "http://h/interaction/bZx8…",
            ),
            (
                "http://h/things/2f1c3b1e-8a5d-4f7e-9b0a-6c1d2e3f4a5b/a-name-of-several-words-2",
                "http://h/things/2f1c3b1e-8a5d-4f7e-9b0a-6c1d2e3f4a5b/a-name-of-several-words-2",
            ),
            (
                "http://h/?error=access_denied&token=1",
                "http://h/?error=access_denied&token=…",
            ),
        ];
        for (given, want) in cases {
            assert_eq!(url(&Url::parse(given).unwrap()), want);
        }
    }

    #[test]
    fn text_loses_known_and_unknown_secrets() {
        let password = Secret::new("pa55 word");
        let shown = text(
            "Wrong  password\n 'pa55 word' for u; token eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.x ok",
            &[&password],
        );
        assert_eq!(shown, "Wrong password '[secret]' for u; token eyJh….x ok");
        let password = Secret::new("Abc!def/ghi*j ö");
        assert_eq!(
            text(
                r#"at /in?p=Abc%21def%2Fghi*j+%c3%b6&q {"p": "Abc!def\/ghi*j \u00f6"}"#,
                &[&password]
            ),
            r#"at /in?p=[secret]&q {"p": "[secret]"}"#
        );
        assert_eq!(
            text("antidisestablishmentarianism", &[]),
            "antidisestablishmentarianism"
        );
        assert!(text(&"word ".repeat(1000), &[]).chars().count() <= EXCERPT_CHARS + 1);
    }
}
