//! HTML forms: which one is the login or the consent, which field takes what, and what is sent.

use std::fmt;

use url::Url;
use url::form_urlencoded;

use super::purpose;

/// `GET` or `POST`; a `dialog` form sends nothing and counts as `GET`, the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormMethod {
    /// The fields become the query.
    Get,
    /// The fields become the body.
    Post,
}

impl FormMethod {
    /// Reads a `method` attribute.
    pub fn parse(text: &str) -> Self {
        if text.trim().eq_ignore_ascii_case("post") {
            Self::Post
        } else {
            Self::Get
        }
    }
}

/// A form with its fields in document order.
#[derive(Debug, Clone)]
pub struct Form {
    /// The `action` attribute as written.
    pub action: String,
    /// The resolved action; none if it is no http(s) address.
    pub target: Option<Url>,
    /// How it is sent.
    pub method: FormMethod,
    /// Sent as `multipart/form-data` rather than URL-encoded.
    pub multipart: bool,
    /// Not shown to a person, so not meant to be filled in.
    pub hidden: bool,
    /// The action is a script.
    pub scripted: bool,
    /// What it holds.
    pub fields: Vec<Field>,
}

/// What a control is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `type=hidden`.
    Hidden,
    /// Any field for typing, `textarea` included.
    Text,
    /// `type=password`.
    Password,
    /// Sent when on.
    Checkbox {
        /// Checked by the page.
        on: bool,
    },
    /// Sent when on.
    Radio {
        /// Checked by the page.
        on: bool,
    },
    /// A choice; its value is the chosen option's.
    Select,
    /// A button that submits; sent only when pressed.
    Submit,
}

/// One control. `Debug` leaves its value out, which may be a form token.
#[derive(Clone)]
pub struct Field {
    /// Its name in what is sent; a field without one is not sent.
    pub name: String,
    /// The `id` attribute.
    pub id: String,
    /// The value that the page gave.
    pub value: String,
    /// What it is.
    pub kind: FieldKind,
    /// A button's caption.
    pub label: String,
    /// The `type` attribute in small letters.
    pub input_type: String,
    /// The `autocomplete` attribute in small letters.
    pub autocomplete: String,
    /// Must be filled or ticked.
    pub required: bool,
    /// A button's own action.
    pub form_action: Option<String>,
    /// A button's own method.
    pub form_method: Option<FormMethod>,
}

/// A form to log in with: which of its fields takes the name and which the password.
#[derive(Debug, Clone)]
pub struct Login {
    /// The form.
    pub form: Form,
    /// Index of the user field; none when the page only asks for the password.
    pub user: Option<usize>,
    /// Index of the password field; none when the page only asks for the user.
    pub password: Option<usize>,
    /// Index of the button to press, if there is one.
    pub button: Option<usize>,
}

/// A form that asks for consent, and the button that gives it.
#[derive(Debug, Clone)]
pub struct Consent {
    /// The form.
    pub form: Form,
    /// Index of the button that grants.
    pub button: usize,
}

/// A form filled in and ready to be sent. `Debug` shows no value: one of them is the password.
pub struct Submission {
    /// Where to; with the fields as its query when the method is `GET`.
    pub url: Url,
    /// How.
    pub method: FormMethod,
    /// `Content-Type` of the body; none for `GET`.
    pub content_type: Option<String>,
    /// The body; empty for `GET`.
    pub body: String,
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.name)
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.method, crate::redact::url(&self.url))
    }
}

impl Form {
    /// Resolves the action: empty means the page itself, everything else is relative to `base`.
    pub(super) fn resolve(&mut self, page: &Url, base: &Url) {
        self.target = if self.action.is_empty() {
            Some(page.clone())
        } else {
            base.join(&self.action).ok()
        };
        self.target = self
            .target
            .take()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        self.scripted = self.target.is_none();
        for field in &mut self.fields {
            // Kept resolved, so that sending needs no page.
            let resolved = field
                .form_action
                .take()
                .filter(|action| !action.is_empty())
                .and_then(|a| base.join(&a).ok());
            field.form_action = resolved.map(Into::into);
        }
    }

    /// Nothing in it for a person but perhaps a button.
    pub fn only_hidden(&self) -> bool {
        !self.fields.is_empty()
            && self
                .fields
                .iter()
                .all(|f| matches!(f.kind, FieldKind::Hidden | FieldKind::Submit))
            && self.fields.iter().any(|f| f.kind == FieldKind::Hidden)
    }

    /// The names of the fields that something can be put into, in document order.
    pub fn names(&self) -> Vec<&str> {
        let fields = self.fields.iter();
        let mut names: Vec<&str> = fields
            .filter(|field| field.kind != FieldKind::Submit && !field.name.is_empty())
            .map(|field| &*field.name)
            .collect();
        names.dedup();
        names
    }

    /// Whether it has fields of all these names.
    pub fn has(&self, names: &[&str]) -> bool {
        let has = |name: &&str| self.fields.iter().any(|field| field.name == *name);
        names.iter().all(has)
    }

