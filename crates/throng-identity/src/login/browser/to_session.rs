//! A ride that ends with a session: the browser's cookies become the identity's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use throng_browser::Cookie;
use throng_client::cookies::Jar;
use url::Url;

use super::answer::{Answer, Filling, QUIET, QUIET_UNTOLD, UNKNOWN_LIMIT, broken};
use super::look::Look;
use super::pilot::{Pilot, problem};
use super::ride::Ride;
use crate::hooks;
use crate::login::error::{Failure, Problem};
use crate::login::form::{Visitor, holds, shut_out_by};
use crate::login::walk::{Purpose, Walk};

/// How long a page may have something under way before its login is looked at all the same: some never rest.
const RESTLESS: Duration = Duration::from_secs(3);
/// How long a session may take to be there after the form was gone, on a page that never stays as it is or never rests.
const SESSION_LIMIT: Duration = Duration::from_secs(12);
/// How long a page may take to be there that is opened for its cookies.
const OPENED_LIMIT: Duration = Duration::from_secs(5);

impl Walk<'_> {
    /// Has a browser fill in the form of the scenario's page, and takes over its cookies.
    pub(in crate::login) async fn ride_to_session(
        &mut self,
        pilot: &Pilot,
        visitor: Visitor<'_>,
    ) -> Result<(), Failure> {
        let (_place, waited) = pilot.place().await?;
        self.stood_still(waited);
        let filling = Filling::new(visitor.fields, visitor.email());
        let mut ride = Ride::begin(self, pilot, Some(filling), None).await?;
        let arrived = ride.reach_session(visitor).await;
        ride.end(arrived, Purpose::Page).await
    }
}

/// What is known of a session that may be there.
#[derive(Default)]
struct Tried {
    /// When the form was gone.
    since: Option<Instant>,
    /// The cookies that it was tried with last, in vain.
    last: Option<Vec<Cookie>>,
}

impl Ride<'_, '_> {
    async fn reach_session(&mut self, visitor: Visitor<'_>) -> Result<(), Failure> {
        self.open(visitor.url).await?;
        let mut tried = Tried::default();
        loop {
            if let Some(look) = self.look(visitor.url).await?
                && self.answer(&look).await? == Answer::Rests
            {
                if !self.is_past(&look) {
                    self.check_lost(&look)?;
                } else if self.has_session(&look, visitor, &mut tried).await? {
                    return Ok(());
                }
            }
            let limit = self.next_look()?;
            self.tab.changed(limit).await;
        }
    }

    /// Whether there is a session, on a page after the form. Fails once there won't be any.
    async fn has_session(
        &mut self,
        look: &Look,
        visitor: Visitor<'_>,
        tried: &mut Tried,
    ) -> Result<bool, Failure> {
        // Not since the form was sent: its answer takes as long as the server does.
        let since = tried.since.get_or_insert_with(Instant::now).elapsed();
        if !self.is_at_rest(look) && since < RESTLESS {
            return Ok(false);
        }
        self.check_let_in(look)?;
        let late = (self.waited() > UNKNOWN_LIMIT && self.is_quiet()) || since > SESSION_LIMIT;
        let cookies = self.cookies().await?;
        if tried.last.as_ref() == Some(&cookies) && !late {
            return Ok(false);
        }
        let failure = match self.take_over(look, visitor, &cookies).await {
            Ok(()) => return Ok(true),
            Err(failure) => failure,
        };
        let may_come = matches!(
            failure.problem,
            Problem::NoCookie { .. }
                | Problem::NotLoggedIn(_)
                | Problem::Credentials
                | Problem::Locked
        );
        if may_come && !late {
            tried.last = Some(cookies);
            return Ok(false);
        }
        if may_come && let Some(all) = self.with_those_of_the_probe(visitor, &cookies).await? {
            return self.take_over(look, visitor, &all).await.map(|()| true);
        }
        Err(failure)
    }

    /// Nothing is under way any more that the form has begun.
    fn is_at_rest(&self, look: &Look) -> bool {
        if self.tab.tells_all() {
            return look.is_complete() && self.is_quiet();
        }
        let least = if self.is_answered(look) {
            QUIET_UNTOLD
        } else {
            QUIET
        };
        look.is_complete() && self.waited() >= least
    }

    /// The answer to the form, or what it led to, is no refusal. A page further on may well be missing: many applications lead to
    /// one that nobody made.
    fn check_let_in(&self, look: &Look) -> Result<(), Failure> {
        if self.is_answered(look) {
            return Ok(());
        }
        let status = self.status_of(look);
        if let Some(problem) = broken(status) {
            return Err(self.saying(problem, look));
        }
        let visits = self.tab.visits();
        let direct = visits.last().is_some_and(|visit| visit.method == "POST");
        let shut_out = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if shut_out || (direct && status.is_client_error()) {
            return Err(self.saying(shut_out_by(status, &look.says()), look));
        }
        Ok(())
    }

    /// Gives the browser's cookies to the identity, and makes sure that they are a session.
    async fn take_over(
        &self,
        look: &Look,
        visitor: Visitor<'_>,
        cookies: &[Cookie],
    ) -> Result<(), Failure> {
        let said = look.says();
        let no_cookie = || self.walk.no_cookie(visitor.login, &said);
        let refusal = || look.shows_login().then(|| self.refusal(look));
        let jar = self.walk.client.cookies().ok_or_else(no_cookie)?;
        jar.clear();
        for cookie in cookies {
            keep(jar, cookie);
        }
        if jar.is_empty() {
            return Err(refusal().unwrap_or_else(no_cookie));
        }
        let Some(probe) = &visitor.login.logged_in else {
            let before = self.filling.as_ref().map_or(&[][..], |form| &form.before);
            // A cookie that every visitor gets says nothing.
            let gained = cookies.iter().any(|cookie| !before.contains(cookie));
            return match refusal() {
                Some(refusal) => Err(refusal),
                None if !gained => Err(no_cookie()),
                None => Ok(()),
            };
        };
        let timeout = visitor.login.timeout;
        let failure = match holds(self.walk, probe, visitor.values, timeout).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        Err(match failure.problem {
            Problem::NotLoggedIn(_) => {
                refusal().unwrap_or_else(|| self.saying(failure.problem, look))
            }
            _ => failure,
        })
    }

