//! Tests that write without end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;

#[lvh::test(memory = "256M", timeout = "5s")]
fn a_floods_standard_output() {
    let lines = "more and more\n".repeat(1000);
    while io::stdout().write_all(lines.as_bytes()).is_ok() {}
}

#[lvh::test(memory = "256M")]
fn b_passes() {}

#[lvh::test(memory = "256M", timeout = "5s")]
fn c_floods_the_kernel_log() {
    // Else the kernel lets ten lines through in five seconds.
    fs::write("/proc/sys/kernel/printk_devkmsg", "on\n").unwrap();
    let mut log = File::options().write(true).open("/dev/kmsg").unwrap();
    for number in 0_u64.. {
        log.write_all(format!("<6>line {number}\n").as_bytes()).unwrap();
    }
}

#[lvh::test(memory = "256M")]
fn d_passes() {}

/// The descriptor on which guest mode reports.
#[lvh::test(memory = "256M")]
fn e_floods_the_report() {
    // SAFETY: the descriptor is open, and not closed here.
    let mut report = ManuallyDrop::new(unsafe { File::from_raw_fd(3) });
    report.write_all(&vec![b'x'; 4 << 20]).unwrap();
}

#[lvh::test(memory = "256M")]
fn f_passes() {}
