//! Logging one user in by a real browser: it goes to the authorization endpoint, and we answer the pages that it shows until it
//! comes back to the redirect URI. From the code on everything is as without a browser.
//!
//! `look` says what a page wants, here is decided when it is time to answer, and when to give up.

mod listener;
mod look;
mod pilot;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use throng_browser::{Browser, LoadFailure, Tab, TabOptions, Visit};
use url::Url;

pub use pilot::{DEFAULT_PARALLEL, Pilot, PilotOptions, Selectors, Tell};

use self::listener::Expected;
use self::look::{Look, Task, Wants};
use self::pilot::{WayBack, problem};
use super::LoginPlan;
use super::callback::{self, Response};
use super::error::{Failure, Problem};
use super::walk::{PageKind, Purpose, Walk, unanswered};
use crate::pages::trouble::{self, says_locked};
use crate::wire;

/// The script that fills in and presses.
const ACT: &str = include_str!("act.js");

/// How long a page that is there may wait for the rest of itself before it is answered, in milliseconds.
const HALF_LOADED: f64 = 2_000.0;
/// For how long nothing may happen on a page that is there and wants nothing that can be made out.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(6);
/// For how long a page may stay as it is after it was answered.
const STUCK_LIMIT: Duration = Duration::from_secs(15);
/// For how long nothing may have been requested before a message on a page that was answered is taken for the outcome.
const QUIET: Duration = Duration::from_millis(300);
/// The same where the browser doesn't tell of requests.
const QUIET_UNTOLD: Duration = Duration::from_secs(2);
/// After which time a tab that shows nothing is asked about, where the browser doesn't tell why.
const BLANK_LIMIT: Duration = Duration::from_millis(1_500);
/// How long a browser may take to tell of a page that it has been to.
const HEARD_OUT: Duration = Duration::from_millis(200);
/// How often a page is looked at while nothing is heard of it: at first, and at most. Where the browser tells of what happens, only
/// what a script does by itself has to be looked for.
const POLL: (Duration, Duration) = (Duration::from_millis(120), Duration::from_millis(500));
/// The same where the browser doesn't tell.
const POLL_UNTOLD: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// A login takes at most so many times what a page may take.
const PAGES: u32 = 4;

impl Walk<'_> {
    /// Has a browser walk until the redirect URI is reached.
    pub(super) async fn ride_to_callback(
        &mut self,
        plan: &LoginPlan,
        pilot: &Pilot,
        authorize: &Url,
        state: &str,
    ) -> Result<Response, Failure> {
        let (_place, waited) = pilot.place().await?;
        self.stood_still(waited);
        let back = pilot.way_back(&plan.redirect_uri).await?;
        let browser = pilot.browser().await?;
        let (expected, intercept) = match &back {
            WayBack::Listener(listener) => (Some(listener.expect(state)), None),
            WayBack::Intercept(address) => (None, Some(address.clone())),
        };
        let tab = browser
            .tab(&TabOptions { intercept })
            .await
            .map_err(|error| problem(&error))?;
        let begun = tab.opened();
        let mut ride = Ride::new(self, plan, pilot, &browser, tab, expected);
        let arrived = ride.go(authorize).await;
        if arrived.is_ok() {
            ride.hear_out().await;
        }
        let (arrived, tab) = ride.end(arrived, begun).await;
        if let Err(error) = tab.close().await {
            tracing::debug!(%error, "closing the tab of a login");
        }
        arrived
    }
}

/// One attempt, in a tab of its own.
struct Ride<'w, 'a> {
    walk: &'w mut Walk<'a>,
    plan: &'w LoginPlan,
    pilot: &'w Pilot,
    browser: &'w Browser,
    tab: Tab,
    expected: Option<Expected>,
    /// The response, once it has come.
    came: Option<Response>,
    /// Where in the visits answers to forms begin, and what was sent.
    marks: Vec<(usize, Purpose)>,
    /// What pages were taken for, by the visit they came with.
    kinds: Vec<(usize, PageKind)>,
    answered: Answered,
    /// The page that is looked at, by its address and beginning.
    page: Option<Watched>,
    pages: u32,
}

