//! How long tests took in earlier runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::listing::{Binary, Test};

/// Seconds of tests, from JUnit files.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// By binary and test; several where it ran several times.
    seconds: HashMap<(String, String), Vec<f64>>,
}

/// What a test takes where no time at all is known; only ratios count then.
const UNKNOWN: f64 = 1.0;

impl Times {
    /// Reads JUnit files: the name of a case, and the binary's id as its class.
    pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut times = Self::default();
        for file in files {
            times.add(file).with_context(|| format!("failed to read the times of `{}`", file.display()))?;
        }
        Ok(times)
    }

    fn add(&mut self, file: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(file)?;
        let document = roxmltree::Document::parse(&text)?;
        for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
            let skipped = case.children().any(|node| node.has_tag_name("skipped"));
            let time = case.attribute("time").and_then(|time| time.parse::<f64>().ok());
            let (Some(name), Some(time)) =
                (case.attribute("name"), time.filter(|time| time.is_finite() && *time >= 0.0))
            else {
                continue;
            };
            if !skipped {
                let class = case.attribute("classname").unwrap_or_default();
                self.seconds.entry((class.to_owned(), name.to_owned())).or_default().push(time);
            }
        }
        Ok(())
    }

    /// What each test is expected to take: its mean; one without a time, the median of its binary, else of all.
    pub(crate) fn expected(&self, tests: &[Test]) -> Vec<f64> {
        let known: Vec<Option<f64>> = tests.iter().map(|test| self.of(test)).collect();
        let mut of_binaries: HashMap<&Binary, Vec<f64>> = HashMap::new();
        for (test, time) in tests.iter().zip(&known).filter_map(|(test, time)| Some((test, (*time)?))) {
            of_binaries.entry(&test.binary).or_default().push(time);
        }
        let of_all = median(known.iter().copied().flatten().collect()).unwrap_or(UNKNOWN);
        let usual: HashMap<&Binary, f64> =
            of_binaries.into_iter().filter_map(|(binary, times)| Some((binary, median(times)?))).collect();
        let guess = |test: &Test| usual.get(&test.binary).copied().unwrap_or(of_all);
        // Nothing takes no time at all.
        tests.iter().zip(&known).map(|(test, time)| time.unwrap_or_else(|| guess(test)).max(0.001)).collect()
    }

    /// A test's own time, or those of its kernels, where lvh's report has them apart.
    fn of(&self, test: &Test) -> Option<f64> {
        let mean = |name: &str| {
            let times = self.find(&test.binary, name)?;
            Some(times.iter().sum::<f64>() / times.len() as f64)
        };
        mean(&test.name).or_else(|| {
            let of_aliases: Vec<f64> = test.aliases.iter().filter_map(|alias| mean(alias)).collect();
            (!of_aliases.is_empty()).then(|| of_aliases.iter().sum())
        })
    }

    fn find(&self, binary: &Binary, name: &str) -> Option<&Vec<f64>> {
        match binary {
            Binary::Id(id) => self.seconds.get(&(id.clone(), name.to_owned())),
            Binary::Name(binary) => {
                let is_it = |class: &str| class.rsplit("::").next().is_some_and(|last| last == binary);
                self.seconds.iter().find(|((class, test), _)| test == name && is_it(class)).map(|(_, times)| times)
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A test of a binary, on the host.
    pub(in crate::ci) fn test(binary: &str, name: &str) -> Test {
        Test { binary: Binary::Id(binary.into()), name: name.into(), aliases: Vec::new(), places: Vec::new() }
    }

    fn times(xml: &str) -> Times {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), xml).unwrap();
        Times::read(&[file.path().to_owned()]).unwrap()
    }

    #[test]
    fn times_are_found_by_name_or_guessed() {
        let times = times(
            r#"<testsuites><testsuite name="p::it"><testcase classname="p::it" name="a" time="3"/>
               <testcase classname="p::it" name="a" time="5"/><testcase classname="p::it" name="b" time="0"/>
               <testcase classname="p::it" name="c" time="9"><failure/></testcase>
               <testcase classname="p::it" name="d" time="99"><skipped/></testcase></testsuite>
               <testsuite name="p@6.1"><testcase classname="p" name="m::6.1" time="1.5"/></testsuite>
               <testsuite name="p@7.x"><testcase classname="p" name="m::7.x" time="2"/></testsuite></testsuites>"#,
        );
        let check = |test: Test, expected: f64| {
            let all = [test, self::test("p::it", "a"), self::test("p::it", "b"), self::test("p::it", "c")];
            assert_eq!(times.expected(&all)[0], expected, "{:?}", all[0]);
        };
        check(test("p::it", "a"), 4.0);
        check(test("p::it", "b"), 0.001);
        check(test("p::it", "c"), 9.0);
        check(test("p::it", "d"), 4.0);
        check(test("p::other", "a"), 4.0);
        let of_lone = |name: &str| Test { binary: Binary::Name("it".into()), ..test("", name) };
        check(of_lone("c"), 9.0);
        let aliases = ["m::6.1", "m::7.x"].map(str::to_owned).to_vec();
        check(Test { aliases, ..test("p", "m") }, 3.5);
        assert_eq!(Times::default().expected(&[test("p", "x")]), [UNKNOWN]);
    }

    #[test]
    fn what_is_no_report_is_named() {
        let error = Times::read(&["/no/such/file.xml".into()]).unwrap_err();
        assert!(format!("{error:#}").starts_with("failed to read the times of `/no/such/file.xml`: "), "{error:#}");
    }
}
