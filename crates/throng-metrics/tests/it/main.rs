//! What metrics says about runs, as its callers see it.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

mod fixture;
mod http;
mod recorder;
mod reports;
mod tallies;
mod thresholds;
mod verdicts;
