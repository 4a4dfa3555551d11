//! What keeps tests from running, and how it is told: in one block, with the words of whoever failed, in full once.

#[path = "../../lvh-oci/tests/registry/support/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use lvh_tests::{Finished, Project, Report, TestTarget, Traces, empty_directory, send_signal};
use program::write_script;

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// Runs three tests where nothing is as it should be.
#[track_caller]
fn check_infrastructure(name: &str, config: &str, variables: &[(&str, &str)], short: &str, report_parts: &[&str]) {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), name, config);
    fs::write(project.dir.join("garbage"), "no kernel\n".repeat(1000)).unwrap();
    let mut command = project.command(&IN_VMS);
    command.args(TESTS).envs(variables.iter().copied());
    check_told_once(&Report::of(&mut command), short, report_parts);
}

/// Boots every VM: one that resumes is there too soon.
const COLD: (&str, &str) = ("LVH_WARM_START", "0");

/// Tests that would pass.
const TESTS: [&str; 3] = ["ends::passes", "ends::sees_none", "ends::panics_as_expected"];

#[track_caller]
fn check_told_once(report: &Report, short: &str, report_parts: &[&str]) {
    let Finished { code, stdout, stderr } = report.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    let mut full = 0;
    for test in ["ends::passes", "ends::sees_none_of_them", "ends::panics_as_expected"] {
        report.check_failed(test, &["failed on ", short, "run it again: "]);
        let block = report.block(test);
        assert!(block.lines().next().unwrap().contains(short), "{block}");
        if block.contains(" from running, which tells more of it\n") {
            assert!(block.trim_end().lines().count() < 8 && !block.contains("---- output"), "{block}");
        } else {
            full += 1;
            report.check_failed(test, report_parts);
        }
    }
    assert_eq!((full, report.count_stderr("error: ")), (1, 0), "{stdout}{stderr}");
    assert!(!stdout.contains("stack backtrace"), "{stdout}");
}

#[test]
fn what_keeps_all_tests_from_running_is_told_once() {
    let garbage = "default-kernels = ['./garbage']";
    check_infrastructure(
        "garbage",
        garbage,
        &[],
        "lvh is not set up right: kernel `./garbage`: `",
        &["/garbage` is no kernel that lvh knows"],
    );
    let missing = "this machine lacks something: `qemu-system-";
    check_infrastructure(
        "no-qemu",
        "",
        &[("PATH", "/nonexistent")],
        missing,
        &["was not found in PATH", "install qemu-system-"],
    );
}

#[test]
fn a_vm_that_does_not_come_up_says_how_far_it_got() {
    let late = "the VM did not start: kernel `6.12` (6.12.";
    let hint = "\nhint: `boot-timeout` of [vm] in lvh.toml";
    let how_far = ["timed out after 500ms waiting for the guest: ", "/console.log]\n", hint];
    check_infrastructure("late", "[vm]\nboot-timeout = '500ms'", &[COLD], late, &how_far);
    let hint = "\nhint: `memory` of [vm] in lvh.toml";
    let panic = "did not boot: the kernel panicked: Kernel panic - not syncing: ";
    let absent = "lvh is not set up right: kernel `6.12` (6.12.";
    check_infrastructure("absent", "[vm]\nmodules = ['nosuch']", &[], absent, &["has no module `nosuch`", "\nhint: "]);
    check_infrastructure("small", "[vm]\nmemory = '64M'", &[], late, &[panic, hint]);
    // This one finds out before it has its console.
    let old = "default-kernels = ['5.10']\n[vm]\nmemory = '64M'";
    check_infrastructure("small-5.10", old, &[COLD], "the VM did not start: kernel `5.10` (5.10.", &[panic, hint]);
}

#[test]
fn an_unknown_kernel_fails_those_that_name_it() {
    let mut command = IN_VMS.command();
    command.env("LVH_KERNELS", "6.12").args(["--exact", "unknown::a_wants_it", "unknown::b_too", "ends::passes"]);
    let report = Report::of(&mut command);
    let Finished { code, stdout, stderr } = report.finished();
    assert_eq!(*code, Some(101), "{stdout}\n{stderr}");
    for test in ["unknown::a_wants_it", "unknown::b_too"] {
        let cause = "failed on 6.x7: lvh is not set up right: kernel `6.x7` is not in ";
        report.check_failed(test, &[cause, "(known: 5.10, ", "\nhint: write a table "]);
    }
    assert_eq!(report.result("ends::passes"), "ok");
    assert!(!stderr.contains("6.x7"), "{stderr}");
}

