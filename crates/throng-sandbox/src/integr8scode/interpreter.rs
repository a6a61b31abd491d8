//! What becomes of a script: decided line by line from its text, by the rules of `docs/sandbox.md`.
//!
//! It is no Python: nothing is evaluated, indented lines count once like all others, and what is not
//! in the rules has no effect.

use std::time::Duration;

/// How an execution ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Failed,
    TimedOut,
}

/// What a script does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) ending: Ending,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit_code: i64,
    /// What it adds to the usual running time by sleeping.
    pub(super) sleeps: Duration,
}

/// Decides; a script that would run longer than `limit` times out.
pub(super) fn run(script: &str, limit: Duration) -> Verdict {
    let mut verdict = Verdict {
        ending: Ending::Completed,
        stdout: String::new(),
        stderr: String::new(),
        exit_code: 0,
        sleeps: Duration::ZERO,
    };
    if let Some(line) = syntax_error(script) {
        verdict.ending = Ending::Failed;
        verdict.exit_code = 1;
        verdict.stderr =
            format!("  File \"/scripts/main.py\", line {line}\nSyntaxError: invalid syntax\n");
        return verdict;
    }
    for (number, line) in (1..).zip(script.lines().map(str::trim)) {
        let raised = if line == "while True:" || line == "while 1:" {
            if script
                .lines()
                .skip(number)
                .any(|line| line.trim() == "break")
            {
                continue;
            }
            return timed_out(verdict);
        } else if let Some(printed) = argument(line, "print") {
            verdict.stdout.push_str(unquoted(printed));
            verdict.stdout.push('\n');
            continue;
        } else if let Some(seconds) = argument(line, "time.sleep") {
            let seconds = seconds.parse().unwrap_or(0.0);
            verdict.sleeps += Duration::try_from_secs_f64(seconds).unwrap_or_default();
            if verdict.sleeps >= limit {
                return timed_out(verdict);
            }
            continue;
        } else if let Some(code) = argument(line, "sys.exit").or_else(|| argument(line, "exit")) {
            verdict.exit_code = if code.is_empty() {
                0
            } else {
                code.parse().unwrap_or(1)
            };
            if verdict.exit_code != 0 {
                verdict.ending = Ending::Failed;
            }
            return verdict;
        } else if let Some(error) = line.strip_prefix("raise ") {
            raised(error)
        } else if line.contains("/ 0") || line.contains("1/0") {
            "ZeroDivisionError: division by zero".to_owned()
        } else if line.starts_with("assert False") {
            "AssertionError".to_owned()
        } else {
            continue;
        };
        verdict.ending = Ending::Failed;
        verdict.exit_code = 1;
        verdict.stderr = format!(
            "Traceback (most recent call last):\n  File \"/scripts/main.py\", line {number}, in <module>\n{raised}\n"
        );
        return verdict;
    }
    verdict
}

fn timed_out(mut verdict: Verdict) -> Verdict {
    verdict.ending = Ending::TimedOut;
    verdict.exit_code = 124;
    verdict.stderr.push_str("Execution timed out\n");
    verdict
}

/// `ValueError("no")` as the last line of a traceback: `ValueError: no`.
fn raised(error: &str) -> String {
    match error.split_once('(') {
        Some((name, rest)) => {
            let message = unquoted(rest.strip_suffix(')').unwrap_or(rest));
            if message.is_empty() {
                name.to_owned()
            } else {
                format!("{name}: {message}")
            }
        }
        None => error.to_owned(),
    }
}

/// The text between the brackets of a call that is the whole line.
fn argument<'a>(line: &'a str, function: &str) -> Option<&'a str> {
    line.strip_prefix(function)?
        .strip_prefix('(')?
        .strip_suffix(')')
        .map(str::trim)
}

/// What a literal prints; anything else prints its own source.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
}

/// The first line on which a bracket or a quotation is not closed, or a block has no colon.
fn syntax_error(script: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (number, line) in (1..).zip(script.lines()) {
        if line.contains("\"\"\"") || line.contains("'''") {
            // Longer texts may hold anything: not judged.
            return None;
        }
        let mut quote = None;
        let mut escaped = false;
        for character in line.chars() {
            match (quote, character) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(open), _) if character == open => quote = None,
                (Some(_), _) => {}
                (None, '#') => break,
                (None, '"' | '\'') => quote = Some(character),
                (None, '(' | '[' | '{') => open.push((character, number)),
                (None, ')' | ']' | '}') => match (open.pop(), character) {
                    (Some(('(', _)), ')') | (Some(('[', _)), ']') | (Some(('{', _)), '}') => {}
                    _ => return Some(number),
                },
                _ => {}
            }
        }
        let code = line.trim();
        let block = [
            "def ", "class ", "if ", "for ", "while ", "try", "else", "elif ",
        ];
        let bare = open.is_empty() && quote.is_none();
        if quote.is_some()
            || (bare && block.iter().any(|word| code.starts_with(word)) && !code.contains(':'))
        {
            return Some(number);
        }
    }
    open.first().map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_end_as_documented() {
        use Ending::{Completed, Failed, TimedOut};
        for (script, ending, exit_code, stdout, last_error) in [
            ("", Completed, 0, "", ""),
            ("print(1)", Completed, 0, "1\n", ""),
            (
                "x = 2\nprint('a')\nprint(\"b\")",
                Completed,
                0,
                "a\nb\n",
                "",
            ),
            (
                "print('a')\nraise ValueError(\"no\")",
                Failed,
                1,
                "a\n",
                "ValueError: no",
            ),
            ("raise RuntimeError", Failed, 1, "", "RuntimeError"),
            ("import sys\nsys.exit(3)", Failed, 3, "", ""),
            ("sys.exit(0)\nraise X", Completed, 0, "", ""),
            ("1/0", Failed, 1, "", "ZeroDivisionError: division by zero"),
            ("def broken(", Failed, 1, "", "SyntaxError: invalid syntax"),
            ("print('a", Failed, 1, "", "SyntaxError: invalid syntax"),
            ("if x\n  pass", Failed, 1, "", "SyntaxError: invalid syntax"),
            (
                "while True:\n  pass",
                TimedOut,
                124,
                "",
                "Execution timed out",
            ),
            ("while True:\n  break\nprint(1)", Completed, 0, "1\n", ""),
            (
                "import time\ntime.sleep(10)",
                TimedOut,
                124,
                "",
                "Execution timed out",
            ),
        ] {
            let verdict = run(script, Duration::from_secs(2));
            assert_eq!(verdict.ending, ending, "{script}");
            assert_eq!(verdict.exit_code, exit_code, "{script}");
            assert_eq!(verdict.stdout, stdout, "{script}");
            assert_eq!(
                verdict.stderr.lines().last().unwrap_or(""),
                last_error,
                "{script}"
            );
        }
        let slept = run("time.sleep(0.5)", Duration::from_secs(2));
        assert_eq!(
            (slept.ending, slept.sleeps),
            (Completed, Duration::from_millis(500))
        );
    }
}
