//! Real browsers on small local pages. Each test runs one browser, and one test at a time.

#![allow(
    clippy::disallowed_methods,
    reason = "a test starts what it needs, and ends it"
)]

mod third_party;
