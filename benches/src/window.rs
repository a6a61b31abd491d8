//! A client of a target in a window of steady calling: how many calls it made, as the target counts them, and how much
//! processor time that took, as the operating system counts it. Windows of several rounds make a series; series are
//! compared round by round, since neighbours in time are what can be compared.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::child::{Child, GENERATOR};
use crate::machine;
use crate::statistics::median;

/// How long a client may take to open its sessions: the slowest needs 60 ms for each.
const OPENING: Duration = Duration::from_secs(120);
/// What throng ends with where its own core was the limit, as it is here on purpose.
const UNHEALTHY: i32 = 95;
/// How long it may take to end after its time.
const ENDING: Duration = Duration::from_secs(30);
/// How long it calls before the window begins.
pub(crate) const SETTLING: Duration = Duration::from_millis(700);

/// A target that counts.
pub(crate) trait Target {
    /// Calls completed so far.
    fn calls(&self) -> Result<u64>;
    /// Its processor time so far.
    fn cpu(&self) -> Result<Duration>;
}

/// What was seen in one window.
pub(crate) struct Window {
    seconds: f64,
    calls: f64,
    /// Processor seconds; scaled once all windows are there.
    cpu: f64,
    /// The share of the window in which the server was busy: near 1, it is the server that bounds the calls.
    server_busy: f64,
    /// Seconds that the speed probe took beside this window.
    probe: f64,
}

impl Window {
    fn cpu_per_1000(&self) -> f64 {
        self.cpu / self.calls * 1000.0
    }

    fn as_json(&self) -> Value {
        json!({"seconds": self.seconds, "calls": self.calls, "cpu_seconds": self.cpu,
            "probe_seconds": self.probe, "server_busy": self.server_busy})
    }
}

/// The windows of one client at one load, one a round.
#[derive(Default)]
pub(crate) struct Series(Vec<Window>);

impl Series {
    pub(crate) fn push(&mut self, window: Window) {
        self.0.push(window);
    }

    pub(crate) fn calls_per_second(&self) -> f64 {
        self.median(|window| window.calls / window.seconds)
    }

    /// Processor seconds for 1,000 calls.
    pub(crate) fn cpu_per_1000(&self) -> f64 {
        self.median(Window::cpu_per_1000)
    }

    /// How many times the processor time of `other` a call takes: the median over the rounds.
    pub(crate) fn against(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        let ratios: Vec<_> = pairs
            .map(|(mine, theirs)| mine.cpu_per_1000() / theirs.cpu_per_1000())
            .collect();
        median(&ratios)
    }

    pub(crate) fn as_json(&self) -> Value {
        self.0.iter().map(Window::as_json).collect()
    }

    fn median(&self, figure: impl Fn(&Window) -> f64) -> f64 {
        median(&self.0.iter().map(figure).collect::<Vec<_>>())
    }
}

/// Wait until the target has completed so many calls; the child must live.
pub(crate) fn wait_for_calls(target: &impl Target, child: &mut Child, calls: u64) -> Result<()> {
    let deadline = Instant::now() + OPENING;
    while target.calls()? < calls {
        child.must_run()?;
        ensure!(Instant::now() < deadline, "it does not call");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Watch a calling child for so many seconds, then wait for its end. `probe_before` is a probe of its core's speed from
/// before it was started; another one is taken when it has gone.
pub(crate) fn watch(
    mut child: Child,
    target: &impl Target,
    seconds: u64,
    probe_before: f64,
) -> Result<Window> {
    let look =
        |child: &Child| anyhow::Ok((Instant::now(), target.calls()?, child.cpu()?, target.cpu()?));
    let (started, calls, cpu, server) = look(&child)?;
    std::thread::sleep(Duration::from_secs(seconds));
    let (ended, calls_then, cpu_then, server_then) = look(&child)?;
    child.must_run()?;
    child.finish_with(ENDING, &[0, UNHEALTHY])?;
    let (took, calls) = (ended - started, calls_then - calls);
    ensure!(calls > 0, "no call in the window");
    let probe = f64::midpoint(probe_before, machine::probe(GENERATOR)?);
    let calls = calls as f64;
    Ok(Window {
        seconds: took.as_secs_f64(),
        calls,
        cpu: (cpu_then - cpu).as_secs_f64(),
        server_busy: (server_then - server).as_secs_f64() / took.as_secs_f64(),
        probe,
    })
}

/// Bring every window's processor time to the speed of the median probe.
pub(crate) fn scale<'a>(series: impl IntoIterator<Item = &'a mut Series>) {
    let mut windows: Vec<_> = series
        .into_iter()
        .flat_map(|series| &mut series.0)
        .collect();
    let probes: Vec<_> = windows.iter().map(|window| window.probe).collect();
    let usual = median(&probes);
    for window in &mut windows {
        window.cpu *= usual / window.probe;
    }
}
