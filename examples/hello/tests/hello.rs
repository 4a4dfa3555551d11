//! Two functions that run on a real kernel.

use std::fs;

#[lvh::test]
fn runs_as_root_on_the_kernel_under_test() {
    let release = lvh::kernel_release();
    println!("hello from Linux {release}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim(), release);
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("Uid:\t0\t0\t0\t0"));
}

#[lvh::test(kernel = "6.1")]
fn on_linux_6_1() {
    assert!(lvh::kernel_release().starts_with("6.1."));
}

lvh::main!();
