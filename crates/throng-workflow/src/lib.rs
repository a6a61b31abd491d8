//! Scenario files: what they may say, and how they run.
//!
//! A file is read (`node`, with places), decoded ([`model`], every mistake reported), compiled ([`compile`](mod@compile), every name
//! resolved) and interpreted. Provisioning users and logging them in is the work of `throng-identity`.

mod accounts;
pub mod blocks;
pub mod builtin;
pub mod compile;
mod crowd;
mod csv;
pub mod decode;
mod directory;
pub mod drift;
mod encode;
mod file;
pub mod http;
mod http_session;
mod logout;
mod markup;
mod mcp_session;
pub mod model;
mod monkey;
mod node;
mod path;
pub mod playbook;
mod problem;
pub mod program;
pub mod property;
mod renewal;
mod roster;
pub mod run;
pub mod scalar;
pub mod schema;
pub mod template;
pub mod users;

pub use compile::compile;
pub use crowd::{Crowd, CrowdOptions, Person};
pub use drift::drift;
pub use file::{DirectoryOverrides, Environment, Overrides, ScenarioFile, protocol_of};
pub use logout::Logout;
pub use model::Scenario;
pub use playbook::Playbook;
pub use problem::Problem;
pub use program::{Program, Properties};
pub use run::YamlScenario;
