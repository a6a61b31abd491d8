//! `users.from`: users who are there already, named in a file of their own (CSV or JSON).
//!
//! No message shows a line of such a file: passwords stand in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::csv;
use crate::decode::{At, Decode, record};
use crate::file::Environment;
use crate::model::{Login, LoginKind, Scenario};
use crate::node::{self, Kind, Node};
use crate::problem::{Mark, Problems};
use crate::scalar::SecretText;

/// What may stand in the head of a CSV file, and as a key of a user in JSON.
const COLUMNS: [&str; 7] = [
    "name",
    "password",
    "password_file",
    "email",
    "display_name",
    "token",
    "token_file",
];

record! {
    /// A user who is there already.
    Listed ("a user") {
        /// Login name.
        "name" name: At<String>;
        /// Login password.
        "password" password: Option<SecretText>;
        /// A file with the password, relative to this one. A line's end at its end is not taken for a part of it.
        "password_file" password_file: Option<At<String>>;
        /// Mail address.
        "email" email: Option<String>;
        /// Display name.
        "display_name" display_name: Option<String>;
        /// An access token, for logins that take one as it is.
        "token" token: Option<SecretText>;
        /// A file with the token, relative to this one.
        "token_file" token_file: Option<At<String>>;
    }
}

/// The file, and who is in it.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Where it is: relative to the scenario file, or as a flag says.
    pub path: At<String>,
    /// As many of its users as take part, in the order of the file.
    pub users: Vec<Listed>,
}

impl Decode for Roster {
    /// Reads the path. The file is read when it is known how the users log in.
    fn decode(node: &Node, problems: &mut Problems) -> Self {
        Self {
            path: At::decode(node, problems),
            users: Vec::new(),
        }
    }
}

impl JsonSchema for Roster {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Roster".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Reads the users of the file that a scenario names, if it names one. Then nobody is created, and without a number of users all
/// in the file take part.
pub(crate) fn fill(
    scenario: &mut Scenario,
    environment: &Environment<'_>,
    unset: &mut Vec<String>,
    problems: &mut Problems,
) {
    let Some(roster) = &mut scenario.users.from else {
        return;
    };
    scenario.users.create = false;
    let mark = roster.path.mark;
    if problems.reported_in(mark) {
        return;
    }
    let path = match mark.flag {
        Some(_) => PathBuf::from(&*roster.path),
        None => problems.directory().join(&*roster.path),
    };
    let source = match std::fs::read_to_string(&path) {
        Ok(source) => source,
        Err(error) => {
            let message = format!("cannot read the users' file {}: {error}", path.display());
            return problems.add(mark, message);
        }
    };
    // Without its text: see above.
    let mut own = Problems::new(&path.display().to_string(), "");
    let source = source.strip_prefix('\u{feff}').unwrap_or(&source);
    let root = match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => csv::parse(source, &COLUMNS, &mut own),
        Some("json") => node::parse(source, &mut own),
        _ => {
            let message = format!(
                "expected a file of users ending in .csv or .json, found {}",
                path.display()
            );
            return problems.add(mark, message);
        }
    };
    if let Some(root) = root {
        let mut listed = listed(root, environment, unset, &mut own);
        read_secrets(&mut listed, &path, &mut own);
        for twice in named_twice(&listed) {
            own.add(twice.0, twice.1);
        }
        check_credentials(
            &listed,
            &scenario.login,
            scenario.users.password.as_ref(),
            &mut own,
        );
        roster.users = listed;
    }
    if own.is_empty() {
        let count = &mut scenario.users.count;
        // The file's number is that of the file's users, and not of those whom a flag brings instead.
        if mark.flag.is_some() && count.mark.flag.is_none() && !problems.reported_in(count.mark) {
            count.mark = Mark::default();
        }
        take(&mut roster.users, count, &path, problems);
    }
    problems.absorb(own);
}

