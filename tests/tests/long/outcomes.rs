//! What becomes of a test in a VM, however it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use lvh_tests::{Finished, Report, TestTarget, Traces, finished_with_vms, send_signal};

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// The tests that leave their VM alive, run in one.
static ENDS: LazyLock<Report> = LazyLock::new(|| run_apart("ends", &["ends::", "signals::"]));

/// In one VM at a time: what becomes of a test may be seen by the next.
fn run(arguments: &[&str]) -> Report {
    run_of(&IN_VMS, arguments)
}

/// The same, whose logs no other run replaces.
fn run_apart(name: &str, arguments: &[&str]) -> Report {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    run_of(&IN_VMS.apart(parent, &format!("outcomes-{name}")), arguments)
}

fn run_of(target: &TestTarget, arguments: &[&str]) -> Report {
    Report::of(command_of(target).args(arguments).arg("--test-threads=1"))
}

fn command() -> Command {
    command_of(&IN_VMS)
}

/// The fixture on one kernel, started as cargo does.
fn command_of(target: &TestTarget) -> Command {
    let mut command = target.command();
    command.env("LVH_KERNELS", "6.12").env("CARGO_PKG_NAME", "lvh-tests");
    command
}

/// A test's kernel, whichever transport the VM had, and how to run it again.
#[track_caller]
fn check_last_lines(report: &Report, name: &str) {
    let block = report.block(name);
    let mut last = block.lines().rev().filter(|line| !line.is_empty());
    let again = last.next().unwrap_or_default();
    assert!(
        again.starts_with("run it again: ")
            && again.ends_with(&format!(" LVH_KERNELS=6.12 cargo test -p lvh-tests --test in_vms -- --exact {name}")),
        "{block}"
    );
    let mut last = last.filter(|line| !line.starts_with("core: ") && !line.starts_with("ran before in this VM: `"));
    for log in ["console: ", "log: "] {
        let file = last.next().and_then(|line| line.strip_prefix(log));
        assert!(file.is_some_and(|file| Path::new(file).is_file()), "{block}");
    }
    let from = last.next().unwrap_or_default();
    assert!(from.starts_with("from: linux-image-6.12.") && from.contains(" sha256:") && from.ends_with('…'), "{block}");
    let kernel = last.next().unwrap_or_default();
    let (release, vm) =
        kernel.strip_prefix("kernel: 6.12.").and_then(|rest| rest.split_once(" (6.12, ")).unwrap_or_default();
    assert!(!release.contains(' ') && vm.ends_with(')') && vm.split(", ").count() == 3, "{block}");
    assert!(block.starts_with(&format!("failed on 6.12 (6.12.{release}): ")), "{block}");
}

#[test]
fn one_vm_runs_them_all() {
    let Finished { code, stdout, stderr } = ENDS.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    assert_eq!(ENDS.count_stderr(" ready in "), 1, "{stderr}");
    assert!(stdout.contains("test result: FAILED. 4 passed; 36 failed; 3 ignored; 0 measured; "), "{stdout}");
    for passed in ["passes", "panics_as_expected", "leaves_processes_behind", "sees_none_of_them"] {
        assert_eq!(ENDS.result(&format!("ends::{passed}")), "ok");
    }
}

#[test]
fn every_failure_names_its_kernel_and_how_to_run_it_again() {
    for name in ["panics", "segfaults", "returns_a_code", "hangs", "does_not_panic"] {
        check_last_lines(&ENDS, &format!("ends::{name}"));
    }
}

/// The tests of the fixture that failed in a run.
fn failed(report: &Report) -> Vec<&str> {
    let lines = report.finished().stdout.lines().skip_while(|line| *line != "failures:");
    lines.filter_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----")).collect()
}

