use std::collections::BTreeMap;

use super::balance::{balanced, balanced_in_order};
use super::times::Times;
use crate::listing::{Place, Test};

/// What the tests of one shard have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// Nothing: shards take about the same time
    Time,
    /// The kernel, so that a machine needs no other
    Kernel,
    /// The image
    Image,
}

/// What one machine runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shard<'a> {
    pub(crate) name: String,
    pub(crate) tests: Vec<&'a Test>,
    /// What it is expected to take.
    pub(crate) seconds: f64,
}

/// What is outside of VMs, as a part of a shard's name.
const HOST: &str = "host";
/// Tests of VMs with the host's root.
const NO_IMAGE: &str = "no-image";
/// How many shards there are where nobody says.
const DEFAULT: usize = 4;

/// Each test in one shard; none is empty.
pub(crate) fn shards<'a>(tests: &'a [Test], times: &Times, by: By, count: Option<usize>) -> Vec<Shard<'a>> {
    let expected = times.expected(tests);
    let mut groups: BTreeMap<Vec<String>, Vec<(&Test, f64)>> = BTreeMap::new();
    for (test, seconds) in tests.iter().zip(expected) {
        groups.entry(key(test, by)).or_default().push((test, seconds));
    }
    // Each machine boots each of its kernels once more: it should have few.
    groups.values_mut().for_each(|tests| tests.sort_by_cached_key(|(test, _)| key(test, By::Kernel)));
    let groups: Vec<Group<'_>> = groups.into_iter().map(|(key, tests)| Group { name: key.join("+"), tests }).collect();
    let count = count.unwrap_or(if by == By::Time { DEFAULT } else { groups.len() });
    if count < groups.len() { joined(&groups, count) } else { divided(groups, count) }
}

/// What stays together; several where Rust's own harness runs one test on several kernels.
fn key(test: &Test, by: By) -> Vec<String> {
    let words = |word: &dyn Fn(&Place) -> String| {
        let mut words: Vec<String> = test.places.iter().map(word).collect();
        words.dedup();
        if words.is_empty() { vec![HOST.to_owned()] } else { words }
    };
    match by {
        By::Time => Vec::new(),
        By::Kernel => words(&|place| place.kernel.clone()),
        By::Image => words(&|place| place.image.clone().unwrap_or_else(|| NO_IMAGE.to_owned())),
    }
}

struct Group<'a> {
    name: String,
    tests: Vec<(&'a Test, f64)>,
}

impl Group<'_> {
    fn seconds(&self) -> f64 {
        self.tests.iter().map(|(_, seconds)| seconds).sum()
    }
}

/// Fewer shards than groups: some have several.
fn joined<'a>(groups: &[Group<'a>], count: usize) -> Vec<Shard<'a>> {
    let places = balanced(&groups.iter().map(|group| micros(group.seconds())).collect::<Vec<_>>(), count);
    let shard = |number: usize| {
        let groups = groups.iter().zip(&places).filter(|(_, place)| **place == number).map(|(group, _)| group);
        let groups: Vec<&Group<'_>> = groups.collect();
        Shard {
            name: groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(","),
            tests: groups.iter().flat_map(|group| group.tests.iter().map(|(test, _)| *test)).collect(),
            seconds: groups.iter().map(|group| group.seconds()).sum(),
        }
    };
    (0..count).map(shard).collect()
}

/// Each group has shards of its own, as many as its time asks for.
fn divided(groups: Vec<Group<'_>>, count: usize) -> Vec<Shard<'_>> {
    let mut parts = vec![1; groups.len()];
    for _ in groups.len()..count {
        let share = |index: &usize| groups[*index].seconds() / f64::from(parts[*index]);
        // A shard without a test would be a machine for nothing.
        let divisible = (0..groups.len()).filter(|&index| (parts[index] as usize) < groups[index].tests.len());
        let Some(longest) = divisible.max_by(|a, b| share(a).total_cmp(&share(b))) else { break };
        parts[longest] += 1;
    }
    groups.into_iter().zip(parts).flat_map(|(group, parts)| parts_of(group, parts)).collect()
}

fn parts_of(group: Group<'_>, count: u32) -> Vec<Shard<'_>> {
    let places =
        balanced_in_order(&group.tests.iter().map(|(_, seconds)| micros(*seconds)).collect::<Vec<_>>(), count as usize);
    let part = |number: usize| {
        let own = group.tests.iter().zip(&places).filter(|(_, place)| **place == number).map(|(test, _)| test);
        let (tests, seconds): (Vec<&Test>, Vec<f64>) = own.copied().unzip();
        let name = match (group.name.as_str(), count) {
            ("", _) => (number + 1).to_string(),
            (name, 1) => name.to_owned(),
            (name, _) => format!("{name}-{}", number + 1),
        };
        Shard { name, tests, seconds: seconds.iter().sum() }
    };
    (0..count as usize).map(part).collect()
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::test;
    use super::*;

    /// Names with the tests of each, of tests with these places, which take a second each.
    #[track_caller]
    fn check(tests: &[(&str, &str)], by: By, count: Option<usize>, expected: &[&str]) {
        let place = |word: &str| {
            let (kernel, image) = word.split_once('+').map_or((word, None), |(kernel, image)| (kernel, Some(image)));
            Place { kernel: kernel.to_owned(), image: image.map(str::to_owned) }
        };
        let tests: Vec<Test> = tests
            .iter()
            .map(|(name, places)| Test { places: places.split_whitespace().map(place).collect(), ..test("p", name) })
            .collect();
        let shards = shards(&tests, &Times::default(), by, count);
        let names = |shard: &Shard<'_>| shard.tests.iter().map(|test| test.name.as_str()).collect::<Vec<_>>().join(" ");
        let found: Vec<String> = shards.iter().map(|shard| format!("{}: {}", shard.name, names(shard))).collect();
        assert_eq!(found, expected);
    }

    const TESTS: &[(&str, &str)] =
        &[("a", "6.1"), ("b", "6.12"), ("c", "6.12+base"), ("d", ""), ("e", "6.12"), ("f", "6.1 6.12")];

    #[test]
    fn tests_are_kept_together() {
        check(TESTS, By::Kernel, None, &["6.1: a", "6.1+6.12: f", "6.12: b c e", "host: d"]);
        check(TESTS, By::Image, None, &["base: c", "host: d", "no-image: a f b e"]);
        check(TESTS, By::Image, Some(4), &["base: c", "host: d", "no-image-1: a f", "no-image-2: b e"]);
        check(TESTS, By::Kernel, Some(2), &["6.12: b c e", "6.1,6.1+6.12,host: a f d"]);
        check(&TESTS[..2], By::Time, None, &["1: a", "2: b"]);
        let two = &[("a", "6.1"), ("b", "6.12"), ("c", "6.1"), ("d", "6.12")];
        check(two, By::Time, Some(2), &["1: a c", "2: b d"]);
        check(&TESTS[..3], By::Time, Some(1), &["1: a b c"]);
    }
}
