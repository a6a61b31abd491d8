//! Forms that the scenario names: a login whose session is the cookies, and a registration.
//!
//! Both walk as an OAuth login does (`walk`) and read pages with the same eyes (`crate::pages`); what differs is
//! where they begin, and how is known that they have arrived.

use std::time::{Duration, Instant};

use http::StatusCode;
use regex::Regex;
use throng_client::Exchange;
use throng_client::cookies::{Jar, Snapshot};
use url::Url;

use super::DEFAULT_MAX_HOPS;
use super::LoginDriver;
use super::answer::{Answers, check_required, keeps_safe, place};
use super::error::{Failure, LOGIN_FORM, LoginError, Problem};
use super::walk::{Limits, Purpose, Step, Walk, Walker};
use crate::hooks::{self, Hook, HookError, Values};
use crate::pages::form::{self, Form};
use crate::pages::trouble::says_locked;
use crate::pages::{self, Document, Page, registration};
use crate::retry::RetryPolicy;
use crate::secret::Secret;

/// A page with a form. Its texts have the placeholders of a [`Hook`].
#[derive(Debug, Clone)]
pub struct FormPage {
    /// What it is called in messages.
    pub name: String,
    /// Absolute http(s) address of the page.
    pub page: String,
    /// What goes into which field, by the field's name; the others are found by what they are for.
    pub fields: Vec<(String, String)>,
}

/// How users log in by a form. Shared, never changed.
#[derive(Debug, Clone)]
pub struct FormLogin {
    /// The page.
    pub form: FormPage,
    /// A request that succeeds only for whoever is logged in; where there is none, it is enough that the form is gone.
    pub logged_in: Option<Hook>,
    /// Who passes the page.
    pub driver: LoginDriver,
    /// Time allowed for each hop.
    pub timeout: Duration,
    /// Attempts and time for one user's login.
    pub retry: RetryPolicy,
}

/// How users register by a form.
#[derive(Debug, Clone)]
pub struct FormRegistration {
    /// The page.
    pub form: FormPage,
    /// What answers for a user who is there already matches this, whatever its status.
    pub exists: Option<Regex>,
}

/// What a registration came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Registered {
    /// There is such a user now.
    Made,
    /// There was one.
    Exists,
    /// The page that came is neither a refusal nor a proof: sites say "closed" and "taken" with a 200, too.
    Unproven {
        /// What the page said, without secrets.
        said: String,
        /// It reads like one for a user who is there already.
        exists: bool,
        /// It led away from the form, to a page that doesn't.
        likely: bool,
    },
}

impl FormPage {
    /// Address and fields for one user.
    pub(crate) fn filled(
        &self,
        values: &Values,
    ) -> Result<(Url, Vec<(String, Secret)>), HookError> {
        let url = hooks::fill_url(&self.name, &self.page, values)?;
        let fields = self.fields.iter().map(|(field, template)| {
            let value = hooks::fill_text(&self.name, template, values)?;
            Ok((field.clone(), Secret::new(value)))
        });
        Ok((url, fields.collect::<Result<_, HookError>>()?))
    }
}

/// Those of a form's values that may be keys: not who the user is, and nothing short, which may stand anywhere.
fn secret_fields(fields: &[(String, Secret)], values: &Values) -> Vec<Secret> {
    const SHORTEST: usize = 8;
    let known = ["name", "display_name", "email"].map(|key| values.get(key).map(Secret::expose));
    let fields = fields.iter().map(|(_, value)| value);
    fields
        .filter(|value| value.expose().len() >= SHORTEST && !known.contains(&Some(value.expose())))
        .cloned()
        .collect()
}

impl Limits {
    pub(super) fn of_form(timeout: Duration) -> Self {
        Self {
            timeout,
            max_hops: DEFAULT_MAX_HOPS,
        }
    }
}

/// A login for one user.
#[derive(Clone, Copy)]
pub(super) struct Visitor<'a> {
    pub(super) login: &'a FormLogin,
    pub(super) values: &'a Values,
    /// The page.
    pub(super) url: &'a Url,
    /// What the scenario puts into which field.
    pub(super) fields: &'a [(String, Secret)],
}

impl<'a> Visitor<'a> {
    /// What a field for a mail address takes.
    pub(super) fn email(&self) -> Option<&'a str> {
        self.values.get("email").map(Secret::expose)
    }
}

