//! HTML forms: their fields, and what is sent when they are filled in.
//!
//! Which form is the login or the consent, and which field takes what, is the business of the modules below; by which one
//! registers, of [`super::registration`].

mod button;
mod login;

use std::fmt;

use url::Url;
use url::form_urlencoded;

pub(crate) use button::{Sends, sends};
pub(super) use login::best_user_field;
pub(crate) use login::{Consent, Login, find_consent, find_identifier, find_login, find_with};

/// `GET` or `POST`; a `dialog` form sends nothing and counts as `GET`, the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormMethod {
    /// The fields become the query.
    Get,
    /// The fields become the body.
    Post,
}

impl FormMethod {
    /// Reads a `method` attribute.
    pub(crate) fn parse(text: &str) -> Self {
        if text.trim().eq_ignore_ascii_case("post") {
            Self::Post
        } else {
            Self::Get
        }
    }
}

/// A form with its fields in document order.
#[derive(Debug, Clone)]
pub(crate) struct Form {
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
pub(crate) enum FieldKind {
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
pub(crate) struct Field {
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

/// A form filled in and ready to be sent. `Debug` shows no value: one of them is the password.
pub(crate) struct Submission {
    /// Where to; with the fields as its query when the method is `GET`.
    pub url: Url,
    /// How.
    pub method: FormMethod,
    /// `Content-Type` of the body; none for `GET`.
    pub content_type: Option<String>,
    /// The body; empty for `GET`.
    pub body: String,
}

impl Field {
    /// What stands on a button, with its name and value, in small letters.
    pub(super) fn said(&self) -> String {
        format!("{} {} {}", self.label, self.name, self.value).to_lowercase()
    }
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
    pub(crate) fn only_hidden(&self) -> bool {
        !self.fields.is_empty()
            && self
                .fields
                .iter()
                .all(|f| matches!(f.kind, FieldKind::Hidden | FieldKind::Submit))
            && self.fields.iter().any(|f| f.kind == FieldKind::Hidden)
    }

    /// The names of the fields that something can be put into, in document order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let fields = self.fields.iter();
        let mut names: Vec<&str> = fields
            .filter(|field| field.kind != FieldKind::Submit && !field.name.is_empty())
            .map(|field| &*field.name)
            .collect();
        names.dedup();
        names
    }

    /// Whether it has fields of all these names.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        let has = |name: &&str| self.fields.iter().any(|field| field.name == *name);
        names.iter().all(has)
    }

    /// The names of the fields for typing that are required and have nothing in them, neither from the page nor `filled`.
    pub(crate) fn unfilled(&self, filled: &[(usize, &str)]) -> Vec<&str> {
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
    pub(crate) fn entries<'a>(
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
    pub(crate) fn submit(
        &self,
        filled: &[(usize, &str)],
        pressed: Option<usize>,
    ) -> Option<Submission> {
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
