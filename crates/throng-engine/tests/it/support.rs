//! A scenario whose every move is a closure, and a catalog to go with it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use throng_engine::{IterCx, Load, RunOutcome, Scenario, StopSignals, UserCx, run};
use throng_metrics::{Catalog, Outcome, StepId, UserId, WorkflowRole};

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + Send + 'a>>;

type OnUser = Box<dyn for<'a> Fn(&'a UserCx) -> Boxed<'a, ()> + Send + Sync>;
type OnIteration = Box<dyn for<'a> Fn(&'a IterCx) -> Boxed<'a, ()> + Send + Sync>;

pub(crate) struct Script {
    pub(crate) start: OnUser,
    pub(crate) iterate: OnIteration,
    pub(crate) stop: OnUser,
}

impl Default for Script {
    /// Starts and stops at once; an iteration is one step of 10 ms.
    fn default() -> Self {
        Self {
            start: Box::new(|_| Box::pin(async { Ok(()) })),
            iterate: Box::new(|cx| Box::pin(one_step(cx, ms(10)))),
            stop: Box::new(|_| Box::pin(async { Ok(()) })),
        }
    }
}

impl Scenario for Script {
    type User = ();

    async fn start(&self, cx: &UserCx) -> anyhow::Result<()> {
        (self.start)(cx).await
    }

    async fn iterate(&self, (): &mut (), cx: &IterCx) -> anyhow::Result<()> {
        (self.iterate)(cx).await
    }

    async fn stop(&self, (): (), cx: &UserCx) -> anyhow::Result<()> {
        (self.stop)(cx).await
    }
}

/// A step that takes so long and succeeds.
pub(crate) async fn one_step(cx: &IterCx, takes: Duration) -> anyhow::Result<()> {
    let mut clock = cx.step_clock();
    let step = cx.begin(StepId(0), cx.user(), &mut clock);
    tokio::time::sleep(takes).await;
    step.finish(10, 20, Outcome::Success);
    Ok(())
}

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// One workflow `work` of one step `call`, and so many users.
pub(crate) fn catalog(users: u32) -> Arc<Catalog> {
    let mut catalog = Catalog::default();
    let work = catalog.add_workflow("work", WorkflowRole::Workflow);
    catalog.add_step(work, "call", "tool");
    catalog.add_step(work, "call_again", "tool");
    for user in 1..=users {
        catalog.add_user(format!("user_{user}"));
    }
    Arc::new(catalog)
}

pub(crate) async fn run_script(load: &Load, script: Script) -> RunOutcome {
    run_script_until(load, script, StopSignals::default()).await
}

pub(crate) async fn run_script_until(load: &Load, script: Script, stop: StopSignals) -> RunOutcome {
    let catalog = catalog(load.users);
    run(load, Arc::new(script), catalog, Arc::new(()), stop, |_| {}).await
}

/// The steps that users did, in the order of users.
pub(crate) fn steps_of_users(outcome: &RunOutcome, users: u32) -> Vec<u64> {
    (0..users)
        .map(|user| {
            let tally = outcome.tally.user(UserId(user));
            tally.map_or(0, |user| user.total().count())
        })
        .collect()
}
