//! Tests with other people's attributes, on whichever side of ours they work.

use rstest::{fixture, rstest};
use serial_test::{parallel, serial};
use test_case::test_case;
use test_tag::tag;

#[tag(root)]
#[lvh::test]
fn tagged() {}

#[tag(root, slow)]
#[lvh::test(kernels = ["5.10", "6.12"])]
#[ignore = "slow"]
fn tagged_on_kernels() {}

#[test_tag::tag(root)]
#[tag(wrong)]
#[lvh::test]
#[should_panic(expected = "on purpose")]
fn tagged_twice() {
    panic!("on purpose");
}

/// One module for `tag`, which imports what it makes.
mod visible {
    #[test_tag::tag(root)]
    #[serial_test::serial]
    #[lvh::test]
    fn returns() -> Result<(), std::io::Error> {
        Ok(())
    }
}

#[serial]
#[lvh::test]
fn serial_above() {}

#[lvh::test]
#[serial(disk)]
fn serial_below() -> Result<(), String> {
    Ok(())
}

#[parallel]
#[lvh::test]
#[cfg_attr(all(), allow(unused_mut))]
fn parallel_above() {}

#[test_case(1)]
#[test_case(2; "two")]
#[lvh::test]
async fn async_cases(x: u32) {
    assert!(x > 0);
}

#[tokio::test]
#[lvh::test]
async fn tokio_above() {
    tokio::task::yield_now().await;
}

#[fixture]
fn seven() -> u32 {
    7
}

#[rstest]
#[case(1)]
#[case(2)]
#[serial]
#[lvh::test]
fn fixture_and_cases(seven: u32, #[case] x: u32) {
    assert!(x < seven);
}

#[tag(root)]
#[test_log::test(lvh::test)]
fn tagged_and_logged() {}
