//! What became of each test, for those who report at the end of a run: JUnit, GitHub, the table.

use std::sync::Arc;

use super::instance::Instance;
use super::outcome::{Outcome, Verdict};
use super::text;
use crate::record::Record;

/// A test that has ended.
#[derive(Debug)]
pub(crate) struct TestResult {
    /// Its place in the plan.
    pub(crate) index: usize,
    /// Which test.
    pub(crate) instance: Arc<Instance>,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

/// Where a test panicked, and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Panic {
    /// The text of the panic.
    pub(crate) message: String,
    /// The source file, as the compiler named it.
    pub(crate) file: String,
    /// The line in it, from 1.
    pub(crate) line: u32,
}

impl TestResult {
    /// The kernel it ran on; `None`: none of ours, but the host's.
    pub(crate) fn kernel(&self) -> Option<&str> {
        self.instance.kernel.as_deref()
    }

    /// The test without its kernel, and then the kernel.
    pub(crate) fn title(&self) -> String {
        let path = &self.instance.path;
        self.kernel().map_or_else(|| path.clone(), |kernel| format!("{path} on {kernel}"))
    }

    /// Why it failed; `None` where it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        let Verdict::Failed { message, .. } = &self.outcome.verdict else { return None };
        let panic = self.outcome.panic.as_ref().map(|panic| panic.message.clone());
        Some(message.clone().or(panic).or_else(|| self.last_line()).unwrap_or_else(|| "returned a failure".to_owned()))
    }

    /// Why it did not run; `None` where it did.
    pub(crate) fn skipped(&self) -> Option<&str> {
        match &self.outcome.verdict {
            Verdict::Ignored { reason } => Some(reason),
            Verdict::Passed | Verdict::Failed { .. } => None,
        }
    }

    /// What the summary shows below its name.
    pub(crate) fn block(&self) -> String {
        text::block(&self.outcome)
    }

    /// A test that returns an `Err` prints it last, but for the backtrace that it may carry.
    fn last_line(&self) -> Option<String> {
        let output = String::from_utf8_lossy(&self.outcome.output);
        let lines = || output.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        lines().find(|line| line.starts_with("Error: ")).or_else(|| lines().next()).map(str::to_owned)
    }
}

impl Panic {
    /// The panic that ended a test; `None` where it ended otherwise, for a test may catch panics. Of several, the last
    /// in code of the workspace, whose paths are relative; those of the library and of dependencies are absolute.
    pub(crate) fn of(records: &[Record]) -> Option<Self> {
        match records.iter().rev().find(|record| record.is_final()) {
            Some(Record::Unwound(_)) | None => {}
            Some(_) => return None,
        }
        let panics: Vec<Self> = records.iter().rev().filter_map(Self::from_record).collect();
        panics.iter().find(|panic| !panic.file.starts_with('/')).or(panics.first()).cloned()
    }

    fn from_record(record: &Record) -> Option<Self> {
        let Record::Panic { message, location } = record else { return None };
        let (rest, _column) = location.rsplit_once(':')?;
        let (file, line) = rest.rsplit_once(':')?;
        Some(Self { message: message.clone(), file: file.to_owned(), line: line.parse().ok()? })
    }
}

#[cfg(test)]
pub(crate) mod examples {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Panic, TestResult};
    use crate::case::{Options, TestCase};
    use crate::harness::instance::Instance;
    use crate::harness::outcome::{Outcome, Verdict};

    static CASE: TestCase =
        TestCase { module: "c", name: "t", file: "tests/it.rs", line: 3, run: || true, options: Options::DEFAULT };

    /// The test `path`, on `kernel` as one of several.
    pub(crate) fn result(path: &str, kernel: Option<&str>, verdict: Verdict) -> TestResult {
        let name = kernel.map_or_else(|| path.to_owned(), |kernel| format!("{path}::{kernel}"));
        let instance = Instance { name, path: path.into(), case: &CASE, kernel: kernel.map(str::to_owned) };
        let duration = Duration::from_millis(1500);
        let outcome = Outcome { verdict, output: Vec::new(), duration, panic: None, remark: None };
        TestResult { index: 0, instance: Arc::new(instance), outcome }
    }

    pub(crate) fn failed(message: &str, appendix: &str) -> Verdict {
        let message = Some(message.to_owned()).filter(|message| !message.is_empty());
        Verdict::Failed { message, appendix: appendix.into() }
    }

    pub(crate) fn ignored(reason: &str) -> Verdict {
        Verdict::Ignored { reason: reason.into() }
    }

    /// `result`, which wrote `output` and panicked at `FILE:LINE`.
    pub(crate) fn panicked(
        mut result: TestResult,
        output: &str,
        message: &str,
        (file, line): (&str, u32),
    ) -> TestResult {
        result.outcome.output = output.into();
        result.outcome.panic = Some(Panic { message: message.into(), file: file.into(), line });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::Panic;
    use super::examples::{failed, ignored, panicked, result};
    use crate::harness::outcome::Verdict;
    use crate::record::{Payload, Record};

    #[track_caller]
    fn check(records: &[Record], expected: Option<(&str, u32)>) {
        let panic = Panic::of(records);
        assert_eq!(panic.as_ref().map(|panic| (panic.file.as_str(), panic.line)), expected);
    }

    fn at(location: &str) -> Record {
        Record::Panic { message: "m".into(), location: location.into() }
    }

    #[test]
    fn the_panic_that_ended_the_test() {
        let unwound = Record::Unwound(Payload::Text("m".into()));
        check(&[at("a.rs:1:2"), at("b:c.rs:3:4"), unwound.clone()], Some(("b:c.rs", 3)));
        check(&[at("a.rs:1:2"), at("/rustc/x/core.rs:3:4"), unwound.clone()], Some(("a.rs", 1)));
        check(&[at("/rustc/x/core.rs:3:4"), unwound.clone()], Some(("/rustc/x/core.rs", 3)));
        check(&[at("a.rs:1:2")], Some(("a.rs", 1)));
        check(&[at("a.rs:1:2"), Record::Failed], None);
        check(&[at("nonsense"), at("a.rs:x:1"), unwound], None);
    }

    #[test]
    fn a_failure_says_why() {
        let plain = || result("t", None, failed("", ""));
        assert_eq!(plain().failure().unwrap(), "returned a failure");
        assert_eq!(panicked(plain(), "out\n", "boom", ("a.rs", 1)).failure().unwrap(), "boom");
        let mut error = plain();
        error.outcome.output = b"first\nError: no\n\n".to_vec();
        assert_eq!(error.failure().unwrap(), "Error: no");
        error.outcome.output = b"Error: no\n\nStack backtrace:\n   0: main\n".to_vec();
        assert_eq!(error.failure().unwrap(), "Error: no");
        let killed = result("t", None, failed("killed by SIGSEGV", ""));
        assert_eq!(panicked(killed, "", "boom", ("a.rs", 1)).failure().unwrap(), "killed by SIGSEGV");
        assert_eq!(result("t", None, Verdict::Passed).failure(), None);
        assert_eq!(result("t", None, ignored("why")).skipped(), Some("why"));
        assert_eq!(plain().skipped(), None);
    }
}
