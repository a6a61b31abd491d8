//! `throng login`: one user's login, step by step, for whoever wants to know how a target's login goes or why it doesn't.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use throng_engine::StopSignals;
use throng_identity::Secret;
use throng_identity::directory::names::UserName;
use throng_identity::login::Hop;
use throng_identity::provision::{Identity, KnownUser, UserTimings};
use throng_metrics::Verdict;
use throng_workflow::model::LoginKind;

use super::args::{LoginArgs, RunArgs};
use super::browser;
use super::run::job::FileJob;
use super::run::prepare::Prepared;
use super::run::stay::identities;
use super::run::visit::{attend, own_prefix};
use super::{CommandError, Output, runtime, signals};

/// The variable with the password of `--user`.
const PASSWORD: &str = "THRONG_USER_PASSWORD";

/// How a login went.
struct Gone {
    timings: Option<UserTimings>,
    /// Who logged in, or why nobody did.
    result: anyhow::Result<Identity>,
    by: String,
}

/// Logs one user in and shows how that went.
pub(crate) fn login(args: &LoginArgs, output: Output) -> Result<ExitCode, CommandError> {
    let known = args.user.as_deref().map(known).transpose();
    let known = known.map_err(CommandError::usage)?;
    let run_args = RunArgs {
        scenario: args.scenario.clone(),
        target: args.target.clone(),
        issuer: args.issuer.clone(),
        oauth_client: args.oauth_client.clone(),
        browser: args.browser.clone(),
        user_prefix: Some(own_prefix()),
        ..RunArgs::default()
    };
    runtime()?.block_on(async {
        let stop = StopSignals::default();
        let watch = signals::watch(stop.clone())?;
        let mut prepared = Prepared::new(&run_args, output, &FileJob)?;
        if prepared.file.scenario.login.kind == LoginKind::None {
            return Err(CommandError::usage(anyhow!(
                "{}: nobody logs in there (`login: {{ kind: none }}`)",
                prepared.file.origin
            )));
        }
        prepared.known = known;
        let detail = output.detail_if_verbose();
        let visited = attend(
            prepared,
            &run_args,
            1,
            detail,
            &stop,
            watch,
            async |prepared, made, narrator| {
                let came = identities(prepared, made, &stop, narrator).await;
                Ok(Gone {
                    timings: made.first_login.take(),
                    result: came.and_then(|identities| {
                        identities
                            .into_iter()
                            .next()
                            .ok_or_else(|| anyhow!("nobody logged in"))
                    }),
                    by: browser::words(&prepared.driver),
                })
            },
        )
        .await?;
        let left = visited.left();
        let Some(gone) = visited.result.filter(|_| !stop.drain.is_cancelled()) else {
            return Err(CommandError::interrupted());
        };
        let gone = gone.map_err(CommandError::failed)?;
        super::print(&told(&gone, args.show_tokens))?;
        if let Err(error) = gone.result {
            return Err(CommandError::failed(error));
        }
        if let Some(left) = left {
            return Err(CommandError {
                code: Verdict::CleanupIncomplete.exit_code(),
                error: anyhow!(left),
            });
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Somebody who is there already.
fn known(name: &str) -> anyhow::Result<KnownUser> {
    let password = std::env::var(PASSWORD).unwrap_or_default();
    if password.is_empty() {
        bail!(
            "--user {name}: the password is taken from the environment, and {PASSWORD} is not set"
        );
    }
    Ok(KnownUser {
        names: UserName {
            n: 1,
            name: name.to_owned(),
            display_name: name.to_owned(),
            email: String::new(),
        },
        password: Some(Secret::new(password)),
        token: None,
    })
}

/// Each request of a login, and what came of it.
fn told(gone: &Gone, show_tokens: bool) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    let name = gone.timings.as_ref().map_or("", |timings| &timings.name);
    match &gone.result {
        Ok(_) => line(&format!("{name} is logged in, by {}", gone.by)),
        Err(_) if name.is_empty() => {}
        Err(_) => line(&format!("{name} is not logged in; tried by {}", gone.by)),
    }
    let hops = gone.timings.iter().flat_map(|timings| &timings.hops);
    for hop in hops {
        line(&of_hop(hop));
    }
    if let Ok(identity) = &gone.result {
        if let Some(tokens) = &identity.tokens {
            let header = tokens.header();
            let token = header
                .to_str()
                .ok()
                .and_then(|header| header.strip_prefix("Bearer "));
            let token = token.unwrap_or_default();
            line(&if show_tokens {
                format!("access token: {token}")
            } else {
                format!(
                    "access token: {} characters, shown by --show-tokens",
                    token.chars().count()
                )
            });
        }
        let cookies = identity
            .client
            .cookies()
            .map_or(0, throng_client::cookies::Jar::len);
        if cookies > 0 {
            line(&format!("cookies: {cookies}"));
        }
    }
    text
}

/// `  3  POST  http://h/login  303  12 ms  login page`
fn of_hop(hop: &Hop) -> String {
    let status = hop
        .status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    let took = hop.took.as_secs_f64() * 1e3;
    let what = hop.taken_for.map_or("", |kind| kind.words());
    let attempt = match hop.attempt {
        1 => String::new(),
        attempt => format!("{attempt}."),
    };
    format!(
        "{attempt:>3}{:<2} {:<4} {status:>3} {took:>7.1} ms  {what:21}  {}",
        hop.number, hop.method, hop.url
    )
}
