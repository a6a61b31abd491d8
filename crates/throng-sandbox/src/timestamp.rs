//! Points in time as protocols write them; no time zones, no parsing.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch.
pub(crate) fn unix_seconds() -> i64 {
    unix_millis() / 1000
}

/// Milliseconds since the epoch.
pub(crate) fn unix_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

fn since_epoch() -> std::time::Duration {
    // A clock before 1970 reads as 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Now, as RFC 3339 with microseconds: `2026-11-22T05:00:46.123456Z`.
pub(crate) fn rfc3339_now() -> String {
    let now = since_epoch();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (year, month, day, hour, minute, second) = civil(seconds);
    let micros = now.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Milliseconds since the epoch as RFC 3339: `2026-11-22T05:00:46.123Z`.
pub(crate) fn rfc3339_millis(unix_millis: i64) -> String {
    let (year, month, day, hour, minute, second) = civil(unix_millis.div_euclid(1000));
    let millis = unix_millis.rem_euclid(1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// An HTTP date (RFC 9110, section 5.6.7): `Sun, 22 Nov 2026 05:00:46 GMT`.
pub(crate) fn http_date(unix_seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day, hour, minute, second) = civil(unix_seconds);
    // The epoch was a Thursday; `rem_euclid(7)` is in 0..7 and months in 1..=12.
    let weekday = DAYS[usize::try_from(unix_seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month, day, hour, minute, second in UTC (the civil-from-days algorithm of Howard Hinnant).
fn civil(unix_seconds: i64) -> (i64, i64, i64, i64, i64, i64) {
    let days = unix_seconds.div_euclid(86_400) + 719_468;
    let second = unix_seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        year,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_right() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_795_323_646, "Sun, 22 Nov 2026 05:00:46 GMT"),
        ];
        for (seconds, text) in cases {
            assert_eq!(http_date(seconds), text);
        }
    }

    #[test]
    fn milliseconds_are_kept() {
        assert_eq!(rfc3339_millis(784_111_777_042), "1994-11-06T08:49:37.042Z");
    }

    #[test]
    fn now_is_rfc_3339_with_microseconds() {
        let now = rfc3339_now();
        assert_eq!(now.len(), "2026-11-22T05:00:46.123456Z".len(), "{now}");
        assert!(now.ends_with('Z') && now.as_bytes()[10] == b'T', "{now}");
    }
}
