//! Workflows written in Rust, measured like those of a file.
//!
//! Steps are declared up front in a [`Playbook`], because names are fixed before a run. Inside
//! [`throng_engine::Scenario::iterate`], [`Playbook::begin`] gives a [`Play`], through which actors call tools: every call is a
//! measured step, with its retries, tokens, baggage and failures as in a scenario file.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rand::rngs::SmallRng;
use regex::Regex;
use serde_json::Value;
use throng_client::mcp::ToolName;
use throng_engine::{IterCx, Phase, StepClock};
use throng_metrics::{
    Catalog, CounterId, Event, Failure, FailureKind, Outcome, StepId, UserId, WaitSample,
    WorkflowId,
};

use crate::Crowd;
use crate::blocks::ActorCount;
use crate::compile::baggage;
use crate::model::Role;
use crate::program::{Baggage, Counters, Program, ToolUse};
use crate::run::failure::{failure_with, shorten, violation};
use crate::run::{Driver, Performed, Prepared, Task, count, draw};

/// The workflows and steps of a Rust scenario.
#[derive(Clone, Debug)]
pub struct Playbook {
    catalog: Catalog,
    counters: Counters,
    steps: Vec<Declared>,
    timeout: Duration,
}

#[derive(Clone, Debug)]
struct Declared {
    tool: ToolName,
    baggage: Baggage,
}

impl Default for Playbook {
    fn default() -> Self {
        Self::new()
    }
}

impl Playbook {
    /// Nothing declared yet. One call may take 30 s.
    pub fn new() -> Self {
        let mut catalog = Catalog::default();
        let counters = Counters::add(&mut catalog);
        Self {
            catalog,
            counters,
            steps: Vec::new(),
            timeout: Duration::from_secs(30),
        }
    }

    /// How long one call may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Declares a workflow and its steps: name and MCP tool of each.
    pub fn workflow(mut self, name: &str, role: Role, steps: &[(&str, &str)]) -> Self {
        let id = self.catalog.add_workflow(name, role.into());
        for (step, tool) in steps {
            self.catalog.add_step(id, *step, *tool);
            self.steps.push(Declared {
                tool: ToolName::new(tool),
                baggage: baggage(name, step),
            });
        }
        self
    }

    /// Declares a counter, to be counted with [`Play::count`].
    pub fn counter(mut self, name: &str) -> Self {
        self.catalog.counter(name);
        self
    }

    /// All names, for a run with these users.
    pub fn catalog(&self, users: Vec<String>) -> Catalog {
        Catalog {
            users,
            ..self.catalog.clone()
        }
    }

    /// What a file's workflows would compile to, without the workflows: for what works on either.
    pub(crate) fn program(&self, users: Vec<String>) -> Program {
        Program {
            workflows: Vec::new(),
            mix: Vec::new(),
            catalog: Arc::new(self.catalog(users)),
            counters: self.counters,
            tools: self
                .steps
                .iter()
                .map(|step| ToolUse {
                    tool: step.tool.as_str().to_owned(),
                    mark: Default::default(),
                    arguments: None,
                })
                .collect(),
        }
    }

    /// Begins one execution of a workflow. The environment of the run must be a [`Crowd`].
    ///
    /// # Errors
    /// If the workflow was not declared, or there is no crowd.
    pub fn begin<'a>(&'a self, cx: &'a IterCx, workflow: &str) -> anyhow::Result<Play<'a>> {
        let index = self
            .catalog
            .workflows
            .iter()
            .position(|known| known.name == workflow);
        let index = index.with_context(|| format!("the workflow `{workflow}` was not declared"))?;
        let crowd = cx.environment::<Crowd>()?;
        let workflow = WorkflowId(index as u32);
        cx.began(workflow);
        Ok(Play {
            book: self,
            cx,
            crowd,
            workflow,
            clock: cx.step_clock(),
            rng: cx.rng(),
            uid: format!("{}-{}-{}", crowd.run_id(), cx.user().0 + 1, cx.iteration()),
            finally: false,
        })
    }
}

/// A user that takes part in an execution.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    user: u32,
    /// Login name.
    pub name: &'a str,
    /// Display name.
    pub display_name: &'a str,
    /// Mail address.
    pub email: &'a str,
}

/// What a call that may be refused came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Called {
    /// It was done; the result.
    Done(Value),
    /// It was refused as expected; the message.
    Refused(String),
}

/// How often and how long something is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time between two calls; it bounds the error of the measured propagation.
    pub every: Duration,
    /// How long it is waited for.
    pub within: Duration,
}

impl Default for Patience {
    /// Every 50 ms, for 10 s.
    fn default() -> Self {
        Self {
            every: Duration::from_millis(50),
            within: Duration::from_secs(10),
        }
    }
}

/// One execution of a workflow.
#[derive(Debug)]
pub struct Play<'a> {
    book: &'a Playbook,
    cx: &'a IterCx,
    crowd: &'a Crowd,
    workflow: WorkflowId,
    clock: StepClock,
    rng: SmallRng,
    uid: String,
    finally: bool,
}

