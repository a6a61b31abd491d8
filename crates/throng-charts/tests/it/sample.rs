//! Reports of runs that never were, made from samples as a real run's are.

use std::time::Duration;

use throng_metrics::{
    Catalog, Event, Failure, FailureKind, GeneratorHealth, Limits, Measured, Outcome, Report,
    RunInfo, Sample, StepId, Tally, UserId, Verdict, Verdicts, WorkflowRole,
};

/// The steps of the built-in scenario for an HTTP API, by how often and how fast they are.
const HTTP_API: [(&str, u64, u64); 13] = [
    ("POST /api/v1/auth/register", 3, 180_000),
    ("POST /api/v1/auth/login", 3, 210_000),
    ("GET /api/v1/auth/verify-token", 2, 4_000),
    ("POST /api/v1/execute", 50, 12_000),
    ("GET /api/v1/executions/{execution_id}/result", 80, 5_000),
    ("GET /api/v1/events/executions/{execution_id}", 30, 30_000),
    ("GET /api/v1/user/executions", 12, 22_000),
    ("POST /api/v1/scripts", 10, 9_000),
    ("GET /api/v1/scripts/{script_id}", 9, 3_000),
    ("PUT /api/v1/scripts/{script_id}", 8, 8_000),
    ("DELETE /api/v1/scripts/{script_id}", 8, 6_000),
    ("GET /api/v1/notifications", 14, 7_000),
    ("PUT /api/v1/user/settings/editor", 7, 11_000),
];

/// What a run was like.
pub(crate) struct Run {
    pub(crate) endpoints: Vec<(String, u64, u64)>,
    pub(crate) seconds: f64,
    pub(crate) per_second: u64,
    /// Of a hundred requests.
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) unfinished: u64,
    /// In these seconds nothing is answered.
    pub(crate) quiet: std::ops::Range<u64>,
}

impl Run {
    pub(crate) fn of(
        endpoints: impl IntoIterator<Item = (String, u64, u64)>,
        seconds: f64,
    ) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            seconds,
            per_second: 300,
            errors: 0,
            refused: 0,
            unfinished: 0,
            quiet: 0..0,
        }
    }

    pub(crate) fn http_api(seconds: f64) -> Self {
        let endpoints = HTTP_API.map(|(name, weight, micros)| (name.to_owned(), weight, micros));
        Self::of(endpoints, seconds)
    }

    pub(crate) fn report(&self) -> Report {
        let mut catalog = Catalog::default();
        let workflow = catalog.add_workflow("all", WorkflowRole::Workflow);
        for (index, (name, ..)) in self.endpoints.iter().enumerate() {
            catalog.add_step(workflow, format!("step_{index}"), name);
        }
        for n in 1..=30 {
            catalog.add_user(format!("load_user_{n}"));
        }
        let mut tally = Tally::new(&catalog);
        self.samples(&mut tally);
        let generator = GeneratorHealth {
            starts: tally.starts().clone(),
            wall: Duration::from_secs_f64(self.seconds),
            cpu: Duration::from_secs(1),
            cores: 2,
            peak_rss: 0,
            ..GeneratorHealth::default()
        };
        let measured = Measured {
            catalog: &catalog,
            tally: &tally,
            phases: &[],
            generator: &generator,
        };
        let info = RunInfo {
            scenario: "integr8scode".to_owned(),
            workload: "mixed".to_owned(),
            executor: "constant-vus".to_owned(),
            target: "https://localhost:8443".to_owned(),
            started_at: "2026-11-22T12:01:33.512Z".to_owned(),
            ..RunInfo::default()
        };
        Report::new(
            info,
            &measured,
            Vec::new(),
            &Verdicts::default(),
            &Limits::default(),
            None,
        )
    }

    fn samples(&self, tally: &mut Tally) {
        let mut chance = Chance(1);
        let weights: u64 = self.endpoints.iter().map(|(_, weight, _)| weight).sum();
        for second in 0..self.seconds.ceil() as u64 {
            if self.quiet.contains(&second) || weights == 0 {
                continue;
            }
            // A load that goes up and down a little.
            let part = (self.seconds - second as f64).min(1.0);
            let swing = ((second as f64 / 17.0).sin() * 0.15 + 1.0) * part * self.per_second as f64;
            for _ in 0..(swing as u64 * (90 + chance.below(20)) / 100).max(1) {
                let (step, micros) = self.pick(chance.below(weights));
                let spread = (0..4).map(|_| 40 + chance.below(90)).product::<u64>() as f64 / 1e8;
                let slow = if chance.below(50) == 0 { 4.0 } else { 1.0 };
                let took = Duration::from_secs_f64(
                    (micros as f64 * spread.powf(1.2) * slow).max(1.0) / 1e6,
                );
                let ended = Duration::from_micros(second * 1_000_000 + chance.below(999_999));
                let ended = ended.min(Duration::from_secs_f64(self.seconds));
                let began = ended.saturating_sub(took);
                tally.add(&Event::Step(Sample {
                    step,
                    user: UserId((chance.below(30)) as u32),
                    intended: began,
                    started: began,
                    ended,
                    sent: 100,
                    received: 1_000,
                    status: None,
                    unsent: false,
                    outcome: self.outcome(chance.below(100)),
                }));
            }
        }
    }

    fn pick(&self, mut at: u64) -> (StepId, u64) {
        for (index, (_, weight, micros)) in self.endpoints.iter().enumerate() {
            if at < *weight {
                return (StepId(index as u32), *micros);
            }
            at -= weight;
        }
        unreachable!("it is below the sum of the weights")
    }

    fn outcome(&self, of_hundred: u64) -> Outcome {
        let (refused, unfinished) = (
            self.errors + self.refused,
            self.errors + self.refused + self.unfinished,
        );
        match of_hundred {
            n if n < self.errors => Outcome::Failed(Box::new(Failure {
                kind: FailureKind::Http,
                cause: "500".to_owned(),
                example: String::new(),
            })),
            n if n < refused => Outcome::Refused,
            n if n < unfinished => Outcome::Unfinished,
            _ => Outcome::Success,
        }
    }
}

