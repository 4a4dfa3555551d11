//! Orders of attributes that rstest accepts and that would lose cases. Must not compile.

use rstest::rstest;

#[rstest]
#[lvh::test]
#[case(1)]
#[case(2)]
fn above_the_cases(#[case] _x: u32) {}

#[rstest]
#[case(1)]
#[lvh::test]
#[case(2)]
fn between_the_cases(#[case] _x: u32) {}

#[rstest]
#[lvh::test]
#[case(1)]
#[case(2)]
fn above_cases_with_values(#[case] _x: u32, #[values(1, 2)] _y: u32) {}

fn main() {}
