//! Names of kernels that the Cilium project publishes, in a repository of images.

use crate::nearest::edit_distance;

/// Names that are no versions.
pub(super) const BRANCHES: [&str; 3] = ["bpf", "bpf-net", "bpf-next"];

/// Whether `name` looks like one of a published kernel, so that it is worth asking a registry: `6.6`, `6.6.30`, `bpf-next`, `rhel8.9`.
pub(super) fn looks_published(name: &str) -> bool {
    match name.strip_prefix("rhel") {
        Some(version) => is_version(version, 1),
        None => BRANCHES.contains(&name) || is_version(name, 2),
    }
}

/// Numbers with dots between them, at least so many.
fn is_version(text: &str, least: usize) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| {
        (1..=4).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    (least..=3).contains(&parts.len()) && parts.iter().all(number)
}

/// The one of `names` that `name` is a misspelling of, if it seems to be one.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // Of short names everything is a misspelling.
    let most = name.len() / 4;
    let distance = |known: &&str| edit_distance(name, known);
    names.filter(|known| distance(known) <= most).min_by_key(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_names_are_versions_and_some_branches() {
        for name in
            ["6.6", "4.19", "6.12", "6.6.30", "7.0", "bpf", "bpf-net", "bpf-next", "rhel8", "rhel8.9", "rhel9.6"]
        {
            assert!(looks_published(name), "{name}");
        }
        for name in
            ["6", "6.1x2", "6.06", "6.", ".6", "6.6.6.6", "6.6-main", "bpf-nxt", "rhel", "rhelx", "next", "mine"]
        {
            assert!(!looks_published(name), "{name}");
        }
    }

    #[test]
    fn misspellings_are_near() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(nearest(name, ["5.10", "6.1", "6.12", "bpf-next"].into_iter()), expected, "{name}");
        };
        check("6.1x2", Some("6.12"));
        check("6.21", Some("6.1"));
        check("bpf-nxt", Some("bpf-next"));
        check("bfp-next", Some("bpf-next"));
        check("mine", None);
        check("6.7", None);
    }
}
