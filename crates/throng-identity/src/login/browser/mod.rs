//! Logging one user in by a real browser: it goes to the authorization endpoint, or to the page with the form, and we answer the
//! pages that it shows until it comes back to the redirect URI, or has a session. From there on everything is as without a browser.
//!
//! `look` says what a page wants, `answer` decides when it is time to give it that, and when to give up; `ride` keeps the browser
//! and the time. `to_redirect` and `to_session` are the two places to get to.

mod answer;
mod listener;
mod look;
mod pilot;
mod ride;
mod to_redirect;
mod to_session;

pub use pilot::{DEFAULT_PARALLEL, Pilot, PilotOptions, Selectors, Tell};
