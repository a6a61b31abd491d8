//! The load engine: starts iterations of a [`Scenario`] by a load model, and records what they report.
//!
//! It knows no HTTP and prints nothing. [`run`] is the whole of it: users start, iterate until the time is up or a
//! stop is asked for, and are stopped; the outcome holds the tally and the health of the generator itself.
//!
//! ```no_run
//! # use std::{any::Any, sync::Arc};
//! # use throng_engine::{Load, Scenario, StopSignals, run};
//! # use throng_metrics::Catalog;
//! # async fn example(scenario: Arc<impl Scenario>, catalog: Arc<Catalog>) {
//! let load = Load { users: 10, ..Load::default() };
//! let outcome = run(&load, scenario, catalog, Arc::new(()), StopSignals::default(), |tick| {
//!     println!("{} calls", tick.calls());
//! })
//! .await;
//! # }
//! ```

mod clock;
mod crew;
mod dispatcher;
mod expectations;
mod health;
mod iteration;
mod limit;
mod load;
mod outcome;
mod pacer;
mod run;
mod scenario;
mod starts;

pub use expectations::{Expectations, StepClock};
pub use iteration::{Head, InFlight, IterCx, Phase};
pub use limit::{InFlightLimit, Permit};
pub use load::{Executor, Load, LoadError, Rate, RateError};
pub use outcome::{EndedBy, RunOutcome, Stage, Tick, UserError, UserStage};
pub use pacer::{ConstantRate, Pacer};
pub use run::run;
pub use scenario::{Scenario, StopSignals, UserCx};
