//! `stall`: the test of coordinated omission. A constant arrival rate, and a server that stops once for a second. The
//! truth of each start's response time is the schedule against the server's own journal of completions; what throng
//! reports must be within 2 % of it, and the service time, which hides the stall, is shown beside it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::aims::{self, Aim};
use crate::child::{Child, GENERATOR};
use crate::clients::{Client, Programs};
use crate::machine;
use crate::mcp::write;
use crate::sandbox_process::Sandbox;
use crate::statistics::percentile;
use crate::target::Replies;
use crate::target_process::TargetProcess;

/// The percentiles that are compared, with the report's names for them.
const PERCENTILES: [(f64, &str); 3] = [(95.0, "p95"), (99.0, "p99"), (99.9, "p999")];

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    programs: Programs,
    /// Starts a second.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Length of the run, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// When the server stalls, in milliseconds after its first call.
    #[arg(long, default_value_t = 4000)]
    stall_after_ms: u64,
    /// How long it stalls, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    stall_ms: u64,
    /// Virtual users.
    #[arg(long, default_value_t = 64)]
    users: u32,
}

/// Measure, print, write `stall.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    fs::create_dir_all(&programs.output).context("cannot create the output directory")?;
    let (after, lasts) = (
        options.stall_after_ms.to_string(),
        options.stall_ms.to_string(),
    );
    let more = ["--stall-after-ms", &after, "--stall-ms", &lasts];
    let sandbox = Sandbox::start(programs)?;
    let target = TargetProcess::start(Replies::Json, &sandbox, &more, &programs.output)?;
    let report = measure(options, &sandbox, &target)?;

    let truth = truth(&target.journal()?, options.rate);
    let expected = f64::from(options.rate * options.seconds);
    let (completed, seen) = (truth.len() as f64, reported(&report, "count")?);
    println!(
        "{} starts a second for {} s, a stall of {} ms; {} users",
        options.rate, options.seconds, options.stall_ms, options.users
    );
    println!("starts scheduled {expected}, completed by the server {completed}, reported {seen}");
    println!("\nseconds       truth   response    service");
    let mut aims = vec![
        Aim {
            what: "starts that never reached the server".into(),
            value: expected - completed,
            limit: 0.0,
        },
        Aim {
            what: "calls completed but not reported, or the reverse".into(),
            value: (completed - seen).abs(),
            limit: 0.0,
        },
    ];
    for (percent, name) in PERCENTILES {
        let (truth, response) = (
            percentile(&truth, percent),
            reported(&report, &format!("response.{name}"))?,
        );
        let service = reported(&report, &format!("service.{name}"))?;
        println!("p{percent:<8}{truth:>10.4}{response:>11.4}{service:>11.4}");
        aims.push(Aim {
            what: format!("p{percent}: distance from the truth, %"),
            value: (response / truth - 1.0).abs() * 100.0,
            limit: 2.0,
        });
    }
    aims::print(&aims);
    write(
        &programs.output.join("stall.json"),
        &json!({
            "machine": machine::describe()?,
            "versions": programs.versions(&[Client::Throng])?,
            "method": {"rate": options.rate, "seconds": options.seconds, "stall_ms": options.stall_ms, "users": options.users},
            "aims": aims.iter().map(Aim::as_json).collect::<Vec<_>>(),
        }),
    )
}

/// Run throng at the rate; its report.
fn measure(options: &Options, sandbox: &Sandbox, target: &TargetProcess) -> Result<Value> {
    let path = options.programs.output.join("stall-report.json");
    let mut command = options.programs.calls(sandbox, &target.url);
    command.args([
        "--rate",
        &format!("{}/s", options.rate),
        "--duration",
        &options.seconds.to_string(),
    ]);
    // Room for all that comes while the server stands still.
    command.args([
        "--queue",
        &(options.rate * options.seconds).to_string(),
        "--users",
        &options.users.to_string(),
    ]);
    command.arg("--output").arg(&path);
    let child = Child::start(
        &mut command,
        GENERATOR,
        &options.programs.log(Client::Throng),
    )?;
    child.finish(Duration::from_secs(u64::from(options.seconds) + 60))?;
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).context("throng's report")
}

/// Response times in seconds, sorted: the nth completion against the nth start of the schedule. The schedule's
/// beginning is not known to the server; it is taken from the call that came most promptly.
fn truth(journal: &[(u64, u64)], rate: u32) -> Vec<f64> {
    let due = |n: usize| n as f64 / f64::from(rate);
    let origin = journal.first().map_or(0, |first| first.0);
    let since = |at: u64| at.saturating_sub(origin) as f64 / 1e9;
    let begins = journal
        .iter()
        .enumerate()
        .map(|(n, (received, _))| since(*received) - due(n))
        .fold(0.0, f64::min);
    let mut times: Vec<f64> = journal
        .iter()
        .enumerate()
        .map(|(n, (_, completed))| since(*completed) - due(n) - begins)
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// A figure of the only step, in the report.
fn reported(report: &Value, figure: &str) -> Result<f64> {
    let pointer = format!("/steps/call~1echo/{}", figure.replace('.', "/"));
    report
        .pointer(&pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("the report has no number at {pointer}"))
}

#[cfg(test)]
mod tests {
    use super::truth;

    #[test]
    fn a_stall_is_felt_by_every_start_that_it_delays() {
        // 10 starts a second; the server answers each within 1 ms, but stands still from 0.25 s to 0.75 s.
        const MS: u64 = 1_000_000;
        let begin = 77_000 * MS;
        let journal: Vec<_> = (0..10_u64)
            .map(|n| n * 100)
            .map(|due| if (250..750).contains(&due) { 750 } else { due })
            .map(|received| (begin + received * MS, begin + (received + 1) * MS))
            .collect();
        let times = truth(&journal, 10);
        let expected = [
            0.001, 0.001, 0.001, 0.001, 0.001, 0.051, 0.151, 0.251, 0.351, 0.451,
        ];
        for (time, expected) in times.iter().zip(expected) {
            assert!((time - expected).abs() < 1e-9, "{times:?}");
        }
        assert_eq!(times.len(), expected.len());
    }
}
