//! What throng measures and what it says about it: events, tallies, reports, thresholds and verdicts.
//!
//! Pure: it never sleeps, spawns, reads a clock or prints. Times come in as offsets ([`std::time::Duration`]) and
//! reports go out as values and strings.

mod catalog;
mod event;
mod recorder;

pub use catalog::{Catalog, CounterInfo, StepInfo, WorkflowInfo, WorkflowRole};
pub use event::{
    CountSample, CounterId, DropReason, DroppedStart, Event, Failure, FailureKind,
    IterationOutcome, IterationSample, Outcome, Sample, StartSample, StepId, UserId, WaitSample,
    WorkflowId,
};
pub use recorder::Recorder;
