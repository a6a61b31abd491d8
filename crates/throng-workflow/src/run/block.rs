//! The control flow of a workflow: sequence, parallel, for each, one of.
//!
//! All branches of an execution run in its one task, so that a run has a task per virtual user whatever its workflows do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use throng_engine::StepClock;

use super::draw;
use super::driver::Driver;
use super::failure::Halt;
use super::scope::{Execution, Scope};
use crate::program::{ForEach, Statement};

/// Which part of the workflow this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The steps: the first failure ends them.
    Steps,
    /// `finally`: every step on its own.
    Finally,
}

/// One line of execution.
pub(super) struct Branch<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) clock: StepClock,
    pub(super) rng: SmallRng,
    pub(super) mode: Mode,
}

impl Branch<'_> {
    /// A branch that goes off from this one. Its choices depend on the seed only, not on what its siblings do.
    fn fork<'s>(&mut self, scope: &'s Scope<'s>) -> Branch<'s> {
        Branch {
            scope,
            clock: self.clock.clone(),
            rng: SmallRng::seed_from_u64(self.rng.next_u64()),
            mode: self.mode,
        }
    }
}

impl<D: Driver> Execution<'_, D> {
    /// One after the other.
    pub(super) fn statements<'s>(
        &'s self,
        statements: &'s [Statement],
        branch: &'s mut Branch<'_>,
    ) -> BoxFuture<'s, Result<(), Halt>> {
        async move {
            for statement in statements {
                self.statement(statement, branch).await?;
            }
            Ok(())
        }
        .boxed()
    }

    async fn statement(&self, statement: &Statement, branch: &mut Branch<'_>) -> Result<(), Halt> {
        if branch.mode == Mode::Steps && self.failed.load(Ordering::Relaxed) {
            // The failure itself is reported by the branch that it happened in.
            return Ok(());
        }
        match statement {
            Statement::Step(step) => match self.step(step, branch).await {
                Ok(()) => Ok(()),
                Err(halt) if branch.mode == Mode::Finally => {
                    tracing::debug!(workflow = self.workflow.name, %halt, "in `finally`");
                    Ok(())
                }
                Err(halt) => {
                    self.failed.store(true, Ordering::Relaxed);
                    Err(halt)
                }
            },
            Statement::Sequence(statements) => self.statements(statements, branch).await,
            Statement::Parallel(branches) => {
                let scope = branch.scope;
                let forks = branches
                    .iter()
                    .map(|statement| (std::slice::from_ref(statement), branch.fork(scope)));
                let forks: Vec<_> = forks.collect();
                let ended = join_all(forks.into_iter().map(|(statements, mut fork)| async move {
                    let result = self.statements(statements, &mut fork).await;
                    (result, fork.clock)
                }));
                rejoin(&mut branch.clock, ended.await)
            }
            Statement::ForEach(each) if each.at_once => self.all_at_once(each, branch).await,
            Statement::ForEach(each) => self.in_turn(each, branch).await,
            Statement::OneOf(choices) => {
                let choice = draw::weighted(choices, &mut branch.rng);
                self.statements(&choices[choice].1, branch).await
            }
            Statement::Pause(duration) => {
                self.pause(*duration, branch).await;
                Ok(())
            }
        }
    }

    async fn all_at_once(&self, each: &ForEach, branch: &mut Branch<'_>) -> Result<(), Halt> {
        // Each has its own scope with its own user in it: nothing here can be mistaken for a neighbour's.
        let scopes: Vec<Scope<'_>> = self
            .members(each.group)
            .map(|member| Scope::inner(branch.scope, member, each.variables))
            .collect();
        let forks: Vec<_> = scopes.iter().map(|scope| branch.fork(scope)).collect();
        let ended = join_all(forks.into_iter().map(|mut fork| async move {
            let result = self.statements(&each.steps, &mut fork).await;
            (result, fork.clock)
        }));
        rejoin(&mut branch.clock, ended.await)
    }

    async fn in_turn(&self, each: &ForEach, branch: &mut Branch<'_>) -> Result<(), Halt> {
        for member in self.members(each.group) {
            let scope = Scope::inner(branch.scope, member, each.variables);
            let mut inner = branch.fork(&scope);
            let result = self.statements(&each.steps, &mut inner).await;
            branch.clock = inner.clock;
            result?;
        }
        Ok(())
    }

    /// Waits on purpose.
    pub(super) async fn pause(&self, duration: Duration, branch: &mut Branch<'_>) {
        tokio::time::sleep(duration).await;
        branch.clock.waited(duration);
    }
}

/// Goes on after all branches have ended, with the first failure if there is one.
fn rejoin(clock: &mut StepClock, ended: Vec<(Result<(), Halt>, StepClock)>) -> Result<(), Halt> {
    let (results, clocks): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    clock.join(clocks);
    results.into_iter().collect()
}
