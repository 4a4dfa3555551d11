//! A test that leaves its VM in another state is told so, and its neighbours get a new one.

use std::sync::LazyLock;

use lvh_tests::{Finished, Report, TestTarget};

/// The fixture's tests that match `filters`, on one kernel.
/// In one VM at a time, where neighbours stay neighbours.
fn run(kernel: &str, filters: &[&str]) -> Report {
    static NEIGHBOURS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("neighbours_in_vms"));
    Report::of(NEIGHBOURS.command().env("LVH_KERNELS", kernel).args(filters).arg("--test-threads=1"))
}

/// A way to end a test that leaves its VM in another state, and what is said then.
enum End {
    /// It passes; how the line on stderr goes on.
    Passes(&'static str),
    /// It fails: how its block begins, and lines of it.
    Fails(&'static str, &'static [&'static str]),
}

use End::{Fails, Passes};

#[test]
fn on_a_new_kernel() {
    let ends = [
        ("bpf", Passes("BPF `link ")),
        ("cgroups", Passes("`cgroup of process 1` is 0::/left, was 0::/ (and 1 more)")),
        ("clock", Passes("the clock is 3")),
        ("escaped", Passes("process `sleep` is left")),
        ("hostname", Passes("`kernel.hostname` is other, was lvh")),
        ("interface", Passes("network interface `kept0` is left")),
        ("killed", Fails("): killed by SIGKILL, which a process in the guest sent: ", &["process `sleep` is left"])),
        ("kprobe", Passes("probe `p:kprobes/kept do_sys_openat2` is left")),
        ("limits", Passes("`Max open files of process 1` is 10 10 files, was ")),
        ("loopback", Passes("network interface `lo` is down, mtu 65536, was up, mtu 65536")),
        ("mount", Passes("mount `/tmp/here` is left")),
        ("names", Passes("mount `/tmp/\u{fffd}[31m\u{fffd}[31m")),
        ("null", Passes("`/dev/null` is gone")),
        ("proc", Passes("mount `/proc` is gone")),
        (
            "settings",
            Fails(
                ": a failure of its own",
                &["`kernel.printk` is 0 4 1 7, was 5 4 1 7", "`vm.overcommit_memory` is 2, was 0"],
            ),
        ),
        ("space", Passes("`/tmp` has ")),
        ("timed_out", Fails("): timed out after 10s", &["`vm.overcommit_memory` is 2, was 0"])),
    ];
    check("6.12", &[], &ends);
}

/// Where BPF links, cgroups and processes are cleared away in other ways.
#[test]
fn on_an_old_kernel() {
    let ends = [
        ("bpf", Passes("BPF `link ")),
        ("killed", Fails("): killed by SIGKILL, which a process in the guest sent: ", &["process `sleep` is left"])),
        ("kprobe", Passes("probe `p:kprobes/kept do_sys_openat2` is left")),
    ];
    let filters = ["harmless", "spoilers::bpf", "spoilers::killed", "spoilers::kprobe"];
    check("5.10", &filters, &ends);
}

fn check(kernel: &str, filters: &[&str], ends: &[(&str, End)]) {
    let report = run(kernel, filters);
    let Finished { code, stdout, stderr } = report.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    ends.iter().for_each(|(spoiler, end)| check_end(&report, spoiler, end));
    // Nothing is said of any other test.
    let failed = ends.iter().filter(|(_, end)| matches!(end, Fails(..))).count();
    assert_eq!(report.count_stderr(" not as it was: "), ends.len() - failed, "{stderr}");
    assert_eq!(stdout.matches("not as it was").count(), failed, "{stdout}");
    // Eight that do no harm, and a neighbour of each.
    let passed = 8 + 2 * ends.len() - failed;
    assert!(stdout.contains(&format!("FAILED. {passed} passed; {failed} failed; 0 ignored; ")), "{stdout}");
    // One up to the first that spoils it, and one after each.
    assert_eq!(report.count_stderr(" ready in "), ends.len() + 1, "{stderr}");
}

#[track_caller]
fn check_end(report: &Report, spoiler: &str, end: &End) {
    let name = format!("spoilers::{spoiler}::a_spoils");
    match end {
        Passes(change) => {
            assert_eq!(report.result(&name), "ok");
            let line = format!("lvh: test {name} passed, but its VM is not as it was: {change}");
            assert_eq!(report.count_stderr(&line), 1, "{line}\n{}", report.finished().stderr);
        }
        Fails(note, changes) => {
            let lines: String = changes.iter().map(|change| format!("  {change}\n")).collect();
            let words = "note: its VM is not as it was, and no other test runs in it:\n";
            report.check_failed(&name, &[note, &format!("{words}{lines}"), "\nkernel: "]);
        }
    }
}
