//! `http`: what one plain HTTP POST costs each load generator, and what one request of the user swarm costs throng. The
//! server has core 1, the client under measurement core 0; rounds are interleaved, as in `mcp`.
//!
//! throng's users are logged in: each posts with its session's cookie and CSRF token, looks at the answer and keeps a
//! value of it. The others post the same bytes, and look at the status at most.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::aims::{self, Aim};
use crate::child::{Child, GENERATOR};
use crate::clients::{Programs, first_line, oha, wrk};
use crate::echo_process::Echo;
use crate::integr8scode_process::Integr8scode;
use crate::machine;
use crate::mcp::write;
use crate::target_process::CapturedCall;
use crate::window::{self, SETTLING, Series, Target, Window};

/// How long a script of the user swarm runs on the sandbox: short, so that requests and not waiting fill the window.
const SCRIPT_TIME: &str = "20ms";

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,
    /// k6.
    #[arg(long, default_value = "k6")]
    k6: std::path::PathBuf,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each window, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Users at once.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512])]
    users: Vec<usize>,
    /// Users of the user swarm on the sandbox of Integr8sCode.
    #[arg(long, default_value_t = 30)]
    swarm: usize,
}

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generator {
    Throng,
    Oha,
    Wrk,
    K6,
}

impl Generator {
    const ALL: [Self; 4] = [Self::Throng, Self::Oha, Self::Wrk, Self::K6];

    fn name(self) -> &'static str {
        match self {
            Self::Throng => "throng",
            Self::Oha => "oha, same bytes",
            Self::Wrk => "wrk, same bytes",
            Self::K6 => "k6, same bytes",
        }
    }
}

/// A generator at a number of users.
struct Row {
    generator: Generator,
    users: usize,
    series: Series,
}

/// Measure, print the tables, write `http.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    fs::create_dir_all(&programs.output).context("cannot create the output directory")?;
    let versions = versions(options)?;
    let mut rows: Vec<_> = options
        .users
        .iter()
        .flat_map(|&users| Generator::ALL.map(|generator| (generator, users)))
        .map(|(generator, users)| Row {
            generator,
            users,
            series: Series::default(),
        })
        .collect();
    let mut swarm = Series::default();
    for round in 1..=options.rounds {
        for row in &mut rows {
            let (name, users) = (row.generator.name(), row.users);
            eprintln!("round {round}: {users} users, {name}");
            let window = post(options, row.generator, users)
                .with_context(|| format!("measuring {name} with {users} users"))?;
            row.series.push(window);
        }
        eprintln!("round {round}: user swarm, {} users", options.swarm);
        swarm.push(user_swarm(options).context("measuring the user swarm")?);
    }
    let all = rows.iter_mut().map(|row| &mut row.series);
    window::scale(all.chain([&mut swarm]));

    println!("{}", versions.join(" | "));
    println!(
        "medians of {} interleaved rounds of {} s",
        options.rounds, options.seconds
    );
    print(options, &rows, &swarm);
    let aims = aims(options, &rows, &swarm);
    aims::print(&aims);
    write(
        &programs.output.join("http.json"),
        &json!({
            "machine": machine::describe()?,
            "versions": versions,
            "method": {"rounds": options.rounds, "seconds": options.seconds, "generator_core": 0, "server_core": 1,
                "cpu": "user + system time of the client's process in the window, scaled by a probe of the core's speed"},
            "posts": rows.iter().map(|row| json!({
                "client": row.generator.name(), "users": row.users,
                "requests_per_second": row.series.calls_per_second(),
                "cpu_seconds_per_1000_requests": row.series.cpu_per_1000(),
                "windows": row.series.as_json(),
            })).collect::<Vec<Value>>(),
            "user_swarm": {
                "users": options.swarm,
                "requests_per_second": swarm.calls_per_second(),
                "cpu_seconds_per_1000_requests": swarm.cpu_per_1000(),
                "windows": swarm.as_json(),
            },
            "aims": aims.iter().map(Aim::as_json).collect::<Vec<_>>(),
        }),
    )
}

fn versions(options: &Options) -> Result<Vec<String>> {
    let programs = &options.programs;
    Ok(vec![
        first_line(Command::new(&programs.throng).arg("--version"))?,
        first_line(Command::new(&programs.oha).arg("--version"))?,
        first_line(Command::new("wrk").arg("-v"))?,
        first_line(Command::new(&options.k6).arg("version"))?,
    ])
}

/// One window of posting to a fresh server.
fn post(options: &Options, generator: Generator, users: usize) -> Result<Window> {
    let output = &options.programs.output;
    let server = Echo::start(output)?;
    let seconds = options.seconds + SETTLING.as_secs() + 2;
    let mut command = command(options, generator, users, seconds, &server.url)?;
    watch(options, &mut command, generator.name(), &server)
}

