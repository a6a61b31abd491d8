//! Figures in words: durations, rates, counts and shares, each with the unit that suits it.

/// Three digits and the unit that suits them: 812 µs, 2.34 ms, 23.4 ms, 234 ms, 2.34 s, 120 s.
pub(crate) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds * 1e6 {
        micros if micros < 0.5 => return "0 s".to_owned(),
        micros if micros < 999.5 => return format!("{micros:.0} µs"),
        micros if micros < 999_500.0 => (micros / 1e3, "ms"),
        micros => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A value of an axis of durations: as many digits as it needs, since it is a round one.
pub(crate) fn round_duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        0.0 => return "0".to_owned(),
        seconds if seconds < 0.999_5e-3 => (seconds * 1e6, "µs"),
        seconds if seconds < 0.999_5 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{} {unit}", round_number(value))
}

/// A round number: thousands apart, and no zeros after the point.
pub(crate) fn round_number(value: f64) -> String {
    if value.abs() >= 1e3 {
        return count(value.round() as u64);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// So many a second: three digits, and thousands apart.
pub(crate) fn rate(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 0.000_5 => "<0.001".to_owned(),
        value if value < 999.5 => three_digits(value),
        value => count(value.round() as u64),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 0.999_5 => format!("{value:.3}"),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A number of things: 12,345.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The share that a part has in the whole. Only what is nothing is called 0 %, only what is everything 100 %.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0%".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        percent if percent < 0.05 => "<0.1%".to_owned(),
        percent if percent < 9.95 => format!("{percent:.1}%"),
        percent if part < whole && percent > 99.0 => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// A length of time: 20.5 s, 2 min 5 s, 1 h 30 min.
pub(crate) fn span(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{} s", round_number((seconds * 10.0).round() / 10.0));
    }
    let seconds = seconds.round() as u64;
    let parts = [
        (seconds / 3600, "h"),
        (seconds % 3600 / 60, "min"),
        (seconds % 60, "s"),
    ];
    let words: Vec<_> = parts
        .iter()
        .filter(|(value, _)| *value > 0)
        .map(|(value, unit)| format!("{value} {unit}"))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.000_001, "1 µs"),
            (0.000_812, "812 µs"),
            (0.000_999_6, "1.00 ms"),
            (0.002_341, "2.34 ms"),
            (0.009_996, "10.0 ms"),
            (0.023_41, "23.4 ms"),
            (0.234_1, "234 ms"),
            (0.999_6, "1.00 s"),
            (2.341, "2.34 s"),
            (119.6, "120 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn values_of_axes_have_no_digits_to_spare() {
        for (seconds, text) in [
            (0.0, "0"),
            (0.000_05, "50 µs"),
            (0.000_999_999_999, "1 ms"),
            (0.002_5, "2.5 ms"),
            (0.2, "200 ms"),
            (0.999_999_999, "1 s"),
            (1.5, "1.5 s"),
            (1_200.0, "1,200 s"),
        ] {
            assert_eq!(round_duration(seconds), text);
        }
        assert_eq!(round_number(0.1 + 0.2), "0.3");
        assert_eq!(round_number(25_000.0), "25,000");
    }

    #[test]
    fn rates_and_counts() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_1, "<0.001"),
            (0.041_7, "0.042"),
            (6.171, "6.17"),
            (61.71, "61.7"),
            (617.1, "617"),
            (999.7, "1,000"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(rate(value), text);
        }
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345), "12,345");
    }

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        for (part, whole, text) in [
            (0, 0, "0%"),
            (0, 9, "0%"),
            (1, 100_000, "<0.1%"),
            (1, 1_000, "0.1%"),
            (34, 1_000, "3.4%"),
            (1, 3, "33%"),
            (999, 1_000, ">99%"),
            (7, 7, "100%"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }

    #[test]
    fn lengths_of_time() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.44, "0.4 s"),
            (5.0, "5 s"),
            (20.04, "20 s"),
            (20.504, "20.5 s"),
            (59.96, "1 min"),
            (125.0, "2 min 5 s"),
            (7_200.0, "2 h"),
            (5_400.0, "1 h 30 min"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
