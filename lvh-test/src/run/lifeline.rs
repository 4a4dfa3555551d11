//! Ending with whoever started us.

use std::{env, fs, thread};

/// Ends this process when the cargo or nextest that started it is gone, however it went: the VMs end with us. A test
/// binary that was started by hand lives on as any program does.
pub(crate) fn end_with_cargo() {
    let started_by_cargo = env::var_os("CARGO").is_some() || env::var_os("NEXTEST").is_some();
    // SAFETY: no memory is involved.
    let parent = unsafe { libc::getppid() };
    // 0 is a parent that we cannot see, in another PID namespace.
    if !started_by_cargo || parent == 0 {
        return;
    }
    if adopts(parent) {
        end();
    }
    // SAFETY: no memory is involved. A descriptor of ours until the process ends.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, parent, 0) } as libc::c_int;
    // SAFETY: no memory is involved.
    if unsafe { libc::getppid() } != parent {
        end();
    }
    if descriptor < 0 {
        return;
    }
    thread::spawn(move || {
        let mut watched = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one live `pollfd`.
        while unsafe { libc::poll(&raw mut watched, 1, -1) } < 1 {}
        end();
    });
}

/// Whether `parent` is where processes go that have lost theirs: it was not cargo's death that we saw, but before. In a
/// container the first process may be cargo itself; in a user's session systemd is not the first.
fn adopts(parent: libc::pid_t) -> bool {
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if parent == 1 { !name.starts_with("cargo") } else { name.trim_end() == "systemd" }
}

fn end() -> ! {
    // Not `exit`: what would run at exit has nobody left to tell.
    // SAFETY: ends the process.
    unsafe { libc::_exit(libc::EXIT_FAILURE) };
}
