//! Which mail addresses are accepted, as the `email-validator` package decides it without asking DNS.

/// Top-level domains that no public mail address has (RFC 6761 and others).
const SPECIAL: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

/// Says why a text is no mail address.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err("An email address must have an @-sign.");
    };
    if local.is_empty() {
        return Err("There must be something before the @-sign.");
    }
    if local.len() > 64 {
        return Err("The email address is too long before the @-sign.");
    }
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if !local
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(atom))
    {
        return Err("The email address contains invalid characters before the @-sign.");
    }
    if domain.is_empty() {
        return Err("There must be something after the @-sign.");
    }
    if domain.len() > 253 {
        return Err("The email address is too long after the @-sign.");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    if !domain.split('.').all(label) {
        return Err("The part after the @-sign contains invalid characters.");
    }
    let Some((_, last)) = domain.rsplit_once('.') else {
        return Err("The part after the @-sign is not valid. It should have a period.");
    };
    if !last.chars().any(char::is_alphabetic) {
        return Err(
            "The part after the @-sign is not valid. It is not within a valid top-level domain.",
        );
    }
    if SPECIAL.contains(&last.to_lowercase().as_str()) {
        return Err(
            "The part after the @-sign is a special-use or reserved name that cannot be used with email.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, good) in [
            ("a@example.com", true),
            ("first.last+tag@sub.example.org", true),
            ("ü@müller.de", true),
            ("a@example", false),
            ("a@localhost.test", false),
            ("a@1.2.3.4", false),
            ("a..b@example.com", false),
            ("@example.com", false),
            ("a b@example.com", false),
            ("a@-x.com", false),
            ("a", false),
        ] {
            assert_eq!(check(text).is_ok(), good, "{text}");
        }
    }
}
