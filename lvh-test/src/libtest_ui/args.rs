//! The command line: libtest's, on top of libtest-mimic's parser.
//!
//! [`libtest_mimic::Arguments`] knows most options. What it lacks stands beside it in [`CommandLine`]; where it
//! contradicts libtest (`-q` against `--format`, `--test` against `--bench`, zero threads) the parser is changed before
//! it runs. Options that libtest only takes with `-Z unstable-options` are taken without it too, since a stable
//! compiler would let nobody pass `-Z`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::num::NonZero;
use std::thread::available_parallelism;
use std::{env, io};

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches, Parser};
use libtest_mimic::{Arguments, ColorSetting, FormatSetting};

use super::arg_error::{self, Refusal};

/// What the command line and libtest's environment variables ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of libtest's")]
pub(crate) struct Args {
    /// Names to run; any of them.
    pub(crate) filters: Vec<String>,
    /// Names not to run.
    pub(crate) skip: Vec<String>,
    /// Whether both are whole names.
    pub(crate) exact: bool,
    /// What becomes of ignored tests.
    pub(crate) ignored: RunIgnored,
    /// Leave out tests that should panic.
    pub(crate) exclude_should_panic: bool,
    /// `--bench` alone: nothing here is a benchmark, so libtest shows every test as ignored.
    pub(crate) only_benches: bool,
    /// List instead of running.
    pub(crate) list: bool,
    /// How to print.
    pub(crate) format: Format,
    /// Leave the tests' output alone.
    pub(crate) nocapture: bool,
    /// Print what passing tests wrote, too.
    pub(crate) show_output: bool,
    /// Print how long each test took.
    pub(crate) report_time: bool,
    /// Start no test after the first failure.
    pub(crate) fail_fast: bool,
    /// How many tests may run at a time.
    pub(crate) test_threads: usize,
    /// Whether to colour words.
    pub(crate) color: bool,
}

/// Which tests run as to `#[ignore]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunIgnored {
    /// Those without it.
    No,
    /// Only those with it.
    Only,
    /// All.
    Yes,
}

/// How the results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line per test.
    Pretty,
    /// A character per test.
    Terse,
    /// An event per line.
    Json,
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Refusal> {
    let matches = command().try_get_matches_from(args).map_err(|error| arg_error::refusal(&error))?;
    let line = CommandLine::from_arg_matches(&matches).map_err(|error| arg_error::refusal(&error))?;
    let variable = |name: &str| env::var(name).ok();
    line.into_args(variable, io::stdout().is_terminal())
}

#[derive(Debug, Parser)]
struct CommandLine {
    #[command(flatten)]
    libtest: Arguments,
    /// Further filters: a test runs if its name contains any of them
    #[arg(value_name = "FILTERS")]
    more_filters: Vec<String>,
    /// Don't capture stdout/stderr of each test, show it at once
    #[arg(long)]
    no_capture: bool,
    /// Don't start new tests after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Show the execution time of each test
    #[arg(long)]
    report_time: bool,
    /// Leave out tests marked as should_panic
    #[arg(long)]
    exclude_should_panic: bool,
    /// No-op: limits are the tests' own timeouts
    #[arg(long)]
    ensure_time: bool,
    /// No-op: each test is a process of its own
    #[arg(long)]
    force_run_in_process: bool,
    /// No-op: tests that share a VM run in the order of their names
    #[arg(long)]
    shuffle: bool,
    /// No-op, as --shuffle
    #[arg(long, value_name = "SEED")]
    shuffle_seed: Option<u64>,
}

fn command() -> clap::Command {
    CommandLine::command()
        .about(None)
        .override_usage("[OPTIONS] [FILTERS...]")
        .help_template("Usage: {usage}\n\n{all-args}\n\n{after-help}")
        .mut_arg("quiet", |arg| arg.conflicts_with(Resettable::Reset))
        .mut_arg("test", |arg| arg.conflicts_with(Resettable::Reset))
        .mut_arg("unstable_flags", |arg| arg.overrides_with("unstable_flags"))
        .mut_arg("test_threads", |arg| arg.value_parser(parse_threads))
        .mut_arg("nocapture", |arg| arg.help("As --no-capture"))
        .mut_arg("show_output", |arg| arg.help("Show the captured output of successful tests"))
        .mut_arg("logfile", |arg| arg.help("No-op (deprecated by libtest)"))
        .mut_arg("unstable_flags", |arg| arg.help("No-op: unstable options need no leave"))
        .mut_arg("test_threads", |arg| arg.help("Number of tests to run at a time"))
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("argument for --test-threads must not be 0".to_owned()),
        Ok(threads) => Ok(threads),
        Err(error) => Err(format!("argument for --test-threads must be a number > 0 (error: {error})")),
    }
}

impl CommandLine {
    fn into_args(self, variable: impl Fn(&str) -> Option<String>, terminal: bool) -> Result<Args, Refusal> {
        let libtest = self.libtest;
        let capture_variable = variable("RUST_TEST_NOCAPTURE").is_some_and(|value| value != "0");
        let nocapture = libtest.nocapture || self.no_capture || capture_variable;
        Ok(Args {
            ignored: run_ignored(&libtest)?,
            only_benches: libtest.bench && !libtest.test,
            format: format(&libtest),
            color: color(&libtest, terminal && !nocapture),
            test_threads: threads(libtest.test_threads, variable("RUST_TEST_THREADS"))?,
            filters: libtest.filter.into_iter().chain(self.more_filters).collect(),
            skip: libtest.skip,
            exact: libtest.exact,
            exclude_should_panic: self.exclude_should_panic,
            list: libtest.list,
            nocapture,
            show_output: libtest.show_output,
            report_time: self.report_time,
            fail_fast: self.fail_fast,
        })
    }
}

