#[lvh::test]
#[test]
fn std_test() {}

#[lvh::test]
#[tokio::test]
async fn tokio_test() {}

#[lvh::test]
#[test_log::test]
fn log_test() {}

#[lvh::test]
#[rstest::rstest]
#[case(1)]
fn cases(#[case] _x: u32) {}

#[lvh::test]
#[test_case(1)]
fn test_case(_x: u32) {}

#[lvh::test]
#[bench]
fn bench() {}

#[lvh::test]
#[lvh::test(cpus = 2)]
fn ours_twice() {}

#[lvh::test]
#[tag(root)]
fn tagged() {}

#[lvh::test]
#[test_fork::fork]
fn forked() {}

#[lvh::test]
#[test_fork::test]
fn fork_test() {}

#[lvh::test]
#[gtest]
fn google() {}

#[lvh::test]
#[test_context(Context)]
fn context(_context: &mut Context) {}

#[lvh::test]
#[parameterized(x = {1, 2})]
fn parameters(_x: u32) {}

fn main() {}
