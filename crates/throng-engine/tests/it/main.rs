//! The engine as its callers see it, under a paused clock.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

mod context;
mod lifecycle;
mod limit;
mod load;
mod omission;
mod support;
