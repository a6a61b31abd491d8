//! What is done on a page, and when it is time to.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use throng_browser::Cookie;
use url::Url;

use super::look::{Look, Task, Wants};
use super::pilot::problem;
use super::ride::Ride;
use crate::login::error::{Failure, LOGIN_FORM, Problem};
use crate::login::form::{found, is_same};
use crate::login::walk::{PageKind, Purpose};
use crate::pages::form::Form;
use crate::pages::trouble::says_locked;
use crate::redact;
use crate::secret::Secret;

/// The script that fills in and presses.
const ACT: &str = include_str!("act.js");

/// How long a page that is there may wait for the rest of itself before it is answered, in milliseconds.
const HALF_LOADED: f64 = 2_000.0;
/// For how long nothing may happen on a page that is there and wants nothing that can be made out.
pub(super) const UNKNOWN_LIMIT: Duration = Duration::from_secs(6);
/// For how long a page may stay as it is after it was answered.
const STUCK_LIMIT: Duration = Duration::from_secs(15);
/// For how long nothing may have been requested before a message on a page that was answered is taken for the outcome.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// The same where the browser doesn't tell of requests.
pub(super) const QUIET_UNTOLD: Duration = Duration::from_secs(2);
/// Consents given in one login; more are a loop.
const CONSENTS: u32 = 5;
/// The keys of the selectors that a page which asks for name and password has.
const PAGE: [&str; 3] = ["user", "password", "submit"];
/// What was done when a consent was given.
const CONSENT: &str = "consent was given";

/// What came of a look at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was given what it wants.
    Given,
    /// It is too early to say anything.
    Waits,
    /// It wants nothing: it is not one of a login, or one after it.
    Rests,
}

/// What was sent so far.
#[derive(Default)]
pub(super) struct Answered {
    user: bool,
    pub(super) password: bool,
    /// How often a page was answered.
    pub(super) number: u32,
    consented: u32,
    /// What was done last.
    what: &'static str,
    /// The messages that the page had before, and how many dialogs it had shown.
    errors: Vec<String>,
    dialogs: usize,
    /// Where the form that was sent last goes by POST.
    pub(super) posted_to: Option<Url>,
    /// The keys of the scenario's selectors that found something, on whichever page.
    named: Vec<&'static str>,
}

/// What only a login by the scenario's form has.
pub(super) struct Filling<'w> {
    /// What the scenario puts into which field.
    fields: &'w [(String, Secret)],
    /// Which of them found their place.
    placed: Vec<bool>,
    /// What a field for a mail address takes.
    email: Option<&'w str>,
    /// The form that the password went into.
    sent: Option<Form>,
    /// The cookies before that.
    pub(super) before: Vec<Cookie>,
}

impl<'w> Filling<'w> {
    pub(super) fn new(fields: &'w [(String, Secret)], email: Option<&'w str>) -> Self {
        Self {
            fields,
            placed: vec![false; fields.len()],
            email,
            sent: None,
            before: Vec::new(),
        }
    }
}

