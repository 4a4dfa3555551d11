//! The test binary's `main`.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use lvh_core::Config;
use lvh_core::config::Mode;

use super::args::{self, Refusal, Settings};
use super::instance::{Instance, Target, expand};
use super::listing::listing;
use super::selection::select;
use super::{lifeline, printer, runner};
use crate::case::TestCase;
use crate::guest_mode::{self, FAILURE, Request};

/// Runs one test in guest mode, or the harness.
pub fn main() -> ExitCode {
    if let Some(request) = Request::take_from_env() {
        return ExitCode::from(guest_mode::run(&request));
    }
    match args::parse(env::args_os()).and_then(|settings| run(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILURE),
        Err(Refusal::Help(text)) => {
            printer::print(&text);
            ExitCode::SUCCESS
        }
        Err(Refusal::Usage(text)) => {
            notice(&format!("error: {text}"));
            ExitCode::from(FAILURE)
        }
    }
}

/// Lists or runs what is selected; whether all went well.
fn run(settings: &Settings) -> Result<bool, Refusal> {
    let config = config().map_err(|error| Refusal::Usage(error.report()))?;
    let all = expand(inventory::iter::<TestCase>(), &target(&config));
    let selected = select(&all, settings);
    if settings.list {
        printer::print(&listing(&selected, settings.format));
        return Ok(true);
    }
    lifeline::hold();
    check_selection(settings, &all, &selected)?;
    Ok(runner::run(&selected, all.len() - selected.len(), settings, &config))
}

/// What holds in the package that the tests belong to; cargo names it, and without cargo it is where we are.
pub(crate) fn config() -> lvh_core::Result<Config> {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from);
    Config::for_process(&package)
}

pub(crate) fn target(config: &Config) -> Target {
    match config.mode {
        Mode::Host => Target::Host,
        Mode::Vm => Target::Kernels(config.default_kernels.clone()),
    }
}

/// libtest runs nothing and is content; that hides mistakes where a name should have matched.
fn check_selection(settings: &Settings, all: &[Arc<Instance>], selected: &[Arc<Instance>]) -> Result<(), Refusal> {
    if all.is_empty() {
        notice("note: no `#[lvh::test]` function is linked into this test binary");
    }
    if under_nextest() && settings.exact && selected.is_empty() {
        let names = settings.filters.join("`, `");
        return Err(Refusal::Usage(format!(
            "nextest asked for `{names}`, which is not among the tests that were listed"
        )));
    }
    Ok(())
}

/// Whether nextest runs us: then each test is a process of its own.
pub(crate) fn under_nextest() -> bool {
    env::var_os("NEXTEST").is_some_and(|value| value == "1")
}

/// Standard error is for what is not a result.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
