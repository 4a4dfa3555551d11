//! `#[lvh::test]` under Rust's own harness, without `harness = false`: it compiles without a warning, and runs.

#![deny(warnings, missing_docs, unreachable_pub, unused, clippy::pedantic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use lvh_tests::{Finished, Project, Report, Traces, cargo, finished_with_vms};

const RELEASE: &str = "/proc/sys/kernel/osrelease";

#[lvh::test]
fn on_the_default_kernel() {
    // Those of `lvh.toml`; the last is whatever trixie-backports has.
    let release = lvh::kernel_release();
    assert!(["5.10.", "6.1.", "6.12.", "7."].iter().any(|series| release.starts_with(series)), "{release}");
}

#[lvh::test(kernels = ["5.10", "6.12"])]
#[should_panic(expected = "on purpose")]
pub fn on_each() {
    panic!("on purpose");
}

#[lvh::test]
#[expect(non_snake_case, reason = "the shadow has the same name")]
fn oddName() -> Result<(), std::io::Error> {
    std::fs::read(RELEASE).map(drop)
}

#[lvh::test]
fn skips_itself() {
    lvh::skip!("for a reason");
}

#[lvh::test(host)]
fn on_the_host() {
    assert!(env::var_os("CARGO_MANIFEST_DIR").is_some());
}

mod inner {
    #[lvh::test(kernel = "6.12")]
    async fn r#type() {
        tokio::task::yield_now().await;
    }
}

/// Those that fail are run by a test that wants them to.
mod failing {
    #[lvh::test]
    #[ignore = "fails"]
    fn panics() {
        std::io::Write::write_all(&mut std::io::stderr(), b"before the end\n").unwrap();
        assert_eq!(1, 2);
    }

    #[lvh::test(timeout = "5m")]
    #[ignore = "does not end"]
    fn hangs() {
        std::io::Write::write_all(&mut std::io::stdout(), b"\nhanging\n").unwrap();
        loop {
            std::thread::park();
        }
    }

    #[lvh::test]
    #[ignore = "fails"]
    fn on_5_10() {
        let release = lvh::kernel_release();
        assert!(!release.starts_with("5.10."), "this is {release}");
    }

    #[lvh::test]
    #[ignore = "leaves its VM in another state"]
    fn spoils() {
        std::fs::write("/proc/sys/vm/overcommit_memory", "1").unwrap();
    }

    /// As an oops leaves it: of the process this thread alone is gone.
    #[lvh::test]
    #[ignore = "fails"]
    fn loses_its_thread() {
        std::io::Write::write_all(&mut std::io::stdout(), b"and gone\n").unwrap();
        // SAFETY: a plain number; nothing of this thread is needed any more.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }

    #[lvh::test]
    #[ignore = "fails"]
    fn exits() {
        std::process::exit(0);
    }
}

/// Run by a test that has them take long, and nothing of the machine.
mod slow {
    use lvh_tests::wait_for_vms;

    #[lvh::test(timeout = "10m")]
    #[ignore = "takes long"]
    fn a_waits() {
        wait_for_vms();
    }

    #[lvh::test(timeout = "10m")]
    #[ignore = "takes long"]
    fn b_waits() {
        wait_for_vms();
    }

    #[lvh::test(timeout = "10m")]
    #[ignore = "takes long"]
    fn c_waits() {
        wait_for_vms();
    }