#[test]
fn every_failure_is_run_again_by_what_its_block_says() {
    let names = failed(&ENDS);
    assert_eq!(names.len(), 36);
    // A signal is like the other: of those the line must name one test.
    for name in names.iter().filter(|name| name.starts_with("ends::")) {
        ENDS.check_runs_again(name, "--test in_vms", Some(IN_VMS.executable()));
    }
    for name in names.iter().filter(|name| name.starts_with("signals::")) {
        let again = format!(" --exact {name}");
        assert!(ENDS.rerun_line(name).ends_with(&again), "{}", ENDS.rerun_line(name));
        let listed = Finished::of(command().args(["--list", "--format=terse", "--exact", name]));
        assert_eq!(listed.stdout, format!("{name}: test\n"));
    }
    ENDS.check_runs_again("ends::exits_with_three", "--test in_vms", None);
}

#[test]
fn panics_and_errors() {
    let panicked = "): panicked at tests/outcomes/main.rs:";
    let sums = ": assertion `left == right` failed: sums on 6.12.";
    let output = "\n  left: 2\n right: 3\n\n---- output ----\non stderr\n";
    ENDS.check_failed(
        "ends::panics",
        &[panicked, sums, output, "panicked at tests/outcomes/main.rs:", "sums on 6.12."],
    );
    ENDS.check_failed("ends::panics_in_a_future", &[panicked, ": from a future\n", "from a future"]);
    let error = "Error: Os { code: 2, kind: NotFound,";
    let returned = "): the test returned an error: Os { code: 2, kind: NotFound,";
    ENDS.check_failed("ends::returns_an_error", &[returned, "---- output ----\n", error]);
    ENDS.check_failed("ends::returns_a_code", &["): the test returned exit code 7\n\nkernel: "]);
    ENDS.check_failed("ends::panics_otherwise", &["): panic did not contain expected string\n", "a bang"]);
    ENDS.check_failed("ends::does_not_panic", &["): test did not panic as expected at tests/outcomes/main.rs:"]);
}

#[test]
fn processes_that_end_on_their_own() {
    let place = "in_vms::ends::_::segfaults at tests/outcomes/main.rs:51\n";
    let words = ["): killed by SIGSEGV at tests/outcomes/main.rs:51\n", "where its threads were", place];
    ENDS.check_failed("ends::segfaults", &[&words[..], &["kernel log (", "segfault at 0 ip "]].concat());
    ENDS.check_failed("ends::aborts", &["): killed by SIGABRT\n"]);
    let zero = "): exited with code 0 before the test returned; it wrote last: leaving\n\n---- output ----\nleaving\n";
    ENDS.check_failed("ends::exits_with_zero", &[zero, "\nhint: a test passes or fails by returning "]);
    ENDS.check_failed("ends::exits_with_three", &["): exited with code 3 before the test returned\n"]);
    ENDS.check_failed("ends::kills_everybody", &["): killed by SIGKILL, which a process in the guest sent: "]);
    let words = "): killed by SIGABRT; it wrote last: fatal runtime error: stack overflow, aborting\n";
    let parts =
        [words, "thread 'ends::overflows_its_stack' (", "has overflowed its stack\n", "\nhint: `RUST_MIN_STACK="];
    ENDS.check_failed("ends::overflows_its_stack", &parts);
}

#[test]
fn every_signal_that_kills_is_named() {
    let names =
        "SIGHUP SIGINT SIGQUIT SIGTERM SIGUSR1 SIGUSR2 SIGPROF SIGIO SIGBUS SIGPIPE SIGALRM SIGXCPU SIGXFSZ SIGSYS";
    for name in names.split(' ') {
        check_killed(&name.to_lowercase(), name, &[]);
    }
    check_killed("sigrtmin_and_3", "SIGRTMIN+3", &[]);
    // What the CPU refused, in the kernel's words.
    check_killed("sigtrap", "SIGTRAP", &["kernel log (", " trap int3 ip:"]);
    for (name, word) in [("SIGILL", "invalid opcode"), ("SIGFPE", "divide error")] {
        let test = name.to_lowercase();
        let words = [format!("in_vms::signals::_::{test} at tests/outcomes/signals.rs:"), format!(" trap {word} ip:")];
        let place = " at tests/outcomes/signals.rs:";
        ENDS.check_failed(&format!("signals::{test}"), &[&format!("): killed by {name}{place}"), &words[0], &words[1]]);
    }
}

