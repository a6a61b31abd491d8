//! What a browser shows, read with the same eyes as pages without one: what is on the page becomes the forms that
//! [`crate::pages`] finds logins and consents in.

use serde::Deserialize;
use url::Url;

use crate::login::walk::PageKind;
use crate::pages::form::{self, Field, FieldKind, Form, FormMethod, Login};
use crate::pages::{Document, trouble};

/// The script that looks; takes the scenario's selectors, the marks of challenges, and the names of fields that the scenario fills.
pub(super) const SCRIPT: &str = include_str!("look.js");

/// What the script found. Values of fields are not among it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Look {
    /// The key of a selector that is none.
    pub(super) bad: Option<String>,
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    ready: String,
    /// The number of what was done last on this very page; 0 for nothing.
    #[serde(default)]
    pub(super) acted: u32,
    /// When the page began, in milliseconds since 1970: no two of a tab's have the same.
    #[serde(default)]
    pub(super) began: f64,
    /// Milliseconds since the page began.
    #[serde(default)]
    pub(super) age: f64,
    pub(super) status: Option<u16>,
    /// Milliseconds until the answer came.
    pub(super) took: Option<f64>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    scripts: bool,
    #[serde(default)]
    pub(super) challenge: bool,
    #[serde(default)]
    captchas: Vec<Captcha>,
    #[serde(default)]
    forms: Vec<Owner>,
    #[serde(default)]
    fields: Vec<Control>,
    #[serde(default)]
    pub(super) named: Named,
}

/// Something that may be a captcha's.
#[derive(Debug, Deserialize)]
struct Captcha {
    address: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    classes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    action: String,
    #[serde(default)]
    method: String,
}

#[derive(Debug, Deserialize)]
struct Control {
    /// Its form; -1 for none.
    form: i64,
    kind: String,
    #[serde(rename = "type")]
    input_type: String,
    name: String,
    id: String,
    autocomplete: String,
    label: String,
    value: String,
    required: bool,
    on: bool,
    filled: bool,
    submits: bool,
}

/// What the scenario's selectors found.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Named {
    pub(super) user: Option<usize>,
    pub(super) password: Option<usize>,
    pub(super) submit: Option<usize>,
    pub(super) consent: Option<usize>,
}

impl Named {
    /// Whether the selector of this key found something.
    pub(super) fn has(&self, key: &str) -> bool {
        let found = match key {
            "user" => self.user,
            "password" => self.password,
            "submit" => self.submit,
            _ => self.consent,
        };
        found.is_some()
    }
}

/// What is to be done on a page; elements by their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) user: Option<usize>,
    pub(super) password: Option<usize>,
    /// What goes into which: the element, and the number of the scenario's field.
    pub(super) given: Vec<(usize, usize)>,
    pub(super) tick: Vec<usize>,
    pub(super) click: Option<usize>,
}

impl Task {
    /// Whether the password is among it. In a form that was found by the scenario's fields alone it is one of these.
    pub(super) fn has_password(&self) -> bool {
        self.password.is_some() || (self.user.is_none() && !self.given.is_empty())
    }

    /// As what a page that wants this is taken.
    pub(super) fn kind(&self) -> PageKind {
        match (self.user, self.password) {
            (Some(_), None) => PageKind::User,
            (None, Some(_)) => PageKind::Password,
            _ => PageKind::Login,
        }
    }
}

/// What a page wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// User name, password or both.
    Credentials(Task),
    /// A button pressed.
    Consent(Task),
    /// Nothing that could be made out.
    Nothing,
}

/// A form, and which of the page's elements its fields are.
struct Placed {
    form: Form,
    elements: Vec<usize>,
}

impl Look {
    /// Its markup is there.
    pub(super) fn is_parsed(&self) -> bool {
        self.ready != "loading"
    }

    /// It and all that it needs is there.
    pub(super) fn is_complete(&self) -> bool {
        self.ready == "complete"
    }

    /// Nothing was opened yet.
    pub(super) fn is_blank(&self) -> bool {
        self.url.is_empty() || self.url == "about:blank"
    }

    /// The page as one that was read from its markup.
    pub(super) fn document(&self) -> Document {
        Document {
            title: self.title.clone(),
            errors: self.errors.clone(),
            text: self.text.clone(),
            needs_script: self.scripts,
            captcha: self.captcha(),
            ..Document::default()
        }
    }

