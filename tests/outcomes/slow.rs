//! Tests that take long, and nothing of the machine.

use std::thread;
use std::time::Duration;

/// Many times what a VM takes to start.
const LONG: Duration = Duration::from_secs(5);

#[lvh::test]
fn a_sleeps() {
    thread::sleep(LONG);
}

#[lvh::test]
fn b_sleeps() {
    thread::sleep(LONG);
}

#[lvh::test]
fn c_sleeps() {
    thread::sleep(LONG);
}

#[lvh::test]
fn d_sleeps() {
    thread::sleep(LONG);
}
