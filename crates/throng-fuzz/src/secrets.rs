//! What must not be shown of an answer: secrets that were known when it was asked for, and what calls itself one.

use std::{collections::BTreeSet, fmt};

use http::{HeaderMap, HeaderValue, header};
use throng_client::cookies::strike_out;
use throng_metrics::clean;

use crate::account::Account;

/// What is shorter is no secret, and may stand anywhere.
const SHORTEST: usize = 8;
/// A member of JSON whose name holds one of these is a secret.
const TELLING: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "authorization",
    "cookie",
    "session",
];
/// So is one of exactly this name.
const TELLING_WHOLE: [&str; 4] = ["key", "jwt", "pwd", "sid"];

/// Values that no report may have: cookies and tokens of those who acted.
#[derive(Clone, Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("count", &self.0.len())
            .finish()
    }
}

impl Secrets {
    fn add(&mut self, value: &str) {
        if value.len() >= SHORTEST {
            self.0.insert(value.to_owned());
        }
    }

    /// What a session is known by now. A jar forgets what a server takes back, whether or not it still goes for a session
    /// there: so this is asked before a probe as well as after it.
    pub(crate) fn add_account(&mut self, account: &Account) {
        if let Some(jar) = account.client.cookies() {
            for value in jar.values() {
                self.add(&value);
            }
        }
        if let Some(value) = &account.authorization {
            self.add_header(value);
        }
    }

    /// A header's value, and what stands behind its first word (`Bearer`).
    pub(crate) fn add_header(&mut self, value: &HeaderValue) {
        let Ok(text) = value.to_str() else { return };
        self.add(text.split_once(' ').map_or(text, |(_, bare)| bare));
    }

    /// Cookies that an answer sets.
    pub(crate) fn add_set_cookies(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let cookie = value.to_str().ok().and_then(|text| text.split(';').next());
            if let Some((_, value)) = cookie.and_then(|cookie| cookie.split_once('=')) {
                self.add(value.trim().trim_matches('"'));
            }
        }
    }

    /// A text of the target in one line as it may be shown: without these secrets, without values of JSON that are called
    /// one, without what steers a terminal.
    pub(crate) fn strike(&self, text: &str) -> String {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut known: Vec<&String> = self.0.iter().collect();
        // A secret may begin with another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let text = known
            .into_iter()
            .fold(text, |text, secret| strike_out(text, secret));
        clean(&without_members(&text))
    }

    /// The start of a text as it may be shown, `longest` characters and `…` at most.
    pub(crate) fn strike_start(&self, text: &str, longest: usize) -> String {
        let mut text = self.strike(text);
        if text.chars().count() > longest {
            text = text.chars().take(longest).collect();
            text.push('…');
        }
        text
    }
}

/// JSON, or the start of it, without the values of members that are called a secret.
fn without_members(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let (before, string) = rest.split_at(start);
        out.push_str(before);
        let end = string_end(string);
        let (string, after) = string.split_at(end);
        out.push_str(string);
        rest = after;
        let value = after.trim_start();
        let Some(value) = value.strip_prefix(':') else {
            continue;
        };
        let value = value.trim_start();
        if !is_telling(string.trim_matches('"')) {
            continue;
        }
        let list = value.strip_prefix('[').map(str::trim_start);
        let mut value = list.unwrap_or(value);
        if !value.starts_with('"') && (list.is_some() || !value.starts_with(is_of_number)) {
            continue;
        }
        out.push_str(&after[..after.len() - value.len()]);
        loop {
            let end = match value.starts_with('"') {
                true => string_end(value),
                false => value.find(|c| !is_of_number(c)).unwrap_or(value.len()),
            };
            out.push_str("\"***\"");
            value = &value[end..];
            let next = value.trim_start().strip_prefix(',').map(str::trim_start);
            match next.filter(|next| list.is_some() && next.starts_with('"')) {
                Some(next) => {
                    out.push_str(", ");
                    value = next;
                }
                None => break,
            }
        }
        rest = value;
    }
    out.push_str(rest);
    out
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || "-.eE+".contains(c)
}

/// Where the JSON string that a text begins with ends; at the text's end where it's cut off.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_telling(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    TELLING.iter().any(|word| plain.contains(word)) || TELLING_WHOLE.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Secrets::default().strike(text)
    }

    #[test]
    fn what_is_called_a_secret_is_struck_out() {
        assert_eq!(
            shown(r#"{"n": 1, "token": "tok-\"1", "api_key":"k", "PASSWORD" : 1234, "name": "a"}"#),
            r#"{"n": 1, "token": "***", "api_key":"***", "PASSWORD" : "***", "name": "a"}"#
        );
        assert_eq!(
            shown(
                r#"{"tokens": ["a", "b" ], "key": {"secret": "c"}, "session_id": null, "keyboard": "d"}"#
            ),
            r#"{"tokens": ["***", "***" ], "key": {"secret": "***"}, "session_id": null, "keyboard": "d"}"#
        );
        // Cut off in the middle.
        assert_eq!(
            shown(r#"{"access_token": "tok-12"#),
            r#"{"access_token": "***""#
        );
        assert_eq!(
            shown("a \"token\" is what he said: \"b\""),
            "a \"token\" is what he said: \"b\""
        );
    }

    #[test]
    fn known_secrets_are_struck_out_and_nothing_steers_a_terminal() {
        let mut secrets = Secrets::default();
        secrets.add_header(&HeaderValue::from_static("Bearer abcdefgh12345678"));
        secrets.add("abcdefgh");
        secrets.add("short");
        let mut headers = HeaderMap::new();
        headers.append(
            header::SET_COOKIE,
            HeaderValue::from_static("sid=set-by-it; Path=/"),
        );
        secrets.add_set_cookies(&headers);
        let text = "session abcdefgh12345678\n of\u{1b}[31m set-by-it, a short one";
        assert_eq!(
            secrets.strike(text),
            "session *** of\u{fffd}[31m ***, a short one"
        );
        assert!(!format!("{secrets:?}").contains("abcdefgh"));
    }
}