/// One window of the user swarm on a fresh sandbox.
fn user_swarm(options: &Options) -> Result<Window> {
    let programs = &options.programs;
    let sandbox = Integr8scode::start(programs, &["--script-time", SCRIPT_TIME])?;
    let seconds = (options.seconds + SETTLING.as_secs() + 2).to_string();
    let mut command = programs.throng(&["run", "integr8scode", "--url", &sandbox.url]);
    let users = options.swarm.to_string();
    // As much at once as there are users: what is measured is the cost of a request.
    command.args(["--mode", "user", "--concurrency", &users]);
    command.args(["--users", &users, "--duration", &seconds]);
    watch(options, &mut command, "swarm", &sandbox)
}

/// Start a generator, and watch it once it calls.
fn watch(
    options: &Options,
    command: &mut Command,
    name: &str,
    target: &impl Target,
) -> Result<Window> {
    let probe = machine::probe(GENERATOR)?;
    let before = target.calls()?;
    let first_word = name.split([' ', ',']).next().unwrap_or("client");
    let log = options
        .programs
        .output
        .join(first_word)
        .with_extension("log");
    let mut child = Child::start(command, GENERATOR, &log)?;
    window::wait_for_calls(target, &mut child, before + 1)?;
    std::thread::sleep(SETTLING);
    window::watch(child, target, options.seconds, probe)
}

/// What throng's users send to the echo server: cookie, CSRF token, body.
fn bytes() -> CapturedCall {
    let headers = [
        ("content-type", "application/json"),
        (
            "cookie",
            "session=8a7c1f5e6d2b4c3a9f0e1d2c3b4a5968; csrf_token=1b2c3d4e5f60718293a4b5c6d7e8f901",
        ),
        ("x-csrf-token", "1b2c3d4e5f60718293a4b5c6d7e8f901"),
    ];
    CapturedCall {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        body: json!({"text": "hello from loadtest_user_1"}).to_string(),
    }
}

fn command(
    options: &Options,
    generator: Generator,
    users: usize,
    seconds: u64,
    url: &str,
) -> Result<Command> {
    let programs = &options.programs;
    let (users, duration) = (users.to_string(), format!("{seconds}s"));
    let (address, call) = (format!("{url}/echo"), bytes());
    Ok(match generator {
        Generator::Throng => {
            let mut command = programs.throng(&["run"]);
            command.arg(programs.benches.join("scenarios/http-post.yaml"));
            command.args(["--url", url, "--users", &users, "--duration", &duration]);
            command.args(["--warmup", "0", "--no-thresholds"]);
            command
        }
        Generator::Oha => oha(programs, &call, &users, &duration, &address),
        Generator::Wrk => wrk(programs, &call, &users, &duration, &address)?,
        Generator::K6 => {
            let headers: serde_json::Map<_, _> = call
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect();
            let mut command = Command::new(&options.k6);
            command.args(["run", "--quiet", "--no-usage-report", "--no-color"]);
            command.args(["--vus", &users, "--duration", &duration]);
            command.arg(programs.benches.join("peers/post.js"));
            command.env("TARGET", address).env("BODY", &call.body);
            command.env("HEADERS", Value::Object(headers).to_string());
            command
        }
    })
}

fn print(options: &Options, rows: &[Row], swarm: &Series) {
    println!("\nPOST: requests/s and client CPU in us a request");
    print!("{:<24}", "users");
    for users in &options.users {
        print!("{users:>10}{:>10}", "");
    }
    println!();
    for generator in Generator::ALL {
        print!("{:<24}", generator.name());
        for row in rows.iter().filter(|row| row.generator == generator) {
            print!(
                "{:>10.0}{:>10.1}",
                row.series.calls_per_second(),
                row.series.cpu_per_1000() * 1000.0
            );
        }
        println!();
    }
    println!(
        "\nuser swarm on Integr8sCode's sandbox, {} users: {:.0} requests/s, {:.1} us of client CPU a request",
        options.swarm,
        swarm.calls_per_second(),
        swarm.cpu_per_1000() * 1000.0
    );
}

fn aims(options: &Options, rows: &[Row], swarm: &Series) -> Vec<Aim> {
    let mut aims = Vec::new();
    for &users in &options.users {
        let find = |generator| {
            rows.iter()
                .find(|row| row.generator == generator && row.users == users)
        };
        let Some(throng) = find(Generator::Throng) else {
            continue;
        };
        let against =
            |generator| find(generator).map_or(f64::NAN, |row| throng.series.against(&row.series));
        aims.push(Aim {
            what: format!("POST, {users} users: CPU a request against oha's"),
            value: against(Generator::Oha),
            limit: 1.25,
        });
        aims.push(Aim {
            what: format!("POST, {users} users: against k6's"),
            value: against(Generator::K6),
            limit: 0.2,
        });
    }
    aims.push(Aim {
        what: "user swarm: client CPU a request, in ms".to_owned(),
        value: swarm.cpu_per_1000(),
        limit: 0.1,
    });
    aims
}