/// One attempt at a login, in its way.
pub(super) async fn attempt(
    walk: &mut Walk<'_>,
    login: &FormLogin,
    values: &Values,
) -> Result<(), Failure> {
    let (url, fields) = login.form.filled(values).map_err(Problem::declared)?;
    walk.hidden = secret_fields(&fields, values);
    let visitor = Visitor {
        login,
        values,
        url: &url,
        fields: &fields,
    };
    let pilot = match login.driver.at_once() {
        Some(pilot) => pilot,
        None => match by_http(walk, visitor).await {
            Ok(()) => return Ok(()),
            Err(failure) => login.driver.instead(failure)?,
        },
    };
    walk.ride_to_session(pilot, visitor).await
}

/// An attempt over plain HTTP. Arrived means: the password was sent, its form did not come back, and there is a cookie of it; or
/// that the request which only whoever is logged in may make succeeds.
async fn by_http(walk: &mut Walk<'_>, visitor: Visitor<'_>) -> Result<(), Failure> {
    let fields = visitor.fields;
    let budget = visitor.login.retry.budget;
    let mut answers =
        Answers::new(walk.user, walk.password, budget).with_fields(fields, visitor.email());
    let mut step = Step::get(Purpose::Page, visitor.url.clone());
    // The form that the password went into, and the cookies before it.
    let mut sent: Option<(Form, Option<Snapshot>)> = None;
    let landing = loop {
        let exchange = walk.send(&step).await?;
        if let Some(next) = walk.redirected(&step, &exchange)? {
            step = next;
            continue;
        }
        walk.check_challenge(&exchange)?;
        walk.check_status(&exchange)?;
        let html = String::from_utf8_lossy(&exchange.body);
        let page = pages::read(&step.url, &html);
        let next = if answers.sent_password() {
            match page {
                // Nextcloud's page says itself what is wrong with it.
                Page::NextcloudLogin(_) | Page::AutoSubmit(..) => page,
                // The session may come with what it leads to; a page that shows itself anew leads nowhere.
                Page::Refresh(ref to) if leads_elsewhere(&step.url, to) => page,
                _ => {
                    let document = Document::parse(&step.url, &html);
                    let form = sent.as_ref().map(|(form, _)| form);
                    let landing = land(walk, &page, &document, form)?;
                    walk.let_in(&step, &exchange, &document)?;
                    break landing;
                }
            }
        } else {
            login_page(walk, page, &step, &exchange, fields)?
        };
        walk.taken_for(&next);
        let form = match &next {
            Page::Login(_, login) | Page::Identifier(_, login) => Some(login.form.clone()),
            _ => None,
        };
        step = answers.answer(&step.url, next, &exchange).await?;
        if answers.sent_password()
            && sent.is_none()
            && let Some(form) = form
        {
            sent = Some((form, walk.client.cookies().map(Jar::snapshot)));
        }
    };
    let before = sent.and_then(|(_, before)| before);
    check_session(walk, visitor, landing, before).await
}

/// Where the password led to.
struct Landing {
    /// What the page says.
    said: String,
    /// What an arrival at another login form is, unless the probe says that all is well.
    doubt: Option<Failure>,
}

/// Looks at the page that came after the password. Fails where that is the form once more.
fn land(
    walk: &Walk<'_>,
    page: &Page,
    document: &Document,
    sent: Option<&Form>,
) -> Result<Landing, Failure> {
    let said = document.says();
    let refused = || walk.saying(Problem::refused(&said), &said);
    let mut shown = document.forms.iter().filter(|form| !form.hidden);
    if sent.is_some_and(|sent| shown.any(|form| is_same(form, sent))) {
        return Err(refused());
    }
    // A password alone may be asked for whoever is logged in: to delete the account, or to change it.
    let doubt = match page {
        Page::Login(_, login) if login.user.is_some() && !login.asks_for_new_password() => {
            Some(refused())
        }
        _ => None,
    };
    Ok(Landing { said, doubt })
}

