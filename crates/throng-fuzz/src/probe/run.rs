//! Sending a probe: who is who, what waits for what, what is measured.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::join_all;
use http::HeaderValue;
use throng_client::Client;
use throng_engine::{IterCx, Phase};
use throng_metrics::{Failure, FailureKind, Outcome, StepId, UserId};

use super::{Probe, Step};
use crate::{
    account::{Account, Accounts},
    answer::{Answer, FaultKind, Identity, Sending},
    request::{Csrf, Fill, Unsendable, Who},
    secrets::Secrets,
};

/// Those who act: the first user, others, nobody.
pub(crate) struct Cast {
    accounts: Arc<dyn Accounts>,
    own: usize,
    nobody: Client,
    /// The sessions in use, by user.
    sessions: HashMap<usize, Account>,
}

/// A session opened for one probe.
struct Fresh {
    account: Account,
    cookie: Option<HeaderValue>,
    token: Option<HeaderValue>,
}

/// What came of a probe.
#[derive(Debug)]
pub(crate) struct Trace {
    /// What stood for the unique text.
    pub(crate) unique: String,
    /// The answers by step; `None` where the request could not be made for want of an earlier answer.
    pub(crate) answers: Vec<Option<Answer>>,
    /// By step: whether a header said who asks, which no page of another site can send.
    pub(crate) by_key: Vec<bool>,
    /// What an answer may hold and nobody may be shown.
    pub(crate) secrets: Secrets,
}

/// Where requests are measured.
pub(crate) struct Meter<'a> {
    pub(crate) cx: &'a IterCx,
    pub(crate) names: &'a Names,
    /// Whether requests name their step.
    pub(crate) baggage: bool,
    pub(crate) user: UserId,
}

/// The steps of the catalog, and the headers that name them.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) by_operation: HashMap<String, (StepId, Baggage)>,
    pub(crate) unrouted: (StepId, Baggage),
}

/// A step's header, by phase.
#[derive(Debug)]
pub(crate) struct Baggage {
    pub(crate) warmup: HeaderValue,
    pub(crate) measured: HeaderValue,
}

impl Cast {
    pub(crate) fn new(accounts: Arc<dyn Accounts>, own: usize) -> Self {
        Self {
            nobody: accounts.nobody(),
            own: if accounts.is_empty() {
                0
            } else {
                own % accounts.len()
            },
            sessions: HashMap::new(),
            accounts,
        }
    }

    fn index(&self, other: u8) -> usize {
        (self.own + usize::from(other)) % self.accounts.len().max(1)
    }

    fn ensure(&mut self, probe: &Probe) {
        let others = probe.others().map(|n| self.index(n));
        let all: Vec<usize> = others.chain([self.own, self.index(1)]).collect();
        for index in all {
            if !self.accounts.is_empty() && !self.sessions.contains_key(&index) {
                self.sessions.insert(index, self.accounts.account(index));
            }
        }
    }

    /// Opens a new session of the first user, in place of the one that has ended.
    pub(crate) async fn log_in_again(&mut self) -> anyhow::Result<()> {
        if !self.accounts.is_empty() {
            let account = self.accounts.log_in(self.own).await?;
            self.sessions.insert(self.own, account);
        }
        Ok(())
    }