#[track_caller]
fn check_killed(test: &str, signal: &str, texts: &[&str]) {
    let note = format!("): killed by {signal}\n");
    ENDS.check_failed(&format!("signals::{test}"), &[&[note.as_str()], texts].concat());
}

#[test]
fn time_is_up() {
    let place = " at tests/outcomes/main.rs:";
    let timed_out = format!("): timed out after 10s{place}");
    // Both wait for a lock; one is called by the other's caller.
    let lock_both = format!("in_vms::ends::lock_both{place}");
    let own =
        ["---- where its threads were ----\nthread `ends::hangs` (", &lock_both, "in_vms::ends::_::hangs", "thread `"];
    let kernel =
        ["where its threads were in the kernel", "thread `ends::hangs` (", "): sleeps\n  ", "futex", "so far\n"];
    let hint = "\nhint: all its threads wait for a lock";
    ENDS.check_failed("ends::hangs", &[&[timed_out.as_str()], &own[..], &kernel, &[hint]].concat());
    let block = ENDS.block("ends::hangs");
    assert_eq!(block.matches(&lock_both).count(), 2, "{block}");
    assert!(!block.contains("own_stacks") && !block.contains("guest_mode"), "{block}");
    let hint = "\nhint: `timeout` in the test's attribute";
    ENDS.check_failed("ends::hangs_and_ignores_sigterm", &[&timed_out, "process `sh` (", hint]);
}

#[test]
fn tests_that_do_not_run() {
    assert_eq!(ENDS.result("ends::skips"), "ignored, for 2 reasons");
    assert_eq!(ENDS.result("ends::is_ignored"), "ignored, not today");
    let needs = ENDS.result("ends::needs_a_newer_kernel");
    assert!(
        needs.starts_with("ignored, needs kernel >= 99.1 (guest is 6.12.") && needs.ends_with("): time travel"),
        "{needs}"
    );
}

#[test]
fn output_is_complete_and_in_order() {
    let (block, line) = (ENDS.block("ends::floods"), "x".repeat(1023));
    let lines = |text: &str| text.lines().filter(|shown| **shown == line).count();
    // What fits a screen, and a file with the rest.
    assert!((20..40).contains(&lines(block)), "{block}");
    ENDS.check_failed(
        "ends::floods",
        &["): panicked at ", ": after the flood\n", " lines (", " left out: ", "after the flood"],
    );
    let file = block.lines().find_map(|line| line.strip_prefix("output: ")).expect(block);
    assert_eq!(lines(&fs::read_to_string(file).unwrap()), 1024, "{block}");
    ENDS.check_failed("ends::writes_no_newline", &["): exited with code 1", "no newline\n"]);
    let lines: String = (0..20).map(|number| format!("out {number}\nerr {number}\n")).collect();
    ENDS.check_failed("ends::writes_to_both_streams", &[&lines, "in order"]);
}

#[test]
fn what_the_kernel_says_meanwhile_is_shown() {
    ENDS.check_failed(
        "ends::logs_to_the_kernel",
        &[
            ": look at the log\n",
            "---- kernel log (1 line) ----\n[+",
            "] lvh-tests: a word from the kernel\n",
            "---- output ----\n",
        ],
    );
    assert_eq!(ENDS.finished().stdout.matches("a word from the kernel").count(), 1);
}

