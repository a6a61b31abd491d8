//! Many users created, logged in over plain HTTP and given their session, against the sandbox as a process of its own.
//! Processor time is sampled while throng runs; which part of it belongs to the set-up is told by the sandbox's journal, whose
//! clock is the machine's monotonic one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Options, Part};
use crate::aims::Aim;
use crate::child::{Child, GENERATOR};
use crate::clients::{Client, Programs};
use crate::sandbox_process::Sandbox;
use crate::target::monotonic;

/// How often throng's processor time is looked at.
const SAMPLING: Duration = Duration::from_millis(10);
/// How long the whole run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The crowd's logins, printed and for the document.
pub(super) fn measure(sandbox: &Sandbox, options: &Options) -> Result<Part> {
    let programs = &options.programs;
    let path = programs.output.join("logins-report.json");
    let samples = watch(throng(sandbox, options, &path)?)?;

    let report = all_in(&path, options.users)?;
    let setup = Setup::of(&sandbox.journal()?)?;
    let cpu = (cpu_at(&samples, setup.ended) - cpu_at(&samples, setup.began)).as_secs_f64();
    let wall = Duration::from_nanos(setup.ended - setup.began).as_secs_f64();
    let each = cpu / f64::from(options.users) * 1000.0;

    println!(
        "{} users, {} at once; generator on core 0, sandbox on core 1",
        options.users, options.login_concurrency
    );
    println!(
        "created, logged in and provisioned: {wall:.2} s, {} requests",
        setup.requests
    );
    println!(
        "client CPU: {cpu:.2} s, {each:.2} ms a user, creation and after-login requests included"
    );
    Ok(Part {
        aims: vec![Aim {
            what: "ms client CPU a login, plain HTTP".to_owned(),
            value: each,
            limit: 3.0,
        }],
        document: json!({
            "method": {"users": options.users, "login_concurrency": options.login_concurrency,
                "cpu": "user + system time of throng between the set-up's first and last request in the sandbox's journal"},
            "seconds": wall,
            "client_cpu_seconds": cpu,
            "requests": setup.requests,
            "setup": report["setup"],
        }),
    })
}

/// A report, in which all users must have logged in.
pub(super) fn all_in(path: &Path, users: u32) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Value = serde_json::from_str(&text).context("throng's report")?;
    for phase in ["provision", "login"] {
        let (count, failures) = (
            &report["setup"][phase]["count"],
            &report["setup"][phase]["failures"],
        );
        ensure!(
            *count == users && *failures == 0,
            "phase {phase}: {count} users, {failures} failures"
        );
    }
    Ok(report)
}

/// throng with as little load as there can be, behind a set-up of all users.
fn throng(sandbox: &Sandbox, options: &Options, report: &Path) -> Result<Child> {
    let mut command = logging_in(
        sandbox,
        &options.programs,
        (options.users, options.login_concurrency),
        report,
    );
    Child::start(
        &mut command,
        GENERATOR,
        &options.programs.log(Client::Throng),
    )
}

/// The command for so many users, so many of them at once.
pub(super) fn logging_in(
    sandbox: &Sandbox,
    programs: &Programs,
    (users, at_once): (u32, u32),
    report: &Path,
) -> Command {
    let mut command = programs.throng(&["run", "nextcloud", "--url", &sandbox.mcp_url]);
    sandbox.introduce(&mut command);
    command
        .args(["--workload", "baseline", "--no-thresholds"])
        .args(["--warmup", "0", "--duration", "1", "--pause", "1s"])
        .args(["--users", &users.to_string()])
        .args(["--login-concurrency", &at_once.to_string()])
        .arg("--output")
        .arg(report);
    command
}

/// Processor time with when it was seen, in ns of CLOCK_MONOTONIC, until the end of the run.
fn watch(mut child: Child) -> Result<Vec<(u64, Duration)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut samples = Vec::new();
    while child.is_running()? {
        ensure!(
            Instant::now() < deadline,
            "the run takes more than {PATIENCE:?}"
        );
        // It may end between the question and the look.
        samples.extend(child.cpu().ok().map(|cpu| (monotonic(), cpu)));
        std::thread::sleep(SAMPLING);
    }
    child.finish(Duration::ZERO)?;
    Ok(samples)
}

/// The last processor time seen up to `at`.
fn cpu_at(samples: &[(u64, Duration)], at: u64) -> Duration {
    samples
        .iter()
        .take_while(|(seen, _)| *seen <= at)
        .last()
        .map_or(Duration::ZERO, |(_, cpu)| *cpu)
}

/// The set-up as the sandbox saw it; times in ns of CLOCK_MONOTONIC.
struct Setup {
    began: u64,
    ended: u64,
    requests: usize,
}

impl Setup {
    /// From the first creation of a user to the end of the last request that only a set-up makes.
    fn of(entries: &[Value]) -> Result<Self> {
        let of = |method: &'static str, ends: &'static [&'static str]| {
            let route = move |entry: &&Value| {
                entry["route"]
                    .as_str()
                    .is_some_and(|route| ends.iter().any(|end| route.ends_with(end)))
            };
            entries
                .iter()
                .filter(move |entry| entry["method"] == method)
                .filter(route)
        };
        let time = |entry: &Value, name: &str| entry[name].as_u64();
        let began = of("POST", &["/cloud/users"])
            .filter_map(|entry| time(entry, "started_ns"))
            .min();
        let ended = of("POST", &["/oidc/token", "/app-password"])
            .filter_map(|entry| time(entry, "ended_ns"))
            .max();
        let (began, ended) = began
            .zip(ended)
            .context("the sandbox's journal shows no set-up")?;
        let within = |entry: &&Value| {
            time(entry, "ended_ns").is_some_and(|at| (began..=ended).contains(&at))
        };
        Ok(Setup {
            began,
            ended,
            requests: entries.iter().filter(within).count(),
        })
    }
}
