//! A swarm run to its end, with a bounded number of probes.

use std::{process::Command, sync::Arc, time::Duration};

use throng_engine::{Load, StopSignals};
use throng_fuzz::{Accounts, Check, Document, Finding, Found, Monkey, Settings};
use throng_metrics::Catalog;

use crate::users::{PASSWORD, Users};

/// What a swarm came to.
pub(crate) struct Run {
    pub(crate) found: Found,
    pub(crate) document: Arc<Document>,
    pub(crate) samples: u64,
}

/// Runs a swarm of four on a target, and settles what it saw.
pub(crate) async fn run(
    users: &Arc<Users>,
    document: &[u8],
    probes: u64,
    change: impl FnOnce(&mut Settings),
) -> Run {
    let document = Arc::new(Document::load(document, "/api/v1").expect("a document"));
    let mut settings = Settings::new(users.sending(), 20_261_122);
    settings.probes = Some(probes);
    change(&mut settings);
    let mut catalog = Catalog::default();
    for index in 0..4 {
        catalog.add_user(format!("monkey {index}"));
    }
    let accounts = Arc::clone(users) as Arc<dyn Accounts>;
    let monkey =
        Monkey::new(Arc::clone(&document), accounts, settings, &mut catalog).expect("a swarm");
    let ran = drive(&monkey, catalog, 4, Duration::from_secs(90)).await;
    Run {
        found: ran.found,
        document,
        samples: ran.samples,
    }
}

/// What a swarm came to that was driven until it had no more probes.
pub(crate) struct Ran {
    pub(crate) found: Found,
    pub(crate) samples: u64,
}

/// Runs a swarm until it has no more probes, and settles what it saw.
pub(crate) async fn drive(
    monkey: &Arc<Monkey>,
    catalog: Catalog,
    users: u32,
    budget: Duration,
) -> Ran {
    let stop = StopSignals::default();
    let load = Load {
        users,
        warmup: Duration::ZERO,
        duration: Duration::from_secs(600),
        pause: Duration::ZERO,
        ..Load::default()
    };
    let running = throng_engine::run(
        &load,
        Arc::clone(monkey),
        Arc::new(catalog),
        Arc::new(()),
        stop.clone(),
        |_| {},
    );
    let end = async {
        monkey.exhausted().await;
        stop.drain.cancel();
    };
    let (outcome, ()) = tokio::join!(running, end);
    Ran {
        found: monkey.settle(budget, &stop.abort).await,
        samples: outcome.tally.calls(),
    }
}

/// The findings of a check.
pub(crate) fn of(found: &Found, check: Check) -> Vec<&Finding> {
    found
        .findings
        .iter()
        .filter(|it| it.check == check)
        .collect()
}

/// What the script of a finding prints. It needs bash and curl.
pub(crate) fn by_curl(finding: &Finding) -> String {
    let output = Command::new("bash")
        .arg("-c")
        .arg(&finding.curl)
        .env("THRONG_PASSWORD", PASSWORD)
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}\n{}", finding.curl);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
