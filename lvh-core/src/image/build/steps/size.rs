//! Sizes of disks, as people write them.

use crate::{Error, ErrorKind, Result};

/// What an image has that says nothing.
pub(crate) const DEFAULT: u64 = 8 << 30;

/// Bytes, from a number with a unit: `8G`. guestfish, which read it for the Go tool, took a number without one for KiB.
pub(crate) fn parse(text: &str) -> Result<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: Option<u64> = match unit.strip_suffix(['B', 'b']).filter(|unit| !unit.is_empty()).unwrap_or(unit) {
        "b" => Some(1),
        "s" => Some(512),
        "" | "K" | "k" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        "T" => Some(1 << 40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    // The smallest that mke2fs makes anything useful of.
    bytes.filter(|bytes| *bytes >= 1 << 20).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("`{text}` is no size of a disk"))
            .with_hint("write a number with K, M, G or T, of 1M or more: `image_size` `8G`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse(text).ok(), expected, "{text}");
        check("8G", Some(8 << 30));
        check("30GB", Some(30 << 30));
        check("1T", Some(1 << 40));
        check("512M", Some(512 << 20));
        check("1048576", Some(1 << 30));
        check("2048k", Some(2 << 20));
        check("4096s", Some(2 << 20));
        check("1048576b", Some(1 << 20));
        for wrong in ["", "G", "8X", "-8G", "8 G", "1.5G", "100K", "99999999999T", "+1G", "0G"] {
            check(wrong, None);
        }
    }
}
