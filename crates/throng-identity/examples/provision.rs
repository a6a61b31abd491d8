//! Provisions users on a Nextcloud with an MCP server in front of it, says what that cost, and removes them again.
//!
//! `provision MCP_URL NEXTCLOUD_URL ADMIN USERS CONCURRENCY`, with the administrator's password on standard input.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a program"
)]

use std::io::{BufRead, stdin};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};
use throng_client::{Client, Connector, ConnectorOptions};
use throng_identity::cleanup::{CleanupOptions, clean_run};
use throng_identity::directory::Directory;
use throng_identity::directory::names::{NameTemplates, Prefix};
use throng_identity::directory::nextcloud::Nextcloud;
use throng_identity::ledger::Ledger;
use throng_identity::login::{DEFAULT_REDIRECT_URI, LoginPlan};
use throng_identity::provision::{LoginWay, ProvisionPlan, UserTimings, oauth_client, provision};
use throng_identity::registration::{ClientSource, RegistrationRequest};
use throng_identity::retry::RetryPolicy;
use throng_identity::{Secret, discovery, scopes};
use tokio_util::sync::CancellationToken;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mcp, nextcloud, admin, users, concurrency] = &arguments[..] else {
        bail!("usage: provision MCP_URL NEXTCLOUD_URL ADMIN USERS CONCURRENCY < password");
    };
    let mut password = String::new();
    stdin().lock().read_line(&mut password)?;
    let password = Secret::new(password.trim_end());

    let connector = Connector::new(ConnectorOptions::default())?;
    let client = Client::new(&connector);
    let directory: Arc<dyn Directory> = Arc::new(Nextcloud::new(
        client.clone(),
        Url::parse(nextcloud)?,
        admin,
        password,
        TIMEOUT,
    ));
    directory.check().await?;
    let authorization = discovery::discover(&client, &Url::parse(mcp)?, TIMEOUT).await?;
    let scopes = scopes::choose(&scopes::Known::of(&authorization, None));
    println!(
        "issuer {}, resource {}, {} scopes",
        authorization.issuer,
        authorization.resource.as_deref().unwrap_or("none"),
        scopes.len()
    );
    let redirect_uri = Url::parse(DEFAULT_REDIRECT_URI)?;
    let request = RegistrationRequest {
        client_name: "throng example".to_owned(),
        redirect_uri: redirect_uri.clone(),
        scopes: scopes.clone(),
    };
    let state = std::env::temp_dir().join(format!("throng-example-{}", std::process::id()));
    let ledger = Ledger::open(&state.join("ledger.sqlite"))?;
    let run = ledger.begin_run()?;
    let oauth_client = oauth_client(
        &ClientSource::Dynamic,
        &client,
        &authorization,
        &request,
        (&ledger, &run),
        TIMEOUT,
    )
    .await?;
    let registration = oauth_client
        .registration
        .clone()
        .context("a registration can be managed")?;
    let login = LoginPlan::new(
        Arc::new(authorization),
        Arc::new(oauth_client),
        redirect_uri,
        scopes,
    );

    let plan = ProvisionPlan {
        users: users.parse()?,
        prefix: Prefix::new("example")?,
        names: NameTemplates::default(),
        known: None,
        directory: Some(directory.clone()),
        connector,
        login: LoginWay::OAuth(Arc::new(login)),
        password: None,
        timeout: Duration::from_secs(30),
        after_login: Arc::new([]),
        concurrency: concurrency.parse()?,
        retry: RetryPolicy::default(),
        stop_at_failure: false,
        login_grace: None,
        run,
    };
    let cancel = CancellationToken::new();
    let before = cpu();
    let provisioned = provision(&plan, &ledger, &cancel, Arc::new(|_| {})).await;
    let spent = cpu() - before;
    for (_, error) in provisioned.failures.iter().take(3) {
        println!("failed: {error}");
    }
    let ready = provisioned.identities.len();
    println!(
        "{ready} ready, {} failed in {:.2?}",
        provisioned.failures.len(),
        provisioned.took
    );
    println!(
        "client CPU {spent:.2?}, per user {:.2?}",
        spent / u32::try_from(ready.max(1))?
    );
    show("create", &provisioned.timings, |t| t.create);
    show("login", &provisioned.timings, |t| t.login);
    for hop in provisioned
        .timings
        .first()
        .map(|t| t.hops.as_slice())
        .unwrap_or_default()
    {
        println!(
            "  hop {} {:?} {} {} {:?} in {:.2?}",
            hop.number, hop.purpose, hop.method, hop.url, hop.status, hop.took
        );
    }

    let options = CleanupOptions::default();
    let report = clean_run(
        &plan.run,
        Some(&directory),
        Some((&client, &registration)),
        &ledger,
        &options,
        &cancel,
        &|_| {},
    )
    .await?;
    println!(
        "{} deleted, {} left in {:.2?}",
        report.deleted.len(),
        report.left.len(),
        report.took
    );
    remove(&state)
}

fn show(what: &str, timings: &[UserTimings], of: impl Fn(&UserTimings) -> Option<Duration>) {
    let mut times: Vec<Duration> = timings.iter().filter_map(of).collect();
    times.sort();
    if let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) {
        println!("{what}: median {median:.2?}, longest {longest:.2?}");
    }
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

fn remove(state: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(state).with_context(|| format!("removing {}", state.display()))
}
