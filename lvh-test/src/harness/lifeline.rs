//! Ending with whoever started us.

use std::env;
use std::thread;

/// Ends this process when the cargo or nextest that started it is gone, however it went: the VMs end with us. A test
/// binary that was started by hand lives on as any program does.
pub(super) fn hold() {
    let started_by_cargo = env::var_os("CARGO").is_some() || env::var_os("NEXTEST").is_some();
    // SAFETY: no memory is involved.
    let parent = unsafe { libc::getppid() };
    if !started_by_cargo || parent <= 1 {
        return;
    }
    // SAFETY: no memory is involved. A descriptor of ours until the process ends.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, parent, 0) } as libc::c_int;
    // SAFETY: no memory is involved.
    if descriptor < 0 || unsafe { libc::getppid() } != parent {
        return;
    }
    thread::spawn(move || {
        let mut watched = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one live `pollfd`.
        while unsafe { libc::poll(&raw mut watched, 1, -1) } < 1 {}
        // Not `exit`: what would run at exit has nobody left to tell.
        // SAFETY: ends the process.
        unsafe { libc::_exit(libc::EXIT_FAILURE) };
    });
}
