//! throng: load tests with real identities.
//!
//! The binary's whole main is [`cli::main`]. A program of one's own with a scenario written in Rust is [`cli::run`]; the
//! names it needs are exported here.

pub mod cli;

pub use throng_engine::{IterCx, Scenario, UserCx};
pub use throng_workflow::Playbook;
pub use throng_workflow::model::Role as WorkflowRole;
pub use throng_workflow::playbook::{Actor, Called, Patience, Play};

/// Properties without a scenario file, for tests of one's own: strategies from JSON Schemas, and [`hold`](property::hold),
/// which tries a property, shrinks what fails, and panics where it doesn't hold or proves nothing.
///
/// ```
/// use serde_json::json;
/// use throng::property::{Schemas, Settings, Tried, hold};
///
/// let schema = json!({ "type": "integer", "minimum": 0, "maximum": 9 });
/// let values = Schemas::alone(&schema).valid(&schema).expect("a strategy");
/// hold("digits have one digit", &values, &Settings::default(), |value| async move {
///     match value.to_string().len() {
///         1 => Tried::Accepted,
///         _ => Tried::Failed(format!("{value} has more")),
///     }
/// });
/// ```
pub mod property {
    pub use throng_fuzz::property::{
        Alike, Counterexample, Outcome, Settings, Tried, Verdict, check, hold,
    };
    pub use throng_fuzz::value::{Schemas, Values, garbage, garbage_body, odd_text, text};
}
