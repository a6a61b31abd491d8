//! Processes that a program under measurement starts itself, such as browsers: what they all cost, and whether they all end.
//!
//! This process adopts what its descendants leave behind, so that their processor time is not lost, and so that somebody who
//! stays behind is seen.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

/// Take in whoever loses his parent from now on (`PR_SET_CHILD_SUBREAPER`).
pub(crate) fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("cannot adopt orphans")
}

/// User and system time of all children that have ended, with that of their own.
pub(crate) fn ended_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // The second field is the program's name in parentheses, and may contain anything; cutime and cstime are the 16th and 17th.
    let fields = text.rsplit_once(") ").context("/proc/self/stat")?.1;
    let ticks = fields
        .split(' ')
        .skip(13)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()
        .context("/proc/self/stat")?;
    let milliseconds = ticks * 1000 / rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(milliseconds))
}

/// Wait until nobody is left but `known`, the children that are meant to stay.
///
/// # Errors
/// Somebody is still there when the time is over: he is named.
pub(crate) fn all_ended(known: &[u32], within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    let this = std::process::id();
    loop {
        let mut left: Vec<Process> = Process::all()?;
        left.retain(|process| process.parent == this && !known.contains(&process.id));
        if left.is_empty() {
            return Ok(());
        }
        for process in &left {
            let id = i32::try_from(process.id).ok().and_then(Pid::from_raw);
            // Whoever is still running is asked for again.
            waitpid(id, WaitOptions::NOHANG)
                .with_context(|| format!("cannot wait for {}", process.name))?;
        }
        let names: Vec<&str> = left.iter().map(|process| process.name.as_str()).collect();
        ensure!(
            Instant::now() < deadline,
            "left behind, {within:?} after the end: {}",
            names.join(", ")
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The memory of all descendants of a process, itself left out, in bytes: the proportional set size, which counts what several
/// share once.
pub(crate) fn descendants_memory(of: u32) -> Result<u64> {
    let all = Process::all()?;
    let mut family = vec![of];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        family.extend(
            all.iter()
                .filter(|process| process.parent == parent)
                .map(|process| process.id),
        );
    }
    // Somebody may have ended since.
    Ok(family
        .iter()
        .skip(1)
        .filter_map(|id| proportional(*id))
        .sum())
}

fn proportional(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024)
}

struct Process {
    id: u32,
    parent: u32,
    name: String,
}

impl Process {
    fn all() -> Result<Vec<Self>> {
        let entries = fs::read_dir("/proc").context("/proc")?;
        Ok(entries
            .filter_map(|entry| {
                let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
                let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
                let (before, after) = text.rsplit_once(") ")?;
                Some(Self {
                    id,
                    parent: after.split(' ').nth(1)?.parse().ok()?,
                    name: before.split_once('(')?.1.to_owned(),
                })
            })
            .collect())
    }
}
