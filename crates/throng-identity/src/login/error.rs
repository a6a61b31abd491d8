//! Why a login failed: the hop, what was expected there, and what the page said.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use throng_client::TransportError;

use super::id_token::IdTokenError;
use super::walk::{Hop, Purpose};
use crate::hooks::HookError;
use crate::pages::trouble::says_locked;
use crate::redact;
use crate::secret::Secret;

/// A failed login of one user. Shows no password, code, token or cookie.
#[derive(Debug)]
pub struct LoginError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    user: String,
    at: Option<At>,
    problem: Problem,
    said: Option<String>,
    picture: Option<PathBuf>,
    attempts: u32,
    hops: Vec<Hop>,
    queued: Duration,
}

/// The request at which a login failed.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) number: u32,
    pub(super) method: &'static str,
    /// Without secrets.
    pub(super) url: String,
}

/// The form that a login looks for.
pub(super) const LOGIN_FORM: &str = "login form";

/// What was expected and what came instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No complete response.
    #[error("expected a response, got none: {0}")]
    Transport(#[source] TransportError),
    /// Too many requests or logins.
    #[error("expected a page or a redirect, got {status}{}", asked(.retry_after))]
    Throttled {
        /// 429, or 503 with `Retry-After`, or 200 for a page that names a delay.
        status: StatusCode,
        /// How long the server wants us to wait.
        retry_after: Option<Duration>,
    },
    /// The provider failed.
    #[error("expected a page or a redirect, got {0}")]
    Server(StatusCode),
    /// The provider refused.
    #[error("expected {expected}, got {status}")]
    Status {
        /// What would have been right.
        expected: &'static str,
        /// What came.
        status: StatusCode,
    },
    /// The login form came back after the credentials were sent.
    #[error(
        "expected to be logged in after sending user name and password, got the login page again: the credentials were refused"
    )]
    Credentials,
    /// The form came back and says that the account is locked.
    #[error(
        "expected to be logged in after sending user name and password, but the account is locked or disabled"
    )]
    Locked,
    /// The page asks to prove that a person is there.
    #[error(
        "expected a login page, got one with {kind}: throng solves no captchas; switch it off on the target for these users or addresses, or bring tokens of your own (`login: {{ kind: bearer }}`)"
    )]
    Captcha {
        /// Which.
        kind: &'static str,
    },
    /// A page that lets only browsers pass, and those after a while.
    #[error("expected a page or a redirect, got {status} with a script that tries whether a browser is there{}", way_by_browser(*.stayed))]
    Challenge {
        /// The page's status.
        status: StatusCode,
        /// A browser was there, and it stayed.
        stayed: bool,
    },
    /// A browser could not get a page.
    #[error("expected a page, got none: {0}")]
    Unreachable(String),
    /// The certificate is not believed.
    #[error(
        "expected a certificate that is trusted: {0}; name its authority with --cacert, or accept any certificate with --insecure"
    )]
    Certificate(String),
    /// The page stayed as it was after it was filled in.
    #[error("expected the page to go on after {after}, but for {waited:?} nothing happened")]
    Stuck {
        /// What was done.
        after: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// A selector of the scenario's is none.
    #[error("`login.selectors.{key}` is no CSS selector: `{selector}`")]
    NoSelector {
        /// Its key.
        key: &'static str,
        /// What it is.
        selector: String,
    },
    /// A selector of the scenario's finds nothing.
    #[error(
        "expected `{selector}`, which `login.selectors.{key}` names, on the page; nothing that can be seen there matches it"
    )]
    Selector {
        /// Its key.
        key: &'static str,
        /// What it is.
        selector: String,
    },
    /// There is no browser, or it failed.
    #[error("{0}")]
    Browser(String),
    /// A form for the name came back after the name alone was sent.
    #[error(
        "expected to be asked for the password after sending the user name, got a form for the name again: either the name was refused, or this is no login; no password was sent"
    )]
    NameAgain,
    /// Nextcloud's form token was not accepted, which it doesn't say: it redirects on without a login.
    #[error(
        "expected the nc_token cookie after the login form, got a redirect without it: the form's request token was refused"
    )]
    RequestToken,
    /// A page without anything that a plain client can answer.
    #[error("expected a login form, a consent form or a redirect, got a page without any{}", if *.needs_script { "; the page needs script, and is none that throng knows: try --login browser" } else { "" })]
    Page {
        /// It has scripts and no form.
        needs_script: bool,
    },
    /// The page that the scenario names has no such form.
    #[error("expected a {wanted} on the page{}, found {found}; {}", titled(.title), way_out(*.needs_script, .wanted))]
    NoForm {
        /// Which form.
        wanted: &'static str,
        /// The page's title.
        title: String,
        /// The forms that are there.
        found: String,
        /// It has scripts and no form.
        needs_script: bool,
    },
    /// The scenario fills a field that the form doesn't have.
    #[error("expected a field `{name}`, which `fields` names, in the form; it has {known}")]
    Field {
        /// The field.
        name: String,
        /// Those that it has.
        known: String,
    },
    /// The scenario's value is none of those that a field lets choose from.
    #[error(
        "expected the value that `fields` gives for `{0}` among those that the form lets choose from; it is not there"
    )]
    Choice(String),
    /// The form has required fields that nothing fills.
    #[error(
        "expected to fill all that the form requires, but nothing is known for {0}: add it to `fields`"
    )]
    Unfilled(String),
    /// The registration's form came back.
    #[error("expected the registration to be accepted, got its form again")]
    Again,
    /// The form was accepted, but no cookie came with that.
    #[error(
        "expected the login to set a cookie, got none that was not there before: there is no session that could be kept{}", if *.proven { "" } else { "; if there is one all the same, say with `logged_in` which request proves it" }
    )]
    NoCookie {
        /// The scenario says which request proves a session.
        proven: bool,
    },
    /// The request that tells whether a user is logged in says no.
    #[error("expected to be logged in after the form was accepted, but {0}")]
    NotLoggedIn(#[source] Box<HookError>),
    /// A declared text cannot be filled in, or a declared request not be made.
    #[error(transparent)]
    Declared(Box<HookError>),
    /// Redirects or pages without end.
    #[error("expected to arrive within {0} redirects and pages")]
    TooManyPages(u32),
    /// A redirect that cannot be followed.
    #[error("expected a redirect to an http(s) address, got {0}")]
    Redirect(String),
    /// The password would have gone over an unencrypted connection although the page came over an encrypted one, or to a foreign
    /// address by a redirect.
    #[error("expected the form to keep the password safe, but it would be sent to {0}")]
    Unsafe(String),
    /// Redirects or pages without end.
    #[error("expected to arrive at the redirect URI within {0} hops")]
    TooManyHops(u32),
    /// The provider's error response (RFC 6749 section 4.1.2.1).
    #[error("expected a code, got the error {0}")]
    Denied(String),
    /// `state` is not ours (RFC 6749 section 10.12).
    #[error("expected our state in the authorization response, got {}", if *.missing { "none" } else { "another one" })]
    State {
        /// There was none at all.
        missing: bool,
    },
    /// `iss` is not the issuer (RFC 9207).
    #[error("expected iss={expected} in the authorization response, got {}", .found.as_deref().unwrap_or("none although the server promises it"))]
    Issuer {
        /// The issuer asked.
        expected: String,
        /// What the response says.
        found: Option<String>,
    },
    /// A response without a code.
    #[error("expected a code in the authorization response, got neither code nor error")]
    NoCode,
    /// The authorization server's metadata has nowhere to send users.
    #[error(
        "expected an authorization_endpoint, to which users are sent; the authorization server has none"
    )]
    NoAuthorizationEndpoint,
    /// The token endpoint's answer is no token response.
    #[error("expected a token response, got {0}")]
    Tokens(String),
    /// There is no token to exchange.
    #[error(
        "expected a token to exchange, got none: give one for all, one of each user's own (`users.from`), or an identity provider to log in at"
    )]
    NoSubject,
    /// The login at the identity provider did not bring what is to be exchanged.
    #[error(
        "expected an id token of the login at the identity provider, to exchange it; it brought none (ask it for the scope openid)"
    )]
    NoIdToken,
    /// The id token is not to be trusted.
    #[error("expected a valid id token: {0}")]
    IdToken(#[source] IdTokenError),
}

