//! One attempt at a login in a tab of its own: where it has been, which page it is on and since when, and how long it may take.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use throng_browser::{Browser, BrowserError, LoadFailure, Tab, TabOptions, Visit};
use url::Url;

use super::answer::{Answered, Filling};
use super::look::{self, Look};
use super::pilot::{Pilot, problem};
use crate::login::error::{Failure, Problem};
use crate::login::walk::{PageKind, Purpose, Walk, unanswered};
use crate::pages::trouble;
use crate::wire;

/// After which time a tab that shows nothing is asked about, where the browser doesn't tell why.
const BLANK_LIMIT: Duration = Duration::from_millis(1_500);
/// How often a page is looked at while nothing is heard of it: at first, and at most. Where the browser tells of what happens, only
/// what a script does by itself has to be looked for.
const POLL: (Duration, Duration) = (Duration::from_millis(120), Duration::from_millis(500));
/// The same where the browser doesn't tell.
const POLL_UNTOLD: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// A login takes at most so many times what a page may take.
const PAGES: u32 = 4;

/// One attempt, in a tab of its own.
pub(super) struct Ride<'w, 'a> {
    pub(super) walk: &'w mut Walk<'a>,
    pub(super) pilot: &'w Pilot,
    browser: Arc<Browser>,
    pub(super) tab: Tab,
    /// What only a login by the scenario's form has.
    pub(super) filling: Option<Filling<'w>>,
    /// Where in the visits answers to forms begin, and what was sent.
    pub(super) marks: Vec<(usize, Purpose)>,
    /// What pages were taken for, by the visit they came with.
    pub(super) kinds: Vec<(usize, PageKind)>,
    pub(super) answered: Answered,
    /// The page that is looked at.
    pub(super) page: Option<Watched>,
    pages: u32,
    pace: Pace,
}

/// A page, and since when it is as it is.
pub(super) struct Watched {
    /// No two of a tab's have the same.
    began: f64,
    url: String,
    pub(super) since: Instant,
    /// What it says; a change of that is something that happens.
    pub(super) says: String,
}

/// How often is looked, and for how long nothing has come of it.
struct Pace {
    begun: Instant,
    /// When something happened last.
    last: Instant,
    next: Duration,
    polls: (Duration, Duration),
    asked_why: bool,
    trouble: Option<BrowserError>,
}

impl Pace {
    fn new(polls: (Duration, Duration)) -> Self {
        Self {
            begun: Instant::now(),
            last: Instant::now(),
            next: polls.0,
            polls,
            asked_why: false,
            trouble: None,
        }
    }
}

impl<'w, 'a> Ride<'w, 'a> {
    /// Opens a tab. Requests to `intercept` are kept from being sent.
    pub(super) async fn begin(
        walk: &'w mut Walk<'a>,
        pilot: &'w Pilot,
        filling: Option<Filling<'w>>,
        intercept: Option<String>,
    ) -> Result<Self, Failure> {
        let browser = pilot.browser().await?;
        let tab = browser.tab(&TabOptions { intercept }).await;
        let tab = tab.map_err(|error| problem(&error))?;
        let polls = if tab.tells_all() { POLL } else { POLL_UNTOLD };
        Ok(Self {
            walk,
            pilot,
            browser,
            tab,
            filling,
            marks: Vec::new(),
            kinds: Vec::new(),
            answered: Answered::default(),
            page: None,
            pages: 0,
            pace: Pace::new(polls),
        })
    }

    pub(super) async fn open(&mut self, url: &Url) -> Result<(), Failure> {
        let opened = self.tab.open(url.as_str()).await;
        opened.map_err(|error| problem(&error))?;
        self.pace = Pace::new(self.pace.polls);
        Ok(())
    }

    /// What the tab shows; nothing while there is no page, or another one is coming. `first` is where it was sent.
    pub(super) async fn look(&mut self, first: &Url) -> Result<Option<Look>, Failure> {
        self.check_load()?;
        match self.look_now().await {
            Ok(look) if look.is_blank() => {
                let silent = !self.tab.tells_all() && self.pace.last.elapsed() > BLANK_LIMIT;
                if silent && !self.pace.asked_why {
                    self.pace.asked_why = true;
                    self.ask_why(first).await?;
                }
                Ok(None)
            }
            Ok(look) => {
                if self.note(&look)? {
                    self.stirs();
                }
                Ok(Some(look))
            }
            Err(error) if self.tab.has_crashed() => Err(problem(&error).into()),
            Err(error) => {
                self.pace.trouble = Some(error);
                Ok(None)
            }
        }
    }

