//! Tests of the crate as others use it.

mod fake;
mod format;
mod problems;
mod run;
