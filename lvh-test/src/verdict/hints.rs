//! What to do about a failure, where what the test or the kernel said leaves no doubt.

use lvh_core::config::KernelEventKind;
use lvh_core::vm::KernelEvent;

use super::cause::is_stopped;
use super::ending::{Ending, Ran, Status};
use super::kernel_log::KernelLog;

/// How a program without a network finds out.
const NO_NETWORK: &[&str] = &[
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Could not resolve host",
    "failed to lookup address information",
];

/// How a program finds out that the disk is full, which is the guest's memory where the host's files are under it.
const NO_ROOM: &[&str] = &["No space left on device"];

/// What a program calls the making of a BPF map.
const NO_MAP: &[&str] = &["BPF_MAP_CREATE", "failed to create map", "failed to create:", "RLIMIT_MEMLOCK"];

/// What std says before it aborts a process that has no stack left.
const OVERFLOW: &str = "has overflowed its stack\n";

/// The line, where there is one.
pub(super) fn hint(ending: &Ending, cause: &str) -> Option<String> {
    let ran = ending.ran.as_ref()?;
    let output = String::from_utf8_lossy(&ending.output);
    let said = |words: &[&str]| words.iter().any(|words| cause.contains(words) || output.contains(words));
    let reported = |kind| ending.kernel_log.events().iter().any(|event| event.kind == kind);
    if ending.kernel_log.events().iter().any(is_of_a_cgroup) {
        return Some(
            "the limit of a control group (`memory.max`) was reached, not that of the VM: the test, or what it calls, set it"
                .to_owned(),
        );
    }
    if reported(KernelEventKind::Oom) {
        return Some(more_memory(ran, "all of it was taken"));
    }
    if let Some(call) = refused_call(&ending.kernel_log) {
        return Some(format!("a filter of `seccomp` killed it for system call {call}: the kernel's audit says so"));
    }
    if !ran.network && said(NO_NETWORK) {
        return Some(
            "the VM has no network: `network = true` in the test's attribute, or in [vm] of lvh.toml, gives it one"
                .to_owned(),
        );
    }
    if matches!(ending.status, Status::TimedOut(_)) && ending.kernel_log.events().is_empty() && !is_stopped(ending) {
        return Some(match waits_for_itself(&ending.stacks) {
            true => {
                "all its threads wait for a lock, or for each other (futex), so more time would hardly help".to_owned()
            }
            false => "`timeout` in the test's attribute, or `test-timeout` in [vm] of lvh.toml, gives it more time"
                .to_owned(),
        });
    }
    if counts_maps(&ran.release) && said(NO_MAP) && said(&["Operation not permitted"]) {
        return Some(
            "before Linux 5.11 the memory of BPF maps counts against the limit for locked memory, also for root: \
             `setrlimit(RLIMIT_MEMLOCK, …)` raises it"
                .to_owned(),
        );
    }
    if matches!(ending.status, Status::Exited(_)) && ending.records.is_empty() {
        return Some("a test passes or fails by returning or panicking: something in it called `exit`, or closed descriptor 3, on which it reports to lvh".to_owned());
    }
    if output.contains(OVERFLOW) {
        return Some("`RUST_MIN_STACK=16777216 cargo test` gives each thread 16 MiB of stack instead of 2".to_owned());
    }
    said(NO_ROOM)
        .then(|| more_memory(ran, "files that the guest writes lie in it, unless an image has a disk for them"))
}

/// All threads of the test sleep until another one changes some memory.
fn waits_for_itself(stacks: &[String]) -> bool {
    let is_head = |line: &&String| !line.starts_with(' ');
    let heads = stacks.iter().filter(is_head).count();
    let waiting = stacks.windows(2).filter(|lines| lines[0].ends_with(": sleeps") && lines[1].contains("futex"));
    heads > 0 && waiting.filter(|lines| is_head(&&lines[0])).count() == heads
}

/// Whether a kernel of this release counts the memory of BPF maps as locked.
fn counts_maps(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    ((1, 0)..(5, 11)).contains(&version)
}

/// The number of the system call for which seccomp killed a thread.
fn refused_call(log: &KernelLog) -> Option<String> {
    let records = log.lines("");
    let record = records.iter().find(|line| line.contains("audit: type=1326 "))?;
    Some(record.split_once(" syscall=")?.1.split(' ').next()?.to_owned())
}

/// Memory ran out in a control group, while the VM had more.
fn is_of_a_cgroup(event: &KernelEvent) -> bool {
    event.kind == KernelEventKind::Oom && event.line.contains("Memory cgroup out of memory")
}