/// What was sent so far.
#[derive(Default)]
struct Answered {
    user: bool,
    password: bool,
    /// How often a page was answered.
    number: u32,
    consented: u32,
    /// What was done last.
    what: &'static str,
    /// The messages that the page had before.
    errors: Vec<String>,
}

/// A page, and since when it is as it is.
struct Watched {
    began: f64,
    url: String,
    since: Instant,
    /// What it says; a change of that is something that happens.
    says: String,
}

/// Consents given in one login; more are a loop.
const CONSENTS: u32 = 5;

impl<'w, 'a> Ride<'w, 'a> {
    fn new(
        walk: &'w mut Walk<'a>,
        plan: &'w LoginPlan,
        pilot: &'w Pilot,
        browser: &'w Browser,
        tab: Tab,
        expected: Option<Expected>,
    ) -> Self {
        Self {
            walk,
            plan,
            pilot,
            browser,
            tab,
            expected,
            came: None,
            marks: Vec::new(),
            kinds: Vec::new(),
            answered: Answered::default(),
            page: None,
            pages: 0,
        }
    }

    async fn go(&mut self, authorize: &Url) -> Result<Response, Failure> {
        self.tab
            .open(authorize.as_str())
            .await
            .map_err(|error| problem(&error))?;
        let begun = Instant::now();
        let mut last = Instant::now();
        let (first_poll, last_poll) = if self.tab.tells_all() {
            POLL
        } else {
            POLL_UNTOLD
        };
        let mut poll = first_poll;
        let mut asked_why = false;
        let mut trouble = None;
        loop {
            if let Some(response) = self.arrived() {
                return Ok(response);
            }
            self.check_load()?;
            match self.look().await {
                Ok(look) if look.is_blank() => {
                    if !self.tab.tells_all() && !asked_why && last.elapsed() > BLANK_LIMIT {
                        asked_why = true;
                        self.ask_why(authorize).await?;
                    }
                }
                Ok(look) => {
                    if self.note(&look)? {
                        (last, poll) = (Instant::now(), first_poll);
                    }
                    // The address may be the one that was waited for.
                    if let Some(response) = self.arrived_at(&look.url) {
                        return Ok(response);
                    }
                    let waited = self
                        .page
                        .as_ref()
                        .map_or(Duration::ZERO, |page| page.since.elapsed());
                    if self.answer(&look, waited).await? {
                        (last, poll) = (Instant::now(), first_poll);
                    }
                }
                Err(error) if self.tab.has_crashed() => return Err(problem(&error).into()),
                // Another page is coming.
                Err(error) => trouble = Some(error),
            }
            if last.elapsed() > self.plan.timeout || begun.elapsed() > self.plan.timeout * PAGES {
                return Err(match trouble {
                    Some(error) => problem(&error).into(),
                    None => Problem::Unreachable(format!(
                        "{} showed no page to answer within {:?}",
                        self.browser.engine(),
                        last.elapsed()
                    ))
                    .into(),
                });
            }
            self.wait(poll).await;
            poll = (poll * 2).min(last_poll);
        }
    }

    /// Waits for something to happen.
    async fn wait(&mut self, limit: Duration) {
        let Some(expected) = &mut self.expected else {
            return self.tab.changed(limit).await;
        };
        tokio::select! {
            response = &mut expected.arrives => {
                self.came = response.ok();
                self.expected = None;
            }
            () = self.tab.changed(limit) => {}
        }
    }

    /// The response, if it is there.
    fn arrived(&mut self) -> Option<Response> {
        if let Some(expected) = &mut self.expected
            && let Ok(response) = expected.arrives.try_recv()
        {
            return Some(response);
        }
        if let Some(response) = self.came.take() {
            return Some(response);
        }
        if let Some(kept) = self.tab.intercepted() {
            let url = Url::parse(&kept.url).ok()?;
            return Some(callback::parameters(&url, &kept.body));
        }
        // With another state than ours nobody would hand it to us; and it is known sooner than the browser shows it.
        let visits = self.tab.visits();
        let last = visits.last().filter(|visit| visit.method == "GET")?;
        self.arrived_at(&last.url)
    }

