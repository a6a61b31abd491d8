//! One step: rendered, carried out, judged, recorded.
//!
//! Rendering comes before the step's start and judging after its end, so that neither is measured.

use std::time::Duration;

use serde_json::Value;
use throng_engine::{Permit, Phase};
use throng_metrics::{Event, Failure, FailureKind, Outcome, UserId, WaitSample};

use super::block::{Branch, Mode};
use super::check::Verdict;
use super::count;
use super::driver::{Driver, Performed, Prepared, Readied, Reply, Task, TokenUse};
use super::example::Asked;
use super::failure::{Halt, failure_with, shown, violation};
use super::http::{heard, undecodable};
use super::pattern::Origin;
use super::render::Missing;
use super::scope::{Execution, Scope};
use crate::program::{Action, Refused, SaveFrom, Step, Until};

/// A user who may make a call now.
struct Ready {
    readied: Readied,
    permit: Option<Permit>,
}

impl Ready {
    /// How long the permit was waited for.
    fn waited(&self) -> Duration {
        self.permit.as_ref().map_or(Duration::ZERO, Permit::waited)
    }
}

/// What one call came to.
enum Answer {
    /// It is as it should be (for `until`: what was waited for is there).
    Met,
    /// What is waited for is not there yet.
    NotYet,
    /// An expected refusal.
    Refused,
    /// A failure; its cause.
    Failed(String),
}

