//! A display that nobody sees, for a browser that can't do without one.

use std::path::Path;
use std::time::Duration;

use rand::RngCore;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::error::BrowserError;
use crate::find::Search;
use crate::process::{Keeper, Process, Program};

/// A running Xvfb.
#[derive(Debug)]
pub(crate) struct Display {
    pub(crate) process: Process,
    /// What programs on it need in their environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// Starts Xvfb on a display of its own choice, which only who has the cookie may use: what is typed there is secret.
pub(crate) async fn start(
    keeper: &mut Keeper,
    search: &Search,
    limit: Duration,
) -> Result<Display, BrowserError> {
    let xvfb = search.program("Xvfb").ok_or(BrowserError::NoXvfb)?;
    let authority = keeper.directory().join("xauthority");
    tokio::fs::write(&authority, cookie())
        .await
        .map_err(|error| BrowserError::Profile {
            directory: authority.clone(),
            reason: error.to_string(),
        })?;
    let mut program = Program::new(&xvfb);
    program.arguments = [
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1280x1024x24",
        "-nolisten",
        "tcp",
        "-noreset",
        "-auth",
    ]
    .map(str::to_owned)
    .to_vec();
    program.arguments.push(authority.display().to_string());
    let mut process = keeper.spawn(&program).await?;
    let number = number(&mut process, limit).await;
    match number {
        Ok(number) => Ok(Display {
            process,
            environment: environment(&number, &authority),
        }),
        Err(error) => {
            keeper.end(process, Duration::ZERO).await;
            Err(error)
        }
    }
}

fn environment(number: &str, authority: &Path) -> Vec<(String, String)> {
    vec![
        ("DISPLAY".to_owned(), format!(":{number}")),
        ("XAUTHORITY".to_owned(), authority.display().to_string()),
        // An empty one is none: GTK would prefer it.
        ("WAYLAND_DISPLAY".to_owned(), String::new()),
        ("GDK_BACKEND".to_owned(), "x11".to_owned()),
    ]
}

/// The number that Xvfb writes once it listens.
async fn number(process: &mut Process, limit: Duration) -> Result<String, BrowserError> {
    let Some(stdout) = process.stdout.take() else {
        return Err(process.ended());
    };
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(limit, lines.next_line()).await {
        Ok(Ok(Some(number))) if number.trim().parse::<u32>().is_ok() => {
            Ok(number.trim().to_owned())
        }
        Ok(_) => Err(process.ended_soon().await),
        Err(_) => Err(BrowserError::NotReady {
            program: process.program.clone(),
            waited: limit,
            said: process.words.said(),
        }),
    }
}

/// An X authority file with one random cookie for whatever display: family, address, number, name and data, each with its length
/// in two bytes (Xsecurity, Xau).
fn cookie() -> Vec<u8> {
    const WILD: u16 = 65535;
    let mut data = [0; 16];
    rand::rng().fill_bytes(&mut data);
    let mut file = WILD.to_be_bytes().to_vec();
    for part in [&b""[..], b"", b"MIT-MAGIC-COOKIE-1", &data] {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        file.extend(length.to_be_bytes());
        file.extend(part);
    }
    file
}
