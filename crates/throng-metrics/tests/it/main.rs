//! What metrics says about runs, as its callers see it.

mod fixture;
mod recorder;
mod reports;
mod tallies;
mod thresholds;
mod verdicts;
