//! Paths inside one user's files.

use std::fmt;

/// A normalised path: empty for the root, else `/a/b` without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FilePath(String);

/// The path climbs (`..`), or holds a character that no file name may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {0:?}")]
pub(crate) struct InvalidPath(pub(crate) String);

impl FilePath {
    /// The root directory.
    pub(crate) fn root() -> Self {
        Self(String::new())
    }

    /// Reads a decoded path; leading, trailing and doubled slashes do not matter.
    pub(crate) fn parse(raw: &str) -> Result<Self, InvalidPath> {
        let mut path = String::with_capacity(raw.len() + 1);
        for part in raw.split('/').filter(|part| !part.is_empty()) {
            if part == "." || part == ".." || part.contains('\0') {
                return Err(InvalidPath(raw.to_owned()));
            }
            path.push('/');
            path.push_str(part);
        }
        Ok(Self(path))
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last part; empty for the root.
    pub(crate) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The directory this stands in, as text (`""` is the root; also for the root itself).
    pub(crate) fn parent(&self) -> &str {
        self.0.rfind('/').map_or("", |slash| &self.0[..slash])
    }

    /// The directory this stands in.
    pub(crate) fn parent_path(&self) -> Self {
        Self(self.parent().to_owned())
    }

    /// The path of `name` in this directory; `name` must be a single part.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The first part and what follows it: `/a/b/c` is `a` and `/b/c`. Nothing for the root.
    pub(crate) fn split_first(&self) -> Option<(&str, Self)> {
        let inner = self.0.strip_prefix('/')?;
        Some(match inner.find('/') {
            Some(slash) => (&inner[..slash], Self(inner[slash..].to_owned())),
            None => (inner, Self::root()),
        })
    }

    /// `self` followed by `rest`.
    pub(crate) fn concat(&self, rest: &Self) -> Self {
        Self(format!("{}{}", self.0, rest.0))
    }

    /// `""` for the root, else `/a/b`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_split() {
        let cases = [
            ("", "", "", ""),
            ("/", "", "", ""),
            ("a.txt", "/a.txt", "", "a.txt"),
            (
                "/Notes//Work/T.md/",
                "/Notes/Work/T.md",
                "/Notes/Work",
                "T.md",
            ),
        ];
        for (raw, whole, parent, name) in cases {
            let path = FilePath::parse(raw).unwrap();
            assert_eq!(
                (path.as_str(), path.parent(), path.name()),
                (whole, parent, name),
                "{raw}"
            );
        }
        for raw in ["../x", "/a/../b", "/./a", "a\0b"] {
            assert!(FilePath::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn the_first_part_is_split_off() {
        let split = |raw: &str| {
            FilePath::parse(raw)
                .unwrap()
                .split_first()
                .map(|(first, rest)| (first.to_owned(), rest.as_str().to_owned()))
        };
        assert_eq!(split("/"), None);
        assert_eq!(split("/T.md"), Some(("T.md".into(), "".into())));
        assert_eq!(split("/D/e/f"), Some(("D".into(), "/e/f".into())));
    }
}
