//! The test binary's `main`.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use super::plan::{Target, expand};
use super::{lifeline, runner};
use crate::case::TestCase;
use crate::guest_mode::{self, FAILURE, Request};
use crate::job::Instance;
use crate::libtest_ui::{self, Args, Refusal, print, select};
use crate::settings::Setup;
use crate::test_binary::under_nextest;

/// Defines the test binary's `main`; stands at the end of a test file with `harness = false`.
///
/// ```no_run
/// lvh::main!();
/// ```
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::__private::main()
        }
    };
}

/// Runs one test in guest mode, or the harness.
pub fn main() -> ExitCode {
    if let Some(request) = Request::take_from_env() {
        return ExitCode::from(guest_mode::run(&request));
    }
    match libtest_ui::parse(env::args_os()).and_then(|args| run(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILURE),
        Err(Refusal::Help(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(Refusal::Usage(text)) => {
            notice(&format!("error: {text}"));
            ExitCode::from(FAILURE)
        }
    }
}

/// Lists or runs what is selected; whether all went well.
fn run(args: &Args) -> Result<bool, Refusal> {
    let setup = Setup::of_process().map_err(|error| Refusal::Usage(error.report()))?;
    let all = expand(inventory::iter::<TestCase>(), &Target::of(&setup));
    let selected = select(&all, args);
    if args.list {
        print(&libtest_ui::listing(&selected, args.format));
        return Ok(true);
    }
    let refused = |error: lvh_core::Error| Refusal::Usage(error.report());
    lifeline::end_with_cargo().map_err(refused)?;
    check_selection(args, &all, &selected)?;
    runner::run(&selected, all.len() - selected.len(), args, &setup).map_err(refused)
}

/// libtest runs nothing and is content; that hides mistakes where a name should have matched.
fn check_selection(args: &Args, all: &[Instance], selected: &[Instance]) -> Result<(), Refusal> {
    if all.is_empty() {
        notice("note: no `#[lvh::test]` function is linked into this test binary");
    }
    if under_nextest() && args.exact && selected.is_empty() {
        let names = args.filters.join("`, `");
        return Err(Refusal::Usage(format!(
            "nextest asked for `{names}`, which is not among the tests that were listed"
        )));
    }
    Ok(())
}

/// Standard error is for what is not a result.
fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
