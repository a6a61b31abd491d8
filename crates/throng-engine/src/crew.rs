//! The users' tasks: start, iterate, stop. Whatever goes wrong in one stays in it.
//!
//! No task ever waits for another one: each reports, and waits for a command of the run. So a user that fails,
//! panics or hangs cannot hold up the others; and what hangs is dropped when the run says so.

use std::{
    any::Any,
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use throng_metrics::{Failure, FailureKind, IterationOutcome, UserId};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    IterCx, Scenario, StopSignals, UserCx, UserError, UserStage, iteration::Shared, starts::Starts,
};

/// What all users are to do now. It only ever moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Command {
    Start,
    Iterate,
    Stop,
}

/// The users' tasks.
pub(crate) struct Crew {
    tasks: JoinSet<Vec<UserError>>,
    command: watch::Sender<Command>,
    /// A message for each user whose start has ended: whether it succeeded. Closed when all have.
    started: mpsc::UnboundedReceiver<bool>,
    /// Closed when no user iterates any more.
    iterating: mpsc::Receiver<()>,
    give_up: CancellationToken,
}

impl Crew {
    /// Lets all users of the load start.
    pub(crate) fn muster<S: Scenario>(
        scenario: &Arc<S>,
        shared: &Arc<Shared>,
        starts: &Arc<Starts>,
    ) -> Self {
        let (command, commanded) = watch::channel(Command::Start);
        #[expect(clippy::disallowed_methods, reason = "each user reports once")]
        let (report, started) = mpsc::unbounded_channel();
        let (busy, iterating) = mpsc::channel(1);
        let give_up = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for index in 0..shared.load.users {
            let member = Member {
                user: UserId(index),
                scenario: Arc::clone(scenario),
                shared: Arc::clone(shared),
                starts: Arc::clone(starts),
                // A token of its own: looking at it takes a lock, which is then not shared with the others.
                give_up: give_up.child_token(),
            };
            tasks.spawn(member.live(report.clone(), busy.clone(), commanded.clone()));
        }
        Self {
            tasks,
            command,
            started,
            iterating,
            give_up,
        }
    }

    /// Waits until each user's start has succeeded or failed. `count` goes up with each that succeeded.
    pub(crate) async fn all_started(&mut self, count: impl Fn()) {
        while let Some(started) = self.started.recv().await {
            if started {
                count();
            }
        }
    }

    /// Waits until no user iterates any more.
    pub(crate) async fn all_idle(&mut self) {
        while self.iterating.recv().await.is_some() {}
    }

    /// Tells all users what to do next.
    pub(crate) fn command(&self, command: Command) {
        self.command.send_replace(command);
    }

    /// Cancelling it drops starts and iterations that are still running.
    pub(crate) fn give_up_handle(&self) -> CancellationToken {
        self.give_up.clone()
    }

    /// Waits until all users have been stopped, and returns what went wrong with them.
    pub(crate) async fn all_stopped(&mut self) -> Vec<UserError> {
        let mut errors = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(mut theirs) => errors.append(&mut theirs),
                // Panics of the scenario are caught where they happen, and nobody cancels these tasks.
                Err(error) => tracing::error!(%error, "a user's task ended by itself"),
            }
        }
        errors.sort_by_key(|error| error.user);
        errors
    }
}

/// How a guarded call ended.
enum Ended<T> {
    Returned(anyhow::Result<T>),
    Panicked(String),
    GivenUp,
}

/// Runs a call of the scenario so that neither its panic nor its hanging can do harm.
async fn guard<T>(
    call: impl Future<Output = anyhow::Result<T>>,
    give_up: impl Future<Output = ()>,
) -> Ended<T> {
    let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
    tokio::select! {
        biased;
        ended = &mut call => match ended {
            Ok(returned) => Ended::Returned(returned),
            Err(panic) => Ended::Panicked(message_of(&*panic)),
        },
        () = give_up => Ended::GivenUp,
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "panicked without a message".to_owned())
}

struct Member<S> {
    user: UserId,
    scenario: Arc<S>,
    shared: Arc<Shared>,
    starts: Arc<Starts>,
    give_up: CancellationToken,
}

impl<S: Scenario> Member<S> {
    async fn live(
        self,
        report: mpsc::UnboundedSender<bool>,
        busy: mpsc::Sender<()>,
        mut commanded: watch::Receiver<Command>,
    ) -> Vec<UserError> {
        let mut state = match self.start().await {
            Ok(state) => state,
            Err(error) => {
                // The report may find nobody only when the run itself is gone.
                report.send(false).ok();
                return vec![error];
            }
        };
        report.send(true).ok();
        drop(report);
        // A lost sender means that the run was dropped; then there is nobody left to iterate for.
        let command = *commanded
            .wait_for(|command| *command > Command::Start)
            .await
            .as_deref()
            .unwrap_or(&Command::Stop);
        if command == Command::Iterate {
            self.iterate(&mut state).await;
        }
        drop(busy);
        // All sessions stay open until the last iteration has ended: users may act in each other's workflows.
        commanded
            .wait_for(|command| *command == Command::Stop)
            .await
            .ok();
        self.stop(state).await
    }