#[test]
fn tests_that_take_long_get_further_vms() {
    let check = |threads: &str, vms: usize| {
        let report = Report::from(finished_with_vms(command().args(["slow::", "--test-threads", threads]), vms));
        let Finished { code, stdout, stderr } = report.finished();
        assert_eq!(*code, Some(0), "{stdout}\n{stderr}");
        assert!(stdout.contains("4 passed; 0 failed; "), "{stdout}");
        assert_eq!(report.count_stderr(" ready in "), vms, "{threads} threads: {stderr}");
    };
    check("1", 1);
    check("2", 2);
}

static EVENTS: LazyLock<Report> = LazyLock::new(|| run(&["events"]));

#[test]
fn what_the_kernel_reports_fails_its_test_and_no_other() {
    let Finished { code, stdout, stderr } = EVENTS.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    for passed in ["c_allows_oopses", "d_writes_what_the_kernel_would", "h_makes_it_warn"] {
        assert_eq!(EVENTS.result(&format!("events::{passed}")), "ok", "{stdout}");
    }
    assert!(stdout.contains("3 passed; 6 failed; "), "{stdout}");
    // One small and one with modules, and one after each test that broke its own: three oopses, a lockup, a renamed interface.
    assert_eq!(EVENTS.count_stderr(" ready in "), 7, "{stderr}");
}

#[test]
fn oopses_and_lockups() {
    let null = "): the kernel reported an oops (BUG: kernel NULL pointer dereference, address: 0000000000000000), and the \
                test's thread died\n";
    let log = "kernel log (";
    EVENTS.check_failed("events::a_breaks_the_kernel", &[null, log, "\n[+", "] BUG: kernel NULL", "into the void\n"]);
    assert!(!EVENTS.finished().stdout.contains("still here") && !EVENTS.finished().stdout.contains("panicked"));
    let undefined = "): the kernel reported an oops (Oops: invalid opcode: 0000 [#1] ";
    EVENTS.check_failed("events::b_breaks_the_kernel_and_returns", &[undefined, log, "test_firmware_init"]);
    let lockup = "): the kernel reported a lockup (watchdog: BUG: soft lockup - CPU#";
    EVENTS.check_failed("events::e_keeps_the_cpu", &[lockup, log, "] watchdog: BUG: soft lockup"]);
    let stall = "note: the kernel reported an RCU stall (rcu: INFO: rcu_preempt ";
    EVENTS.check_failed("events::e_keeps_the_cpu", &[stall, log, "] rcu: INFO: rcu_preempt "]);
    // Each is told once, however often the kernel tells it.
    assert_eq!(EVENTS.block("events::e_keeps_the_cpu").matches("] watchdog: BUG: soft lockup").count(), 1);
    for alone in ["a_breaks_the_kernel", "b_breaks_the_kernel_and_returns"] {
        let name = format!("events::{alone}");
        assert_eq!(EVENTS.block(&name).matches("the kernel reported").count(), 1, "{}", EVENTS.block(&name));
    }
}

#[test]
fn nothing_is_left_in_the_guest() {
    let killed = "): killed by SIGKILL: the kernel reported that memory ran out (Out of memory: Killed process ";
    let hint = "\nhint: the VM has 256 MiB of memory, and ";
    let parts = [killed, "invoked oom-killer: ", "more and more\n", hint];
    EVENTS.check_failed("events::f_takes_all_memory", &parts);
    EVENTS.check_failed("events::g_fills_the_disk", &["Error: Os { code: 28, kind: StorageFull,", hint]);
}

#[test]
fn warnings_fail_where_they_must_and_are_seen_everywhere() {
    let warning = "a warning (WARNING: CPU: ";
    let parts = [warning, " at fs/proc/generic.c:", " proc_register+0x", "] proc_dir_entry 'pktgen/pgctrl' already"];
    EVENTS.check_failed("events::i_must_not_make_it_warn", &parts);
    let stderr = &EVENTS.finished().stderr;
    let mut remarks: Vec<_> = stderr.lines().filter(|line| line.contains("but the kernel reported: ")).collect();
    // The two VMs run side by side.
    remarks.sort_unstable();
    let [oops, warned] = remarks[..] else { panic!("{stderr}") };
    assert!(oops.starts_with("lvh: test events::c_allows_oopses passed, but the kernel reported: Oops: "), "{stderr}");
    assert!(oops.contains("; and its VM is not as it was: kernel taint `oops` is left"), "{stderr}");
    let begin = "lvh: test events::h_makes_it_warn passed, but the kernel reported: WARNING: CPU: ";
    assert!(warned.starts_with(begin), "{stderr}");
}

