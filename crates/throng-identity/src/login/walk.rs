//! From page to page, one request at a time: what is sent, and where an answer leads by its status. What a page wants is read
//! in `answer`.

use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use throng_browser::Visit;
use throng_client::{Client, Exchange, TransportError, TransportFailure};
use url::Url;

use super::callback::is_callback;
use super::error::{At, Failure, Problem};
use crate::pages::Page;
use crate::pages::trouble::is_challenge;
use crate::redact;
use crate::retry;
use crate::secret::Secret;
use crate::wire;

/// What a request of a login was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The page with the form fetched, where the scenario says which it is.
    Page,
    /// The authorization request, first or repeated.
    Authorize,
    /// A redirect or a refresh followed.
    Follow,
    /// The user name or the password sent, or a registration's form.
    Credentials,
    /// Consent given.
    Consent,
    /// A form that the page itself submits.
    Forward,
    /// The code exchanged for tokens.
    Token,
}

/// What a page of a login was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// It asks for user name and password.
    Login,
    /// It asks for the user name alone.
    User,
    /// It asks for the password alone.
    Password,
    /// It asks whether the client may have what it wants.
    Consent,
    /// Its script or its markup leads on by itself.
    Forward,
}

impl PageKind {
    fn of(page: &Page) -> Option<Self> {
        Some(match page {
            Page::NextcloudLogin(_) => Self::Login,
            Page::Login(_, login) if login.user.is_some() => Self::Login,
            Page::Login(..) => Self::Password,
            Page::Identifier(..) => Self::User,
            Page::NextcloudConsent(_) | Page::Consent(..) => Self::Consent,
            Page::NextcloudRedirect(_) | Page::AutoSubmit(..) | Page::Refresh(_) => Self::Forward,
            Page::Unknown(_) => return None,
        })
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Login => "login page",
            Self::User => "page for the user name",
            Self::Password => "page for the password",
            Self::Consent => "consent page",
            Self::Forward => "page that leads on",
        }
    }
}

/// One request of a login and how long it took, for the report.
#[derive(Debug, Clone)]
pub struct Hop {
    /// Attempt of the login it belongs to, from 1.
    pub attempt: u32,
    /// Its number within the attempt, from 1.
    pub number: u32,
    /// What it was for.
    pub purpose: Purpose,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Address without secrets.
    pub url: String,
    /// The answer's status; none if there was no answer.
    pub status: Option<u16>,
    /// Since the login's start, without what was waited for a place in the browser.
    pub started: Duration,
    /// Until the last byte of the answer; in a browser until its head.
    pub took: Duration,
    /// What the page was taken for; none for what is no page, or was not made out.
    pub taken_for: Option<PageKind>,
}

/// The next request. Not `Debug`: its form has the password.
pub(super) struct Step {
    pub(super) purpose: Purpose,
    pub(super) url: Url,
    /// Content type and body; `GET` without.
    pub(super) form: Option<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Time that the server is known to take on top of the usual.
    pub(super) patience: Duration,
    /// Nextcloud's login form, whose success shows in a cookie only.
    pub(super) nextcloud_login: bool,
}

impl Step {
    pub(super) fn get(purpose: Purpose, url: Url) -> Self {
        Self {
            purpose,
            url,
            form: None,
            headers: Vec::new(),
            patience: Duration::ZERO,
            nextcloud_login: false,
        }
    }

    pub(super) fn post(purpose: Purpose, url: Url, content_type: &str, body: String) -> Self {
        Self {
            form: Some((content_type.to_owned(), body)),
            ..Self::get(purpose, url)
        }
    }

    /// With what a browser adds to a form: where it comes from.
    pub(super) fn sent_from(mut self, page: &Url) -> Self {
        let origin = page.origin().ascii_serialization();
        let referer = if page.origin() == self.url.origin() {
            let mut referer = page.clone();
            referer.set_fragment(None);
            referer.to_string()
        } else {
            format!("{origin}/")
        };
        if self.form.is_some() {
            self.headers
                .push((header::ORIGIN, wire::sensitive(&origin)));
        }
        self.headers
            .push((header::REFERER, wire::sensitive(&referer)));
        self
    }

    fn method(&self) -> Method {
        if self.form.is_some() {
            Method::POST
        } else {
            Method::GET
        }
    }
}

