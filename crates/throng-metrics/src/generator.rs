//! The load generator's own health: what it cost, and whether it kept its schedule.

use std::time::Duration;

use crate::{Latencies, StartTally};

/// What the generator itself did and cost in the measured window.
#[derive(Debug, Clone, Default)]
pub struct GeneratorHealth {
    /// Starts of the open model: lag, late and dropped ones.
    pub starts: StartTally,
    /// Length of the window.
    pub wall: Duration,
    /// Processor time of the generator's process in it.
    pub cpu: Duration,
    /// Processors that it may use.
    pub cores: u32,
    /// The most memory it had resident, in bytes; 0 where that is not known.
    pub peak_rss: u64,
    /// Steps of the warm-up, whose samples were thrown away.
    pub discarded: u64,
    /// How many calls might be in flight at once; `None` where nothing limited that.
    pub in_flight: Option<u32>,
    /// How long calls waited until one more might be in flight. No part of any latency in a closed model.
    pub permit_wait: Latencies,
}

impl GeneratorHealth {
    /// Processor time as a share of one core: 1.5 means one and a half cores.
    pub fn cpu_share(&self) -> f64 {
        if self.wall.is_zero() {
            0.0
        } else {
            self.cpu.as_secs_f64() / self.wall.as_secs_f64()
        }
    }
}
