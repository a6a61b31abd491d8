//! A secret in the spellings that other people's text may have it in: as it is, or escaped for a form, a URL, JSON or HTML.
//!
//! Encodings of the whole, as Base64 is one, are not looked for.

/// The text with `with` wherever the secret stood.
pub fn replace(text: String, secret: &str, with: &str) -> String {
    let Some(first) = secret.chars().next() else {
        return text;
    };
    if !text.contains(secret) && !text.contains(['%', '\\', '&', '+']) {
        return text;
    }
    let mut out = String::new();
    let (mut at, mut kept) = (0, 0);
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let begins = spellings(rest, first).iter().any(Option::is_some);
        if let Some(length) = begins.then(|| ends(rest, secret).spelled).flatten() {
            out.push_str(&text[kept..at]);
            out.push_str(with);
            at += length;
            kept = at;
        } else {
            at += next.len_utf8();
        }
    }
    out.push_str(&text[kept..]);
    out
}

/// Where a text ends with the start of the secret, of more than `harmless` bytes of it.
pub(crate) fn cut_off(text: &str, secret: &str, harmless: usize) -> Option<usize> {
    // No spelling of a byte is longer than this.
    const LONGEST: usize = 8;
    let from = text.len().saturating_sub(secret.len() * LONGEST);
    let starts = text.char_indices().map(|(at, _)| at);
    starts
        .skip_while(|at| *at < from)
        .find(|at| ends(&text[*at..], secret).begun > harmless)
}

#[derive(Default)]
struct Ends {
    /// How long the secret is in the text that begins with it.
    spelled: Option<usize>,
    /// How many bytes of the secret make up the whole of the text, but for an escape that was cut off.
    begun: usize,
}

/// How far a text goes along with a secret.
fn ends(text: &str, secret: &str) -> Ends {
    let mut begun = 0;
    let mut places = vec![0];
    for (at, wanted) in secret.char_indices() {
        let mut next = Vec::with_capacity(1);
        for place in places {
            let rest = &text[place..];
            let escape = rest.len() < 6 && rest.starts_with(['%', '\\', '&']);
            if rest.is_empty() || escape {
                begun = at;
            }
            for length in spellings(rest, wanted).into_iter().flatten() {
                if !next.contains(&(place + length)) {
                    next.push(place + length);
                }
            }
        }
        if next.is_empty() {
            return Ends {
                spelled: None,
                begun,
            };
        }
        places = next;
    }
    Ends {
        spelled: places.into_iter().max(),
        begun,
    }
}

/// The lengths of this character in a text that begins with it, by each way to spell it.
fn spellings(text: &str, wanted: char) -> [Option<usize>; 3] {
    let plain = text.starts_with(wanted).then(|| wanted.len_utf8());
    let escaped = match text.as_bytes().first() {
        Some(b'+') if wanted == ' ' => Some(1),
        Some(b'%') => percent(text, wanted),
        Some(b'\\') => json(text, wanted),
        Some(b'&') => html(text, wanted),
        _ => None,
    };
    let unicode = text
        .starts_with("\\u")
        .then(|| json_number(text, wanted))
        .flatten();
    [plain, escaped, unicode]
}

/// RFC 3986 section 2.1.
fn percent(text: &str, wanted: char) -> Option<usize> {
    let mut buffer = [0; 4];
    let bytes = wanted.encode_utf8(&mut buffer).as_bytes();
    let mut at = 0;
    for byte in bytes {
        let escape = text.get(at..at + 3)?.strip_prefix('%')?;
        if u8::from_str_radix(escape, 16) != Ok(*byte) {
            return None;
        }
        at += 3;
    }
    Some(at)
}

/// RFC 8259 section 7, the short ones.
fn json(text: &str, wanted: char) -> Option<usize> {
    let letter = match wanted {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '"' | '\\' | '/' => wanted,
        _ => return None,
    };
    text[1..].starts_with(letter).then_some(2)
}

/// RFC 8259 section 7, by number.
fn json_number(text: &str, wanted: char) -> Option<usize> {
    let mut buffer = [0; 2];
    let mut at = 0;
    for unit in wanted.encode_utf16(&mut buffer) {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        if u16::from_str_radix(escape, 16) != Ok(*unit) {
            return None;
        }
        at += 6;
    }
    Some(at)
}

/// The references that templates write for what HTML treats specially, and numbers.
fn html(text: &str, wanted: char) -> Option<usize> {
    const LONGEST: usize = 10;
    let end = text.bytes().take(LONGEST).position(|byte| byte == b';')?;
    let name = &text[1..end];
    let meant = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    };
    (meant == Some(wanted)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_spelled() {
        let secret = "Ab\"c\\d&e ö+f😀%";
        for spelled in [
            "Ab\"c\\d&e ö+f😀%",
            "Ab%22c%5Cd%26e+%C3%B6%2Bf%F0%9F%98%80%25",
            "Ab%22c%5cd%26e%20%c3%b6%2bf%f0%9f%98%80%25",
            "Ab\\\"c\\\\d&e ö+f😀%",
            "Ab\\u0022c\\u005Cd\\u0026e \\u00f6+f\\ud83d\\ude00%",
            "Ab&quot;c\\d&amp;e &#246;&#x2B;f&#128512;%",
        ] {
            let text = format!("<{spelled}> and {spelled}");
            assert_eq!(replace(text, secret, "***"), "<***> and ***", "{spelled}");
        }
        for other in ["", "Ab", "50 % + a & b \\ %C3 %zz \\u12", "&#xffffffff; ö%"] {
            assert_eq!(replace(other.to_owned(), secret, "***"), other);
            assert_eq!(replace(other.to_owned(), "", "***"), other);
        }
        assert_eq!(replace("%25".to_owned(), "%", "*"), "*");
        assert_eq!(replace("a%a".to_owned(), "%", "*"), "a*a");
    }

    #[test]
    fn the_start_of_a_secret_is_found_at_the_end() {
        for (text, at) in [
            ("is p+ss w", Some(3)),
            ("is p%2Bss%20", Some(3)),
            ("is p%2Bss%2", Some(3)),
            ("is p%2B", None),
            ("is pass", None),
            ("", None),
        ] {
            assert_eq!(cut_off(text, "p+ss word", 3), at, "{text}");
        }
    }
}
