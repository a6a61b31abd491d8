//! How many calls are in flight at once, whoever makes them: a limit of its own beside the number of users.
//!
//! It bounds calls, not users' lives: between two calls, and while a stream goes on after its head, nobody holds a permit.
//! Permits are given in the order in which they were asked for, so that nobody waits for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use throng_metrics::Latencies;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets at most so many calls be in flight. Clones are the same limit: several runs may share one.
#[derive(Debug, Clone)]
pub struct InFlightLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u32,
    permits: Arc<Semaphore>,
    waited: Mutex<Latencies>,
}

/// The right to have one call in flight; ends when it is dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    /// How long it was waited for.
    waited: Duration,
}

impl Permit {
    /// How long it was waited for. No part of any latency of the target.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl InFlightLimit {
    /// At most `most` calls, at least one.
    pub fn new(most: u32) -> Self {
        let most = most.max(1);
        Self(Arc::new(Inner {
            most,
            permits: Arc::new(Semaphore::new(most as usize)),
            waited: Mutex::default(),
        }))
    }

    /// How many calls may be in flight.
    pub fn most(&self) -> u32 {
        self.0.most
    }

    /// Waits for a permit. `counts`: whether the waiting is to be found in [`InFlightLimit::waited`].
    pub async fn permit(&self, counts: bool) -> Permit {
        let permits = Arc::clone(&self.0.permits);
        // A free one costs no look at the clock.
        let (permit, waited) = match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => (permit, Duration::ZERO),
            Err(_) => {
                let began = now();
                let permit = permits
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                (permit, now().saturating_duration_since(began))
            }
        };
        if counts {
            self.histogram(|histogram| histogram.record(waited));
        }
        Permit {
            _permit: permit,
            waited,
        }
    }

    /// How long calls waited for their permits.
    pub fn waited(&self) -> Latencies {
        self.histogram(|histogram| histogram.clone())
    }

    fn histogram<T>(&self, look: impl FnOnce(&mut Latencies) -> T) -> T {
        look(&mut self.0.waited.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Two are equal if they are the same limit.
impl PartialEq for InFlightLimit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The runtime's clock, so that tests under paused time see what they wait.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
