//! What a run of the harness printed, taken apart.

use std::process::Command;

use crate::Finished;

/// A finished run and what it said of each test.
#[derive(Debug)]
pub struct Report(Finished);

impl Report {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        Self(Finished::of(command))
    }

    /// Takes what another run left.
    pub fn from(finished: Finished) -> Self {
        Self(finished)
    }

    /// The run itself.
    pub fn finished(&self) -> &Finished {
        &self.0
    }

    /// The word behind a test's name: `ok`, `FAILED`, `ignored, REASON`.
    ///
    /// # Panics
    /// If the run says nothing of the test.
    #[track_caller]
    pub fn result(&self, name: &str) -> &str {
        let line = self.0.stdout.lines().find_map(|line| {
            let rest = line.strip_prefix("test ")?.strip_prefix(name)?;
            rest.strip_prefix(" - should panic").unwrap_or(rest).strip_prefix(" ... ")
        });
        line.unwrap_or_else(|| panic!("no result of `{name}` in:\n{}\n{}", self.0.stdout, self.0.stderr))
    }

    /// What stands under a failed test's name, up to the next test's; empty where nothing does.
    pub fn block(&self, name: &str) -> &str {
        let head = format!("---- {name} stdout ----\n");
        let Some((_, rest)) = self.0.stdout.split_once(&head) else { return "" };
        let lines = rest.split_inclusive('\n');
        let of_next = |line: &&str| line.ends_with(" stdout ----\n") || *line == "failures:\n";
        let len: usize = lines.take_while(|line| !of_next(line)).map(str::len).sum();
        &rest[..len]
    }

    /// Asserts that a test failed and that its block holds `texts`, in this order.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check_failed(&self, name: &str, texts: &[&str]) {
        assert_eq!(self.result(name), "FAILED", "{name}");
        let block = self.block(name);
        let mut rest = block;
        for text in texts {
            let Some((_, after)) = rest.split_once(text) else { panic!("{name}: no `{text}` (in order) in:\n{block}") };
            rest = after;
        }
    }

    /// How many lines of standard error hold `text`.
    pub fn count_stderr(&self, text: &str) -> usize {
        self.0.stderr.lines().filter(|line| line.contains(text)).count()
    }
}
