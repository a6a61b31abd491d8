//! The engine as its callers see it, under a paused clock.

mod load;
mod support;
