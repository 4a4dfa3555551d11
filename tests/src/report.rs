//! What a run of the harness printed, taken apart.

use std::path::Path;
use std::process::Command;

use crate::Finished;
use crate::target::cargo;

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

    /// The word behind a test's name: `ok`, `FAILED`, `ignored, REASON`. Where tests run one by one and are not captured, what the
    /// test wrote stands before it.
    ///
    /// # Panics
    /// If the run says nothing of the test.
    #[track_caller]
    pub fn result(&self, name: &str) -> &str {
        let is_word = |text: &str| ["ok", "FAILED"].contains(&text) || text.starts_with("ignored");
        let mut lines = self.0.stdout.lines();
        let first = lines.find_map(|line| {
            let rest = line.strip_prefix("test ")?.strip_prefix(name)?;
            rest.strip_prefix(" - should panic").unwrap_or(rest).strip_prefix(" ... ")
        });
        let word = first.and_then(|first| std::iter::once(first).chain(lines).find(|text| is_word(text)));
        word.unwrap_or_else(|| panic!("no result of `{name}` in:\n{}\n{}", self.0.stdout, self.0.stderr))
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

    /// The first line of what is said of the only failure.
    fn cause(&self) -> &str {
        self.0.stdout.lines().find(|line| line.starts_with("failed on ")).unwrap_or_default()
    }

    /// The line in a failed test's block that runs it again.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn rerun_line(&self, name: &str) -> &str {
        let block = self.block(name);
        let line = block.lines().find_map(|line| line.strip_prefix("run it again: "));
        line.unwrap_or_else(|| panic!("`{name}` cannot be run again:\n{block}"))
    }

    /// Has a shell do what the block of a failed test says: that test runs, no other, and fails. `executable` stands in for
    /// cargo, which takes its time to find out that there is nothing to build.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check_runs_again(&self, name: &str, target: &str, executable: Option<&Path>) {
        let line = self.rerun_line(name);
        let by_cargo = format!("cargo test -p lvh-tests {target} --");
        assert!(line.contains(&by_cargo), "{line}");
        let with = |path: &Path| line.replace(&by_cargo, path.to_str().expect("UTF-8"));
        let line = executable.map_or_else(|| line.to_owned(), with);
        // As by hand: of what this process has only what every shell has.
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env_clear().env("RUST_BACKTRACE", "0");
        let surroundings = cargo();
        command.current_dir(surroundings.get_current_dir().expect("cargo runs in a package"));
        let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR", "TMPDIR", "LVH_DATA_DIR"];
        command.envs(kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let again = Self::of(&mut command);
        let Finished { code, stdout, stderr } = again.finished();
        assert_eq!(*code, Some(101), "{line}\n{stdout}\n{stderr}");
        assert!(stdout.contains("test result: FAILED. 0 passed; 1 failed; 0 ignored; "), "{line}\n{stdout}\n{stderr}");
        // Numbers may be of processes, or of bytes that came before the end.
        let cause = |report: &Self| report.cause().replace(|c: char| c.is_ascii_digit(), "");
        let before = self.block(name).lines().find(|line| line.starts_with("failed on ")).unwrap_or_default();
        assert_eq!(cause(&again), before.replace(|c: char| c.is_ascii_digit(), ""), "{stdout}");
    }

    /// How many lines of standard error hold `text`.
    pub fn count_stderr(&self, text: &str) -> usize {
        self.0.stderr.lines().filter(|line| line.contains(text)).count()
    }
}
