//! PID 1 of the guests that the benchmark makes itself; depends on `std` alone.
//!
//! - Without `/modules`: the floor. Says how many cycles the machine has run, and powers off.
//! - With `/modules`: what vmtest needs before its own init on a kernel that has 9p as modules. Loads them, mounts the
//!   root that vmtest's command line describes, and starts the init that it names there.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

unsafe extern "C" {
    fn mount(
        source: *const c_char,
        target: *const c_char,
        fstype: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn reboot(how: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

fn main() {
    let cycles = cycles();
    match Path::new("/modules").is_dir() {
        true => complain(switch_root()),
        false => announce(cycles),
    }
    const RB_POWER_OFF: c_int = 0x4321_fedc;
    // SAFETY: no memory is involved.
    unsafe { reboot(RB_POWER_OFF) };
}

/// The processor's counter: under QEMU's `-icount shift=0` it counts instructions since the machine was switched on.
fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has one, and Linux lets user space read it.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    0
}

/// The line shows that a guest ran.
fn announce(cycles: u64) {
    // Level 1: `quiet` does not keep it off the console.
    let _ = fs::write("/dev/kmsg", format!("<1>floor-init: cycles={cycles}\n"));
}

fn complain(result: io::Result<()>) {
    if let (Err(error), Ok(mut console)) = (result, File::create("/dev/console")) {
        let _ = writeln!(console, "bench-init: {error}");
    }
}

fn switch_root() -> io::Result<()> {
    load_modules()?;
    attach("proc", "/proc", "proc", 0, "")?;
    let words = fs::read_to_string("/proc/cmdline")?;
    let value = |key: &str| words.split_whitespace().find_map(|word| word.strip_prefix(key)).unwrap_or_default();
    attach("/dev/root", "/newroot", "9p", 0, value("rootflags="))?;
    std::env::set_current_dir("/newroot")?;
    const MS_MOVE: c_ulong = 8192;
    attach(".", "/", "", MS_MOVE, "")?;
    let dot = CString::new(".")?;
    // SAFETY: a NUL-terminated string that outlives the call.
    check(unsafe { chroot(dot.as_ptr()) })?;
    std::env::set_current_dir("/")?;
    Err(Command::new(value("init=")).exec())
}

fn load_modules() -> io::Result<()> {
    let mut files = fs::read_dir("/modules")?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        #[cfg(target_arch = "x86_64")]
        const FINIT_MODULE: c_long = 313;
        #[cfg(not(target_arch = "x86_64"))]
        const FINIT_MODULE: c_long = 273;
        // SAFETY: an open file, an empty NUL-terminated string, no flags.
        check(unsafe { syscall(FINIT_MODULE, File::open(file)?.as_raw_fd(), c"".as_ptr(), 0 as c_int) } as c_int)?;
    }
    Ok(())
}

fn attach(source: &str, target: &str, fstype: &str, flags: c_ulong, data: &str) -> io::Result<()> {
    let (source, to) = (CString::new(source)?, CString::new(target)?);
    let (fstype, data) = (CString::new(fstype)?, CString::new(data)?);
    // SAFETY: four NUL-terminated strings that outlive the call.
    check(unsafe { mount(source.as_ptr(), to.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast()) })
        .map_err(|error| io::Error::new(error.kind(), format!("failed to mount `{target}`: {error}")))
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