    /// What it says to a person.
    pub(super) fn says(&self) -> String {
        self.document().says()
    }

    /// The messages that are marked as such.
    pub(super) fn errors(&self) -> &[String] {
        &self.errors
    }

    pub(super) fn captcha(&self) -> Option<&'static str> {
        self.captchas.iter().find_map(|captcha| {
            let address = captcha
                .address
                .as_deref()
                .and_then(trouble::captcha_of_address);
            let class = || {
                captcha
                    .classes
                    .iter()
                    .find_map(|class| trouble::captcha_of_class(class))
            };
            let named = || {
                captcha
                    .names
                    .iter()
                    .any(|name| trouble::is_captcha_name(name))
            };
            address
                .or_else(class)
                .or_else(|| named().then_some("a captcha"))
        })
    }

    /// Its forms, and what is in none as one more.
    pub(super) fn forms(&self) -> Vec<Form> {
        self.placed()
            .into_iter()
            .map(|placed| placed.form)
            .collect()
    }

    /// The form that a task is about.
    pub(super) fn form_with(&self, task: &Task) -> Option<Form> {
        let given = task.given.first().map(|(element, _)| *element);
        let element = task.password.or(task.user).or(given)?;
        let mut placed = self.placed().into_iter();
        let found = placed.find(|placed| placed.elements.contains(&element));
        found.map(|placed| placed.form)
    }

    /// Where the form of a task is sent to by POST, if it is.
    pub(super) fn posted_to(&self, task: &Task) -> Option<Url> {
        let given = task.given.first().map(|(element, _)| *element);
        let element = task.password.or(task.user).or(given).or(task.click)?;
        let owner = usize::try_from(self.fields.get(element)?.form).ok()?;
        let owner = self.forms.get(owner)?;
        let target = Url::parse(&self.url).ok()?.join(&owner.action).ok();
        target.filter(|_| owner.method.eq_ignore_ascii_case("post"))
    }

    /// Whether it asks for name and password, and not for a new one.
    pub(super) fn shows_login(&self) -> bool {
        form::find_login(&self.forms(), &[])
            .is_some_and(|login| login.user.is_some() && !login.asks_for_new_password())
    }

    /// Whether a field takes only what is a mail address.
    pub(super) fn wants_mail(&self, element: usize) -> bool {
        let control = self.fields.get(element);
        control.is_some_and(|control| control.input_type == "email")
    }

    /// What it wants, by the scenario's selectors first, and by what it means else. `names` are those of the fields that the scenario
    /// fills.
    pub(super) fn wants(&self, names: &[&str]) -> Wants {
        let named = &self.named;
        if let Some(button) = named.consent {
            return Wants::Consent(Task {
                click: Some(button),
                ..Task::default()
            });
        }
        let placed = self.placed();
        let forms: Vec<Form> = placed.iter().map(|placed| placed.form.clone()).collect();
        let named_form = || form::find_with(&forms, names);
        let found = match form::find_login(&forms, &[]) {
            Some(login) => form::find_login(&forms, names)
                .or_else(named_form)
                .or(Some(login)),
            None => form::find_identifier(&forms).or_else(named_form),
        };
        let task = found.as_ref().map(|login| self.task(login, &placed, names));
        if named.user.is_some() || named.password.is_some() {
            let everywhere = || Task {
                given: self.given(&(0..self.fields.len()).collect::<Vec<_>>(), names),
                ..Task::default()
            };
            let by_meaning = task.unwrap_or_else(everywhere);
            return Wants::Credentials(Task {
                user: named.user.or(by_meaning.user),
                password: named.password.or(by_meaning.password),
                click: named.submit.or(by_meaning.click),
                ..by_meaning
            });
        }
        if let Some(task) = task {
            return Wants::Credentials(Task {
                click: named.submit.or(task.click),
                ..task
            });
        }
        if let Some(consent) = form::find_consent(&forms)
            && let Some(placed) = placed
                .iter()
                .find(|placed| is_same(&placed.form, &consent.form))
        {
            return Wants::Consent(Task {
                click: Some(placed.elements[consent.button]),
                tick: self.ticks(placed),
                ..Task::default()
            });
        }
        Wants::Nothing
    }

    /// A login's fields as elements, with the button that sends them.
    fn task(&self, login: &Login, placed: &[Placed], names: &[&str]) -> Task {
        let Some(placed) = placed
            .iter()
            .find(|placed| is_same(&placed.form, &login.form))
        else {
            return Task::default();
        };
        let element = |field: Option<usize>| field.map(|at| placed.elements[at]);
        Task {
            user: element(login.user),
            password: element(login.password),
            given: self.given(&placed.elements, names),
            tick: self.ticks(placed),
            click: self.button(placed),
        }
    }

    /// Which of these elements take what the scenario gives, by their names.
    fn given(&self, elements: &[usize], names: &[&str]) -> Vec<(usize, usize)> {
        let placed = names.iter().enumerate().filter_map(|(number, name)| {
            let mut elements = elements.iter();
            let named = elements.find(|at| self.fields[**at].name == *name)?;
            Some((*named, number))
        });
        placed.collect()
    }

    /// Boxes that have to be ticked.
    fn ticks(&self, placed: &Placed) -> Vec<usize> {
        let elements = placed.elements.iter().copied();
        elements
            .filter(|at| {
                let control = &self.fields[*at];
                control.kind == "checkbox" && control.required && !control.on
            })
            .collect()
    }

    /// The button that sends a form: its own, else the one that says so. Without one the Enter key has to do.
    fn button(&self, placed: &Placed) -> Option<usize> {
        let buttons = placed
            .form
            .fields
            .iter()
            .zip(&placed.elements)
            .filter(|(field, _)| field.kind == FieldKind::Submit);
        let scored = buttons.filter_map(|(field, at)| {
            let submits = self.fields[*at].submits;
            let score = form::sends(field);
            // A form's own button may say anything but the contrary; another one has to say it.
            let score = match (submits, score) {
                (_, form::Sends::No) => return None,
                (true, form::Sends::Yes) => 3,
                (false, form::Sends::Yes) => 2,
                (true, form::Sends::Perhaps) => 1,
                (false, form::Sends::Perhaps) => return None,
            };
            Some((score, *at))
        });
        // The first of equals.
        scored
            .max_by_key(|(score, at)| (*score, std::cmp::Reverse(*at)))
            .map(|(_, at)| at)
    }

    /// The page's forms, and what is in none as one more.
    fn placed(&self) -> Vec<Placed> {
        let base = Url::parse(&self.url).ok();
        let owners = std::iter::once(-1).chain(0..i64::try_from(self.forms.len()).unwrap_or(0));
        let mut all = Vec::new();
        for owner in owners {
            let mut fields = Vec::new();
            let mut elements = Vec::new();
            for (at, control) in self.fields.iter().enumerate() {
                if control.form == owner {
                    fields.push(control.field(at));
                    elements.push(at);
                }
            }
            if fields.is_empty() {
                continue;
            }
            let action = usize::try_from(owner)
                .ok()
                .and_then(|owner| self.forms.get(owner));
            let action = action.map_or(String::new(), |owner| owner.action.clone());
            let target = base.as_ref().and_then(|base| base.join(&action).ok());
            all.push(Placed {
                form: Form {
                    action,
                    target,
                    method: FormMethod::Post,
                    multipart: false,
                    // Only what is shown was collected; and scripts are no hindrance here.
                    hidden: false,
                    scripted: false,
                    fields,
                },
                elements,
            });
        }
        all
    }
}

