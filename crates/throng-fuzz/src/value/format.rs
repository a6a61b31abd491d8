//! Texts of a format: what `format: email` and the like ask for.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::SBoxedStrategy;
use proptest::string::string_regex;

/// Domains that are set aside for examples (RFC 2606): whatever is sent there reaches nobody, and validators that know
/// special names let them pass.
const DOMAINS: [&str; 4] = [
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
];

/// Texts of a format; `None` when it isn't known, or says nothing about texts.
pub(super) fn texts(format: &str) -> Option<SBoxedStrategy<String>> {
    Some(match format {
        "email" | "idn-email" => email(),
        "uuid" => regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")?,
        "date" => date(),
        "time" => time(),
        "date-time" => (date(), time())
            .prop_map(|(date, time)| format!("{date}T{time}"))
            .sboxed(),
        "duration" => regex("P([1-9][0-9]?D)?T[1-9][0-9]?H([0-5]?[0-9]M)?")?,
        "uri" | "url" | "iri" => regex(
            "https?://example\\.(com|org)(:[1-9][0-9]{1,3})?(/[a-z0-9._~-]{0,8}){0,3}(\\?[a-z]=[a-z0-9]{0,5})?",
        )?,
        "uri-reference" | "iri-reference" => regex("(/[a-z0-9._~-]{1,8}){1,3}")?,
        "hostname" | "idn-hostname" => {
            regex("[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?(\\.[a-z][a-z0-9]{0,6}){0,2}")?
        }
        "ipv4" => any::<[u8; 4]>()
            .prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string())
            .sboxed(),
        "ipv6" => any::<[u8; 16]>()
            .prop_map(|bytes| std::net::Ipv6Addr::from(bytes).to_string())
            .sboxed(),
        "byte" | "base64" => regex("([A-Za-z0-9+/]{4}){0,6}")?,
        "json-pointer" => regex("(/[a-z0-9]{0,6}){0,4}")?,
        "regex" => regex("[a-z]{0,6}\\.?")?,
        _ => return None,
    })
}

/// Addresses that every validator takes.
fn email() -> SBoxedStrategy<String> {
    let plain = "[a-z][a-z0-9]{0,9}";
    let odd = "[a-z][a-z0-9]{0,5}([._+-][a-z0-9]{1,6}){0,2}";
    let local = match (string_regex(plain), string_regex(odd)) {
        (Ok(plain), Ok(odd)) => weighted![2 => plain, 1 => odd].sboxed(),
        _ => Just("a".to_owned()).sboxed(),
    };
    (local, select(&DOMAINS[..]))
        .prop_map(|(local, domain)| format!("{local}@{domain}"))
        .sboxed()
}

fn date() -> SBoxedStrategy<String> {
    weighted![
        3 => (2000..2100_u16, 1..=12_u8, 1..=28_u8)
            .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}")),
        1 => select(&["1970-01-01", "2000-02-29", "1999-12-31", "2038-01-19", "0001-01-01", "9999-12-31"][..])
            .prop_map(str::to_owned),
    ]
    .sboxed()
}

fn time() -> SBoxedStrategy<String> {
    let zone = select(&["Z", "+00:00", "-11:30", "+14:00"][..]);
    let fraction = select(&["", ".5", ".000001", ".999999999"][..]);
    (0..24_u8, 0..60_u8, 0..60_u8, fraction, zone)
        .prop_map(|(hour, minute, second, fraction, zone)| {
            format!("{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
        })
        .sboxed()
}

fn regex(pattern: &str) -> Option<SBoxedStrategy<String>> {
    string_regex(pattern).ok().map(Strategy::sboxed)
}

/// Texts that a `pattern` (ECMA-262) fits, as far as it can be read; the reason when it can't.
pub(super) fn pattern(pattern: &str) -> Result<SBoxedStrategy<String>, String> {
    let anchored_start = pattern.starts_with('^');
    let anchored_end = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let bare = &pattern[usize::from(anchored_start)..pattern.len() - usize::from(anchored_end)];
    // Anchors bind closer than alternation, `^a|b$` is `(^a)|(b$)`: whole matches of either side fit as well.
    string_regex(&in_ascii(bare))
        .map(Strategy::sboxed)
        .map_err(|error| error.to_string())
}

/// Classes as ECMA-262 means them without its `u` flag: `\d` is 0 to 9 alone.
fn in_ascii(pattern: &str) -> String {
    let mut shown = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            shown.push(character);
            continue;
        }
        match characters.next() {
            Some('d') => shown.push_str("[0-9]"),
            Some('w') => shown.push_str("[A-Za-z0-9_]"),
            Some('s') => shown.push_str("[ \\t\\n\\r]"),
            Some('/') => shown.push('/'),
            Some(other) => {
                shown.push('\\');
                shown.push(other);
            }
            None => shown.push('\\'),
        }
    }
    shown
}
