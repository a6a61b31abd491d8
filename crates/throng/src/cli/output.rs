//! Standard output and standard error: how wide, how colourful, how much, and what if the reader has gone.

use std::io::{self, IsTerminal, Write};

use throng_metrics::report::console::Style;
use tracing_subscriber::EnvFilter;

use super::args::Colour;
use super::narrator::Detail;

/// Running text is never wider than this.
const WIDEST: usize = 80;
const DEFAULT_WIDTH: usize = 80;

/// What the global flags ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    verbose: u8,
    colour: Colour,
}

impl Output {
    pub(crate) fn new(verbose: u8, colour: Colour) -> Self {
        Self { verbose, colour }
    }

    /// How much is told of the run's course.
    pub(crate) fn detail(&self, quiet: bool) -> Detail {
        match (quiet, self.verbose) {
            (true, _) => Detail::Quiet,
            (false, 0) => Detail::Normal,
            (false, _) => Detail::Verbose,
        }
    }

    /// The same for what goes on in the background of another output.
    pub(crate) fn detail_if_verbose(&self) -> Detail {
        self.detail(self.verbose == 0)
    }

    /// How the report is laid out on standard output.
    pub(crate) fn style(&self) -> Style {
        let width = match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).min(WIDEST),
            _ => DEFAULT_WIDTH,
        };
        Style {
            width,
            color: self.coloured(io::stdout().is_terminal()),
        }
    }

    /// NO_COLOR is honoured (no-color.org).
    fn coloured(&self, terminal: bool) -> bool {
        match self.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }

    /// Turns the log on, at standard error.
    pub(crate) fn log(&self) {
        let level = match self.verbose {
            0 => "warn",
            1 => {
                "throng=info,throng_identity=info,throng_client=info,throng_workflow=info,throng_engine=info,warn"
            }
            _ => {
                "throng=debug,throng_identity=debug,throng_client=debug,throng_workflow=debug,throng_engine=debug,info"
            }
        };
        let filter =
            EnvFilter::try_from_env("THRONG_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(self.coloured(io::stderr().is_terminal()))
            .with_target(false)
            // A line that couldn't be written would be complained of on the same standard error, by a panic if that is closed.
            .log_internal_errors(false)
            .init();
    }
}

/// Prints to standard output. A reader that has gone (`| head`) is no reason to stop, and no failure: users must still be
/// cleaned up.
///
/// # Errors
/// Where it can't be written for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Tells on standard error, likewise.
pub(crate) fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
