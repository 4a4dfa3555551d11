//! What the compiler says about right and wrong uses of `#[lvh::test]`.

use std::process::Command;

/// One function for all, so that the dependencies are built once. `TRYBUILD=overwrite` takes new texts over.
#[test]
fn attribute() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}

#[test]
fn lost_cases() {
    let cargo = ["test", "--offline", "--no-run", "--color=never", "--package=lvh-tests", "--test=lost_cases"];
    let output = Command::new(env!("CARGO")).args(cargo).output().expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused: Vec<&str> = stderr.lines().filter_map(|line| line.trim().strip_prefix("--> tests/ui/")).collect();
    let expected = ["lost_cases.rs:6:1", "lost_cases.rs:13:1", "lost_cases.rs:18:1"];
    assert!(refused == expected && stderr.contains("the other cases would be lost"), "{stderr}");
}
