//! Forms by which a stranger becomes a user: which field takes what.

use super::form::{Field, FieldKind, Form, best_user_field};

/// A form to register with.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The form.
    pub form: Form,
    /// Index of the field for the user's name.
    pub user: Option<usize>,
    /// Index of the field for the mail address, where it is another one.
    pub email: Option<usize>,
    /// Indices of the fields for the password: often two.
    pub passwords: Vec<usize>,
    /// Index of the button to press, if there is one.
    pub button: Option<usize>,
}

/// Words of buttons that don't register.
const ELSEWHERE: &[&str] = &[
    "cancel", "back", "reset", "abort", "login", "signin", "clear",
];

/// The form to register with: shown, with a password field; one that asks for a new password before any other, and one that has
/// all of the `wanted` fields before that.
pub fn find(forms: &[Form], wanted: &[&str]) -> Option<Registration> {
    let has = |form: &Form, name: &str| form.fields.iter().any(|field| field.name == name);
    let shown = forms.iter().filter(|form| !form.hidden && !form.scripted);
    shown
        .filter_map(|form| {
            let passwords = passwords(form);
            let named = !wanted.is_empty() && wanted.iter().all(|name| has(form, name));
            if passwords.is_empty() && !named {
                return None;
            }
            let new = |at: &usize| form.fields[*at].autocomplete.contains("new-password");
            let is_new = passwords.len() > 1 || passwords.iter().any(new);
            Some((2 * u8::from(named) + u8::from(is_new), form, passwords))
        })
        // The first of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, form, passwords)| read(form, passwords))
}

fn read(form: &Form, passwords: Vec<usize>) -> Registration {
    let is_mail = |field: &Field| {
        let words = format!("{} {}", field.name, field.id).to_lowercase();
        let says = words.contains("email") || words.contains("mail");
        field.kind == FieldKind::Text && (field.input_type == "email" || says)
    };
    let email = form.fields.iter().position(is_mail);
    let before = passwords.first().copied().unwrap_or(form.fields.len());
    // Where there is one field for both, it takes the mail address: whoever asks for that refuses a mere name.
    let mut names = form.clone();
    for (at, field) in names.fields.iter_mut().enumerate() {
        if Some(at) == email {
            field.kind = FieldKind::Hidden;
        }
    }
    let user = best_user_field(&names, before).filter(|(_, score)| *score > 1);
    Registration {
        user: user.map(|(at, _)| at),
        email,
        passwords,
        button: button(form),
        form: form.clone(),
    }
}

fn passwords(form: &Form) -> Vec<usize> {
    let fields = form.fields.iter().enumerate();
    fields
        .filter(|(_, field)| field.kind == FieldKind::Password && !field.name.is_empty())
        .map(|(at, _)| at)
        .collect()
}

fn button(form: &Form) -> Option<usize> {
    let leads_elsewhere = |field: &Field| {
        let text = format!("{} {}", field.label, field.name).to_lowercase();
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        words.any(|word| ELSEWHERE.contains(&word))
    };
    let mut fields = form.fields.iter();
    fields.position(|field| field.kind == FieldKind::Submit && !leads_elsewhere(field))
}
