//! The order of names that have numbers in them.

/// A sort key that puts `6.2` before `6.12`: numbers by value, before words.
pub fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push((part.parse().unwrap_or(u64::MAX), part.to_owned()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_are_in_order() {
        let mut names = ["bpf-next", "7.x", "6.12", "6.2", "6.12-rt", "../linux"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["6.2", "6.12", "6.12-rt", "7.x", "../linux", "bpf-next"]);
    }
}