impl<'a> Play<'a> {
    /// The actors: the virtual user itself, and others drawn at random, all distinct.
    ///
    /// # Errors
    /// If there are too few users.
    pub fn actors<const N: usize>(&mut self) -> anyhow::Result<[Actor<'a>; N]> {
        let users = self.crowd.len() as u32;
        ensure!(
            N >= 1 && users >= N as u32,
            "the workflow needs {N} users, but there are {users}"
        );
        let actors = [ActorCount::One; N];
        let (drawn, _) = draw::participants(&actors, self.cx.user().0, users, &mut self.rng);
        Ok(std::array::from_fn(|at| {
            let names = self.crowd.names(drawn[at]);
            Actor {
                user: drawn[at],
                name: names.name,
                display_name: names.display_name,
                email: names.email,
            }
        }))
    }

    /// A text that is unique to this execution.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Random numbers of this execution, the same for the same seed.
    pub fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    /// Does a step.
    ///
    /// # Errors
    /// If the call failed; it is recorded. Return it from `iterate` with `?`.
    pub async fn call(
        &mut self,
        actor: Actor<'_>,
        step: &str,
        arguments: Value,
    ) -> anyhow::Result<Value> {
        self.call_checked(actor, step, arguments, Ok).await
    }

    /// Does a step and takes what is needed from the result; the error of `take` fails the step.
    ///
    /// # Errors
    /// If the call or `take` failed; it is recorded.
    pub async fn call_checked<T>(
        &mut self,
        actor: Actor<'_>,
        step: &str,
        arguments: Value,
        take: impl FnOnce(Value) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        self.attempt(actor, step, &arguments, |result| match result {
            Ok(value) => take(value)
                .map(|taken| (Outcome::Success, taken))
                .map_err(|message| unmet(&message)),
            Err(failure) => Err(failure),
        })
        .await
    }

    /// Does a step that may be refused: an error that matches `refusal` is none.
    ///
    /// # Errors
    /// If the call failed in another way; it is recorded.
    pub async fn call_or_refused(
        &mut self,
        actor: Actor<'_>,
        step: &str,
        arguments: Value,
        refusal: &Regex,
    ) -> anyhow::Result<Called> {
        self.attempt(actor, step, &arguments, |result| match result {
            Ok(value) => Ok((Outcome::Success, Called::Done(value))),
            Err(failure) if is_refusal(&failure, refusal) => {
                Ok((Outcome::Refused, Called::Refused(failure.example)))
            }
            Err(failure) => Err(failure),
        })
        .await
    }

    /// Does a step that must be refused: an error that matches `refusal` is none, and its message is returned. Where it is
    /// done instead, that is an access violation, which fails the run whatever its thresholds are.
    ///
    /// # Errors
    /// If the call was not refused, or failed in another way; both are recorded.
    pub async fn call_must_be_refused(
        &mut self,
        actor: Actor<'_>,
        step: &str,
        arguments: Value,
        refusal: &Regex,
    ) -> anyhow::Result<String> {
        let tool = self.book.steps[self.step(step)?.0 as usize].tool.clone();
        self.attempt(actor, step, &arguments, |result| match result {
            Ok(answer) => Err(violation(
                step,
                actor.name,
                &format!("called {}", tool.as_str()),
                refusal.as_str(),
                &answer,
            )),
            Err(failure) if is_refusal(&failure, refusal) => {
                Ok((Outcome::Refused, failure.example))
            }
            Err(failure) => Err(failure),
        })
        .await
    }

    /// Does a step again and again until `met` finds what is waited for. Each call is a sample; the time until then is the
    /// propagation.
    ///
    /// # Errors
    /// If a call failed, or it did not come in time; both are recorded.
    pub async fn until<T>(
        &mut self,
        actor: Actor<'_>,
        step: &str,
        arguments: Value,
        patience: Patience,
        met: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let id = self.step(step)?;
        let began = self.cx.now();
        let deadline = began + patience.within;
        let mut attempts = 0;
        let result = loop {
            let asked = self.cx.now();
            attempts += 1;
            let cx = self.cx;
            let found = self
                .attempt(actor, step, &arguments, |result| {
                    let value = result?;
                    match met(&value) {
                        Some(found) => Ok((Outcome::Success, Some(found))),
                        None if cx.now() + patience.every > deadline => {
                            let cause = format!(
                                "what was waited for did not come within {:?}",
                                patience.within
                            );
                            Err(failure_with(
                                FailureKind::Check,
                                cause.clone(),
                                &format!("{cause}; the last answer: {value}"),
                            ))
                        }
                        None => Ok((Outcome::Success, None)),
                    }
                })
                .await;
            match found.transpose() {
                Some(result) => break result,
                None => {
                    self.pause((asked + patience.every).saturating_sub(self.cx.now()))
                        .await
                }
            }
        };
        self.cx.record(Event::Wait(WaitSample {
            step: id,
            user: UserId(actor.user),
            started: began,
            waited: self.cx.now().saturating_sub(began),
            resolution: patience.every,
            attempts,
            met: result.is_ok(),
        }));
        result
    }

