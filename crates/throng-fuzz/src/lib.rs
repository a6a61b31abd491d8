//! Requests that nobody planned, and what their answers prove: the monkey swarm of an HTTP API.
//!
//! All is read off the API's OpenAPI document ([`Document`]), the declared token against forgery and the answers: nothing
//! in here knows any particular target. The program hands over users who are logged in ([`Accounts`]); this crate neither
//! provisions nor logs in by itself, reads no scenario file and prints nothing.
//!
//! The way of a swarm, from the outside (`Settings`, `Monkey`, `Found` and `Finding` are to come with these signatures):
//!
//! ```text
//! let document = Document::load(&bytes, prefix)?;               // JSON or YAML, 3.0 or 3.1
//! let mut catalog = Catalog::default();                          // or the scenario's, to which the monkey's steps are added
//! let monkey = Monkey::new(document, accounts, settings, &mut catalog)?;     // Arc<Monkey>; adds the workflow `monkey`
//! let outcome = throng_engine::run(&load, monkey.clone(), catalog.into(), Arc::new(()), stop, on_tick).await;
//! let found: Found = monkey.settle(Duration::from_secs(30), &stop.abort).await;  // re-runs, shrinks, writes the corpus
//! if !found.findings.is_empty() { /* Verdict::Findings, exit 97 */ }
//!
//! Settings { sending: Sending, seed: u64, users: UserId /* the first monkey's in the catalog */, permits: Option<Arc<Semaphore>>,
//!            accept: Vec<Accepted>, logout: Option<String>, skip: Vec<String>, corpus: Option<PathBuf>, scenario: Option<String>, .. }
//! Found: Serialize { findings: Vec<Finding>, seen_once: Vec<Finding>, accepted: Vec<Finding>, probes: u64, requests: u64, ... }; Display
//! Finding: Serialize + Deserialize + Display { id, check, wfc, operation, status, message, repeated, tried, steps, curl, .. }
//! Finding::load(path) and replay(&finding, &document, accounts, &sending, tries).await -> Replayed { repeated, tried } for `throng replay`
//! ```

pub mod account;
pub mod answer;
pub mod openapi;
pub mod request;
pub mod value;

pub use account::{Account, Accounts, NoAccounts};
pub use answer::{Answer, Answered, CsrfRule, Fault, FaultKind, Sending};
pub use openapi::{Document, DocumentError};
pub use request::{Body, Csrf, Octets, Part, Request, Who};
