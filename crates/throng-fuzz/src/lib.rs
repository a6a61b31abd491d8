//! Requests that nobody planned, and what their answers prove: the monkey swarm of an HTTP API.
//!
//! All is read off the API's OpenAPI document ([`Document`]), the declared token against forgery and the answers: nothing
//! in here knows any particular target. The program hands over users who are logged in ([`Accounts`]); this crate neither
//! provisions nor logs in by itself, reads no scenario file and prints nothing.
//!
//! The way of a swarm, from the outside:
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use throng_engine::{Load, StopSignals};
//! # use throng_fuzz::{Accounts, Document, Monkey, Sending, Settings};
//! # use throng_metrics::Catalog;
//! # async fn example(bytes: &[u8], accounts: Arc<dyn Accounts>, sending: Sending) -> anyhow::Result<()> {
//! let document = Arc::new(Document::load(bytes, "/api/v1")?);
//! // Or the user swarm's catalog: the monkey's workflow and steps are added to it.
//! let mut catalog = Catalog::default();
//! catalog.add_user("a monkey");
//! let monkey = Monkey::new(document, accounts, Settings::new(sending, 7), &mut catalog)?;
//! let (load, stop) = (Load { users: 1, ..Load::default() }, StopSignals::default());
//! throng_engine::run(&load, Arc::clone(&monkey), Arc::new(catalog), Arc::new(()), stop.clone(), |_| {}).await;
//! let found = monkey.settle(Duration::from_secs(30), &stop.abort).await;
//! println!("{found}");
//! # Ok(())
//! # }
//! ```

mod account;
mod answer;
mod check;
mod draw;
mod finding;
pub mod monkey;
pub mod openapi;
mod probe;
pub mod property;
mod request;
mod secrets;
pub mod shell;
pub mod value;

pub use account::{Account, Accounts, NoAccounts};
pub use answer::{Answer, Answered, CsrfRule, Fault, FaultKind, Sending};
pub use check::{Check, UnknownCheck};
pub use finding::{Finding, FindingError, Found, Replayed, replay};
pub use monkey::{Accepted, Monkey, MonkeyError, Settings, UnknownOperation};
pub use openapi::{Document, DocumentError};
pub use probe::{Kind, Probe, Role, Step};
pub use request::{Body, Csrf, Octets, Part, Request, Who};