    /// The names of the fields for typing that are required and have nothing in them, neither from the page nor `filled`.
    pub fn unfilled(&self, filled: &[(usize, &str)]) -> Vec<&str> {
        let typed = |kind| matches!(kind, FieldKind::Text | FieldKind::Password);
        let fields = self.fields.iter().enumerate();
        fields
            .filter(|(_, field)| field.required && typed(field.kind) && !field.name.is_empty())
            .filter(|(at, field)| match filled.iter().find(|(of, _)| of == at) {
                Some((_, value)) => value.is_empty(),
                None => field.value.is_empty(),
            })
            .map(|(_, field)| &*field.name)
            .collect()
    }

    /// The pairs that a browser would send: hidden and preset fields as they are, `filled` values in place of the page's,
    /// required boxes ticked, and the pressed button's name and value at its place.
    pub fn entries<'a>(
        &'a self,
        filled: &[(usize, &'a str)],
        pressed: Option<usize>,
    ) -> Vec<(&'a str, &'a str)> {
        let mut radios_taken: Vec<&str> = Vec::new();
        let mut entries = Vec::new();
        for (i, field) in self.fields.iter().enumerate() {
            let sent = match field.kind {
                FieldKind::Hidden | FieldKind::Text | FieldKind::Password | FieldKind::Select => {
                    true
                }
                FieldKind::Checkbox { on } => on || field.required,
                FieldKind::Radio { on } => {
                    let other = self.fields.iter().any(|f| {
                        f.name == field.name && matches!(f.kind, FieldKind::Radio { on: true })
                    });
                    on || (field.required && !other && !radios_taken.contains(&&*field.name))
                }
                FieldKind::Submit => pressed == Some(i),
            };
            if !sent || field.name.is_empty() {
                continue;
            }
            if matches!(field.kind, FieldKind::Radio { .. }) {
                radios_taken.push(&field.name);
            }
            let value = filled
                .iter()
                .find(|(at, _)| *at == i)
                .map_or(&*field.value, |(_, value)| value);
            entries.push((&*field.name, value));
        }
        entries
    }

    /// Fills the form in. Nothing when its action is a script.
    pub fn submit(&self, filled: &[(usize, &str)], pressed: Option<usize>) -> Option<Submission> {
        let button = pressed.and_then(|at| self.fields.get(at));
        let own_action = button
            .and_then(|b| b.form_action.as_ref())
            .and_then(|action| Url::parse(action).ok());
        let mut url = own_action.or_else(|| self.target.clone())?;
        url.set_fragment(None);
        let method = button.and_then(|b| b.form_method).unwrap_or(self.method);
        let entries = self.entries(filled, pressed);
        let encoded = || {
            form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&entries)
                .finish()
        };
        Some(match method {
            FormMethod::Get => {
                url.set_query(Some(&encoded()));
                Submission {
                    url,
                    method,
                    content_type: None,
                    body: String::new(),
                }
            }
            FormMethod::Post if self.multipart => {
                let boundary = format!("----throng{}", crate::pkce::random_token());
                let body = multipart(&boundary, &entries);
                Submission {
                    url,
                    method,
                    content_type: Some(format!("multipart/form-data; boundary={boundary}")),
                    body,
                }
            }
            FormMethod::Post => Submission {
                url,
                method,
                content_type: Some("application/x-www-form-urlencoded".to_owned()),
                body: encoded(),
            },
        })
    }
}

