//! The bugs that can be planted, so that a tool that looks for bugs can be held against known ones.
//!
//! Each is a small change at one place of a handler; which one, stands beside its name. Without them
//! the sandbox is sound as far as its own OpenAPI document says.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A planted bug. All are reached by requests that any fuzzer of the documented API may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bug {
    /// `POST /scripts` with a `name` that has a character beyond U+FFFF or a combining mark
    /// (U+0300 to U+036F) is a 500.
    UnicodeTitle500,
    /// `GET /user/executions` with `skip` of 2^31-1 or more is a 500.
    NumberEdge500,
    /// `GET /scripts/{script_id}` gives out any user's script.
    ForeignScriptReadable,
    /// `PUT /user/settings/theme` does not look at the CSRF token.
    CsrfUncheckedRoute,
    /// `GET /scripts/{script_id}` still serves a deleted script.
    DeletedStillServed,
    /// After `POST /auth/logout` the old access token goes on working.
    SessionAfterLogout,
    /// `POST /auth/register` believes a `role` in the body.
    RoleFromRegister,
    /// `POST /scripts` that is refused with 422 keeps a row if it had a `name`.
    RefusedCreateLeavesRow,
    /// Parallel `POST /auth/register` of one username all succeed.
    DoubleUsernameRace,
    /// `POST /execute` with a body that is no JSON answers with a stack trace in its 422.
    StackTraceInError,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::UnicodeTitle500,
        Self::NumberEdge500,
        Self::ForeignScriptReadable,
        Self::CsrfUncheckedRoute,
        Self::DeletedStillServed,
        Self::SessionAfterLogout,
        Self::RoleFromRegister,
        Self::RefusedCreateLeavesRow,
        Self::DoubleUsernameRace,
        Self::StackTraceInError,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnicodeTitle500 => "unicode-title-500",
            Self::NumberEdge500 => "number-edge-500",
            Self::ForeignScriptReadable => "foreign-script-readable",
            Self::CsrfUncheckedRoute => "csrf-unchecked-route",
            Self::DeletedStillServed => "deleted-still-served",
            Self::SessionAfterLogout => "session-after-logout",
            Self::RoleFromRegister => "role-from-register",
            Self::RefusedCreateLeavesRow => "refused-create-leaves-row",
            Self::DoubleUsernameRace => "double-username-race",
            Self::StackTraceInError => "stack-trace-in-error",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        Self::ALL
            .into_iter()
            .find(|bug| bug.name() == text)
            .ok_or_else(|| UnknownBug {
                name: text.to_owned(),
                known: Self::ALL.map(Self::name).join(", "),
            })
    }
}

/// A name that is no bug's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown bug `{name}`, expected `all` or some of {known}")]
pub struct UnknownBug {
    /// What was read.
    pub name: String,
    /// The names that there are.
    pub known: String,
}

/// The bugs that are planted; the default is none. Read from `all` or names with commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bugs(BTreeSet<Bug>);

impl Bugs {
    /// Every bug.
    pub fn all() -> Self {
        Bug::ALL.into_iter().collect()
    }

    /// Whether this one is planted.
    pub fn has(&self, bug: Bug) -> bool {
        self.0.contains(&bug)
    }

    /// The planted ones.
    pub fn iter(&self) -> impl Iterator<Item = Bug> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Bug> for Bugs {
    fn from_iter<I: IntoIterator<Item = Bug>>(bugs: I) -> Self {
        Self(bugs.into_iter().collect())
    }
}

impl FromStr for Bugs {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        if text.trim() == "all" {
            return Ok(Self::all());
        }
        text.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::parse)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_wrong_ones_are_named() {
        for bug in Bug::ALL {
            assert_eq!(bug.name().parse(), Ok(bug));
        }
        assert_eq!("all".parse(), Ok(Bugs::all()));
        let two = "number-edge-500, role-from-register".parse::<Bugs>();
        let expected = [Bug::NumberEdge500, Bug::RoleFromRegister];
        assert_eq!(two, Ok(expected.into_iter().collect()));
        let error = "all,nonsense".parse::<Bugs>().unwrap_err();
        assert!(error.to_string().contains("`all`"), "{error}");
    }
}