    /// Whether there are no users.
    pub(crate) fn is_nobody(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Adds what those who act are known by.
    fn add_secrets(&self, fresh: Option<&Fresh>, secrets: &mut Secrets) {
        let fresh = fresh.map(|fresh| &fresh.account);
        for account in self.sessions.values().chain(fresh) {
            secrets.add_account(account);
        }
    }

    fn session(&self, who: Who) -> Option<&Account> {
        match who {
            Who::Own => self.sessions.get(&self.own),
            Who::Other(n) => self.sessions.get(&self.index(n)),
            _ => None,
        }
    }

    fn identity<'a>(&'a self, who: Who, fresh: Option<&'a Fresh>) -> Identity<'a> {
        match (who, fresh) {
            (Who::Fresh, Some(fresh)) => Identity::of(&fresh.account),
            (Who::Kept, Some(fresh)) => Identity {
                client: &self.nobody,
                authorization: fresh.account.authorization.as_ref(),
                cookie: fresh.cookie.as_ref(),
                token: fresh.token.as_ref(),
                keys: false,
            },
            (who, _) => {
                // Where there are no users, a key is all there is to be let in by.
                let keys = self.accounts.is_empty();
                let nobody = || Identity::nobody(&self.nobody, keys);
                self.session(who).map_or_else(nobody, Identity::of)
            }
        }
    }

    /// The token against forgery of another session than `who`'s.
    fn others_token(&self, who: Who, sending: &Sending) -> Option<HeaderValue> {
        let other = match who {
            Who::Other(_) => self.session(Who::Own),
            _ => self.session(Who::Other(1)),
        };
        sending.token_of(&other?.client)
    }

    async fn fresh(&self, probe: &Probe, sending: &Sending) -> anyhow::Result<Option<Fresh>> {
        if !probe.needs_fresh() || self.accounts.is_empty() {
            return Ok(None);
        }
        let account = self.accounts.log_in(self.own).await?;
        let kept = probe
            .steps
            .iter()
            .find(|step| step.request.who == Who::Kept);
        let url = kept.and_then(|step| sending.origin.join(&step.request.path).ok());
        let url = url.unwrap_or_else(|| sending.origin.clone());
        Ok(Some(Fresh {
            cookie: account.client.cookies().and_then(|jar| jar.header(&url)),
            token: sending.token_of(&account.client),
            account,
        }))
    }
}

/// Sends a probe's requests, those that belong together at the same time.
///
/// # Errors
/// If a session that it needs could not be opened: then nothing was sent.
pub(crate) async fn execute(
    probe: &Probe,
    cast: &mut Cast,
    sending: &Sending,
    unique: String,
    meter: Option<&Meter<'_>>,
) -> anyhow::Result<Trace> {
    cast.ensure(probe);
    let cast = &*cast;
    let fresh = cast.fresh(probe, sending).await?;
    let mut trace = Trace {
        unique,
        answers: Vec::with_capacity(probe.steps.len()),
        by_key: {
            let who = probe.steps.iter().map(|step| step.request.who);
            who.map(|who| sending.by_key(&cast.identity(who, fresh.as_ref())))
                .collect()
        },
        secrets: Secrets::default(),
    };
    for (_, value) in &sending.headers {
        trace.secrets.add_header(value);
    }
    cast.add_secrets(fresh.as_ref(), &mut trace.secrets);
    let mut next = 0;
    while next < probe.steps.len() {
        let mut end = next + 1;
        while probe.steps.get(end).is_some_and(|step| step.together) {
            end += 1;
        }
        let batch = &probe.steps[next..end];
        let answered = match batch {
            [step] => vec![one(step, cast, fresh.as_ref(), sending, &trace, meter).await],
            steps => {
                let all = steps
                    .iter()
                    .map(|step| one(step, cast, fresh.as_ref(), sending, &trace, meter));
                join_all(all).await
            }
        };
        trace.answers.extend(answered);
        next = end;
    }
    cast.add_secrets(fresh.as_ref(), &mut trace.secrets);
    let answers = trace.answers.iter().flatten();
    for answered in answers.filter_map(Answer::answered) {
        trace.secrets.add_set_cookies(&answered.headers);
    }
    Ok(trace)
}

async fn one(
    step: &Step,
    cast: &Cast,
    fresh: Option<&Fresh>,
    sending: &Sending,
    trace: &Trace,
    meter: Option<&Meter<'_>>,
) -> Option<Answer> {
    let request = &step.request;
    let fill = Fill {
        unique: &trace.unique,
        answers: &trace.answers,
    };
    let filled = match request.fill(&fill) {
        Ok(filled) => filled,
        Err(Unsendable::Unbound(_)) => return None,
        Err(Unsendable::Invalid(why)) => return Some(Answer::Unsent(why)),
    };
    let identity = cast.identity(request.who, fresh);
    let others = match request.csrf {
        Csrf::Others => cast.others_token(request.who, sending),
        _ => None,
    };
    let Some(meter) = meter else {
        let sent = sending.send(&filled, &identity, request.csrf, others.as_ref(), None);
        return Some(sent.await);
    };
    // Waiting for it is no part of the step.
    let permit = meter.cx.permit().await;
    let (id, baggage) = meter.names.of(request.operation.as_deref());
    let baggage = match meter.cx.phase() {
        Phase::Warmup => &baggage.warmup,
        Phase::Measured => &baggage.measured,
    };
    let baggage = meter.baggage.then_some(baggage);
    let mut clock = meter.cx.step_clock();
    let mut in_flight = meter.cx.begin(*id, meter.user, &mut clock);
    in_flight.may_take(sending.timeout);
    let answer = sending
        .send(&filled, &identity, request.csrf, others.as_ref(), baggage)
        .await;
    drop(permit);
    in_flight.answered(answer.status());
    let (ended, (sent, received)) = match &answer {
        Answer::Answered(answered) => (answered.span.1, answered.traffic),
        Answer::Fault(fault) => (fault.span.1, fault.traffic),
        Answer::Unsent(_) => (std::time::Instant::now(), (0, 0)),
    };
    let ended = meter.cx.offset_of(ended);
    in_flight.finish_at(ended, sent, received, outcome(&answer));
    Some(answer)
}

impl Names {
    fn of(&self, operation: Option<&str>) -> &(StepId, Baggage) {
        operation
            .and_then(|name| self.by_operation.get(name))
            .unwrap_or(&self.unrouted)
    }
}

/// A 4xx is a refusal that was to be expected; what is 5xx or no answer at all is a failure.
fn outcome(answer: &Answer) -> Outcome {
    let failed = |kind, cause: String, example: String| {
        Outcome::Failed(Box::new(Failure {
            kind,
            cause,
            example,
        }))
    };
    match answer {
        Answer::Answered(answered) => match answered.status {
            400..=499 => Outcome::Refused,
            status if status >= 500 => {
                let cause = format!("HTTP {status}");
                failed(FailureKind::Http, cause.clone(), cause)
            }
            _ => Outcome::Success,
        },
        Answer::Fault(fault) => {
            let kind = match fault.kind {
                FaultKind::Hang => FailureKind::Timeout,
                FaultKind::Unreachable | FaultKind::Broken => FailureKind::Transport,
            };
            failed(kind, fault.cause.to_owned(), fault.message.clone())
        }
        Answer::Unsent(why) => failed(
            FailureKind::Scenario,
            "a request that cannot be sent".to_owned(),
            why.clone(),
        ),
    }
}
