//! Names of generated users, and the only rule by which a stranger's name is told from ours.
//!
//! A name is a template such as `{prefix}_user_{n}`. Cleanup deletes what [`NameTemplate::number`] recognises and
//! nothing else: the whole name must be the template with exactly our prefix and a plain number.

/// What is wrong with a template or a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The prefix is empty: the cleanup could then match other people's users.
    #[error("the user prefix is empty (give one with --user-prefix)")]
    EmptyPrefix,
    /// The directory would refuse this character, or it would confuse matching.
    #[error(
        "the user prefix {prefix:?} contains {found:?}; allowed are letters, digits and _ . @ - '"
    )]
    PrefixCharacter {
        /// The prefix as given.
        prefix: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// A placeholder that nobody fills.
    #[error("the template {template:?} has the unknown placeholder {{{found}}}; known are {known}")]
    Placeholder {
        /// The template as given.
        template: String,
        /// The unknown placeholder's name.
        found: String,
        /// Those that may be used here.
        known: &'static str,
    },
    /// A user name's template needs each of these exactly once.
    #[error(
        "the template {template:?} must contain {{{missing}}} exactly once, or cleanup could not tell our users from others"
    )]
    Missing {
        /// The template as given.
        template: String,
        /// The placeholder's name.
        missing: &'static str,
    },
    /// Two users would share a name or a digit could be read two ways.
    #[error("the template {template:?} must not have a digit directly beside {{n}}")]
    DigitBesideNumber {
        /// The template as given.
        template: String,
    },
}

/// How users are named, shown and written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplates {
    /// Login name, e.g. `{prefix}_user_{n}`.
    pub name: NameTemplate,
    /// Display name, e.g. `Load Test User {n}` (`{prefix}`, `{n}`, `{name}`).
    pub display_name: String,
    /// Mail address, e.g. `{name}@benchmark.local` (same placeholders).
    pub email: String,
}

impl NameTemplates {
    /// Checks all three templates.
    pub fn new(name: &str, display_name: &str, email: &str) -> Result<Self, NameError> {
        for template in [display_name, email] {
            fill(
                template,
                &|key| matches!(key, "prefix" | "n" | "name").then(String::new),
                "{prefix}, {n}, {name}",
            )?;
        }
        Ok(Self {
            name: NameTemplate::new(name)?,
            display_name: display_name.to_owned(),
            email: email.to_owned(),
        })
    }

    /// The `n`th user (from 1).
    pub fn user(&self, prefix: &Prefix, n: u32) -> UserName {
        let name = self.name.render(prefix, n);
        let lookup = |key: &str| match key {
            "prefix" => Some(prefix.0.clone()),
            "n" => Some(n.to_string()),
            "name" => Some(name.clone()),
            _ => None,
        };
        let render = |template| {
            fill(template, &lookup, "")
                .expect("the placeholders were checked when the templates were built")
        };
        UserName {
            n,
            display_name: render(&self.display_name),
            email: render(&self.email),
            name,
        }
    }
}

impl Default for NameTemplates {
    fn default() -> Self {
        Self::new(
            "{prefix}_user_{n}",
            "Load Test User {n}",
            "{name}@benchmark.local",
        )
        .expect("the built-in templates are valid (tested)")
    }
}

/// One user's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The user's number, from 1.
    pub n: u32,
    /// Login name.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// Mail address.
    pub email: String,
}

