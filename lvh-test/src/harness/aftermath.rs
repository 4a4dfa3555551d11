//! What follows a run: reports beside libtest's own, for people and for other programs. None goes to standard output.

use lvh_core::Config;

use super::entry::under_nextest;
use super::github::Step;
use super::grid::Grid;
use super::results::TestResult;
use super::surroundings::Surroundings;
use super::{junit, junit_file};

/// How a run is shown, as far as its reports go by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// For people who want more than a line.
    pub(crate) in_full: bool,
    /// Tests write to standard error themselves, so that its last line may be open.
    pub(crate) live: bool,
}

/// Reports `results`, which are in the order of the plan, to files and by `aside`; whether all could be written.
#[must_use = "it decides the exit code"]
pub(crate) fn tell(results: &[TestResult], shown: Shown, config: &Config, mut aside: impl FnMut(&str)) -> bool {
    let here = Surroundings::of_process();
    let step = Step::of_process();
    if let Some(step) = &step {
        aside(&own_lines(step.annotations(results, &here), shown));
    }
    // nextest runs one test per process, and has reports of its own.
    if under_nextest() {
        return true;
    }
    if shown.in_full {
        aside(&Grid::compact(results));
    }
    let summary = step.map_or(Ok(()), |step| step.summarise(results, &here));
    let written = [summary, write_junit(results, config, &here)];
    for error in written.iter().filter_map(|written| written.as_ref().err()) {
        aside(&format!("error: {error}\n"));
    }
    written.iter().all(Result::is_ok)
}

fn own_lines(text: String, shown: Shown) -> String {
    if shown.live && !text.is_empty() { format!("\n{text}") } else { text }
}

fn write_junit(results: &[TestResult], config: &Config, here: &Surroundings) -> Result<(), String> {
    let Some(setting) = &config.junit else { return Ok(()) };
    junit_file::write(setting, here, &junit::suites(&here.binary_id(), results))
}
