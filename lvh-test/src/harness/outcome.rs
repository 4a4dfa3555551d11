//! The one place that judges how a test ended.

use std::path::PathBuf;
use std::time::Duration;

use lvh_core::config::KernelEventKind;
use lvh_core::vm::KernelEvent;

use super::appendix::{appendix, kernel_reported};
use super::instance::Instance;
use super::kernel_log::KernelLog;
use super::results::Panic;
use super::signal;
use crate::record::{Payload, Record};

/// All that is known of a test's process once it is gone.
#[derive(Debug)]
pub(crate) struct Ending {
    /// How the process ended.
    pub(crate) status: Status,
    /// What guest mode reported, in order.
    pub(crate) records: Vec<Record>,
    /// What the test wrote, both streams in order; empty where it was shown live.
    pub(crate) output: Vec<u8>,
    /// What the kernel logged while the test ran.
    pub(crate) kernel_log: KernelLog,
    /// What of that fails a test that would pass.
    pub(crate) fail_on: Vec<KernelEventKind>,
    /// The console's last words, where the guest died.
    pub(crate) console: String,
    /// What it ran in; `None` if there was no VM.
    pub(crate) ran: Option<Ran>,
    /// How long the test ran, without the VM's boot.
    pub(crate) duration: Duration,
}

/// The VM that a test ran in, as its failure tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Kernel and rungs, in a line.
    pub(crate) vm: String,
    /// What exactly the kernel is.
    pub(crate) kernel: String,
    /// The directory of the VM's logs, where it has one.
    pub(crate) logs: Option<PathBuf>,
    /// The test's core, where it left one.
    pub(crate) core: Option<PathBuf>,
}

/// How a test's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// It was killed after this time.
    TimedOut(Duration),
    /// It was to be killed after its time, and did not die.
    Stuck {
        /// Its time.
        limit: Duration,
        /// How long its death was waited for.
        patience: Duration,
    },
    /// It never ended, or never ran: why (the VM died, did not boot …).
    Lost(String),
}

impl Ending {
    /// The ending of a test that could not run at all.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        let status = Status::Lost(why.into());
        Self {
            status,
            records: Vec::new(),
            output: Vec::new(),
            kernel_log: KernelLog::default(),
            fail_on: Vec::new(),
            console: String::new(),
            ran: None,
            duration: Duration::ZERO,
        }
    }
}

/// What the harness shows and counts.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// What the test wrote.
    pub(crate) output: Vec<u8>,
    /// How long it ran.
    pub(crate) duration: Duration,
    /// The panic that ended it.
    pub(crate) panic: Option<Panic>,
    /// What must be seen of a test that did not fail; to be read after its name.
    pub(crate) remark: Option<String>,
}

/// Whether the test passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did what its attribute promises.
    Passed,
    /// It did not.
    Failed {
        /// Why, where the output alone does not say it.
        message: Option<String>,
        /// What else helps: the kernel's log, how to run it again. Whole lines, or empty.
        appendix: String,
    },
    /// It did not run, or skipped itself.
    Ignored {
        /// Why; may be empty.
        reason: String,
    },
}

/// Whether a panic ends the process at once. The guest runs the same binary, so it holds there too.
const PANIC_ABORTS: bool = cfg!(panic = "abort");

/// Judges `ending` by what `instance`'s attribute promises.
pub(crate) fn judge(instance: &Instance, ending: Ending) -> Outcome {
    let verdict = match (verdict_of(instance, &ending, PANIC_ABORTS), fatal_event(&ending)) {
        (Verdict::Passed, Some(event)) => {
            let appendix = appendix(instance, &ending, Some(event));
            Verdict::Failed { message: Some(kernel_reported(event)), appendix }
        }
        (Verdict::Failed { message, .. }, _) => {
            Verdict::Failed { message, appendix: appendix(instance, &ending, None) }
        }
        (verdict, _) => verdict,
    };
    let (panic, remark) = (Panic::of(&ending.records), remark(&verdict, &ending.kernel_log));
    Outcome { verdict, output: ending.output, duration: ending.duration, panic, remark }
}

/// What the kernel reported first of what the test must not bring about.
fn fatal_event(ending: &Ending) -> Option<&KernelEvent> {
    ending.kernel_log.events().iter().find(|event| ending.fail_on.contains(&event.kind))
}

/// A failure says it in its block.
fn remark(verdict: &Verdict, log: &KernelLog) -> Option<String> {
    let ended = match verdict {
        Verdict::Passed => "passed",
        Verdict::Ignored { .. } => "skipped itself",
        Verdict::Failed { .. } => return None,
    };
    let (first, rest) = log.events().split_first()?;
    let more = rest.len() + log.more_events();
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(format!("{ended}, but the kernel reported: {}{more}", first.line))
}

