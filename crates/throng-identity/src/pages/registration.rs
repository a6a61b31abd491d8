//! Forms by which a stranger becomes a user: which field takes what.

use super::form::{Field, FieldKind, Form, best_user_field};
use super::purpose::is_mail;

/// A form to register with.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
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
pub(crate) fn find(forms: &[Form], wanted: &[&str]) -> Option<Registration> {
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

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::pages::Document;

    /// Which fields take the name, the mail address and the password, and what the pressed button says.
    fn read(html: &str, wanted: &[&str]) -> Option<(String, String, String, String)> {
        let url = Url::parse("http://h/signup").unwrap();
        let found = find(&Document::parse(&url, html).forms, wanted)?;
        let name = |at: Option<usize>| at.map_or("-", |at| &found.form.fields[at].name).to_owned();
        let passwords: Vec<_> = found.passwords.iter().map(|at| name(Some(*at))).collect();
        let button = found.button.map(|at| found.form.fields[at].label.clone());
        Some((
            name(found.user),
            name(found.email),
            passwords.join(" "),
            button.unwrap_or_default(),
        ))
    }

    #[test]
    fn forms_of_well_known_frameworks_are_understood() {
        let django = "<form method=post><input type=hidden name=csrfmiddlewaretoken value=t>\
             <input name=username maxlength=150 autocomplete=username required>\
             <input type=email name=email><input type=password name=password1 autocomplete=new-password required>\
             <input type=password name=password2 autocomplete=new-password required><button>Sign up</button></form>";
        let devise = "<form action=/users method=post><input type=hidden name=authenticity_token value=t>\
             <input autocomplete=email type=email name='user[email]'>\
             <input autocomplete=new-password type=password name='user[password]'>\
             <input autocomplete=new-password type=password name='user[password_confirmation]'>\
             <input type=submit name=commit value='Sign up'></form>";
        let laravel = "<form method=POST><input type=hidden name=_token value=t><input id=name name=name required>\
             <input id=email type=email name=email required><input type=password name=password>\
             <input type=password name=password_confirmation><button type=submit>Register</button></form>";
        let gitea = "<form action=/user/login method=post><input name=user_name><input type=password name=password>\
             </form><form method=post><input id=user_name name=user_name required><input id=email name=email type=email>\
             <input id=password name=password type=password autocomplete=new-password>\
             <input id=retype name=retype type=password><button>Register Account</button></form>";
        for (html, name, email, passwords, button) in [
            (
                django,
                "username",
                "email",
                "password1 password2",
                "Sign up",
            ),
            (
                devise,
                "-",
                "user[email]",
                "user[password] user[password_confirmation]",
                "Sign up",
            ),
            (
                laravel,
                "name",
                "email",
                "password password_confirmation",
                "Register",
            ),
            (
                gitea,
                "user_name",
                "email",
                "password retype",
                "Register Account",
            ),
        ] {
            let found = read(html, &[]).expect(html);
            let wanted = [name, email, passwords, button].map(str::to_owned);
            assert_eq!([found.0, found.1, found.2, found.3], wanted);
        }
    }

    #[test]
    fn a_form_without_a_password_is_one_only_by_its_fields() {
        let html = "<form><input name=q></form><form method=post><input name=user_login>\
             <input type=email name=user_email><button>Cancel</button><button>Join</button></form>";
        assert_eq!(read(html, &[]), None);
        let found = read(html, &["user_login", "user_email"]).unwrap();
        assert_eq!(
            (&*found.0, &*found.1, &*found.3),
            ("user_login", "user_email", "Join")
        );
        assert_eq!(read(html, &["user_login", "other"]), None);
    }
}
