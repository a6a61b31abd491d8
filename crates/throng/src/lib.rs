//! throng: load tests with real identities.
//!
//! The binary's whole main is [`cli::main`]. A program of one's own with a scenario written in Rust is [`cli::run`]; the
//! names it needs are exported here.

pub mod cli;

pub use throng_engine::{IterCx, Scenario, UserCx};
pub use throng_workflow::Playbook;
pub use throng_workflow::model::Role as WorkflowRole;
pub use throng_workflow::playbook::{Actor, Called, Patience, Play};
