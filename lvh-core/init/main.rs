//! lvh-init: the first process of every VM, and the host's agent in it.
//!
//! 1. Mounts what it needs itself, loads modules, connects to the host, says `Hello`.
//! 2. Waits for `Setup`; builds the root that commands see and enters it; where another program is to be the first process,
//!    becomes that and goes on as a child of it; says `Ready`.
//! 3. Runs commands for the host until `Shutdown` or until the channel closes.
//!
//! Where it is to lead `lvh run` to a disk, it does that instead, and ends: `pid1/disk.rs`. Where it is started as `serve`, it is the
//! host's agent in a machine that has an init of its own: `agent/resident.rs`.
//!
//! Nothing test-specific happens before the host says so. It depends on nothing but `std`: `lvh-core/build.rs` makes it
//! with one call of rustc. Every path out ends in [`power_off`]; the first process must never return.

mod agent;
mod boot;
mod pid1;
mod sys;

#[path = "../src/guest"]
mod guest {
    pub mod protocol;
    pub mod wire;
}

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

fn main() {
    let channel = agent::resident::channel(std::env::args());
    IS_RESIDENT.store(channel.is_some(), Ordering::Relaxed);
    // Commands run as root, and may send this process any signal.
    sys::drop_fault_handlers();
    // A panic of PID 1, in whatever thread, would be a kernel panic that hides its own cause.
    std::panic::set_hook(Box::new(|panic| {
        complain(&panic.to_string());
        power_off();
    }));
    if let Err(error) = channel.map_or_else(boot::run, |channel| agent::resident::run(&channel)) {
        complain(&error.to_string());
    }
    power_off();
}

/// This machine is not lvh's to end.
static IS_RESIDENT: AtomicBool = AtomicBool::new(false);

/// Takes a lock. A panic ends the VM, so that nobody meets one that is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the console why the VM ends; the host quotes the console when it has nothing better.
fn complain(why: &str) {
    if IS_RESIDENT.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "{why}");
        return;
    }
    let line = format!("lvh-init: {why}\n");
    // On a disk without `/dev` there is only what the kernel opened for us.
    let _ = match fs::OpenOptions::new().write(true).open("/dev/console") {
        Ok(mut console) => console.write_all(line.as_bytes()),
        Err(_) => std::io::stderr().write_all(line.as_bytes()),
    };
}

/// Ends the VM, or this process where that is all that there is of lvh.
fn power_off() -> ! {
    if IS_RESIDENT.load(Ordering::Relaxed) {
        std::process::exit(1);
    }
    sys::sync();
    sys::power_off();
    // Only a kernel without any way to power off gets here; the host ends QEMU.
    loop {
        std::thread::park();
    }
}
