//! `mcp`: what one MCP tool call costs each client, and what one open session takes. The server has core 1, the
//! client under measurement core 0. Calls are counted by the server; processor time and memory are what the operating
//! system says of the client's process in a window of steady calling. Rounds are interleaved: in each, every client
//! has its turn, so that ratios are taken between neighbours; processor time is scaled by a probe of the core's speed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::aims::{self, Aim};
use crate::child::{Child, GENERATOR};
use crate::clients::{Client, Programs, Work};
use crate::machine;
use crate::sandbox_process::Sandbox;
use crate::target::Replies;
use crate::target_process::{CapturedCall, TargetProcess};
use crate::window::{self, SETTLING, Series, Target, Window};

/// The sessions whose memory is compared with that of one.
const MANY: usize = 500;
/// How often a client's memory is looked at; the median counts.
const LOOKS: usize = 9;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each window, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Sessions open at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    sessions: Vec<usize>,
    /// Users of throng that call once a minute, whose memory is looked at. Each takes two of its descriptors.
    #[arg(long, default_value_t = 9000)]
    idle: usize,
}

/// Measure, print the tables, write `mcp.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    fs::create_dir_all(&programs.output).context("cannot create the output directory")?;
    let versions = programs.versions(&Client::ALL)?;
    let machine = machine::describe()?;
    let mut rows = rows(options);
    let sandbox = Sandbox::start(programs)?;
    for replies in [Replies::Json, Replies::Sse] {
        measure_calls(options, &sandbox, replies, &mut rows)?;
    }
    window::scale(rows.iter_mut().map(|row| &mut row.series));
    let memory = measure_memory(options, &sandbox)?;

    println!(
        "{} | generator on core 0, server on core 1",
        versions.join(" | ")
    );
    println!(
        "medians of {} interleaved rounds of {} s",
        options.rounds, options.seconds
    );
    print_calls(options, &rows);
    print_memory(&memory);
    let aims = aims(options, &rows, &memory);
    aims::print(&aims);
    write(
        &programs.output.join("mcp.json"),
        &json!({
            "machine": machine,
            "versions": versions,
            "method": {"rounds": options.rounds, "seconds": options.seconds, "generator_core": 0, "server_core": 1,
                "cpu": "user + system time of the client's process in the window, scaled by a probe of the core's speed"},
            "calls": rows.iter().map(Row::as_json).collect::<Vec<_>>(),
            "memory": memory.iter().map(Memory::as_json).collect::<Vec<_>>(),
            "aims": aims.iter().map(Aim::as_json).collect::<Vec<_>>(),
        }),
    )
}

/// A client at a number of sessions, with its windows, one a round.
struct Row {
    client: Client,
    replies: Replies,
    sessions: usize,
    series: Series,
}

impl Row {
    fn as_json(&self) -> Value {
        json!({
            "client": self.client.name(), "replies": name(self.replies), "sessions": self.sessions,
            "calls_per_second": self.series.calls_per_second(),
            "cpu_seconds_per_1000_calls": self.series.cpu_per_1000(),
            "windows": self.series.as_json(),
        })
    }
}

fn name(replies: Replies) -> &'static str {
    match replies {
        Replies::Json => "JSON",
        Replies::Sse => "SSE",
    }
}

fn rows(options: &Options) -> Vec<Row> {
    let mut rows = Vec::new();
    for replies in [Replies::Json, Replies::Sse] {
        for client in Client::ALL {
            for &sessions in &options.sessions {
                rows.push(Row {
                    client,
                    replies,
                    sessions,
                    series: Series::default(),
                });
            }
        }
    }
    rows
}

/// The target server, and what throng sends it.
fn target(
    programs: &Programs,
    sandbox: &Sandbox,
    replies: Replies,
) -> Result<(TargetProcess, CapturedCall)> {
    let target = TargetProcess::start(replies, sandbox, &[], &programs.output)?;
    let call = target.capture(|| {
        let mut command = programs.calls(sandbox, &target.url);
        command.args(["--users", "1", "--duration", "1", "--pause", "100ms"]);
        Child::start(&mut command, GENERATOR, &programs.log(Client::Throng))?
            .finish(Duration::from_secs(30))
    })?;
    Ok((target, call))
}

fn measure_calls(
    options: &Options,
    sandbox: &Sandbox,
    replies: Replies,
    rows: &mut [Row],
) -> Result<()> {
    let (target, call) = target(&options.programs, sandbox, replies)?;
    for round in 1..=options.rounds {
        for &sessions in &options.sessions {
            for row in rows
                .iter_mut()
                .filter(|row| row.replies == replies && row.sessions == sessions)
            {
                eprintln!(
                    "round {round}: {} replies, {sessions} sessions, {}",
                    name(replies),
                    row.client.name()
                );
                let window = window(options, sandbox, &target, row, &call);
                row.series
                    .push(window.with_context(|| format!("measuring {}", row.client.name()))?);
            }
        }
    }
    Ok(())
}

fn start(programs: &Programs, client: Client, work: &Work) -> Result<Child> {
    Child::start(
        &mut client.command(programs, work)?,
        GENERATOR,
        &programs.log(client),
    )
}

fn window(
    options: &Options,
    sandbox: &Sandbox,
    target: &TargetProcess,
    row: &Row,
    call: &CapturedCall,
) -> Result<Window> {
    let probe_before = machine::probe(GENERATOR)?;
    // A second more than it takes, so that it calls until the window's end.
    let seconds = options.seconds + SETTLING.as_secs() + 2;
    let work = Work {
        sandbox,
        url: &target.url,
        sessions: row.sessions,
        seconds,
        pause_ms: 0,
        call,
    };
    let before = target.calls()?;
    let mut child = start(&options.programs, row.client, &work)?;
    window::wait_for_calls(target, &mut child, before + 1)?;
    std::thread::sleep(SETTLING);

    window::watch(child, target, options.seconds, probe_before)
}