    fn arrived_at(&self, url: &str) -> Option<Response> {
        let url = Url::parse(url).ok()?;
        let response = callback::parameters(&url, "");
        // What comes in a form's body is only known to who listens.
        let says = |(name, _): &(String, String)| matches!(&**name, "code" | "error" | "state");
        (self.walk.leads_back(&url) && response.iter().any(says)).then_some(response)
    }

    /// Waits a moment for the browser to tell of the pages on the way, which may take it longer than coming back.
    async fn hear_out(&mut self) {
        let begun = Instant::now();
        let told = |ride: &Self| {
            let visits = ride.tab.visits();
            let last = visits.last().and_then(|visit| Url::parse(&visit.url).ok());
            last.is_some_and(|url| ride.walk.leads_back(&url))
        };
        while self.tab.tells_all() && !told(self) && begun.elapsed() < HEARD_OUT {
            self.tab.changed(HEARD_OUT / 20).await;
        }
    }

    /// Fails where the browser could not get the page that it went to last.
    fn check_load(&self) -> Result<(), Failure> {
        let says = |words: &str| format!("{} says {words}", self.browser.engine());
        match self.tab.failure() {
            Some(LoadFailure::Certificate(words)) => Err(Problem::Certificate(says(&words)).into()),
            Some(LoadFailure::Connection(words)) => Err(Problem::Unreachable(says(&words)).into()),
            None => Ok(()),
        }
    }

    /// Finds out why a browser that doesn't tell shows nothing.
    async fn ask_why(&self, url: &Url) -> Result<(), Failure> {
        let request = wire::finish(wire::request(http::Method::GET, url), "");
        let asked = self
            .walk
            .client
            .without_cookies()
            .send(request, self.plan.timeout)
            .await;
        match asked {
            Ok(_) => Ok(()),
            Err(error) => Err(unanswered(error).into()),
        }
    }

    async fn look(&self) -> Result<Look, throng_browser::BrowserError> {
        let selectors = &self.pilot.options.selectors;
        let selectors = json!({
            "user": selectors.user,
            "password": selectors.password,
            "submit": selectors.submit,
            "consent": selectors.consent,
        });
        let challenges = json!(trouble::CHALLENGES);
        let found = self
            .tab
            .evaluate(&format!("({})({selectors}, {challenges})", look::SCRIPT))
            .await?;
        Ok(serde_json::from_value(found).unwrap_or_else(|error| {
            tracing::debug!(%error, "a page was looked at in vain");
            Look::default()
        }))
    }

    /// Notes which page it is; whether it is another one than before, or says something else.
    fn note(&mut self, look: &Look) -> Result<bool, Failure> {
        let address = look.url.split('#').next().unwrap_or_default();
        let says = look.says();
        if let Some(page) = self.page.as_mut().filter(|page| page.began == look.began) {
            if page.says == says && page.url == address {
                return Ok(false);
            }
            (page.since, page.says) = (Instant::now(), says);
            address.clone_into(&mut page.url);
            return Ok(true);
        }
        self.pages += 1;
        if self.pages > self.plan.max_hops {
            return Err(Problem::TooManyHops(self.plan.max_hops).into());
        }
        let took = look
            .took
            .map(|took| Duration::from_secs_f64(took.max(0.0) / 1e3));
        self.tab.note_page(address, look.status, took);
        self.page = Some(Watched {
            began: look.began,
            url: address.to_owned(),
            since: Instant::now(),
            says,
        });
        Ok(true)
    }

