//! Lists of what should have run.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

/// A test as `cargo nextest list` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpectedTest {
    pub(super) binary: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct List {
    rust_suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    /// Empty where its binary was not asked.
    #[serde(default)]
    testcases: BTreeMap<String, Testcase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Testcase {
    ignored: bool,
    filter_match: FilterMatch,
}

#[derive(Deserialize)]
struct FilterMatch {
    status: String,
}

/// The tests of `cargo nextest list`, of its JSON or of `--message-format oneline`.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<ExpectedTest>> {
    let tests = if text.trim_start().starts_with('{') { of_json(text) } else { of_lines(text) }?;
    anyhow::ensure!(
        !tests.is_empty(),
        "it names no test\n\nhint: `cargo nextest list --message-format json` writes such a list"
    );
    Ok(tests)
}

fn of_json(text: &str) -> anyhow::Result<Vec<ExpectedTest>> {
    let list: List =
        serde_json::from_str(text).context("it is no list of `cargo nextest list --message-format json`")?;
    let suites = list.rust_suites.into_iter().flat_map(|(binary, suite)| {
        let runs = |(_, case): &(String, Testcase)| !case.ignored && case.filter_match.status == "matches";
        suite.testcases.into_iter().filter(runs).map(move |(name, _)| ExpectedTest { binary: binary.clone(), name })
    });
    Ok(suites.collect())
}

/// A binary and a test on each line.
fn of_lines(text: &str) -> anyhow::Result<Vec<ExpectedTest>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let tests = lines.map(|(number, line)| {
        let (binary, name) = line.trim().split_once(' ').with_context(|| {
            format!(
                "line {}: expected a test binary and a test, as `cargo nextest list --message-format oneline` has them",
                number + 1
            )
        })?;
        Ok(ExpectedTest { binary: binary.to_owned(), name: name.to_owned() })
    });
    tests.collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &str>) {
        match (parse(text), expected) {
            (Ok(tests), Ok(expected)) => {
                let tests: Vec<String> = tests.iter().map(|test| format!("{} {}", test.binary, test.name)).collect();
                assert_eq!(tests, expected);
            }
            (Err(error), Err(expected)) => assert!(format!("{error:#}").starts_with(expected), "{error:#}"),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_of_nextest() {
        check("p::it a::b\np::it a::c::6.12\n\n", Ok(&["p::it a::b", "p::it a::c::6.12"]));
        check("p::it a\nb\n", Err("line 2: expected a test binary and a test"));
        check("", Err("it names no test"));
        check("{}", Err("it is no list of `cargo nextest list"));
        let case = |name: &str, ignored: bool, status: &str| {
            format!(r#""{name}":{{"kind":"test","ignored":{ignored},"filter-match":{{"status":"{status}"}}}}"#)
        };
        let cases = [case("a", false, "matches"), case("b", true, "matches"), case("c", false, "mismatch")].join(",");
        let suites = format!(r#""p":{{"status":"listed","testcases":{{{cases}}}}},"q":{{"status":"skipped"}}"#);
        check(&format!(r#"{{"test-count":3,"rust-suites":{{{suites}}}}}"#), Ok(&["p a"]));
    }
}
