//! The one place that judges how a test ended.

use std::fmt::Display;

use lvh_core::vm::KernelEvent;

use super::cause::{broken, explanation, returned};
use super::ending::{Ending, Status};
use super::failure_details::{failure_details, failure_head, kernel_reported, printable};
use super::panic::panic_of;
use crate::job::{Instance, Outcome, Panic, Verdict};
use crate::record::{Payload, Record};

/// Whether a panic ends the process at once. The guest runs the same binary, so it holds there too.
const PANIC_ABORTS: bool = cfg!(panic = "abort");

/// Judges `ending` by what `instance`'s attribute promises.
pub(crate) fn judge(instance: &Instance, ending: Ending) -> Outcome {
    let broken = matches!(body_end(&ending, PANIC_ABORTS), BodyEnd::Broken(_));
    let (verdict, told) = match (verdict_of(instance, &ending, PANIC_ABORTS), fatal_event(&ending)) {
        (Verdict::Passed, Some(event)) => (failed(Some(kernel_reported(event))), Some(event)),
        (failed @ Verdict::Failed { .. }, _) => (failed, explanation(&ending).filter(|_| broken)),
        (verdict, _) => (verdict, None),
    };
    let (panic, remark) = (panic_of(&ending.records), remark(&verdict, &ending));
    let vm = ending.ran.as_ref().map(|ran| ran.vm.clone());
    let mut outcome = Outcome { verdict, output: Vec::new(), duration: ending.duration, panic, vm, remark };
    outcome.output.clone_from(&ending.output);
    let cause = outcome.cause();
    if let (Verdict::Failed { head, details, .. }, Some(cause)) = (&mut outcome.verdict, cause) {
        let cause = located(outcome.panic.as_ref().filter(|panic| panic.message == cause), cause);
        *head = failure_head(instance, &ending, &cause, told);
        *details = failure_details(instance, &ending, &cause);
    }
    outcome
}

/// A panic with its place in front, as terminals make a link of it.
fn located(panic: Option<&Panic>, cause: String) -> String {
    match panic {
        Some(Panic { file, line, .. }) => format!("panicked at {file}:{line}: {cause}"),
        None => cause,
    }
}

/// What the kernel reported first of what the test must not bring about.
fn fatal_event(ending: &Ending) -> Option<&KernelEvent> {
    ending.kernel_log.events().iter().find(|event| ending.fail_on.contains(&event.kind))
}

/// A failure says it in its block.
fn remark(verdict: &Verdict, ending: &Ending) -> Option<String> {
    let ended = match verdict {
        Verdict::Passed => "passed",
        Verdict::Ignored { .. } => "skipped itself",
        Verdict::Failed { .. } => return None,
    };
    let log = &ending.kernel_log;
    let events: Vec<&str> = log.events().iter().map(|event| event.line.as_str()).collect();
    let reported = first_of(&events, log.more_events()).map(|first| format!("the kernel reported: {first}"));
    let changes: Vec<_> = ending.changes.iter().map(|change| printable(change)).collect();
    let changed = first_of(&changes, 0).map(|first| format!("its VM is not as it was: {first}"));
    let remarks: Vec<_> = reported.into_iter().chain(changed).collect();
    (!remarks.is_empty()).then(|| format!("{ended}, but {}", remarks.join("; and ")))
}

/// The first of some lines, and how many others there are beside those that are not in the list.
fn first_of(lines: &[impl Display], unlisted: usize) -> Option<String> {
    let (first, rest) = lines.split_first()?;
    let more = rest.len() + unlisted;
    Some(if more == 0 { first.to_string() } else { format!("{first} (and {more} more)") })
}

