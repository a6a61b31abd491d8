//! `throng sandbox integr8scode`: an HTTP API that runs scripts, as Integr8sCode's backend answers.
//!
//! Registration, cookie logins with CSRF double submit, executions that go through their states by the
//! clock, event streams, saved scripts, settings, notifications; TLS with a certificate of its own; its
//! OpenAPI document. No script is ever run ([`interpreter`] decides what would come of it), nothing is
//! kept over the process's end, and the administration's endpoints are not there.
//!
//! [`dispatch`] is the way of a request; [`routes`] is the table of operations, [`schema`] what bodies
//! look like, and both make [`openapi`].

mod accounts;
mod bugs;
mod call;
mod config;
mod csrf;
mod dispatch;
mod email;
mod execution;
mod executions;
mod interpreter;
mod limits;
mod open;
mod openapi;
mod personal;
mod reply;
mod routes;
mod sandbox;
mod schema;
mod scripts;
mod streams;
mod validate;
mod world;

pub use bugs::{Bug, Bugs, UnknownBug};
pub use config::{ExecutionTimes, Integr8scodeConfig};
pub use sandbox::{Integr8scodeReady, Integr8scodeSandbox};
