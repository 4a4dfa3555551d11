//! Calls of the program `git`.

use std::path::Path;
use std::time::Duration;

use crate::process::Tool;
use crate::store::Lock;
use crate::{Error, Event, Events, Result};

/// Variables with which git's own hooks, and shells within them, point at another repository.
const FOREIGN: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG",
];
/// A clone of Linux over a slow line.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);
/// git removes its lock files and half-made worktrees when it is asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// git in one directory, or with one repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Git<'g> {
    pub(super) dir: &'g Path,
    pub(super) locks: &'g [Lock],
    pub(super) subject: &'g str,
    pub(super) events: &'g Events,
}

impl Git<'_> {
    /// Runs `git ARGS`, and returns what it prints.
    pub(super) fn run(&self, args: &[&str]) -> Result<String> {
        Ok(self.tool(args)?.run().map_err(in_its_words)?.trim_end().to_owned())
    }

    /// As [`Git::run`], for what takes its time: tells how far it is.
    pub(super) fn run_long(&self, step: &str, args: &[&str]) -> Result<String> {
        self.events.step(self.subject, step);
        let mut last = None;
        let said = self.tool(args)?.run_watching(&mut |stderr| {
            let progress = progress_of(&stderr());
            if progress == last {
                return;
            }
            last.clone_from(&progress);
            let Some((detail, done, total)) = progress else { return };
            let (subject, step) = (self.subject.to_owned(), step.to_owned());
            self.events.send(Event::Count { subject, step, done, total: Some(total), detail });
        });
        said.map_err(in_its_words)
    }

    /// Whether `git ARGS` ends with success.
    pub(super) fn succeeds(&self, args: &[&str]) -> bool {
        self.tool(args).and_then(Tool::run).is_ok()
    }

    fn tool(&self, args: &[&str]) -> Result<Tool> {
        // Advice is for people, and automatic maintenance would go on behind our back.
        let settings = ["advice.detachedHead=false", "gc.auto=0", "user.name=lvh", "user.email=lvh@localhost"];
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let mut tool = Tool::new("git", "git")?.without_vars(FOREIGN).dir(self.dir).args(settings).args(args);
        // It has no terminal to ask on. A desktop's program that asks in a window is not what its user chose for this.
        tool = tool.var("GIT_TERMINAL_PROMPT", "0");
        if std::env::var_os("SSH_ASKPASS_REQUIRE").is_none() {
            tool = tool.var("SSH_ASKPASS", "");
        }
        let called = format!("git {}", args.first().unwrap_or(&""));
        let tool = tool.called(&called).deadline(DEADLINE).cleans_up(GRACE);
        Ok(self.locks.iter().fold(tool, Tool::inherit))
    }
}

/// With git's reason first.
fn in_its_words(error: Error) -> Error {
    let said = error.output().unwrap_or_default();
    match said.lines().find_map(|line| line.strip_prefix("fatal: ")) {
        Some(why) => Error::new(error.kind(), why).with_source(error),
        None => error,
    }
}

/// What the last line of git's progress says, such as `Receiving objects:  42% (123/456), 12 MiB`.
fn progress_of(stderr: &str) -> Option<(String, u64, u64)> {
    stderr.rsplit(['\r', '\n']).find_map(|line| {
        let (what, rest) = line.strip_prefix("remote: ").unwrap_or(line).split_once(':')?;
        let (done, total) = rest.split_once('(')?.1.split_once(')')?.0.split_once('/')?;
        Some((what.to_lowercase(), done.parse().ok()?, total.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_begins_with_gits_reason() {
        let git = Git { dir: Path::new("/"), locks: &[], subject: "kernel `k`", events: &Events::silent() };
        let report = git.run(&["ls-remote", "/nowhere/linux"]).unwrap_err().report();
        let expected =
            "'/nowhere/linux' does not appear to be a git repository: `git ls-remote` ended with exit code 128\n";
        assert!(report.starts_with(expected), "{report}");
    }

    #[test]
    fn the_last_progress_counts() {
        let check = |stderr: &str, expected: Option<(&str, u64, u64)>| {
            let expected = expected.map(|(what, done, total)| (what.to_owned(), done, total));
            assert_eq!(progress_of(stderr), expected, "{stderr:?}");
        };
        check("", None);
        check("From file:///x\n * [new branch] a -> b\n", None);
        check(
            "remote: Counting objects:  50% (3/6)\rremote: Counting objects: 100% (6/6)",
            Some(("counting objects", 6, 6)),
        );
        check(
            "remote: Total 6\nReceiving objects:  42% (123/456), 12.00 MiB | 1.00 MiB/s\rReceiving obj",
            Some(("receiving objects", 123, 456)),
        );
    }
}
