//! What is on the machine.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A family of browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Chromium and Google Chrome.
    Chromium,
    /// Firefox.
    Firefox,
    /// WebKitGTK, by its driver and MiniBrowser.
    Webkit,
}

impl Engine {
    /// All, in the order of preference.
    pub const ALL: [Self; 3] = [Self::Chromium, Self::Firefox, Self::Webkit];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
            Self::Webkit => "webkit",
        }
    }

    /// The programs that it is known by.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &[
                "chromium",
                "chromium-browser",
                "google-chrome",
                "google-chrome-stable",
                "chrome",
            ],
            Self::Firefox => &["firefox", "firefox-esr"],
            Self::Webkit => &["WebKitWebDriver"],
        }
    }

    /// Debian's packages.
    fn packages(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox-esr",
            Self::Webkit => "webkit2gtk-driver and xvfb",
        }
    }

    /// The engine whose program has such a name.
    pub(crate) fn of_program(program: &Path) -> Option<Self> {
        let name = program.file_name()?.to_str()?.to_ascii_lowercase();
        if name.contains("chrom") {
            Some(Self::Chromium)
        } else if name.contains("firefox") {
            Some(Self::Firefox)
        } else if name.contains("webkit") {
            Some(Self::Webkit)
        } else {
            None
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|engine| engine.word() == text).ok_or_else(|| {
            format!("`{text}` is no browser; known are chromium, firefox and webkit")
        })
    }
}

/// Where programs are looked for.
#[derive(Debug, Clone, Default)]
pub struct Search(Vec<PathBuf>);

impl Search {
    /// The directories of a `PATH`; none is an empty one.
    pub fn path(path: Option<&OsString>) -> Self {
        let directories = path.map(|path| std::env::split_paths(path).collect());
        Self(directories.unwrap_or_default())
    }

    /// The first executable file of this name.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let mut candidates = self.0.iter().map(|directory| directory.join(name));
        candidates.find(|candidate| is_program(candidate))
    }
}

/// A browser that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Which.
    pub engine: Engine,
    /// The program: the browser itself, or WebKit's driver.
    pub program: PathBuf,
    /// WebKit's browser; none for the others.
    pub mini_browser: Option<PathBuf>,
}

/// Why there is no browser.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FindError {
    /// None of them.
    #[error(
        "no browser is on this machine: install chromium, firefox (Debian: firefox-esr) or webkit2gtk-driver, or name one with --browser-path"
    )]
    Nothing,
    /// Not the one that was asked for.
    #[error(
        "{engine} is not on this machine (looked for {programs} in PATH): install it (Debian: {packages}), or name it with --browser-path"
    )]
    Missing {
        /// Which.
        engine: Engine,
        /// What was looked for.
        programs: String,
        /// What has it.
        packages: &'static str,
    },
    /// The path leads to no program.
    #[error("{}: no program that can be started", .0.display())]
    NoProgram(PathBuf),
    /// The program's name doesn't tell which browser it is.
    #[error("{}: which browser this is can't be told by its name; say it with --browser", .0.display())]
    Unknown(PathBuf),
    /// WebKit's driver without a browser to drive.
    #[error(
        "WebKitWebDriver is on this machine, but not the MiniBrowser that it drives (Debian has both in webkit2gtk-driver)"
    )]
    NoMiniBrowser,
}

/// The browser that was asked for: of this engine, else any; at this path, else wherever it is.
///
/// # Errors
/// What was looked for, and what to install.
pub fn find(
    engine: Option<Engine>,
    path: Option<&Path>,
    search: &Search,
) -> Result<Installed, FindError> {
    if let Some(path) = path {
        let program = if is_program(path) {
            path.to_owned()
        } else {
            // A bare name is looked for as a shell would.
            let name = path.to_str().filter(|name| !name.contains('/'));
            name.and_then(|name| search.program(name))
                .ok_or_else(|| FindError::NoProgram(path.to_owned()))?
        };
        let engine = engine
            .or_else(|| Engine::of_program(&program))
            .ok_or_else(|| FindError::Unknown(path.to_owned()))?;
        return complete(engine, program);
    }
    if let Some(engine) = engine {
        let mut programs = engine.programs().iter();
        let program = programs.find_map(|name| search.program(name));
        return match program {
            Some(program) => complete(engine, program),
            None => Err(FindError::Missing {
                engine,
                programs: engine.programs().join(", "),
                packages: engine.packages(),
            }),
        };
    }
    let mut engines = Engine::ALL.into_iter();
    engines
        .find_map(|engine| find(Some(engine), None, search).ok())
        .ok_or(FindError::Nothing)
}

fn complete(engine: Engine, program: PathBuf) -> Result<Installed, FindError> {
    let mini_browser = match engine {
        Engine::Webkit => Some(mini_browser().ok_or(FindError::NoMiniBrowser)?),
        Engine::Chromium | Engine::Firefox => None,
    };
    Ok(Installed {
        engine,
        program,
        mini_browser,
    })
}

/// It is in no `PATH`: distributions keep it beside WebKit's own helpers.
fn mini_browser() -> Option<PathBuf> {
    let mut libraries = vec![PathBuf::from("/usr/libexec")];
    for parent in ["/usr/lib", "/usr/lib64"] {
        libraries.push(PathBuf::from(parent));
        let entries = std::fs::read_dir(parent).into_iter().flatten();
        let mut below: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().contains("-linux-gnu"))
            .collect();
        below.sort();
        libraries.append(&mut below);
    }
    let versions = ["webkit2gtk-4.1", "webkitgtk-6.0", "webkit2gtk-4.0"];
    let mut candidates = libraries
        .iter()
        .flat_map(|library| versions.map(|version| library.join(version).join("MiniBrowser")));
    candidates.find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_by_their_programs_names() {
        for (name, engine) in [
            ("/usr/bin/chromium", Some(Engine::Chromium)),
            (
                "/opt/google/chrome/google-chrome-stable",
                Some(Engine::Chromium),
            ),
            ("/usr/bin/firefox-esr", Some(Engine::Firefox)),
            ("/usr/bin/WebKitWebDriver", Some(Engine::Webkit)),
            ("/usr/bin/ladybird", None),
        ] {
            assert_eq!(Engine::of_program(Path::new(name)), engine, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let nowhere = Search::default();
        let error = |engine| find(engine, None, &nowhere).unwrap_err().to_string();
        assert!(error(None).starts_with("no browser is on this machine"));
        let firefox = error(Some(Engine::Firefox));
        assert!(firefox.contains("firefox-esr"), "{firefox}");
        let path = Path::new("/nowhere/chromium");
        let error = find(None, Some(path), &nowhere).unwrap_err().to_string();
        assert_eq!(error, "/nowhere/chromium: no program that can be started");
    }

    #[test]
    fn a_program_of_another_name_takes_the_engine_that_is_said() {
        let search = Search::default();
        let shell = Path::new("/bin/sh");
        assert!(matches!(
            find(None, Some(shell), &search),
            Err(FindError::Unknown(_))
        ));
        let found = find(Some(Engine::Firefox), Some(shell), &search).unwrap();
        assert_eq!(found.program, shell);
    }
}