#[test]
fn bad_configuration_stops_everything_at_once() {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "bad-config", "");
    let Finished { code, stdout, stderr } = Finished::of(project.command(&IN_VMS).env("LVH_KERNELS", "6.x7"));
    assert_eq!((code, stdout.as_str()), (Some(101), ""));
    assert!(
        stderr.starts_with("error: LVH_KERNELS: kernel `6.x7` is not in ") && stderr.contains("\nhint: "),
        "{stderr}"
    );

    fs::write(project.dir.join("lvh.toml"), "[vm]\nmemmory = '1G'\n").unwrap();
    let Finished { code, stdout, stderr } = Finished::of(&mut project.command(&IN_VMS));
    assert_eq!((code, stdout.as_str()), (Some(101), ""));
    assert!(
        stderr.starts_with("error: ")
            && stderr.contains("lvh.toml:2: unknown key `memmory` in [vm] (expected `memory`"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// A program called as QEMU is, and found before it.
fn check_instead_of_qemu(name: &str, program: &str, short: &str, report_parts: &[&str]) {
    let directory = empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("{name}-bin"));
    let path = directory.join(format!("qemu-system-{}", std::env::consts::ARCH));
    write_script(&path, program);
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    // Else what fails is tried with KVM first, and KVM blamed.
    let variables = [("PATH", path.as_str()), ("LVH_ACCEL", "tcg")];
    check_infrastructure(name, "[vm]\nboot-timeout = '5s'", &variables, short, report_parts);
}

#[test]
fn a_qemu_that_does_not_start_is_told_in_its_own_words() {
    let start = "the VM did not start: kernel `6.12` (6.12.";
    let words = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo QEMU emulator version 4.2.1\necho 'qemu: no such luck' >&2\nexit 1\n";
    let old = "did not boot: QEMU ended (exit status: 1); it is version 4.2, which is too old";
    let parts = [old, "\nqemu: no such luck\n", "\nhint: lvh needs QEMU 5.2 or newer"];
    check_instead_of_qemu("qemu-exits", words, start, &parts);
    let dies = "#!/bin/sh\nkill -SEGV $$\n";
    check_instead_of_qemu("qemu-crashes", dies, start, &["did not boot: QEMU crashed (signal: 11 (SIGSEGV)"]);
    let memory = "[vm]\nmemory = '900000G'";
    let parts = ["`memory = \"900000G\"` is more than this machine has: ", "\nhint: `memory` in [vm] of lvh.toml"];
    check_infrastructure("huge", memory, &[("LVH_ACCEL", "tcg")], "this machine lacks something: ", &parts);
}

#[test]
fn what_is_no_qemu_is_told() {
    let start = "the VM did not start: kernel `6.12` (6.12.";
    let parts = ["did not boot: QEMU ended (exit status: 0)"];
    check_instead_of_qemu("qemu-is-true", "#!/bin/sh\necho hello\n", start, &parts);
    let parts = ["timed out after 5s waiting for the guest: QEMU itself has not answered yet (channel "];
    check_instead_of_qemu("qemu-is-sleep", "#!/bin/sh\nexec sleep 3600\n", start, &parts);
    let parts = ["did not boot: QEMU ended (exit status: 127)", "no-such-program: not found\n"];
    check_instead_of_qemu("qemu-is-text", "no-such-program\n", start, &parts);
}

/// The kernel runs, and lvh-init cannot do what it must.
#[test]
fn a_guest_that_does_not_connect_says_why() {
    let start = "the VM did not start: kernel `6.12` (6.12.";
    // The start function of the vsock transport for virtio.
    let config = "[vm]\nkernel-args = 'initcall_blacklist=virtio_vsock_init'";
    let parts = [
        "did not boot: lvh-init could not go on: failed to open the channel `vsock:",
        "\nlvh-init: failed to load `/lvh/channel/",
        "\nlvh-init: failed to open the channel `vsock:",
    ];
    check_infrastructure("no-channel", config, &[("LVH_CHANNEL", "vhost-user-vsock")], start, &parts);
}

#[test]
fn a_machine_that_stands_still_is_given_up_in_time() {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "stopped", "[vm]\nboot-timeout = '8s'");
    let mut command = project.command(&IN_VMS);
    let traces = Traces::mark(command.args(TESTS).envs([COLD]));
    let run = std::thread::spawn(move || Report::of(&mut command));
    send_signal(traces.qemu().pid, libc::SIGSTOP);
    let report = run.join().unwrap();
    let parts = ["did not boot: timed out after 8s waiting for the guest: QEMU is stopped, as by SIGSTOP"];
    check_told_once(&report, "the VM did not start: kernel `6.12` (6.12.", &parts);
    traces.check_gone();
}
