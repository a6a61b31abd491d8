//! The engine as its callers see it, under a paused clock.

mod context;
mod lifecycle;
mod load;
mod omission;
mod support;
