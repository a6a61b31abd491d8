//! Who passes the pages of logins, from flags, scenario file and what is on the machine.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use throng_browser::{Engine, Search};
use throng_client::Trust;
use throng_identity::login::LoginDriver;
use throng_identity::login::browser::{DEFAULT_PARALLEL, Pilot, PilotOptions, Selectors};
use throng_workflow::model::{BrowserKind, Login, PageDriver};

use super::args::{BrowserArgs, BrowserChoice, DriverChoice};

/// The way of logins by flags and file: a flag beats the file, and naming a browser means to log in by it.
fn way(args: &BrowserArgs, login: &Login) -> PageDriver {
    let by_flag = args.login.map(|choice| match choice {
        DriverChoice::Http => PageDriver::Http,
        DriverChoice::Browser => PageDriver::Browser,
        DriverChoice::Auto => PageDriver::Auto,
    });
    let named = args.browser.is_some() || args.browser_path.is_some() || args.headed;
    let by_naming = |named: bool| named.then_some(PageDriver::Browser);
    by_flag
        .or_else(|| by_naming(named))
        .or(login.driver)
        .or_else(|| by_naming(login.browser.is_some()))
        .unwrap_or(PageDriver::Auto)
}

fn engine(args: &BrowserArgs, login: &Login) -> Option<Engine> {
    let by_flag = args.browser.map(|choice| match choice {
        BrowserChoice::Chromium => Engine::Chromium,
        BrowserChoice::Firefox => Engine::Firefox,
        BrowserChoice::Webkit => Engine::Webkit,
    });
    let by_file = || {
        login.browser.map(|kind| match kind {
            BrowserKind::Chromium => Engine::Chromium,
            BrowserKind::Firefox => Engine::Firefox,
            BrowserKind::Webkit => Engine::Webkit,
        })
    };
    // The file's is another than the one at the path, perhaps.
    let path = args.browser_path.as_ref();
    by_flag.or_else(|| if path.is_some() { None } else { by_file() })
}

/// What passes the pages of a scenario's logins. Pictures of failed ones go to `pictures`, which is made when there is one.
///
/// # Errors
/// A browser is wanted and can't be had, or is wanted where it is of no use.
pub(crate) fn driver(
    args: &BrowserArgs,
    login: &Login,
    trust: Trust,
    parallel: Option<u32>,
    pictures: PathBuf,
) -> anyhow::Result<LoginDriver> {
    let way = way(args, login);
    let named = args.browser.is_some() || args.browser_path.is_some() || args.headed;
    if args.login == Some(DriverChoice::Http) && named {
        bail!("--login http takes no browser: leave --browser, --browser-path and --headed out");
    }
    if way == PageDriver::Http {
        return Ok(LoginDriver::Http);
    }
    if !login.has_pages() {
        if way == PageDriver::Browser {
            bail!(
                "browsers log in where there is a page to do it on: this login, of kind `{}`, has none; leave --login and --browser out",
                login.kind.word()
            );
        }
        return Ok(LoginDriver::Http);
    }
    let display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let selectors = login
        .selectors
        .clone()
        .map_or_else(Selectors::default, |given| Selectors {
            user: given.user,
            password: given.password,
            submit: given.submit,
            consent: given.consent,
        });
    let options = PilotOptions {
        engine: engine(args, login),
        path: args.browser_path.clone(),
        headed: args.headed,
        display,
        trust: match trust {
            Trust::Anything => throng_browser::Trust::Anything,
            Trust::NativeAnd(files) | Trust::Only(files) => throng_browser::Trust::And(files),
            Trust::Native => throng_browser::Trust::Usual,
        },
        parallel: parallel.map_or(DEFAULT_PARALLEL, |given| given as usize),
        selectors,
        ..PilotOptions::new(
            Search::path(std::env::var_os("PATH").as_ref()),
            std::env::temp_dir(),
            pictures,
            Arc::new(|text: &str| super::tell(&format!("  ! {text}\n"))),
        )
    };
    let headed = options.headed;
    let pilot = Arc::new(Pilot::new(options));
    if way == PageDriver::Auto {
        return Ok(LoginDriver::Auto(pilot));
    }
    pilot.installed().context("logging in by a browser")?;
    if headed && !display {
        return Err(anyhow!(throng_browser::BrowserError::NoDisplay));
    }
    Ok(LoginDriver::Browser(pilot))
}

/// What passes the pages, in words.
pub(crate) fn words(driver: &LoginDriver) -> String {
    let engine = |pilot: &Pilot| match pilot.installed() {
        Ok(installed) => installed.engine.word().to_owned(),
        Err(_) => "a browser".to_owned(),
    };
    match driver {
        LoginDriver::Browser(pilot) => engine(pilot),
        LoginDriver::Auto(pilot) if pilot.has_fallen_back() => engine(pilot),
        LoginDriver::Auto(_) | LoginDriver::Http => "plain HTTP".to_owned(),
    }
}
