//! libtest's text for people: the pretty format, the terse one, and the summary that both share.

use std::time::Duration;

use crate::job::{Instance, Outcome, Verdict};

/// How many characters the terse format puts in a line; libtest's number.
const TERSE_COLUMNS: usize = 88;

/// How many tests ended how.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    pub(crate) filtered_out: usize,
}

/// Colours words, or does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn green(self, word: &str) -> String {
        self.wrap(32, word)
    }

    fn yellow(self, word: &str) -> String {
        self.wrap(33, word)
    }

    fn red(self, word: &str) -> String {
        self.wrap(31, word)
    }

    /// libtest takes the sequences from terminfo; these are xterm's.
    fn wrap(self, code: u8, word: &str) -> String {
        if self.0 { format!("\x1b[{code}m{word}\x1b(B\x1b[m") } else { word.to_owned() }
    }
}

/// A line per test.
#[derive(Debug)]
pub(crate) struct Pretty {
    pub(crate) paint: Paint,
    /// Whether tests run side by side: then their names come with their results.
    pub(crate) parallel: bool,
    pub(crate) report_time: bool,
    /// Whether `#[ignore]` holds; libtest then forgets what else a test is.
    pub(crate) ignores: bool,
}

impl Pretty {
    pub(crate) fn test_started(&self, instance: &Instance) -> String {
        if self.parallel { String::new() } else { self.label(instance) }
    }

    pub(crate) fn test_finished(&self, instance: &Instance, outcome: &Outcome) -> String {
        let label = if self.parallel { self.label(instance) } else { String::new() };
        let word = match &outcome.verdict {
            Verdict::Passed => self.paint.green("ok"),
            Verdict::Failed { .. } => self.paint.red("FAILED"),
            Verdict::Ignored { reason } if reason.is_empty() => self.paint.yellow("ignored"),
            Verdict::Ignored { reason } => self.paint.yellow(&format!("ignored, {reason}")),
        };
        format!("{label}{word}{}\n", self.time(outcome))
    }

    fn label(&self, instance: &Instance) -> String {
        let forgotten = self.ignores && instance.ignore.is_some();
        let mode = if instance.should_panic.is_some() && !forgotten { " - should panic" } else { "" };
        format!("test {}{mode} ... ", instance.name)
    }

    fn time(&self, outcome: &Outcome) -> String {
        match &outcome.verdict {
            Verdict::Passed | Verdict::Failed { .. } if self.report_time => {
                format!(" <{:.3}s>", outcome.duration.as_secs_f64())
            }
            _ => String::new(),
        }
    }
}

/// What the pretty formats say of a test that takes long.
pub(crate) fn slow(name: &str, limit: Duration) -> String {
    format!("test {name} has been running for over {} seconds\n", limit.as_secs())
}

/// A character per test; a line for a failure.
#[derive(Debug)]
pub(crate) struct Terse {
    pub(crate) paint: Paint,
    pub(crate) total: usize,
    finished: usize,
    column: usize,
}

impl Terse {
    pub(crate) fn new(paint: Paint, total: usize) -> Self {
        Self { paint, total, finished: 0, column: 0 }
    }

    pub(crate) fn test_finished(&mut self, instance: &Instance, outcome: &Outcome) -> String {
        match &outcome.verdict {
            Verdict::Passed => self.short(&self.paint.green(".")),
            Verdict::Ignored { .. } => self.short(&self.paint.yellow("i")),
            Verdict::Failed { .. } => self.failed(&instance.name),
        }
    }

    fn short(&mut self, sign: &str) -> String {
        self.finished += 1;
        self.column += 1;
        let progress = if self.column == TERSE_COLUMNS - 1 { self.progress() } else { String::new() };
        format!("{sign}{progress}")
    }

    fn failed(&mut self, name: &str) -> String {
        let progress = if self.column == 0 { String::new() } else { self.progress() };
        self.finished += 1;
        format!("{progress}{name} --- {}\n", self.paint.red("FAILED"))
    }

    fn progress(&mut self) -> String {
        self.column = 0;
        format!(" {}/{}\n", self.finished, self.total)
    }
}

pub(crate) fn suite_started(count: usize) -> String {
    let noun = if count == 1 { "test" } else { "tests" };
    format!("\nrunning {count} {noun}\n")
}

/// The `failures:` (or `successes:`) part of the summary: each test's block, then the names.
pub(crate) fn section(title: &str, tests: &[(String, String)]) -> String {
    let blocks: String = tests
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("---- {name} stdout ----\n{text}\n"))
        .collect();
    let gap = if blocks.is_empty() { "" } else { "\n" };
    let mut names: Vec<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let names: String = names.iter().map(|name| format!("    {name}\n")).collect();
    format!("\n{title}:\n{gap}{blocks}\n{title}:\n{names}")
}

pub(crate) fn result_line(paint: Paint, tally: &Tally, duration: Duration) -> String {
    let Tally { passed, failed, ignored, filtered_out } = tally;
    let word = if *failed == 0 { paint.green("ok") } else { paint.red("FAILED") };
    let seconds = duration.as_secs_f64();
    format!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered_out} \
         filtered out; finished in {seconds:.2}s\n\n"
    )
}

/// `--list` for people, or without its last lines for programs.
pub(crate) fn listing(instances: &[Instance], terse: bool) -> String {
    let lines: String = instances.iter().map(|instance| format!("{}: test\n", instance.name)).collect();
    if terse { lines } else { lines + &total(instances.len()) }
}

fn total(count: usize) -> String {
    let gap = if count == 0 { "" } else { "\n" };
    let noun = if count == 1 { "test" } else { "tests" };
    format!("{gap}{count} {noun}, 0 benchmarks\n")
}
