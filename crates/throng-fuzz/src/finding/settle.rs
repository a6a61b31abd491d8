//! After the load: what was seen is sent again, shrunk and written down, on a budget of its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    Finding, Found, curl,
    group::{Group, Key},
    in_words,
    shrink::Shrinker,
};
use crate::{
    Answer,
    answer::{Sending, excerpt},
    check::Judge,
    monkey::{Monkey, unique},
    openapi::Document,
    probe::{Cast, Kind, Probe, Role, Trace, execute},
};

/// A finding is tried so often.
const TRIES: u32 = 5;
/// What depends on chance is tried so often.
const TRIES_OF_RACES: u32 = 12;
/// As much of an answer is shown, in characters.
const EXCERPT: usize = 200;
/// So many probes that the end of the run cut off are sent again.
const CUT_OFF: usize = 16;
/// What takes as long each time is tried less often.
const SLOW: Duration = Duration::from_secs(2);

impl Monkey {
    /// Waits until all that was sent has been judged, then sends again what was seen to be wrong: to see whether it repeats,
    /// and to find the smallest requests that show it; at most `budget` long, and until `abort`. Where nothing was seen, no
    /// time is spent. Call it once, when the load has ended.
    pub async fn settle(&self, budget: Duration, abort: &CancellationToken) -> Found {
        let mut found = Found {
            notes: self.judged().await,
            probes: self.counts.probes.load(Ordering::Relaxed),
            requests: self.counts.requests.load(Ordering::Relaxed),
            unreachable: self.counts.unreachable.load(Ordering::Relaxed),
            seed: self.settings.seed,
            ..Found::default()
        };
        found.notes.extend(self.document.notes().iter().cloned());
        let remarks = self.remarks();
        found.remarks.extend(
            remarks
                .into_iter()
                .map(|(what, count)| (what.to_owned(), count)),
        );
        let deadline = Instant::now() + budget;
        self.finish_cut_off(deadline, abort).await;
        let groups = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            if groups.beyond > 0 {
                let beyond = groups.beyond;
                found
                    .remarks
                    .insert("violations of too many kinds to be kept".to_owned(), beyond);
            }
            std::mem::take(&mut groups.groups)
        };
        // What takes long, or many tries, must not take the time of all others.
        let mut groups: Vec<(Key, Group)> = groups.into_iter().collect();
        groups.sort_by_key(|(key, _)| key.check.is_race());
        let mut left = groups.len();
        let mut untried = 0;
        for (key, group) in groups {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() || abort.is_cancelled() {
                untried += u64::from(!self.keep_untried(&key, &group, &mut found));
                continue;
            }
            let slice = rest / u32::try_from(left).unwrap_or(u32::MAX).max(1);
            left -= 1;
            let until = Instant::now() + slice.mul_f32(1.5);
            self.settle_one(key, group, until, abort, &mut found).await;
        }
        if untried > 0 {
            let what = "kinds of trouble not sent again for want of time";
            found.remarks.insert(what.to_owned(), untried);
        }
        found.merge_same();
        if let Some(corpus) = &self.settings.corpus {
            for finding in found.findings.iter_mut().chain(&mut found.seen_once) {
                match finding.save(corpus) {
                    Ok(file) => finding.file = Some(file),
                    Err(error) => found
                        .notes
                        .push(format!("cannot write to {}: {error}", corpus.display())),
                }
            }
        }
        found
    }

    /// Sends what the end of the run cut off again, all at once and with the whole time that an answer is allowed, so that an
    /// answer that never comes is found by a run of any length. What is seen is a finding as if the run had seen it.
    async fn finish_cut_off(&self, deadline: Instant, abort: &CancellationToken) {
        if deadline.saturating_duration_since(Instant::now()) < self.settings.sending.timeout {
            return;
        }
        let probes = self.cut_off.take(CUT_OFF);
        let mut sent: FuturesUnordered<_> = probes
            .iter()
            .map(|probe| async move {
                let mut cast = Cast::new(Arc::clone(&self.accounts), 0);
                // Sessions of the load may have ended by what it did.
                cast.log_in_again().await?;
                let sending = &self.settings.sending;
                let trace = execute(probe, &mut cast, sending, unique(), None).await?;
                anyhow::Ok((probe, trace))
            })
            .collect();
        let mut judge = Judge::new(&self.document, &self.settings.sending);
        loop {
            let next = tokio::select! {
                biased;
                () = abort.cancelled() => return,
                () = tokio::time::sleep_until(deadline.into()) => return,
                next = sent.next() => next,
            };
            match next {
                None => return,
                Some(Err(error)) => tracing::debug!("a session for what was cut off: {error:#}"),
                Some(Ok((probe, trace))) => {
                    let violations = judge.judge(probe, &trace);
                    let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
                    for violation in violations {
                        groups.add(probe, &trace, &violation);
                    }
                }
            }
        }
    }

    async fn settle_one(
        &self,
        key: Key,
        group: Group,
        until: Instant,
        abort: &CancellationToken,
        found: &mut Found,
    ) {
        let Some(first) = group.probes.first() else {
            return;
        };
        if self.keep_accepted(&key, &group, found) {
            return;
        }
        let mut bench = Bench::new(
            &self.document,
            Arc::clone(&self.accounts),
            &self.settings.sending,
            abort.clone(),
        );
        let mut best: Option<(Probe, Seen)> = None;
        for probe in &group.probes {
            if abort.is_cancelled() {
                break;
            }
            let seen = bench.tries(probe, &key, until).await;
            if seen.repeated > 0 {
                best = Some((probe.clone(), seen));
                break;
            }
            best.get_or_insert((probe.clone(), seen));
        }
        let Some((probe, seen)) = best else {
            let finding = self.finding(&key, &group, first.clone(), Seen::default(), None);
            found.seen_once.push(finding);
            return;
        };
        if seen.repeated == 0 {
            let finding = self.finding(&key, &group, probe, seen, None);
            found.seen_once.push(finding);
            return;
        }
        let small = Shrinker::new(&mut bench, &key, &seen, until, abort)
            .shrink(probe.clone())
            .await;
        let confirmed = if small == probe {
            None
        } else {
            let again = Instant::now() + Duration::from_secs(5);
            Some(bench.tries(&small, &key, again.max(until)).await)
        };
        let (probe, seen) = match confirmed {
            // What was shrunk too far is not kept.
            Some(small_seen) if small_seen.repeated > 0 => (small, small_seen),
            _ => (probe, seen),
        };
        let finding = self.finding(&key, &group, probe, seen, None);
        found.findings.push(finding);
    }

    /// Keeps what is accepted. Whether it is.
    fn keep_accepted(&self, key: &Key, group: &Group, found: &mut Found) -> bool {
        let accepted = self.settings.accept.iter().find(|accepted| {
            accepted.covers(&self.document, key.check, Some(&key.operation), key.status)
        });
        let (Some(accepted), Some(first)) = (accepted, group.probes.first()) else {
            return false;
        };
        let reason = Some(accepted.reason.clone());
        let finding = self.finding(key, group, first.clone(), Seen::default(), reason);
        found.accepted.push(finding);
        true
    }

    /// Keeps what there was no time to send again. Whether it's accepted, so that this takes nothing away.
    fn keep_untried(&self, key: &Key, group: &Group, found: &mut Found) -> bool {
        if self.keep_accepted(key, group, found) {
            return true;
        }
        if let Some(first) = group.probes.first() {
            let finding = self.finding(key, group, first.clone(), Seen::default(), None);
            found.seen_once.push(finding);
        }
        false
    }

    fn finding(
        &self,
        key: &Key,
        group: &Group,
        mut probe: Probe,
        seen: Seen,
        accepted: Option<String>,
    ) -> Finding {
        let safe = self
            .document
            .operation(&key.operation)
            .is_none_or(crate::openapi::Operation::is_safe);
        if seen.repeated > 0 {
            probe.steps.retain(|step| step.role != Role::Cleanup);
        }
        let requests = in_words(&probe);
        let mut finding = Finding {
            id: id(key),
            check: key.check,
            about: key.check.about().to_owned(),
            wfc: key.check.wfc(safe),
            operation: key.operation.clone(),
            status: key.status,
            message: key.message.clone(),
            answer: seen.answer,
            count: group.count,
            first_seen: group.first_seen.as_secs_f64(),
            repeated: seen.repeated,
            tried: seen.tried,
            seed: self.settings.seed,
            probe,
            requests,
            curl: String::new(),
            accepted,
            target: self.settings.sending.origin.origin().ascii_serialization(),
            scenario: self.settings.scenario.clone(),
            openapi: self.settings.openapi.clone(),
            file: None,
        };
        finding.curl = curl::script(&finding, &self.settings.sending, &*self.accounts);
        finding
    }
}

