//! What a user waits for once: the first build of a package that uses lvh.

use std::fs;

use serde_json::{Value, json};

use crate::bench::{Bench, PACKAGE};
use crate::measure::{self, Sample};
use crate::recipe::Recipe;

/// A build from nothing.
#[derive(Debug)]
pub(crate) struct FirstBuild {
    /// How long it took and what it cost.
    pub(crate) sample: Sample,
    /// Crates that cargo compiled, the package itself included.
    pub(crate) crates: usize,
}

impl FirstBuild {
    /// Builds the tests of `examples/hello` in an empty target directory.
    pub(crate) fn measure(bench: &Bench) -> Result<Self, String> {
        let target = bench.dir.join("first-build");
        let _ = fs::remove_dir_all(&target);
        let build = ["test", "--no-run", "--package", "hello"];
        let recipe = Recipe::new("cargo", PACKAGE).args(build).env("CARGO_TARGET_DIR", &target).expecting("Finished");
        let log = bench.log("first-build");
        let sample = measure::run(&recipe, &log);
        let _ = fs::remove_dir_all(&target);
        Ok(Self { sample: sample?, crates: crates(&fs::read_to_string(log).unwrap_or_default()) })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "crates": self.crates, "sample": self.sample.to_json() })
    }
}

fn crates(output: &str) -> usize {
    output.lines().filter(|line| line.trim_start().starts_with("Compiling ")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_counted() {
        assert_eq!(crates("   Compiling a v1\n  Downloaded b\n   Compiling b v2\n    Finished `test` profile\n"), 2);
    }
}
