//! Holds a threshold against what was measured.

use std::time::Duration;

use super::{Figure, Kind, Scope, Threshold, Unit};
use crate::{
    Catalog, CounterId, Distribution, Latencies, Measured, StepTally, ThresholdReport,
    WorkflowTally,
    report::build::{baseline_steps, percent},
};

impl Threshold {
    /// Holds it against a run.
    pub fn evaluate(&self, measured: &Measured<'_>) -> ThresholdReport {
        let (actual, reason) = match self.resolve(measured.catalog) {
            Ok(scope) => (self.actual(&scope, measured), "no samples".to_owned()),
            Err(error) => (None, error.message),
        };
        let unit = self.figure.unit();
        ThresholdReport {
            expression: self.text.clone(),
            actual,
            actual_text: actual.map_or_else(|| "no samples".to_owned(), |value| unit.show(value)),
            passed: actual.is_some_and(|actual| self.comparison.holds(actual, self.value)),
            reason: actual.is_none().then_some(reason),
        }
    }

    /// `None` where there are no samples.
    fn actual(&self, scope: &Scope, measured: &Measured<'_>) -> Option<f64> {
        let tally = measured.tally;
        match &self.figure {
            Figure::DroppedStarts | Figure::LateStarts | Figure::Counter(_)
                if tally.calls() == 0 && measured.generator.starts.dropped() == 0 =>
            {
                return None;
            }
            Figure::DroppedStarts => return Some(measured.generator.starts.dropped() as f64),
            Figure::LateStarts => return Some(measured.generator.starts.late as f64),
            Figure::Counter(name) => return counter(measured, name),
            Figure::Refused => {
                let calls = calls(measured, scope)?;
                return (calls.count() > 0).then_some(calls.refused as f64);
            }
            Figure::NotRefused => {
                let calls = calls(measured, scope)?;
                return (calls.count() > 0).then_some(calls.not_refused as f64);
            }
            _ => {}
        }
        let figures = match scope {
            Scope::All => self.of_steps(&tally.all_steps()),
            Scope::Baseline => self.of_steps(&baseline_steps(measured.catalog, tally)),
            Scope::Step(step) => self.of_steps(tally.step(*step)),
            Scope::Endpoint(endpoint) => self.of_steps(&endpoint_steps(measured, endpoint)),
            Scope::Workflow(workflow) => match self.kind {
                Kind::Propagation => self.of_steps(&workflow_steps(measured, *workflow)),
                _ => self.of_workflow(tally.workflow(*workflow)),
            },
            Scope::Lag => Figures::of(&measured.generator.starts.lag, 0),
            Scope::Phase(name) => {
                let phase = measured.phases.iter().find(|phase| phase.name() == name)?;
                Figures::of(phase.latencies(), phase.failures())
            }
        };
        figures.read(&self.figure, measured.generator.wall)
    }

    fn of_steps(&self, step: &StepTally) -> Figures {
        match self.kind {
            Kind::Response => Figures::of(&step.response, step.bad()),
            Kind::Service => Figures::of(&step.service, step.bad()),
            Kind::Failures => Figures::of(&step.failures, 0),
            Kind::Propagation => Figures::of(&step.waits.latencies, step.waits.not_met),
        }
    }

    fn of_workflow(&self, workflow: &WorkflowTally) -> Figures {
        let bad = workflow.failed;
        match self.kind {
            Kind::Response | Kind::Propagation => Figures::of(&workflow.response, bad),
            Kind::Service => Figures::of(&workflow.service, bad),
            Kind::Failures => Figures::of(&workflow.failures, 0),
        }
    }
}

/// What figures are read from: the durations of what went well, and how much did not.
struct Figures {
    latencies: Latencies,
    bad: u64,
}

impl Figures {
    fn of(latencies: &Latencies, bad: u64) -> Self {
        Self {
            latencies: latencies.clone(),
            bad,
        }
    }

    fn read(&self, figure: &Figure, wall: Duration) -> Option<f64> {
        let good = self.latencies.count();
        let count = good + self.bad;
        if count == 0 || (figure.unit() == Unit::Seconds && good == 0) {
            return None;
        }
        Some(match figure {
            Figure::Min => self.latencies.min().as_secs_f64(),
            Figure::Max => self.latencies.max().as_secs_f64(),
            Figure::Mean => self.latencies.mean_seconds(),
            Figure::Quantile(quantile) => self.latencies.quantile(*quantile)?.as_secs_f64(),
            Figure::SuccessRate => percent(good, count),
            Figure::ErrorRate => percent(self.bad, count),
            Figure::Rate if wall.is_zero() => return None,
            Figure::Rate => count as f64 / wall.as_secs_f64(),
            Figure::Count => count as f64,
            Figure::Errors => self.bad as f64,
            // Of calls, and of the whole run; answered before.
            Figure::Refused
            | Figure::NotRefused
            | Figure::DroppedStarts
            | Figure::LateStarts
            | Figure::Counter(_) => return None,
        })
    }
}

/// All calls that belong to a scope; `None` where a scope has none (a phase of the set-up, the generator's lag).
fn calls(measured: &Measured<'_>, scope: &Scope) -> Option<StepTally> {
    Some(match scope {
        Scope::All => measured.tally.all_steps(),
        Scope::Baseline => baseline_steps(measured.catalog, measured.tally),
        Scope::Step(step) => measured.tally.step(*step).clone(),
        Scope::Endpoint(endpoint) => endpoint_steps(measured, endpoint),
        Scope::Workflow(workflow) => workflow_steps(measured, *workflow),
        Scope::Lag | Scope::Phase(_) => return None,
    })
}

fn counter(measured: &Measured<'_>, name: &str) -> Option<f64> {
    let Catalog { counters, .. } = measured.catalog;
    let index = counters.iter().position(|counter| counter.name == name)?;
    Some(measured.tally.counter(CounterId(index as u32)) as f64)
}

fn endpoint_steps(measured: &Measured<'_>, endpoint: &str) -> StepTally {
    let mut all = StepTally::default();
    for (info, step) in measured.catalog.steps.iter().zip(measured.tally.steps()) {
        if info.endpoint == endpoint {
            all.merge(step);
        }
    }
    all
}

fn workflow_steps(measured: &Measured<'_>, workflow: crate::WorkflowId) -> StepTally {
    let mut all = StepTally::default();
    for (id, _) in measured.catalog.steps_of(workflow) {
        all.merge(measured.tally.step(id));
    }
    all
}
