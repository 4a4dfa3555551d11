//! Tests that a signal kills: what the CPU or the kernel does not let them do where that is easily done, and else what
//! they send themselves.

use std::arch::asm;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::{ptr, thread};

/// Has `signal` do what it does by default. Rust's runtime ignores or handles some.
fn by_default(signal: libc::c_int) {
    // SAFETY: no handler runs.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

fn send_myself(signal: libc::c_int) {
    by_default(signal);
    // SAFETY: kill takes plain numbers.
    unsafe { libc::kill(libc::getpid(), signal) };
    loop {
        thread::park();
    }
}

macro_rules! sent {
    ($($test:ident: $signal:expr;)*) => {$(
        #[lvh::test]
        fn $test() {
            send_myself($signal);
        }
    )*};
}

sent! {
    sighup: libc::SIGHUP;
    sigint: libc::SIGINT;
    sigquit: libc::SIGQUIT;
    sigterm: libc::SIGTERM;
    sigusr1: libc::SIGUSR1;
    sigusr2: libc::SIGUSR2;
    sigprof: libc::SIGPROF;
    sigio: libc::SIGIO;
    sigrtmin_and_3: libc::SIGRTMIN() + 3;
}

#[lvh::test]
fn sigill() {
    // SAFETY: none: the fault is the point.
    unsafe { asm!("ud2") };
}

#[lvh::test]
fn sigtrap() {
    // SAFETY: none: the fault is the point.
    unsafe { asm!("int3") };
}

#[lvh::test]
fn sigfpe() {
    // SAFETY: none: the fault is the point.
    unsafe { asm!("div {zero:e}", zero = in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _) };
}

/// Beyond the end of a mapped file there is no memory.
#[lvh::test]
fn sigbus() {
    let file = File::create_new("/tmp/empty").and_then(|_| File::open("/tmp/empty")).unwrap();
    // SAFETY: a new mapping, in nobody's way.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    fs::remove_file("/tmp/empty").unwrap();
    by_default(libc::SIGBUS);
    // SAFETY: none: the fault is the point.
    unsafe { page.cast::<u8>().read_volatile() };
}

#[lvh::test]
fn sigpipe() -> io::Result<()> {
    by_default(libc::SIGPIPE);
    let (_, mut writer) = io::pipe()?;
    writer.write_all(b"to nobody")
}

#[lvh::test]
fn sigalrm() {
    // SAFETY: plain numbers.
    unsafe { libc::alarm(1) };
    loop {
        thread::park();
    }
}

#[lvh::test]
fn sigxcpu() {
    limit(libc::RLIMIT_CPU, 1);
    loop {
        std::hint::spin_loop();
    }
}

#[lvh::test]
fn sigxfsz() -> io::Result<()> {
    limit(libc::RLIMIT_FSIZE, 0);
    fs::write("/tmp/too-long", "one byte is too much")
}

fn limit(resource: libc::__rlimit_resource_t, soft: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a live `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// A filter that allows no system call at all.
#[lvh::test]
fn sigsys() {
    const RETURN: u16 = 0x06;
    let mut filter = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS }];
    let program = libc::sock_fprog { len: 1, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live through the call.
    unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
}
