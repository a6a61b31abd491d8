//! Exclusive use of users.
//!
//! Every execution holds its users: exclusively where the workflow says so, else together with others. All are taken in the
//! order of their numbers before anything begins, and given back together at the end; so nobody who waits holds what
//! somebody with a lower number waits for, and there is no deadlock. The locks are fair: an exclusive lease is not put off
//! for ever by others.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

#[derive(Debug)]
pub(super) struct Leases {
    users: Vec<Arc<RwLock<()>>>,
}

/// Held as long as it lives.
#[derive(Debug)]
#[expect(dead_code, reason = "held, never read")]
pub(super) enum Held {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

impl Leases {
    pub(super) fn new(users: u32) -> Self {
        Self {
            users: (0..users).map(|_| Arc::default()).collect(),
        }
    }

    pub(super) async fn hold(&self, participants: &[u32], exclusive: bool) -> Vec<Held> {
        let mut order = participants.to_vec();
        order.sort_unstable();
        let mut held = Vec::with_capacity(order.len());
        for user in order {
            let lock = self.users[user as usize].clone();
            held.push(if exclusive {
                Held::Exclusive(lock.write_owned().await)
            } else {
                Held::Shared(lock.read_owned().await)
            });
        }
        held
    }
}
