//! A test's place in the plan, and what became of it.

use serde::{Deserialize, Serialize};

use super::instance::Instance;
use super::outcome::{Outcome, Verdict, beginning};

/// A test to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Its place in the plan.
    pub(crate) index: usize,
    /// What to run.
    pub(crate) instance: Instance,
}

/// A test that has ended, for those who report at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TestResult {
    /// Its place in the plan.
    pub(crate) index: usize,
    /// Which test.
    pub(crate) instance: Instance,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

impl TestResult {
    /// The kernel it ran on, with the image behind it; `None`: none of ours, but the host.
    pub(crate) fn place(&self) -> Option<&str> {
        self.instance.place.as_deref()
    }

    /// The release of the kernel it ran on; `None` where that is not known.
    pub(crate) fn release(&self) -> Option<&str> {
        self.outcome.vm.as_deref()?.split_whitespace().next()
    }

    /// The test without its place, and then the place.
    pub(crate) fn title(&self) -> String {
        let path = &self.instance.path;
        self.place().map_or_else(|| path.clone(), |place| format!("{path} on {place}"))
    }

    /// Why it failed; `None` where it did not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.outcome.cause().map(|cause| beginning(&cause))
    }

    /// Why it did not run; `None` where it did.
    pub(crate) fn skipped(&self) -> Option<&str> {
        match &self.outcome.verdict {
            Verdict::Ignored { reason } => Some(reason),
            Verdict::Passed | Verdict::Failed { .. } => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod examples {
    use std::time::Duration;

    use lvh_core::BuildPlace;

    use super::{Instance, Outcome, TestResult, Verdict};
    use crate::case::{CargoTarget, Options, TestCase};
    use crate::job::Panic;

    /// The test `path` under `name`, whose attribute asks for `options`.
    pub(crate) fn instance(path: &str, name: &str, kernel: Option<&str>, options: Options) -> Instance {
        let (target, built) = (CargoTarget::Test, BuildPlace { package: None, scratch: None, out_dir: None });
        let run = || true;
        let case = TestCase { module: "c", name: "t", file: "tests/it.rs", line: 3, target, built, run, options };
        let image = options.images.first().copied();
        Instance { path: path.into(), ..Instance::of(&case, name.into(), kernel.map(str::to_owned), image) }
    }

    /// The test `path`, on `kernel` as one of several.
    pub(crate) fn result(path: &str, kernel: Option<&str>, verdict: Verdict) -> TestResult {
        let name = kernel.map_or_else(|| path.to_owned(), |kernel| format!("{path}::{kernel}"));
        let instance = instance(path, &name, kernel, Options::DEFAULT);
        let duration = Duration::from_millis(1500);
        let outcome = Outcome { verdict, output: Vec::new(), duration, panic: None, vm: None, remark: None };
        TestResult { index: 0, instance, outcome }
    }

    pub(crate) fn failed(message: &str, details: &str) -> Verdict {
        let message = Some(message.to_owned()).filter(|message| !message.is_empty());
        Verdict::Failed { message, head: String::new(), details: details.into() }
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
    use std::time::Duration;

    use lvh_core::config::{Accel, KernelEventKind};

    use super::examples::{failed, ignored, instance, panicked, result};
    use super::{Job, TestResult, Verdict};
    use crate::case::Options;

    #[test]
    fn jobs_and_results_are_data() {
        let options = Options {
            accel: Some(Accel::Tcg),
            fail_on: Some(&[KernelEventKind::HungTask, KernelEventKind::Oom]),
            modules: &["tun"],
            boot_timeout_ms: Some(1500),
            ignore: Some("slow"),
            ..Options::DEFAULT
        };
        let job = Job { index: 7, instance: instance("m::t", "m::t::6.1", Some("6.1"), options) };
        let json = serde_json::to_string(&job).unwrap();
        assert!(json.contains(r#""accel":"tcg""#) && json.contains(r#""fail_on":["hung-task","oom"]"#), "{json}");
        assert_eq!(serde_json::from_str::<Job>(&json).unwrap(), job);
        assert_eq!(job.instance.vm.boot_timeout, Some(Duration::from_millis(1500)));
        let unknown = json.replace("hung-task", "hang");
        let error = serde_json::from_str::<Job>(&unknown).unwrap_err().to_string();
        assert!(error.starts_with("`hang` (expected `oops`, "), "{error}");

        let result = panicked(result("t", None, failed("why", "details\n")), "out", "boom", ("a.rs", 1));
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<TestResult>(&json).unwrap(), result);
    }

    #[test]
    fn a_failure_says_why() {
        let plain = || result("t", None, failed("", ""));
        assert_eq!(plain().failure().unwrap(), "returned a failure");
        let long = result("t", None, failed(&"x".repeat(10_000), "")).failure().unwrap();
        assert!(long.starts_with("xxx") && long.ends_with("x… and 5904 more bytes"), "{long}");
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
