//! One execution: its whole course is fixed when it is submitted and read off the clock afterwards, so
//! that no task has to move it on. Only a cancellation changes it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::config::ExecutionTimes;
use super::csrf::hex;
use super::interpreter::{self, Ending, Verdict};
use crate::secret::digest;
use crate::timestamp::{rfc3339_millis, unix_millis};

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) script: String,
    pub(super) lang: String,
    pub(super) lang_version: String,
}

/// A submitted execution.
pub(super) struct Execution {
    pub(super) id: String,
    /// The id of the user that submitted it.
    pub(super) owner: String,
    pub(super) job: Job,
    submitted: Instant,
    submitted_ms: i64,
    /// When it leaves `queued`, `scheduled` and `running`, counted from the submission.
    scheduled: Duration,
    running: Duration,
    ended: Duration,
    verdict: Verdict,
    /// When it was cancelled, if it was.
    cancelled: watch::Sender<Option<Duration>>,
}

/// The states that an execution can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Scheduled,
    Running,
    Ended(Ending),
    Cancelled,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Ended(Ending::Completed) => "completed",
            Self::Ended(Ending::Failed) => "failed",
            Self::Ended(Ending::TimedOut) => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn terminal(self) -> bool {
        matches!(self, Self::Ended(_) | Self::Cancelled)
    }
}

/// Something that happens to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Counted from the submission.
    pub(super) at: Duration,
    pub(super) kind: &'static str,
}

impl Event {
    /// Whether the server closes an execution's stream after it. A cancellation does not.
    pub(super) fn closes(self) -> bool {
        matches!(
            self.kind,
            "result_stored" | "result_failed" | "execution_failed" | "execution_timeout"
        )
    }
}

impl Execution {
    pub(super) fn new(id: String, owner: String, job: Job, times: &ExecutionTimes) -> Self {
        let verdict = interpreter::run(&job.script, times.limit);
        let running = times.queued + times.scheduled;
        let took = match verdict.ending {
            Ending::TimedOut => times.limit,
            Ending::Completed | Ending::Failed => (times.running + verdict.sleeps).min(times.limit),
        };
        Self {
            id,
            owner,
            job,
            submitted: Instant::now(),
            submitted_ms: unix_millis(),
            scheduled: times.queued,
            running,
            ended: running + took,
            verdict,
            cancelled: watch::Sender::new(None),
        }
    }

    /// How long ago it was submitted.
    pub(super) fn age(&self) -> Duration {
        self.submitted.elapsed()
    }

    /// The instant at an age.
    pub(super) fn at(&self, age: Duration) -> Instant {
        self.submitted + age
    }

    pub(super) fn timestamp(&self, age: Duration) -> String {
        let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        rfc3339_millis(self.submitted_ms.saturating_add(millis))
    }

    pub(super) fn status(&self, age: Duration) -> Status {
        if self.cancelled.borrow().is_some_and(|at| at <= age) {
            Status::Cancelled
        } else if age < self.scheduled {
            Status::Queued
        } else if age < self.running {
            Status::Scheduled
        } else if age < self.ended {
            Status::Running
        } else {
            Status::Ended(self.verdict.ending)
        }
    }

    /// When it ended by itself, as far as it has by now.
    pub(super) fn ended(&self) -> Option<Duration> {
        self.ends().filter(|ended| *ended <= self.age())
    }

    /// When it ends by itself, if nobody has cancelled it.
    pub(super) fn ends(&self) -> Option<Duration> {
        self.cancelled.borrow().is_none().then_some(self.ended)
    }

    /// Cancels it, unless it is over; gives back the status that it had.
    pub(super) fn cancel(&self) -> Status {
        let mut before = Status::Queued;
        self.cancelled.send_if_modified(|cancelled| {
            let age = self.submitted.elapsed();
            before = match *cancelled {
                Some(_) => Status::Cancelled,
                None if age >= self.ended => Status::Ended(self.verdict.ending),
                None => Status::Running,
            };
            let cancels = !before.terminal();
            if cancels {
                *cancelled = Some(age);
            }
            cancels
        });
        before
    }

