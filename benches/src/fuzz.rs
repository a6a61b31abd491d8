//! `fuzz`: which of the bugs planted in the sandbox of Integr8sCode the monkey swarm finds, and which Schemathesis, each in
//! the same time, with the same OpenAPI document and a login; and what each says of the sandbox without bugs.
//!
//! Schemathesis gets all its checks, every phase, and a login that is made anew every few seconds, since one of the
//! operations under test ends it. Left out are the streams (on which it waits for the end). It is given one user: its check
//! for other users' objects wants logins by a file that can't carry both a cookie and a CSRF token.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::child::{GENERATOR, on_core};
use crate::clients::{Programs, first_line};
use crate::integr8scode_process::Integr8scode;
use crate::machine;
use crate::mcp::write;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Schemathesis's `st`.
    #[arg(long, default_value = "st")]
    schemathesis: PathBuf,
    /// Time for each search, in seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The seed of both.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What `throng sandbox integr8scode --bugs` knows.
const BUGS: [&str; 10] = [
    "unicode-title-500",
    "number-edge-500",
    "foreign-script-readable",
    "csrf-unchecked-route",
    "deleted-still-served",
    "session-after-logout",
    "role-from-register",
    "refused-create-leaves-row",
    "double-username-race",
    "stack-trace-in-error",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Throng,
    Schemathesis,
}

impl Tool {
    const ALL: [Self; 2] = [Self::Throng, Self::Schemathesis];

    fn name(self) -> &'static str {
        match self {
            Self::Throng => "throng",
            Self::Schemathesis => "Schemathesis",
        }
    }
}

/// Something that a tool says is wrong.
struct Alarm {
    check: String,
    operation: String,
    /// Seconds after the tool's start, where it says so.
    after: Option<f64>,
}

impl Alarm {
    /// The planted bug that it is about.
    fn bug(&self) -> Option<&'static str> {
        let (method, path) = self.operation.split_once(' ')?;
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        let script = path.starts_with("/scripts/");
        Some(match (&*self.check, method, path) {
            ("server_error" | "ServerError" | "UndefinedStatusCode", "POST", "/scripts") => BUGS[0],
            ("server_error" | "ServerError" | "UndefinedStatusCode", "GET", "/user/executions") => {
                BUGS[1]
            }
            ("foreign_read" | "ObjectLevelAuthorizationViolation", _, _) if script => BUGS[2],
            ("csrf_not_checked" | "IgnoredAuth", "PUT", "/user/settings/theme") => BUGS[3],
            ("use_after_delete" | "UseAfterFree", _, _) if script => BUGS[4],
            ("session_after_logout", _, _) => BUGS[5],
            ("mass_assignment", "POST", "/auth/register") => BUGS[6],
            // It is told of the list that shows it.
            ("refused_with_effect", _, "/scripts") => BUGS[7],
            ("unique_race", "POST", "/auth/register") => BUGS[8],
            ("stack_trace", "POST", "/execute") => BUGS[9],
            _ => return None,
        })
    }
}

/// What one search came to.
struct Search {
    tool: Tool,
    /// With planted bugs, or sound.
    bugs: bool,
    alarms: Vec<Alarm>,
    requests: u64,
    seconds: f64,
}

impl Search {
    /// Each bug found, with when it was.
    fn found(&self) -> BTreeMap<&'static str, Option<f64>> {
        let mut found: BTreeMap<&'static str, Option<f64>> = BTreeMap::new();
        for alarm in &self.alarms {
            if let Some(bug) = alarm.bug() {
                let first = found.entry(bug).or_insert(alarm.after);
                if let (Some(known), Some(after)) = (*first, alarm.after) {
                    *first = Some(known.min(after));
                }
            }
        }
        found
    }

    /// Alarms about none of the planted bugs; without bugs, all are.
    fn others(&self) -> Vec<&Alarm> {
        let false_alarm = |alarm: &&Alarm| !self.bugs || alarm.bug().is_none();
        self.alarms.iter().filter(false_alarm).collect()
    }

    fn first(&self) -> Option<f64> {
        self.found()
            .values()
            .flatten()
            .copied()
            .min_by(f64::total_cmp)
    }

    fn as_json(&self) -> Value {
        json!({
            "tool": self.tool.name(), "bugs_planted": self.bugs, "seconds": self.seconds, "requests": self.requests,
            "found": self.found(), "first_after": self.first(),
            "others": self.others().iter().map(|alarm| format!("{} {}", alarm.check, alarm.operation)).collect::<Vec<_>>(),
        })
    }
}