/// Makes sure that the cookies are a session.
async fn check_session(
    walk: &Walk<'_>,
    visitor: Visitor<'_>,
    landing: Landing,
    before: Option<Snapshot>,
) -> Result<(), Failure> {
    let Landing { said, doubt } = landing;
    let Visitor { login, values, .. } = visitor;
    let jar = walk.client.cookies();
    if jar.is_none_or(Jar::is_empty) {
        return Err(doubt.unwrap_or_else(|| walk.no_cookie(login, &said)));
    }
    let Some(probe) = &login.logged_in else {
        let gained = jar
            .zip(before)
            .is_none_or(|(jar, before)| jar.gained_since(&before));
        return match doubt {
            Some(refused) => Err(refused),
            // A cookie that every visitor gets says nothing.
            None if !gained => Err(walk.no_cookie(login, &said)),
            None => Ok(()),
        };
    };
    let held = holds(walk, probe, values, login.timeout).await;
    held.map_err(|failure| match failure.problem {
        Problem::NotLoggedIn(_) => doubt.unwrap_or_else(|| walk.saying(failure.problem, &said)),
        _ => failure,
    })
}

/// Whether a refresh goes to another page.
fn leads_elsewhere(page: &Url, to: &Url) -> bool {
    let place = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    place(page) != place(to)
}

/// The page as one that takes a user's name or password, by the scenario's fields or by what it is.
fn login_page(
    walk: &Walk<'_>,
    page: Page,
    step: &Step,
    exchange: &Exchange,
    fields: &[(String, Secret)],
) -> Result<Page, Failure> {
    let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    match page {
        Page::Login(document, login) => {
            let named = form::find_login(&document.forms, &names)
                .or_else(|| form::find_with(&document.forms, &names));
            return Ok(Page::Login(document, named.unwrap_or(login)));
        }
        Page::Identifier(..)
        | Page::NextcloudLogin(_)
        | Page::AutoSubmit(..)
        | Page::Refresh(_) => return Ok(page),
        _ => {}
    }
    let document = Document::parse(&step.url, &String::from_utf8_lossy(&exchange.body));
    match form::find_with(&document.forms, &names) {
        Some(login) => Ok(Page::Login(document, login)),
        None => Err(walk.no_form(LOGIN_FORM, exchange, &document)),
    }
}

/// Makes sure that whoever logged in is.
pub(super) async fn holds(
    walk: &Walk<'_>,
    probe: &Hook,
    values: &Values,
    timeout: Duration,
) -> Result<(), Failure> {
    let answer = hooks::attempt(probe, walk.client, values, timeout)
        .await
        .map_err(Problem::declared)?;
    if probe.expects(answer.status) {
        return Ok(());
    }
    let error = hooks::refused(probe, &answer, values).map_err(Problem::declared)?;
    Err(Problem::NotLoggedIn(Box::new(error)).into())
}

/// Registers a user, in one attempt. `client` has a cookie jar of its own: the form's token is bound to a cookie.
pub(crate) async fn register(
    registration: &FormRegistration,
    walker: Walker<'_>,
    values: &Values,
    timeout: Duration,
) -> Result<Registered, LoginError> {
    let started = Instant::now();
    let mut walk = Walk::new(walker, Limits::of_form(timeout), None, 1, started);
    let result = send_registration(&mut walk, registration, values).await;
    result.map_err(|failure| {
        let (at, hops) = (walk.at(), std::mem::take(&mut walk.hops));
        LoginError::new(walker.user, at, failure, 1, hops)
    })
}

