//! What the machine is, and how fast it is just now: a virtual core's speed may change by half within seconds, so
//! that processor times are only comparable after each was scaled by a probe taken beside it.

use std::fs;
use std::hint::black_box;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::child::on_core;

/// Seconds of processor time that a fixed piece of work takes on `core` now.
pub(crate) fn probe(core: usize) -> Result<f64> {
    on_core(core, || {
        let before = thread_time();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000_000_u32 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        black_box(state);
        Ok(thread_time() - before)
    })
}

fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor, cores, memory and kernel.
pub(crate) fn describe() -> Result<Value> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let meminfo = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let memory = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or("unknown");
    Ok(json!({
        "processor": model.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": memory.trim(),
        "kernel": rustix::system::uname().release().to_string_lossy(),
    }))
}
