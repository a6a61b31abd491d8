//! Makes the document from what was measured.

use std::time::Duration;

use crate::{
    Catalog, Cleanup, Distribution, EndpointReport, Entry, ErrorReport, GeneratorHealth,
    GeneratorReport, LagReport, Latencies, Limits, Measured, OperationsReport, PhaseReport,
    PhaseTally, PropagationReport, Report, RunInfo, SCHEMA_VERSION, StepReport, StepTally,
    StreamReport, Summary, Table, Tally, ThresholdReport, TimelineReport, TokenWaitReport, UserId,
    VerdictReport, Verdicts, WorkflowId, WorkflowReport, WorkflowRole, verdict::unhealthy_reasons,
};

impl Report {
    /// The document of a run.
    pub fn new(
        run: RunInfo,
        measured: &Measured<'_>,
        thresholds: Vec<ThresholdReport>,
        verdicts: &Verdicts,
        limits: &Limits,
        cleanup: Option<Cleanup>,
    ) -> Self {
        let Measured {
            catalog,
            tally,
            phases,
            generator,
        } = *measured;
        let seconds = seconds_of(generator.wall);
        Self {
            schema_version: SCHEMA_VERSION,
            run,
            verdict: VerdictReport::of(verdicts),
            summary: summary(catalog, tally, seconds),
            workflows: workflows(catalog, tally),
            users: users(catalog, tally),
            baseline: baseline(catalog, tally),
            setup: phases
                .iter()
                .map(|phase| (phase.name(), phase_report(phase)))
                .collect(),
            steps: steps(catalog, tally, seconds),
            endpoints: endpoints(catalog, tally, seconds),
            propagation: propagation(catalog, tally),
            streams: streams(catalog, tally),
            counters: catalog
                .counters
                .iter()
                .enumerate()
                .map(|(index, counter)| {
                    (
                        counter.name.as_str(),
                        tally.counter(crate::CounterId(index as u32)),
                    )
                })
                .collect(),
            token_wait: (tally.token_waits().count() > 0).then(|| TokenWaitReport {
                waits: tally.token_waits().count(),
                latency: tally.token_waits().summary(),
            }),
            errors: errors(catalog, tally),
            timeline: timeline(tally, generator.wall),
            generator: generator_report(generator, limits),
            thresholds,
            cleanup,
            ground_truth: None,
            monkey: None,
        }
    }
}

