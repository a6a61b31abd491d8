//! The ways to log in beside each other: plain HTTP, the browsers, and Playwright for Python on the same pages. What is counted
//! is the whole of each program with all that it starts, the start of the browser included; for throng this includes the
//! creation of the users and a second of load, which Playwright's side has done by somebody else, or not at all.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::crowd::{all_in, logging_in};
use super::{Options, Part};
use crate::aims::Aim;
use crate::child::{Child, GENERATOR};
use crate::family;
use crate::sandbox_process::Sandbox;
use crate::statistics::median;
use crate::target::monotonic;

/// How long one round of one way may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long what a program started may outlive it.
const ENDING: Duration = Duration::from_secs(5);
/// How often memory is looked at: each look takes some milliseconds.
const SAMPLING: Duration = Duration::from_millis(200);
/// How often it is asked whether a program has ended.
const ASKING: Duration = Duration::from_millis(20);

/// A way to log in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Browser(&'static str),
    Playwright,
}

const WAYS: [Way; 5] = [
    Way::Http,
    Way::Browser("chromium"),
    Way::Browser("firefox"),
    Way::Browser("webkit"),
    Way::Playwright,
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "throng, plain HTTP",
            Self::Browser("chromium") => "throng, chromium",
            Self::Browser("firefox") => "throng, firefox",
            Self::Browser(_) => "throng, webkit",
            Self::Playwright => "Playwright for Python, chromium",
        }
    }
}

/// What one round took.
struct Taken {
    /// From the program's start to the last token, in seconds.
    seconds: f64,
    /// Processor seconds of all its processes.
    cpu: f64,
}

/// Each way in turn, several rounds, printed and for the document.
pub(super) fn measure(sandbox: &Sandbox, options: &Options) -> Result<Part> {
    family::adopt_orphans()?;
    let users = f64::from(options.way_users);
    let wait = |_| {
        std::thread::sleep(ASKING);
        Ok(())
    };
    let mut rows: Vec<(Way, Vec<Taken>)> = WAYS.map(|way| (way, Vec::new())).into();
    for _ in 0..options.rounds {
        for (way, taken) in &mut rows {
            let load = (options.way_users, options.way_concurrency);
            taken.push(once(*way, sandbox, options, load, wait).with_context(|| way.name())?);
        }
    }
    let each = |taken: &[Taken], of: fn(&Taken) -> f64| {
        median(&taken.iter().map(of).collect::<Vec<_>>()) / users
    };
    let figures: Vec<(Way, f64, f64)> = rows
        .iter()
        .map(|(way, taken)| (*way, each(taken, |t| t.seconds), each(taken, |t| t.cpu)))
        .collect();
    let of = |wanted: Way| figures.iter().find(|(way, ..)| *way == wanted);
    let (_, _, http) = of(Way::Http).context("no figures of plain HTTP")?;
    let (_, peer_seconds, peer) = of(Way::Playwright).context("no figures of Playwright")?;

    println!(
        "\n{} users, {} at once, medians of {} rounds; the program and its browser on core 0, sandbox on core 1",
        options.way_users, options.way_concurrency, options.rounds
    );
    println!(
        "{:<34} {:>10} {:>14} {:>10}",
        "", "s a login", "CPU s a login", "of HTTP's"
    );
    for (way, seconds, cpu) in &figures {
        println!(
            "{:<34} {seconds:>10.3} {cpu:>14.4} {:>9.1}x",
            way.name(),
            cpu / http
        );
    }

    let mut aims = Vec::new();
    for (way, seconds, cpu) in &figures {
        if let Way::Browser(name) = way {
            let aim = |what: &str, value, limit| Aim {
                what: format!("{name}: {what}"),
                value,
                limit,
            };
            aims.push(aim("CPU of Playwright's", cpu / peer, 1.0));
            aims.push(aim("seconds of Playwright's", seconds / peer_seconds, 1.0));
            aims.push(aim(
                "plain HTTP's CPU of the browser's",
                http / cpu,
                1.0 / 50.0,
            ));
        }
    }
    let rounds = |taken: &[Taken]| -> Vec<Value> {
        let one = |taken: &Taken| json!({"seconds": taken.seconds, "cpu_seconds": taken.cpu});
        taken.iter().map(one).collect()
    };
    let ways: Vec<Value> = rows
        .iter()
        .map(|(way, taken)| json!({"way": way.name(), "rounds": rounds(taken)}))
        .collect();
    Ok(Part {
        aims,
        document: json!({
            "method": {"users": options.way_users, "at_once": options.way_concurrency,
                "cpu": "user + system time of the program and all its processes, from start to end",
                "seconds": "from the program's start to the last token in the sandbox's journal"},
            "ways": ways,
        }),
    })
}

