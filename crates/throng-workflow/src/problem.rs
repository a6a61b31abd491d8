//! What is wrong with a scenario file, and where.
//!
//! Everything that reads the file reports into one [`Problems`], so that a person sees all mistakes at once. This module
//! knows nothing of the file's meaning.

use std::fmt;
use std::sync::Arc;

use crate::node::{Kind, Node};

/// A place in a scenario file: lines and columns count from 1, columns and length in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    /// Line, counted from 1; 0 when the value does not come from the file.
    pub line: u32,
    /// Column, counted from 1, in characters.
    pub column: u32,
    /// Length in characters; at least 1 where it is known.
    pub length: u32,
    /// The command-line flag that gave the value instead of the file.
    pub flag: Option<&'static str>,
}

impl Mark {
    /// A place that a flag such as `--users` gave.
    pub fn flag(flag: &'static str) -> Self {
        Self {
            flag: Some(flag),
            ..Self::default()
        }
    }

    /// The place of a part of the scalar `text` that stands here, `offset` and `length` in characters. Exact unless the
    /// scalar has escapes or several lines.
    pub fn within(self, text: &str, offset: usize, length: usize) -> Self {
        let characters = text.chars().count() as u32;
        // Two more characters than the text are its quotes.
        let quote = u32::from(self.length == characters + 2);
        if self.line == 0 || offset as u32 + quote >= self.length.max(1) {
            return self;
        }
        Self {
            column: self.column + quote + offset as u32,
            length: length.max(1) as u32,
            ..self
        }
    }
}

/// One mistake: where, what was found, what was expected, and the nearest right word when there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the file or of the built-in scenario.
    pub file: Arc<str>,
    /// The place in it.
    pub mark: Mark,
    /// What was found and what was expected, in one lowercase sentence.
    pub message: String,
    /// What to do about it, such as "did you mean `title`?".
    pub help: Option<String>,
    /// The line of the file, for display.
    pub excerpt: Option<String>,
    /// An earlier line that may be at fault instead: its number and text.
    pub before: Option<(u32, String)>,
}

