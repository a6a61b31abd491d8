//! What several tests do.

use throng_identity::Ledger;
use throng_identity::cleanup::{CleanupOptions, CleanupReport, clean_run};
use throng_identity::provision::ProvisionPlan;
use tokio_util::sync::CancellationToken;

/// Removes the users that were created by a plan, with nobody to interrupt it.
pub(crate) async fn cleaned(plan: &ProvisionPlan, ledger: &Ledger) -> CleanupReport {
    clean_run(
        &plan.run,
        plan.directory.as_ref(),
        None,
        ledger,
        &CleanupOptions::default(),
        &CancellationToken::new(),
        &|_| {},
    )
    .await
    .expect("the ledger can be read and written")
}
