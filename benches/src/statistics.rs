//! The little arithmetic that the benchmarks need.

/// The middle value, or the mean of the two in the middle. NaN if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest value that at least `percent` of all are not above (the nearest rank). NaN if there is none.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    // Less a trifle: 99.9 % of 1000 comes out a little above 999.
    let rank = (percent / 100.0 * sorted.len() as f64 - 1e-6).ceil() as usize;
    sorted
        .get(rank.max(1) - 1)
        .or(sorted.last())
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn medians() {
        assert!(median(&[]).is_nan());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        for (percent, expected) in [
            (0.0, 1.0),
            (50.0, 500.0),
            (95.0, 950.0),
            (99.9, 999.0),
            (100.0, 1000.0),
        ] {
            assert!(
                (percentile(&values, percent) - expected).abs() < f64::EPSILON,
                "{percent}"
            );
        }
        assert!(percentile(&[], 50.0).is_nan());
    }
}
