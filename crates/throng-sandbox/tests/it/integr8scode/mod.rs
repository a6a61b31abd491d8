//! The Integr8sCode sandbox, over TLS, every answer held against its own OpenAPI document.

mod accounts;
mod bugs;
mod client;
mod executions;
mod frame;
mod personal;
