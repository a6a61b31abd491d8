//! The live line: what a run is doing right now, as much of it as there is room for.

use std::time::Duration;

use throng_engine::{Load, Stage, Tick};
use throng_metrics::Distribution;

/// Length of a complete window, and how much shorter a full one may be.
const WINDOW: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_millis(50);

/// Makes the line; remembers the last whole second's figures.
#[derive(Default)]
pub(crate) struct LiveLine {
    figures: Figures,
    p95: Option<Duration>,
}

/// What a swarm did so far.
#[derive(Clone, Default)]
pub(crate) struct Figures {
    executions: u64,
    calls: u64,
    failed: u64,
    users: u32,
    /// None in the first second.
    calls_per_second: Option<u64>,
}

impl Figures {
    /// Takes in a tick. Says whether its window is a whole second of the measured time.
    pub(crate) fn look(&mut self, tick: &Tick<'_>, load: &Load) -> bool {
        // The window must lie in the measured time as a whole.
        let whole = tick.complete && tick.elapsed + SLACK >= load.warmup + WINDOW;
        if whole {
            self.calls_per_second = Some(tick.window.calls());
        }
        self.executions = tick.iterations();
        self.calls = tick.calls();
        self.failed = tick.failed_calls();
        self.users = tick.users;
        whole
    }

    fn with(&self, other: Option<&Self>) -> Self {
        let Some(other) = other else {
            return self.clone();
        };
        Self {
            executions: self.executions + other.executions,
            calls: self.calls + other.calls,
            failed: self.failed + other.failed,
            users: self.users + other.users,
            calls_per_second: self
                .calls_per_second
                .map(|rate| rate + other.calls_per_second.unwrap_or(0)),
        }
    }
}

/// A part of the line. Where there's too little room, those of the highest rank go first.
struct Part {
    rank: u8,
    text: String,
}

impl LiveLine {
    /// The line for this tick, with what another swarm did beside it, no wider than so many columns if that can be.
    pub(crate) fn text(
        &mut self,
        tick: &Tick<'_>,
        load: &Load,
        beside: Option<&Figures>,
        columns: usize,
    ) -> String {
        if self.figures.look(tick, load) {
            self.p95 = tick.window.all_steps().response.quantile(0.95);
        }
        let figures = self.figures.with(beside);
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
        let mut parts = vec![part(0, place)];
        // In a closed model all users are at it, or pause: how many are busy this very instant says nothing.
        if load.is_open() {
            parts.push(part(3, format!("busy {}/{}", tick.busy, tick.users)));
            parts.push(part(2, format!("queue {}", tick.waiting)));
        } else {
            parts.push(part(5, format!("users {}", figures.users)));
        }
        // What the warm-up does is thrown away.
        if tick.stage == Stage::Warmup {
            return fitted(parts, columns);
        }
        parts.push(part(6, format!("executions {}", figures.executions)));
        let rate = figures
            .calls_per_second
            .map_or(String::new(), |rate| format!(" ({rate}/s)"));
        parts.push(part(1, format!("calls {}{rate}", figures.calls)));
        parts.push(part(2, format!("failed {}", figures.failed)));
        if let Some(p95) = self.p95 {
            parts.push(part(4, format!("p95 {}", latency(p95))));
        }
        fitted(parts, columns)
    }
}

fn part(rank: u8, text: String) -> Part {
    Part { rank, text }
}

fn fitted(mut parts: Vec<Part>, columns: usize) -> String {
    loop {
        let line = parts
            .iter()
            .map(|part| part.text.as_str())
            .collect::<Vec<_>>()
            .join("  ");
        if line.len() <= columns || parts.len() == 1 {
            return line;
        }
        let last = parts.iter().map(|part| part.rank).max();
        parts.retain(|part| Some(part.rank) != last);
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

#[cfg(test)]
mod tests {
    use throng_metrics::{Catalog, Event, Outcome, Sample, StepId, Tally, UserId, WorkflowRole};

    use super::*;

    fn tallied(calls: u64) -> Tally {
        let mut catalog = Catalog::default();
        let workflow = catalog.add_workflow("work", WorkflowRole::Workflow);
        catalog.add_step(workflow, "call", "tool");
        let mut tally = Tally::new(&catalog);
        for _ in 0..calls {
            tally.add(&Event::Step(Sample {
                step: StepId(0),
                user: UserId(0),
                intended: Duration::ZERO,
                started: Duration::ZERO,
                ended: Duration::from_millis(4),
                sent: 0,
                received: 0,
                status: None,
                unsent: false,
                outcome: Outcome::Success,
            }));
        }
        tally
    }

    fn load() -> Load {
        Load {
            users: 4,
            warmup: Duration::ZERO,
            duration: Duration::from_secs(30),
            ..Load::default()
        }
    }

    #[test]
    fn the_rate_is_shown_once_a_second_is_over_and_the_line_fits() {
        let (total, window) = (tallied(300), tallied(200));
        let mut tick = Tick {
            stage: Stage::Measured,
            elapsed: Duration::from_millis(750),
            users: 4,
            busy: 0,
            waiting: 0,
            window: &window,
            complete: false,
            total: &total,
        };
        let mut line = LiveLine::default();
        let first = line.text(&tick, &load(), None, 78);
        assert_eq!(
            first,
            "0.8s/30s  users 4  executions 0  calls 500  failed 0"
        );
        // A window that began in the warm-up isn't a second's.
        tick.complete = true;
        assert_eq!(line.text(&tick, &load(), None, 78), first);
        tick.elapsed = Duration::from_secs(1);
        let whole = line.text(&tick, &load(), None, 78);
        assert_eq!(
            whole,
            "1s/30s  users 4  executions 0  calls 500 (200/s)  failed 0  p95 4.0ms"
        );
        for (columns, shown) in [
            (
                60,
                "1s/30s  users 4  calls 500 (200/s)  failed 0  p95 4.0ms",
            ),
            (50, "1s/30s  calls 500 (200/s)  failed 0  p95 4.0ms"),
            (40, "1s/30s  calls 500 (200/s)  failed 0"),
            (30, "1s/30s  calls 500 (200/s)"),
            (5, "1s/30s"),
        ] {
            assert_eq!(line.text(&tick, &load(), None, columns), shown);
        }
        let monkeys = Figures {
            executions: 1,
            calls: 20,
            failed: 3,
            users: 4,
            calls_per_second: Some(7),
        };
        assert_eq!(
            line.text(&tick, &load(), Some(&monkeys), 78),
            "1s/30s  users 8  executions 1  calls 520 (207/s)  failed 3  p95 4.0ms"
        );
        tick.stage = Stage::Warmup;
        let load = Load {
            warmup: Duration::from_secs(5),
            ..load()
        };
        assert_eq!(line.text(&tick, &load, None, 78), "warm-up 1s/5s  users 4");
    }
}
