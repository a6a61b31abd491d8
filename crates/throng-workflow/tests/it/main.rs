//! Tests of the crate as others use it.

mod crowd;
mod fake;
mod format;
mod http;
mod problems;
mod roster;
mod run;
mod tokens;
