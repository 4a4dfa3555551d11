//! The harness as a user meets it: names, endings, what nextest asks for.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lvh_tests::{Finished, TestTarget, cargo, empty_directory};

static ENDINGS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("endings"));

/// Runs one test; expects its result word and, if it failed, these texts in its block.
#[track_caller]
fn check(name: &str, result: &str, texts: &[&str]) {
    let Finished { code, stdout, stderr } = ENDINGS.run(["--exact", name]);
    assert!(stdout.starts_with(&format!("\nrunning 1 test\ntest {name}")), "{stdout}\n{stderr}");
    assert!(stdout.contains(&format!(" ... {result}\n")), "{stdout}");
    assert_eq!(code, Some(if result == "FAILED" { 101 } else { 0 }));
    for text in texts {
        assert!(stdout.contains(text), "no `{text}` in:\n{stdout}");
    }
    assert_eq!(stderr, "");
}

#[test]
fn skips_are_ignored_with_their_reason() {
    check("skips", "ignored, for 2 reasons", &["0 passed; 0 failed; 1 ignored"]);
    check("skips_on_another_thread", "ignored, elsewhere", &[]);
}

#[test]
fn kernel_requirements() {
    let why = format!("ignored, needs kernel >= 5, < 5.0.1 (guest is {}): a new thing", lvh::kernel_release());
    check("skips_though_it_should_panic", &why, &[]);
    check("has_the_kernel_it_needs", "ok", &[]);
    let complaint = "malformed kernel requirement `5.8+`: expected an operator";
    check("requires_nonsense", "FAILED", &["panicked at tests/endings/main.rs:", complaint]);
}

#[test]
fn a_process_that_ends_before_its_test_fails() {
    let block = "---- exits_with_zero stdout ----\nleaving\nnote: exited with code 0 before the test returned\n";
    check("exits_with_zero", "FAILED", &[block]);
    check("exits_with_three", "FAILED", &["note: exited with code 3 before the test returned"]);
    check("segfaults", "FAILED", &["---- segfaults stdout ----\nnote: killed by SIGSEGV\n"]);
    check("aborts", "FAILED", &["---- aborts stdout ----\nnote: killed by SIGABRT\n"]);
    check("hangs", "FAILED", &["---- hangs stdout ----\nso far\nnote: timed out after 3s\n"]);
}

/// On the host, where a run takes no VM: the fixture's tests are the attribute's.
#[test]
fn a_backtrace_is_the_tests_own() {
    let mut command = TestTarget::build("in_vms").command();
    command.args(["--exact", "ends::panics", "ends::panics_in_a_future"]);
    let Finished { stdout, .. } = Finished::of(command.env("LVH_MODE", "host").env("RUST_BACKTRACE", "1"));
    let frames: Vec<&str> =
        stdout.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    let own = frames.iter().filter(|frame| frame.contains("in_vms::ends::_::panics")).count();
    let others = frames.iter().filter(|frame| frame.contains("lvh::") || frame.contains("tokio::")).count();
    assert!(own >= 2 && others == 0 && stdout.contains("stack backtrace:"), "{stdout}");
}

/// util-linux's `script` gives it one.
#[test]
fn a_terminal_shows_what_runs() {
    let line = format!("LVH_MODE=host {} --exact hangs", ENDINGS.executable().display());
    let mut command = Command::new("script");
    command
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CI")
        .env_remove("NEXTEST");
    let shown = Finished::of(command.env("TERM", "xterm").stdin(std::process::Stdio::null())).stdout;
    let live = shown.find("    0 s  host: hangs\r\r\n\x1b[K0 of 1 tests done\x1b[J\x1b8").expect(&shown);
    let erased = shown[live..].find("8\x1b[J").expect(&shown);
    assert!(shown[live + erased..].contains("FAILED") && !shown[live + erased + 2..].contains("tests done"), "{shown}");
}

#[test]
fn an_abort_is_no_panic() {
    check(
        "aborts_while_panicking",
        "FAILED",
        &["note: killed by SIGABRT; it had panicked: first, and then in a destructor: second\n"],
    );
}

#[test]
fn children_of_a_test_get_no_descriptors_of_ours() {
    let inherited = Finished::of(Command::new("ls").arg("/proc/self/fd")).stdout;
    let arguments = ["--exact", "sees_an_ordinary_process", "--show-output"];
    let Finished { code, stdout, .. } = ENDINGS.run(arguments);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains(&format!("---- sees_an_ordinary_process stdout ----\n{inherited}\n")), "{stdout}");
}

#[test]
fn nothing_outlives_a_test() {
    let started = Instant::now();
    check("leaves_a_child_behind", "ok", &[]);
    assert!(started.elapsed() < Duration::from_secs(600), "the child was waited for");
}