fn more_memory(ran: &Ran, why: &str) -> String {
    format!(
        "the VM has {} MiB of memory, and {why}: `memory` in the test's attribute, or in [vm] of lvh.toml, gives it more",
        ran.memory_mib
    )
}

#[cfg(test)]
mod tests {
    use super::hint;
    use crate::record::Record;
    use crate::verdict::ending::example;
    use crate::verdict::kernel_log::tests::log;
    use crate::verdict::{Ending, Ran, Status};

    #[test]
    fn each_is_told_by_what_was_said() {
        let check = |cause: &str, output: &str, network: bool, kernel: &str, expected: Option<&str>| {
            let (ran, kernel_log) = (Some(Ran { network, ..example() }), log(kernel));
            let found = hint(&Ending { ran, kernel_log, output: output.into(), ..Ending::lost("") }, cause);
            assert_eq!(found.as_deref().map(|hint| hint.split('`').nth(1).unwrap()), expected, "{cause} {output}");
        };
        check("panicked: Network is unreachable (os error 101)", "", false, "", Some("network = true"));
        check("", "curl: (6) Could not resolve host: x", false, "", Some("network = true"));
        check("", "curl: (6) Could not resolve host: x", true, "", None);
        check("Error: No space left on device", "", false, "", Some("memory"));
        let killed = "4,1,1,-;Out of memory: Killed process 9 (t) total-vm:1kB\n";
        check("killed by SIGKILL", "", false, killed, Some("memory"));
        let in_a_cgroup = "4,1,1,-;Memory cgroup out of memory: Killed process 9 (t) total-vm:1kB\n";
        check("killed by SIGKILL", "", false, in_a_cgroup, Some("memory.max"));
        let refused = "5,1,1,-;audit: type=1326 audit(1.3:2): auid=1 sig=31 arch=c000003e syscall=39 compat=0\n";
        check("killed by SIGSYS", "", false, refused, Some("seccomp"));
        check("a bang", "nothing", false, "", None);
        let map = "bpf(BPF_MAP_CREATE): Operation not permitted (os error 1)";
        check(map, "", false, "", None);
        let on = |release: &str| {
            let ran = Some(Ran { release: release.to_owned(), ..example() });
            hint(&Ending { ran, ..Ending::lost("") }, map).is_some_and(|hint| hint.contains("RLIMIT_MEMLOCK"))
        };
        assert_eq!(["5.10.0-32-amd64", "4.19", "5.11.1", "6.1", "x"].map(on), [true, true, false, false, false]);
    }

    #[test]
    fn a_deadlock_gets_no_more_time() {
        let check = |stacks: &[&str], expected: bool| {
            let stacks: Vec<String> = stacks.iter().map(|&line| line.to_owned()).collect();
            assert_eq!(super::waits_for_itself(&stacks), expected, "{stacks:?}");
        };
        let lock = "  futex_wait_queue+0x68/0x90";
        check(&["thread `a` (1), thread `b` (2): sleeps", lock, "  do_futex+0xcb/0x190"], true);
        check(&["thread `a` (1): sleeps", lock, "thread `b` (2): sleeps", "  hrtimer_nanosleep+0x1/0x2"], false);
        check(&["thread `a` (1): sleeps", lock, "thread `b` (2): runs"], false);
        check(&["thread `a` (1): sleeps"], false);
        check(&[], false);
    }

    #[test]
    fn each_end_that_a_test_should_not_have_has_its_own() {
        let check = |status: Status, records: &[Record], output: &str, expected: Option<&str>| {
            let ran = Some(example());
            let ending = Ending { ran, records: records.to_vec(), output: output.into(), status, ..Ending::lost("") };
            assert_eq!(
                hint(&ending, "").as_deref().map(|hint| hint.split('`').nth(1).unwrap()),
                expected,
                "{ending:?}"
            );
        };
        check(Status::TimedOut(std::time::Duration::ZERO), &[], "", Some("timeout"));
        let stopped = Ending {
            ran: Some(example()),
            status: Status::TimedOut(std::time::Duration::ZERO),
            stacks: vec!["thread `t` (9): is stopped".into()],
            ..Ending::lost("")
        };
        assert_eq!(hint(&stopped, ""), None);
        check(Status::Exited(3), &[], "", Some("exit"));
        check(Status::Exited(3), &[Record::Malformed("x".into())], "", None);
        let overflow = "thread 't' (9) has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
        check(Status::Signaled(libc::SIGABRT), &[], overflow, Some("RUST_MIN_STACK=16777216 cargo test"));
    }
}