impl Problem {
    /// Place and message in one line, without the excerpt and the advice.
    pub fn headline(&self) -> String {
        let Self {
            file,
            mark,
            message,
            ..
        } = self;
        match mark.flag {
            Some(flag) => format!("{flag}: {message}"),
            None if mark.line == 0 => format!("{file}: {message}"),
            None => format!("{file}:{}:{}: {message}", mark.line, mark.column),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(line) = &self.excerpt {
            let number = self.mark.line.to_string();
            let pad = " ".repeat(number.len());
            write!(f, "\n {pad} |")?;
            if let Some((earlier, line)) = &self.before {
                write!(f, "\n {earlier:>0$} | {line}", number.len())?;
            }
            let before: String = line
                .chars()
                .take(self.mark.column.saturating_sub(1) as usize)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let left = line
                .chars()
                .count()
                .saturating_sub(before.chars().count())
                .max(1);
            let carets = "^".repeat((self.mark.length.max(1) as usize).min(left));
            write!(f, "\n {number} | {line}\n {pad} | {before}{carets}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The problems found so far in one file.
#[derive(Debug)]
pub struct Problems {
    file: Arc<str>,
    lines: Vec<String>,
    found: Vec<Problem>,
    /// Of files that this one names.
    elsewhere: Vec<Problem>,
    lost: Vec<Mark>,
}

impl Problems {
    /// No problems yet in `file`, whose text is `source`.
    pub fn new(file: &str, source: &str) -> Self {
        Self {
            file: file.into(),
            lines: source.lines().map(str::to_owned).collect(),
            found: Vec::new(),
            elsewhere: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// The directory that the file's own references are relative to.
    pub fn directory(&self) -> &std::path::Path {
        std::path::Path::new(&*self.file)
            .parent()
            .unwrap_or(std::path::Path::new(""))
    }

    /// Takes over what was found in a file that this one names.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.elsewhere.extend(other.into_sorted());
    }

    /// Reports a problem.
    pub fn add(&mut self, mark: Mark, message: impl Into<String>) {
        self.report(mark, message.into(), None);
    }

    /// Reports a problem with advice.
    pub(crate) fn add_with_help(
        &mut self,
        mark: Mark,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(mark, message.into(), Some(help.into()));
    }

    /// Reports a problem with advice, without showing its line, in which there is a secret.
    pub(crate) fn add_unshown(&mut self, mark: Mark, message: &str, help: &str) {
        let before = self.found.len();
        self.report(mark, message.to_owned(), Some(help.to_owned()));
        if let Some(problem) = self.found.get_mut(before) {
            problem.excerpt = None;
        }
    }

    /// Reports that `found` is none of `known`, with the nearest of them. `what` is a noun such as "actor".
    pub fn unknown<'a>(
        &mut self,
        mark: Mark,
        what: &str,
        found: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        self.report(
            mark,
            format!("unknown {what} `{found}`"),
            Some(suggest(found, &known)),
        );
    }

    /// Reports that a node of the wrong kind was found.
    pub(crate) fn wrong_kind(&mut self, node: &Node, expected: &str) {
        let help = self
            .bare_placeholder(node)
            .map(|placeholder| quote_it(&placeholder));
        let message = format!("expected {expected}, found {}", describe(node));
        self.report(node.mark, message, help);
    }

    /// The text `{note}` where it stands without quotes, so that YAML made a map of it. What is more than a name in braces,
    /// such as `{ note: null }`, is a map that was meant.
    pub(crate) fn bare_placeholder(&self, node: &Node) -> Option<String> {
        let Kind::Map(entries) = &node.kind else {
            return None;
        };
        let [(key, value)] = entries.as_slice() else {
            return None;
        };
        let line = self.lines.get((node.mark.line as usize).checked_sub(1)?)?;
        let skipped = node.mark.column.saturating_sub(1) as usize;
        let from = line.char_indices().nth(skipped)?.0;
        let inner = line[from..].strip_prefix('{')?.split_once('}')?.0.trim();
        (value.kind == Kind::Null && inner == key.text).then(|| format!("{{{inner}}}"))
    }

    /// Notes that what stands here could not be read, so that names which it would have made known are missing elsewhere.
    pub fn lose(&mut self, mark: Mark) {
        self.lost.push(mark);
    }

    /// Whether something between two places, or after the first, could not be read.
    pub(crate) fn lost_between(&self, from: Mark, to: Option<Mark>) -> bool {
        let place = |mark: &Mark| (mark.line, mark.column);
        self.lost.iter().any(|mark| {
            place(mark) >= place(&from) && to.as_ref().is_none_or(|to| place(mark) < place(to))
        })
    }

    /// Reports broken syntax. A parser sees it where it can't go on, which is often the line after the mistake: both are
    /// shown.
    pub fn syntax(&mut self, mark: Mark, message: String) {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let before = self
            .lines
            .iter()
            .take((mark.line as usize).saturating_sub(1))
            .enumerate()
            .rfind(|(_, line)| !blank(line))
            .map(|(index, line)| (index as u32 + 1, line.clone()));
        let help = match &before {
            _ if message.contains("tabs") => "indent with spaces".to_owned(),
            Some((line, _)) => format!(
                "look at the indentation, or for a missing `:` or quote, in this line and in line {line} before it"
            ),
            None => {
                "look for a missing quote: a text with `: ` or ` #` in it needs them".to_owned()
            }
        };
        self.report(mark, message, Some(help));
        if let Some(problem) = self.found.last_mut() {
            problem.before = before;
        }
    }

    fn report(&mut self, mark: Mark, message: String, help: Option<String>) {
        let excerpt = (mark.flag.is_none() && mark.line > 0)
            .then(|| self.lines.get(mark.line as usize - 1).cloned())
            .flatten();
        let problem = Problem {
            file: self.file.clone(),
            mark,
            message,
            help,
            excerpt,
            before: None,
        };
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Whether something was reported inside this place already.
    pub(crate) fn reported_in(&self, mark: Mark) -> bool {
        let columns = mark.column..mark.column + mark.length.max(1);
        self.found.iter().any(|problem| {
            problem.mark.flag == mark.flag
                && problem.mark.line == mark.line
                && columns.contains(&problem.mark.column)
        })
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.elsewhere.is_empty()
    }

    /// How many were found so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// The problems in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found
            .sort_by_key(|p| (p.mark.flag, p.mark.line, p.mark.column));
        self.found.append(&mut self.elsewhere);
        self.found
    }
}

/// The advice for a placeholder that lost its quotes.
pub(crate) fn quote_it(placeholder: &str) -> String {
    format!("did you mean `\"{placeholder}\"`? In YAML braces make a map: put it in quotes")
}

/// What a node is, in words for a message: its kind, and its text when it is short. Never the text of a value that came
/// out of the environment, which may be a secret.
pub(crate) fn describe(node: &Node) -> String {
    if node.from_environment {
        return "a value from the environment".to_owned();
    }
    match &node.kind {
        Kind::Null => "nothing".to_owned(),
        Kind::Bool(value) => format!("the boolean {value}"),
        Kind::Number(value) => format!("the number {value}"),
        Kind::Text(text) if text.chars().count() <= 40 => format!("the text {text:?}"),
        Kind::Text(_) => "a text".to_owned(),
        Kind::List(items) => format!("a list of {}", items.len()),
        Kind::Map(entries) if entries.is_empty() => "an empty map".to_owned(),
        Kind::Map(entries) => {
            let keys: Vec<&str> = entries
                .iter()
                .take(3)
                .map(|(key, _)| key.text.as_str())
                .collect();
            let more = if entries.len() > 3 { ", ..." } else { "" };
            format!("a map with {}{more}", keys.join(", "))
        }
    }
}

/// The advice for an unknown word: the nearest known one, else all of them when they are few.
pub(crate) fn suggest(found: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None if known.is_empty() => "none is known here".to_owned(),
        None if known.len() == 1 => format!("expected `{}`", known[0]),
        None => {
            let shown: Vec<String> = known
                .iter()
                .take(24)
                .map(|word| format!("`{word}`"))
                .collect();
            let more = if known.len() > 24 { ", ..." } else { "" };
            format!("expected one of {}{more}", shown.join(", "))
        }
    }
}

/// The word nearest to `found`, if one is near enough to be a likely slip of the keyboard.
pub(crate) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = found.to_lowercase();
    known
        .into_iter()
        .map(|word| {
            let other = word.to_lowercase();
            let mut score = strsim::jaro_winkler(&lower, &other);
            if strsim::damerau_levenshtein(&lower, &other) <= 1 + lower.chars().count() / 4 {
                score += 0.5;
            }
            (score, word)
        })
        .filter(|(score, _)| *score >= 0.87)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}
