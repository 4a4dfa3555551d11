//! `#[lvh::test]` under Rust's own harness, without `harness = false`: it compiles without a warning, and runs.

#![deny(warnings, missing_docs, unreachable_pub, unused, clippy::pedantic)]

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use lvh_tests::Project;

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

    #[lvh::test]
    #[ignore = "fails"]
    fn exits() {
        std::process::exit(0);
    }
}

#[test]
fn lists_one_test_for_each_function_and_named_kernel() {
    let listed = String::from_utf8(run(&["--list", "--format=terse"]).stdout).unwrap();
    let listed: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let expected = [
        "failing::exits",
        "failing::panics",
        "inner::r#type",
        "lists_one_test_for_each_function_and_named_kernel",
        "oddName",
        "on_each::v5_10",
        "on_each::v6_12",
        "on_the_default_kernel",
        "on_the_host",
        "shows_what_failed_and_why_a_test_was_skipped",
        "skips_itself",
        "what_keeps_all_tests_from_running_is_told_once",
    ];
    assert_eq!(listed, expected);
}

#[test]
fn shows_what_failed_and_why_a_test_was_skipped() {
    let output = run(&["--include-ignored", "failing", "skips_itself"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("test result: FAILED. 1 passed; 2 failed"), "{stdout}");
    assert!(stdout.contains("---- failing::panics stdout ----\nbefore the end\n"), "{stdout}");
    assert!(stdout.contains("thread 'failing::panics'") && stdout.contains("tests/libtest.rs:"), "{stdout}");
    assert!(stdout.contains("note: exited with code 0 before the test returned"), "{stdout}");
    assert!(!stdout.contains("running 1 test"), "{stdout}");
    assert!(stderr.contains("lvh: test skips_itself skipped: for a reason\n"), "{stderr}");
    // One VM for all three.
    assert_eq!(stderr.matches("ready in").count(), 1, "{stderr}");
}

#[test]
fn what_keeps_all_tests_from_running_is_told_once() {
    let missing = "this machine lacks something: `qemu-system-";
    check_told_once("libtest-no-qemu", "", &[("PATH", "/nonexistent")], missing, "was not found in PATH");
    let late = "the VM did not start: kernel `6.12` (6.12.";
    let config = "[vm]\nboot-timeout = '500ms'";
    let stderr = check_told_once("libtest-late", config, &[], late, "timed out after 500ms");
    assert_eq!(stderr.matches(": booting (").count(), 1, "it is not tried again: {stderr}");
    let unknown = "lvh is not set up right: LVH_KERNELS: kernel `6.7` is not in ";
    check_told_once("libtest-unknown", "", &[("LVH_KERNELS", "6.7")], unknown, "hint: ");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libtest-file");
    fs::write(&file, "").unwrap();
    let data_dir = ("LVH_DATA_DIR", file.to_str().unwrap());
    check_told_once("libtest-data", "", &[data_dir], "the VM did not start: failed to create `", "Not a directory");
}

/// Runs three tests that would pass, but for what is wrong; gives standard error.
#[track_caller]
fn check_told_once(name: &str, config: &str, variables: &[(&str, &str)], short: &str, report: &str) -> String {
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), name, config);
    let mut command = command(&["--exact", "oddName", "skips_itself", "inner::r#type"]);
    project.own(&mut command);
    let output = command.envs(variables.iter().copied()).output().expect("this test runs again");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("test result: FAILED. 0 passed; 3 failed"), "{stdout}");
    assert_eq!(stdout.matches(&format!(" stdout ----\nnote: {short}")).count(), 3, "{stdout}");
    let errors = stderr.lines().filter(|line| line.trim_start_matches("lvh: ").starts_with("error: "));
    assert_eq!(errors.count(), 1, "{stderr}");
    assert_eq!(stderr.matches(report).count(), 1, "{stderr}");
    assert!(!stdout.contains("hint: ") && !stdout.contains("panicked"), "{stdout}");
    stderr.into_owned()
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("this test runs again")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("this test has a path"));
    command.args(args).env("LVH_KERNELS", "6.12");
    command
}
