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

fn main() {}