/// Reports users who lack what the login takes, and no other way gives them.
fn check_credentials(
    listed: &[Listed],
    login: &Login,
    shared: Option<&SecretText>,
    problems: &mut Problems,
) {
    let has_shared = shared.is_some_and(|password| !password.0.expose().is_empty());
    if needs_password(login) && !has_shared {
        for user in listed.iter().filter(|user| user.password.is_none()) {
            // One whose file could not be read has been told of.
            if user.password_file.is_none() {
                problems.add_with_help(
                    user.mark,
                    format!(
                        "`{}` has no password, which `login: {{ kind: {} }}` needs",
                        user.name.value,
                        login.kind.word()
                    ),
                    "fill in `password` or `password_file`; or give `users.password`, where all have the same",
                );
            }
        }
    }
    if login.kind == LoginKind::Bearer && login.token.is_none() {
        for user in listed.iter().filter(|user| user.token.is_none()) {
            // One whose file could not be read has been told of.
            if user.token_file.is_none() {
                let message = format!(
                    "`{}` has no token, which `login: {{ kind: bearer }}` needs",
                    user.name.value
                );
                let help = "fill in `token` or `token_file`; or give `login.token`, where all have the same";
                problems.add_with_help(user.mark, message, help);
            }
        }
    }
}

/// The users of a list, with the environment's values.
fn listed(
    mut root: Node,
    environment: &Environment<'_>,
    unset: &mut Vec<String>,
    own: &mut Problems,
) -> Vec<Listed> {
    unset.extend(environment.substitute(&mut root, own));
    let Kind::List(rows) = &root.kind else {
        own.add(root.mark, "expected a list of users");
        return Vec::new();
    };
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        if !matches!(row.kind, Kind::Map(_)) {
            // What it is instead is not shown: it may be a password.
            let keys = COLUMNS.join(", ");
            own.add(row.mark, format!("expected a user with the keys {keys}"));
            continue;
        }
        let user = Listed::decode(row, own);
        if user.name.is_empty() && !own.reported_in(user.name.mark) && user.name.mark.line > 0 {
            own.add(user.name.mark, "the name is empty");
        }
        all.push(user);
    }
    if rows.is_empty() {
        own.add(root.mark, "there is no user in it");
    }
    all
}

/// Puts in what stands in files of its own.
fn read_secrets(users: &mut [Listed], path: &Path, own: &mut Problems) {
    let beside = path.parent().unwrap_or(Path::new(""));
    for user in users {
        for (key, value, file) in [
            ("password", &mut user.password, &user.password_file),
            ("token", &mut user.token, &user.token_file),
        ] {
            let Some(file) = file else { continue };
            if value.is_some() {
                own.add(
                    file.mark,
                    format!("`{}` has both `{key}` and `{key}_file`", user.name.value),
                );
                continue;
            }
            let place = beside.join(&file.value);
            match std::fs::read_to_string(&place) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    let text = text.strip_suffix('\r').unwrap_or(text);
                    *value = Some(SecretText(text.into()));
                }
                Err(error) => own.add(
                    file.mark,
                    format!(
                        "`{key}_file` of `{}`: cannot read {}: {error}",
                        user.name.value,
                        place.display()
                    ),
                ),
            }
        }
    }
}

/// Two virtual users must not be one person.
fn named_twice(users: &[Listed]) -> Vec<(Mark, String)> {
    let mut lines = HashMap::new();
    let mut twice = Vec::new();
    for user in users.iter().filter(|user| !user.name.is_empty()) {
        let name = user.name.value.as_str();
        if let Some(line) = lines.insert(name, user.name.mark.line) {
            let message = format!("`{name}` is on line {line}, too");
            twice.push((user.name.mark, message));
        }
    }
    twice
}

/// As many as are wanted, the first of the file; all, where nobody says how many.
fn take(users: &mut Vec<Listed>, count: &mut At<u32>, path: &Path, problems: &mut Problems) {
    let there = u32::try_from(users.len()).unwrap_or(u32::MAX);
    if count.mark == Mark::default() {
        count.value = there;
    } else if count.value > there && !problems.reported_in(count.mark) {
        problems.add_with_help(
            count.mark,
            format!(
                "{} users are wanted, but there {} {there} in {}",
                count.value,
                if there == 1 { "is" } else { "are" },
                path.display()
            ),
            format!("add users to it, or take no more than {there} (users.count, --users)"),
        );
    }
    users.truncate(count.value as usize);
}

/// Whether users of this login have a password of their own.
pub(crate) fn needs_password(login: &Login) -> bool {
    match login.kind {
        LoginKind::OAuth | LoginKind::Request | LoginKind::Form => true,
        // Each is a client of its own, and that is its secret.
        LoginKind::ClientCredentials => login.client.is_none(),
        // A user may bring a token in place of a login.
        LoginKind::TokenExchange | LoginKind::Bearer | LoginKind::None => false,
    }
}
