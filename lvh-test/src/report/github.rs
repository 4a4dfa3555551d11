//! What GitHub Actions is told: an annotation of each failure, and a summary of the run.
//!
//! Annotations are workflow commands, which the runner takes from either stream of a step, wherever a line begins with
//! `::`, also behind blanks. The summary is Markdown, appended to a file of the step.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::table::Table;
use crate::job::{TestResult, Verdict};
use crate::test_binary::TestBinary;

/// A step of a workflow, in which we run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// `GITHUB_WORKSPACE`: what paths in annotations are relative to.
    checkout: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`: the file for Markdown.
    summary: Option<PathBuf>,
}

impl Step {
    /// The step that runs this process, if one does.
    pub(crate) fn of_process() -> Option<Self> {
        Self::from_env(|name| env::var_os(name))
    }

    fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let runs_us = lookup("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        runs_us.then(|| Self { checkout: path("GITHUB_WORKSPACE"), summary: path("GITHUB_STEP_SUMMARY") })
    }

    /// A line for each failed test.
    pub(crate) fn annotations(&self, results: &[TestResult], here: &TestBinary) -> String {
        results.iter().filter_map(|result| self.annotation(result, here)).collect()
    }

    fn annotation(&self, result: &TestResult, here: &TestBinary) -> Option<String> {
        let message = result.failure()?;
        let (file, line) = self.position(result, here);
        Some(format!(
            "::error file={},line={line},title={}::{}\n",
            property(&file.to_string_lossy()),
            property(&format!("{} failed", result.title())),
            data(message.trim_end()),
        ))
    }

    /// Where the failure is, in the checkout: the panic, or the test.
    fn position(&self, result: &TestResult, here: &TestBinary) -> (PathBuf, u32) {
        let instance = &result.instance;
        let panic = result.outcome.panic.as_ref();
        let panic = panic.and_then(|panic| Some((self.in_checkout(&panic.file, here)?, panic.line)));
        panic.unwrap_or_else(|| {
            (self.in_checkout(&instance.file, here).unwrap_or_else(|| instance.file.clone().into()), instance.line)
        })
    }

    /// `file` as the compiler named it, relative to the checkout; `None` where it is not in there.
    fn in_checkout(&self, file: &str, here: &TestBinary) -> Option<PathBuf> {
        let path = here.workspace.join(file);
        match &self.checkout {
            Some(checkout) => path.strip_prefix(checkout).ok().map(Path::to_owned),
            None => path.strip_prefix(&here.workspace).ok().map(Path::to_owned),
        }
    }

    /// Adds the summary of `results` to that of the step.
    pub(crate) fn summarise(&self, results: &[TestResult], here: &TestBinary) -> Result<(), String> {
        let Some(path) = self.summary.as_ref().filter(|_| !results.is_empty()) else { return Ok(()) };
        let text = summary(&here.binary_id(), results);
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| format!("failed to write the job summary `{}`: {error}", path.display()))
    }
}

/// A table of tests and kernels, then why tests failed or did not run.
fn summary(binary: &str, results: &[TestResult]) -> String {
    let table = Table::of(results);
    let kernels = table.places.iter().map(|place| heading(*place, results));
    let mut text = format!("### {}: {}\n\n", code(binary), counts(results));
    text += &row(std::iter::once("test".to_owned()).chain(kernels));
    text += &row(std::iter::repeat_n("---".to_owned(), 1 + table.places.len()));
    for (path, cells) in &table.rows {
        let signs = cells.iter().map(|cell| cell.map_or("", sign).to_owned());
        text += &row(std::iter::once(code(path)).chain(signs));
    }
    let reasons: String = results.iter().filter_map(reason).collect();
    if reasons.is_empty() { text + "\n" } else { format!("{text}\n{reasons}\n") }
}

/// A kernel, with its release below where that is known.
fn heading(place: Option<&str>, results: &[TestResult]) -> String {
    let Some(kernel) = place else { return "host".to_owned() };
    let release = results.iter().filter(|result| result.place() == place).find_map(|result| result.release());
    code(kernel) + &release.map(|release| format!("<br>{}", code(release))).unwrap_or_default()
}

fn counts(results: &[TestResult]) -> String {
    let failed = results.iter().filter(|result| result.failure().is_some()).count();
    let skipped = results.iter().filter(|result| result.skipped().is_some()).count();
    format!("{} passed, {failed} failed, {skipped} skipped", results.len() - failed - skipped)
}

fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" {} |", cell.replace('|', "\\|"))).collect();
    format!("|{cells}\n")
}

fn sign(result: &TestResult) -> &'static str {
    match result.outcome.verdict {
        Verdict::Passed => "✅",
        Verdict::Failed { .. } => "❌",
        Verdict::Ignored { .. } => "⏭",
    }
}

/// An item of the list below the table.
fn reason(result: &TestResult) -> Option<String> {
    let why = result.failure().or_else(|| result.skipped().map(str::to_owned))?;
    let first = why.lines().map(str::trim).find(|line| !line.is_empty());
    let first = first.map(|line| format!(": {}", code(line))).unwrap_or_default();
    Some(format!("- {} {}{first}\n{}", sign(result), code(&result.title()), closing_lines(result)))
}

/// What stands below a failure's output, in a block of its own: a hint, the kernel, the logs, how to run it again.
fn closing_lines(result: &TestResult) -> String {
    let Verdict::Failed { details, .. } = &result.outcome.verdict else { return String::new() };
    let lines = details.lines().filter(|line| !line.is_empty());
    let lines: String = lines.map(|line| format!("      {line}\n")).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}\n") }
}

/// A code span that shows `text` as it is; its fence is longer than any within.
fn code(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let gap = if longest > 0 { " " } else { "" };
    format!("{fence}{gap}{}{gap}{fence}", text.replace(['\n', '\r'], " "))
}

/// What stands behind a command's `::`; escaped as actions/toolkit does.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property's value; likewise.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{Step, code, summary};
    use crate::case::CargoTarget;
    use crate::job::TestResult;
    use crate::job::Verdict::Passed;
    use crate::job::examples::{failed, ignored, panicked, result};
    use crate::test_binary::TestBinary;

    fn step(checkout: &str) -> Step {
        Step { checkout: Some(checkout.into()), summary: None }
    }

    #[track_caller]
    fn check(checkout: &str, result: TestResult, expected: &str) {
        let here = TestBinary {
            package: None,
            binary: "it".into(),
            workspace: "/checkout/rust".into(),
            target: CargoTarget::Test,
            directory: "deps".into(),
        };
        let mut line = expected.to_owned();
        if !expected.is_empty() {
            let _ = writeln!(line);
        }
        assert_eq!(step(checkout).annotations(&[result], &here), line);
    }

    #[test]
    fn a_failure_is_shown_where_it_panicked() {
        let plain = || result("maps::a", Some("6.1"), failed("", ""));
        let boom = |file| panicked(plain(), "", "50% of\r\nit: a, b", (file, 7));
        let rest = "title=maps%3A%3Aa on 6.1 failed::50%25 of%0D%0Ait: a, b";
        check("/checkout", boom("src/a,b.rs"), &format!("::error file=rust/src/a%2Cb.rs,line=7,{rest}"));
        check("/checkout", boom("/checkout/x.rs"), &format!("::error file=x.rs,line=7,{rest}"));
        check("/checkout", boom("/rustc/core.rs"), &format!("::error file=rust/tests/it.rs,line=3,{rest}"));
        check("/elsewhere", boom("src/a.rs"), &format!("::error file=tests/it.rs,line=3,{rest}"));
    }

    #[test]
    fn other_failures_are_shown_at_the_test() {
        let killed = "::error file=rust/tests/it.rs,line=3,title=a failed::killed by SIGKILL";
        check("/checkout", result("a", None, failed("killed by SIGKILL\n", "")), killed);
        check("/checkout", result("a", None, Passed), "");
        check("/checkout", result("a", None, ignored("why")), "");
    }

    #[test]
    fn only_github_is_told() {
        let step = |value: &str| Step::from_env(|name| (name == "GITHUB_ACTIONS").then(|| value.into()));
        assert_eq!(step("true"), Some(Step { checkout: None, summary: None }));
        assert_eq!((step("false"), Step::from_env(|_| None)), (None, None));
    }

    #[test]
    fn the_summary_is_a_table_with_reasons() {
        let details = "\nhint: look\n\nkernel: 6.12.1 (6.12, tcg)\nrun it again: cargo test\n";
        let mut broken = result("maps::b", Some("6.12"), failed("`x | y`\nis wrong", details));
        broken.outcome.vm = Some("6.12.1 (6.12, tcg)".into());
        let results = [
            result("alone", None, Passed),
            result("maps::b", Some("5.10"), ignored("needs kernel >= 5.14")),
            broken,
            result("maps::c", Some("6.12"), ignored("")),
        ];
        let expected = "\
### `p::it`: 1 passed, 1 failed, 2 skipped

| test | host | `5.10` | `6.12`<br>`6.12.1` |
| --- | --- | --- | --- |
| `alone` | ✅ |  |  |
| `maps::b` |  | ⏭ | ❌ |
| `maps::c` |  |  | ⏭ |

- ⏭ `maps::b on 5.10`: `needs kernel >= 5.14`
- ❌ `maps::b on 6.12`: `` `x | y` ``

      hint: look
      kernel: 6.12.1 (6.12, tcg)
      run it again: cargo test

- ⏭ `maps::c on 6.12`

";
        assert_eq!(summary("p::it", &results), expected);
    }

    #[test]
    fn code_shows_any_text() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a``b`\nc"), "``` a``b` c ```");
    }
}