#[test]
fn a_dead_guest_fails_its_test_and_no_other() {
    let report = run_apart("deaths", &["deaths"]);
    let Finished { code, stdout, stderr } = report.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    for passed in ["a_passes", "c_passes", "f_passes"] {
        assert_eq!(report.result(&format!("deaths::{passed}")), "ok", "{stdout}");
    }
    let panicked = "): the guest died: the kernel panicked: Kernel panic - not syncing: sysrq triggered crash\n";
    let console = "---- console ----\n[+";
    report.check_failed(
        "deaths::b_panics_the_kernel",
        &[panicked, console, "Kernel panic - not syncing: sysrq", "write_sysrq_trigger", "pulling the trigger\n"],
    );
    report.check_failed(
        "deaths::d_reboots",
        &[
            "): the guest died: something in it rebooted the machine; the kernel said `reboot: Restarting system`\n",
            "rebooting\n",
        ],
    );
    report.check_failed(
        "deaths::e_powers_off",
        &[
            "): the guest died: something in it powered off the machine; the kernel said `reboot: Power down`\n",
            "powering off\n",
        ],
    );
    check_last_lines(&report, "deaths::b_panics_the_kernel");
    check_last_lines(&report, "deaths::e_powers_off");
    // The first one, and one after each death.
    assert_eq!(report.count_stderr(" ready in "), 4, "{stderr}");
}

/// Without capturing, both streams come as they are; and the one test that needs a hand gets it.
#[test]
fn qemu_killed_from_outside() {
    let mut command = command();
    command.args(["killed", "ends::writes_to_both_streams", "--nocapture", "--test-threads=1"]);
    let traces = Traces::mark(&mut command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut errors) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
    let stderr = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut text = String::new();
    while !text.ends_with("kill me\n") {
        assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
    }
    send_signal(traces.qemu().pid, libc::SIGKILL);
    stdout.read_to_string(&mut text).unwrap();
    let finished =
        Finished { code: child.wait().unwrap().code(), stdout: text, stderr: stderr.join().unwrap().unwrap() };
    let report = Report::from(finished);
    let Finished { code, stdout, stderr } = report.finished();

    assert_eq!(*code, Some(101), "{stdout}");
    let block = report.block("killed::a_waits");
    let killed = "): the guest died: QEMU was killed (signal: 9 (SIGKILL))";
    assert!(block.lines().next().is_some_and(|line| line.ends_with(killed)), "{stdout}");
    assert!(block.contains("\nhint: something on this machine ended QEMU"), "{stdout}");
    assert!(stdout.contains("1 passed; 2 failed; "), "{stdout}");
    let numbered = |prefix: &str| (0..20).map(|number| format!("{prefix} {number}\n")).collect::<String>();
    assert!(stdout.contains(&numbered("out")) && !stdout.contains("err 0\n"), "{stdout}");
    assert!(stderr.contains(&numbered("err")) && !stderr.contains("out 0\n"), "{stderr}");
    traces.check_gone();
}

#[test]
fn a_guest_that_qemu_broke_gets_a_second_chance() {
    let report = run(&["int3"]);
    let stderr = &report.finished().stderr;
    assert_eq!(report.result("int3::b_passes_the_second_time"), "ok", "{stderr}");
    assert_eq!(report.count_stderr("`int3::b_passes_the_second_time` runs again in a new VM: "), 1, "{stderr}");
}
