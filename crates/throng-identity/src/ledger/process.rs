//! Which process wrote a ledger entry, and whether it still runs.
//!
//! A process id alone is not enough, since ids are used again; together with the time at which the process started, and the boot
//! that this time counts from, it names one process.

use std::fmt;

/// A process, across restarts of the machine. Its text form is `boot-id:start-ticks`; the id is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// What distinguishes it from an earlier process of the same id; empty where the system cannot tell.
    pub mark: String,
}

impl Process {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            mark: mark(pid).unwrap_or_default(),
        }
    }

    /// Still running.
    pub fn is_alive(&self) -> bool {
        match mark(self.pid) {
            Some(now) => self.mark.is_empty() || now == self.mark,
            None if cfg!(target_os = "linux") => false,
            None => exists(self.pid),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

/// Boot and start time, if the process runs and the system says so.
#[cfg(target_os = "linux")]
fn mark(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may contain anything; fields are counted after its end.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // Dead but not yet collected by its parent: it will do nothing more.
    if matches!(state, "Z" | "X") {
        return None;
    }
    // Field 22, the state being field 3 (proc_pid_stat(5)).
    let started = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{}:{started}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn mark(_pid: u32) -> Option<String> {
    None
}

fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // Refused means that there is a process, of somebody else.
    pid.is_some_and(|pid| {
        !matches!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_its_namesake_is_not() {
        let me = Process::current();
        assert!(me.is_alive());
        assert!(exists(me.pid));
        if cfg!(target_os = "linux") {
            assert!(
                !Process {
                    pid: me.pid,
                    mark: "another-boot:1".to_owned()
                }
                .is_alive()
            );
        }
    }

    #[test]
    fn an_ended_process_is_not_alive() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id();
        let process = Process {
            pid,
            mark: mark(pid).unwrap_or_default(),
        };
        assert!(process.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