/// `server_error-post-scripts-1a2b3c`
fn id(key: &Key) -> String {
    let mut slug = String::new();
    for c in key.operation.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_end_matches('-').chars().take(60).collect();
    // With fixed keys: the same in each run.
    let mut hasher = DefaultHasher::new();
    (key.check.id(), &key.operation, key.status, &key.message).hash(&mut hasher);
    format!("{}-{slug}-{:06x}", key.check, hasher.finish() & 0xff_ffff)
}

/// What came of sending a probe several times.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) repeated: u32,
    pub(super) tried: u32,
    /// The start of the answer that showed it, without secrets.
    pub(super) answer: String,
    /// Why a try says nothing, of the first that doesn't.
    pub(super) untold: Option<&'static str>,
}

/// What came of sending a probe once.
pub(super) enum Once {
    /// It shows what is looked for, by an answer that begins so.
    Shown(String),
    /// All was answered, and nothing shows it.
    Gone,
    /// That can't be told: why.
    Untold(&'static str),
}

impl Once {
    pub(super) fn is_shown(&self) -> bool {
        matches!(self, Self::Shown(_))
    }
}

/// Why nothing can be told by what came of a probe: something of it had no answer.
fn unanswered(probe: &Probe, trace: &Trace) -> Option<&'static str> {
    let steps = probe.steps.iter().zip(&trace.answers);
    let mut needed = steps.filter(|(step, _)| step.role != Role::Cleanup);
    needed.find_map(|(_, answer)| match answer {
        Some(Answer::Answered(_)) => None,
        Some(Answer::Fault(fault)) => Some(fault.cause),
        Some(Answer::Unsent(_)) => Some("a request that cannot be sent"),
        None => Some("an earlier answer did not hold what a request needs"),
    })
}

