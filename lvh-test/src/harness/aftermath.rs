//! What follows a run: reports beside libtest's own, for people and for other programs. None goes to standard output.

use lvh_core::Config;

use super::args::{Format, Settings};
use super::entry::under_nextest;
use super::github::Step;
use super::grid::Grid;
use super::printer::Printer;
use super::results::TestResult;
use super::surroundings::Surroundings;
use super::{junit, junit_file};

/// Reports `results`, which are in the order of the plan; whether all reports could be written.
#[must_use = "it decides the exit code"]
pub(crate) fn tell(results: &[TestResult], settings: &Settings, config: &Config, printer: &mut Printer) -> bool {
    let here = Surroundings::of_process();
    let step = Step::of_process();
    if let Some(step) = &step {
        printer.aside(&own_lines(step.annotations(results, &here), settings));
    }
    // nextest runs one test per process, and has reports of its own.
    if under_nextest() {
        return true;
    }
    if settings.format == Format::Pretty {
        printer.aside(&Grid::compact(results));
    }
    let summary = step.map_or(Ok(()), |step| step.summarise(results, &here));
    let written = [summary, write_junit(results, config, &here)];
    for error in written.iter().filter_map(|written| written.as_ref().err()) {
        printer.aside(&format!("error: {error}\n"));
    }
    written.iter().all(Result::is_ok)
}

/// Where tests write to standard error themselves, its last line may be open.
fn own_lines(text: String, settings: &Settings) -> String {
    if settings.nocapture && !text.is_empty() { format!("\n{text}") } else { text }
}

fn write_junit(results: &[TestResult], config: &Config, here: &Surroundings) -> Result<(), String> {
    let Some(setting) = &config.junit else { return Ok(()) };
    junit_file::write(setting, here, &junit::suites(&here.binary_id(), results))
}
