//! Reads a threshold from text.

use std::str::FromStr;

use super::{Comparison, Figure, Kind, Threshold, ThresholdError, Unit, rounded};

/// Figures by name, for hints.
pub(super) const FIGURES: [&str; 18] = [
    "min",
    "max",
    "mean",
    "median",
    "p50",
    "p90",
    "p95",
    "p99",
    "p99.9",
    "success_rate",
    "error_rate",
    "rate",
    "count",
    "errors",
    "refused",
    "not_refused",
    "dropped_starts",
    "late_starts",
];

const KINDS: [(&str, Kind); 4] = [
    ("response", Kind::Response),
    ("service", Kind::Service),
    ("failures", Kind::Failures),
    ("propagation", Kind::Propagation),
];

/// The longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let text = text.trim();
        let source = Source(text);
        let (at, sign, comparison) = comparison(text).ok_or_else(|| {
            let hint = if text.contains('=') {
                "for equality write =="
            } else {
                "expected <, <=, >, >=, == or !="
            };
            let at = text.find('=').unwrap_or(text.len());
            source.error(at, format!("no comparison found: {hint}"), None)
        })?;
        let path = text[..at].trim_end();
        let (scope, kind, figure) = metric(&source, path)?;
        let after = &text[at + sign.len()..];
        let value_at = at + sign.len() + (after.len() - after.trim_start().len());
        let value = value(&source, value_at, after.trim(), &figure)?;
        Ok(Self {
            text: text.to_owned(),
            scope: scope.to_owned(),
            kind,
            figure,
            comparison,
            value,
        })
    }
}

/// The text, for errors with a place.
struct Source<'a>(&'a str);

impl Source<'_> {
    fn error(&self, byte: usize, message: String, nearest: Option<String>) -> ThresholdError {
        ThresholdError {
            text: self.0.to_owned(),
            at: self.0[..byte].chars().count() + 1,
            message,
            nearest,
        }
    }
}

/// The first comparison in the text.
fn comparison(text: &str) -> Option<(usize, &'static str, Comparison)> {
    text.char_indices().find_map(|(at, _)| {
        COMPARISONS
            .into_iter()
            .find(|(sign, _)| text[at..].starts_with(sign))
            .map(|(sign, comparison)| (at, sign, comparison))
    })
}

fn metric<'a>(
    source: &Source<'_>,
    path: &'a str,
) -> Result<(&'a str, Kind, Figure), ThresholdError> {
    let (before, last) = split_figure(path);
    let at = path.len() - last.len();
    if last.is_empty() {
        return Err(source.error(
            at,
            "expected a figure, as in p95 or error_rate".into(),
            None,
        ));
    }
    let (scope, kind) = split_kind(before);
    let figure = match figure(last) {
        Some(figure) => figure,
        // A counter has no scope; whether there is one of that name is known when the catalog is.
        None if before.is_empty() => Figure::Counter(last.to_owned()),
        None => {
            let message = unknown_figure("figure", last, &FIGURES);
            return Err(source.error(at, message, nearest(last, FIGURES.into_iter())));
        }
    };
    let problem = match (&figure, kind) {
        (Figure::DroppedStarts | Figure::LateStarts, _) if !before.is_empty() => {
            Some(format!("{last} is of the whole run and takes no scope"))
        }
        (
            Figure::SuccessRate | Figure::ErrorRate | Figure::Rate,
            Kind::Service | Kind::Failures,
        ) => Some(format!("{last} is neither of service nor of failures")),
        (Figure::Refused | Figure::NotRefused, kind) if kind != Kind::Response => {
            Some(format!("{last} is of calls, and takes no kind"))
        }
        _ => None,
    };
    match problem {
        Some(problem) => Err(source.error(at, problem, None)),
        None => Ok((scope, kind, figure)),
    }
}