/// Resident bytes of a client with one session, and with many that pause between two calls.
struct Memory {
    client: Client,
    sessions: usize,
    pause_ms: u64,
    one: u64,
    many: u64,
}

impl Memory {
    fn kib_per_session(&self) -> f64 {
        let bytes = self.many.saturating_sub(self.one) as f64;
        let sessions = (self.sessions - 1) as f64;
        bytes / 1024.0 / sessions
    }

    fn as_json(&self) -> Value {
        json!({"client": self.client.name(), "sessions": self.sessions, "pause_ms": self.pause_ms,
            "resident_bytes_at_1": self.one, "resident_bytes": self.many, "kib_per_session": self.kib_per_session()})
    }
}

fn measure_memory(options: &Options, sandbox: &Sandbox) -> Result<Vec<Memory>> {
    let (target, call) = target(&options.programs, sandbox, Replies::Json)?;
    let resident = |client: Client, sessions: usize, pause_ms: u64, calls: u64| -> Result<u64> {
        eprintln!("memory: {sessions} sessions, {}", client.name());
        // Long enough for every session to have called; it is killed when it was looked at.
        let work = Work {
            sandbox,
            url: &target.url,
            sessions,
            seconds: 120,
            pause_ms,
            call: &call,
        };
        let before = target.calls()?;
        let mut child = start(&options.programs, client, &work)?;
        window::wait_for_calls(
            &target,
            &mut child,
            before + calls * u64::try_from(sessions)?,
        )?;
        // Sessions that call every second do so in bursts: looks that are spread over two of them.
        let mut looks = Vec::with_capacity(LOOKS);
        for _ in 0..LOOKS {
            std::thread::sleep(Duration::from_millis(230));
            looks.push(child.resident()?);
        }
        looks.sort_unstable();
        Ok(looks[LOOKS / 2])
    };
    let memory = |client, sessions, pause_ms, calls| {
        anyhow::Ok(Memory {
            client,
            sessions,
            pause_ms,
            one: resident(client, 1, pause_ms, calls)?,
            many: resident(client, sessions, pause_ms, calls)?,
        })
    };
    let mut rows = Vec::new();
    for client in Client::WITH_SESSIONS {
        rows.push(memory(client, MANY, 1000, 3)?);
    }
    rows.push(memory(Client::Throng, options.idle, 60_000, 1)?);
    Ok(rows)
}

fn print_calls(options: &Options, rows: &[Row]) {
    for replies in [Replies::Json, Replies::Sse] {
        println!(
            "\ntools/call, {} replies: calls/s and client CPU seconds per 1000 calls",
            name(replies)
        );
        print!("{:<24}", "sessions");
        for sessions in &options.sessions {
            print!("{sessions:>10}{:>10}", "");
        }
        println!();
        for client in Client::ALL {
            print!("{:<24}", client.name());
            for row in rows
                .iter()
                .filter(|row| row.client == client && row.replies == replies)
            {
                print!(
                    "{:>10.0}{:>10.4}",
                    row.series.calls_per_second(),
                    row.series.cpu_per_1000()
                );
            }
            println!();
        }
    }
}

fn print_memory(memory: &[Memory]) {
    println!(
        "\nresident memory with many sessions, and for each: (with many - with 1) / (many - 1)"
    );
    for row in memory {
        let mebibytes = row.many as f64 / 1024.0 / 1024.0;
        println!(
            "{:<24}{:>6} sessions, a call every {} s:{mebibytes:>8.1} MiB{:>8.1} KiB a session",
            row.client.name(),
            row.sessions,
            row.pause_ms / 1000,
            row.kib_per_session()
        );
    }
}

fn aims(options: &Options, rows: &[Row], memory: &[Memory]) -> Vec<Aim> {
    let mut aims = Vec::new();
    for replies in [Replies::Json, Replies::Sse] {
        for &sessions in &options.sessions {
            let find = |client| {
                rows.iter().find(|row| {
                    row.client == client && row.replies == replies && row.sessions == sessions
                })
            };
            let Some(throng) = find(Client::Throng) else {
                continue;
            };
            let against =
                |client| find(client).map_or(f64::NAN, |row| throng.series.against(&row.series));
            let at = format!("{} replies, {sessions} sessions", name(replies));
            let rmcp = against(Client::RmcpShared).max(against(Client::RmcpEach));
            aims.push(Aim {
                what: format!("{at}: CPU a call against oha's"),
                value: against(Client::Oha),
                limit: 1.4,
            });
            aims.push(Aim {
                what: format!("{at}: against rmcp's best"),
                value: rmcp,
                limit: 0.5,
            });
            let python = against(Client::PythonSdk);
            aims.push(Aim {
                what: format!("{at}: against the Python SDK's"),
                value: python,
                limit: 1.0 / 30.0,
            });
        }
    }
    if let Some(throng) = memory.iter().find(|row| row.client == Client::Throng) {
        aims.push(Aim {
            what: "KiB a session, plain HTTP".to_owned(),
            value: throng.kib_per_session(),
            limit: 20.0,
        });
    }
    aims
}

/// Write the figures as JSON, and say where.
pub(crate) fn write(path: &Path, document: &Value) -> Result<()> {
    fs::write(path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}
