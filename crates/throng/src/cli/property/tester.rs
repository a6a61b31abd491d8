//! Examples on their way to users: the engine's virtual users try them one by one, whoever is free.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;
use throng_engine::{Executor, IterCx, Load, Scenario, StopSignals, UserCx};
use throng_workflow::Crowd;
use throng_workflow::program::Properties;
use throng_workflow::run::{Played, play};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Longer than anybody tries properties; they end by themselves.
const LONG: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long what is under way may take once there's no more to do, or a signal came.
const GRACE: Duration = Duration::from_secs(10);

/// One example to be tried.
struct Errand {
    property: usize,
    example: Value,
    answer: oneshot::Sender<Played>,
}

/// Users who try examples.
pub(super) struct Tester {
    scenario: Arc<Players>,
    attempts: mpsc::Sender<Errand>,
    crowd: Arc<Crowd>,
    users: u32,
}

struct Players {
    properties: Arc<Properties>,
    errands: Mutex<mpsc::Receiver<Errand>>,
    users: u32,
}

/// The way to have an example tried.
pub(super) struct Attempts {
    errands: mpsc::Sender<Errand>,
    users: u32,
    /// Nobody tries anything any more.
    over: CancellationToken,
    stop: StopSignals,
}

impl Tester {
    pub(super) fn new(properties: Arc<Properties>, crowd: Arc<Crowd>, users: u32) -> Self {
        let (attempts, errands) = mpsc::channel(users.max(1) as usize);
        Self {
            scenario: Arc::new(Players {
                properties,
                errands: Mutex::new(errands),
                users,
            }),
            attempts,
            crowd,
            users,
        }
    }

    /// Lets `work` have examples tried. Returns when it is done and the users are, too.
    pub(super) async fn during<T>(
        self,
        stop: &StopSignals,
        work: impl AsyncFnOnce(&Attempts) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // Done is done for these users only: whoever watches for signals must not see one.
        let own = StopSignals {
            drain: stop.drain.child_token(),
            abort: stop.abort.child_token(),
        };
        let load = Load {
            executor: Executor::ConstantVus,
            users: self.users,
            warmup: Duration::ZERO,
            duration: LONG,
            pause: Duration::ZERO,
            in_flight: None,
            graceful_stop: GRACE,
            abort_grace: GRACE,
            seed: 0,
        };
        let attempts = Attempts {
            errands: self.attempts,
            users: self.users,
            over: CancellationToken::new(),
            stop: stop.clone(),
        };
        let catalog = self.scenario.properties.program.catalog.clone();
        let running = throng_engine::run(
            &load,
            self.scenario,
            catalog,
            self.crowd,
            own.clone(),
            |_| {},
        )
        .map(|outcome| {
            attempts.over.cancel();
            outcome
        });
        let working = async {
            let worked = work(&attempts).await;
            own.drain.cancel();
            worked
        };
        let (_, worked) = tokio::join!(running, working);
        worked
    }
}

impl Attempts {
    /// How many examples can be tried at the same time.
    pub(super) fn users(&self) -> u32 {
        self.users
    }

    /// Tries one example; `None` when everything is to stop.
    pub(super) async fn play(&self, property: usize, example: Value) -> Option<Played> {
        let (answer, answered) = oneshot::channel();
        let errand = Errand {
            property,
            example,
            answer,
        };
        let played = async {
            self.errands.send(errand).await.ok()?;
            answered.await.ok()
        };
        tokio::select! {
            biased;
            played = played => played,
            () = self.stop.drain.cancelled() => None,
            () = self.over.cancelled() => None,
        }
    }
}

impl Scenario for Players {
    type User = ();

    async fn start(&self, cx: &UserCx) -> anyhow::Result<()> {
        cx.environment::<Crowd>().map(|_| ())
    }

    /// One example; each is an iteration of its own, so that its `{uid}` is.
    async fn iterate(&self, (): &mut (), cx: &IterCx) -> anyhow::Result<()> {
        let next = async { self.errands.lock().await.recv().await };
        let errand = tokio::select! {
            errand = next => errand,
            () = cx.stop().drain.cancelled() => None,
        };
        let Some(errand) = errand else {
            cx.stop().drain.cancelled().await;
            return Ok(());
        };
        let crowd = cx.environment::<Crowd>()?;
        let property = &self.properties.all[errand.property];
        let program = &self.properties.program;
        let played = play(program, property, &errand.example, crowd, self.users, cx).await;
        // Nobody wants to know any more where a signal came meanwhile.
        let _ = errand.answer.send(played);
        Ok(())
    }

    async fn stop(&self, (): (), _: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}
