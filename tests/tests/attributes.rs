//! Other people's attributes beside ours, run on the host: each test is there, once, and does what it says.

use lvh_tests::{Finished, TestTarget};

/// The tests of `attributes/cases.rs`; beside them, one on several kernels.
const TESTS: &[&str] = &[
    "async_cases::test_case_1_1_expects ... ok",
    "async_cases::test_case_2_two ... ok",
    "fixture_and_cases::case_1 ... ok",
    "fixture_and_cases::case_2 ... ok",
    "parallel_above ... ok",
    "serial_above ... ok",
    "serial_below ... ok",
    "tagged::root::test ... ok",
    "tagged_and_logged::root::test ... ok",
    "tagged_twice::root::wrong::test ... ok",
    "tokio_above ... ok",
    "visible::returns::root::test ... ok",
];

#[track_caller]
fn check(target: &str, ignored: &[&str]) {
    let Finished { code, stdout, stderr } = run(target);
    let stdout = stdout.replace(" - should panic", "");
    let mut found: Vec<_> = stdout.lines().filter_map(|line| line.strip_prefix("test cases::")).collect();
    found.sort_unstable();
    let mut expected: Vec<_> = TESTS.iter().chain(ignored).copied().collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "{stdout}{stderr}");
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

fn run(target: &str) -> Finished {
    Finished::of(TestTarget::build(target).command().env("LVH_MODE", "host"))
}

#[test]
fn with_the_standard_harness() {
    let kernel = |kernel| format!("tagged_on_kernels::root::slow::test::{kernel} ... ignored, slow");
    check("attributes_std", &[&kernel("v5_10"), &kernel("v6_12")]);
}

#[test]
fn with_ours() {
    // On the host there is one kernel.
    check("attributes_lvh", &["tagged_on_kernels::root::slow::test ... ignored, slow"]);
}

#[test]
fn a_test_that_another_attribute_doubles_fails_and_says_why() {
    let Finished { code, stdout, stderr } = run("attributes_twice");
    let why = "failed: the test is there twice, because an attribute above `#[lvh::test]` adds `#[test]`. Remove that";
    assert_eq!((code, stdout.matches(why).count()), (Some(101), 2), "{stdout}{stderr}");
    assert!(stdout.contains("test result: FAILED. 2 passed; 2 failed"), "{stdout}{stderr}");
}