    /// Something happened.
    pub(super) fn stirs(&mut self) {
        (self.pace.last, self.pace.next) = (Instant::now(), self.pace.polls.0);
    }

    /// For how long the page has been as it is.
    pub(super) fn waited(&self) -> Duration {
        let page = self.page.as_ref();
        page.map_or(Duration::ZERO, |page| page.since.elapsed())
    }

    /// After how long to look again, unless the tab tells sooner that something has changed. Fails if it has taken too long already.
    pub(super) fn next_look(&mut self) -> Result<Duration, Failure> {
        let limit = self.walk.limits.timeout;
        let idle = self.pace.last.elapsed();
        if idle > limit || self.pace.begun.elapsed() > limit * PAGES {
            return Err(match self.pace.trouble.take() {
                Some(error) => problem(&error).into(),
                None => Problem::Unreachable(format!(
                    "{} showed no page to answer within {idle:?}",
                    self.browser.engine(),
                ))
                .into(),
            });
        }
        let next = self.pace.next;
        self.pace.next = (next * 2).min(self.pace.polls.1);
        Ok(next)
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
        let client = self.walk.client.without_cookies();
        match client.send(request, self.walk.limits.timeout).await {
            Ok(_) => Ok(()),
            Err(error) => Err(unanswered(error).into()),
        }
    }

    async fn look_now(&self) -> Result<Look, BrowserError> {
        let selectors = self.pilot.options.selectors.by_key();
        let selectors = json!(HashMap::from(selectors));
        let challenges = json!(trouble::CHALLENGES);
        let names = json!(self.names());
        let script = format!("({})({selectors}, {challenges}, {names})", look::SCRIPT);
        let found = self.tab.evaluate(&script).await?;
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
        self.walk.check_length(self.pages)?;
        let took = look
            .took
            .map(|took| Duration::from_secs_f64(took.max(0.0) / 1e3));
        let posted_to = self.answered.posted_to.take();
        let method = match posted_to.is_some_and(|url| url.as_str() == address) {
            true => "POST",
            false => "GET",
        };
        self.tab.note_page(method, address, look.status, took);
        self.page = Some(Watched {
            began: look.began,
            url: address.to_owned(),
            since: Instant::now(),
            says,
        });
        Ok(true)
    }

    /// Hands the visits to the walk as its hops, the first of them for `first`; takes a picture where it failed, and closes the tab.
    pub(super) async fn end<T>(
        self,
        arrived: Result<T, Failure>,
        first: Purpose,
    ) -> Result<T, Failure> {
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
                None if at == 0 => first,
                None => Purpose::Follow,
            };
            let mut kinds = self.kinds.iter().rev();
            let kind = kinds.find(|(of, _)| *of == at).map(|(_, kind)| *kind);
            self.walk.note(
                purpose,
                kind,
                hop_method(visit),
                &url,
                (visit, self.tab.opened()),
            );
        }
        let ended = match arrived {
            Ok(came) => Ok(came),
            Err(failure) => {
                let picture = self.picture(&failure.problem).await;
                Err(Failure { picture, ..failure })
            }
        };
        if let Err(error) = self.tab.close().await {
            tracing::debug!(%error, "closing the tab of a login");
        }
        ended
    }

    async fn picture(&self, problem: &Problem) -> Option<PathBuf> {
        // There is nothing to be seen.
        if matches!(
            problem,
            Problem::Unreachable(_) | Problem::Transport(_) | Problem::Browser(_)
        ) {
            return None;
        }
        let secrets = self.walk.secrets();
        let secrets: Vec<&str> = secrets.iter().map(|secret| secret.expose()).collect();
        let (pilot, user) = (self.pilot, self.walk.user);
        pilot.picture(&self.tab, user, &secrets).await
    }
}

fn hop_method(visit: &Visit) -> &'static str {
    if visit.method == "POST" {
        "POST"
    } else {
        "GET"
    }
}
