//! Who passes the pages between the authorization endpoint and the redirect URI: a plain client, a browser, or the one and
//! where it can't get on the other.

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
}

/// Walks to the redirect URI in the plan's way.
pub(super) async fn reach_callback(
    walk: &mut Walk<'_>,
    plan: &LoginPlan,
    authorize: Url,
    state: &str,
) -> Result<Response, Failure> {
    let (pilot, falls_back) = match &plan.driver {
        LoginDriver::Http => return walk.reach_callback(plan, authorize).await,
        LoginDriver::Browser(pilot) => (pilot, false),
        LoginDriver::Auto(pilot) => (pilot, !pilot.has_fallen_back()),
    };
    if falls_back {
        let failure = match walk.reach_callback(plan, authorize.clone()).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        if !failure.problem.wants_browser() {
            return Err(failure);
        }
        match pilot.installed() {
            Ok(installed) => pilot.fall_back(installed.engine, &failure.problem),
            // What went wrong by HTTP stays what went wrong.
            Err(missing) => {
                let said = failure.said.unwrap_or_default();
                return Err(Failure {
                    said: Some(format!("{said} (a browser might get on, but {missing})")),
                    ..failure
                });
            }
        }
    }
    walk.ride_to_callback(plan, pilot, &authorize, state).await
}
