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

/// The one of `names` that `name` may have been meant to be: a slip of the keyboard away.
pub(crate) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let slip = 2.min(name.len() / 2);
    let distances = names.into_iter().map(|known| (edit_distance(name, known), known));
    distances.min().filter(|(distance, _)| *distance <= slip).map(|(_, known)| known)
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

    #[test]
    fn slips() {
        let check = |name: &str, expected| assert_eq!(nearest(name, ["base", "kind", "k8s"]), expected, "{name}");
        check("bsae", Some("base"));
        check("kindd", Some("kind"));
        check("k", None);
        check("bullseye", None);
    }
}
