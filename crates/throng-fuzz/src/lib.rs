//! Requests that nobody planned, and what their answers prove.

pub mod value;
