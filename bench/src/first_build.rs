//! What a user waits for once: the first build of a package that uses lvh.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::bench::{Bench, PACKAGE};
use crate::compiler::{self, Call};
use crate::measure::{self, Sample};
use crate::recipe::Recipe;
use crate::table;

/// A build from nothing.
#[derive(Debug)]
pub(crate) struct FirstBuild {
    /// How long it took and what it cost.
    pub(crate) sample: Sample,
    /// Crates that cargo compiled, the package itself included.
    pub(crate) crates: usize,
    /// Whose that was.
    parts: Vec<Part>,
}

/// What a part of a build costs.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    name: String,
    /// User and system time, in seconds.
    cpu: f64,
}

/// The package that is built.
const EXAMPLE: &str = "hello";
/// What is ours, in the order of the table: lvh-init is made by lvh-core's build script.
const OURS: [&str; 5] = ["lvh-core", "lvh-init", "lvh-test", "lvh-test-macros", EXAMPLE];
/// What costs less of the whole has no line of its own.
const LEAST: f64 = 0.02;

impl FirstBuild {
    /// Builds the tests of `examples/hello` in an empty target directory.
    pub(crate) fn measure(bench: &Bench) -> Result<Self, String> {
        let (target, calls) = (bench.dir.join("first-build"), bench.log("first-build-compilers"));
        let _ = (fs::remove_dir_all(&target), fs::remove_file(&calls));
        let build = ["test", "--no-run", "--package", EXAMPLE];
        let recipe = Recipe::new("cargo", PACKAGE).args(build).env("CARGO_TARGET_DIR", &target).expecting("Finished");
        let log = bench.log("first-build");
        let sample = measure::run(&compiler::noting(recipe, &calls)?, &log);
        let _ = fs::remove_dir_all(&target);
        let (sample, text) = (sample?, |file| fs::read_to_string(file).unwrap_or_default());
        let parts = parts(&compiler::calls(&text(&calls)), sample.cpu);
        Ok(Self { sample, crates: crates(&text(&log)), parts })
    }

    /// What a person reads.
    pub(crate) fn table(&self) -> String {
        let head = ["first build: CPU of", "s", "%"].map(str::to_owned).to_vec();
        let share = |cpu: f64| format!("{:.0}", cpu / self.sample.cpu * 100.0);
        let row = |part: &Part| vec![part.name.clone(), format!("{:.1}", part.cpu), share(part.cpu)];
        table::render(&[vec![head], self.parts.iter().map(row).collect()].concat())
    }

    pub(crate) fn to_json(&self) -> Value {
        let parts = self.parts.iter().map(|part| json!({ "name": part.name, "cpu_s": part.cpu }));
        json!({ "crates": self.crates, "sample": self.sample.to_json(), "parts": parts.collect::<Vec<_>>() })
    }
}

fn crates(output: &str) -> usize {
    output.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count()
}

/// Who took what of `total`: ours, the larger ones of the others, the rest; then both in all.
fn parts(calls: &[Call], total: f64) -> Vec<Part> {
    let mut costs: BTreeMap<&str, f64> = BTreeMap::new();
    for call in calls {
        *costs.entry(owner(call)).or_default() += call.cpu;
    }
    let part = |name: &str, cpu| Part { name: name.to_owned(), cpu };
    let ours = OURS.map(|name| part(name, costs.remove(name).unwrap_or_default()));
    // What cargo asked the compiler for itself is cargo's.
    costs.remove("");
    let mut others: Vec<Part> = costs.into_iter().map(|(name, cpu)| part(name, cpu)).collect();
    others.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    let small = others.split_off(others.partition_point(|part| part.cpu > total * LEAST));
    let (lvh, foreign) = (sum(&ours), sum(&others) + sum(&small));
    let rest = part(&format!("{} smaller crates", small.len()), sum(&small));
    let host = part("cargo, build scripts", total - lvh - foreign);
    let sums = [part("lvh and the example in all", lvh), part("other crates in all", foreign)];
    ours.into_iter().chain(others).chain([rest, host]).chain(sums).collect()
}

/// The package that a call was for; lvh-init counts as one.
fn owner(call: &Call) -> &str {
    if call.name == "lvh_init" { "lvh-init" } else { &call.package }
}

fn sum(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.cpu).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_counted() {
        assert_eq!(crates("   Compiling a v1\n  Downloaded b\n   Compiling b v2\n    Finished `test` profile\n"), 2);
    }

    #[test]
    fn parts_are_ours_then_the_larger_ones_then_sums() {
        let calls = [
            ("", "___", 0.5),
            ("lvh-core", "build_script_build", 1.0),
            ("lvh-core", "lvh_init", 4.0),
            ("lvh-core", "lvh_core", 20.0),
            ("lvh-test", "lvh_test", 10.0),
            ("lvh-test-macros", "lvh_test_macros", 3.0),
            ("hello", "tests", 2.0),
            ("syn", "syn", 6.0),
            ("tokio", "tokio", 12.0),
            ("libc", "build_script_build", 0.5),
            ("libc", "libc", 1.0),
            ("quote", "quote", 1.0),
        ];
        let calls = calls.map(|(package, name, cpu)| Call { package: package.into(), name: name.into(), cpu });
        let expected = [
            ("lvh-core", 21.0),
            ("lvh-init", 4.0),
            ("lvh-test", 10.0),
            ("lvh-test-macros", 3.0),
            ("hello", 2.0),
            ("tokio", 12.0),
            ("syn", 6.0),
            ("2 smaller crates", 2.5),
            ("cargo, build scripts", 39.5),
            ("lvh and the example in all", 40.0),
            ("other crates in all", 20.5),
        ];
        assert_eq!(parts(&calls, 100.0), expected.map(|(name, cpu)| Part { name: name.into(), cpu }));
    }
}