#[test]
fn only_the_test_itself_decides() {
    check("writes_to_every_descriptor", "ok", &[]);
    let note = "note: something else wrote to lvh's report pipe: \"garbage\"";
    check("garbles_the_report_and_fails", "FAILED", &["all the same", note]);
    let closed = ["exited with code 0 before the test returned", "error: the test closed descriptor "];
    check("closes_every_descriptor", "FAILED", &closed);
    check("forks_a_child_that_returns", "FAILED", &["the parent's verdict counts"]);
    check("sees_an_ordinary_process", "ok", &[]);
}

#[test]
fn panics_of_any_number_and_length() {
    check("catches_many_panics", "ok", &[]);
    check("panics_at_length", "FAILED", &["panicked at", "begins x\nx\n"]);
    let stdout = ENDINGS.run(["--exact", "panics_at_length"]).stdout;
    assert!(!stdout.contains("before the test returned") && !stdout.contains("report pipe"), "{stdout:.2000}");
}

#[test]
fn a_path_selects_all_instances() {
    let listed = |filter: &str| ENDINGS.run(["--list", "--format=terse", "--exact", filter]).stdout;
    assert_eq!(listed("matrix"), "matrix::6.1: test\nmatrix::bpf-next: test\n");
    assert_eq!(listed("matrix::6.1"), "matrix::6.1: test\n");
    assert_eq!(listed("one_kernel"), "one_kernel: test\n");
    assert_eq!(listed("one_kernel::6.1"), "");
    let skipped = ENDINGS.run(["--list", "--format=terse", "--exact", "matrix", "--skip", "matrix::6.1"]);
    assert_eq!(skipped.stdout, "matrix::bpf-next: test\n");
}

#[test]
fn host_mode_runs_a_matrix_once() {
    let Finished { stdout, .. } = Finished::of(ENDINGS.command().args(["matrix"]).env("LVH_MODE", "host"));
    assert!(stdout.contains("running 1 test\ntest matrix ... ok\n"), "{stdout}");
    let wrong = Finished::of(ENDINGS.command().env("LVH_MODE", "hots"));
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(101), ""));
    assert_eq!(wrong.stderr, "error: the environment variable `LVH_MODE` is `hots` (expected `vm` or `host`)\n");
}

#[test]
fn rust_analyzer_hears_of_the_whole_case() {
    let events = |arguments: &[&str]| ENDINGS.run(["matrix", "--format=json"].iter().chain(arguments)).stdout;
    let case_events = |text: &str| text.lines().filter(|line| line.contains("\"matrix\"")).count();
    let explorer = events(&["--nocapture", "-Zunstable-options"]);
    assert_eq!(case_events(&explorer), 2, "{explorer}");
    assert!(explorer.contains("\"test_count\": 2"), "{explorer}");
    assert_eq!(case_events(&events(&[])), 0);
}

#[test]
fn listing_touches_nothing() {
    let home = empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), "untouched");
    let variables = ["HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR"];
    let mut command = ENDINGS.command();
    command.arg("--list").current_dir(&home).env("PATH", "").envs(variables.map(|variable| (variable, &home)));
    let listed = Finished::of(&mut command);
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    assert!(listed.stdout.contains("matrix::bpf-next: test\n"));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
}

#[test]
fn a_reader_that_leaves_causes_no_panic() {
    let mut command = ENDINGS.command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let listed = command.arg("--list").stdout(writer).stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!((listed.status.code(), listed.stderr), (Some(0), Vec::new()));
}

#[test]
fn an_empty_binary_says_so() {
    let Finished { code, stdout, stderr } = TestTarget::build("empty").run(["--test-threads=1"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("\nrunning 0 tests\n\ntest result: ok. 0 passed"), "{stdout}");
    assert_eq!(stderr, "note: no `#[lvh::test]` function is linked into this test binary\n");
}

#[test]
fn nextest_must_find_what_it_asks_for() {
    let run = |name| Finished::of(ENDINGS.command().args(["--exact", name, "--nocapture"]).env("NEXTEST", "1"));
    assert_eq!(run("passes").code, Some(0));
    let lost = run("gone");
    assert_eq!((lost.code, lost.stdout.as_str()), (Some(101), ""));
    assert_eq!(lost.stderr, "error: nextest asked for `gone`, which is not among the tests that were listed\n");
}

#[test]
fn runs_under_nextest() {
    let installed = cargo().args(["nextest", "--version"]).output().unwrap().status.success();
    assert!(installed, "cargo-nextest is not installed (cargo install --locked cargo-nextest)");
    let filter = "test(/^(passes|skips|segfaults|matrix)/)";
    let arguments = ["nextest", "run", "--offline", "--no-fail-fast", "--color=never", "--test=endings", "-E", filter];
    let Finished { code, stderr, .. } = Finished::of(cargo().args(arguments).env("LVH_MODE", "host"));
    assert_eq!(code, Some(100), "{stderr}");
    for line in ["FAIL", "segfaults", "killed by SIGSEGV", "6 tests run: 5 passed, 1 failed"] {
        assert!(stderr.contains(line), "no `{line}` in:\n{stderr}");
    }
    assert!(!stderr.contains("LEAK"), "{stderr}");
}
