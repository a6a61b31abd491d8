//! The target's user directory: the names and passwords of the users that a run creates.

pub mod names;
pub mod password;
