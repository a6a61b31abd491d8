//! What a person sees while a run is being set up and under way: steps, progress, one live line.
//!
//! Everything here goes to standard error; standard output belongs to the report. On a terminal progress is
//! drawn in place; piped, it becomes plain lines, few enough to be read in a CI log.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use throng_identity::provision::{ProvisionError, ProvisionEvent};

/// More users than this are shown as a count, not one line each.
const USERS_WITH_A_LINE_EACH: u32 = 20;
/// Columns where nobody says how many there are.
const DEFAULT_COLUMNS: usize = 80;
/// Columns before the live line.
const INDENT: usize = 2;
/// Piped: how often the live line is printed.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing but warnings.
    Quiet,
    /// The steps.
    Normal,
    /// Every user, however many.
    Verbose,
}

/// Tells what is going on.
pub(crate) struct Narrator {
    detail: Detail,
    terminal: bool,
    bar: ProgressBar,
    step: u32,
    steps: u32,
    last_plain: Option<Duration>,
}

impl Narrator {
    /// `steps`: how many set-up steps will be announced.
    pub(crate) fn new(detail: Detail, steps: u32) -> Self {
        let terminal = std::io::stderr().is_terminal() && detail != Detail::Quiet;
        let bar = ProgressBar::with_draw_target(
            None,
            if terminal {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::hidden()
            },
        );
        let style = ProgressStyle::with_template("  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style);
        Self {
            detail,
            terminal,
            bar,
            step: 0,
            steps,
            last_plain: None,
        }
    }

    /// Announces the next set-up step.
    pub(crate) fn step(&mut self, what: &str) {
        self.step += 1;
        let (step, steps) = (self.step, self.steps);
        self.say(&format!("Step {step}/{steps}: {what}"));
    }

    /// A line under the current step that says it worked.
    pub(crate) fn done(&self, what: &str) {
        self.say(&format!("  ✓ {what}"));
    }

    /// A line under the current step.
    pub(crate) fn note(&self, what: &str) {
        self.say(&format!("  {what}"));
    }

    /// Lines that are printed whatever the detail, broken at blanks where a terminal would break them anywhere.
    pub(crate) fn warn(&self, what: &str) {
        let width = if self.terminal {
            self.columns() + INDENT
        } else {
            usize::MAX
        };
        self.line(&warning(what, width));
    }

    /// Whether each of `users` users gets lines of its own.
    pub(crate) fn names_users(&self, users: u32) -> bool {
        match self.detail {
            Detail::Quiet => false,
            Detail::Normal => users <= USERS_WITH_A_LINE_EACH,
            Detail::Verbose => true,
        }
    }

    /// Tells of `users` users being made ready, from whichever task it happens on; `creates` says whether they are created.
    pub(crate) fn teller(&self, users: u32, creates: bool) -> Teller {
        Teller {
            bar: self.bar.clone(),
            terminal: self.terminal,
            each: self.names_users(users),
            quiet: self.detail == Detail::Quiet,
            users,
            creates,
        }
    }

    /// Progress drawn in place; nothing where there's no terminal.
    pub(crate) fn progress(&self, what: String) {
        draw(&self.bar, what);
    }

    /// Room for the live line, in columns.
    pub(crate) fn columns(&self) -> usize {
        let whole = match rustix::termios::tcgetwinsize(std::io::stderr()) {
            Ok(size) if self.terminal && size.ws_col > 0 => usize::from(size.ws_col),
            _ => DEFAULT_COLUMNS,
        };
        whole.saturating_sub(INDENT)
    }

    /// The run's live line at `elapsed`: drawn in place on a terminal, printed now and then elsewhere.
    pub(crate) fn live(&mut self, elapsed: Duration, text: String) {
        if self.terminal {
            self.progress(text);
        } else if self
            .last_plain
            .is_none_or(|last| elapsed >= last + PLAIN_INTERVAL)
        {
            self.last_plain = Some(elapsed);
            self.say(&format!("  {text}"));
        }
    }

    /// Takes the line drawn in place away.
    pub(crate) fn clear(&self) {
        if self.terminal {
            self.bar.finish_and_clear();
        }
    }

    /// A whole line, left as it is.
    pub(crate) fn say(&self, text: &str) {
        if self.detail != Detail::Quiet {
            self.line(text);
        }
    }

    fn line(&self, text: &str) {
        line(&self.bar, self.terminal, text);
    }
}

/// Draws the line in place, again if it was cleared before.
fn draw(bar: &ProgressBar, what: String) {
    if bar.is_finished() {
        bar.reset();
    }
    bar.set_message(what);
    bar.tick();
}

fn line(bar: &ProgressBar, terminal: bool, text: &str) {
    if terminal {
        bar.suspend(|| super::tell(&format!("{text}\n")));
    } else {
        super::tell(&format!("{text}\n"));
    }
}

/// Tells of users being made ready.
pub(crate) struct Teller {
    bar: ProgressBar,
    terminal: bool,
    each: bool,
    quiet: bool,
    users: u32,
    creates: bool,
}

impl Teller {
    /// Something happened; `ready` users are ready by now.
    pub(crate) fn provision(&self, event: &ProvisionEvent<'_>, ready: u32) {
        if self.each {
            match event {
                ProvisionEvent::Started(user) => {
                    self.line(&format!(
                        "  [{}/{}] {} user '{}'...",
                        user.n,
                        self.users,
                        if self.creates {
                            "Creating"
                        } else {
                            "Logging in"
                        },
                        user.name
                    ));
                }
                ProvisionEvent::Ready(user) => {
                    self.line(&format!("  ✓ User '{}' authenticated", user.name))
                }
                ProvisionEvent::Ending(user) => self.line(&format!(
                    "  - User '{}' is logging in: waiting for that, to end the session",
                    user.name
                )),
                ProvisionEvent::Failed(user, ProvisionError::Interrupted { .. }) => {
                    self.line(&format!("  - User '{}' given up", user.name))
                }
                // Why is told once all are done, and then once for all who failed alike.
                ProvisionEvent::Failed(user, _) => {
                    self.line(&format!("  ✗ User '{}' failed", user.name))
                }
                ProvisionEvent::Created(..)
                | ProvisionEvent::Reused(_)
                | ProvisionEvent::LoggedIn(..) => {}
            }
        } else if matches!(event, ProvisionEvent::Ready(_)) {
            self.count(ready, "authenticated");
        }
    }