/// To four digits after the point.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        rounded(part as f64 * 100.0 / whole as f64)
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        rounded(count as f64 / seconds)
    } else {
        0.0
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// To whole microseconds, as all other times.
fn seconds_of(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

fn is_baseline(catalog: &Catalog, workflow: WorkflowId) -> bool {
    catalog
        .workflows
        .get(workflow.0 as usize)
        .is_some_and(|workflow| workflow.role == WorkflowRole::Baseline)
}

/// All steps of workflows of the baseline role together.
pub(crate) fn baseline_steps(catalog: &Catalog, tally: &Tally) -> StepTally {
    let mut all = StepTally::default();
    for (info, step) in catalog.steps.iter().zip(tally.steps()) {
        if is_baseline(catalog, info.workflow) {
            all.merge(step);
        }
    }
    all
}

fn summary(catalog: &Catalog, tally: &Tally, seconds: f64) -> Summary {
    let executions = |workflow: usize| tally.workflows()[workflow].count();
    let calls = tally.calls();
    let ended = calls - tally.unfinished_calls();
    let all = tally.all_steps();
    let mut failures_by_kind = Table::new();
    for (kind, _, group) in tally.errors().iter() {
        *failures_by_kind.entry(kind.name()) += group.count;
    }
    Summary {
        duration: seconds,
        total_workflows: (0..catalog.workflows.len())
            .filter(|&index| !is_baseline(catalog, WorkflowId(index as u32)))
            .map(executions)
            .sum(),
        total_baseline_ops: baseline_steps(catalog, tally).count(),
        total_users: catalog.users.len() as u64,
        total_operations: calls,
        failed_operations: tally.failed_calls(),
        refused_operations: all.refused,
        unfinished_operations: tally.unfinished_calls(),
        success_rate: percent(ended - tally.failed_calls(), ended),
        operations_per_second: per_second(calls, seconds),
        sent_bytes: all.sent,
        received_bytes: all.received,
        failures_by_kind,
    }
}

fn workflows(catalog: &Catalog, tally: &Tally) -> Table<WorkflowReport> {
    let workflows = catalog.workflows.iter().zip(tally.workflows());
    workflows
        .enumerate()
        .filter(|(_, (info, _))| info.role == WorkflowRole::Workflow)
        .map(|(index, (info, workflow))| {
            let report = WorkflowReport {
                total_executions: workflow.count(),
                successful_executions: workflow.succeeded,
                failed_executions: workflow.failed,
                interrupted_executions: workflow.interrupted,
                success_rate: percent(workflow.succeeded, workflow.succeeded + workflow.failed),
                latency: workflow.response.summary(),
                service_latency: workflow.service.summary(),
                failed_latency: workflow.failures.summary(),
                step_latencies: catalog
                    .steps_of(WorkflowId(index as u32))
                    .map(|(id, step)| (step.name.as_str(), tally.step(id).response.summary()))
                    .collect(),
            };
            (info.name.as_str(), report)
        })
        .collect()
}

fn users(catalog: &Catalog, tally: &Tally) -> Table<OperationsReport> {
    let users = catalog.users.iter().enumerate();
    users
        .map(|(index, name)| {
            let mut report = OperationsReport::default();
            if let Some(user) = tally.user(UserId(index as u32)) {
                let total = user.total();
                report.total_operations = total.count();
                report.successful_operations = total.good;
                report.failed_operations = total.bad;
                report.unfinished_operations = total.unfinished;
                report.success_rate = percent(total.good, total.good + total.bad);
                report.latency = user.response.summary();
                for (id, step) in &user.steps {
                    let name = step_name(catalog, *id);
                    *report.operations_breakdown.entry(&name) += step.count();
                    if step.bad > 0 {
                        *report.errors_breakdown.entry(&name) += step.bad;
                    }
                }
                // In the catalog's order, whatever came first.
                for (id, counter) in catalog.counters.iter().enumerate() {
                    let count = user.counter(crate::CounterId(id as u32));
                    if count > 0 {
                        *report.counters.entry(&counter.name) += count;
                    }
                }
            }
            (name.as_str(), report)
        })
        .collect()
}

/// The name alone, as in the first framework: users are broken down by step, whichever workflow it is in.
fn step_name(catalog: &Catalog, id: crate::StepId) -> String {
    match catalog.steps.get(id.0 as usize) {
        Some(step) => step.name.clone(),
        None => catalog.step_key(id),
    }
}

fn baseline(catalog: &Catalog, tally: &Tally) -> OperationsReport {
    let all = baseline_steps(catalog, tally);
    let mut report = OperationsReport {
        total_operations: all.count(),
        successful_operations: all.good(),
        failed_operations: all.bad(),
        unfinished_operations: all.unfinished,
        success_rate: percent(all.good(), all.good() + all.bad()),
        latency: all.response.summary(),
        operations_breakdown: Table::new(),
        errors_breakdown: Table::new(),
        counters: Table::new(),
    };
    for (info, step) in catalog.steps.iter().zip(tally.steps()) {
        if is_baseline(catalog, info.workflow) {
            *report.operations_breakdown.entry(&info.name) += step.count();
            if step.bad() > 0 {
                *report.errors_breakdown.entry(&info.name) += step.bad();
            }
        }
    }
    report
}

fn phase_report(phase: &PhaseTally) -> PhaseReport {
    PhaseReport {
        count: phase.latencies().count() + phase.failures(),
        failures: phase.failures(),
        wall_seconds: seconds_of(phase.wall()),
        latency: phase.latencies().summary(),
        queue_wait: (!phase.queue_waits().max().is_zero()).then(|| lag(phase.queue_waits())),
        first_errors: phase.first_errors().to_vec(),
    }
}

fn steps(catalog: &Catalog, tally: &Tally, seconds: f64) -> Table<StepReport> {
    let steps = catalog.steps.iter().zip(tally.steps()).enumerate();
    steps
        .map(|(index, (info, step))| {
            let report = StepReport {
                endpoint: info.endpoint.clone(),
                count: step.count(),
                errors: step.failed,
                refused: step.refused,
                not_refused: step.not_refused,
                unfinished: step.unfinished,
                response: step.response.summary(),
                service: step.service.summary(),
                failures: step.failures.summary(),
                sent_bytes: step.sent,
                received_bytes: step.received,
                statuses: statuses(step),
                calls_per_second: per_second(step.count(), seconds),
            };
            (catalog.step_key(crate::StepId(index as u32)), report)
        })
        .collect()
}

fn endpoints(catalog: &Catalog, tally: &Tally, seconds: f64) -> Table<EndpointReport> {
    let mut endpoints = Table::<StepTally>::new();
    for (info, step) in catalog.steps.iter().zip(tally.steps()) {
        endpoints.entry(&info.endpoint).merge(step);
    }
    endpoints
        .iter()
        .map(|(name, all)| {
            let report = EndpointReport {
                count: all.count(),
                errors: all.failed,
                refused: all.refused,
                not_refused: all.not_refused,
                unfinished: all.unfinished,
                response: all.response.summary(),
                service: all.service.summary(),
                failures: all.failures.summary(),
                sent_bytes: all.sent,
                received_bytes: all.received,
                statuses: statuses(all),
                calls_per_second: per_second(all.count(), seconds),
            };
            (name, report)
        })
        .collect()
}

fn propagation(catalog: &Catalog, tally: &Tally) -> Table<PropagationReport> {
    let steps = tally.steps().iter().enumerate();
    steps
        .filter(|(_, step)| step.waits.count() > 0)
        .map(|(index, step)| {
            let report = PropagationReport {
                waits: step.waits.count(),
                not_met: step.waits.not_met,
                attempts: step.waits.attempts,
                latency: step.waits.latencies.summary(),
                polling_error: seconds_of(step.waits.resolution),
            };
            (catalog.step_key(crate::StepId(index as u32)), report)
        })
        .collect()
}

fn statuses(step: &StepTally) -> Table<u64> {
    let counted = step.statuses.iter();
    counted
        .map(|(status, count)| (status.to_string(), count))
        .collect()
}

fn streams(catalog: &Catalog, tally: &Tally) -> Table<StreamReport> {
    let steps = tally.steps().iter().enumerate();
    steps
        .filter_map(|(index, step)| {
            let streams = step.streams.as_deref()?;
            let report = StreamReport {
                streams: streams.count(),
                met: streams.met,
                window_over: streams.window,
                closed_by_server: streams.closed,
                broken: streams.broken,
                reconnects: streams.reconnects,
                events: streams.events,
                received_bytes: streams.bytes,
                first_event: streams.first_event.summary(),
                gap: streams.gaps.summary(),
            };
            Some((catalog.step_key(crate::StepId(index as u32)), report))
        })
        .collect()
}

fn errors(catalog: &Catalog, tally: &Tally) -> Vec<ErrorReport> {
    let mut errors: Vec<_> = tally
        .errors()
        .iter()
        .map(|(kind, cause, group)| {
            let workflow_name = |id: &WorkflowId| {
                catalog
                    .workflows
                    .get(id.0 as usize)
                    .map_or_else(|| format!("workflow {}", id.0), |w| w.name.clone())
            };
            let steps = group
                .steps
                .iter()
                .map(|(id, count)| (catalog.step_key(*id), *count));
            let workflows = group
                .workflows
                .iter()
                .map(|(id, count)| (workflow_name(id), *count));
            ErrorReport {
                kind,
                cause: cause.to_owned(),
                count: group.count,
                example: group.example.clone(),
                r#where: steps.chain(workflows).collect(),
            }
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

/// Quiet seconds are kept, those at the end of the window included: a target that died shows as such.
fn timeline(tally: &Tally, wall: Duration) -> Vec<TimelineReport> {
    let timeline = tally.timeline();
    let width = u64::from(timeline.width());
    let quiet = Entry::default();
    let length = wall.as_secs_f64().ceil() as usize / width as usize;
    (0..timeline.entries().len().max(length))
        .map(|index| {
            let entry = timeline.entries().get(index).unwrap_or(&quiet);
            let at = |quantile| entry.latencies.quantile(quantile).map(|d| d.as_secs_f64());
            TimelineReport {
                second: index as u64 * width,
                width: timeline.width(),
                calls: entry.calls,
                errors: entry.errors,
                p50: at(0.5),
                p99: at(0.99),
            }
        })
        .collect()
}

fn lag(latencies: &Latencies) -> LagReport {
    let at = |quantile| latencies.quantile(quantile).unwrap_or_default();
    LagReport {
        p50: at(0.5).as_secs_f64(),
        p99: at(0.99).as_secs_f64(),
        max: latencies.max().as_secs_f64(),
    }
}

fn generator_report(generator: &GeneratorHealth, limits: &Limits) -> GeneratorReport {
    GeneratorReport {
        lag: lag(&generator.starts.lag),
        user_wait: lag(&generator.starts.waited),
        concurrency: generator.in_flight,
        permit_wait: lag(&generator.permit_wait),
        starts: generator.starts.taken,
        late_starts: generator.starts.late,
        dropped_starts: generator.starts.dropped(),
        cpu_seconds: seconds_of(generator.cpu),
        cpu_share: rounded(generator.cpu_share()),
        cores: generator.cores,
        peak_rss_bytes: (generator.peak_rss > 0).then_some(generator.peak_rss),
        discarded_samples: generator.discarded,
        unhealthy: unhealthy_reasons(generator, limits),
    }
}
