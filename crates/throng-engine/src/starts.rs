//! Where a user's next start comes from: from the user itself (closed), or from a schedule (open).
//!
//! The queue of the open model hands each due start to the user that has been free for longest. It is closed once,
//! which wakes all who wait.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use throng_metrics::{DropReason, DroppedStart, Event, StartSample, UserId};
use tokio::sync::Notify;

use crate::iteration::{Phase, Shared};

/// A start that a user has taken up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// In a closed model this user's nth, in an open model the schedule's nth.
    pub(crate) number: u64,
    pub(crate) intended: Duration,
    pub(crate) started: Duration,
}

/// Where starts come from.
#[derive(Debug)]
pub(crate) enum Starts {
    /// The user starts its next iteration itself.
    Closed,
    /// A schedule does.
    Open(StartQueue),
}

impl Starts {
    /// Waits for the next start of a user; `None` when nothing new shall start.
    pub(crate) async fn next(&self, shared: &Shared, user: UserId, done: u64) -> Option<Start> {
        match self {
            Starts::Closed => next_closed(shared, done).await,
            Starts::Open(queue) => next_open(queue, shared, user).await,
        }
    }
}

async fn next_closed(shared: &Shared, done: u64) -> Option<Start> {
    let pause = shared.load.pause;
    if done == 0 || pause.is_zero() {
        // A scenario that never has to wait must not keep the thread from others.
        tokio::task::coop::consume_budget().await;
    } else {
        tokio::select! {
            biased;
            () = shared.stop.drain.cancelled() => return None,
            () = tokio::time::sleep(pause) => {}
        }
    }
    let now = shared.clock().now();
    (now < shared.load.end() && !shared.stop.drain.is_cancelled()).then_some(Start {
        number: done,
        intended: now,
        started: now,
    })
}

async fn next_open(queue: &StartQueue, shared: &Shared, user: UserId) -> Option<Start> {
    let clock = shared.clock();
    let free = clock.now();
    let due = queue.take(user).await?;
    let started = clock.now();
    if shared.phase_of(due.at) == Phase::Measured {
        shared.record(
            user,
            Event::Start(StartSample {
                user,
                due: due.at,
                started,
                // From the moment on when the start was due and the user was free, nobody but the generator itself
                // has kept it from starting.
                lag: started.saturating_sub(due.at.max(free)),
                waited: free.saturating_sub(due.at),
            }),
        );
    }
    Some(Start {
        number: due.number,
        intended: due.at,
        started,
    })
}

/// The nth start of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) number: u64,
    pub(crate) at: Duration,
}

/// Due starts on one side, free users on the other; at most one of the two has members.
#[derive(Debug)]
pub(crate) struct StartQueue {
    most: usize,
    state: Mutex<State>,
    /// Where each user finds its start.
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Due>,
    free: VecDeque<UserId>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Slot {
    due: Mutex<Option<Due>>,
    filled: Notify,
}

impl StartQueue {
    /// A queue for so many users in which at most `most` starts wait.
    pub(crate) fn new(users: u32, most: u32) -> Self {
        Self {
            most: most as usize,
            state: Mutex::default(),
            slots: (0..users).map(|_| Slot::default()).collect(),
        }
    }

    /// Gives a start to a free user, or queues it. Returns whether it was taken; if not, the queue is full.
    pub(crate) fn offer(&self, due: Due) -> bool {
        let mut state = lock(&self.state);
        if state.closed {
            return false;
        }
        if let Some(user) = state.free.pop_front() {
            drop(state);
            let slot = &self.slots[user.0 as usize];
            *lock(&slot.due) = Some(due);
            slot.filled.notify_one();
            return true;
        }
        let room = state.waiting.len() < self.most;
        if room {
            state.waiting.push_back(due);
        }
        room
    }

    /// Waits for a start; `None` when the queue is closed.
    async fn take(&self, user: UserId) -> Option<Due> {
        {
            let mut state = lock(&self.state);
            if let Some(due) = state.waiting.pop_front() {
                return Some(due);
            }
            if state.closed {
                return None;
            }
            state.free.push_back(user);
        }
        let slot = &self.slots[user.0 as usize];
        slot.filled.notified().await;
        lock(&slot.due).take()
    }

    /// Hands out nothing more, and returns what was still queued.
    pub(crate) fn close(&self) -> Vec<Due> {
        let (left, free) = {
            let mut state = lock(&self.state);
            state.closed = true;
            (
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.free),
            )
        };
        for user in free {
            self.slots[user.0 as usize].filled.notify_one();
        }
        left.into()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Starts that wait for a free user.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }
}

/// Records a start that was given up, if it would have been measured.
pub(crate) fn record_dropped(shared: &Shared, due: Due, reason: DropReason) {
    if shared.phase_of(due.at) == Phase::Measured {
        let event = Event::Dropped(DroppedStart {
            due: due.at,
            reason,
        });
        shared.record(UserId(0), event);
    }
}

/// Nothing panics while one of these locks is held, so poison says nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(number: u64) -> Due {
        Due {
            number,
            at: Duration::from_millis(number),
        }
    }

    #[tokio::test]
    async fn starts_wait_in_order_and_no_more_than_allowed() {
        let queue = StartQueue::new(1, 2);
        assert!(queue.offer(due(0)));
        assert!(queue.offer(due(1)));
        assert!(!queue.offer(due(2)));
        assert_eq!(queue.take(UserId(0)).await, Some(due(0)));
        assert_eq!(queue.take(UserId(0)).await, Some(due(1)));
    }

    #[tokio::test]
    async fn the_user_that_was_free_first_gets_the_start() {
        let queue = StartQueue::new(2, 0);
        let first = queue.take(UserId(1));
        let second = queue.take(UserId(0));
        let offers = async {
            assert!(queue.offer(due(0)));
            assert!(queue.offer(due(1)));
            assert!(!queue.offer(due(2)));
        };
        let (first, second, ()) = tokio::join!(first, second, offers);
        assert_eq!((first, second), (Some(due(0)), Some(due(1))));
    }

    #[tokio::test]
    async fn closing_wakes_all_and_returns_what_was_queued() {
        let queue = StartQueue::new(2, 5);
        let (left, first, second) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                queue.close()
            },
            queue.take(UserId(0)),
            queue.take(UserId(1)),
        );
        assert_eq!((left, first, second), (vec![], None, None));
        assert!(!queue.offer(due(0)));

        let queue = StartQueue::new(1, 5);
        queue.offer(due(0));
        assert_eq!(queue.close(), [due(0)]);
        assert_eq!(queue.take(UserId(0)).await, None);
    }
}
