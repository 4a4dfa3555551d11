//! Tests that take long, and nothing of the machine.

use lvh_tests::wait_for_vms;

#[lvh::test(timeout = "10m")]
fn a_waits() {
    wait_for_vms();
}

#[lvh::test(timeout = "10m")]
fn b_waits() {
    wait_for_vms();
}

#[lvh::test(timeout = "10m")]
fn c_waits() {
    wait_for_vms();
}

#[lvh::test(timeout = "10m")]
fn d_waits() {
    wait_for_vms();
}