/// How far and how long a walk may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Time allowed for each hop.
    pub(super) timeout: Duration,
    /// Hops allowed in one attempt; an endless redirect ends there.
    pub(super) max_hops: u32,
}

/// Who walks.
#[derive(Clone, Copy)]
pub(crate) struct Walker<'a> {
    /// Connections and cookies.
    pub(crate) client: &'a Client,
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
}

/// One attempt at a login or a registration.
pub(super) struct Walk<'a> {
    pub(super) client: &'a Client,
    pub(super) user: &'a str,
    pub(super) password: &'a Secret,
    pub(super) hops: Vec<Hop>,
    /// What else than the password no message may show.
    pub(super) hidden: Vec<Secret>,
    pub(super) limits: Limits,
    /// Where the walk ends without a request; none where it ends at a page.
    redirect_uri: Option<&'a Url>,
    attempt: u32,
    started: Instant,
    /// How long was waited for a place in the browser; `started` was put off by as much.
    pub(super) queued: Duration,
    /// What time it was at the token endpoint when it answered last, since 1970.
    pub(super) server_time: Option<Duration>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        walker: Walker<'a>,
        limits: Limits,
        redirect_uri: Option<&'a Url>,
        attempt: u32,
        started: Instant,
    ) -> Self {
        Self {
            client: walker.client,
            user: walker.user,
            password: walker.password,
            hops: Vec::new(),
            hidden: Vec::new(),
            limits,
            redirect_uri,
            attempt,
            started,
            queued: Duration::ZERO,
            server_time: None,
        }
    }

    /// Takes a time out of the login's: nobody did anything for it.
    pub(super) fn stood_still(&mut self, waited: Duration) {
        self.queued += waited;
        self.started += waited;
    }

    /// What no message may show.
    pub(super) fn secrets(&self) -> Vec<&Secret> {
        std::iter::once(self.password).chain(&self.hidden).collect()
    }

    /// The request made last.
    pub(super) fn at(&self) -> Option<At> {
        self.hops.last().map(|hop| At {
            number: hop.number,
            method: hop.method,
            url: hop.url.clone(),
        })
    }

    pub(super) fn leads_back(&self, url: &Url) -> bool {
        self.redirect_uri.is_some_and(|uri| is_callback(url, uri))
    }

    /// Notes what the page of the last hop was taken for.
    pub(super) fn taken_for(&mut self, page: &Page) {
        if let (Some(kind), Some(hop)) = (PageKind::of(page), self.hops.last_mut()) {
            hop.taken_for = Some(kind);
        }
    }

    /// Notes a hop that a browser made, in a tab that was opened at `opened`.
    pub(super) fn note(
        &mut self,
        purpose: Purpose,
        taken_for: Option<PageKind>,
        method: &'static str,
        url: &Url,
        (visit, opened): (&Visit, Instant),
    ) {
        self.hops.push(Hop {
            attempt: self.attempt,
            number: self.hops.len() as u32 + 1,
            purpose,
            method,
            url: redact::url(url),
            status: visit.status,
            started: opened.duration_since(self.started) + visit.started,
            took: visit.took.unwrap_or_default(),
            taken_for,
        });
    }

    /// Fails where the `number`th request or page is one too many.
    pub(super) fn check_length(&self, number: u32) -> Result<(), Failure> {
        let most = self.limits.max_hops;
        if number <= most {
            return Ok(());
        }
        Err(match self.redirect_uri {
            Some(_) => Problem::TooManyHops(most),
            None => Problem::TooManyPages(most),
        }
        .into())
    }

    pub(super) async fn send(&mut self, step: &Step) -> Result<Exchange, Failure> {
        self.check_length(self.hops.len() as u32 + 1)?;
        let mut builder = wire::request(step.method(), &step.url)
            .header(
                header::ACCEPT,
                "text/html,application/xhtml+xml,application/json;q=0.8,*/*;q=0.5",
            )
            // Pages are read by their words, which are English here.
            .header(header::ACCEPT_LANGUAGE, "en");
        for (name, value) in &step.headers {
            builder = builder.header(name, value);
        }
        let request = match &step.form {
            Some((content_type, body)) => wire::finish(
                builder.header(header::CONTENT_TYPE, content_type),
                body.clone(),
            ),
            None => wire::finish(builder, ""),
        };
        self.perform(
            step.purpose,
            step.method(),
            &step.url,
            request,
            self.client,
            step.patience,
        )
        .await
    }

    /// Sends a request and notes the hop, whatever comes of it.
    pub(super) async fn perform(
        &mut self,
        purpose: Purpose,
        method: Method,
        url: &Url,
        request: http::Request<bytes::Bytes>,
        client: &Client,
        patience: Duration,
    ) -> Result<Exchange, Failure> {
        let begun = Instant::now();
        let result = client.send(request, self.limits.timeout + patience).await;
        let hop = Hop {
            attempt: self.attempt,
            number: self.hops.len() as u32 + 1,
            purpose,
            method: if method == Method::POST {
                "POST"
            } else {
                "GET"
            },
            url: redact::url(url),
            status: result
                .as_ref()
                .ok()
                .map(|exchange| exchange.status.as_u16()),
            started: begun.duration_since(self.started),
            took: begun.elapsed(),
            taken_for: None,
        };
        tracing::debug!(
            user = self.user,
            method = hop.method,
            url = hop.url,
            status = hop.status,
            "hop"
        );
        self.hops.push(hop);
        result.map_err(|error| unanswered(error).into())
    }

    /// The step that a redirect asks for; nothing if the answer is none.
    pub(super) fn redirected(
        &self,
        step: &Step,
        exchange: &Exchange,
    ) -> Result<Option<Step>, Failure> {
        let status = exchange.status;
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let target = wire::location(exchange, &step.url)
            .ok_or_else(|| Problem::Redirect(format!("{status} without a usable Location")))?;
        if self.leads_back(&target) {
            // Whatever its scheme: it will not be asked for.
            return Ok(Some(Step::get(Purpose::Follow, target)));
        }
        if !matches!(target.scheme(), "http" | "https") {
            // The scheme alone: what follows it may be a code for somebody's application.
            return Err(Problem::Redirect(format!("one to a {}: address", target.scheme())).into());
        }
        if step.nextcloud_login
            && !sets_login_cookie(exchange)
            && !target.path().ends_with("/login")
        {
            return Err(Problem::RequestToken.into());
        }
        let keeps_method = matches!(
            status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        let Some((content_type, body)) = step.form.clone().filter(|_| keeps_method) else {
            return Ok(Some(Step::get(Purpose::Follow, target)));
        };
        if target.origin() != step.url.origin() {
            return Err(Problem::Unsafe(redact::url(&target)).into());
        }
        let again = Step {
            headers: step.headers.clone(),
            nextcloud_login: step.nextcloud_login,
            ..Step::post(step.purpose, target, &content_type, body)
        };
        Ok(Some(again))
    }

    /// Fails where the page tries whether a browser is there.
    pub(super) fn check_challenge(&self, exchange: &Exchange) -> Result<(), Failure> {
        let status = exchange.status;
        let refuses = matches!(status.as_u16(), 403 | 405 | 429 | 503);
        if refuses && is_challenge(&String::from_utf8_lossy(&exchange.body)) {
            return Err(Problem::Challenge {
                status,
                stayed: false,
            }
            .into());
        }
        Ok(())
    }

    pub(super) fn check_status(&self, exchange: &Exchange) -> Result<(), Failure> {
        let status = exchange.status;
        let retry_after = retry::retry_after(&exchange.headers);
        let problem = if status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some())
        {
            Problem::Throttled {
                status,
                retry_after,
            }
        } else if status.is_server_error() {
            Problem::Server(status)
        } else {
            return Ok(());
        };
        let secrets = self.secrets();
        let said = wire::said(exchange, &secrets);
        Err(Failure::saying(problem, &said, &secrets))
    }
}

/// What it is to a login that a request had no answer.
pub(super) fn unanswered(error: TransportError) -> Problem {
    match error.failure() {
        TransportFailure::Certificate(why) => {
            Problem::Certificate(format!("{}: {why}", error.origin()))
        }
        _ => Problem::Transport(error),
    }
}

/// The answer sets Nextcloud's login cookie; clearing it doesn't count.
fn sets_login_cookie(exchange: &Exchange) -> bool {
    exchange
        .headers
        .get_all(header::SET_COOKIE)
        .iter()
        .any(|cookie| {
            let value = cookie
                .as_bytes()
                .strip_prefix(b"nc_token=")
                .unwrap_or_default();
            let value = value.split(|b| *b == b';').next().unwrap_or_default();
            !value.is_empty() && value != b"deleted"
        })
}
