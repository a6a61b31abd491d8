//! Releases the starts of an open model when they are due.
//!
//! Timers of the runtime are a millisecond coarse and fire when the runtime gets round to it. So the schedule is
//! kept by a thread of its own, which sleeps until the next start is due (the kernel wakes it within some 60 us) and
//! then releases all that are due by then. The schedule is absolute: whatever happened, the nth start is due at its
//! own time, and never anchored anew. Under a paused clock (tests) a task does the same.

use std::{sync::Arc, thread, time::Duration};

use throng_metrics::DropReason;
use tokio::sync::oneshot;

use crate::{
    Pacer,
    clock::{self, Clock},
    iteration::Shared,
    starts::{Due, StartQueue, Starts, record_dropped},
};

/// Shorter naps than this cost more than they bring: starts that are due within one are released together.
const SHORTEST_NAP: Duration = Duration::from_micros(100);
/// How soon the thread notices that the queue was closed, if nobody wakes it.
const LONGEST_NAP: Duration = Duration::from_millis(100);

/// A running dispatcher.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    starts: Arc<Starts>,
    shared: Arc<Shared>,
    /// Completes when the schedule has been released; `None` once it has.
    done: Option<oneshot::Receiver<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The queue of an open model.
fn queue(starts: &Starts) -> Option<&StartQueue> {
    match starts {
        Starts::Closed => None,
        Starts::Open(queue) => Some(queue),
    }
}

impl Dispatcher {
    /// Starts to release starts by the schedule.
    ///
    /// # Errors
    /// If the thread cannot be made.
    pub(crate) fn start(
        pacer: impl Pacer + 'static,
        starts: &Arc<Starts>,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (all_released, done) = oneshot::channel::<()>();
        let schedule = Schedule {
            pacer,
            starts: Arc::clone(starts),
            shared: Arc::clone(shared),
            next: 0,
        };
        let thread = if clock::is_paused() {
            #[expect(
                clippy::disallowed_methods,
                reason = "`all_released` tells when it ends"
            )]
            tokio::spawn(schedule.run_as_task(all_released));
            None
        } else {
            let thread = thread::Builder::new()
                .name("throng-starts".to_owned())
                .spawn(move || schedule.run_as_thread(all_released))?;
            Some(thread)
        };
        Ok(Self {
            starts: Arc::clone(starts),
            shared: Arc::clone(shared),
            done: Some(done),
            thread,
        })
    }

    /// For a closed model: nothing to release.
    pub(crate) fn none(starts: &Arc<Starts>, shared: &Arc<Shared>) -> Self {
        Self {
            starts: Arc::clone(starts),
            shared: Arc::clone(shared),
            done: None,
            thread: None,
        }
    }

    /// Waits until the whole schedule has been released (or given up).
    pub(crate) async fn finished(&mut self) {
        if let Some(done) = &mut self.done {
            // Nothing is ever sent: it is the sender's end that says so.
            done.await.ok();
            self.done = None;
        }
    }

    /// Releases nothing more; starts that are still queued are given up, and counted.
    pub(crate) fn close(&mut self) {
        let Some(queue) = queue(&self.starts) else {
            return;
        };
        for due in queue.close() {
            record_dropped(&self.shared, due, DropReason::RunEnded);
        }
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that releases starts panicked");
            }
        }
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.close();
    }
}

struct Schedule<P> {
    pacer: P,
    starts: Arc<Starts>,
    shared: Arc<Shared>,
    next: u64,
}

impl<P: Pacer> Schedule<P> {
    /// Releases all starts that are due. Returns when the next one is, or `None` if there is none.
    fn release(&mut self, clock: Clock) -> Option<Duration> {
        let queue = queue(&self.starts).filter(|queue| !queue.is_closed())?;
        let mut now = clock.now();
        loop {
            let at = self.pacer.due(self.next)?;
            if at > now {
                now = clock.now();
                if at > now {
                    return Some(at);
                }
            }
            let due = Due {
                number: self.next,
                at,
            };
            self.next += 1;
            // A closed queue takes nothing either, but then the run has ended and this start was never released.
            if !queue.offer(due) && !queue.is_closed() {
                record_dropped(&self.shared, due, DropReason::QueueFull);
            }
        }
    }

    fn run_as_thread(mut self, _all_released: oneshot::Sender<()>) {
        let clock = self.shared.clock();
        while let Some(at) = self.release(clock) {
            let nap = at.saturating_sub(clock.now());
            thread::park_timeout(nap.clamp(SHORTEST_NAP, LONGEST_NAP));
        }
    }

    async fn run_as_task(mut self, _all_released: oneshot::Sender<()>) {
        let clock = self.shared.clock();
        while let Some(at) = self.release(clock) {
            tokio::time::sleep_until(clock.at(at)).await;
        }
    }
}