fn asked(wait: &Option<Duration>) -> String {
    wait.map_or(String::new(), |wait| {
        format!(" (try again after {} s)", wait.as_secs_f64().ceil())
    })
}

fn titled(title: &str) -> String {
    if title.is_empty() {
        String::new()
    } else {
        format!(" \"{title}\"")
    }
}

fn way_by_browser(stayed: bool) -> &'static str {
    if stayed {
        "; it let no browser of throng's pass either"
    } else {
        ""
    }
}

/// What to do about a page without the form that was looked for.
fn way_out(needs_script: bool, wanted: &str) -> &'static str {
    match (needs_script, wanted) {
        (true, LOGIN_FORM) => {
            "if this is the right page, then a script makes its form: try --login browser, or declare the request that the script sends instead of the page"
        }
        (true, _) => {
            "if this is the right page, then a script makes its form: declare the request that the script sends instead of the page"
        }
        (false, _) => "say the right page, or with `fields` what goes into which field",
    }
}

impl Problem {
    pub(super) fn declared(error: HookError) -> Self {
        Self::Declared(Box::new(error))
    }

    /// That the password was refused, by a page that says so much.
    pub(super) fn refused(said: &str) -> Self {
        if says_locked(said) {
            Self::Locked
        } else {
            Self::Credentials
        }
    }

