//! The swarm: probes made ahead, sent by virtual users of the engine, judged beside the load.

mod cut_off;
mod generator;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use http::HeaderValue;
use throng_engine::{IterCx, Scenario, UserCx};
use throng_metrics::{Catalog, UserId, WorkflowId, WorkflowRole};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc::Receiver};

pub(crate) use cut_off::CutOff;
pub use settings::{Accepted, Settings, UnknownOperation};

use crate::{
    account::Accounts,
    answer::Answer,
    check::Judge,
    finding::Groups,
    openapi::Document,
    probe::{Baggage, Cast, Meter, Names, Probe, Relations, Trace, execute},
    request::{Who, percent_encoded},
};

/// The name of the swarm's workflow in catalog and report.
pub const WORKFLOW: &str = "monkey";
/// The name of the step of all requests that no operation of the document is meant by.
pub(crate) const UNROUTED: &str = "paths and methods that no operation has";
/// So many probes wait to be judged; what is beyond is counted and not judged.
const UNJUDGED: usize = 2_048;
/// A user who is told so often in a row that he is not logged in logs in again.
const TURNED_AWAY: u32 = 4;

/// A swarm of monkeys: a [`Scenario`] for the engine, and what was found when that has ended.
pub struct Monkey {
    pub(crate) document: Arc<Document>,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) settings: Settings,
    names: Names,
    workflow: WorkflowId,
    probes: AsyncMutex<Receiver<Probe>>,
    judge: Mutex<Option<JudgeThread>>,
    pub(crate) groups: Arc<Mutex<Groups>>,
    pub(crate) counts: Counts,
    pub(crate) cut_off: CutOff,
    exhausted: Notify,
    any_secured: bool,
}

/// What a swarm did, counted while it did it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) probes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) unsent: AtomicU64,
    pub(crate) not_judged: AtomicU64,
    pub(crate) not_logged_in: AtomicU64,
    pub(crate) logged_in_again: AtomicU64,
    /// Requests that no connection could be made for.
    pub(crate) unreachable: AtomicU64,
}

