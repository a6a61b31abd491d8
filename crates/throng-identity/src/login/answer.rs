//! Answers the pages of a login: which request follows from which page.

use std::time::Duration;

use http::header::HeaderName;
use throng_client::Exchange;
use url::{Url, form_urlencoded};

use super::error::{Failure, Problem};
use super::walk::{Purpose, Step};
use crate::pages::form::{Form, Login, Submission};
use crate::pages::nextcloud::{ConsentPage, LoginPage};
use crate::pages::{Document, FormMethod, Page};
use crate::secret::Secret;
use crate::wire;

/// What has been answered so far in one attempt.
pub(super) struct Answers<'a> {
    user: &'a str,
    /// What a field for a mail address takes; none where only the name is known.
    email: Option<&'a str>,
    password: &'a Secret,
    /// What the scenario puts into which field, by the field's name; none where it has no say.
    fields: Option<&'a [(String, Secret)]>,
    /// Which of `fields` found their place.
    placed: Vec<bool>,
    /// The longest delay that a page may ask for.
    budget: Duration,
    sent_user: bool,
    sent_password: bool,
    /// The last request to a Nextcloud authorization endpoint, which its redirect page wants repeated.
    authorize: Option<Url>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(user: &'a str, password: &'a Secret, budget: Duration) -> Self {
        Self {
            user,
            email: None,
            password,
            fields: None,
            placed: Vec::new(),
            budget,
            sent_user: false,
            sent_password: false,
            authorize: None,
        }
    }

    /// With what the scenario puts into fields by their names, and the user's mail address.
    pub(super) fn with_fields(
        mut self,
        fields: &'a [(String, Secret)],
        email: Option<&'a str>,
    ) -> Self {
        self.email = email;
        self.placed = vec![false; fields.len()];
        self.fields = Some(fields);
        self
    }

    /// Whether the password was sent.
    pub(super) fn sent_password(&self) -> bool {
        self.sent_password
    }

    /// Remembers what may have to be repeated.
    pub(super) fn note(&mut self, step: &Step) {
        if step.form.is_none() && step.url.path().ends_with("/apps/oidc/authorize") {
            self.authorize = Some(step.url.clone());
        }
    }

    /// Says what to do with a page that was read.
    pub(super) async fn answer(
        &mut self,
        url: &Url,
        page: Page,
        exchange: &Exchange,
    ) -> Result<Step, Failure> {
        match page {
            Page::NextcloudLogin(page) => self.nextcloud_login(url, &page).await,
            Page::NextcloudRedirect(page) => {
                let remembered = self
                    .authorize
                    .clone()
                    .filter(|known| known.origin() == url.origin());
                let again = remembered.or_else(|| page.authorize_url(url));
                let again = again.ok_or(Problem::Page { needs_script: true })?;
                Ok(Step::get(Purpose::Authorize, again))
            }
            Page::NextcloudConsent(page) => Ok(nextcloud_consent(url, &page)),
            Page::Login(document, login) | Page::Identifier(document, login) => {
                self.credentials(url, &document, &login)
            }
            Page::Consent(consent) => {
                let submission = consent.form.submit(&[], Some(consent.button));
                Self::submitted(url, Purpose::Consent, submission)
            }
            Page::AutoSubmit(form) => {
                Self::submitted(url, Purpose::Forward, form.submit(&[], None))
            }
            Page::Refresh(target) => Ok(Step::get(Purpose::Follow, target)),
            Page::Unknown(document) => Err(self.unknown(&document, exchange)),
        }
    }

    fn unknown(&self, document: &Document, exchange: &Exchange) -> Failure {
        if let Some(kind) = document.captcha {
            return Failure::saying(
                Problem::Captcha { kind },
                &document.says(),
                &[self.password],
            );
        }
        let problem = if exchange.status.is_success() {
            Problem::Page {
                needs_script: document.needs_script,
            }
        } else {
            Problem::Status {
                expected: "a page or a redirect",
                status: exchange.status,
            }
        };
        // JSON errors are read as such, pages by their text.
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&exchange.body).is_ok();
        let said = if is_json {
            wire::said(exchange, &[self.password])
        } else {
            document.says()
        };
        Failure::saying(problem, &said, &[self.password])
    }

    /// Fills in the form that takes user name, password or both, or all that the scenario says.
    pub(super) fn credentials(
        &mut self,
        url: &Url,
        document: &Document,
        login: &Login,
    ) -> Result<Step, Failure> {
        let asks_again = match login.password {
            Some(_) => self.sent_password,
            None => self.sent_user,
        };
        if asks_again {
            let problem = match login.password {
                Some(_) => Problem::refused(&document.says()),
                None => Problem::NameAgain,
            };
            return Err(Failure::saying(problem, &document.says(), &[self.password]));
        }
        if let Some(kind) = document.captcha {
            return Err(Failure::saying(
                Problem::Captcha { kind },
                &document.says(),
                &[self.password],
            ));
        }
        let mut filled = Vec::with_capacity(2);
        if let Some(user) = login.user {
            // A browser would not let a mere name through.
            let wants_mail = login.form.fields[user].input_type == "email";
            let mail = self
                .email
                .filter(|_| wants_mail && !self.user.contains('@'));
            filled.push((user, mail.unwrap_or(self.user)));
            self.sent_user = true;
        }
        if let Some(password) = login.password {
            filled.push((password, self.password.expose()));
            self.sent_password = true;
        }
        if let Some(fields) = self.fields {
            place(&login.form, fields, &mut self.placed, &mut filled);
            // A form found by the scenario's fields alone has the password among them.
            self.sent_password |= login.user.is_none() && login.password.is_none();
            let missing = fields
                .iter()
                .zip(&self.placed)
                .find(|(_, placed)| !**placed);
            if let Some(((name, _), _)) = missing.filter(|_| self.sent_password) {
                return Err(Problem::Field {
                    name: name.clone(),
                    known: login.form.names().join(", "),
                }
                .into());
            }
            check_required(&login.form, &filled)?;
        }
        let submission = login.form.submit(&filled, login.button);
        if let Some(submission) = submission.as_ref().filter(|_| self.sent_password) {
            keeps_safe(url, submission)?;
        }
        Self::submitted(url, Purpose::Credentials, submission)
    }

    /// The request that a filled-in form is.
    pub(super) fn submitted(
        page: &Url,
        purpose: Purpose,
        submission: Option<Submission>,
    ) -> Result<Step, Failure> {
        let submission = submission.ok_or(Problem::Page { needs_script: true })?;
        let step = match (submission.method, submission.content_type) {
            (FormMethod::Post, Some(content_type)) => {
                Step::post(purpose, submission.url, &content_type, submission.body)
            }
            _ => Step::get(purpose, submission.url),
        };
        Ok(step.sent_from(page))
    }

    async fn nextcloud_login(&mut self, url: &Url, page: &LoginPage) -> Result<Step, Failure> {
        if self.sent_password {
            let said = page
                .errors
                .iter()
                .chain(&page.messages)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            // Without an error the form itself was not accepted (its token, the origin).
            let problem = if page.errors.is_empty() || said.contains("csrf") {
                Problem::RequestToken
            } else if said.contains("userdisabled") {
                Problem::Locked
            } else {
                Problem::refused(&said)
            };
            return Err(Failure::saying(problem, &said, &[self.password]));
        }
        if page.form_hidden {
            let said = "the login form is hidden: only other ways to log in are offered";
            return Err(Failure::saying(
                Problem::Page { needs_script: true },
                said,
                &[],
            ));
        }
        let delay = Duration::from_millis(page.throttle_delay_ms);
        if delay > self.budget {
            let status = http::StatusCode::OK;
            let said = "too many wrong passwords came from this address; the login is throttled";
            return Err(Failure::saying(
                Problem::Throttled {
                    status,
                    retry_after: Some(delay),
                },
                said,
                &[],
            ));
        }
        tokio::time::sleep(delay).await;
        let redirect_url = if page.redirect_url.is_empty() {
            url.query_pairs()
                .find(|(name, _)| name == "redirect_url")
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        } else {
            page.redirect_url.clone()
        };
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("user", self.user)
            .append_pair("password", self.password.expose())
            .append_pair("timezone", "UTC")
            .append_pair("timezone_offset", "0")
            .append_pair("requesttoken", page.request_token.expose())
            .append_pair("redirect_url", &redirect_url)
            .finish();
        (self.sent_user, self.sent_password) = (true, true);
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        let step = Step::post(Purpose::Credentials, target, wire::FORM, body);
        // The server itself holds the answer back for as long again.
        Ok(Step {
            patience: delay,
            nextcloud_login: true,
            ..step.sent_from(url)
        })
    }
}