/// Enough chance for a picture, and always the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// Runs of every kind, with names.
pub(crate) fn reports() -> Vec<(&'static str, Report)> {
    let one = Run::of([("GET /health".to_owned(), 1, 2_500)], 5.0);
    let ordinary = Run {
        errors: 2,
        refused: 5,
        quiet: 9..11,
        ..Run::http_api(20.3)
    };
    let clean = Run::http_api(90.0);
    let long = Run {
        errors: 1,
        per_second: 4,
        quiet: 3_000..3_200,
        ..Run::http_api(7_200.0)
    };
    let failing = Run {
        errors: 100,
        ..Run::http_api(12.0)
    };
    let cut_off = Run {
        unfinished: 6,
        refused: 20,
        ..Run::http_api(8.2)
    };
    let forty = Run {
        errors: 1,
        per_second: 100,
        ..Run::of((0..40).map(many), 240.0)
    };
    let strange = Run::of(strange_names().map(|name| (name, 1, 5_000)), 6.0);
    let nothing = Run::of([], 0.0);
    let silent = Run {
        quiet: 0..100,
        ..Run::http_api(10.0)
    };
    let mut unhealthy = Run::of(
        [
            "nc_notes_create_note",
            "nc_share_create",
            "nc_share_list",
            "nc_notes_get_note",
        ]
        .iter()
        .zip([40_000, 120_000, 15_000, 9_000])
        .map(|(name, micros)| ((*name).to_owned(), 1, micros)),
        60.0,
    )
    .report();
    let mut verdicts = Verdicts::default();
    verdicts.add(
        Verdict::GeneratorUnhealthy,
        "starts lag 45.1 ms behind their schedule at p99; the limit is 10 ms",
    );
    unhealthy.verdict = throng_metrics::report::VerdictReport::of(&verdicts);
    vec![
        ("one_endpoint", one.report()),
        ("ordinary", ordinary.report()),
        ("no_errors", clean.report()),
        ("two_hours", long.report()),
        ("all_errors", failing.report()),
        ("cut_off", cut_off.report()),
        ("forty_endpoints", forty.report()),
        ("strange_names", strange.report()),
        ("nothing", nothing.report()),
        ("silent", silent.report()),
        ("unhealthy", unhealthy),
    ]
}

/// Endpoints whose names are long and whose times are from 1 ms to seconds.
fn many(n: u64) -> (String, u64, u64) {
    const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    const THINGS: [&str; 8] = [
        "organisations/{organisation_id}/members",
        "projects/{project_id}/pipelines/{pipeline_id}/jobs",
        "users",
        "repositories/{repository_id}/branches/{branch}/protection/restrictions",
        "invoices",
        "sessions",
        "search",
        "webhooks/{webhook_id}/deliveries",
    ];
    let (method, thing) = (METHODS[n as usize % 5], THINGS[n as usize / 5]);
    let micros = 900 * 3_u64.pow((n % 8) as u32);
    (format!("{method} /v2/{thing}"), 1 + (n * 7) % 23, micros)
}

/// Names that nobody would choose.
pub(crate) fn strange_names() -> [String; 7] {
    [
        "GET /<script>alert(\"x\")</script>&amp;".to_owned(),
        "a\u{1b}[31mb\u{0}\u{202e}c\u{ffff}".to_owned(),
        "GET /検索/結果".to_owned(),
        format!("POST /{}", "very/long/".repeat(40)),
        String::new(),
        "W".repeat(500),
        "tool with blanks".to_owned(),
    ]
}