/// Where probes are sent again: the first user and others, a judge.
pub(super) struct Bench<'a> {
    cast: Cast,
    sending: &'a Sending,
    judge: Judge<'a>,
    document: &'a Document,
    turned_away: bool,
    abort: CancellationToken,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        document: &'a Document,
        accounts: Arc<dyn crate::Accounts>,
        sending: &'a Sending,
        abort: CancellationToken,
    ) -> Self {
        Self {
            cast: Cast::new(accounts, 0),
            sending,
            judge: Judge::new(document, sending),
            document,
            turned_away: true,
            abort,
        }
    }

    /// Sends a probe once, unless all this is given up before its last answer has come.
    pub(super) async fn once(&mut self, probe: &Probe, key: &Key) -> Once {
        let abort = self.abort.clone();
        tokio::select! {
            biased;
            () = abort.cancelled() => Once::Untold("nobody waited for the answer"),
            once = self.send(probe, key) => once,
        }
    }

    async fn send(&mut self, probe: &Probe, key: &Key) -> Once {
        if self.turned_away {
            // Sessions of the load may have ended by what it did.
            self.turned_away = self.cast.log_in_again().await.is_err();
        }
        let logged_in = !self.turned_away && !self.cast.is_nobody();
        let trace = execute(probe, &mut self.cast, self.sending, unique(), None).await;
        let trace = match trace {
            Ok(trace) => trace,
            Err(error) => {
                tracing::debug!("a session for a finding: {error:#}");
                return Once::Untold("a session could not be opened");
            }
        };
        let lost_session = self.lost_session(probe, &trace);
        self.turned_away |= lost_session;
        let violations = self.judge.judge(probe, &trace);
        let seen = violations
            .iter()
            .find(|violation| Key::of(probe, &trace, violation).alike(key));
        let Some(seen) = seen else {
            return match unanswered(probe, &trace) {
                Some(why) => Once::Untold(why),
                None if lost_session && !logged_in => Once::Untold("nobody is logged in"),
                None => Once::Gone,
            };
        };
        let answered = trace.answers.get(seen.step).and_then(Option::as_ref);
        Once::Shown(match answered {
            Some(Answer::Answered(answered)) => excerpt(answered, &trace.secrets, EXCERPT),
            Some(Answer::Fault(fault)) => trace.secrets.strike(&fault.message),
            _ => String::new(),
        })
    }

    fn lost_session(&self, probe: &Probe, trace: &Trace) -> bool {
        probe
            .steps
            .iter()
            .zip(&trace.answers)
            .any(|(step, answer)| {
                let operation = step.request.operation.as_deref();
                let operation = operation.and_then(|name| self.document.operation(name));
                step.request.who == crate::Who::Own
                    && operation.is_some_and(|it| it.secured)
                    && answer.as_ref().and_then(Answer::status) == Some(401)
            })
    }

    /// Sends a probe several times, at least once, until `until`.
    pub(super) async fn tries(&mut self, probe: &Probe, key: &Key, until: Instant) -> Seen {
        let most = if key.check.is_race() || probe.kind == Kind::Race {
            TRIES_OF_RACES
        } else {
            TRIES
        };
        let mut seen = Seen::default();
        let mut slowest = Duration::ZERO;
        while seen.tried < most {
            let started = Instant::now();
            if self.abort.is_cancelled() {
                break;
            }
            if seen.tried > 0 && (started >= until || (slowest > SLOW && seen.tried >= 2)) {
                break;
            }
            let once = self.once(probe, key).await;
            if self.abort.is_cancelled() && !once.is_shown() {
                break;
            }
            seen.tried += 1;
            match once {
                Once::Shown(answer) => {
                    seen.repeated += 1;
                    seen.answer = answer;
                }
                Once::Gone => {}
                Once::Untold(why) => {
                    seen.untold.get_or_insert(why);
                }
            }
            slowest = slowest.max(started.elapsed());
        }
        seen
    }
}