    /// May go away by itself, so that a further attempt is worth making.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Transport(_)
            | Self::Throttled { .. }
            | Self::Server(_)
            | Self::RequestToken
            | Self::Unreachable(_) => true,
            Self::IdToken(error) => error.is_passing(),
            Self::Declared(error) => error.is_passing(),
            _ => false,
        }
    }

    /// A browser may get on where a plain client can't: the page is made by scripts, or lets nothing but browsers pass.
    pub(crate) fn wants_browser(&self) -> bool {
        matches!(
            self,
            Self::Page { needs_script: true }
                | Self::NoForm {
                    needs_script: true,
                    ..
                }
                | Self::Challenge { stayed: false, .. }
        )
    }

    /// What was expected and what came, for whoever does something about it already.
    pub(super) fn without_advice(&self) -> String {
        match self {
            Self::Page { .. } => {
                "expected a login form, a consent form or a redirect, got a page that needs script"
                    .to_owned()
            }
            Self::NoForm {
                wanted,
                title,
                found,
                ..
            } => {
                let titled = titled(title);
                format!(
                    "expected a {wanted} on the page{titled}, found {found}; a script may make it"
                )
            }
            problem => problem.to_string(),
        }
    }

    /// What to do about it, where the problem's own words don't say. `seen`: there is a picture of the page.
    fn help(&self, seen: bool) -> Option<&'static str> {
        match self {
            Self::Page { .. } if seen => {
                Some("if it is a page of the login, say with `login.selectors` what is what on it")
            }
            Self::Stuck { .. } => Some("say with `login.selectors` what is what on the page"),
            Self::Credentials => Some(
                "check the name and the password where they come from (`users.from`, `users.password`, or THRONG_USER_PASSWORD of `throng login`)",
            ),
            Self::Locked => {
                Some("have the account unlocked where it is kept, or take another user")
            }
            Self::Denied(_) => Some(
                "ask the provider whether this user may use this client with these scopes (`login.client`, `login.scopes`)",
            ),
            Self::Issuer { .. } => Some(
                "the code was not used: either the provider's own `iss` is wrong, or the response is another server's",
            ),
            Self::Transport(_) | Self::Unreachable(_) => {
                Some("is the server up, and can it be reached from here?")
            }
            _ => None,
        }
    }

    /// How long the server asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl LoginError {
    pub(super) fn new(
        user: &str,
        at: Option<At>,
        failure: Failure,
        attempts: u32,
        hops: Vec<Hop>,
    ) -> Self {
        let Failure {
            problem,
            said,
            picture,
        } = failure;
        Self(Box::new(Inner {
            user: user.to_owned(),
            at,
            problem,
            said,
            picture,
            attempts,
            hops,
            queued: Duration::ZERO,
        }))
    }

    /// The same, of a login that waited so long for a place in the browser.
    pub(super) fn after_queueing(mut self, queued: Duration) -> Self {
        self.0.queued = queued;
        self
    }

    /// How long was waited for a place in the browser.
    pub fn queued(&self) -> Duration {
        self.0.queued
    }

    /// Whose login.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// What was expected and what came.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// [`LoginError::problem`], for keeping.
    pub fn into_problem(self) -> Problem {
        self.0.problem
    }

    /// Number of the hop that failed, from 1 within its attempt.
    pub fn hop(&self) -> Option<u32> {
        self.0.at.as_ref().map(|at| at.number)
    }

    /// Whether a form was sent off, so that something may have come of it.
    pub(crate) fn sent_a_form(&self) -> bool {
        let mut hops = self.0.hops.iter();
        hops.any(|hop| hop.purpose == Purpose::Credentials)
    }

    /// Whether the failure is the answer to a form itself, not to a page that it led to.
    pub(crate) fn answers_the_form(&self) -> bool {
        let last = self.0.hops.last();
        last.is_some_and(|hop| hop.purpose == Purpose::Credentials)
    }

    /// Where it failed and why, without whose login it was.
    pub(crate) fn reason(&self) -> Reason<'_> {
        Reason(self)
    }

    /// What the page said, cleaned.
    pub fn said(&self) -> Option<&str> {
        self.0.said.as_deref()
    }

    /// Where there is a picture of the page at which a browser failed.
    pub fn picture(&self) -> Option<&Path> {
        self.0.picture.as_deref()
    }

    /// Every request made, of all attempts.
    pub fn hops(&self) -> &[Hop] {
        &self.0.hops
    }

    /// Attempts made.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of {} failed{}", self.0.user, self.reason())
    }
}

/// What an error says after "failed".
pub(crate) struct Reason<'a>(&'a LoginError);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0.0;
        if let Some(at) = &inner.at {
            write!(f, " at hop {} ({} {})", at.number, at.method, at.url)?;
        }
        write!(f, ": {}", inner.problem)?;
        if let Some(said) = inner.said.as_deref().filter(|said| !said.is_empty()) {
            write!(f, "; the page said: {said}")?;
        }
        if let Some(picture) = &inner.picture {
            write!(f, "; a screenshot is in {}", picture.display())?;
        }
        if inner.attempts > 1 {
            write!(f, " ({} attempts)", inner.attempts)?;
        }
        match inner.problem.help(inner.picture.is_some()) {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0.problem)
    }
}

/// A problem together with what the page said, on its way to a [`LoginError`].
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) problem: Problem,
    pub(super) said: Option<String>,
    /// Where there is a picture of the page.
    pub(super) picture: Option<PathBuf>,
}

impl Failure {
    /// With the page's words, cleaned of these secrets.
    pub(super) fn saying(problem: Problem, said: &str, secrets: &[&Secret]) -> Self {
        Self {
            problem,
            said: Some(redact::text(said, secrets)),
            picture: None,
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            said: None,
            picture: None,
        }
    }
}