async fn send_registration(
    walk: &mut Walk<'_>,
    registration: &FormRegistration,
    values: &Values,
) -> Result<Registered, Failure> {
    let (url, fields) = registration
        .form
        .filled(values)
        .map_err(Problem::declared)?;
    walk.hidden = secret_fields(&fields, values);
    let (step, exchange) = walk.arrive(Step::get(Purpose::Page, url)).await?;
    let document = Document::parse(&step.url, &String::from_utf8_lossy(&exchange.body));
    let wanted: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    let found = registration::find(&document.forms, &wanted)
        .ok_or_else(|| walk.no_form("registration form", &exchange, &document))?;
    let mut filled: Vec<(usize, &str)> = Vec::new();
    let mail = values.get("email").map_or("", Secret::expose);
    filled.extend(found.user.map(|at| (at, walk.user)));
    filled.extend(found.email.map(|at| (at, mail)));
    let password = walk.password.expose();
    filled.extend(found.passwords.iter().map(|at| (*at, password)));
    let mut placed = vec![false; fields.len()];
    place(&found.form, &fields, &mut placed, &mut filled);
    if let Some(((name, _), _)) = fields.iter().zip(&placed).find(|(_, placed)| !**placed) {
        let known = found.form.names().join(", ");
        let name = name.clone();
        return Err(Problem::Field { name, known }.into());
    }
    check_required(&found.form, &filled)?;
    let submission = found.form.submit(&filled, found.button);
    if let Some(submission) = &submission {
        keeps_safe(&step.url, submission)?;
    }
    let step = Answers::submitted(&step.url, Purpose::Credentials, submission)?;
    let (step, exchange) = walk.arrive(step).await?;
    let html = String::from_utf8_lossy(&exchange.body);
    let document = Document::parse(&step.url, &html);
    let again = document.forms.iter().any(|form| is_same(form, &found.form));
    let matches = |exists: &Regex| exists.is_match(&html);
    let exists = registration.exists.as_ref().is_some_and(matches);
    // A page further on, or one without the form, may have the words for another reason: "Already have an account?"
    let refused = again || exchange.status.is_client_error();
    if exists && refused && step.purpose == Purpose::Credentials {
        return Ok(Registered::Exists);
    }
    if !exists {
        if again {
            return Err(walk.saying(Problem::Again, &document.says()));
        }
        walk.let_in(&step, &exchange, &document)?;
    }
    let said = crate::redact::text(&document.says(), &walk.secrets());
    let likely = step.purpose == Purpose::Follow && registration.exists.is_some() && !exists;
    Ok(Registered::Unproven {
        said,
        exists,
        likely,
    })
}

/// Whether a form is the other once more: it asks for the same, and sends it to the same place. Login forms may ask for what
/// registrations do.
pub(super) fn is_same(form: &Form, other: &Form) -> bool {
    let place = |form: &Form| {
        let target = form.target.as_ref()?;
        // A query may count the attempts.
        Some((target.origin(), target.path().to_owned()))
    };
    form.names() == other.names() && place(form) == place(other)
}

impl Walk<'_> {
    /// Follows redirects to a page.
    async fn arrive(&mut self, mut step: Step) -> Result<(Step, Exchange), Failure> {
        loop {
            let exchange = self.send(&step).await?;
            match self.redirected(&step, &exchange)? {
                Some(next) => step = next,
                None => {
                    self.check_status(&exchange)?;
                    return Ok((step, exchange));
                }
            }
        }
    }

    /// Whether the answer to a form, or what it led to, says that all is well. A page further on may well be missing: many
    /// applications lead to one that nobody made.
    fn let_in(&self, step: &Step, exchange: &Exchange, page: &Document) -> Result<(), Failure> {
        let status = exchange.status;
        let shut_out = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if status.is_success() || (step.purpose == Purpose::Follow && !shut_out) {
            return Ok(());
        }
        Err(self.saying(shut_out_by(status, &page.says()), &page.says()))
    }

    /// That a login brought no cookie, on a page that says so much.
    pub(super) fn no_cookie(&self, login: &FormLogin, said: &str) -> Failure {
        let proven = login.logged_in.is_some();
        self.saying(Problem::NoCookie { proven }, said)
    }

    fn no_form(&self, wanted: &'static str, exchange: &Exchange, page: &Document) -> Failure {
        let status = exchange.status;
        let problem = if status.is_success() {
            Problem::NoForm {
                wanted,
                title: crate::redact::text(&page.title, &self.secrets()),
                found: found(&page.forms),
                needs_script: page.needs_script,
            }
        } else {
            let expected = "the page with the form";
            Problem::Status { expected, status }
        };
        self.saying(problem, &page.says())
    }

    fn saying(&self, problem: Problem, said: &str) -> Failure {
        Failure::saying(problem, said, &self.secrets())
    }
}

/// What an answer of this status to a form is, with a page that says so much.
pub(super) fn shut_out_by(status: StatusCode, said: &str) -> Problem {
    if says_locked(said) {
        return Problem::Locked;
    }
    Problem::Status {
        expected: "the form to be accepted",
        status,
    }
}

/// The forms of a page, in words.
pub(super) fn found(forms: &[Form]) -> String {
    let shown: Vec<String> = forms
        .iter()
        .filter(|form| !form.hidden)
        .map(|form| match form.names().join(", ") {
            names if names.is_empty() => "a form without fields".to_owned(),
            names => format!("a form with {names}"),
        })
        .collect();
    if shown.is_empty() {
        "no form".to_owned()
    } else {
        crate::redact::text(&shown.join("; "), &[])
    }
}