/// Why a swarm can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonkeyError {
    /// Settings name operations that the document does not have.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    UnknownOperations(Vec<UnknownOperation>),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Monkey {
    /// A swarm for an API. Adds the workflow [`WORKFLOW`] to the catalog with a step for each operation (`METHOD template`)
    /// and one for whatever no operation is meant by; users are the caller's to add. Starts two threads: one makes probes
    /// ahead, one judges answers.
    ///
    /// # Errors
    /// If settings name operations that the document does not have, or a thread can't be started.
    pub fn new(
        document: Arc<Document>,
        accounts: Arc<dyn Accounts>,
        settings: Settings,
        catalog: &mut Catalog,
    ) -> Result<Arc<Self>, MonkeyError> {
        let unknown = settings.problems(&document);
        if !unknown.is_empty() {
            return Err(MonkeyError::UnknownOperations(unknown));
        }
        let (workflow, names) = named(&document, catalog);
        let relations = Relations::of(&document, settings.logout.as_deref(), &settings.skip);
        let users = accounts.len();
        let needs = |method: &str| settings.sending.needs_token(method);
        let related = relations.probes(&document, users, &needs);
        let probes = generator::Recipe {
            document: Arc::clone(&document),
            relations,
            related,
            users,
            seed: settings.seed,
            probes: settings.probes,
        }
        .start()?;
        let groups = Arc::new(Mutex::new(Groups::default()));
        let judge = start_judge(&document, &settings, &groups)?;
        Ok(Arc::new(Self {
            any_secured: document.operations().iter().any(|it| it.secured),
            document,
            accounts,
            settings,
            names,
            workflow,
            probes: AsyncMutex::new(probes),
            judge: Mutex::new(Some(judge)),
            groups,
            counts: Counts::default(),
            cut_off: CutOff::default(),
            exhausted: Notify::new(),
        }))
    }

    /// Waits until as many probes as the settings allow have been taken. For ever where they don't say.
    pub async fn exhausted(&self) {
        self.exhausted.notified().await;
    }

    /// Ends the threads and waits until what was sent has been judged. Gives back what could not be used of the document.
    pub(crate) async fn judged(&self) -> Vec<String> {
        self.probes.lock().await.close();
        let judge = self
            .judge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((sender, thread)) = judge else {
            return Vec::new();
        };
        drop(sender);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(notes)) => notes,
            _ => vec!["the judge ended badly: what was found last is missing".to_owned()],
        }
    }

    fn hand_over(&self, probe: Probe, trace: Trace) {
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match &*judge {
            Some((sender, _)) => sender.try_send((probe, trace)).is_err(),
            None => true,
        };
        if lost {
            self.counts.not_judged.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, trace: &Trace) {
        let counts = &self.counts;
        counts.probes.fetch_add(1, Ordering::Relaxed);
        for answer in trace.answers.iter().flatten() {
            let counter = match answer {
                Answer::Unsent(_) => &counts.unsent,
                Answer::Fault(fault) if fault.kind == crate::FaultKind::Unreachable => {
                    &counts.unreachable
                }
                _ => &counts.requests,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Adds workflow and steps.
fn named(document: &Document, catalog: &mut Catalog) -> (WorkflowId, Names) {
    let workflow = catalog.add_workflow(WORKFLOW, WorkflowRole::Workflow);
    let mut add = |name: &str| {
        let step = catalog.add_step(workflow, name, name);
        let name = percent_encoded(name.as_bytes());
        let value = |phase: &str| {
            let text = format!("throng.step={WORKFLOW}/{name},throng.phase={phase}");
            HeaderValue::from_str(&text).expect("percent-encoded text is a valid header")
        };
        let baggage = Baggage {
            warmup: value("warmup"),
            measured: value("measured"),
        };
        (step, baggage)
    };
    let by_operation: HashMap<_, _> = document
        .operations()
        .iter()
        .map(|operation| (operation.name.clone(), add(&operation.name)))
        .collect();
    let unrouted = add(UNROUTED);
    let names = Names {
        by_operation,
        unrouted,
    };
    (workflow, names)
}

type JudgeThread = (SyncSender<(Probe, Trace)>, JoinHandle<Vec<String>>);

/// Judging goes on beside the load, on a thread of its own.
fn start_judge(
    document: &Arc<Document>,
    settings: &Settings,
    groups: &Arc<Mutex<Groups>>,
) -> std::io::Result<JudgeThread> {
    let (sender, receiver) = sync_channel::<(Probe, Trace)>(UNJUDGED);
    let (document, sending) = (Arc::clone(document), settings.sending.clone());
    let groups = Arc::clone(groups);
    let thread = std::thread::Builder::new()
        .name("monkey judge".to_owned())
        .spawn(move || {
            let mut judge = Judge::new(&document, &sending);
            for (probe, trace) in receiver {
                let violations = judge.judge(&probe, &trace);
                if violations.is_empty() {
                    continue;
                }
                let mut groups = groups.lock().unwrap_or_else(PoisonError::into_inner);
                for violation in violations {
                    groups.add(&probe, &trace, &violation);
                }
            }
            judge.notes()
        })?;
    Ok((sender, thread))
}

/// A text that no earlier request had, of letters and digits.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Ten digits of 36 hold a count of microseconds for a century; what is counted at once is told apart by the count.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let micros = u64::try_from(since.as_micros()).unwrap_or(0);
    let mut number = micros.wrapping_mul(64).wrapping_add(count % 64) % 36_u64.pow(10);
    let mut text = [b'u'; 11];
    for place in text.iter_mut().skip(1).rev() {
        *place = DIGITS[usize::try_from(number % 36).unwrap_or(0)];
        number /= 36;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A monkey.
pub struct Member {
    cast: Cast,
    /// How often in a row it was told that it is not logged in.
    turned_away: u32,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

impl Scenario for Monkey {
    type User = Member;

    async fn start(&self, cx: &UserCx) -> anyhow::Result<Member> {
        let own = usize::try_from(cx.user().0)?;
        Ok(Member {
            cast: Cast::new(Arc::clone(&self.accounts), own),
            turned_away: 0,
        })
    }

    async fn iterate(&self, member: &mut Member, cx: &IterCx) -> anyhow::Result<()> {
        cx.began(self.workflow);
        let next = self.probes.lock().await.recv().await;
        let Some(probe) = next else {
            self.exhausted.notify_waiters();
            self.exhausted.notify_one();
            cx.stop().drain.cancelled().await;
            return Ok(());
        };
        let meter = Meter {
            cx,
            names: &self.names,
            baggage: self.settings.baggage,
            user: UserId(self.settings.first_user.0 + cx.user().0),
        };
        let sending = &self.settings.sending;
        // However this ends before the probe does.
        let watched = self.cut_off.watch(&probe);
        let sent = execute(&probe, &mut member.cast, sending, unique(), Some(&meter));
        let trace = tokio::select! {
            // The abort first: it frees permits of others, and who waited for one shall not begin a call with it now.
            biased;
            // What is in flight is recorded as cut off, and a probe that is not whole proves nothing.
            () = cx.stop().abort.cancelled() => anyhow::bail!("the run ended before the probe did"),
            trace = sent => trace,
        };
        watched.ended();
        let trace = match trace {
            Ok(trace) => trace,
            Err(error) => {
                self.counts.not_logged_in.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("a monkey's session: {error:#}");
                return Ok(());
            }
        };
        self.count(&trace);
        member.turned_away = self.turned_away(member.turned_away, &probe, &trace);
        self.hand_over(probe, trace);
        if member.turned_away >= TURNED_AWAY {
            member.turned_away = 0;
            match member.cast.log_in_again().await {
                Ok(()) => self.counts.logged_in_again.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!("a monkey's session: {error:#}");
                    self.counts.not_logged_in.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        Ok(())
    }

    async fn stop(&self, _: Member, _: &UserCx) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Monkey {
    /// How often in a row a user was told that he is not logged in, by operations that need that.
    fn turned_away(&self, before: u32, probe: &Probe, trace: &Trace) -> u32 {
        let mut count = before;
        for (step, answer) in probe.steps.iter().zip(&trace.answers) {
            let request = &step.request;
            let operation = request.operation.as_deref();
            let operation = operation.and_then(|name| self.document.operation(name));
            let needs = operation.is_some_and(|it| it.secured || !self.any_secured);
            if request.who != Who::Own || !needs {
                continue;
            }
            match answer.as_ref().and_then(Answer::status) {
                Some(401) => count += 1,
                Some(_) => count = 0,
                None => {}
            }
        }
        count
    }

    /// What was counted, in words.
    pub(crate) fn remarks(&self) -> BTreeMap<&'static str, u64> {
        let counts = &self.counts;
        [
            ("requests that cannot be sent", &counts.unsent),
            ("probes that were not judged", &counts.not_judged),
            ("sessions that could not be opened", &counts.not_logged_in),
            ("sessions opened again", &counts.logged_in_again),
            ("requests without a connection", &counts.unreachable),
        ]
        .into_iter()
        .map(|(what, count)| (what, count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

impl std::fmt::Debug for Monkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names = String::new();
        for operation in self.document.operations().iter().take(3) {
            write!(names, "{} ", operation.name)?;
        }
        f.debug_struct("Monkey")
            .field("operations", &names.trim_end())
            .finish_non_exhaustive()
    }
}
