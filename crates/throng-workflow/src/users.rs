//! The names of the users of a scenario, by the rules of the directory that will create them.

use throng_identity::directory::names::{NameError, NameTemplates, Prefix};

use crate::model::Users;
use crate::problem::Problems;

/// More users than this are taken for a mistake.
pub const MOST_USERS: u32 = 1_000_000;

/// The checked templates of the file.
pub fn templates(users: &Users) -> Result<(NameTemplates, Prefix), NameError> {
    Ok((
        NameTemplates::new(&users.name, &users.display_name, &users.email)?,
        Prefix::new(&users.prefix)?,
    ))
}

/// The login names of all users, in order. Mistakes are reported.
pub(crate) fn names(users: &Users, problems: &mut Problems) -> Vec<String> {
    let count = &users.count;
    if !(1..=MOST_USERS).contains(&count.value) && !problems.reported_in(count.mark) {
        problems.add(
            count.mark,
            format!("the number of users goes from 1 to {MOST_USERS}"),
        );
    }
    if let Some(roster) = &users.from {
        let listed = roster.users.iter();
        return listed.map(|user| user.name.value.clone()).collect();
    }
    match templates(users) {
        Ok((templates, prefix)) => (1..=count.value.min(MOST_USERS))
            .map(|n| templates.name.render(&prefix, n))
            .collect(),
        Err(error) => {
            let mark = match &error {
                NameError::EmptyPrefix | NameError::PrefixCharacter { .. } => users.prefix.mark,
                NameError::Placeholder { template, .. } => {
                    [&users.name, &users.display_name, &users.email]
                        .into_iter()
                        .find(|at| at.value == *template)
                        .map_or(users.mark, |at| at.mark)
                }
                NameError::Missing { .. } | NameError::DigitBesideNumber { .. } => users.name.mark,
            };
            problems.add(mark, error.to_string());
            Vec::new()
        }
    }
}