    /// The cookies with those that the request of `logged_in` would have, where the browser shows only those of the page at hand; the
    /// page is left for it. `None` where that brings nothing new.
    async fn with_those_of_the_probe(
        &mut self,
        visitor: Visitor<'_>,
        cookies: &[Cookie],
    ) -> Result<Option<Vec<Cookie>>, Failure> {
        let probe = visitor.login.logged_in.as_ref();
        let Some(probe) = probe.filter(|probe| probe.method == Method::GET) else {
            return Ok(None);
        };
        if self.tab.tells_all() {
            return Ok(None);
        }
        let url = hooks::fill_url(&probe.name, &probe.url, visitor.values);
        let url: Url = url.map_err(Problem::declared)?;
        let opened = self.tab.open(url.as_str()).await;
        opened.map_err(|error| problem(&error))?;
        let begun = Instant::now();
        while begun.elapsed() < OPENED_LIMIT {
            let at = self
                .tab
                .evaluate("document.readyState === 'complete' && location.href")
                .await;
            if at.is_ok_and(|at| at.as_str().is_some_and(|at| at.starts_with(url.as_str()))) {
                break;
            }
            self.tab.changed(QUIET).await;
        }
        let mut all = cookies.to_vec();
        let place = |cookie: &Cookie| {
            (
                cookie.name.clone(),
                cookie.domain.clone(),
                cookie.path.clone(),
            )
        };
        for cookie in self.cookies().await? {
            if !all.iter().any(|known| place(known) == place(&cookie)) {
                all.push(cookie);
            }
        }
        Ok((all.len() > cookies.len()).then_some(all))
    }
}

/// Keeps a cookie as the header would have had it kept that brought it to the browser.
fn keep(jar: &Jar, cookie: &Cookie) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs() as i64);
    if let Some((url, header)) = as_set(cookie, now) {
        jar.keep(&url, [&*header]);
    }
}

/// Where a cookie came from, and the `Set-Cookie` that brings it; none for one that can't have come so. `now` is in seconds since 1970.
fn as_set(cookie: &Cookie, now: i64) -> Option<(Url, String)> {
    let host = cookie.domain.trim_start_matches('.');
    let literal = host.contains(':') && !host.starts_with('[');
    let host = if literal {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let scheme = if cookie.secure { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    let mut header = format!("{}={}; Path={}", cookie.name, cookie.value, cookie.path);
    // With a dot before it, it is also for the hosts below (as all three protocols have it).
    if cookie.domain.starts_with('.') {
        header.push_str("; Domain=");
        header.push_str(&host);
    }
    if cookie.secure {
        header.push_str("; Secure");
    }
    if cookie.http_only {
        header.push_str("; HttpOnly");
    }
    if let Some(end) = cookie.expires {
        header.push_str(&format!("; Max-Age={}", (end - now).max(0)));
    }
    Some((url, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(domain: &str, path: &str, secure: bool, expires: Option<i64>) -> Cookie {
        Cookie {
            name: "s".to_owned(),
            value: "v4lue=x".to_owned(),
            domain: domain.to_owned(),
            path: path.to_owned(),
            secure,
            http_only: true,
            expires,
        }
    }

    fn sent(cookies: &[Cookie], to: &str) -> Option<String> {
        let jar = Jar::new();
        for cookie in cookies {
            keep(&jar, cookie);
        }
        let header = jar.header(&to.parse().unwrap());
        header.map(|header| header.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_go_where_the_browser_would_have_sent_them() {
        let host_only = [cookie("app.example", "/", false, None)];
        assert_eq!(
            sent(&host_only, "http://app.example/x").as_deref(),
            Some("s=v4lue=x")
        );
        assert_eq!(sent(&host_only, "http://api.app.example/x"), None);
        let for_all = [cookie(".app.example", "/api", false, None)];
        assert!(sent(&for_all, "http://app.example/api/me").is_some());
        assert!(sent(&for_all, "http://v1.app.example/api").is_some());
        assert_eq!(sent(&for_all, "http://v1.app.example/"), None);
        let secure = [cookie("app.example", "/", true, None)];
        assert!(sent(&secure, "https://app.example/").is_some());
        assert_eq!(sent(&secure, "http://app.example/"), None);
        for address in ["127.0.0.1", "::1", "[::1]", "localhost"] {
            let host = if address == "::1" { "[::1]" } else { address };
            let to = format!("http://{host}:8080/");
            assert!(
                sent(&[cookie(address, "/", false, None)], &to).is_some(),
                "{address}"
            );
        }
    }

    #[test]
    fn cookies_end_when_the_browser_would_have_ended_them() {
        let (_, header) = as_set(&cookie("h", "/", false, Some(1_060)), 1_000).unwrap();
        assert_eq!(header, "s=v4lue=x; Path=/; HttpOnly; Max-Age=60");
        assert_eq!(
            sent(&[cookie("h", "/", false, Some(1_000))], "http://h/"),
            None
        );
    }
}
