//! What a page says that no filling in of forms helps against: a locked account, a captcha, a challenge for browsers.

/// Words that say of an account that nobody can log in with it, whatever the password.
const LOCKED: &[&str] = &[
    "locked",
    "disabled",
    "deactivated",
    "suspended",
    "blocked",
    "banned",
];
/// What such words must be said of.
const OF_ACCOUNT: &[&str] = &["account", "user", "login", "you"];

/// Whether a message says that the account is locked.
pub(crate) fn says_locked(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let says = |known: &[&str]| words.iter().any(|word| known.contains(word));
    // "JavaScript is disabled" is another matter.
    says(LOCKED) && says(OF_ACCOUNT) && !says(&["javascript", "cookies", "cookie"])
}

/// The captcha that an address of a frame or script is of.
pub(crate) fn captcha_of_address(address: &str) -> Option<&'static str> {
    let address = address.to_ascii_lowercase();
    // The one without a task scores visitors in the background, and shows nothing.
    if address.contains("size=invisible") {
        return None;
    }
    if address.contains("recaptcha") {
        Some("reCAPTCHA")
    } else if address.contains("hcaptcha") {
        Some("hCaptcha")
    } else if address.contains("challenges.cloudflare.com") || address.contains("turnstile") {
        Some("Turnstile")
    } else if address.contains("captcha") {
        Some("a captcha")
    } else {
        None
    }
}

/// The captcha that an element of these classes is the place for.
pub(crate) fn captcha_of_class(class: &str) -> Option<&'static str> {
    match class {
        "g-recaptcha" => Some("reCAPTCHA"),
        "h-captcha" => Some("hCaptcha"),
        "cf-turnstile" => Some("Turnstile"),
        _ => None,
    }
}

/// A field, or a picture, for a captcha of the application's own.
pub(crate) fn is_captcha_name(name: &str) -> bool {
    name.to_ascii_lowercase().contains("captcha")
}

/// Marks, in small letters, of pages that let a visitor on only after a script has worked for a while.
pub(crate) const CHALLENGES: &[&str] = &[
    "/cdn-cgi/challenge-platform/",
    "_cf_chl_opt",
    "enable javascript and cookies to continue",
    "checking your browser before",
    "awswafintegration",
    "please enable js and disable any ad blocker",
    "making sure you&#39;re not a bot",
    "making sure you're not a bot",
];

/// Whether a page is one that tries whether its visitor is a browser.
pub(crate) fn is_challenge(html: &str) -> bool {
    let html = html.to_ascii_lowercase();
    CHALLENGES.iter().any(|mark| html.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_accounts_are_told_from_other_words() {
        for (text, locked) in [
            ("Your account has been locked.", true),
            ("User disabled", true),
            ("This account is suspended; ask your administrator", true),
            ("You have been blocked", true),
            ("Wrong user name or password", false),
            ("JavaScript is disabled, you can not log in", false),
            ("The door is locked", false),
        ] {
            assert_eq!(says_locked(text), locked, "{text}");
        }
    }

    #[test]
    fn captchas_are_known_by_their_addresses_classes_and_names() {
        for (address, captcha) in [
            (
                "https://www.google.com/recaptcha/api2/anchor?k=1",
                Some("reCAPTCHA"),
            ),
            (
                "https://www.google.com/recaptcha/api2/anchor?size=invisible",
                None,
            ),
            (
                "https://newassets.hcaptcha.com/captcha/v1",
                Some("hCaptcha"),
            ),
            (
                "https://challenges.cloudflare.com/turnstile/v0/api.js",
                Some("Turnstile"),
            ),
            ("/securimage/captcha.png", Some("a captcha")),
            ("/logo.png", None),
        ] {
            assert_eq!(captcha_of_address(address), captcha, "{address}");
        }
        assert_eq!(captcha_of_class("h-captcha"), Some("hCaptcha"));
        assert!(is_captcha_name("login_Captcha_text"));
        assert!(is_challenge("<script>window._cf_chl_opt = {}</script>"));
        assert!(!is_challenge("<h1>Log in</h1>"));
    }
}