/// RFC 7578, names escaped as browsers do.
fn multipart(boundary: &str, entries: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in entries {
        let name = name
            .replace('"', "%22")
            .replace('\r', "%0D")
            .replace('\n', "%0A");
        body.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    body
}

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
fn grants(button: &Field) -> usize {
    let text = format!("{} {} {}", button.label, button.name, button.value).to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
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
pub enum Sends {
    /// It says so.
    Yes,
    /// It says nothing of the kind.
    Perhaps,
    /// It does something else.
    No,
}

/// What a button's words say about whether it sends a login.
pub fn sends(button: &Field) -> Sends {
    const SENDING: &[&str] = &[
        "login", "logon", "signin", "submit", "next", "continue", "enter", "go", "ok",
    ];
    const ELSEWHERE: &[&str] = &[
        "show", "hide", "toggle", "help", "google", "github", "passkey", "language", "close",
        "menu", "search",
    ];
    let text = format!("{} {} {}", button.label, button.name, button.value).to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
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
        let text = format!("{} {} {}", field.label, field.name, field.value).to_lowercase();
        text.split(|c: char| !c.is_alphanumeric())
            .any(|word| REFUSING.contains(&word))
    };
    buttons.find(|(_, f)| !leads_elsewhere(f)).map(|(i, _)| i)
}

/// How much a text field looks like the one for the user name: 0 is not at all.
fn user_score(field: &Field) -> u32 {
    if field.kind != FieldKind::Text || field.name.is_empty() {
        return 0;
    }
    if !matches!(&*field.input_type, "" | "text" | "email" | "tel") {
        return 0;
    }
    let words = format!("{} {}", field.name, field.id).to_lowercase();
    if ["search", "captcha", "otp", "code", "query", "phone"]
        .iter()
        .any(|word| words.contains(word))
        || words.starts_with("q ")
    {
        return 0;
    }
    if field
        .autocomplete
        .split_whitespace()
        .any(|token| token == "username")
    {
        return 10;
    }
    let named = [
        "user",
        "login",
        "email",
        "identifier",
        "account",
        "uid",
        "signin",
        "handle",
        "name",
    ]
    .iter()
    .any(|word| words.contains(word));
    match (named, &*field.input_type) {
        (true, _) => 5,
        (false, "email") => 4,
        (false, _) => 1,
    }
}

pub(super) fn best_user_field(form: &Form, before: usize) -> Option<(usize, u32)> {
    let mut best = None;
    for (i, field) in form.fields.iter().enumerate().take(before) {
        let score = user_score(field);
        // The later of equals: the one right above the password.
        if score > 0 && best.is_none_or(|(_, s)| score >= s) {
            best = Some((i, score));
        }
    }
    best
}

/// The form to log in with: shown, with all the `wanted` fields and with one password field that is not for a new password;
/// one by which users are made only if there is nothing better.
pub fn find_login(forms: &[Form], wanted: &[&str]) -> Option<Login> {
    let mut best: Option<(u32, Login)> = None;
    let shown = forms.iter().filter(|form| !form.hidden && !form.scripted);
    for form in shown.filter(|form| form.has(wanted)) {
        let passwords: Vec<usize> = form
            .fields
            .iter()
            .enumerate()
            .filter(|(_, f)| f.kind == FieldKind::Password && !f.name.is_empty())
            .map(|(i, _)| i)
            .collect();
        let Some(&password) = passwords.first() else {
            continue;
        };
        let user = best_user_field(form, form.fields.len());
        let mut score = 10 + user.map_or(0, |(_, s)| s);
        if passwords.len() > 1 || form.fields[password].autocomplete.contains("new-password") {
            // A registration or a change of password: only if there is nothing better.
            score = 1;
        } else if purpose::signs_up(form) {
            score = 2;
        }
        if form.fields[password]
            .autocomplete
            .contains("current-password")
        {
            score += 5;
        }
        if best.as_ref().is_none_or(|(s, _)| score > *s) {
            let login = Login {
                form: form.clone(),
                user: user.map(|(i, _)| i),
                password: Some(password),
                button: default_button(form),
            };
            best = Some((score, login));
        }
    }
    best.map(|(_, login)| login)
}

impl Login {
    /// It asks for a new password: a registration, or a change of password.
    pub fn asks_for_new_password(&self) -> bool {
        let passwords = self.form.fields.iter();
        let mut passwords = passwords.filter(|field| field.kind == FieldKind::Password);
        let new = |field: &Field| field.autocomplete.contains("new-password");
        passwords.clone().any(new) || passwords.nth(1).is_some()
    }
}

/// The first shown form that has fields of all these names, if there are any.
pub fn find_with(forms: &[Form], names: &[&str]) -> Option<Login> {
    let mut shown = forms.iter().filter(|form| !form.hidden && !form.scripted);
    names.first()?;
    let form = shown.find(|form| form.has(names))?;
    Some(Login {
        form: form.clone(),
        user: None,
        password: None,
        button: default_button(form),
    })
}

/// A shown form that asks for the user's name but for no password.
pub fn find_identifier(forms: &[Form]) -> Option<Login> {
    forms
        .iter()
        .filter(|form| !form.hidden && !form.scripted)
        .filter(|form| !purpose::is_for_a_list(form) && !purpose::signs_up(form))
        .filter_map(|form| {
            let (user, score) = best_user_field(form, form.fields.len())?;
            // A nameless text field may be a search box: it takes a name that says what it is.
            (score >= 4).then(|| {
                (
                    score,
                    Login {
                        form: form.clone(),
                        user: Some(user),
                        password: None,
                        button: default_button(form),
                    },
                )
            })
        })
        .max_by_key(|(score, _)| *score)
        .map(|(_, login)| login)
}

/// A shown form without anything to type, with a button that grants.
pub fn find_consent(forms: &[Form]) -> Option<Consent> {
    forms
        .iter()
        .filter(|form| !form.hidden && !form.scripted)
        .filter(|form| {
            !form
                .fields
                .iter()
                .any(|f| matches!(f.kind, FieldKind::Text | FieldKind::Password))
        })
        .flat_map(|form| {
            form.fields
                .iter()
                .enumerate()
                .map(move |(i, field)| (form, i, field))
        })
        .filter(|(_, _, field)| field.kind == FieldKind::Submit)
        .filter_map(|(form, i, field)| {
            Some((grants(field), form, i)).filter(|(score, _, _)| *score > 0)
        })
        .max_by_key(|(score, _, i)| (*score, std::cmp::Reverse(*i)))
        .map(|(_, form, button)| Consent {
            form: form.clone(),
            button,
        })
}
