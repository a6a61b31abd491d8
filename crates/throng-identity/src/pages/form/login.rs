//! Which form is the login or the consent, and which of its fields takes what.

use super::button::{default_button, grants};
use super::{Field, FieldKind, Form};
use crate::pages::purpose;

/// A form to log in with: which of its fields takes the name and which the password.
#[derive(Debug, Clone)]
pub(crate) struct Login {
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
pub(crate) struct Consent {
    /// The form.
    pub form: Form,
    /// Index of the button that grants.
    pub button: usize,
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

pub(in crate::pages) fn best_user_field(form: &Form, before: usize) -> Option<(usize, u32)> {
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
pub(crate) fn find_login(forms: &[Form], wanted: &[&str]) -> Option<Login> {
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
    pub(crate) fn asks_for_new_password(&self) -> bool {
        let passwords = self.form.fields.iter();
        let mut passwords = passwords.filter(|field| field.kind == FieldKind::Password);
        let new = |field: &Field| field.autocomplete.contains("new-password");
        passwords.clone().any(new) || passwords.nth(1).is_some()
    }
}

/// The first shown form that has fields of all these names, if there are any.
pub(crate) fn find_with(forms: &[Form], names: &[&str]) -> Option<Login> {
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
pub(crate) fn find_identifier(forms: &[Form]) -> Option<Login> {
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
pub(crate) fn find_consent(forms: &[Form]) -> Option<Consent> {
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
