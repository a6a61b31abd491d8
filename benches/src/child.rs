//! A program under measurement: started on one core, its cost read from the operating system while it runs, stopped
//! with its owner.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of whatever makes load.
pub(crate) const GENERATOR: usize = 0;
/// The core of whatever answers it.
pub(crate) const SERVER: usize = 1;

/// A running program. Dropping it kills it.
pub(crate) struct Child {
    process: Process,
    name: String,
    log: PathBuf,
}

impl Child {
    /// Start `command` on `core` alone, with no input, its output and errors in `log`.
    pub(crate) fn start(command: &mut Command, core: usize, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output =
            File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = output.try_clone().context("cannot share the log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let process = on_core(core, || {
            command
                .spawn()
                .with_context(|| format!("cannot start {name}"))
        })?;
        Ok(Self {
            process,
            name,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// User and system time so far, of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let text = self.proc("stat")?;
        // The second field is the program's name in parentheses, and may contain anything.
        let fields = text
            .rsplit_once(") ")
            .context("/proc/PID/stat")?
            .1
            .split(' ');
        let ticks = fields
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>();
        let ticks = ticks.context("/proc/PID/stat")?;
        let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// Resident memory now, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let text = self.proc("status")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("/proc/PID/status has no VmRSS")?;
        let kibibytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .context("VmRSS")?;
        Ok(kibibytes * 1024)
    }

    /// Fail if it has ended already.
    pub(crate) fn must_run(&mut self) -> Result<()> {
        match self
            .process
            .try_wait()
            .context("cannot ask for the child")?
        {
            None => Ok(()),
            Some(status) => bail!(
                "{} ended early with {status}: {}",
                self.name,
                self.last_words()
            ),
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self
            .process
            .try_wait()
            .context("cannot ask for the child")?
            .is_none())
    }

    /// The first line that it prints.
    pub(crate) fn first_line(&mut self, within: Duration) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            self.must_run()?;
            let said = fs::read_to_string(&self.log).context("cannot read the log")?;
            if let Some((line, _)) = said.split_once('\n') {
                return Ok(line.to_owned());
            }
            ensure!(
                Instant::now() < deadline,
                "{} does not start within {within:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Wait for its end, which must be a good one.
    pub(crate) fn finish(self, within: Duration) -> Result<()> {
        self.finish_with(within, &[0])
    }

    /// Wait for its end, with one of these exit codes.
    pub(crate) fn finish_with(mut self, within: Duration, codes: &[i32]) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            match self
                .process
                .try_wait()
                .context("cannot ask for the child")?
            {
                Some(status) if status.code().is_some_and(|code| codes.contains(&code)) => {
                    return Ok(());
                }
                Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
                None if Instant::now() > deadline => {
                    bail!(
                        "{} did not end within {within:?}: {}",
                        self.name,
                        self.last_words()
                    )
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.process.id());
        fs::read_to_string(&path)
            .with_context(|| format!("{} is gone: {}", self.name, self.last_words()))
    }

    /// The end of what it said.
    fn last_words(&self) -> String {
        match fs::read_to_string(&self.log) {
            Ok(text) => text
                .lines()
                .rev()
                .take(12)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => format!("(no log: {error})"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has usually ended already; then there is nothing to kill.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Do something with this thread on one core; what it starts stays there.
pub(crate) fn on_core<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("cannot ask for this thread's cores")?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).with_context(|| format!("cannot move to core {core}"))?;
    let done = work();
    sched_setaffinity(None, &before).context("cannot go back to all cores")?;
    done
}