impl<D: Driver> Execution<'_, D> {
    /// Does a step; whatever follows from it (values, lists, `or_else`) included.
    pub(super) async fn step(&self, step: &Step, branch: &mut Branch<'_>) -> Result<(), Halt> {
        let scope = branch.scope;
        let unsaved = |source| self.see(source, scope, |_| ()).is_none();
        if branch.mode == Mode::Finally && step.needs.iter().any(unsaved) {
            return Ok(());
        }
        if step
            .when
            .as_ref()
            .is_some_and(|when| !self.holds(when, scope))
            || step
                .unless
                .as_ref()
                .is_some_and(|unless| self.holds(unless, scope))
        {
            return Ok(());
        }
        let untried = |why: Missing| Halt::Untried {
            step: step.name.clone(),
            why,
        };
        let user = self.user(step.actor, scope);
        let ends = |event: &Value| self.ends(step, event, scope);
        let mut prepared = self.prepare(step, branch, &ends).map_err(untried)?;
        let answer = match &step.until {
            None => {
                let ready = self.ready(step, user, branch.mode).await?;
                self.attempt(step, user, &prepared, ready, branch, None)
                    .await
                    .map_err(untried)?
            }
            Some(until) => {
                self.poll(step, until, user, &mut prepared, branch, &untried)
                    .await?
            }
        };
        match answer {
            Answer::Met => {
                for (list, value) in &step.appends {
                    let value = self.value(value, scope).map_err(untried)?;
                    self.append(*list, value);
                }
                Ok(())
            }
            Answer::Refused => self.statements(&step.or_else, branch).await,
            Answer::Failed(cause) => Err(Halt::Step {
                step: step.name.clone(),
                cause,
            }),
            // `poll` only ends with something else.
            Answer::NotYet => Ok(()),
        }
    }

    fn prepare<'s>(
        &self,
        step: &'s Step,
        branch: &Branch<'_>,
        ends: &'s (dyn Fn(&Value) -> bool + Send + Sync),
    ) -> Result<Prepared<'s>, Missing> {
        let task = match &step.action {
            Action::Call { tool, arguments } => {
                Task::Call(tool, self.render(arguments, branch.scope)?.into())
            }
            Action::Resource { uri } => Task::Resource(self.text(uri, branch.scope)?),
            Action::Request(request) => Task::Request(self.request(request, branch.scope)?),
            Action::Listen(listen) => Task::Listen(self.listening(listen, branch.scope, ends)?),
            Action::Token(action) => Task::Token(*action),
        };
        let baggage = step
            .baggage
            .as_ref()
            .map(|baggage| match (self.cx.phase(), branch.mode) {
                (Phase::Warmup, _) => &baggage.warmup,
                (Phase::Measured, Mode::Steps) => &baggage.measured,
                (Phase::Measured, Mode::Finally) => &baggage.finally,
            });
        Ok(Prepared {
            task,
            timeout: step.timeout,
            baggage,
            wants_value: step.reads_result(),
            refused: step.refused.as_ref().map(|refused| &refused.error),
            renew: step.renew,
        })
    }

    /// Calls again and again until the condition holds.
    async fn poll(
        &self,
        step: &Step,
        until: &Until,
        user: u32,
        prepared: &mut Prepared<'_>,
        branch: &mut Branch<'_>,
        untried: &(dyn Fn(Missing) -> Halt + Send + Sync),
    ) -> Result<Answer, Halt> {
        let mut ready = self.ready(step, user, branch.mode).await?;
        let began = self.cx.now();
        let mut deadline = began + until.within;
        // Who has to wait for a permit looks later: the target isn't held to that, and the error grows by it.
        let mut longest = Duration::ZERO;
        let mut attempts = 0;
        let answer = loop {
            let asked = self.cx.now();
            attempts += 1;
            // What is waited for comes within this time, or not.
            prepared.timeout = step.timeout.min(deadline.saturating_sub(asked));
            let answer = self
                .attempt(step, user, prepared, ready, branch, Some((until, deadline)))
                .await
                .map_err(untried)?;
            if !matches!(answer, Answer::NotYet) {
                break answer;
            }
            // On a grid, so that the interval bounds the error however long the calls take.
            let rest = (asked + until.every).saturating_sub(self.cx.now());
            self.pause(rest, branch).await;
            ready = self.ready(step, user, branch.mode).await?;
            deadline += ready.waited();
            longest = longest.max(ready.waited());
        };
        self.cx.record(Event::Wait(WaitSample {
            step: step.id,
            user: UserId(user),
            started: began,
            waited: self.cx.now().saturating_sub(began),
            resolution: until.every + longest,
            attempts,
            met: matches!(answer, Answer::Met),
        }));
        Ok(answer)
    }

    /// Makes a user ready for a call, and waits until one more may be in flight: before the call's start, so that neither is
    /// measured as the target's.
    ///
    /// Who gets his permit because an abort dropped the calls of others begins none: nothing of it would be sent any more, and
    /// it would be counted as one that was. `finally` goes on after an abort.
    async fn ready(&self, step: &Step, user: u32, mode: Mode) -> Result<Ready, Halt> {
        // Who says what is done with the token, or that it's used as it is, wants it as it is.
        let as_it_is = !step.renew || matches!(step.action, Action::Token(_));
        let readied = if as_it_is {
            Readied::default()
        } else {
            self.driver.ready(user, step.timeout).await
        };
        let permit = self.cx.permit().await;
        if mode == Mode::Steps && self.cx.stop().abort.is_cancelled() {
            return Err(Halt::Aborted);
        }
        Ok(Ready { readied, permit })
    }

    /// Makes one call and records it. With `until`, its deadline tells whether there is time for another.
    async fn attempt(
        &self,
        step: &Step,
        user: u32,
        prepared: &Prepared<'_>,
        ready: Ready,
        branch: &mut Branch<'_>,
        until: Option<(&Until, Duration)>,
    ) -> Result<Answer, Missing> {
        let pattern = self.trace.and_then(|trace| {
            let conceal = |text| self.driver.conceal(user, prepared, text);
            self.pattern(step, &trace.marks, branch.scope, conceal)
        });
        let mut permit = ready.permit;
        let mut flight = self.cx.begin(step.id, UserId(user), &mut branch.clock);
        flight.may_take(prepared.timeout);
        if let Task::Listen(listen) = &prepared.task {
            // Only who listens for its own sake has all there is to have with the stream's head.
            let must = step.refused.as_ref().is_some_and(|refused| refused.must);
            flight.goes_on_after(listen.open.clone(), listen.listen.until.is_none() && !must);
            // Who must be refused and has the head was let in, however soon it was cut off.
            flight.may_take(if must {
                Duration::ZERO
            } else {
                listen.listen.within
            });
            listen.hold(permit.take());
        }
        self.used_tokens(user, ready.readied.tokens.as_deref());
        let asked = ready.readied.result.is_ok();
        let performed = match ready.readied.result {
            Ok(()) => self.driver.perform(user, prepared).await,
            Err(failure) => {
                flight.never_sent();
                Performed::failed(failure)
            }
        };
        drop(permit);
        self.used_tokens(user, performed.tokens.as_deref());
        if let Some(waited) = performed.tokens.as_ref().and_then(|tokens| tokens.waited) {
            flight.set_aside(waited);
        }
        if let Task::Listen(listen) = &prepared.task {
            listen.head_is_there();
        }
        let ended = performed
            .ended
            .map_or_else(|| self.cx.now(), |at| self.cx.offset_of(at));
        flight.answered(performed.status);
        let status = performed.status;
        let result = match &performed.stream {
            Some(stream) => heard(&step.action, stream, performed.result),
            None => performed.result,
        };
        let result = match (result, until) {
            (Err(failure), Some((until, _)))
                if asked
                    && failure.kind == FailureKind::Timeout
                    && prepared.timeout < step.timeout =>
            {
                Err(not_met(until, &failure.example))
            }
            (result, _) => result,
        };
        let last = until.is_some_and(|(until, deadline)| ended + until.every > deadline);
        let started = flight.started();
        let (outcome, answer) = match self.assess(
            step,
            result,
            branch.scope,
            until.map(|(until, _)| (until, last)),
            user,
        ) {
            Ok((Outcome::Failed(mut failure), answer)) => {
                let example = std::mem::take(&mut failure.example);
                failure.example = self.driver.conceal(user, prepared, example);
                // What the file says to compare with may have been a secret, too.
                let cause = std::mem::take(&mut failure.cause);
                failure.cause = self.driver.conceal(user, prepared, cause);
                let answer = match answer {
                    Answer::Failed(_) => Answer::Failed(failure.cause.clone()),
                    other => other,
                };
                (Outcome::Failed(failure), answer)
            }
            Ok(assessed) => assessed,
            Err(missing) => {
                let failure = failure_with(FailureKind::Capture, missing.clone(), &missing);
                flight.finish_at(
                    ended,
                    performed.sent,
                    performed.received,
                    Outcome::Failed(Box::new(failure)),
                );
                return Err(missing);
            }
        };
        if let Some(trace) = self.trace {
            let asked = Asked {
                user,
                began: started,
                ended,
                pattern,
            };
            trace.note(step, prepared, status, &outcome, asked, |text| {
                self.driver.conceal(user, prepared, text)
            });
        }
        flight.finish_at(ended, performed.sent, performed.received, outcome);
        if let Some(stream) = performed.stream {
            let user = UserId(user);
            self.streamed(step, user, started, performed.received, *stream, branch);
        }
        let retries = self.program.counters.retries;
        count::count(self.cx, retries, user, performed.retries.into());
        Ok(answer)
    }

    /// What a result means, and what is kept of it.
    fn assess(
        &self,
        step: &Step,
        result: Result<Reply, Failure>,
        scope: &Scope<'_>,
        until: Option<(&Until, bool)>,
        user: u32,
    ) -> Result<(Outcome, Answer), Missing> {
        let Reply { value, http } = match result {
            Ok(reply) => reply,
            Err(failure) => return Ok(self.refusal(step, failure, until, user)),
        };
        // Before anything that is asked of the answer: there must be none.
        if let Some(refused) = step.refused.as_ref().filter(|refused| refused.must) {
            return Ok(failed(self.violation(step, refused, &value, user)));
        }
        let http = http.as_deref();
        if let Some((until, last)) = until
            && let Some(refused) = &until.refused
        {
            let message = format!("no refusal with /{}/", refused.as_str());
            return Ok(if last {
                failed(not_met(until, &message))
            } else {
                (Outcome::Success, Answer::NotYet)
            });
        }
        if let Some((until, last)) = until
            && let Verdict::Fails { message, .. } =
                self.judge(&until.condition, &value, http, scope)?
        {
            return Ok(if last {
                failed(not_met(until, &message))
            } else {
                (Outcome::Success, Answer::NotYet)
            });
        }
        let mut counted = Vec::new();
        for check in &step.checks {
            match self.judge(check, &value, http, scope)? {
                Verdict::Holds(counts) => counted.extend(counts),
                Verdict::Fails { cause, message } => {
                    return Ok(failed(failure_with(FailureKind::Check, cause, &message)));
                }
            }
        }
        let mut kept = Vec::with_capacity(step.saves.len());
        for save in &step.saves {
            match self.capture(&save.from, &value, http, scope)? {
                Some(found) => {
                    // What the call is noted as, once it has been judged.
                    let origin = self.trace.map_or(Origin::Given, |trace| {
                        trace.marks.origin(trace.len(), &save.from, &found, http)
                    });
                    kept.push((save.target, found, origin));
                }
                None => {
                    if matches!(save.from, SaveFrom::Regex(_))
                        && let Some(failure) = http.and_then(undecodable)
                    {
                        return Ok(failed(failure));
                    }
                    let cause = format!("nothing {} to save as {}", save.from, save.name);
                    let message = match save.from {
                        SaveFrom::Path(_) => format!("{cause}, found {}", shown(&value)),
                        _ => cause.clone(),
                    };
                    return Ok(failed(failure_with(FailureKind::Capture, cause, &message)));
                }
            }
        }
        for (target, value, origin) in kept {
            self.save(target, value, origin, scope);
        }
        for (counter, by) in counted {
            count::count(self.cx, counter, user, by);
        }
        Ok((Outcome::Success, Answer::Met))
    }

    /// A call that must be refused was not.
    fn violation(&self, step: &Step, refused: &Refused, answer: &Value, user: u32) -> Failure {
        let done = match &step.action {
            Action::Call { tool, .. } => format!("called {}", tool.as_str()),
            Action::Resource { uri } => format!("read {}", uri.template()),
            Action::Request(_) | Action::Listen(_) | Action::Token(_) => {
                format!(
                    "sent {}",
                    self.program.catalog.steps[step.id.0 as usize].endpoint
                )
            }
        };
        violation(
            &step.name,
            &format!("{} ({})", self.driver.names(user).name, step.actor_name),
            &done,
            refused.error.as_str(),
            answer,
        )
    }

    /// An error: expected, or a failure.
    fn refusal(
        &self,
        step: &Step,
        failure: Failure,
        until: Option<(&Until, bool)>,
        user: u32,
    ) -> (Outcome, Answer) {
        let answered = matches!(
            failure.kind,
            FailureKind::Tool | FailureKind::Rpc | FailureKind::Http
        );
        if let Some((until, _)) = until
            && let Some(refused) = &until.refused
            && answered
            && refused.is_match(&failure.example)
        {
            return (Outcome::Refused, Answer::Met);
        }
        match step
            .refused
            .as_ref()
            .filter(|refused| answered && refused.error.is_match(&failure.example))
        {
            None => failed(failure),
            Some(refused) => match until {
                // Not there yet may well be said by an error.
                Some((_, false)) => (Outcome::Refused, Answer::NotYet),
                Some((until, true)) => failed(not_met(until, &failure.example)),
                None => {
                    if let Some(counter) = refused.count {
                        count::count(self.cx, counter, user, 1);
                    }
                    (Outcome::Refused, Answer::Refused)
                }
            },
        }
    }

    fn used_tokens(&self, user: u32, tokens: Option<&TokenUse>) {
        count::tokens(self.cx, &self.program.counters.tokens, user, tokens);
    }
}

fn failed(failure: Failure) -> (Outcome, Answer) {
    let cause = failure.cause.clone();
    (Outcome::Failed(Box::new(failure)), Answer::Failed(cause))
}

fn not_met(until: &Until, last: &str) -> Failure {
    let cause = format!("what was waited for did not come within {:?}", until.within);
    failure_with(
        FailureKind::Check,
        cause.clone(),
        &format!("{cause}; the last answer: {last}"),
    )
}
