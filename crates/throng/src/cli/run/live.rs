//! The live line: what a run is doing right now, in 80 columns.

use std::time::Duration;

use throng_engine::{Load, Stage, Tick};
use throng_metrics::Distribution;

/// Makes the line; remembers the last whole second's figures.
#[derive(Default)]
pub(crate) struct LiveLine {
    calls_per_second: u64,
    p95: Option<Duration>,
}

impl LiveLine {
    /// The line for this tick.
    pub(crate) fn text(&mut self, tick: &Tick<'_>, load: &Load) -> String {
        if tick.complete {
            self.calls_per_second = tick.window.calls();
            self.p95 = tick.window.all_steps().response.quantile(0.95);
        }
        let elapsed = tick.elapsed;
        let place = match tick.stage {
            Stage::Starting => return format!("starting {} users", load.users),
            Stage::Warmup => format!("warm-up {}/{}", seconds(elapsed), seconds(load.warmup)),
            Stage::Measured => format!(
                "{}/{}",
                seconds(elapsed.saturating_sub(load.warmup)),
                seconds(load.duration)
            ),
            Stage::Draining => "finishing what runs".to_owned(),
            Stage::Aborting => "giving up what runs".to_owned(),
            Stage::Stopping => "stopping users".to_owned(),
        };
        let waiting = if load.is_open() {
            format!("  queue {}", tick.waiting)
        } else {
            String::new()
        };
        let p95 = self
            .p95
            .map_or(String::new(), |p95| format!("  p95 {}", latency(p95)));
        format!(
            "{place}  busy {}/{}{waiting}  executions {}  calls {} ({}/s)  failed {}{p95}",
            tick.busy,
            tick.users,
            tick.iterations(),
            tick.calls(),
            self.calls_per_second,
            tick.failed_calls(),
        )
    }
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 && time.subsec_millis() >= 100 {
        format!("{seconds:.1}s")
    } else {
        format!("{seconds:.0}s")
    }
}

fn latency(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds < 10.0 {
        format!("{milliseconds:.1}ms")
    } else {
        format!("{milliseconds:.0}ms")
    }
}
