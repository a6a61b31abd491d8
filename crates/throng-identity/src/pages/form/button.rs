//! Buttons: what their words say about what they do.

use super::{Field, FieldKind, Form};
use crate::pages::purpose::split;

/// Words in a button's caption, name or value that grant. Order is preference.
const GRANTING: &[&str] = &[
    "allow",
    "authorize",
    "authorise",
    "grant",
    "accept",
    "approve",
    "consent",
    "permit",
    "agree",
    "yes",
    "confirm",
    "continue",
];

/// Words that refuse or lead elsewhere; they win over granting ones ("Do not allow").
const REFUSING: &[&str] = &[
    "deny",
    "denied",
    "cancel",
    "reject",
    "refuse",
    "decline",
    "disallow",
    "disagree",
    "abort",
    "no",
    "not",
    "don",
    "back",
    "logout",
    "signout",
    "switch",
    "forgot",
    "forgotten",
    "reset",
    "register",
    "signup",
    "unauthorize",
];

/// How sure the button means yes: 0 is no.
pub(super) fn grants(button: &Field) -> usize {
    let text = button.said();
    let words = split(&text);
    // "log out", "sign up", and "continue with another provider" in two words.
    let pairs = words.windows(2).any(|w| {
        matches!(
            w,
            ["log" | "sign", "out" | "up" | "off"] | ["continue" | "in", "with"]
        )
    });
    if pairs || words.iter().any(|word| REFUSING.contains(word)) {
        return 0;
    }
    GRANTING
        .iter()
        .position(|granting| words.iter().any(|word| word == granting))
        .map_or(0, |at| GRANTING.len() - at)
}

/// Whether pressing a button sends a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sends {
    /// It says so.
    Yes,
    /// It says nothing of the kind.
    Perhaps,
    /// It does something else.
    No,
}

/// What a button's words say about whether it sends a login.
pub(crate) fn sends(button: &Field) -> Sends {
    const SENDING: &[&str] = &[
        "login", "logon", "signin", "submit", "next", "continue", "enter", "go", "ok",
    ];
    const ELSEWHERE: &[&str] = &[
        "show", "hide", "toggle", "help", "google", "github", "passkey", "language", "close",
        "menu", "search",
    ];
    let text = button.said();
    let words = split(&text);
    let pair = |first: &[&str], second: &[&str]| {
        words
            .windows(2)
            .any(|pair| first.contains(&pair[0]) && second.contains(&pair[1]))
    };
    let elsewhere = words
        .iter()
        .any(|word| REFUSING.contains(word) || ELSEWHERE.contains(word))
        || pair(&["log", "sign"], &["out", "up", "off"])
        || pair(&["continue", "in", "login", "up"], &["with"]);
    if elsewhere {
        Sends::No
    } else if words.iter().any(|word| SENDING.contains(word))
        || pair(&["log", "sign"], &["in", "on"])
    {
        Sends::Yes
    } else {
        Sends::Perhaps
    }
}

/// A button that neither refuses nor leads elsewhere; the first, as the Enter key would press.
pub(super) fn default_button(form: &Form) -> Option<usize> {
    let mut buttons = form
        .fields
        .iter()
        .enumerate()
        .filter(|(_, f)| f.kind == FieldKind::Submit);
    let leads_elsewhere = |field: &Field| {
        let text = field.said();
        split(&text).iter().any(|word| REFUSING.contains(word))
    };
    buttons.find(|(_, f)| !leads_elsewhere(f)).map(|(i, _)| i)
}