    /// Time to think.
    pub async fn pause(&mut self, duration: Duration) {
        tokio::time::sleep(duration).await;
        self.clock.waited(duration);
    }

    /// Counts under a name that was declared.
    ///
    /// # Errors
    /// If it was not.
    pub fn count(&self, counter: &str, actor: Actor<'_>, by: u64) -> anyhow::Result<()> {
        let index = self
            .book
            .catalog
            .counters
            .iter()
            .position(|known| known.name == counter);
        let index = index.with_context(|| format!("the counter `{counter}` was not declared"))?;
        count::count(self.cx, CounterId(index as u32), actor.user, by);
        Ok(())
    }

    /// Says that the workflow is done, well or not. Steps from here on only clear up: they are recorded, and are no part of
    /// the workflow's duration. They are not given up on an abort.
    pub fn finally(&mut self) {
        self.finally = true;
        self.cx.completed();
    }

    fn step(&self, name: &str) -> anyhow::Result<StepId> {
        let mut steps = self.book.catalog.steps_of(self.workflow);
        match steps.find(|(_, step)| step.name == name) {
            Some((id, _)) => Ok(id),
            None => bail!("the step `{name}` was not declared"),
        }
    }

    async fn attempt<T>(
        &mut self,
        actor: Actor<'_>,
        name: &str,
        arguments: &Value,
        assess: impl FnOnce(Result<Value, Failure>) -> Result<(Outcome, T), Failure>,
    ) -> anyhow::Result<T> {
        let id = self.step(name)?;
        let declared = &self.book.steps[id.0 as usize];
        let task = Prepared {
            task: Task::Call(&declared.tool, arguments.to_string().into()),
            timeout: self.book.timeout,
            baggage: Some(match (self.cx.phase(), self.finally) {
                (Phase::Warmup, _) => &declared.baggage.warmup,
                (Phase::Measured, false) => &declared.baggage.measured,
                (Phase::Measured, true) => &declared.baggage.finally,
            }),
            wants_value: true,
            refused: None,
            renew: true,
        };
        let readied = self.crowd.ready(actor.user, task.timeout).await;
        // Waited for before the step begins: it's no part of the target's time.
        let permit = self.cx.permit().await;
        let abort = &self.cx.stop().abort;
        if abort.is_cancelled() && !self.finally {
            bail!("the run was aborted");
        }
        let counters = &self.book.counters;
        let used = readied.tokens.as_deref();
        count::tokens(self.cx, &counters.tokens, actor.user, used);
        let mut flight = self.cx.begin(id, UserId(actor.user), &mut self.clock);
        flight.may_take(task.timeout);
        let performed = match readied.result {
            Ok(()) => {
                let performed = self.crowd.perform(actor.user, &task);
                if self.finally {
                    performed.await
                } else {
                    tokio::select! {
                        biased;
                        performed = performed => performed,
                        // Dropping the flight records it as unfinished.
                        () = abort.cancelled() => bail!("the run was aborted"),
                    }
                }
            }
            Err(failure) => {
                flight.never_sent();
                Performed::failed(failure)
            }
        };
        drop(permit);
        let Performed {
            ended,
            sent,
            received,
            status: _,
            stream: _,
            result,
            retries,
            denied: _,
            tokens,
        } = performed;
        if let Some(waited) = tokens.as_ref().and_then(|tokens| tokens.waited) {
            flight.set_aside(waited);
        }
        let ended = ended.map_or_else(|| self.cx.now(), |at| self.cx.offset_of(at));
        let assessed = assess(result.map(|reply| reply.value));
        let (outcome, taken) = match assessed {
            Ok((outcome, taken)) => (outcome, Ok(taken)),
            Err(failure) => {
                let words = format!("the step `{name}` failed: {}", failure.example);
                (
                    Outcome::Failed(Box::new(failure)),
                    Err(anyhow::Error::msg(words)),
                )
            }
        };
        flight.finish_at(ended, sent, received, outcome);
        count::count(self.cx, counters.retries, actor.user, retries.into());
        count::tokens(self.cx, &counters.tokens, actor.user, tokens.as_deref());
        taken
    }
}

/// Whether the target itself said no, in these words.
fn is_refusal(failure: &Failure, refusal: &Regex) -> bool {
    let answered = matches!(
        failure.kind,
        FailureKind::Tool | FailureKind::Rpc | FailureKind::Http
    );
    answered && refusal.is_match(&failure.example)
}

fn unmet(message: &str) -> Failure {
    failure_with(
        FailureKind::Check,
        crate::run::fold(message),
        &shorten(message),
    )
}