/// Search, print the table, write `fuzz.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    fs::create_dir_all(&programs.output).context("cannot create the output directory")?;
    let versions = [
        first_line(Command::new(&programs.throng).arg("--version"))?,
        first_line(Command::new(&options.schemathesis).arg("--version"))?,
    ];
    let mut searches = Vec::new();
    for bugs in [true, false] {
        for tool in Tool::ALL {
            let sandbox = if bugs { "with its bugs" } else { "sound" };
            eprintln!("{} on the sandbox, {sandbox}", tool.name());
            let search = search(options, tool, bugs);
            searches.push(search.with_context(|| format!("{}, {sandbox}", tool.name()))?);
        }
    }
    println!(
        "{} | seed {}, {} s each",
        versions.join(" | "),
        options.seed,
        options.seconds
    );
    print(&searches);
    write(
        &programs.output.join("fuzz.json"),
        &json!({
            "machine": machine::describe()?,
            "versions": versions,
            "seed": options.seed,
            "seconds": options.seconds,
            "searches": searches.iter().map(Search::as_json).collect::<Vec<_>>(),
        }),
    )
}

fn search(options: &Options, tool: Tool, bugs: bool) -> Result<Search> {
    let programs = &options.programs;
    let planted: &[&str] = if bugs { &["--bugs", "all"] } else { &[] };
    let sandbox = Integr8scode::start(programs, &[&["--script-time", "20ms"], planted].concat())?;
    let started = Instant::now();
    let alarms = match tool {
        Tool::Throng => throng(options, &sandbox.url)?,
        Tool::Schemathesis => schemathesis(options, &sandbox.url)?,
    };
    Ok(Search {
        tool,
        bugs,
        alarms,
        requests: sandbox.requests()?,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Run it on the generator's core, whatever it ends with, its words in `log`; fails if it ended with none of `codes`.
fn run_to_its_end(command: &mut Command, log: &Path, codes: &[i32]) -> Result<()> {
    let output = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the log")?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = on_core(GENERATOR, || command.status().context("cannot start it"))?;
    ensure!(
        status.code().is_some_and(|code| codes.contains(&code)),
        "it ended with {status}: see {}",
        log.display()
    );
    Ok(())
}

fn throng(options: &Options, url: &str) -> Result<Vec<Alarm>> {
    let programs = &options.programs;
    let report = programs.output.join("fuzz-throng.json");
    let mut command = programs.throng(&["monkey", "integr8scode", "--url", url]);
    command.args(["--seed", &options.seed.to_string()]);
    command.args(["--duration", &options.seconds.to_string(), "--clients", "8"]);
    command.arg("--output").arg(&report);
    // 97: findings.
    run_to_its_end(
        &mut command,
        &programs.output.join("fuzz-throng.log"),
        &[0, 97],
    )?;
    let report: Value = read(&report)?;
    let findings = report["monkey"]["findings"]
        .as_array()
        .context("a report without findings")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(findings
        .iter()
        .map(|finding| Alarm {
            check: text(&finding["check"]),
            operation: text(&finding["operation"]),
            after: finding["first_seen"].as_f64(),
        })
        .collect())
}

fn schemathesis(options: &Options, url: &str) -> Result<Vec<Alarm>> {
    let programs = &options.programs;
    let reports = programs.output.join("fuzz-schemathesis");
    if reports.exists() {
        fs::remove_dir_all(&reports).context("cannot remove the last reports")?;
    }
    fs::create_dir_all(&reports).context("cannot create the directory of its reports")?;
    let events = reports.join("events.ndjson");
    let mut command = Command::new(&options.schemathesis);
    command.current_dir(&reports);
    command.args([
        "run",
        &format!("{url}/api/v1/openapi.json"),
        "--tls-verify",
        "false",
    ]);
    command.args([
        "--max-time",
        &options.seconds.to_string(),
        "--seed",
        &options.seed.to_string(),
    ]);
    command.args([
        "--checks",
        "all",
        "--continue-on-failure",
        "--request-timeout",
        "5",
    ]);
    command.args([
        "--exclude-path-regex",
        "/events/",
        "--report",
        "ndjson",
        "--no-color",
    ]);
    command.arg("--report-ndjson-path").arg(&events);
    command.env("TARGET", url);
    command.env("SCHEMATHESIS_HOOKS", "schemathesis_hooks");
    command.env("PYTHONPATH", programs.benches.join("peers"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run_to_its_end(
        &mut command,
        &programs.output.join("fuzz-schemathesis.log"),
        &[0, 1],
    )?;
    let text =
        fs::read_to_string(&events).with_context(|| format!("cannot read {}", events.display()))?;
    alarms_of_events(&text)
}

/// The failures in Schemathesis's events, each by what failed, where.
fn alarms_of_events(text: &str) -> Result<Vec<Alarm>> {
    let mut started = None;
    let mut alarms: BTreeMap<(String, String), Option<f64>> = BTreeMap::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).context("an event")?;
        let Some((name, event)) = event.as_object().and_then(|event| event.iter().next()) else {
            continue;
        };
        let at = event["timestamp"].as_f64();
        match &**name {
            "LoadingStarted" => started = at,
            "ScenarioFinished" => {
                let recorder = &event["recorder"];
                let Some(checks) = recorder["checks"].as_object() else {
                    continue;
                };
                for (case, outcomes) in checks {
                    let case = &recorder["cases"][case]["value"];
                    let operation = format!(
                        "{} {}",
                        case["method"].as_str().unwrap_or("?"),
                        case["path"].as_str().unwrap_or("?")
                    );
                    for outcome in outcomes.as_array().into_iter().flatten() {
                        let failure = &outcome["failure_info"]["failure"]["type"];
                        let Some(failure) = failure.as_str() else {
                            continue;
                        };
                        let after = at.zip(started).map(|(at, started)| at - started);
                        alarms
                            .entry((failure.to_owned(), operation.clone()))
                            .or_insert(after);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(alarms
        .into_iter()
        .map(|((check, operation), after)| Alarm {
            check,
            operation,
            after,
        })
        .collect())
}

fn read(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn print(searches: &[Search]) {
    let of = |tool: Tool, bugs: bool| {
        searches
            .iter()
            .find(|search| search.tool == tool && search.bugs == bugs)
    };
    print!("\n{:<34}", "planted bug: found after");
    for tool in Tool::ALL {
        print!("{:>16}", tool.name());
    }
    println!();
    let row = |name: &str, cell: &dyn Fn(Tool) -> String| {
        print!("{name:<34}");
        for tool in Tool::ALL {
            print!("{:>16}", cell(tool));
        }
        println!();
    };
    let seconds = |after: Option<f64>| after.map_or("found".to_owned(), |at| format!("{at:.1} s"));
    for bug in BUGS {
        row(bug, &|tool| {
            let found = of(tool, true).and_then(|search| search.found().get(bug).copied());
            found.map_or("-".to_owned(), seconds)
        });
    }
    let count = |tool, bugs, figure: &dyn Fn(&Search) -> String| {
        of(tool, bugs).map_or(String::new(), figure)
    };
    row("found, of 10", &|tool| {
        count(tool, true, &|search| search.found().len().to_string())
    });
    row("first finding after", &|tool| {
        count(tool, true, &|search| {
            search
                .first()
                .map_or("-".to_owned(), |at| format!("{at:.1} s"))
        })
    });
    row("requests", &|tool| {
        count(tool, true, &|search| search.requests.to_string())
    });
    row("other alarms", &|tool| {
        count(tool, true, &|search| search.others().len().to_string())
    });
    row("alarms on the sound sandbox", &|tool| {
        count(tool, false, &|search| search.others().len().to_string())
    });
    for search in searches {
        for alarm in search.others() {
            let sandbox = if search.bugs { "with bugs" } else { "sound" };
            println!(
                "  {} ({sandbox}): {} {}",
                search.tool.name(),
                alarm.check,
                alarm.operation
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_taken_from_schemathesis_events_once_each() {
        let failed = |at: f64, kind: &str| {
            json!({"ScenarioFinished": {"timestamp": at, "recorder": {
                "cases": {"a": {"value": {"method": "POST", "path": "/api/v1/scripts"}}},
                "checks": {"a": [
                    {"name": "x", "status": "success"},
                    {"name": "y", "status": "failure", "failure_info": {"failure": {"type": kind}}},
                ]},
            }}})
            .to_string()
        };
        let started = json!({"LoadingStarted": {"timestamp": 10.0}}).to_string();
        let text = [
            started,
            failed(12.5, "ServerError"),
            failed(13.0, "ServerError"),
            failed(14.0, "Other"),
        ]
        .join("\n");
        let alarms = alarms_of_events(&text).expect("events");
        let search = Search {
            tool: Tool::Schemathesis,
            bugs: true,
            alarms,
            requests: 0,
            seconds: 0.0,
        };
        assert_eq!(search.alarms.len(), 2);
        assert_eq!(search.first(), Some(2.5));
        assert_eq!(search.found().into_keys().collect::<Vec<_>>(), [BUGS[0]]);
        assert_eq!(search.others().len(), 1);
        let sound = Search {
            bugs: false,
            ..search
        };
        assert_eq!(sound.others().len(), 2);
    }
}
