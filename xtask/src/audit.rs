//! `cargo xtask audit`: what can be said of the dependencies without asking anybody. Licences must be on the list; a
//! crate in two versions must be known and have its reason; the workspace's crates may know only those that the
//! architecture lets them; some crates are banned; lock files name no registry. It looks for no known
//! vulnerabilities: that needs a database from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::licence;
use crate::process;
use crate::workspace::Workspace;

/// Licences that a program under MIT OR Apache-2.0 can contain.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that are there in more than one version, and why. One that no longer is has to leave this list.
const DUPLICATES: &[(&str, &str)] = &[
    (
        "base64",
        "rmcp and serde-saphyr are on 0.23, jsonwebtoken on 0.22",
    ),
    ("bit-vec", "rcgen (tests) is ahead of proptest (tests)"),
    ("block-buffer", "follows digest"),
    ("const-oid", "follows digest"),
    ("cpufeatures", "follows sha2"),
    ("crypto-common", "follows digest"),
    ("digest", "follows sha2"),
    ("getrandom", "follows rand and rand_core; ring is on 0.2"),
    ("miniz_oxide", "png is on 0.8, flate2 on 0.9"),
    ("pem", "rcgen (tests) is ahead of jsonwebtoken"),
    (
        "rand",
        "ours is 0.9; rsa and jsonwebtoken are on 0.8, rmcp and proptest on 0.10",
    ),
    ("rand_chacha", "follows rand"),
    ("rand_core", "follows rand"),
    ("sha2", "rmcp is on 0.11, rsa and jsonwebtoken on 0.10"),
    ("syn", "macros only; not in the program"),
    ("synstructure", "macros only; not in the program"),
];

/// Crates that must not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "one crypto provider for the whole graph: ring"),
    ("native-tls", "TLS is rustls"),
    ("openssl-sys", "TLS is rustls"),
    ("serde_yaml", "unmaintained; serde-saphyr reads YAML"),
];

/// Which of the workspace's own crates each may depend on. Tests may start the sandbox besides; the sandbox itself
/// uses nothing of ours even in its tests, since a mistake shared with what it tests would cancel itself out.
const ARROWS: &[(&str, &[&str])] = &[
    ("throng-metrics", &[]),
    ("throng-browser", &[]),
    ("throng-client", &[]),
    ("throng-sandbox", &[]),
    ("throng-charts", &["throng-metrics"]),
    ("throng-engine", &["throng-metrics"]),
    ("throng-identity", &["throng-browser", "throng-client"]),
    (
        "throng-workflow",
        &[
            "throng-engine",
            "throng-identity",
            "throng-client",
            "throng-metrics",
        ],
    ),
    (
        "throng-fuzz",
        &["throng-client", "throng-engine", "throng-metrics"],
    ),
    ("xtask", &[]),
];

/// What tests may depend on besides.
const TEST_TARGET: &str = "throng-sandbox";

/// The workspace's crates that may depend on all others.
const ROOTS: &[&str] = &["throng", "throng-bench"];

/// In `throng-metrics` nothing may sleep, spawn or ask for the time.
const PURE: (&str, &[&str]) = (
    "throng-metrics",
    &["tokio", "futures-util", "hyper", "rustix"],
);
/// The engine knows no protocol.
const NO_HTTP: (&str, &[&str]) = (
    "throng-engine",
    &["http", "hyper", "hyper-util", "rustls", "url"],
);

/// Print what was looked at; fail with everything that is wrong.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let host = host(workspace)?;
    let mut command = workspace.cargo(&[
        "metadata",
        "--offline",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
    ]);
    command.arg(host);
    let metadata: Value =
        serde_json::from_str(&process::output(&mut command)?).context("cargo metadata")?;
    let graph = Graph::of(&metadata)?;

    let mut wrong = Vec::new();
    graph.licences(&mut wrong);
    graph.duplicates(&mut wrong);
    graph.banned(&mut wrong);
    graph.boundaries(&mut wrong);
    registries(workspace, &mut wrong)?;

    let own = graph.packages.iter().filter(|package| package.own).count();
    println!(
        "{} crates of others and {own} of the workspace looked at",
        graph.packages.len() - own
    );
    if !wrong.is_empty() {
        bail!("the audit found:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

/// The packages that are built for this machine.
struct Graph<'a> {
    packages: Vec<Package<'a>>,
}

struct Package<'a> {
    name: &'a str,
    version: &'a str,
    licence: Option<&'a str>,
    own: bool,
    /// The names of its direct dependencies, but for those of its tests.
    needs: BTreeSet<&'a str>,
    /// The names of those of its tests.
    tests_need: BTreeSet<&'a str>,
}

impl<'a> Graph<'a> {
    fn of(metadata: &'a Value) -> Result<Self> {
        let nodes = metadata["resolve"]["nodes"]
            .as_array()
            .context("cargo metadata has no resolved nodes")?;
        let built: BTreeSet<&str> = nodes
            .iter()
            .filter_map(|node| node["id"].as_str())
            .collect();
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata has no packages")?;
        let packages = packages
            .iter()
            .filter(|package| package["id"].as_str().is_some_and(|id| built.contains(id)))
            .map(Package::of)
            .collect::<Result<_>>()?;
        Ok(Self { packages })
    }

