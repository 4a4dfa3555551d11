//! Sizes and ages, as people write and read them.

use std::time::{Duration, SystemTime};

use lvh_core::config::parse_duration;

const DAY: u64 = 24 * 60 * 60;

/// Such as `1.2 GB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes < 10 * unit => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

/// How long ago `then` was, such as `3d`.
pub(crate) fn age(then: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(then).unwrap_or_default().as_secs();
    match seconds {
        DAY.. => format!("{}d", seconds / DAY),
        3600.. => format!("{}h", seconds / 3600),
        60.. => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Reads a size such as `20G`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as `500M` or `20G`".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        "" if digits == "0" => 1,
        _ => return Err(expected()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(expected)
}

/// Reads a time such as `30d`, `12h` or `90s`.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(DAY));
    let expected = || "expected a time such as `30d` or `12h`".to_owned();
    days.map(Duration::from_secs).or_else(|| parse_duration(text).ok()).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages() {
        let check = |bytes: u64, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1500, "1.5 kB");
        check(103_400_000, "103 MB");
        check(3_250_000_000, "3.2 GB");
        let ago = |seconds: u64| age(SystemTime::now() - Duration::from_secs(seconds));
        assert_eq!([ago(5), ago(60), ago(7300), ago(3 * DAY)], ["5s", "1m", "2h", "3d"]);
    }

    #[test]
    fn what_people_write() {
        let sizes = ["20G", "500M", "0", "1K"].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [20 << 30, 500 << 20, 0, 1024]);
        assert!(["", "G", "5", "5g", "-1G", "99999999999T", "1GB"].iter().all(|text| parse_size(text).is_err()));
        let ages = ["30d", "0d", "12h", "90s"].map(|text| parse_age(text).unwrap().as_secs());
        assert_eq!(ages, [30 * DAY, 0, 12 * 3600, 90]);
        assert!(["", "d", "30", "-1d", "99999999999999999d"].iter().all(|text| parse_age(text).is_err()));
    }
}
