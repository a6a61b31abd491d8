//! Where events go while the run is on: an uncontended lock and a push.
//!
//! It keeps events only until the next drain; it neither aggregates nor looks at them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Event, UserId};

/// A sharded buffer of events. Share it by `Arc`.
///
/// Each user's events go to one shard, so that users on different threads rarely meet at a lock.
#[derive(Debug)]
pub struct Recorder {
    shards: Box<[Shard]>,
    spare: Mutex<Vec<Event>>,
}

/// A cache line of its own, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Event>>);

impl Recorder {
    /// A recorder with that many shards (at least one). Four per core is plenty.
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
            spare: Mutex::default(),
        }
    }

    /// Keeps an event until the next drain. `by` only chooses the shard.
    pub fn record(&self, by: UserId, event: Event) {
        let shard = &self.shards[by.0 as usize % self.shards.len()];
        lock(&shard.0).push(event);
    }

    /// Moves all events to `into`. Events of one user keep their order; those of different users may not.
    pub fn drain(&self, into: &mut Vec<Event>) {
        self.take_each(|event| into.push(event));
    }

    /// Takes all events out, one by one, in the order of [`Recorder::drain`]. Recording goes on meanwhile.
    pub fn take_each(&self, mut take: impl FnMut(Event)) {
        // Each shard gets an empty buffer and its full one is looked through outside the lock, so that a writer waits for a
        // pointer swap at most. The emptied buffer, with its capacity, goes to the next shard.
        let mut spare = lock(&self.spare);
        for shard in &self.shards {
            std::mem::swap(&mut *lock(&shard.0), &mut *spare);
            spare.drain(..).for_each(&mut take);
        }
    }
}

/// A panic while pushing leaves the buffer as it was, so poison says nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
