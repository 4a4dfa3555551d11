//! Ending with whoever started us.

use std::{env, fs};

use lvh_core::machine::start_thread;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

/// Ends this process when the cargo or nextest that started it is gone, however it went: the VMs end with us. A test
/// binary that was started by hand lives on as any program does.
///
/// # Errors
/// The thread that waits for that cannot be started.
pub(crate) fn end_with_cargo() -> lvh_core::Result<()> {
    let started_by_cargo = env::var_os("CARGO").is_some() || env::var_os("NEXTEST").is_some();
    // None is a parent that we cannot see, in another PID namespace.
    let Some(parent) = getppid().filter(|_| started_by_cargo) else { return Ok(()) };
    if adopts(parent) {
        end();
    }
    // A descriptor of ours until the process ends.
    let descriptor = pidfd_open(parent, PidfdFlags::empty());
    if getppid() != Some(parent) {
        end();
    }
    let Ok(descriptor) = descriptor else { return Ok(()) };
    let watched = start_thread("lvh-lifeline", move || {
        while poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None).unwrap_or(0) < 1 {}
        end();
    });
    watched.map(drop)
}

/// Whether `parent` is where processes go that have lost theirs: it was not cargo's death that we saw, but before. In a
/// container the first process may be cargo itself; in a user's session systemd is not the first.
fn adopts(parent: Pid) -> bool {
    let name = fs::read_to_string(format!("/proc/{}/comm", parent.as_raw_nonzero())).unwrap_or_default();
    if parent == Pid::INIT { !name.starts_with("cargo") } else { name.trim_end() == "systemd" }
}

fn end() -> ! {
    // Not `exit`: what would run at exit has nobody left to tell.
    // SAFETY: ends the process.
    unsafe { libc::_exit(libc::EXIT_FAILURE) };
}
