//! Why a test failed, in the words of a failure's first line.

use lvh_core::config::KernelEventKind;
use lvh_core::vm::KernelEvent;

use super::ending::{Ending, Status};
use super::failure_details::{kernel_reported, printable};
use crate::record::Record;

/// What the kernel reported that may be why a test ended as no test should.
pub(super) fn explanation(ending: &Ending) -> Option<&KernelEvent> {
    use KernelEventKind::{HungTask, Lockup, Oom, Oops, RcuStall};
    let explains = |event: &&KernelEvent| {
        matches!(
            (event.kind, &ending.status),
            (Oops, _)
                | (Oom | Lockup | HungTask | RcuStall, Status::TimedOut(_) | Status::Stuck { .. })
                | (Oom, Status::Signaled(libc::SIGKILL) | Status::Lost(_))
        )
    };
    // A stall of RCU comes of what keeps a CPU, and does not name it.
    let events = || ending.kernel_log.events().iter().filter(explains);
    events().find(|event| event.kind != RcuStall).or_else(|| events().next())
}

/// What became of the test's process, and of the kernel.
pub(super) fn broken(ending: &Ending, body_ended: bool) -> String {
    let died = ending.records.contains(&Record::Died);
    let what = if died { "the test's thread died".to_owned() } else { ending.status.describe(body_ended) };
    match explanation(ending) {
        Some(event) if event.kind == KernelEventKind::Oops => {
            format!("{}, and {}", kernel_reported(event), after_it(&what))
        }
        Some(event) => format!("{what}: {}", kernel_reported(event)),
        None if died || body_ended => what,
        None => format!("{what}{}", told_by_itself(ending)),
    }
}

/// What std says before it aborts for a panic during a panic.
const IN_A_DESTRUCTOR: &str = "panic in a destructor during cleanup";