/// Puts the scenario's values into the fields of their names, over whatever else was meant for these.
pub(super) fn place<'v>(
    form: &Form,
    fields: &'v [(String, Secret)],
    placed: &mut [bool],
    filled: &mut Vec<(usize, &'v str)>,
) {
    for ((name, value), placed) in fields.iter().zip(placed) {
        if let Some(at) = form.fields.iter().position(|field| field.name == *name) {
            filled.retain(|(other, _)| *other != at);
            filled.push((at, value.expose()));
            *placed = true;
        }
    }
}

/// A browser sends no form with a required field left empty; neither do we.
pub(super) fn check_required(form: &Form, filled: &[(usize, &str)]) -> Result<(), Failure> {
    let unfilled = form.unfilled(filled);
    if unfilled.is_empty() {
        return Ok(());
    }
    Err(Problem::Unfilled(unfilled.join(", ")).into())
}

/// A password that came by an encrypted page must not leave in the clear.
pub(super) fn keeps_safe(page: &Url, submission: &Submission) -> Result<(), Failure> {
    if page.scheme() == "https" && submission.url.scheme() == "http" {
        return Err(Problem::Unsafe(crate::redact::url(&submission.url)).into());
    }
    Ok(())
}

fn nextcloud_consent(url: &Url, page: &ConsentPage) -> Step {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("scopes", &page.scopes)
        .finish();
    let mut step = Step::post(
        Purpose::Consent,
        ConsentPage::grant_url(url),
        wire::FORM,
        body,
    )
    .sent_from(url);
    let token = wire::sensitive(page.request_token.expose());
    step.headers
        .push((HeaderName::from_static("requesttoken"), token));
    step
}
