//! What else than a login a form may be for, told by its words: signing up, or mail from a list.

use super::form::{Field, FieldKind, Form};

const SIGN_UP: &[&str] = &["register", "registration", "signup", "join", "enroll"];
const SIGN_UP_PAIRS: &[[&str; 2]] = &[["sign", "up"], ["create", "account"], ["new", "account"]];
const LOG_IN: &[&str] = &["login", "logon", "signin"];
const LOG_IN_PAIRS: &[[&str; 2]] = &[["log", "in"], ["log", "on"], ["sign", "in"]];
const LIST: &[&str] = &["newsletter", "newsletters", "subscribe", "subscription"];
const LIST_PAIRS: &[[&str; 2]] = &[["mailing", "list"]];

/// By this form users are made: it says so, or asks for a name and a mail address.
pub(super) fn signs_up(form: &Form) -> bool {
    let text = format!("{} {}", path(form), buttons(form));
    let says = says(&text, SIGN_UP, SIGN_UP_PAIRS) && !says(&text, LOG_IN, LOG_IN_PAIRS);
    let is_name = |field: &Field| {
        let name = field.name.to_lowercase();
        field.kind == FieldKind::Text && !is_mail(field) && name.contains("name")
    };
    says || (form.fields.iter().any(is_mail) && form.fields.iter().any(is_name))
}

/// By this form one gets mail.
pub(super) fn is_for_a_list(form: &Form) -> bool {
    let mut text = format!("{} {}", path(form), buttons(form));
    for field in &form.fields {
        text.push_str(&format!(" {} {}", field.name, field.id));
    }
    says(&text, LIST, LIST_PAIRS) && !says(&text, LOG_IN, LOG_IN_PAIRS)
}

/// A field for a mail address.
pub(super) fn is_mail(field: &Field) -> bool {
    let words = format!("{} {}", field.name, field.id).to_lowercase();
    field.kind == FieldKind::Text && (field.input_type == "email" || words.contains("mail"))
}

fn path(form: &Form) -> &str {
    form.target.as_ref().map_or("", |url| url.path())
}

fn buttons(form: &Form) -> String {
    let fields = form.fields.iter();
    let buttons = fields.filter(|field| field.kind == FieldKind::Submit);
    buttons.map(Field::said).collect::<Vec<_>>().join(" ")
}

/// Whether any of these words, or pairs of neighbours, stands in a text.
fn says(text: &str, words: &[&str], pairs: &[[&str; 2]]) -> bool {
    let text = text.to_lowercase();
    let found = split(&text);
    found.iter().any(|word| words.contains(word))
        || found
            .windows(2)
            .any(|pair| pairs.iter().any(|wanted| pair == wanted))
}

/// The words of a text.
pub(super) fn split(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::pages::Document;

    fn form(html: &str) -> Form {
        let url = Url::parse("http://h/page").unwrap();
        Document::parse(&url, html).forms.remove(0)
    }

    #[test]
    fn words_tell_forms_apart() {
        for (html, made, list) in [
            (
                "<form action=/users/sign_up><input name=login>",
                true,
                false,
            ),
            (
                "<form action=/register/login><input name=login>",
                false,
                false,
            ),
            (
                "<form><input name=login><button>Create account</button>",
                true,
                false,
            ),
            (
                "<form><input name=login><button>Log in</button><button>Sign up</button>",
                false,
                false,
            ),
            ("<form><input name=username><input name=email>", true, false),
            ("<form><input type=email name=username>", false, false),
            ("<form action=/newsletter><input name=email>", false, true),
            (
                "<form><input name=email><input type=submit value=Subscribe>",
                false,
                true,
            ),
            (
                "<form action=/subscription/login><input name=email>",
                false,
                false,
            ),
        ] {
            let form = form(html);
            assert_eq!(
                (signs_up(&form), is_for_a_list(&form)),
                (made, list),
                "{html}"
            );
        }
    }
}
