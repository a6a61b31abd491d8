//! Sending a finding again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{Finding, group::Key, settle::Bench};
use crate::{account::Accounts, answer::Sending, openapi::Document};

/// As long may it take at most.
const LONGEST: Duration = Duration::from_secs(120);

/// What came of sending a finding again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// How often it showed itself.
    pub repeated: u32,
    /// Of so many tries.
    pub tried: u32,
    /// The start of the answer that showed it, without secrets.
    pub answer: String,
    /// Why some try says nothing: the target did not answer, nobody was logged in, or something that the requests need was
    /// not there. Where it did not show itself, that is no sign of its being gone.
    pub untold: Option<&'static str>,
}

/// Sends a finding's requests again, several times, and judges the answers.
pub async fn replay(
    finding: &Finding,
    document: &Document,
    accounts: Arc<dyn Accounts>,
    sending: &Sending,
) -> Replayed {
    let key = Key {
        check: finding.check,
        operation: finding.operation.clone(),
        status: finding.status,
        message: finding.message.clone(),
    };
    let mut bench = Bench::new(document, accounts, sending, CancellationToken::new());
    let until = Instant::now() + LONGEST;
    let seen = bench.tries(&finding.probe, &key, until).await;
    Replayed {
        repeated: seen.repeated,
        tried: seen.tried,
        answer: seen.answer,
        untold: seen.untold,
    }
}