    /// Does what the page wants, if it is time to; whether something was done.
    async fn answer(&mut self, look: &Look, waited: Duration) -> Result<bool, Failure> {
        if let Some(key) = &look.bad {
            return Err(self.bad_selector(key));
        }
        if !look.is_parsed() {
            return Ok(false);
        }
        let settled = look.is_complete() || look.age > HALF_LOADED;
        if look.challenge {
            let status = status_of(look);
            return match waited > UNKNOWN_LIMIT * 2 {
                true => Err(self.saying(
                    Problem::Challenge {
                        status,
                        stayed: true,
                    },
                    look,
                )),
                false => Ok(false),
            };
        }
        if !settled {
            return Ok(false);
        }
        let wants = look.wants();
        if let Some(kind) = look
            .captcha()
            .filter(|_| !matches!(wants, Wants::Consent(_)))
        {
            return Err(self.saying(Problem::Captcha { kind }, look));
        }
        // What was done on this very page may still be at work.
        let same = self.answered.number > 0 && look.acted == self.answered.number;
        match wants {
            Wants::Credentials(task) if self.asks_again(&task) => {
                if same && !self.has_answered(look, waited) {
                    return self.unless_stuck(waited);
                }
                Err(self.refused(&task, look))
            }
            Wants::Credentials(task) => self.fill(look, task).await,
            Wants::Consent(_) if same && self.answered.what == CONSENT => self.unless_stuck(waited),
            Wants::Consent(_) if self.answered.consented >= CONSENTS => {
                Err(self.saying(Problem::TooManyPages(CONSENTS), look))
            }
            Wants::Consent(task) => self.consent(look, task).await,
            Wants::Nothing if same => self.unless_stuck(waited),
            Wants::Nothing => match waited > UNKNOWN_LIMIT && self.is_quiet(QUIET) {
                true => Err(self.unknown(look)),
                false => Ok(false),
            },
        }
    }

    /// A form for what was sent already.
    fn asks_again(&self, task: &Task) -> bool {
        match task.password {
            Some(_) => self.answered.password,
            None => self.answered.user,
        }
    }

    /// Whether a page that stayed after it was answered has given its own answer: a message that wasn't there before.
    fn has_answered(&self, look: &Look, waited: Duration) -> bool {
        let new = look
            .errors()
            .iter()
            .any(|error| !self.answered.errors.contains(error));
        let quiet = if self.tab.tells_all() {
            QUIET
        } else {
            QUIET_UNTOLD
        };
        new && waited >= quiet && self.is_quiet(QUIET)
    }

    fn is_quiet(&self, least: Duration) -> bool {
        !self.tab.tells_all() || self.tab.quiet_for().is_some_and(|quiet| quiet >= least)
    }

    fn unless_stuck(&self, waited: Duration) -> Result<bool, Failure> {
        if waited < STUCK_LIMIT || !self.is_quiet(QUIET) {
            return Ok(false);
        }
        let after = self.answered.what;
        Err(Failure::saying(
            Problem::Stuck {
                after,
                waited: STUCK_LIMIT,
            },
            &self
                .page
                .as_ref()
                .map_or_else(String::new, |page| page.says.clone()),
            &self.walk.secrets(),
        ))
    }

    fn refused(&self, task: &Task, look: &Look) -> Failure {
        let mut said = look.says();
        for dialog in self.tab.dialogs() {
            said = format!("{said}; {dialog}");
        }
        let problem = match task.password {
            Some(_) if says_locked(&said) => Problem::Locked,
            Some(_) => Problem::Credentials,
            None => Problem::NameAgain,
        };
        Failure::saying(problem, &said, &self.walk.secrets())
    }

    fn unknown(&self, look: &Look) -> Failure {
        let status = status_of(look);
        let problem = if self.answered.password && says_locked(&look.says()) {
            Problem::Locked
        } else if status == StatusCode::TOO_MANY_REQUESTS {
            Problem::Throttled {
                status,
                retry_after: None,
            }
        } else if status.is_server_error() {
            Problem::Server(status)
        } else if status.is_client_error() {
            Problem::Status {
                expected: "a page or a redirect",
                status,
            }
        } else {
            Problem::Page {
                needs_script: false,
            }
        };
        self.saying(problem, look)
    }

    fn saying(&self, problem: Problem, look: &Look) -> Failure {
        Failure::saying(problem, &look.says(), &self.walk.secrets())
    }

    fn bad_selector(&self, name: &str) -> Failure {
        let selectors = &self.pilot.options.selectors;
        let (key, selector) = match name {
            "user" => ("user", &selectors.user),
            "password" => ("password", &selectors.password),
            "submit" => ("submit", &selectors.submit),
            _ => ("consent", &selectors.consent),
        };
        let selector = selector.clone().unwrap_or_default();
        Problem::Selector { key, selector }.into()
    }

