//! Who passes the pages of a login: a plain client, a browser, or the one and where it can't get on the other.

use std::sync::Arc;

use url::Url;

use super::LoginPlan;
use super::browser::Pilot;
use super::callback::Response;
use super::error::Failure;
use super::walk::Walk;

/// How pages are passed.
#[derive(Debug, Clone, Default)]
pub enum LoginDriver {
    /// Their markup is read, and their forms are sent.
    #[default]
    Http,
    /// A browser shows them.
    Browser(Arc<Pilot>),
    /// As [`LoginDriver::Http`]; where a page is made by scripts, or lets only browsers pass, by this browser from then on.
    Auto(Arc<Pilot>),
}

impl LoginDriver {
    /// The browser that is used, or may be.
    pub fn pilot(&self) -> Option<&Arc<Pilot>> {
        match self {
            Self::Http => None,
            Self::Browser(pilot) | Self::Auto(pilot) => Some(pilot),
        }
    }

    /// Whether the next login begins with a browser.
    pub fn is_by_browser(&self) -> bool {
        self.at_once().is_some()
    }

    /// The browser to begin with; none to begin by HTTP.
    pub(super) fn at_once(&self) -> Option<&Pilot> {
        match self {
            Self::Http => None,
            Self::Browser(pilot) => Some(pilot),
            Self::Auto(pilot) => pilot.has_fallen_back().then_some(pilot),
        }
    }

    /// The browser to go on with after `failure` by HTTP.
    ///
    /// # Errors
    /// The failure, where a browser would not get on either, or there is none.
    pub(super) fn instead(&self, failure: Failure) -> Result<&Pilot, Failure> {
        let Self::Auto(pilot) = self else {
            return Err(failure);
        };
        if !failure.problem.wants_browser() {
            return Err(failure);
        }
        match pilot.installed() {
            Ok(installed) => {
                pilot.fall_back(installed.engine, &failure.problem);
                Ok(pilot)
            }
            // What went wrong by HTTP stays what went wrong.
            Err(missing) => {
                let said = failure.said.unwrap_or_default();
                Err(Failure {
                    said: Some(format!("{said} (a browser might get on, but {missing})")),
                    ..failure
                })
            }
        }
    }
}

/// Walks to the redirect URI in the plan's way.
pub(super) async fn reach_callback(
    walk: &mut Walk<'_>,
    plan: &LoginPlan,
    authorize: Url,
    state: &str,
) -> Result<Response, Failure> {
    let pilot = match plan.driver.at_once() {
        Some(pilot) => pilot,
        None => match walk.reach_callback(plan, authorize.clone()).await {
            Ok(response) => return Ok(response),
            Err(failure) => plan.driver.instead(failure)?,
        },
    };
    walk.ride_to_callback(plan, pilot, &authorize, state).await
}