impl<'w> Ride<'w, '_> {
    /// The names of the fields that the scenario fills.
    pub(super) fn names(&self) -> Vec<&'w str> {
        let fields = self.filling.as_ref().map_or(&[][..], |form| form.fields);
        fields.iter().map(|(name, _)| &**name).collect()
    }

    /// Does what the page wants, if it is time to.
    pub(super) async fn answer(&mut self, look: &Look) -> Result<Answer, Failure> {
        self.note_named(look)?;
        if !look.is_parsed() {
            return Ok(Answer::Waits);
        }
        let waited = self.waited();
        if look.challenge {
            let status = self.status_of(look);
            let problem = Problem::Challenge {
                status,
                stayed: true,
            };
            return match waited > UNKNOWN_LIMIT * 2 {
                true => Err(self.saying(problem, look)),
                false => Ok(Answer::Waits),
            };
        }
        if !look.is_complete() && look.age <= HALF_LOADED {
            return Ok(Answer::Waits);
        }
        if self.is_past(look) {
            return Ok(Answer::Rests);
        }
        let wants = look.wants(&self.names());
        // What was done on this very page may still be at work.
        let same = self.is_answered(look);
        let at_work = same && !self.has_answered(look, waited);
        // Before the captcha that some sites add to a form which they show again.
        if let Wants::Credentials(task) = &wants
            && self.asks_again(task)
            && !at_work
        {
            return Err(self.refused(task, look));
        }
        if let Some(kind) = look
            .captcha()
            .filter(|_| !matches!(wants, Wants::Consent(_)))
        {
            return Err(self.saying(Problem::Captcha { kind }, look));
        }
        match wants {
            Wants::Credentials(task) if self.asks_again(&task) => self.unless_stuck(waited),
            Wants::Credentials(task) => match self.lacks(&task) {
                None => self.fill(look, task).await,
                // A script may still be about to make it.
                Some(_) if waited < UNKNOWN_LIMIT => Ok(Answer::Waits),
                Some(problem) => Err(self.saying(problem, look)),
            },
            Wants::Consent(_) if same && self.answered.what == CONSENT => self.unless_stuck(waited),
            Wants::Consent(_) if self.answered.consented >= CONSENTS => {
                Err(self.saying(Problem::TooManyPages(CONSENTS), look))
            }
            Wants::Consent(task) => self.consent(look, task).await,
            Wants::Nothing => Ok(Answer::Rests),
        }
    }

    /// Whether it was on this very page that something was done last.
    pub(super) fn is_answered(&self, look: &Look) -> bool {
        self.answered.number > 0 && look.acted == self.answered.number
    }

    /// Whether the scenario's form has the password and is gone, so that whatever is there now comes after the login.
    pub(super) fn is_past(&self, look: &Look) -> bool {
        let Some(filling) = self.filling.as_ref().filter(|_| self.answered.password) else {
            return false;
        };
        // A button that the scenario names is pressed wherever it is.
        look.named.consent.is_none()
            && match &filling.sent {
                Some(sent) => !look.forms().iter().any(|form| is_same(form, sent)),
                None => !matches!(look.wants(&self.names()), Wants::Credentials(_)),
            }
    }

    /// Fails on a page that wants nothing and leads nowhere, once that is certain.
    pub(super) fn check_lost(&self, look: &Look) -> Result<(), Failure> {
        let waited = self.waited();
        if self.is_answered(look) {
            return self.unless_stuck(waited).map(|_| ());
        }
        match waited > UNKNOWN_LIMIT && self.is_quiet() {
            true => Err(self.unknown(look)),
            false => Ok(()),
        }
    }

    /// A form for what was sent already.
    fn asks_again(&self, task: &Task) -> bool {
        match task.has_password() {
            true => self.answered.password,
            false => self.answered.user,
        }
    }

    /// Whether a page that stayed after it was answered has given its own answer: a message that wasn't there before, or a dialog.
    fn has_answered(&self, look: &Look, waited: Duration) -> bool {
        let new = look
            .errors()
            .iter()
            .any(|error| !self.answered.errors.contains(error))
            || self.tab.dialogs().len() > self.answered.dialogs;
        let quiet = if self.tab.tells_all() {
            QUIET
        } else {
            QUIET_UNTOLD
        };
        new && waited >= quiet && self.is_quiet()
    }

    /// Nothing has been requested for a while, as far as the browser tells.
    pub(super) fn is_quiet(&self) -> bool {
        !self.tab.tells_all() || self.tab.quiet_for().is_some_and(|quiet| quiet >= QUIET)
    }

    fn unless_stuck(&self, waited: Duration) -> Result<Answer, Failure> {
        if waited < STUCK_LIMIT || !self.is_quiet() {
            return Ok(Answer::Waits);
        }
        let problem = self.missing(&PAGE).unwrap_or(Problem::Stuck {
            after: self.answered.what,
            waited: STUCK_LIMIT,
        });
        let says = self.page.as_ref().map_or("", |page| &page.says);
        Err(Failure::saying(problem, says, &self.walk.secrets()))
    }

    fn refused(&self, task: &Task, look: &Look) -> Failure {
        if task.has_password() {
            return self.refusal(look);
        }
        let problem = self.missing(&PAGE).unwrap_or(Problem::NameAgain);
        Failure::saying(problem, &self.heard(look), &self.walk.secrets())
    }

    /// That the credentials were refused, in the words of a page that says so.
    pub(super) fn refusal(&self, look: &Look) -> Failure {
        let heard = self.heard(look);
        Failure::saying(Problem::refused(&heard), &heard, &self.walk.secrets())
    }

    /// What the page says, and its dialogs did.
    fn heard(&self, look: &Look) -> String {
        let mut said = look.says();
        for dialog in self.tab.dialogs() {
            said = format!("{said}; {dialog}");
        }
        said
    }

    fn unknown(&self, look: &Look) -> Failure {
        let status = self.status_of(look);
        if let Some(problem) = broken(status) {
            return self.saying(problem, look);
        }
        let keys: &[_] = match self.answered.password {
            true => &["consent"],
            false => &PAGE,
        };
        let problem = if self.answered.password && says_locked(&look.says()) {
            Problem::Locked
        } else if status.is_client_error() {
            Problem::Status {
                expected: "a page or a redirect",
                status,
            }
        } else if let Some(missing) = self.missing(keys) {
            missing
        } else if self.filling.is_some() {
            Problem::NoForm {
                wanted: LOGIN_FORM,
                title: redact::text(&look.title, &self.walk.secrets()),
                found: found(&look.forms()),
                needs_script: false,
            }
        } else {
            Problem::Page {
                needs_script: false,
            }
        };
        self.saying(problem, look)
    }

    pub(super) fn saying(&self, problem: Problem, look: &Look) -> Failure {
        Failure::saying(problem, &look.says(), &self.walk.secrets())
    }

    /// Notes which of the scenario's selectors found something. Fails where one is none.
    fn note_named(&mut self, look: &Look) -> Result<(), Failure> {
        for (key, selector) in self.pilot.options.selectors.by_key() {
            if let (true, Some(selector)) = (look.bad.as_deref() == Some(key), selector) {
                let selector = selector.to_owned();
                return Err(Problem::NoSelector { key, selector }.into());
            }
            if look.named.has(key) && !self.answered.named.contains(&key) {
                self.answered.named.push(key);
            }
        }
        Ok(())
    }

    /// The first of these selectors that is given and has found nothing on any page.
    fn missing(&self, keys: &[&str]) -> Option<Problem> {
        let given = self.pilot.options.selectors.by_key().into_iter();
        let mut missing = given.filter_map(|(key, selector)| {
            let selector = selector?.to_owned();
            let is_missing = keys.contains(&key) && !self.answered.named.contains(&key);
            is_missing.then_some(Problem::Selector { key, selector })
        });
        missing.next()
    }

    /// What a page has not that it can't be answered without, though the scenario names it: where to put the name that goes with
    /// the password, or what to press. The password may be asked for later.
    fn lacks(&self, task: &Task) -> Option<Problem> {
        let nameless = task.password.is_some() && task.user.is_none() && !self.answered.user;
        let user = nameless.then(|| self.missing(&["user"])).flatten();
        user.or_else(|| match task.click {
            Some(_) => None,
            None => self.missing(&["submit"]),
        })
    }

    /// Fills in user name, password, both or what the scenario says, and sends it.
    async fn fill(&mut self, look: &Look, task: Task) -> Result<Answer, Failure> {
        let form = look.form_with(&task);
        if let (true, Some(form)) = (task.has_password(), &form) {
            check_safe(look, form)?;
        }
        let mut fill = Vec::new();
        fill.extend(task.user.map(|at| (at, self.name_for(look, at))));
        let password = self.walk.password.expose();
        fill.extend(task.password.map(|at| (at, password)));
        if let Some(filling) = &mut self.filling {
            for (element, field) in &task.given {
                fill.retain(|(other, _)| other != element);
                fill.push((*element, filling.fields[*field].1.expose()));
                filling.placed[*field] = true;
            }
            let missing = filling.fields.iter().zip(&filling.placed);
            let mut missing = missing.filter(|(_, placed)| !**placed);
            if let Some(((name, _), _)) = missing.next().filter(|_| task.has_password()) {
                let known = form.as_ref().map(|form| form.names().join(", "));
                return Err(Problem::Field {
                    name: name.clone(),
                    known: known.unwrap_or_default(),
                }
                .into());
            }
        }
        let what = match (task.user.is_some(), task.has_password()) {
            (true, true) => "user name and password were sent",
            (true, false) => "the user name was sent",
            (false, _) if task.password.is_none() => "the form was sent",
            (false, _) => "the password was sent",
        };
        let fill: Vec<Value> = fill.iter().map(|(at, text)| json!([at, text])).collect();
        let before = match &self.filling {
            Some(_) if task.has_password() => Some(self.cookies().await?),
            _ => None,
        };
        let how = (what, task.kind(), Purpose::Credentials);
        let answer = self.act(look, &task, fill, how).await?;
        if answer == Answer::Given {
            self.answered.user |= task.user.is_some();
            self.answered.password |= task.has_password();
            if let (Some(filling), Some(before)) = (&mut self.filling, before) {
                (filling.sent, filling.before) = (form, before);
            }
        }
        Ok(answer)
    }

    /// A browser would not let a mere name into a field for a mail address.
    fn name_for(&self, look: &Look, at: usize) -> &'w str {
        let user = self.walk.user;
        let filling = self.filling.as_ref();
        let mail = filling
            .and_then(|filling| filling.email)
            .filter(|_| look.wants_mail(at) && !user.contains('@'));
        mail.unwrap_or(user)
    }

    async fn consent(&mut self, look: &Look, task: Task) -> Result<Answer, Failure> {
        let how = (CONSENT, PageKind::Consent, Purpose::Consent);
        let answer = self.act(look, &task, Vec::new(), how).await?;
        self.answered.consented += u32::from(answer == Answer::Given);
        Ok(answer)
    }

    async fn act(
        &mut self,
        look: &Look,
        task: &Task,
        fill: Vec<Value>,
        (what, kind, purpose): (&'static str, PageKind, Purpose),
    ) -> Result<Answer, Failure> {
        let number = self.answered.number + 1;
        let wanted =
            json!({ "fill": fill, "tick": task.tick, "click": task.click, "number": number });
        let visits = self.tab.visits().len();
        match self.tab.evaluate(&format!("({ACT})({wanted})")).await {
            Ok(Value::Bool(true)) => {}
            Ok(Value::Array(names)) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                let problem = self.missing(&PAGE);
                let problem = problem.unwrap_or_else(|| Problem::Unfilled(names.join(", ")));
                return Err(self.saying(problem, look));
            }
            Ok(Value::Object(told)) => {
                let name = told["impossible"][0].as_str().unwrap_or_default();
                return Err(self.saying(Problem::Choice(name.to_owned()), look));
            }
            // The page is not what it was any more: it is looked at again.
            Ok(_) => return Ok(Answer::Waits),
            Err(error) if error.is_page_change() => return Ok(Answer::Waits),
            Err(error) => return Err(problem(&error).into()),
        }
        self.marks.push((visits, purpose));
        self.kinds.push((visits.saturating_sub(1), kind));
        self.answered.number = number;
        self.answered.posted_to = look.posted_to(task);
        self.answered.what = what;
        self.answered.errors = look.errors().to_vec();
        self.answered.dialogs = self.tab.dialogs().len();
        if let Some(page) = &mut self.page {
            page.since = Instant::now();
        }
        self.stirs();
        Ok(Answer::Given)
    }

    /// The page's status, as far as it is known.
    pub(super) fn status_of(&self, look: &Look) -> StatusCode {
        // An empty answer shows as a page of the browser's own, which has none.
        let visits = self.tab.visits();
        let told = visits.last().and_then(|visit| visit.status);
        let status = told.or(look.status);
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        status.unwrap_or(StatusCode::OK)
    }

    pub(super) async fn cookies(&self) -> Result<Vec<Cookie>, Failure> {
        let cookies = self.tab.cookies().await;
        cookies.map_err(|error| problem(&error).into())
    }
}

/// A password that came by an encrypted page must not leave in the clear.
fn check_safe(look: &Look, form: &Form) -> Result<(), Failure> {
    let encrypted = Url::parse(&look.url).is_ok_and(|url| url.scheme() == "https");
    match &form.target {
        Some(target) if encrypted && target.scheme() == "http" => {
            Err(Problem::Unsafe(redact::url(target)).into())
        }
        _ => Ok(()),
    }
}

/// What a page of this status can't be because of its server.
pub(super) fn broken(status: StatusCode) -> Option<Problem> {
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(Problem::Throttled {
            status,
            retry_after: None,
        });
    }
    status.is_server_error().then_some(Problem::Server(status))
}