/// A checked, non-empty prefix of user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Accepts letters, digits and `_ . @ - '`, as Nextcloud does for user names.
    pub fn new(prefix: &str) -> Result<Self, NameError> {
        if prefix.is_empty() {
            return Err(NameError::EmptyPrefix);
        }
        match prefix
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "_.@-'".contains(*c)))
        {
            Some(found) => Err(NameError::PrefixCharacter {
                prefix: prefix.to_owned(),
                found,
            }),
            None => Ok(Self(prefix.to_owned())),
        }
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A template of login names with exactly one `{prefix}` and one `{n}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(String);

impl NameTemplate {
    /// Checks the template.
    pub fn new(template: &str) -> Result<Self, NameError> {
        fill(
            template,
            &|key| matches!(key, "prefix" | "n").then(String::new),
            "{prefix}, {n}",
        )?;
        for (placeholder, missing) in [("{prefix}", "prefix"), ("{n}", "n")] {
            if template.matches(placeholder).count() != 1 {
                return Err(NameError::Missing {
                    template: template.to_owned(),
                    missing,
                });
            }
        }
        let (before, after) = template.split_once("{n}").expect("counted above");
        // `{prefix}{n}` with the prefix `u1` would make `u12` both the 2nd user of `u1` and the 12th of `u`.
        if before.ends_with(|c: char| c.is_ascii_digit() || c == '}')
            || after.starts_with(|c: char| c.is_ascii_digit() || c == '{')
        {
            return Err(NameError::DigitBesideNumber {
                template: template.to_owned(),
            });
        }
        Ok(Self(template.to_owned()))
    }

    /// The template's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The login name of user `n`.
    pub fn render(&self, prefix: &Prefix, n: u32) -> String {
        self.0
            .replace("{prefix}", &prefix.0)
            .replace("{n}", &n.to_string())
    }

    /// What all our names have in common before the number: what a directory is asked to search for.
    pub fn stem(&self, prefix: &Prefix) -> String {
        let (before, _) = self.parts(prefix);
        before
    }

    /// The user number if `name` is exactly a name of ours: `^prefix_user_[1-9][0-9]*$` for the default template.
    pub fn number(&self, prefix: &Prefix, name: &str) -> Option<u64> {
        let (before, after) = self.parts(prefix);
        let digits = name.strip_prefix(&before)?.strip_suffix(&after)?;
        if digits.is_empty()
            || digits.starts_with('0')
            || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        // More digits than a u64 has were not made by us.
        digits.parse().ok()
    }

    fn parts(&self, prefix: &Prefix) -> (String, String) {
        let (before, after) = self.0.split_once("{n}").expect("checked by `new`");
        (
            before.replace("{prefix}", &prefix.0),
            after.replace("{prefix}", &prefix.0),
        )
    }
}

/// Fills `{key}` placeholders; `{{` and `}}` are not escapes here, names have no use for braces.
fn fill(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    known: &'static str,
) -> Result<String, NameError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let key = after.split('}').next().unwrap_or_default();
        let unknown = || NameError::Placeholder {
            template: template.to_owned(),
            found: key.to_owned(),
            known,
        };
        if key.len() == after.len() {
            return Err(unknown());
        }
        out.push_str(&lookup(key).ok_or_else(unknown)?);
        rest = &after[key.len() + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let user = NameTemplates::default().user(&prefix("loadtest"), 3);
        assert_eq!(user.name, "loadtest_user_3");
        assert_eq!(user.display_name, "Load Test User 3");
        assert_eq!(user.email, "loadtest_user_3@benchmark.local");
    }

    #[test]
    fn only_exactly_ours_match() {
        let template = NameTemplates::default().name;
        let ours = prefix("loadtest");
        for (name, n) in [
            ("loadtest_user_1", 1),
            ("loadtest_user_10", 10),
            ("loadtest_user_4294967296", 4_294_967_296),
        ] {
            assert_eq!(template.number(&ours, name), Some(n));
        }
        for stranger in [
            "carol_loadtest",
            "xloadtest_user_1",
            "loadtest_user_1x",
            "loadtest_user_",
            "loadtest_user_0",
            "loadtest_user_01",
            "loadtest_user_+1",
            "loadtest_user_-1",
            "loadtest_user_1 ",
            "loadtest_user_1\n",
            "Loadtest_user_1",
            "loadtest_user_1_user_2",
            "loadtest_user_١",
            "loadtest_user_99999999999999999999999",
            "",
        ] {
            assert_eq!(template.number(&ours, stranger), None, "{stranger:?}");
        }
        // A prefix is text, not a pattern.
        assert_eq!(
            template.number(&prefix("l.adtest"), "loadtest_user_1"),
            None
        );
    }

    #[test]
    fn bad_prefixes_and_templates_are_refused() {
        assert_eq!(Prefix::new(""), Err(NameError::EmptyPrefix));
        assert!(matches!(
            Prefix::new("a b"),
            Err(NameError::PrefixCharacter { found: ' ', .. })
        ));
        assert!(matches!(
            Prefix::new("a/../b"),
            Err(NameError::PrefixCharacter { found: '/', .. })
        ));
        for bad in [
            "user_{n}",
            "{prefix}_user",
            "{prefix}_{n}_{n}",
            "{prefix}{n}",
            "{prefix}_1{n}",
            "{n}{prefix}",
            "{prefix}_{m}_{n}",
            "{prefix}_{n",
        ] {
            assert!(NameTemplate::new(bad).is_err(), "{bad}");
        }
        assert!(NameTemplates::new("{prefix}_{n}", "{who}", "{name}@x").is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_rendered_is_recognised(p in "[a-zA-Z0-9_.@'-]{1,12}", n in 1u32..) {
            let (template, prefix) = (NameTemplates::default().name, Prefix::new(&p).unwrap());
            let name = template.render(&prefix, n);
            proptest::prop_assert_eq!(template.number(&prefix, &name), Some(u64::from(n)));
            let (before, after) = (format!("x{name}"), format!("{name}x"));
            proptest::prop_assert_eq!(template.number(&prefix, &before), None);
            proptest::prop_assert_eq!(template.number(&prefix, &after), None);
        }
    }
}
