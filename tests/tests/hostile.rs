//! Tests that misuse what they get: their machine, their channel to the host, its patience. The test that does it fails,
//! the others pass, and the host's memory stays small.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use lvh_tests::{Finished, Report, TestTarget, Traces, send_signal};

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// What a run may take of the host's memory, in KiB: some copies of the 16 MiB that are kept of a test's output.
const MEMORY_LIMIT: u64 = 200 << 10;

fn command() -> Command {
    let mut command = IN_VMS.command();
    // A channel that tests can take: a socket, of which a descriptor can be copied and which can be shut down.
    command.env("LVH_KERNELS", "6.12").env("LVH_CHANNEL", "vhost-user-vsock");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end; also gives the most memory that the run had for itself, in KiB.
fn run(command: &mut Command) -> (Report, u64) {
    let child = command.spawn().unwrap();
    let pid = child.id();
    let watch = thread::spawn(move || most_memory(pid));
    (finish(child), watch.join().unwrap())
}

fn finish(child: Child) -> Report {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Report::from(Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

/// The guest's memory is mapped by the run too (its devices are served there), so the kernel's own high-water mark says
/// nothing.
fn most_memory(pid: u32) -> u64 {
    let mut most = 0;
    while let Some(now) = memory(pid) {
        most = most.max(now);
        thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Nothing once the process has ended.
fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[track_caller]
fn check_passed(report: &Report, names: &[&str]) {
    for name in names {
        assert_eq!(report.result(name), "ok", "{}", report.finished().stderr);
    }
}

#[test]
fn a_vsock_channel_that_is_misused() {
    check_channel("vhost-user-vsock");
}

#[test]
fn a_virtio_serial_channel_that_is_misused() {
    check_channel("virtio-serial");
}

#[track_caller]
fn check_channel(channel: &str) {
    let (report, memory) = run(command().arg("channel::").env("LVH_CHANNEL", channel));
    let died = "): the guest died: ";
    let broke = "the channel broke: ";
    report.check_failed("channel::a_cuts_it_in_mid_frame", &[died, broke, "unexpected end of file", "cutting\n"]);
    let wrote =
        "something in it wrote to lvh's channel, or closed it (the channel broke: malformed message: too long)\n";
    report.check_failed("channel::c_writes_rubbish", &[died, wrote, "rubbish\n"]);
    // Its messages may get between the halves of one of lvh-init's, or that may be the last one's end.
    report.check_failed("channel::e_sends_for_ever", &["failed on 6.12", "well-formed\n"]);
    let stuck = "): timed out after 3s, and the guest has not answered lvh for 10s since\n";
    report.check_failed("channel::g_announces_what_does_not_come", &[stuck, "announced\n"]);
    let after = ["b_passes", "d_passes", "f_passes", "h_passes"].map(|name| format!("channel::{name}"));
    check_passed(&report, &after.each_ref().map(String::as_str));
    assert!(memory < MEMORY_LIMIT, "{memory} KiB");
    assert!(report.block("channel::e_sends_for_ever").len() < 40 << 20);
}

#[test]
fn floods() {
    let (report, memory) = run(command().args(["floods::", "--test-threads=1"]));
    let flood = ["): timed out after 5s", "more and more\n", " left out: ", "/output.log]\n", "more and more\n"];
    report.check_failed("floods::a_floods_standard_output", &flood);
    let block = report.block("floods::a_floods_standard_output");
    // Before that, its stacks are as long as where it happened to be.
    let (stacks, output) = block.split_once("---- output ----\n").expect("a flood is output");
    assert!(stacks.lines().count() < 60 && output.lines().count() < 170, "{block}");
    let parts = ["): timed out after 5s", "kernel log (", "line 0\n", " lines left out: ", " more lines left out: "];
    report.check_failed("floods::c_floods_the_kernel_log", &parts);
    let foreign = "note: something else wrote to lvh's report pipe: \"xxx";
    report.check_failed("floods::e_floods_the_report", &["): exited with code 0 before the test returned", foreign]);
    assert!(report.block("floods::e_floods_the_report").len() < 10 << 10);
    check_passed(&report, &["floods::b_passes", "floods::d_passes", "floods::f_passes"]);
    // None of them costs the VM.
    assert_eq!(report.count_stderr(" ready in "), 1, "{}", report.finished().stderr);
    assert!(memory < MEMORY_LIMIT, "{memory} KiB");
}

/// Whoever reads a live run may take a break: tests wait, and do not fill the host's memory.
#[test]
fn a_flood_that_nobody_reads() {
    let mut command = command();
    let traces = Traces::mark(command.args(["--exact", "floods::a_floods_standard_output", "--nocapture"]));
    let mut child = command.spawn().unwrap();
    read_until(child.stdout.as_mut().unwrap(), "more and more\n");
    let pid = child.id();
    thread::sleep(Duration::from_secs(8));
    let memory = memory(pid).expect("it runs");
    let report = finish(child);
    // 16 MiB may wait, and what the pipes hold; five seconds make several times as much.
    let waited = report.finished().stdout.len();
    assert!(memory < 40 << 10 && waited < 24 << 20, "{memory} KiB, {waited} bytes");
    let stdout = &report.finished().stdout;
    // What the test wrote last may be half a line.
    assert!(stdout.contains("test floods::a_floods_standard_output ... FAILED\n"), "{}", report.finished().stderr);
    assert!(stdout.contains("): timed out after 5s"), "{}", report.finished().stderr);
    traces.check_gone();
}

fn read_until(stream: &mut impl Read, end: &str) {
    let (mut reader, mut text) = (BufReader::new(stream), String::new());
    while !text.ends_with(end) {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{text}");
    }
}

/// A task that waits where no signal reaches it, a CPU that does not leave the kernel, a machine that stands still.
#[test]
fn what_cannot_be_killed_ends_with_its_machine() {
    let mut command = command();
    let traces = Traces::mark(command.args(["stuck::", "--nocapture", "--test-threads=1"]));
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut errors = child.stderr.take().unwrap();
    let stderr = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut text = String::new();
    while !text.ends_with("\nstop me\n") {
        assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
    }
    send_signal(traces.qemu().pid, libc::SIGSTOP);
    stdout.read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code();
    let report = Report::from(Finished { code, stdout: text, stderr: stderr.join().unwrap().unwrap() });

    let stuck = "): timed out after 2s, and could not be killed within 10s";
    // Where the thread waits for ever, and what the kernel says of that by itself.
    let hung = ": the kernel reported a hung task (INFO: task stuck::a_waits_:";
    // FUSE waits for a signal first, and where none reaches it once one has come.
    let stack = ["thread `stuck::a_waits_` (", "): sleeps\n", "request_wait_answer+0x", "fuse_"];
    let words = ["kernel log (", "] task:stuck::a_waits_", " state:D ", "request_wait_answer+0x", "fuse_"];
    report.check_failed(
        "stuck::a_waits_for_itself",
        &[&[stuck, hung, "where its threads were"], &stack[..], &words].concat(),
    );
    let silent =
        "): timed out after 2s, and the guest has not answered lvh for 10s since: the kernel reported a lockup (";
    report.check_failed(
        "stuck::c_keeps_the_only_cpu",
        &[silent, "watchdog: BUG: soft lockup - CPU#0", "console ----\n", "RIP: 0010:tun_init+"],
    );
    let stopped = "): timed out after 5s: its VM stands still, for QEMU is stopped, as by SIGSTOP\n";
    report.check_failed("stuck::e_is_stopped_with_its_machine", &[stopped]);
    let stdout = &report.finished().stdout;
    assert!(stdout.contains("3 passed; 3 failed; "), "{stdout}");
    // The first one, and one after each of the three.
    assert_eq!(report.count_stderr(" ready in "), 4, "{}", report.finished().stderr);
    traces.check_gone();
}