    /// So many are `done` by now.
    pub(crate) fn count(&self, ready: u32, done: &str) {
        if self.terminal {
            draw(&self.bar, format!("{ready} of {} users {done}", self.users));
        } else if ready.is_multiple_of((self.users / 4).max(1)) {
            self.line(&format!("  {ready} of {} users {done}", self.users));
        }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            line(&self.bar, self.terminal, text);
        }
    }
}

/// What is wrong, with a mark before it. Words longer than a line stay whole: addresses and paths are there to be copied.
fn warning(what: &str, width: usize) -> String {
    let mut text = String::new();
    for (number, line) in what.lines().enumerate() {
        text.push_str(if number == 0 { "  !" } else { "\n   " });
        let mut used = INDENT + 1;
        for word in line.split(' ') {
            let long = word.chars().count();
            if used + 1 + long > width && used > INDENT + 1 {
                text.push_str("\n   ");
                used = INDENT + 1;
            }
            text.push(' ');
            text.push_str(word);
            used += 1 + long;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_broken_at_blanks_where_there_is_a_terminal() {
        let what = "only 0 of 2 users are ready, for 2 reasons:\n- the first (POST http://127.0.0.1:8080/login): no\n- other";
        assert_eq!(
            warning(what, usize::MAX),
            "  ! only 0 of 2 users are ready, for 2 reasons:\n    - the first (POST http://127.0.0.1:8080/login): no\n    - other"
        );
        assert_eq!(
            warning(what, 24),
            "  ! only 0 of 2 users\n    are ready, for 2\n    reasons:\n    - the first (POST\n    http://127.0.0.1:8080/login):\n    no\n    - other"
        );
    }
}
