//! The post-run reports: what follows a run beside libtest's own output, for people and for other programs. None goes to
//! standard output.

use std::path::Path;

use super::github::Step;
use super::table::Table;
use super::{junit, junit_file};
use crate::job::TestResult;
use crate::test_binary::{TestBinary, under_nextest};

/// How a run is shown, as far as its reports go by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// For people who want more than a line.
    pub(crate) in_full: bool,
    /// Tests write to standard error themselves, so that its last line may be open.
    pub(crate) live: bool,
}

/// Reports `results`, which are in the order of the plan, to files (JUnit's to where `LVH_JUNIT` has it) and by `aside`;
/// whether all could be written.
#[must_use = "it decides the exit code"]
pub(crate) fn tell(results: &[TestResult], shown: Shown, junit: Option<&Path>, mut aside: impl FnMut(&str)) -> bool {
    let here = TestBinary::of_process();
    let step = Step::of_process();
    if let Some(step) = &step {
        aside(&own_lines(step.annotations(results, &here), shown));
    }
    // nextest runs one test per process, and has reports of its own. What it does not know goes beside it in a directory.
    let alone = !under_nextest();
    if alone && shown.in_full {
        aside(&Table::compact(results));
    }
    let summary = step.filter(|_| alone).map_or(Ok(()), |step| step.summarise(results, &here));
    let junit = junit.filter(|junit| alone || junit_file::is_directory(junit, &here));
    let written = [summary, write_junit(results, junit, &here)];
    for error in written.iter().filter_map(|written| written.as_ref().err()) {
        aside(&format!("error: {error}\n"));
    }
    written.iter().all(Result::is_ok)
}

fn own_lines(text: String, shown: Shown) -> String {
    if shown.live && !text.is_empty() { format!("\n{text}") } else { text }
}

fn write_junit(results: &[TestResult], setting: Option<&Path>, here: &TestBinary) -> Result<(), String> {
    let Some(setting) = setting else { return Ok(()) };
    junit_file::write(setting, here, &junit::suites(&here.binary_id(), results))
}