/// How the body ended, as far as the process' ending agrees with what it reported.
enum BodyEnd<'a> {
    Returned,
    ReturnedFailure,
    Panicked(Thrown<'a>),
    Skipped(&'a str),
    Broken(String),
}

enum Thrown<'a> {
    Text(&'a str),
    Other(&'a str),
}

fn verdict_of(instance: &Instance, ending: &Ending, panic_aborts: bool) -> Verdict {
    let should_panic = instance.case.options.should_panic;
    match (body_end(ending, panic_aborts), should_panic) {
        (BodyEnd::Skipped(reason), _) => Verdict::Ignored { reason: reason.to_owned() },
        (BodyEnd::Broken(why), _) => failed(Some(why)),
        (BodyEnd::Returned, None) | (BodyEnd::Panicked(_), Some("")) => Verdict::Passed,
        (BodyEnd::ReturnedFailure | BodyEnd::Panicked(_), None) => failed(None),
        (BodyEnd::Panicked(thrown), Some(expected)) => panicked_as_expected(&thrown, expected),
        (BodyEnd::Returned | BodyEnd::ReturnedFailure, Some(_)) => failed(Some(did_not_panic(instance))),
    }
}

fn failed(message: Option<String>) -> Verdict {
    Verdict::Failed { message, appendix: String::new() }
}

fn body_end(ending: &Ending, panic_aborts: bool) -> BodyEnd<'_> {
    let reported = ending.records.iter().rev().find(|record| record.is_final());
    match (&ending.status, reported) {
        (Status::Exited(0), Some(Record::Passed)) => BodyEnd::Returned,
        (Status::Exited(0), Some(Record::Skip { reason })) => BodyEnd::Skipped(reason),
        (Status::Exited(101), Some(Record::Failed)) => BodyEnd::ReturnedFailure,
        (Status::Exited(101), Some(Record::Unwound(payload))) => BodyEnd::Panicked(payload.into()),
        (Status::Signaled(libc::SIGABRT), None) if panic_aborts => aborted(&ending.records),
        (status, reported) => BodyEnd::Broken(broken(status, reported.is_some())),
    }
}

/// Under `panic = "abort"` a panic is the hook's record and then SIGABRT.
fn aborted(records: &[Record]) -> BodyEnd<'_> {
    let panic = records.iter().rev().find_map(|record| match record {
        Record::Panic { message, .. } => Some(message),
        _ => None,
    });
    match panic {
        Some(message) => BodyEnd::Panicked(Thrown::Text(message)),
        None => BodyEnd::Broken(broken(&Status::Signaled(libc::SIGABRT), false)),
    }
}

impl<'a> From<&'a Payload> for Thrown<'a> {
    fn from(payload: &'a Payload) -> Self {
        match payload {
            Payload::Text(text) => Self::Text(text),
            Payload::Other(type_id) => Self::Other(type_id),
        }
    }
}

fn broken(status: &Status, body_ended: bool) -> String {
    let when = if body_ended { "after the test had ended" } else { "before the test returned" };
    match status {
        Status::Exited(code) => format!("exited with code {code} {when}"),
        Status::Signaled(number) if body_ended => format!("killed by {} {when}", signal::name(*number)),
        Status::Signaled(number) => format!("killed by {}", signal::name(*number)),
        Status::TimedOut(limit) => format!("timed out after {limit:?}"),
        Status::Stuck { limit, patience } => {
            format!("timed out after {limit:?}, and could not be killed within {patience:?}")
        }
        Status::Lost(why) => why.clone(),
    }
}

/// libtest's words; nextest looks for the first line.
fn did_not_panic(instance: &Instance) -> String {
    format!("test did not panic as expected at {}:{}", instance.case.file, instance.case.line)
}