/// Many users one after the other in one Chromium: does its memory grow?
pub(super) fn memory(sandbox: &Sandbox, options: &Options) -> Result<Part> {
    let users = options.memory_users;
    let mut looks = Vec::new();
    let look = |program| {
        looks.push(family::descendants_memory(program)?);
        std::thread::sleep(SAMPLING);
        Ok(())
    };
    let way = Way::Browser("chromium");
    once(way, sandbox, options, (users, 1), look)?;
    // A fifth each, by when they were seen: the first is the browser's start, and the last its end.
    let fifth = looks.len() / 5;
    ensure!(fifth > 0, "too few looks at the memory");
    let mebibytes = |looks: &[u64]| {
        let values: Vec<f64> = looks
            .iter()
            .map(|bytes| *bytes as f64 / f64::from(1 << 20))
            .collect();
        median(&values)
    };
    let (early, late) = (
        mebibytes(&looks[fifth..2 * fifth]),
        mebibytes(&looks[3 * fifth..4 * fifth]),
    );
    println!(
        "\n{users} logins in one Chromium: {early:.0} MiB (proportional, all its processes) in the second fifth of the time, {late:.0} MiB in the fourth; no process left"
    );
    Ok(Part {
        aims: vec![Aim {
            what: "chromium: memory late to early".to_owned(),
            value: late / early,
            limit: 1.1,
        }],
        document: json!({"users": users, "early_mebibytes": early, "late_mebibytes": late}),
    })
}

/// One program from start to end, with all that it starts; `meanwhile` is called with its process id until it ends, and waits a
/// little.
fn once(
    way: Way,
    sandbox: &Sandbox,
    options: &Options,
    (users, at_once): (u32, u32),
    mut meanwhile: impl FnMut(u32) -> Result<()>,
) -> Result<Taken> {
    let programs = &options.programs;
    let report = programs.output.join("logins-way.json");
    let work = programs.output.join("playwright-work.json");
    let mut command = match way {
        Way::Http | Way::Browser(_) => {
            let mut command = logging_in(sandbox, programs, (users, at_once), &report);
            match way {
                Way::Browser(name) => command.args(["--browser", name]),
                _ => command.args(["--login", "http"]),
            };
            if way == Way::Browser("chromium") {
                command.arg("--browser-path").arg(&options.chromium);
            }
            command
        }
        Way::Playwright => {
            prepare(sandbox, options, (users, at_once), &work)?;
            playwright(options, "log-in", &work)
        }
    };
    let (before, begun) = (family::ended_cpu()?, monotonic());
    let mut child = Child::start(
        &mut command,
        GENERATOR,
        &programs.output.join("logins-way.log"),
    )?;
    let deadline = Instant::now() + PATIENCE;
    while child.is_running()? {
        ensure!(Instant::now() < deadline, "it takes more than {PATIENCE:?}");
        meanwhile(child.id())?;
    }
    child.finish(Duration::ZERO)?;
    family::all_ended(&[sandbox.id()], ENDING)?;
    let cpu = family::ended_cpu()?.saturating_sub(before);
    if way == Way::Playwright {
        // It holds passwords.
        std::fs::remove_file(&work).context("cannot remove Playwright's work")?;
    } else {
        all_in(&report, users)?;
    }
    let last = last_token(&sandbox.journal()?, begun, users)?;
    Ok(Taken {
        seconds: Duration::from_nanos(last - begun).as_secs_f64(),
        cpu: cpu.as_secs_f64(),
    })
}

/// When the last of so many tokens was given out, which all must have been.
fn last_token(entries: &[Value], begun: u64, users: u32) -> Result<u64> {
    let ended: Vec<u64> = entries
        .iter()
        .filter(|entry| {
            entry["route"]
                .as_str()
                .is_some_and(|route| route.ends_with("/oidc/token"))
        })
        .filter(|entry| entry["status"] == 200)
        .filter_map(|entry| entry["ended_ns"].as_u64())
        .filter(|ended| *ended > begun)
        .collect();
    ensure!(
        ended.len() == users as usize,
        "{} tokens were given out, not {users}",
        ended.len()
    );
    ended.into_iter().max().context("no token")
}

/// Users and a client for Playwright, made before anything is measured.
fn prepare(
    sandbox: &Sandbox,
    options: &Options,
    (users, at_once): (u32, u32),
    work: &Path,
) -> Result<()> {
    let mut command = playwright(options, "prepare", work);
    sandbox.introduce(&mut command);
    command
        .env("LOGINS_USERS", users.to_string())
        .env("LOGINS_AT_ONCE", at_once.to_string())
        .env("LOGINS_BROWSER", &options.chromium);
    let status = command.status().context("cannot start Python")?;
    ensure!(status.success(), "preparing Playwright's users: {status}");
    Ok(())
}

fn playwright(options: &Options, verb: &str, work: &Path) -> Command {
    let script = options.programs.benches.join("peers/playwright_logins.py");
    let mut command = Command::new(&options.playwright);
    command.arg(script).arg(verb).arg(work);
    command
}