    /// Fills in user name, password or both, and sends them.
    async fn fill(&mut self, look: &Look, task: Task) -> Result<bool, Failure> {
        let mut fill = Vec::new();
        fill.extend(task.user.map(|at| json!([at, self.walk.user])));
        fill.extend(
            task.password
                .map(|at| json!([at, self.walk.password.expose()])),
        );
        let what = match (task.user, task.password) {
            (Some(_), Some(_)) => "user name and password were sent",
            (Some(_), None) => "the user name was sent",
            _ => "the password was sent",
        };
        let wants = Wants::Credentials(task);
        let kind = wants.kind();
        let Wants::Credentials(task) = wants else {
            return Ok(false);
        };
        let done = self
            .act(look, &task, fill, (what, kind, Purpose::Credentials))
            .await?;
        if done {
            self.answered.user |= task.user.is_some();
            self.answered.password |= task.password.is_some();
        }
        Ok(done)
    }

    async fn consent(&mut self, look: &Look, task: Task) -> Result<bool, Failure> {
        let how = (CONSENT, Some(PageKind::Consent), Purpose::Consent);
        let done = self.act(look, &task, Vec::new(), how).await?;
        self.answered.consented += u32::from(done);
        Ok(done)
    }

    async fn act(
        &mut self,
        look: &Look,
        task: &Task,
        fill: Vec<Value>,
        (what, kind, purpose): (&'static str, Option<PageKind>, Purpose),
    ) -> Result<bool, Failure> {
        let number = self.answered.number + 1;
        let wanted =
            json!({ "fill": fill, "tick": task.tick, "click": task.click, "number": number });
        let visits = self.tab.visits().len();
        match self.tab.evaluate(&format!("({ACT})({wanted})")).await {
            Ok(Value::Bool(true)) => {}
            Ok(Value::Array(names)) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                return Err(self.saying(Problem::Unfilled(names.join(", ")), look));
            }
            // The page is not what it was any more: it is looked at again.
            Ok(_) => return Ok(false),
            Err(error) if error.is_page_change() => return Ok(false),
            Err(error) => return Err(problem(&error).into()),
        }
        self.marks.push((visits, purpose));
        if let Some(kind) = kind {
            self.kinds.push((visits.saturating_sub(1), kind));
        }
        self.answered.number = number;
        self.answered.what = what;
        self.answered.errors = look.errors().to_vec();
        if let Some(page) = &mut self.page {
            page.since = Instant::now();
        }
        Ok(true)
    }

    /// Hands the visits to the walk as its hops, and takes a picture where it failed.
    async fn end(
        self,
        arrived: Result<Response, Failure>,
        begun: Instant,
    ) -> (Result<Response, Failure>, Tab) {
        for (at, visit) in self.tab.visits().iter().enumerate() {
            let Some(url) = Url::parse(&visit.url)
                .ok()
                .filter(|url| !self.walk.leads_back(url))
            else {
                continue;
            };
            let marked = self.marks.iter().find(|(first, _)| *first == at);
            let purpose = match marked {
                Some((_, purpose)) => *purpose,
                None if at == 0 => Purpose::Authorize,
                None => Purpose::Follow,
            };
            let kind = self
                .kinds
                .iter()
                .rev()
                .find(|(of, _)| *of == at)
                .map(|(_, kind)| *kind);
            self.walk
                .note(purpose, kind, hop_method(visit), &url, (visit, begun));
        }
        let failure = match arrived {
            Ok(response) => return (Ok(response), self.tab),
            Err(failure) => failure,
        };
        let secrets = self.walk.secrets();
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose()).collect();
        let picture: Option<PathBuf> = match &failure.problem {
            // There is nothing to be seen.
            Problem::Unreachable(_) | Problem::Transport(_) | Problem::Browser(_) => None,
            _ => {
                self.pilot
                    .picture(&self.tab, self.walk.user, &secrets)
                    .await
            }
        };
        (Err(Failure { picture, ..failure }), self.tab)
    }
}

/// What was done when a consent was given.
const CONSENT: &str = "consent was given";

fn status_of(look: &Look) -> StatusCode {
    let status = look
        .status
        .and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::OK)
}

fn hop_method(visit: &Visit) -> &'static str {
    if visit.method == "POST" {
        "POST"
    } else {
        "GET"
    }
}