fn run_ignored(libtest: &Arguments) -> Result<RunIgnored, Refusal> {
    match (libtest.ignored, libtest.include_ignored) {
        (true, true) => Err(usage("the options --include-ignored and --ignored are mutually exclusive")),
        (true, false) => Ok(RunIgnored::Only),
        (false, true) => Ok(RunIgnored::Yes),
        (false, false) => Ok(RunIgnored::No),
    }
}

fn format(libtest: &Arguments) -> Format {
    match libtest.format {
        Some(FormatSetting::Json) => Format::Json,
        Some(FormatSetting::Terse) => Format::Terse,
        None if libtest.quiet => Format::Terse,
        Some(FormatSetting::Pretty) | None => Format::Pretty,
    }
}

fn color(libtest: &Arguments, auto: bool) -> bool {
    match libtest.color {
        Some(ColorSetting::Always) => true,
        Some(ColorSetting::Never) => false,
        Some(ColorSetting::Auto) | None => auto,
    }
}

fn threads(argument: Option<usize>, variable: Option<String>) -> Result<usize, Refusal> {
    match (argument, variable) {
        (Some(threads), _) => Ok(threads),
        (None, Some(text)) => match text.parse() {
            Ok(threads) if threads > 0 => Ok(threads),
            _ => Err(usage(format!("RUST_TEST_THREADS is `{text}`, should be a positive integer."))),
        },
        (None, None) => Ok(available_parallelism().map_or(1, NonZero::get)),
    }
}

fn usage(text: impl Into<String>) -> Refusal {
    Refusal::Usage(text.into())
}

#[cfg(test)]
mod tests {
    use super::{Args, CommandLine, Format, Refusal, RunIgnored, command};
    use crate::libtest_ui::arg_error;
    use clap::FromArgMatches;

    fn parse(line: &str, variables: &[(&str, &str)]) -> Result<Args, Refusal> {
        let args = std::iter::once("bin").chain(line.split_whitespace());
        let matches = command().try_get_matches_from(args).map_err(|error| arg_error::refusal(&error))?;
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        CommandLine::from_arg_matches(&matches).unwrap().into_args(variable, false)
    }

    #[track_caller]
    fn check_refused(line: &str, expected: &str) {
        assert_eq!(parse(line, &[]), Err(Refusal::Usage(expected.to_owned())), "{line}");
    }

    #[test]
    fn parser_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn filters_stand_anywhere() {
        let args =
            parse("one --exact two --skip a three --skip=b -Zunstable-options -Z unstable-options", &[]).unwrap();
        assert_eq!(args.filters, ["one", "two", "three"]);
        assert_eq!(args.skip, ["a", "b"]);
        assert!(args.exact);
    }

    #[test]
    fn takes_what_tools_send() {
        for line in [
            "--list --format terse --ignored",
            "--exact m::t --nocapture --ignored --bench",
            "m::t --exact --nocapture --include-ignored",
            "-Z unstable-options --format=json --no-capture",
            "--format=json -Z unstable-options --show-output",
            "--test --bench --report-time --ensure-time --shuffle --shuffle-seed 7 --fail-fast --logfile x -q --color auto",
        ] {
            parse(line, &[]).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}"));
        }
    }

    #[test]
    fn refuses_in_the_words_of_libtest() {
        check_refused("--nope", "Unrecognized option: 'nope'");
        check_refused("-x", "Unrecognized option: 'x'");
        check_refused("--test-threads=0", "argument for --test-threads must not be 0");
        check_refused(
            "--test-threads=x",
            "argument for --test-threads must be a number > 0 (error: invalid digit found in string)",
        );
        check_refused("--format=foo", "argument for --format must be pretty, terse, json or junit (was foo)");
        check_refused("--color=x", "argument for --color must be auto, always, or never (was x)");
        check_refused("--skip", "Argument to option 'skip' missing");
        check_refused("--exact --exact", "Option 'exact' given more than once");
        check_refused("-qq", "Option 'quiet' given more than once");
        check_refused("--quiet=3", "Option 'quiet' does not take an argument");
        check_refused(
            "--ignored --include-ignored",
            "the options --include-ignored and --ignored are mutually exclusive",
        );
    }

    #[test]
    fn variables_stand_in_for_flags() {
        let variables = [("RUST_TEST_THREADS", "3"), ("RUST_TEST_NOCAPTURE", "1")];
        let args = parse("", &variables).unwrap();
        assert_eq!((args.test_threads, args.nocapture), (3, true));
        assert_eq!(parse("--test-threads 5", &variables).unwrap().test_threads, 5);
        assert!(!parse("", &[("RUST_TEST_NOCAPTURE", "0")]).unwrap().nocapture);
        let refusal = Refusal::Usage("RUST_TEST_THREADS is `0`, should be a positive integer.".into());
        assert_eq!(parse("", &[("RUST_TEST_THREADS", "0")]), Err(refusal));
    }

    #[test]
    fn format_wins_over_quiet() {
        assert_eq!(parse("-q", &[]).unwrap().format, Format::Terse);
        assert_eq!(parse("-q --format pretty", &[]).unwrap().format, Format::Pretty);
        assert_eq!(parse("--ignored", &[]).unwrap().ignored, RunIgnored::Only);
    }
}