/// Fields are named by their elements' numbers.
fn is_same(form: &Form, other: &Form) -> bool {
    let keys = |form: &Form| {
        form.fields
            .iter()
            .map(|field| field.value.clone())
            .collect::<Vec<_>>()
    };
    keys(form) == keys(other) && form.action == other.action
}

impl Control {
    fn field(&self, at: usize) -> Field {
        let kind = match &*self.kind {
            "password" => FieldKind::Password,
            "checkbox" => FieldKind::Checkbox { on: self.on },
            "radio" => FieldKind::Radio { on: self.on },
            "select" => FieldKind::Select,
            "hidden" => FieldKind::Hidden,
            "button" => FieldKind::Submit,
            _ => FieldKind::Text,
        };
        // Whoever drives a page by script needs no names.
        let name = [&self.name, &self.id]
            .into_iter()
            .find(|name| !name.is_empty());
        let named = name.cloned().unwrap_or_else(|| match kind {
            FieldKind::Submit => String::new(),
            _ => self.label.clone(),
        });
        let name = match (&*named, kind) {
            ("", FieldKind::Submit) => named,
            ("", _) => format!("field{at}"),
            _ => named,
        };
        Field {
            name,
            id: self.id.clone(),
            // A button's is among its words. Other fields' are none of ours, and their place serves to know forms by.
            value: if kind == FieldKind::Submit {
                self.value.clone()
            } else {
                format!("{at} {}", self.filled)
            },
            kind,
            label: self.label.clone(),
            input_type: if self.kind == "text" {
                self.input_type.clone()
            } else {
                String::new()
            },
            autocomplete: self.autocomplete.clone(),
            required: self.required,
            form_action: None,
            form_method: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn control(form: i64, kind: &str, input_type: &str, name: &str, label: &str) -> Value {
        json!({ "form": form, "kind": kind, "type": input_type, "name": name, "id": "", "autocomplete": "", "label": label,
                "value": "", "required": false, "on": false, "filled": false, "submits": kind == "button" && input_type == "submit" && form >= 0 })
    }

    fn look(forms: usize, fields: &[Value]) -> Look {
        let forms = vec![json!({ "action": "" }); forms];
        let look = json!({ "url": "http://h/login", "ready": "complete", "forms": forms, "fields": fields });
        serde_json::from_value(look).unwrap()
    }

    fn credentials(user: Option<usize>, password: Option<usize>, click: Option<usize>) -> Wants {
        Wants::Credentials(Task {
            user,
            password,
            click,
            ..Task::default()
        })
    }

    #[test]
    fn logins_are_found_in_forms_and_outside_of_them() {
        let search = control(0, "text", "search", "q", "Search");
        let form = [
            search.clone(),
            control(0, "button", "submit", "", "Search"),
            control(1, "text", "text", "login", "Name"),
            control(1, "password", "password", "pw", ""),
            control(1, "button", "button", "", "Show password"),
            control(1, "button", "button", "", "Continue with Google"),
            control(1, "button", "submit", "", "Go"),
        ];
        assert_eq!(
            look(2, &form).wants(&[]),
            credentials(Some(2), Some(3), Some(6))
        );
        // A script's page has no form, no names and no button that submits.
        let scripted = [
            control(-1, "text", "email", "", "Your email"),
            control(-1, "password", "password", "", "Your password"),
            control(-1, "button", "button", "", "Forgot password?"),
            control(-1, "button", "button", "", "Sign in"),
        ];
        assert_eq!(
            look(0, &scripted).wants(&[]),
            credentials(Some(0), Some(1), Some(3))
        );
        let no_button = [control(0, "password", "password", "password", "")];
        assert_eq!(
            look(1, &no_button).wants(&[]),
            credentials(None, Some(0), None)
        );
        let first_page = [
            control(0, "text", "text", "username", "User name"),
            control(0, "button", "submit", "", "Next"),
        ];
        let wants = look(1, &first_page).wants(&[]);
        assert_eq!(wants, credentials(Some(0), None, Some(1)));
    }

    #[test]
    fn consents_are_found_and_refusals_not_pressed() {
        let consent = [
            control(-1, "checkbox", "checkbox", "", "openid"),
            control(-1, "button", "submit", "", "Deny"),
            control(-1, "button", "submit", "", "Yes, let it"),
        ];
        let wants = look(0, &consent).wants(&[]);
        assert!(matches!(wants, Wants::Consent(task) if task.click == Some(2)));
        let other = [control(-1, "button", "submit", "", "Log out")];
        assert_eq!(look(0, &other).wants(&[]), Wants::Nothing);
    }

    #[test]
    fn selectors_beat_meaning() {
        let mut page = look(
            1,
            &[
                control(0, "text", "text", "username", ""),
                control(0, "text", "text", "member", ""),
                control(0, "password", "password", "pw", ""),
                control(0, "button", "submit", "", "OK"),
            ],
        );
        page.named = Named {
            user: Some(1),
            ..Named::default()
        };
        assert_eq!(page.wants(&[]), credentials(Some(1), Some(2), Some(3)));
        page.named.consent = Some(3);
        assert!(matches!(page.wants(&[]), Wants::Consent(_)));
    }

    #[test]
    fn captchas_are_seen() {
        let mut page = look(0, &[]);
        assert_eq!(page.captcha(), None);
        page.captchas = serde_json::from_value(
            json!([{ "names": ["logo.png"] }, { "classes": ["x", "h-captcha"] }]),
        )
        .unwrap();
        assert_eq!(page.captcha(), Some("hCaptcha"));
    }
}