/// How the body ended, as far as the process' ending agrees with what it reported.
enum BodyEnd<'a> {
    Returned,
    ReturnedFailure(Option<u8>),
    Panicked(Thrown<'a>),
    Skipped(&'a str),
    Broken(String),
}

enum Thrown<'a> {
    Text(&'a str),
    Other(&'a str),
}

fn verdict_of(instance: &Instance, ending: &Ending, panic_aborts: bool) -> Verdict {
    match (body_end(ending, panic_aborts), instance.should_panic.as_deref()) {
        (BodyEnd::Skipped(reason), _) => Verdict::Ignored { reason: reason.to_owned() },
        (BodyEnd::Broken(why), _) => failed(Some(why)),
        (BodyEnd::Returned, None) | (BodyEnd::Panicked(_), Some("")) => Verdict::Passed,
        // On the host a failure looks as libtest's do.
        (BodyEnd::ReturnedFailure(code), None) if instance.kernel.is_some() => {
            failed(Some(returned(code, &ending.output)))
        }
        (BodyEnd::Panicked(Thrown::Text(text)), None) if instance.kernel.is_some() && silent(ending) => {
            failed(Some(format!("panicked: {text}")))
        }
        (BodyEnd::ReturnedFailure(_) | BodyEnd::Panicked(_), None) => failed(None),
        (BodyEnd::Panicked(thrown), Some(expected)) => panicked_as_expected(&thrown, expected),
        (BodyEnd::Returned | BodyEnd::ReturnedFailure(_), Some(_)) => failed(Some(did_not_panic(instance))),
    }
}

/// No panic was reported, for the test has a hook of its own, or none was called.
fn silent(ending: &Ending) -> bool {
    panic_of(&ending.records).is_none()
}

fn failed(message: Option<String>) -> Verdict {
    Verdict::Failed { message, head: String::new(), details: String::new() }
}

fn body_end(ending: &Ending, panic_aborts: bool) -> BodyEnd<'_> {
    let reported = ending.records.iter().rev().find(|record| record.is_final());
    match (&ending.status, reported) {
        (Status::Exited(0), Some(Record::Passed)) => BodyEnd::Returned,
        (Status::Exited(0), Some(Record::Skip { reason })) => BodyEnd::Skipped(reason),
        (Status::Exited(101), Some(Record::Failed(code))) => BodyEnd::ReturnedFailure(*code),
        (Status::Exited(101), Some(Record::Unwound(payload))) => BodyEnd::Panicked(payload.into()),
        (Status::Signaled(libc::SIGABRT), None) if panic_aborts => aborted(ending),
        (_, reported) => BodyEnd::Broken(broken(ending, reported.is_some())),
    }
}

/// Under `panic = "abort"` a panic is the hook's record and then SIGABRT.
fn aborted(ending: &Ending) -> BodyEnd<'_> {
    let panic = ending.records.iter().rev().find_map(|record| match record {
        Record::Panic { message, .. } => Some(message),
        _ => None,
    });
    match panic {
        Some(message) => BodyEnd::Panicked(Thrown::Text(message)),
        None => BodyEnd::Broken(broken(ending, false)),
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

/// libtest's words; nextest looks for the first line.
fn did_not_panic(instance: &Instance) -> String {
    format!("test did not panic as expected at {}:{}", instance.file, instance.line)
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

    use super::{Ending, Instance, Outcome, Status, Verdict, judge, verdict_of};
    use crate::case::Options;
    use crate::job::examples;
    use crate::record::{Payload, Record};
    use crate::verdict::kernel_log::tests::log;

    /// What `#[should_panic]` says.
    type Case = Option<&'static str>;

    const PLAIN: Case = None;
    const PANICS: Case = Some("");
    const PANICS_WITH: Case = Some("boom");

    fn instance(should_panic: Case) -> Instance {
        examples::instance("t", "t::6.1", Some("6.1"), Options { should_panic, ..Options::DEFAULT })
    }

    fn ending(status: Status, records: &[Record]) -> Ending {
        Ending { status, records: records.to_vec(), ..Ending::lost("") }
    }

    /// Checks the message of a failure, or that there is none; `Err` is for other verdicts.
    #[track_caller]
    fn check(case: Case, status: Status, records: &[Record], expected: Result<Option<&str>, &str>) {
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
        check(PLAIN, zero.clone(), &[hook("caught"), Record::Passed], Err("passed"));
        check(PLAIN, zero.clone(), &[], Ok(Some("exited with code 0 before the test returned")));
        check(PLAIN, failure.clone(), &[], Ok(Some("exited with code 101 before the test returned")));
        check(PLAIN, failure.clone(), &[Record::Passed], Ok(Some("exited with code 101 after the test had ended")));
        check(PLAIN, failure.clone(), &[Record::Failed(Some(7))], Ok(Some("the test returned exit code 7")));
        check(PLAIN, failure.clone(), &[hook("x"), thrown("x")], Ok(None));
        check(PLAIN, failure, &[thrown("x")], Ok(Some("panicked: x")));
        let panicked = "exited with code 101 before the test returned; it had panicked: x";
        check(PLAIN, Status::Exited(101), &[hook("x")], Ok(Some(panicked)));
        check(PLAIN, zero, &[Record::Skip { reason: "why".into() }], Err("why"));
    }

    #[test]
    fn other_ends_are_named() {
        check(PLAIN, Status::Signaled(libc::SIGSEGV), &[], Ok(Some("killed by SIGSEGV")));
        let after = "killed by SIGBUS after the test had ended";
        check(PLAIN, Status::Signaled(libc::SIGBUS), &[Record::Passed], Ok(Some(after)));
        check(PLAIN, Status::Signaled(64), &[], Ok(Some("killed by SIGRTMIN+30")));
        let limit = std::time::Duration::from_millis(1500);
        check(PLAIN, Status::TimedOut(limit), &[Record::Passed], Ok(Some("timed out after 1.5s")));
        check(PANICS, Status::Lost("the VM died".into()), &[hook("x")], Ok(Some("the VM died")));
    }

    #[test]
    fn should_panic_wants_a_panic() {
        let did_not = Ok(Some("test did not panic as expected at tests/it.rs:3"));
        check(PANICS, Status::Exited(0), &[Record::Passed], did_not);
        check(PANICS_WITH, Status::Exited(101), &[Record::Failed(None)], did_not);
        check(PANICS, Status::Exited(101), &[thrown("any")], Err("passed"));
        check(PANICS_WITH, Status::Exited(101), &[thrown("a boom.")], Err("passed"));
        let other =
            "panic did not contain expected string\n      panic message: \"bang\"\n expected substring: \"boom\"";
        check(PANICS_WITH, Status::Exited(101), &[thrown("bang")], Ok(Some(other)));
    }

    #[test]
    fn an_aborting_panic_is_a_panic() {
        let abort = Status::Signaled(libc::SIGABRT);
        check(PANICS_WITH, abort.clone(), &[hook("boom")], Err("passed"));
        check(PLAIN, abort.clone(), &[hook("boom")], Ok(None));
        check(PANICS, abort.clone(), &[], Ok(Some("killed by SIGABRT")));
        let unwinding = verdict_of(&instance(PANICS), &ending(abort, &[hook("boom")]), false);
        assert!(
            matches!(unwinding, Verdict::Failed { message: Some(text), .. } if text == "killed by SIGABRT; it had panicked: boom")
        );
    }

    /// Judges `case`, which did what it should, and what the kernel said, given that warnings fail it.
    fn judged(case: Case, record: Record, kernel: &str) -> Outcome {
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
        for (case, record) in [(PLAIN, Record::Passed), (PANICS, thrown("x"))] {
            let outcome = judged(case, record, &format!("{STALL}{WARNING}"));
            let Verdict::Failed { message, head, .. } = &outcome.verdict else { panic!("{outcome:?}") };
            assert_eq!(message.as_deref(), Some(warned));
            let stall = "note: the kernel reported an RCU stall (rcu: INFO: rcu_sched self-detected stall on CPU)\n";
            let begin = format!("failed on 6.1: {warned}\n{stall}\n---- kernel log");
            assert!(head.starts_with(&begin) && head.matches(warned).count() == 1, "{head}");
            assert_eq!(outcome.remark, None);
        }
    }

    #[test]
    fn what_does_not_fail_a_test_is_seen() {
        let outcome = judged(PLAIN, Record::Passed, &STALL.repeat(3));
        assert_eq!(outcome.verdict, Verdict::Passed);
        let expected = "passed, but the kernel reported: rcu: INFO: rcu_sched self-detected stall on CPU (and 2 more)";
        assert_eq!(outcome.remark.as_deref(), Some(expected));
        assert_eq!(judged(PLAIN, Record::Passed, "6,1,1,-;fine\n").remark, None);
    }

    #[test]
    fn what_a_test_changed_is_told_and_fails_nothing() {
        let judged = |case, code, kernel: &str, changes: &[&str]| {
            let records = [if code == 0 { Record::Passed } else { Record::Failed(None) }];
            let changes = changes.iter().map(|&change| change.to_owned()).collect();
            let ending = ending(Status::Exited(code), &records);
            judge(&instance(case), Ending { changes, kernel_log: log(kernel), ..ending })
        };
        let outcome = judged(PLAIN, 0, "", &["mount `/a\u{1b}[31m` is left", "`b` is 2, was 0"]);
        let remark = "passed, but its VM is not as it was: mount `/a\u{fffd}[31m` is left (and 1 more)";
        assert_eq!((outcome.verdict, outcome.remark.as_deref()), (Verdict::Passed, Some(remark)));
        let both = judged(PLAIN, 0, STALL, &["`b` is gone"]).remark.unwrap();
        assert!(both.contains(" CPU; and its VM is not as it was: `b` is gone"), "{both}");
        let Verdict::Failed { head, .. } = judged(PLAIN, 101, "", &["`b` is gone"]).verdict else {
            panic!("it failed")
        };
        assert!(
            head.contains("note: its VM is not as it was, and no other test runs in it:\n  `b` is gone\n"),
            "{head}"
        );
    }

    #[test]
    fn a_failure_keeps_its_own_reason() {
        let Verdict::Failed { message, head, .. } = judged(PANICS, Record::Passed, &WARNING.repeat(7)).verdict else {
            panic!("a test that does not panic fails");
        };
        assert_eq!(message.as_deref(), Some("test did not panic as expected at tests/it.rs:3"));
        assert_eq!(head.matches("note: the kernel reported a warning (").count(), 5);
        assert!(head.contains("note: and 2 more of such\n"), "{head}");
    }

    #[test]
    fn the_kernel_says_why_a_test_ended_as_none_should() {
        let oops = "BUG: unable to handle page fault for address: 0";
        let oom = "Out of memory: Killed process 9 (t) total-vm:1kB";
        let lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 3s! [t:9]";
        let check = |status: Status, records: &[Record], line: &str, expected: &str| {
            let kernel_log = log(&format!("4,1,1,-;{line}\n"));
            let outcome = judge(&instance(PLAIN), Ending { kernel_log, ..ending(status, records) });
            assert_eq!(outcome.cause().as_deref(), Some(expected));
            let Verdict::Failed { head, .. } = outcome.verdict else { panic!("it failed") };
            assert!(head.starts_with(&format!("failed on 6.1: {expected}\n")), "{head}");
            assert_eq!(head.matches("the kernel reported").count(), expected.matches("the kernel reported").count());
        };
        let reported = format!("the kernel reported an oops ({oops}), and the test");
        check(Status::Exited(101), &[Record::Died], oops, &format!("{reported}'s thread died"));
        check(Status::Signaled(libc::SIGKILL), &[], oops, &format!("{reported} was killed by SIGKILL"));
        let limit = std::time::Duration::from_secs(2);
        check(Status::TimedOut(limit), &[], oops, &format!("{reported} timed out after 2s"));
        let killed = format!("killed by SIGKILL: the kernel reported that memory ran out ({oom})");
        check(Status::Signaled(libc::SIGKILL), &[], oom, &killed);
        let hung = format!("timed out after 2s: the kernel reported a lockup ({lockup})");
        check(Status::TimedOut(limit), &[], lockup, &hung);
        check(Status::Exited(101), &[Record::Died], "fine", "the test's thread died");
    }

    #[test]
    fn a_panic_comes_first_with_its_place() {
        let records = [hook("left\nright"), thrown("left\nright")];
        let Verdict::Failed { head, .. } = judge(&instance(PLAIN), ending(Status::Exited(101), &records)).verdict
        else {
            panic!("it failed")
        };
        assert_eq!(head, "failed on 6.1: panicked at f.rs:4: left\nright\n");
    }
}
