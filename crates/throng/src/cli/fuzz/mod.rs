//! What a scenario is to a swarm of monkeys: its OpenAPI document, its users, what it keeps to.

mod accounts;
mod document;
mod login_script;
mod settings;

pub(crate) use accounts::Users;
pub(crate) use document::{load as load_document, read_document};
pub(crate) use login_script::variable as saved_variable;
pub(crate) use settings::settings;
