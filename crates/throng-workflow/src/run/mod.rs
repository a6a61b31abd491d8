//! Workflows at work: draws the workflow and its actors, interprets the program, records every step.
//!
//! The interpreter knows no protocol: a [`Driver`] does what a step says. Time, randomness and recording are the engine's.

mod block;
mod check;
pub(crate) mod count;
pub(crate) mod draw;
mod driver;
mod example;
pub(crate) mod failure;
mod http;
mod lease;
mod pattern;
mod render;
mod scope;
mod step;

use std::marker::PhantomData;
use std::sync::Arc;

use throng_engine::{IterCx, Scenario, UserCx};

use crate::program::{Program, Workflow};
use block::{Branch, Mode};
use draw::Deck;
use lease::Leases;
use scope::{Execution, Scope};

pub use driver::{
    Driver, HttpReply, HttpTask, ListenTask, Performed, Prepared, Readied, Reply, Streamed, Task,
    TokenUse, UserNames,
};
pub use example::{Answer, Played, Sent, play};
pub use failure::{Halt, fold};
pub use pattern::{Captured, Pattern, Span};

/// The workflows of a scenario file, as a [`Scenario`] of the engine. The environment given to [`throng_engine::run`] must be
/// the driver `D`.
#[derive(Debug)]
pub struct YamlScenario<D> {
    program: Arc<Program>,
    deck: Deck,
    leases: Option<Leases>,
    users: u32,
    driver: PhantomData<fn() -> D>,
}

impl<D: Driver> YamlScenario<D> {
    /// A scenario whose actors are drawn among so many users: those that the driver has.
    pub fn new(program: Arc<Program>, users: u32) -> Self {
        let exclusive = program
            .mix
            .iter()
            .any(|(id, _)| program.workflows[id.0 as usize].exclusive);
        Self {
            deck: Deck::new(&program.mix),
            leases: exclusive.then(|| Leases::new(users)),
            program,
            users,
            driver: PhantomData,
        }
    }

    /// Runs one execution. The result is that of the steps; what happens in `finally` is recorded and changes nothing.
    async fn execute(
        &self,
        workflow: &Workflow,
        driver: &D,
        cx: &IterCx,
        mut rng: rand::rngs::SmallRng,
    ) -> Result<(), Halt> {
        let needed = workflow.minimum_users();
        if self.users < needed {
            let workflow = workflow.name.clone();
            return Err(Halt::TooFewUsers {
                workflow,
                needed,
                found: self.users,
            });
        }
        let (participants, groups) =
            draw::participants(&workflow.actors, cx.user().0, self.users, &mut rng);
        let abort = &cx.stop().abort;
        let _held = match &self.leases {
            None => Vec::new(),
            Some(leases) => tokio::select! {
                held = leases.hold(&participants, workflow.exclusive) => held,
                () = abort.cancelled() => return Err(Halt::Aborted),
            },
        };
        let execution = Execution::new(
            driver,
            cx,
            &self.program,
            workflow,
            participants,
            groups,
            None,
        );
        let scope = Scope::root(workflow.variables);
        let mut branch = Branch {
            scope: &scope,
            clock: cx.step_clock(),
            rng,
            mode: Mode::Steps,
        };
        let result = tokio::select! {
            biased;
            result = execution.statements(&workflow.steps, &mut branch) => result,
            () = abort.cancelled() => Err(Halt::Aborted),
        };
        if !workflow.finally.is_empty() {
            cx.completed();
            // Not given up on an abort: the engine grants it the abort's grace and then drops everything.
            branch.mode = Mode::Finally;
            execution.statements(&workflow.finally, &mut branch).await?;
        }
        result
    }
}

impl<D: Driver> Scenario for YamlScenario<D> {
    type User = ();

    async fn start(&self, cx: &UserCx) -> anyhow::Result<()> {
        cx.environment::<D>().map(|_| ())
    }

    async fn iterate(&self, _: &mut (), cx: &IterCx) -> anyhow::Result<()> {
        let driver = cx.environment::<D>()?;
        let mut rng = cx.rng();
        let id = self.deck.draw(&mut rng);
        cx.began(id);
        let workflow = &self.program.workflows[id.0 as usize];
        self.execute(workflow, driver, cx, rng)
            .await
            .map_err(anyhow::Error::from)
    }

    async fn stop(&self, _: (), _: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}
