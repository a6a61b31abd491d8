//! Random choices that depend on nothing but the seed and the probe's number.

use proptest::{prelude::Rng as _, strategy::Strategy, test_runner::TestRunner};

use crate::value::{draw, runner};

/// Draws for one probe.
pub(crate) struct Draw {
    runner: TestRunner,
}

impl Draw {
    /// The draws of probe `number` of a swarm with this seed.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self {
            runner: runner(seed, number),
        }
    }

    /// A number below `limit`, or 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.runner.rng().next_u64() % limit).unwrap_or(0)
    }

    /// Whether something happens that does so in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of them, if there are any.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(from.len());
        from.get(index)
    }

    /// A value of a strategy; `None` where its filters let nothing through.
    pub(crate) fn value<S: Strategy>(&mut self, strategy: &S) -> Option<S::Value> {
        draw(strategy, &mut self.runner)
    }
}