    #[lvh::test(timeout = "10m")]
    #[ignore = "takes long"]
    fn d_waits() {
        wait_for_vms();
    }
}

#[test]
fn lists_one_test_for_each_function_and_named_kernel() {
    let listed = String::from_utf8(run(&["--list", "--format=terse"]).stdout).unwrap();
    let listed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let expected = [
        "a_killed_cargo_leaves_nothing",
        "all_kernels_run_whichever_fail",
        "failing::exits",
        "failing::hangs",
        "failing::loses_its_thread",
        "failing::on_5_10",
        "failing::panics",
        "failing::spoils",
        "inner::r#type",
        "lists_one_test_for_each_function_and_named_kernel",
        "oddName",
        "on_each::v5_10",
        "on_each::v6_12",
        "on_the_default_kernel",
        "on_the_host",
        "other_programs_are_told",
        "shows_what_failed_and_why_a_test_was_skipped",
        "skips_itself",
        "slow::a_waits",
        "slow::b_waits",
        "slow::c_waits",
        "slow::d_waits",
        "tests_that_take_long_get_further_vms",
        "what_keeps_all_tests_from_running_is_told_once",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn tests_that_take_long_get_further_vms() {
    let mut command = command(&["--include-ignored", "slow::", "--test-threads=2"]);
    let Finished { stdout, stderr, .. } = finished_with_vms(&mut command, 2);
    assert!(stdout.contains("test result: ok. 4 passed; 0 failed"), "{stdout}\n{stderr}");
    assert_eq!(stderr.matches(" ready in ").count(), 2, "{stderr}");
}

#[test]
fn shows_what_failed_and_why_a_test_was_skipped() {
    let output =
        run(&["--include-ignored", "--skip=on_5_10", "--skip=hangs", "failing", "skips_itself", "--test-threads=1"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("test result: FAILED. 2 passed; 3 failed"), "{stdout}");
    assert!(stdout.contains("---- failing::panics stdout ----\nfailed on 6.12 (6.12."), "{stdout}");
    assert!(stdout.contains("): panicked at tests/tests/libtest.rs:"), "{stdout}");
    assert!(stdout.contains("\n---- output ----\nbefore the end\n\nthread 'failing::panics'"), "{stdout}");
    assert!(stdout.contains("): exited with code 0 before the test returned"), "{stdout}");
    assert!(stdout.contains("): the test's thread died\n\n---- output ----\nand gone\n\nkernel: "), "{stdout}");
    assert_eq!(stdout.matches("panicked at").count(), 2, "{stdout}");
    assert!(!stdout.contains("running 1 test"), "{stdout}");
    assert!(stderr.contains("lvh: test skips_itself skipped: for a reason\n"), "{stderr}");
    let changed = "lvh: test failing::spoils passed, but its VM is not as it was: `vm.overcommit_memory` is 1, was 0\n";
    assert!(stderr.contains(changed), "{stderr}");
    // One VM for all up to that, and one for the last.
    assert_eq!(stderr.matches("ready in").count(), 2, "{stderr}");
    let report = report(output);
    report.check_runs_again("failing::panics", "--test libtest", None);
    report.check_runs_again("failing::exits", "--test libtest", Some(&this()));
}

/// libtest knows nothing of cargo's death.
#[test]
fn a_killed_cargo_leaves_nothing() {
    let mut command = cargo();
    command.args(["test", "--offline", "--test", "libtest", "--", "--exact", "failing::hangs", "--include-ignored"]);
    let traces = Traces::mark(command.args(["--nocapture"]).env("LVH_KERNELS", "6.12"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("cargo starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("hanging")));
    traces.qemu();
    child.kill().unwrap();
    child.wait().unwrap();
    traces.check_gone();
}

#[test]
fn all_kernels_run_whichever_fail() {
    let mut command = Command::new(this());
    command.args(["--exact", "failing::on_5_10", "--include-ignored"]).env("LVH_KERNELS", "5.10,6.12");
    let output = command.output().expect("this test runs again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let (_, block) = stdout.split_once("---- failing::on_5_10::5.10 ----\n").expect(&stdout);
    assert!(block.contains("this is 5.10.") && block.contains("\nfailed on 5.10, and not on 6.12\n"), "{stdout}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let table =
        "test              5.10    6.12\nfailing::on_5_10  FAILED  ok\n\nfailing::on_5_10 on 5.10: this is 5.10.";
    assert!(stderr.contains(table), "{stderr}");
    let report = report(output);
    assert!(report.rerun_line("failing::on_5_10").starts_with("LVH_KERNELS=5.10 cargo test "));
    report.check_runs_again("failing::on_5_10", "--test libtest", Some(&this()));
}

#[test]
fn other_programs_are_told() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libtest");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let summary = directory.join("summary.md");
    let mut command = Command::new(env::current_exe().expect("this test has a path"));
    command.args(["--exact", "failing::panics", "skips_itself", "--include-ignored"]).env("LVH_KERNELS", "6.12");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).env_remove("GITHUB_WORKSPACE");
    let output = command.env("LVH_JUNIT", format!("{}/", directory.display())).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let annotation = "\n::error file=tests/tests/libtest.rs,line=";
    assert!(stderr.contains(annotation) && stderr.contains(",title=failing%3A%3Apanics on 6.12 failed::"), "{stderr}");
    assert!(fs::read_to_string(summary).unwrap().contains("| `failing::panics` | ❌ |\n| `skips_itself` | ⏭ |\n"));
    let report = fs::read_to_string(directory.join("TEST-lvh-tests.libtest.xml")).unwrap();
    assert!(report.contains("testsuite name=\"lvh-tests::libtest@6.12\" tests=\"2\" failures=\"1\""), "{report}");

    // Where the report cannot be written the run fails, though its tests pass.
    let mut command = Command::new(env::current_exe().expect("this test has a path"));
    command.args(["--exact", "on_the_host"]).env("LVH_JUNIT", directory.join("summary.md/x"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{stderr}");
    assert!(stderr.contains("error: failed to write the JUnit report `"), "{stderr}");
}

#[test]
fn what_keeps_all_tests_from_running_is_told_once() {
    let missing = "this machine lacks something: `qemu-system-";
    check_told("libtest-no-qemu", "", &[("PATH", "/nonexistent")], missing, ("\nhint: ", 3));
    let late = "the VM did not start: kernel `6.12` (6.12.";
    let config = "[vm]\nboot-timeout = '500ms'";
    let stderr = check_told("libtest-late", config, &[("LVH_WARM_START", "0")], late, ("/console.log]\n", 1));
    assert_eq!(stderr.matches(": booting (").count(), 1, "it is not tried again: {stderr}");
    let unknown = "lvh is not set up right: LVH_KERNELS: kernel `6.x7` is not in ";
    check_told("libtest-unknown", "", &[("LVH_KERNELS", "6.x7")], unknown, ("\nhint: ", 3));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libtest-file");
    fs::write(&file, "").unwrap();
    let data_dir = ("LVH_DATA_DIR", file.to_str().unwrap());
    let words = "the VM did not start: failed to create `";
    check_told("libtest-data", "", &[data_dir], words, ("\n\nhint: lvh writes to its data directory; ", 3));
}

/// Runs three tests that would pass, but for what is wrong, which each names in its first line. Of all that is known so many
/// have that part. Gives standard error.
#[track_caller]
fn check_told(
    name: &str,
    config: &str,
    variables: &[(&str, &str)],
    cause: &str,
    (part, times): (&str, usize),
) -> String {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), name, config);
    let mut command = command(&["--exact", "oddName", "skips_itself", "inner::r#type"]);
    project.own(&mut command);
    let output = command.envs(variables.iter().copied()).output().expect("this test runs again");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("test result: FAILED. 0 passed; 3 failed"), "{stdout}");
    let first_lines = stdout.split(" stdout ----\nfailed").skip(1);
    assert_eq!(first_lines.filter(|block| block.lines().next().unwrap().contains(cause)).count(), 3, "{stdout}");
    assert_eq!((stdout.matches(part).count(), stderr.contains("error: ")), (times, false), "{stdout}{stderr}");
    assert!(!stdout.contains("panicked"), "{stdout}");
    stderr.into_owned()
}

fn this() -> PathBuf {
    env::current_exe().expect("this test has a path")
}

/// What a run left, taken apart.
fn report(output: Output) -> Report {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Report::from(Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("this test runs again")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this test has a path"));
    // Each VM is told, and so counted.
    command.args(args).env("LVH_KERNELS", "6.12").env("LVH_VERBOSE", "1");
    command
}