fn panicked_as_expected(thrown: &Thrown<'_>, expected: &str) -> Verdict {
    match thrown {
        Thrown::Text(text) if text.contains(expected) => Verdict::Passed,
        Thrown::Text(text) => failed(Some(format!(
            "panic did not contain expected string\n      panic message: {text:?}\n expected substring: {expected:?}"
        ))),
        Thrown::Other(type_id) => failed(Some(format!(
            "expected panic with string value,\n found non-string value: `{type_id}`\n     expected substring: \
             {expected:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use lvh_core::config::KernelEventKind;

    use super::{Ending, Instance, Outcome, Ran, Status, Verdict, judge, verdict_of};
    use crate::case::{Options, TestCase};
    use crate::harness::kernel_log::tests::log;
    use crate::record::{Payload, Record};

    static PLAIN: TestCase = case(None);
    static PANICS: TestCase = case(Some(""));
    static PANICS_WITH: TestCase = case(Some("boom"));

    const fn case(should_panic: Option<&'static str>) -> TestCase {
        let options = Options { should_panic, ..Options::DEFAULT };
        TestCase { module: "c", name: "t", file: "f.rs", line: 3, run: || true, options }
    }

    fn instance(case: &'static TestCase) -> Instance {
        Instance { name: "t::6.1".into(), path: "t".into(), case, kernel: Some("6.1".into()) }
    }

    fn ending(status: Status, records: &[Record]) -> Ending {
        Ending { status, records: records.to_vec(), ..Ending::lost("") }
    }

    /// Checks the message of a failure, or that there is none; `Err` is for other verdicts.
    #[track_caller]
    fn check(case: &'static TestCase, status: Status, records: &[Record], expected: Result<Option<&str>, &str>) {
        let verdict = verdict_of(&instance(case), &ending(status, records), true);
        let got = match &verdict {
            Verdict::Failed { message, .. } => Ok(message.as_deref()),
            Verdict::Passed => Err("passed"),
            Verdict::Ignored { reason } => Err(reason.as_str()),
        };
        assert_eq!(got, expected);
    }

    fn thrown(text: &str) -> Record {
        Record::Unwound(Payload::Text(text.into()))
    }

    fn hook(text: &str) -> Record {
        Record::Panic { message: text.into(), location: "f.rs:4:5".into() }
    }

    #[test]
    fn record_and_exit_code_must_agree() {
        let (zero, failure) = (Status::Exited(0), Status::Exited(101));
        check(&PLAIN, zero.clone(), &[hook("caught"), Record::Passed], Err("passed"));
        check(&PLAIN, zero.clone(), &[], Ok(Some("exited with code 0 before the test returned")));
        check(&PLAIN, failure.clone(), &[], Ok(Some("exited with code 101 before the test returned")));
        check(&PLAIN, failure.clone(), &[Record::Passed], Ok(Some("exited with code 101 after the test had ended")));
        check(&PLAIN, failure.clone(), &[Record::Failed], Ok(None));
        check(&PLAIN, failure, &[hook("x"), thrown("x")], Ok(None));
        check(&PLAIN, zero, &[Record::Skip { reason: "why".into() }], Err("why"));
    }

    #[test]
    fn other_ends_are_named() {
        check(&PLAIN, Status::Signaled(libc::SIGSEGV), &[], Ok(Some("killed by SIGSEGV")));
        let after = "killed by SIGBUS after the test had ended";
        check(&PLAIN, Status::Signaled(libc::SIGBUS), &[Record::Passed], Ok(Some(after)));
        check(&PLAIN, Status::Signaled(64), &[], Ok(Some("killed by SIGRTMIN+30")));
        let limit = std::time::Duration::from_millis(1500);
        check(&PLAIN, Status::TimedOut(limit), &[Record::Passed], Ok(Some("timed out after 1.5s")));
        check(&PANICS, Status::Lost("the VM died".into()), &[hook("x")], Ok(Some("the VM died")));
    }

    #[test]
    fn should_panic_wants_a_panic() {
        let did_not = Ok(Some("test did not panic as expected at f.rs:3"));
        check(&PANICS, Status::Exited(0), &[Record::Passed], did_not);
        check(&PANICS_WITH, Status::Exited(101), &[Record::Failed], did_not);
        check(&PANICS, Status::Exited(101), &[thrown("any")], Err("passed"));
        check(&PANICS_WITH, Status::Exited(101), &[thrown("a boom.")], Err("passed"));
        let other =
            "panic did not contain expected string\n      panic message: \"bang\"\n expected substring: \"boom\"";
        check(&PANICS_WITH, Status::Exited(101), &[thrown("bang")], Ok(Some(other)));
    }

    #[test]
    fn an_aborting_panic_is_a_panic() {
        let abort = Status::Signaled(libc::SIGABRT);
        check(&PANICS_WITH, abort.clone(), &[hook("boom")], Err("passed"));
        check(&PLAIN, abort.clone(), &[hook("boom")], Ok(None));
        check(&PANICS, abort.clone(), &[], Ok(Some("killed by SIGABRT")));
        let unwinding = verdict_of(&instance(&PANICS), &ending(abort, &[hook("boom")]), false);
        assert!(matches!(unwinding, Verdict::Failed { message: Some(text), .. } if text == "killed by SIGABRT"));
    }

    #[test]
    fn a_failure_shows_the_kernels_log() {
        let log = log("4,1,1000000,-;x\n4,2,1100000,-;y\n");
        let ending = Ending { kernel_log: log, ..ending(Status::Signaled(9), &[]) };
        let Outcome { verdict: Verdict::Failed { appendix, .. }, .. } = judge(&instance(&PLAIN), ending) else {
            panic!("a killed test fails");
        };
        let section = "\n---- t::6.1 kernel log (6.1, 2 lines) ----\n[    1.000000] x\n[    1.100000] y\n";
        assert_eq!(appendix, section);
    }

    /// Judges `case`, which did what it should, and what the kernel said, given that warnings fail it.
    fn judged(case: &'static TestCase, record: Record, kernel: &str) -> Outcome {
        let code = if record == Record::Passed { 0 } else { 101 };
        let ending = Ending {
            kernel_log: log(kernel),
            fail_on: vec![KernelEventKind::Warn],
            ..ending(Status::Exited(code), &[record])
        };
        judge(&instance(case), ending)
    }

    const WARNING: &str = "4,1,1,-;WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2\n";
    const STALL: &str = "3,1,1,-;rcu: INFO: rcu_sched self-detected stall on CPU\n";

    #[test]
    fn what_the_kernel_reports_fails_a_test_that_would_pass() {
        let warned = "the kernel reported a warning (WARNING: CPU: 0 PID: 9 at f.c:1 g+0x1/0x2)";
        for (case, record) in [(&PLAIN, Record::Passed), (&PANICS, thrown("x"))] {
            let outcome = judged(case, record, &format!("{STALL}{WARNING}"));
            let Verdict::Failed { message, appendix } = &outcome.verdict else { panic!("{outcome:?}") };
            assert_eq!(message.as_deref(), Some(warned));
            let rest =
                "note: the kernel reported an RCU stall (rcu: INFO: rcu_sched self-detected stall on CPU)\n\n----";
            assert!(appendix.starts_with(rest) && !appendix.contains(warned), "{appendix}");
            assert_eq!(outcome.remark, None);
        }
    }

    #[test]
    fn what_does_not_fail_a_test_is_seen() {
        let outcome = judged(&PLAIN, Record::Passed, &STALL.repeat(3));
        assert_eq!(outcome.verdict, Verdict::Passed);
        let expected = "passed, but the kernel reported: rcu: INFO: rcu_sched self-detected stall on CPU (and 2 more)";
        assert_eq!(outcome.remark.as_deref(), Some(expected));
        assert_eq!(judged(&PLAIN, Record::Passed, "6,1,1,-;fine\n").remark, None);
    }

    #[test]
    fn a_failure_keeps_its_own_reason() {
        let Verdict::Failed { message, appendix } = judged(&PANICS, Record::Passed, &WARNING.repeat(7)).verdict else {
            panic!("a test that does not panic fails");
        };
        assert_eq!(message.as_deref(), Some("test did not panic as expected at f.rs:3"));
        assert_eq!(appendix.matches("note: the kernel reported a warning (").count(), 5);
        assert!(appendix.contains("note: and 2 more of such\n"), "{appendix}");
    }

    #[test]
    fn the_console_is_not_repeated() {
        let log = log("4,1,1000000,-;before\n4,2,1100000,-;BUG: x\n");
        let console = "[    1.100000] BUG: x\n[ 1.2] end".to_owned();
        let ran = Some(Ran {
            vm: "6.1.0-50-amd64 (6.1, tcg)".to_owned(),
            kernel: "linux-image 6.1-1 sha256:0".to_owned(),
            logs: Some("/t/lvh/it/6.1".into()),
            core: Some("/t/lvh/it/6.1/t/core".into()),
        });
        let ending = Ending { kernel_log: log, console, ran, ..ending(Status::Lost("the guest died".into()), &[]) };
        let Outcome { verdict: Verdict::Failed { appendix, .. }, .. } = judge(&instance(&PLAIN), ending) else {
            panic!("a test whose guest died fails");
        };
        let expected = "note: the kernel reported an oops (BUG: x)\n\n---- t::6.1 kernel log (6.1, 1 line) ----\n[    \
                        1.000000] before\n\n---- t::6.1 console ----\n[    1.100000] BUG: x\n[ 1.2] \
                        end\n\nkernel: 6.1.0-50-amd64 (6.1, tcg)\nfrom: linux-image 6.1-1 sha256:0\nlogs: \
                        /t/lvh/it/6.1/{console,kernel}.log\ncore: gdb ";
        assert!(appendix.starts_with(expected), "{appendix}");
        assert!(appendix.contains(" /t/lvh/it/6.1/t/core\nrun it again: "), "{appendix}");
    }
}
