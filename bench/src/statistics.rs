//! Numbers about numbers.

/// The middle of `values`, or the mean of the two in the middle; none of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().checked_sub(1)? / 2;
    Some((sorted[middle] + sorted[sorted.len() / 2]) / 2.0)
}

/// The least of `values`.
pub(crate) fn min(values: &[f64]) -> Option<f64> {
    values.iter().copied().min_by(f64::total_cmp)
}

/// The median of the quotients of what was measured in the same round: what slowed the machine down for a while slowed
/// both. Rounds in which either failed do not count.
pub(crate) fn paired_ratio(above: &[Option<f64>], below: &[Option<f64>]) -> Option<f64> {
    paired(above, below, |above, below| above / below)
}

/// The median of `combine` over the rounds that have both values.
pub(crate) fn paired(a: &[Option<f64>], b: &[Option<f64>], combine: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let both = a.iter().zip(b).filter_map(|(a, b)| Some(combine((*a)?, (*b)?)));
    median(&both.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(min(&[4.0, 1.0, 2.0]), Some(1.0));
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        // The machine was ten times slower in the second round, and one run failed in the third.
        let slow = [Some(2.0), Some(20.0), Some(2.0), Some(4.0)];
        let floor = [Some(1.0), Some(10.0), None, Some(1.0)];
        assert_eq!(paired_ratio(&slow, &floor), Some(2.0));
        assert_eq!(paired_ratio(&slow, &[None; 4]), None);
    }
}
