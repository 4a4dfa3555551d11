//! What Rust's harness would run twice, and ours not at all.

use test_case::test_case;

#[test]
#[lvh::test]
fn std_above() {}

#[test_case(1)]
#[lvh::test]
fn case_above(x: u32) {
    assert!(x > 0);
}
