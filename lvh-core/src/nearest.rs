//! Which known name somebody may have meant.

/// Levenshtein's distance of two short names, in bytes.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expected: usize| assert_eq!(edit_distance(a, b), expected, "{a} {b}");
        check("", "abc", 3);
        check("ISO9669_FS", "ISO9660_FS", 1);
        check("kitten", "sitting", 3);
    }
}