    /// Wakes whoever watches when it is cancelled.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Duration>> {
        self.cancelled.subscribe()
    }

    /// Its whole course, past and future as it stands now, in order.
    pub(super) fn events(&self) -> Vec<Event> {
        let middle = (self.scheduled + self.running) / 2;
        let mut events = vec![
            (Duration::ZERO, "execution_requested"),
            (Duration::ZERO, "execution_queued"),
            (self.scheduled, "pod_created"),
            (middle, "pod_scheduled"),
            (self.running, "pod_running"),
        ];
        match self.verdict.ending {
            Ending::Completed => {
                events.push((self.ended, "execution_completed"));
                events.push((self.ended, "result_stored"));
            }
            Ending::Failed => events.push((self.ended, "execution_failed")),
            Ending::TimedOut => events.push((self.ended, "execution_timeout")),
        }
        if let Some(cancelled) = *self.cancelled.borrow() {
            events.retain(|(at, _)| *at < cancelled);
            events.push((cancelled, "execution_cancelled"));
        }
        events
            .into_iter()
            .map(|(at, kind)| Event { at, kind })
            .collect()
    }

    /// The id of one of its events.
    pub(super) fn event_id(&self, event: Event) -> String {
        uuid(&digest(&format!("{}/{}", self.id, event.kind)))
    }

    /// The body of `GET /executions/{id}/result`.
    pub(super) fn result(&self, age: Duration) -> Value {
        let status = self.status(age);
        let over = matches!(status, Status::Ended(_));
        let when_over = |value: Value| if over { value } else { Value::Null };
        let wall = self.ended.saturating_sub(self.running);
        let error = match status {
            Status::Ended(Ending::Failed) => json!("script_error"),
            Status::Ended(Ending::TimedOut) => json!("timeout"),
            _ => Value::Null,
        };
        json!({
            "execution_id": self.id,
            "status": status.name(),
            "stdout": when_over(json!(self.verdict.stdout)),
            "stderr": when_over(json!(self.verdict.stderr)),
            "lang": self.job.lang,
            "lang_version": self.job.lang_version,
            "resource_usage": when_over(json!({
                "execution_time_wall_seconds": wall.as_secs_f64(),
                "cpu_time_jiffies": wall.as_millis() / 100,
                "clk_tck_hertz": 100,
                "peak_memory_kb": 9216,
            })),
            "exit_code": when_over(json!(self.verdict.exit_code)),
            "error_type": error,
            "priority": "normal",
        })
    }

    /// An event as `GET /executions/{id}/events` lists it.
    pub(super) fn event_json(&self, event: Event) -> Value {
        let mut shown = json!({
            "event_id": self.event_id(event),
            "event_type": event.kind,
            "event_version": "1.0",
            "timestamp": self.timestamp(event.at),
            "aggregate_id": self.id,
            "metadata": {
                "service_name": "sandbox",
                "service_version": "1.0.0",
                "user_id": self.owner,
            },
            "execution_id": self.id,
        });
        if matches!(
            event.kind,
            "execution_completed" | "execution_failed" | "execution_timeout"
        ) {
            shown["exit_code"] = json!(self.verdict.exit_code);
            shown["stdout"] = json!(self.verdict.stdout);
            shown["stderr"] = json!(self.verdict.stderr);
        }
        shown
    }

    /// What its owner is notified of when it has ended: severity and subject.
    pub(super) fn notice(&self) -> (&'static str, &'static str) {
        match self.verdict.ending {
            Ending::Completed => ("low", "Execution completed"),
            Ending::Failed => ("high", "Execution failed"),
            Ending::TimedOut => ("high", "Execution timed out"),
        }
    }
}

/// Bytes in the form of a UUID.
pub(super) fn uuid(bytes: &[u8; 32]) -> String {
    let text = hex(&bytes[..16]);
    format!(
        "{}-{}-4{}-a{}-{}",
        &text[..8],
        &text[8..12],
        &text[13..16],
        &text[17..20],
        &text[20..]
    )
}

/// A new random id.
pub(super) fn new_id() -> String {
    uuid(&digest(&crate::secret::random_alphanumeric(24)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(script: &str) -> Execution {
        let job = Job {
            script: script.to_owned(),
            lang: "python".to_owned(),
            lang_version: "3.11".to_owned(),
        };
        Execution::new(
            "e".to_owned(),
            "u".to_owned(),
            job,
            &ExecutionTimes::default(),
        )
    }

    #[test]
    fn the_states_follow_each_other() {
        let execution = execution("print(1)");
        for (age, expected) in [
            (0, "queued"),
            (49, "queued"),
            (50, "scheduled"),
            (150, "running"),
            (349, "running"),
            (350, "completed"),
        ] {
            let status = execution.status(Duration::from_millis(age));
            assert_eq!(status.name(), expected, "{age}");
        }
        let kinds: Vec<_> = execution.events().iter().map(|event| event.kind).collect();
        let expected = [
            "execution_requested",
            "execution_queued",
            "pod_created",
            "pod_scheduled",
            "pod_running",
            "execution_completed",
            "result_stored",
        ];
        assert_eq!(kinds, expected);
        assert!(execution.events().is_sorted_by_key(|event| event.at));
        assert_eq!(execution.result(Duration::from_secs(1))["stdout"], "1\n");
        assert!(execution.result(Duration::ZERO)["stdout"].is_null());
    }

    #[test]
    fn a_cancellation_ends_the_course_once() {
        let execution = execution("while True: \n pass");
        assert!(!execution.cancel().terminal());
        assert_eq!(execution.cancel(), Status::Cancelled);
        let kinds: Vec<_> = execution.events().iter().map(|event| event.kind).collect();
        assert_eq!(kinds.last(), Some(&"execution_cancelled"));
        assert!(!kinds.contains(&"execution_timeout"));
        assert_eq!(execution.ends(), None);
        assert_eq!(new_id().len(), 36);
    }
}
