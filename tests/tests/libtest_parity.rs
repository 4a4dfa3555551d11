//! The same cases under libtest and under lvh must look the same to whoever reads the output.

use std::sync::LazyLock;

use lvh_tests::{Finished, TestTarget};

static LIBTEST: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("parity_std"));
static LVH: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("parity_lvh"));

/// Runs both with `arguments` (after `NAME=value` for the environment) and compares everything.
#[track_caller]
fn check(line: &str) {
    let (expected, got) = (run(&LIBTEST, line), run(&LVH, line));
    assert_eq!(got.stdout, expected.stdout, "stdout of `{line}`");
    assert_eq!((got.code, got.stderr), (expected.code, expected.stderr), "exit code and stderr of `{line}`");
}

/// As `check`, where tests end in any order.
#[track_caller]
fn check_unordered(line: &str) {
    let sorted = |target| {
        let Finished { code, stdout, .. } = run(target, line);
        let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
        lines.sort();
        (code, lines)
    };
    assert_eq!(sorted(&LVH), sorted(&LIBTEST), "{line}");
}

fn run(target: &TestTarget, line: &str) -> Finished {
    let (variables, arguments): (Vec<&str>, Vec<&str>) =
        line.split_whitespace().partition(|word| word.starts_with("RUST_"));
    let variables = variables.iter().filter_map(|variable| variable.split_once('='));
    let mut command = target.command();
    // libtest takes unstable options on a stable compiler only so.
    command.env("RUSTC_BOOTSTRAP", "1").env("LVH_MODE", "host").env("TERM", "xterm");
    let Finished { code, stdout, stderr } = Finished::of(command.envs(variables).args(arguments));
    Finished { code, stdout: normalise(&stdout), stderr: normalise(&stderr) }
}

/// Hides times, thread numbers and positions. lvh knows the line of the attribute, libtest the columns of the name.
fn normalise(text: &str) -> String {
    // std prints this with a process' first panic; under lvh each test is a process.
    let hint = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
    let text = text.replace(&format!("{hint}\n"), "").replace(&format!("{hint}\\n"), "");
    // libtest forgets to escape this one.
    let text = text.replace("needs \"more\" time\",", "needs \\\"more\\\" time\",");
    ["finished in ", "\"exec_time\": ", " <", "' (", "did not panic as expected at "]
        .into_iter()
        .chain(["\"start_line\": ", "\"start_col\": ", "\"end_line\": ", "\"end_col\": "])
        .fold(text, |text, prefix| hide_after(&text, prefix))
}

/// Replaces the word after each `prefix` by `_`.
fn hide_after(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |hidden, part| {
        let rest = part.trim_start_matches(|c: char| !c.is_whitespace() && !",)\">".contains(c));
        format!("{hidden}{prefix}_{rest}")
    })
}

#[test]
fn formats() {
    check("--test-threads=1");
    check("--test-threads=1 -q");
    check("--test-threads=1 --quiet");
    check("--test-threads=1 --format pretty -q");
    check("--test-threads=1 --format=terse");
    check("--test-threads=1 --format=json -Zunstable-options");
    check("--test-threads=1 --color=always");
    check("--test-threads=1 --color=always -q");
    check("--test-threads=1 --color never");
}

#[test]
fn output_of_the_tests() {
    check("--test-threads=1 --show-output");
    check("--test-threads=1 --show-output -q");
    check("--test-threads=1 --show-output --format=json -Zunstable-options");
    check("--test-threads=1 --nocapture");
    check("--test-threads=1 --no-capture");
    check("--test-threads=1 RUST_TEST_NOCAPTURE=1");
    check("--test-threads=1 RUST_TEST_NOCAPTURE=0");
}

#[test]
fn times() {
    check("--test-threads=1 --report-time -Zunstable-options");
    check("--test-threads=1 --report-time -Z unstable-options --format json");
}

#[test]
fn filters() {
    check("passes");
    check("passes ok --test-threads=1");
    check("nosuch");
    check("--exact passes");
    check("--exact cases::passes cases::nested::returns_ok --test-threads=1");
    check("--skip panic --skip=fails --test-threads=1");
    check("nested --skip ok --test-threads=1");
    check("--exact --skip cases::passes --test-threads=1");
    check("--exclude-should-panic -Zunstable-options --test-threads=1");
}

#[test]
fn ignored_tests() {
    check("--ignored --test-threads=1");
    check("--include-ignored --test-threads=1");
    check("--include-ignored --test-threads=1 -q");
    check("--ignored passes");
}

#[test]
fn listing() {
    check("--list");
    check("--list nested");
    check("--list --exact cases::passes");
    check("--list nosuch");
    check("--list -q");
    check("--list --format terse");
    check("--list --format terse --ignored");
    check("--list --include-ignored");
    check("--list --format json -Zunstable-options");
    check("--list --bench");
}

#[test]
fn tests_and_benches() {
    check("--test --test-threads=1");
    check("--bench --test-threads=1");
    check("--bench --ignored --test-threads=1");
    check("--test --bench passes");
}

#[test]
fn fail_fast() {
    check("--fail-fast -Zunstable-options --test-threads=1 --skip fails");
}

#[test]
fn many_threads() {
    check_unordered("--test-threads=4");
    check_unordered("--test-threads=4 --format=json -Zunstable-options");
    check_unordered("RUST_TEST_THREADS=3 passes ok");
}

#[test]
fn wrong_arguments() {
    check("--nope");
    check("-x");
    check("--test-threads=0");
    check("--test-threads=x");
    check("--test-threads");
    check("--format=foo");
    check("--color=x");
    check("--skip");
    check("--exact --exact");
    check("-qq");
    check("--quiet=3");
    check("-Zfoo");
    check("--ignored --include-ignored");
}

#[test]
fn wrong_thread_variable() {
    for value in ["0", "x"] {
        let line = format!("RUST_TEST_THREADS={value}");
        let (expected, got) = (run(&LIBTEST, &line), run(&LVH, &line));
        assert_eq!((got.code, &got.stdout), (expected.code, &expected.stdout));
        assert!(got.stderr.contains(&format!("RUST_TEST_THREADS is `{value}`, should be a positive integer.")));
    }
}

#[test]
fn help() {
    let got = run(&LVH, "-h");
    assert_eq!((got.code, got.stderr.as_str()), (Some(0), ""));
    for option in run(&LIBTEST, "--help").stdout.split_whitespace().filter(|word| word.starts_with("--")) {
        let option = option.trim_end_matches([',', '.']);
        assert!(got.stdout.contains(option), "`{option}` is not in the help:\n{}", got.stdout);
    }
}
