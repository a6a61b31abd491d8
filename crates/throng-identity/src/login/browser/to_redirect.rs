//! A ride that ends at the redirect URI.

use std::time::{Duration, Instant};

use url::Url;

use super::answer::Answer;
use super::listener::Expected;
use super::pilot::{Pilot, WayBack};
use super::ride::Ride;
use crate::login::LoginPlan;
use crate::login::callback::{self, Response};
use crate::login::error::Failure;
use crate::login::walk::{Purpose, Walk};

/// How long a browser may take to tell of a page that it has been to.
const HEARD_OUT: Duration = Duration::from_millis(200);

impl Walk<'_> {
    /// Has a browser walk until the redirect URI is reached.
    pub(in crate::login) async fn ride_to_callback(
        &mut self,
        plan: &LoginPlan,
        pilot: &Pilot,
        authorize: &Url,
        state: &str,
    ) -> Result<Response, Failure> {
        let (_place, waited) = pilot.place().await?;
        self.stood_still(waited);
        let back = pilot.way_back(&plan.redirect_uri).await?;
        let (mut expected, intercept) = match &back {
            WayBack::Listener(listener) => (Some(listener.expect(state)), None),
            WayBack::Intercept(address) => (None, Some(address.clone())),
        };
        let mut ride = Ride::begin(self, pilot, None, intercept).await?;
        let arrived = ride.reach_redirect(authorize, &mut expected).await;
        if arrived.is_ok() {
            ride.hear_out().await;
        }
        ride.end(arrived, Purpose::Authorize).await
    }
}

impl Ride<'_, '_> {
    async fn reach_redirect(
        &mut self,
        authorize: &Url,
        expected: &mut Option<Expected>,
    ) -> Result<Response, Failure> {
        self.open(authorize).await?;
        loop {
            if let Some(response) = self.arrived(expected) {
                return Ok(response);
            }
            if let Some(look) = self.look(authorize).await? {
                // The address may be the one that was waited for.
                if let Some(response) = self.arrived_at(&look.url) {
                    return Ok(response);
                }
                if self.answer(&look).await? == Answer::Rests {
                    self.check_lost(&look)?;
                }
            }
            let limit = self.next_look()?;
            let Some(coming) = expected else {
                self.tab.changed(limit).await;
                continue;
            };
            tokio::select! {
                response = &mut coming.arrives => match response {
                    Ok(response) => return Ok(response),
                    Err(_) => *expected = None,
                },
                () = self.tab.changed(limit) => {}
            }
        }
    }

    /// The response, if it is there.
    fn arrived(&self, expected: &mut Option<Expected>) -> Option<Response> {
        if let Some(expected) = expected
            && let Ok(response) = expected.arrives.try_recv()
        {
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
}