    async fn start(&self) -> Result<S::User, UserError> {
        let cx = self.cx(self.shared.stop.clone());
        let call = async { self.scenario.start(&cx).await };
        let message = match guard(call, self.give_up.cancelled()).await {
            Ended::Returned(Ok(state)) => return Ok(state),
            Ended::Returned(Err(error)) => format!("{error:#}"),
            Ended::Panicked(message) => format!("panicked: {message}"),
            Ended::GivenUp => {
                "given up: the run was stopped before the user had started".to_owned()
            }
        };
        Err(self.error(UserStage::Start, message))
    }

    async fn iterate(&self, state: &mut S::User) {
        // One future for all iterations, so that each does not have to sign up with the token anew.
        let mut give_up = pin!(self.give_up.cancelled());
        let mut done = 0;
        while let Some(start) = self.starts.next(&self.shared, self.user, done).await {
            let cx = IterCx::new(&self.shared, self.user, &start);
            self.shared.busy.fetch_add(1, Ordering::Relaxed);
            let call = async { self.scenario.iterate(state, &cx).await };
            let ended = guard(call, give_up.as_mut()).await;
            self.shared.busy.fetch_sub(1, Ordering::Relaxed);
            let given_up = matches!(ended, Ended::GivenUp);
            cx.ended(self.outcome(&cx, ended));
            if given_up {
                return;
            }
            done += 1;
        }
    }

    fn outcome(&self, cx: &IterCx, ended: Ended<()>) -> IterationOutcome {
        let failure = |cause: String, example: String| {
            IterationOutcome::Failed(Some(Box::new(Failure {
                kind: FailureKind::Scenario,
                cause,
                example,
            })))
        };
        match ended {
            Ended::Returned(Ok(())) => IterationOutcome::Success,
            Ended::GivenUp | Ended::Returned(Err(_)) if cx.was_cut_off() => {
                IterationOutcome::Interrupted
            }
            Ended::GivenUp | Ended::Returned(Err(_)) if cx.step_failed() => {
                IterationOutcome::Failed(None)
            }
            // Between two steps, or in a scenario that records none.
            Ended::GivenUp => self.too_late(cx),
            Ended::Returned(Err(_)) if self.shared.stop.abort.is_cancelled() => self.too_late(cx),
            Ended::Returned(Err(error)) => failure(error.to_string(), format!("{error:#}")),
            Ended::Panicked(message) => failure("the scenario panicked".to_owned(), message),
        }
    }

    fn too_late(&self, cx: &IterCx) -> IterationOutcome {
        let ran = cx.now().saturating_sub(cx.started());
        let cause = "the execution did not end in time after the run's end";
        let failure = self.shared.too_late("the execution went on", cause, ran);
        IterationOutcome::Failed(Some(Box::new(failure)))
    }

    async fn stop(&self, state: S::User) -> Vec<UserError> {
        let signals = StopSignals::default();
        let cx = self.cx(signals.clone());
        let budget = self.stop_budget();
        let call = async { self.scenario.stop(state, &cx).await };
        let give_up = async {
            tokio::time::sleep(budget).await;
            signals.abort.cancel();
            tokio::time::sleep(self.shared.load.abort_grace).await;
        };
        let message = match guard(call, give_up).await {
            Ended::Returned(Ok(())) => return Vec::new(),
            Ended::Returned(Err(error)) => format!("{error:#}"),
            Ended::Panicked(message) => format!("panicked: {message}"),
            Ended::GivenUp => format!("given up after {budget:?}"),
        };
        vec![self.error(UserStage::Stop, message)]
    }

    /// After an abort somebody is waiting.
    fn stop_budget(&self) -> Duration {
        let load = &self.shared.load;
        if self.shared.stop.abort.is_cancelled() {
            load.abort_grace.min(load.graceful_stop)
        } else {
            load.graceful_stop
        }
    }

    fn cx(&self, stop: StopSignals) -> UserCx {
        UserCx {
            user: self.user,
            users: self.shared.load.users,
            seed: self.shared.load.seed,
            stop,
            environment: Arc::clone(&self.shared.environment),
        }
    }

    fn error(&self, stage: UserStage, message: String) -> UserError {
        UserError {
            user: self.user,
            stage,
            message,
        }
    }
}
