//! What throng measures and what it says about it: events, tallies, reports, thresholds and verdicts.
//!
//! Pure: it never sleeps, spawns, reads a clock or prints. Times come in as offsets ([`std::time::Duration`]) and
//! reports go out as values and strings.

mod catalog;
mod errors;
mod event;
mod generator;
mod http;
mod latency;
mod phase;
mod recorder;
pub mod report;
mod table;
mod tally;
pub mod threshold;
mod timeline;
mod verdict;

pub use catalog::{Catalog, CounterInfo, StepInfo, TokenCounters, WorkflowInfo, WorkflowRole};
pub use errors::{ErrorGroup, ErrorGroups, OTHER_CAUSES, Silence, SilentTail};
pub use event::{
    CountSample, CounterId, DropReason, DroppedStart, Event, Failure, FailureKind,
    IterationOutcome, IterationSample, Outcome, Sample, StartSample, StepId, TokenWaitSample,
    UserId, WaitSample, WorkflowId,
};
pub use generator::GeneratorHealth;
pub use http::{Statuses, StreamEnd, StreamSample, StreamTally};
pub use latency::{CompactLatencies, Distribution, Latencies, Latency};
pub use phase::{PHASES, PhaseTally};
pub use recorder::Recorder;
pub use report::{
    Cleanup, CleanupCount, EndpointReport, ErrorReport, FindingReport, GeneratorReport,
    GroundTruth, LagReport, Measured, MonkeyReport, OperationsReport, PhaseReport,
    PropagationReport, Report, RunInfo, SCHEMA_VERSION, StepReport, StreamReport, Summary,
    ThresholdReport, TimelineReport, TokenWaitReport, UserReport, VerdictReport, WorkflowReport,
    clean,
};
pub use table::Table;
pub use tally::{StartTally, StepTally, Tally, UserStep, UserTally, WaitTally, WorkflowTally};
pub use threshold::{Threshold, ThresholdError};
pub use timeline::{Entry, Timeline};
pub use verdict::{Evidence, Holding, Limits, Verdict, Verdicts, Violations, judge};
