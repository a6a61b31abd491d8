//! Real browsers on small local pages. Each test runs one browser, and one test at a time.

mod gone;
mod support;
mod tabs;
