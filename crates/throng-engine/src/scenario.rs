//! What the engine runs: a scenario, and what it hands to each user's start and stop.

use std::{any::Any, future::Future, sync::Arc};

use anyhow::Context;
use rand::{SeedableRng, rngs::SmallRng};
use throng_metrics::UserId;
use tokio_util::sync::CancellationToken;

use crate::IterCx;

/// Something to be done again and again by many users.
///
/// All users start before the first iteration, and stop after the last one of all has ended. An error or a panic in
/// any of the three methods is a recorded failure of that user's start, iteration or stop; it never ends the run.
pub trait Scenario: Send + Sync + 'static {
    /// One user's own state.
    type User: Send;

    /// Makes one user ready. All users start at the same time. A user whose start fails takes no part.
    fn start(&self, cx: &UserCx) -> impl Future<Output = anyhow::Result<Self::User>> + Send;

    /// Runs one iteration: one execution of one workflow.
    ///
    /// Call [`IterCx::began`] with the workflow first. Record steps, waits and counts with [`IterCx::record`]; the
    /// engine itself records the iteration, as failed where this returns an error. When `cx.stop().abort` is
    /// cancelled, give up soon: after [`crate::Load::abort_grace`] the future is dropped.
    fn iterate(
        &self,
        user: &mut Self::User,
        cx: &IterCx,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Ends one user. Runs for each user whose start succeeded, whatever happened since, on a fresh time budget.
    fn stop(
        &self,
        user: Self::User,
        cx: &UserCx,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The two ways to ask a run to end.
#[derive(Debug, Clone, Default)]
pub struct StopSignals {
    /// Start nothing new; what is in flight may end.
    pub drain: CancellationToken,
    /// Give up what is in flight, too.
    pub abort: CancellationToken,
}

impl StopSignals {
    /// Signals that follow these, and can be given without them noticing.
    pub(crate) fn child(&self) -> Self {
        Self {
            drain: self.drain.child_token(),
            abort: self.abort.child_token(),
        }
    }
}

/// What a user's start and stop get to know.
#[derive(Debug, Clone)]
pub struct UserCx {
    pub(crate) user: UserId,
    pub(crate) users: u32,
    pub(crate) seed: u64,
    pub(crate) stop: StopSignals,
    pub(crate) environment: Arc<dyn Any + Send + Sync>,
}

impl UserCx {
    /// Which user.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// How many users the run has.
    pub fn users(&self) -> u32 {
        self.users
    }

    /// Random numbers for this user's start and stop, from the run's seed.
    pub fn rng(&self) -> SmallRng {
        rng(self.seed, self.user, u64::MAX)
    }

    /// The signals that this call should heed. For a stop they are fresh: its abort is given when its time is up.
    pub fn stop(&self) -> &StopSignals {
        &self.stop
    }

    /// What the caller of [`crate::run`] gave as environment.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn environment<T: Any + Send + Sync>(&self) -> anyhow::Result<&T> {
        environment(&self.environment)
    }
}

pub(crate) fn environment<T: Any + Send + Sync>(
    environment: &Arc<dyn Any + Send + Sync>,
) -> anyhow::Result<&T> {
    environment.downcast_ref().with_context(|| {
        format!(
            "the environment given to the run is not a {}",
            std::any::type_name::<T>()
        )
    })
}

/// Independent of thread timing: depends on nothing but its arguments.
pub(crate) fn rng(seed: u64, user: UserId, iteration: u64) -> SmallRng {
    let mut state = mix(seed);
    state = mix(state ^ u64::from(user.0));
    state = mix(state ^ iteration);
    SmallRng::seed_from_u64(state)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs give unrelated outputs.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