/// What the test and its kernel make known of an end that no event of the kernel explains.
fn told_by_itself(ending: &Ending) -> String {
    let panics = ending.records.iter().filter_map(|record| match record {
        Record::Panic { message, .. } => Some(message.lines().next().unwrap_or_default()),
        _ => None,
    });
    let panics: Vec<&str> = panics.collect();
    match (&ending.status, &panics[..]) {
        (Status::Exited(_) | Status::Signaled(libc::SIGABRT), [.., first, second, IN_A_DESTRUCTOR]) => {
            format!("; it had panicked: {}, and then in a destructor: {}", printable(first), printable(second))
        }
        (Status::Exited(_) | Status::Signaled(libc::SIGABRT), [.., message]) => {
            format!("; it had panicked: {}", printable(message))
        }
        // On the host a failure looks as libtest's do.
        _ if ending.ran.is_none() => String::new(),
        (Status::Exited(_) | Status::Signaled(libc::SIGABRT), []) => {
            last_line(&ending.output).map(|line| format!("; it wrote last: {line}")).unwrap_or_default()
        }
        (Status::Signaled(libc::SIGKILL), _) => {
            ", which a process in the guest sent: the kernel reported no want of memory".to_owned()
        }
        (Status::TimedOut(_), _) if is_stopped(ending) => ": it is stopped, as by SIGSTOP".to_owned(),
        (Status::TimedOut(_) | Status::Signaled(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE), _) => {
            place(ending).map(|place| format!(" at {}", printable(place))).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Where the test was, in a file of its workspace: its own thread has told first.
fn place(ending: &Ending) -> Option<&str> {
    let stack = ending.records.iter().find_map(|record| match record {
        Record::Stack { frames, .. } => Some(frames),
        _ => None,
    });
    let places = stack?.iter().filter_map(|frame| Some(frame.rsplit_once(" at ")?.1));
    places.into_iter().find(|place| !place.starts_with('/'))
}

/// The test stands still because a signal stopped it: its first thread tells so.
pub(super) fn is_stopped(ending: &Ending) -> bool {
    ending.stacks.first().is_some_and(|thread| thread.ends_with(": is stopped"))
}

/// What a test that returned no success returned: an `Err`, which was printed, or a code of its own.
pub(super) fn returned(code: Option<u8>, output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let at = text.rfind("\nError: ").map(|end| end + 1).or_else(|| text.starts_with("Error: ").then_some(0));
    match (at.and_then(|at| text[at..].strip_prefix("Error: ")), code) {
        (Some(error), _) => format!("the test returned an error: {}", printable(&with_root(error))),
        (None, Some(code)) => format!("the test returned exit code {code}"),
        (None, None) => "the test returned a failure".to_owned(),
    }
}

/// The first line of an error that was printed, and the last of its causes, where they are listed as anyhow and eyre do.
fn with_root(error: &str) -> String {
    let mut lines = error.lines();
    let first = lines.next().unwrap_or_default();
    let causes = lines.skip_while(|line| *line != "Caused by:").skip(1).take_while(|line| line.starts_with("   "));
    match causes.last().map(str::trim) {
        Some(root) => {
            let number = root.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            format!("{first}, caused by: {}", root[number..].strip_prefix(": ").unwrap_or(root))
        }
        None => first.to_owned(),
    }
}

/// The last line that says something: no backtrace, and nothing about one.
fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let (before, frames) = text.rsplit_once("stack backtrace:\n").unwrap_or((&text, ""));
    let is_note = |line: &str| line.is_empty() || line.starts_with("note: ");
    let is_frame = |line: &str| line.starts_with("  ") || is_note(line);
    let said = if frames.lines().all(is_frame) { before } else { &*text };
    let line = said.lines().rev().map(str::trim).find(|line| !is_note(line))?;
    Some(printable(line))
}

/// `what` became of the test, as the second half of a sentence.
fn after_it(what: &str) -> String {
    match what.starts_with("the ") {
        true => what.to_owned(),
        false => format!("the test {}{what}", if what.starts_with("killed") { "was " } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Keeper;
    use crate::verdict::kernel_log::tests::log;
    use std::time::Duration;

    /// Checks what is said of a test in a VM that ended so, having written `output` and the kernel this.
    #[track_caller]
    fn check(status: Status, records: &[Record], output: &str, kernel: &str, expected: &str) {
        let ending = Ending {
            status,
            records: records.to_vec(),
            output: output.into(),
            kernel_log: log(kernel),
            ran: Some(crate::verdict::ending::example()),
            ..Ending::lost("")
        };
        assert_eq!(broken(&ending, false), expected);
    }

    #[test]
    fn who_ends_itself_has_said_why() {
        let (abort, exit) = (Status::Signaled(libc::SIGABRT), "exited with code 1 before the test returned");
        let overflow = "thread 't' (9) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n\n";
        let words = "killed by SIGABRT; it wrote last: fatal runtime error: stack overflow, aborting";
        check(abort.clone(), &[], overflow, "", words);
        check(abort.clone(), &[], "", "", "killed by SIGABRT");
        let no_memory = "first\nmemory allocation of 9 bytes failed\n";
        let words = "killed by SIGABRT; it wrote last: memory allocation of 9 bytes failed";
        let advice = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        check(abort.clone(), &[], &format!("{no_memory}{advice}"), "", words);
        let backtrace = "stack backtrace:\n   0: f\n             at ./t.rs:1:2\nnote: Some details are omitted\n\n";
        check(abort.clone(), &[], &format!("{no_memory}{backtrace}"), "", words);
        check(abort, &[], &format!("{no_memory}{backtrace}then\n"), "", "killed by SIGABRT; it wrote last: then");
        check(
            Status::Exited(1),
            &[],
            "error: no\x1b[31m\n",
            "",
            &format!("{exit}; it wrote last: error: no\u{fffd}[31m"),
        );
        let panic = Record::Panic { message: "a\nb".into(), location: "f.rs:1:2".into() };
        check(Status::Exited(1), &[panic], "x\n", "", &format!("{exit}; it had panicked: a"));
        let panic = |message: &str| Record::Panic { message: message.to_owned(), location: "b".to_owned() };
        let [one, two, abort] = ["one\n more", "two", IN_A_DESTRUCTOR].map(panic);
        let both = "killed by SIGABRT; it had panicked: one, and then in a destructor: two";
        check(Status::Signaled(libc::SIGABRT), &[one, two.clone(), abort.clone()], "", "", both);
        let alone = format!("killed by SIGABRT; it had panicked: {IN_A_DESTRUCTOR}");
        check(Status::Signaled(libc::SIGABRT), &[two, abort], "", "", &alone);
    }

    #[test]
    fn who_sent_sigkill_is_known() {
        let oom = "Out of memory: Killed process 9 (t)";
        let words = format!("killed by SIGKILL: the kernel reported that memory ran out ({oom})");
        check(Status::Signaled(libc::SIGKILL), &[], "", &format!("4,1,1,-;{oom}\n"), &words);
        let words = "killed by SIGKILL, which a process in the guest sent: the kernel reported no want of memory";
        check(Status::Signaled(libc::SIGKILL), &[], "x\n", "", words);
    }

    #[test]
    fn what_keeps_a_process_alive_is_told() {
        let stuck = |by| Status::Stuck { limit: Duration::from_secs(2), patience: Duration::from_secs(10), by };
        let words = "timed out after 2s, and could not be killed within 10s";
        check(stuck(Keeper::Kernel), &[], "", "", words);
        let silent = "timed out after 2s, and the guest has not answered lvh for 10s since";
        check(stuck(Keeper::Guest), &[], "", "", silent);
        let lockup = "watchdog: BUG: soft lockup - CPU#0 stuck for 3s! [t:9]";
        let words = format!("{silent}: the kernel reported a lockup ({lockup})");
        check(stuck(Keeper::Guest), &[], "", &format!("0,1,1,-;{lockup}\n"), &words);
        let stall = "3,1,1,-;rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n";
        check(stuck(Keeper::Guest), &[], "", &format!("{stall}0,1,1,-;{lockup}\n"), &words);
        let words = "timed out after 2s: its VM stands still, for QEMU is stopped, as by SIGSTOP";
        check(stuck(Keeper::StoppedQemu), &[], "", "", words);
    }

    #[test]
    fn who_takes_too_long_is_somewhere() {
        let stack = |frames: &[&str]| Record::Stack {
            thread: "t".into(),
            frames: frames.iter().map(|&frame| frame.to_owned()).collect(),
        };
        let timed_out = || Status::TimedOut(Duration::from_secs(2));
        let records = [stack(&["futex", "x::y at /r/x.rs:1", "t::f at tests/t.rs:9"]), stack(&["o at tests/o.rs:1"])];
        check(timed_out(), &records, "", "", "timed out after 2s at tests/t.rs:9");
        check(timed_out(), &[stack(&["futex"])], "", "", "timed out after 2s");
        check(timed_out(), &[], "", "", "timed out after 2s");
        let stopped = Ending {
            stacks: vec!["thread `t` (9): is stopped".into(), "  do_signal_stop+0x1/0x2".into()],
            status: timed_out(),
            ran: Some(crate::verdict::ending::example()),
            ..Ending::lost("")
        };
        assert_eq!(broken(&stopped, false), "timed out after 2s: it is stopped, as by SIGSTOP");
    }

    #[test]
    fn what_was_returned() {
        let error = "first\nError: Os { code: 2 }\n\nCaused by:\n  x\n";
        assert_eq!(returned(Some(1), error.as_bytes()), "the test returned an error: Os { code: 2 }");
        let chain = |causes: &str| returned(Some(1), format!("x\nError: a: b\n\nCaused by:\n{causes}").as_bytes());
        assert_eq!(chain("    0: c\n    1: 2: d\n"), "the test returned an error: a: b, caused by: 2: d");
        assert_eq!(chain("    c\n\nStack backtrace:\n   0: f\n"), "the test returned an error: a: b, caused by: c");
        assert_eq!(returned(Some(7), b"Errors\n"), "the test returned exit code 7");
        assert_eq!(returned(None, b""), "the test returned a failure");
    }
}
