//! Quantities as people type them on a command line.

use std::time::Duration;

use throng_workflow::scalar::parse_duration;
use throng_workflow::users::MOST_USERS;

/// A duration as in scenario files (`500ms`, `1m30s`); a plain number is seconds (`30`, `0.5`).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) if seconds < 0.0 => Err("a duration can't be negative".to_owned()),
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => parse_duration(text)
            .map_err(|problem| format!("{problem}; write 30 (seconds), 500ms, 1m30s")),
    }
}

/// A number of users.
pub(crate) fn users(text: &str) -> Result<u32, String> {
    whole(text, MOST_USERS)
}

/// How many users may be created and logged in at once.
pub(crate) fn concurrency(text: &str) -> Result<u32, String> {
    whole(text, 10_000)
}

/// How many requests may be in flight at once.
pub(crate) fn in_flight(text: &str) -> Result<u32, String> {
    whole(text, 1_000_000)
}

/// How many deletions may run at once.
pub(crate) fn deletions(text: &str) -> Result<u32, String> {
    whole(text, 1_000)
}

/// A whole number from 1 on.
fn whole(text: &str, most: u32) -> Result<u32, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("expected a whole number from 1 to {most}"))
}

/// A percentage, `5` or `5%`, as a fraction (0 to 1).
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .trim()
        .trim_end_matches('%')
        .trim_end()
        .parse()
        .map_err(|_| "expected a percentage, as in 5 or 0.5%".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("a percentage lies between 0 and 100".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30", 30_000),
            ("30.0", 30_000),
            ("0.5", 500),
            ("500ms", 500),
            ("1.5m", 90_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1.2.3", "5 parsecs", "NaN", "1e400"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_users() {
        assert_eq!(users("1"), Ok(1));
        assert_eq!(users("1000000"), Ok(1_000_000));
        for text in ["0", "-1", "four", "1.5", "1000001", "99999999999", ""] {
            assert_eq!(
                users(text),
                Err("expected a whole number from 1 to 1000000".to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("5"), Ok(0.05));
        assert_eq!(percent("0.5%"), Ok(0.005));
        assert!(percent("101").is_err());
        assert!(percent("-1").is_err());
    }
}