    fn licences(&self, wrong: &mut Vec<String>) {
        for package in &self.packages {
            let allowed = |name: &str| LICENCES.contains(&name);
            if !package
                .licence
                .is_some_and(|expression| licence::satisfied(expression, &allowed))
            {
                let found = package.licence.unwrap_or("none");
                wrong.push(format!(
                    "{} {}: licence {found} is not on the list",
                    package.name, package.version
                ));
            }
        }
    }

    fn duplicates(&self, wrong: &mut Vec<String>) {
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in &self.packages {
            versions
                .entry(package.name)
                .or_default()
                .push(package.version);
        }
        versions.retain(|_, versions| versions.len() > 1);
        for (name, versions) in &versions {
            if !DUPLICATES.iter().any(|(known, _)| known == name) {
                wrong.push(format!(
                    "{name} is there in versions {}: see DUPLICATES",
                    versions.join(", ")
                ));
            }
        }
        for (name, _) in DUPLICATES {
            if !versions.contains_key(name) {
                wrong.push(format!("{name} is there once only: take it off DUPLICATES"));
            }
        }
    }

    fn banned(&self, wrong: &mut Vec<String>) {
        for package in &self.packages {
            if let Some((name, reason)) = BANNED.iter().find(|(name, _)| *name == package.name) {
                wrong.push(format!("{name} must not come in: {reason}"));
            }
        }
    }

    fn boundaries(&self, wrong: &mut Vec<String>) {
        let own: BTreeSet<&str> = self
            .packages
            .iter()
            .filter(|package| package.own)
            .map(|package| package.name)
            .collect();
        for package in self
            .packages
            .iter()
            .filter(|package| package.own && !ROOTS.contains(&package.name))
        {
            let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
                wrong.push(format!(
                    "{}: ARROWS does not say which crates it may know",
                    package.name
                ));
                continue;
            };
            let tests_may = |needed: &str| needed == TEST_TARGET && package.name != TEST_TARGET;
            for needed in package
                .tests_need
                .intersection(&own)
                .filter(|needed| !may.contains(*needed) && !tests_may(needed))
            {
                wrong.push(format!(
                    "{}: its tests must not know {needed}",
                    package.name
                ));
            }
            for needed in package
                .needs
                .intersection(&own)
                .filter(|needed| !may.contains(*needed))
            {
                wrong.push(format!("{} must not know {needed}", package.name));
            }
            for (name, forbidden) in [PURE, NO_HTTP] {
                for needed in forbidden
                    .iter()
                    .filter(|needed| name == package.name && package.needs.contains(*needed))
                {
                    wrong.push(format!("{name} must not know {needed}"));
                }
            }
        }
    }
}

impl<'a> Package<'a> {
    fn of(package: &'a Value) -> Result<Self> {
        let dependencies = package["dependencies"]
            .as_array()
            .context("a package without dependencies")?;
        let names = |of_tests: bool| {
            let wanted = move |dependency: &&Value| (dependency["kind"] == "dev") == of_tests;
            dependencies
                .iter()
                .filter(wanted)
                .filter_map(|dependency| dependency["name"].as_str())
                .collect()
        };
        Ok(Self {
            name: package["name"]
                .as_str()
                .context("a package without a name")?,
            version: package["version"]
                .as_str()
                .context("a package without a version")?,
            licence: package["license"].as_str(),
            own: package["source"].is_null(),
            needs: names(false),
            tests_need: names(true),
        })
    }
}

/// Lock files of other ecosystems may name versions and checksums, but no registry.
fn registries(workspace: &Workspace, wrong: &mut Vec<String>) -> Result<()> {
    let lock = workspace
        .root
        .join("xtask/third-party/conformance/package-lock.json");
    let lock: Value =
        serde_json::from_str(&fs::read_to_string(&lock).context("cannot read package-lock.json")?)?;
    let packages = lock["packages"]
        .as_object()
        .context("package-lock.json has no packages")?;
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        if !package["resolved"].is_null() {
            wrong.push(format!(
                "package-lock.json: {name} names its registry (`resolved`)"
            ));
        }
        if package["integrity"].is_null() {
            wrong.push(format!(
                "package-lock.json: {name} has no checksum (`integrity`)"
            ));
        }
    }
    let requirements = workspace
        .root
        .join("xtask/third-party/nextcloud-mcp-server.txt");
    for line in fs::read_to_string(requirements)
        .context("cannot read nextcloud-mcp-server.txt")?
        .lines()
    {
        if !line.starts_with('#') && (!line.contains("==") || line.contains("//")) {
            wrong.push(format!(
                "nextcloud-mcp-server.txt: {line:?} is not a package with its version"
            ));
        }
    }
    Ok(())
}

/// The platform that rustc builds for.
fn host(workspace: &Workspace) -> Result<String> {
    let text = process::output(&mut workspace.cargo(&["version", "--verbose"]))?;
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo names no host")?;
    Ok(host.to_owned())
}
