//! Users that are not ready, and why: each reason once, with those whom it held up.

use std::fmt;

use throng_identity::provision::ProvisionError;

/// Reasons that are told; whoever has more of them reads the first ones first.
const REASONS: usize = 5;
/// Users that are named behind a reason that held up several.
const NAMES: usize = 3;

/// Why a run can't begin.
#[derive(Debug, Default)]
pub(crate) struct NotReady {
    pub(crate) users: u32,
    pub(crate) ready: usize,
    /// Users that were left alone after the first failure.
    pub(crate) not_started: u32,
    /// What helps and no single failure knows; empty for nothing.
    pub(crate) advice: &'static str,
    /// In the order of their first users.
    pub(crate) reasons: Vec<Reason>,
}

impl std::error::Error for NotReady {}

/// What held up users.
#[derive(Debug)]
pub(crate) struct Reason {
    /// The message without what is its user's own.
    key: String,
    /// The first user's whole message.
    message: String,
    /// The names of the others.
    others: Vec<String>,
}

impl NotReady {
    /// One more user has failed.
    pub(crate) fn add(&mut self, failure: &ProvisionError) {
        let message = failure.to_string();
        let name = failure.user().unwrap_or_default();
        let picture = match failure {
            ProvisionError::Login(failure) => failure.picture(),
            _ => None,
        };
        let picture = picture.map_or(String::new(), |path| path.display().to_string());
        let mut key = message.clone();
        for own in [&picture, name] {
            key = without(own, &key);
        }
        match self.reasons.iter_mut().find(|reason| reason.key == key) {
            Some(reason) => reason.others.push(name.to_owned()),
            None => self.reasons.push(Reason {
                key,
                message,
                others: Vec::new(),
            }),
        }
    }

    /// How many are ready, and each reason by itself.
    pub(crate) fn parts(&self) -> impl Iterator<Item = String> {
        let reasons = self.reasons.iter().map(Reason::to_string);
        std::iter::once(self.head()).chain(reasons)
    }

    /// How many are ready, without why.
    fn head(&self) -> String {
        let Self { users, ready, .. } = self;
        let left = match self.not_started {
            0 => String::new(),
            n => format!(" ({n} were not begun after the first failure)"),
        };
        format!(
            "only {ready} of {users} users are ready{left}{}",
            self.advice
        )
    }
}

/// A text without a word, where it stands by itself: `u` is a name, but not in `users`.
fn without(word: &str, text: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        out.push_str(before);
        let last = out.chars().next_back();
        let is_alone = !goes_on(last) && !goes_on(after.chars().next());
        out.push_str(if is_alone { "…" } else { word });
        rest = after;
    }
    out + rest
}

impl fmt::Display for NotReady {
    /// With one reason in one line, else with a line for each after the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reasons[..] {
            // Who is one knows that nobody else is ready.
            [reason] if self.users == 1 => write!(f, "{reason}{}", self.advice),
            [reason] => write!(f, "{}: {reason}", self.head()),
            reasons => {
                write!(f, "{}, for {} reasons:", self.head(), reasons.len())?;
                for reason in reasons.iter().take(REASONS) {
                    write!(f, "\n- {reason}")?;
                }
                match reasons.len().saturating_sub(REASONS) {
                    0 => Ok(()),
                    more => write!(f, "\n- and {more} more"),
                }
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.others.is_empty() {
            return Ok(());
        }
        let named = &self.others[..self.others.len().min(NAMES)];
        let more = match self.others.len() - named.len() {
            0 => "",
            _ => ", ...",
        };
        write!(
            f,
            " (and so for {} more: {}{more})",
            self.others.len(),
            named.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(users: u32, failed: &[ProvisionError]) -> NotReady {
        let mut not_ready = NotReady {
            users,
            ready: users as usize - failed.len(),
            ..NotReady::default()
        };
        for failure in failed {
            not_ready.add(failure);
        }
        not_ready
    }

    fn no_token(name: &str) -> ProvisionError {
        ProvisionError::NoToken {
            name: name.to_owned(),
        }
    }

    #[test]
    fn one_user_alone_is_told_why_and_nothing_else() {
        let told = of(1, &[no_token("u1")]).to_string();
        assert!(told.starts_with("u1 has no token: "), "{told}");
    }

    #[test]
    fn users_that_fail_alike_are_counted_and_some_of_them_named() {
        let failed: Vec<_> = (1..=7).map(|n| no_token(&format!("user_{n}"))).collect();
        let not_ready = of(9, &failed);
        assert_eq!(not_ready.head(), "only 2 of 9 users are ready");
        let told = not_ready.to_string();
        assert!(
            told.starts_with("only 2 of 9 users are ready: user_1 has no token: ")
                && told.ends_with(" (and so for 6 more: user_2, user_3, user_4, ...)"),
            "{told}"
        );
        let two = of(2, &failed[..2]).to_string();
        assert!(two.ends_with(" (and so for 1 more: user_2)"), "{two}");
    }

    #[test]
    fn names_are_left_out_where_they_stand_by_themselves() {
        assert_eq!(without("u", "u: users of u_1, (u)"), "…: users of u_1, (…)");
        assert_eq!(without("", "as it is"), "as it is");
    }

    #[test]
    fn reasons_have_lines_of_their_own_and_are_few() {
        let lost = |n: u32| ProvisionError::Lost {
            n,
            reason: format!("reason {n}"),
        };
        let mut failed = vec![no_token("u"), lost(1), no_token("v")];
        let mut not_ready = of(3, &failed);
        not_ready.not_started = 4;
        let told = not_ready.to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines[0],
            "only 0 of 3 users are ready (4 were not begun after the first failure), for 2 reasons:"
        );
        assert!(lines[1].starts_with("- u has no token") && lines[1].ends_with("more: v)"));
        assert_eq!(
            lines[2],
            "- provisioning user 1 ended without a result: reason 1"
        );
        failed.extend((2..9).map(lost));
        let told = of(10, &failed).to_string();
        assert_eq!(told.lines().count(), 1 + REASONS + 1);
        assert!(told.ends_with("\n- and 4 more"), "{told}");
    }
}