/// Splits the figure from what is before it. The dot in `p99.9` is its own.
fn split_figure(path: &str) -> (&str, &str) {
    let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        let (scope, whole) = before.rsplit_once('.').unwrap_or(("", before));
        if is_percentile(whole) {
            return (scope, &path[path.len() - last.len() - 1 - whole.len()..]);
        }
    }
    (before, last)
}

fn is_percentile(word: &str) -> bool {
    word.strip_prefix('p')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn split_kind(path: &str) -> (&str, Kind) {
    let (before, last) = path.rsplit_once('.').unwrap_or(("", path));
    KINDS
        .into_iter()
        .find(|(name, _)| *name == last)
        .map_or((path, Kind::Response), |(_, kind)| (before, kind))
}

fn figure(word: &str) -> Option<Figure> {
    Some(match word {
        "min" => Figure::Min,
        "max" => Figure::Max,
        "mean" | "avg" => Figure::Mean,
        "median" => Figure::Quantile(0.5),
        "success_rate" => Figure::SuccessRate,
        "error_rate" => Figure::ErrorRate,
        "rate" => Figure::Rate,
        "count" => Figure::Count,
        "errors" => Figure::Errors,
        "refused" => Figure::Refused,
        "not_refused" => Figure::NotRefused,
        "dropped_starts" => Figure::DroppedStarts,
        "late_starts" => Figure::LateStarts,
        percentile => {
            let digits = percentile.strip_prefix('p')?;
            if !digits.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let percent: f64 = digits.parse().ok()?;
            if !(0.0..=100.0).contains(&percent) {
                return None;
            }
            Figure::Quantile(percent / 100.0)
        }
    })
}

fn value(
    source: &Source<'_>,
    at: usize,
    text: &str,
    figure: &Figure,
) -> Result<f64, ThresholdError> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits]
        .parse()
        .map_err(|_| source.error(at, format!("expected a number, found {text:?}"), None))?;
    let unit = text[digits..].trim();
    let factor = match (figure.unit(), unit) {
        (Unit::Seconds, "us" | "µs") => Some(1e-6),
        (Unit::Seconds, "ms") => Some(1e-3),
        (Unit::Seconds, "s") | (Unit::PerSecond, "/s") => Some(1.0),
        (Unit::Seconds, "m") => Some(60.0),
        (Unit::PerSecond, "/m") => Some(1.0 / 60.0),
        (Unit::PerSecond, "/h") => Some(1.0 / 3600.0),
        (Unit::Percent, "%") | (Unit::Pieces, "") => Some(1.0),
        // Nothing is nothing in any unit.
        (_, "") if number == 0.0 => Some(1.0),
        _ => None,
    };
    factor.map(|factor| number * factor).ok_or_else(|| {
        let expected = match figure.unit() {
            Unit::Seconds => "a unit of time: us, ms, s or m",
            Unit::Percent => "%",
            Unit::PerSecond => "/s, /m or /h",
            Unit::Pieces => "a number without a unit",
        };
        let found = if unit.is_empty() {
            "nothing".to_owned()
        } else {
            format!("{unit:?}")
        };
        let message = format!("expected {expected}, found {found}");
        // What is left out is most often the unit that one thinks in.
        let likely = match figure.unit() {
            Unit::Seconds => format!("{number}ms"),
            // A fraction where percent are asked for.
            Unit::Percent if number < 1.0 => format!("{}%", rounded(number * 100.0, 6)),
            Unit::Percent => format!("{number}%"),
            Unit::PerSecond => format!("{number}/s"),
            Unit::Pieces => format!("{number}"),
        };
        let before = &source.0[..at];
        let nearest = unit.is_empty().then(|| format!("{before}{likely}"));
        source.error(at + digits, message, nearest)
    })
}

/// Says that there is no such figure, and which there are. Any percentile will do, so they are not all named.
pub(super) fn unknown_figure(what: &str, word: &str, known: &[&str]) -> String {
    format!("unknown {what} {word:?} (known: {})", known.join(", "))
}

/// The nearest of the known words, if one is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate.to_owned())
}
