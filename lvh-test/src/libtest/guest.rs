//! The guest's side: libtest is only the way to the one function.

use std::ffi::CStr;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::guest_mode::{self, Request};

/// Where standard output and standard error are kept while libtest talks.
static KEPT: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// Runs before `main`: what libtest prints of its own accord is not the test's output.
#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; ours uses nothing of Rust's
// runtime.
#[unsafe(link_section = ".init_array")]
static HUSH: extern "C" fn() = hush;

extern "C" fn hush() {
    /// `LIBTEST_VARIABLE`, for C.
    const VARIABLE: &CStr = c"LVH_GUEST_LIBTEST";
    // SAFETY: plain libc calls on strings that live for ever and on descriptors; no other thread runs yet.
    unsafe {
        if libc::getenv(VARIABLE.as_ptr()).is_null() {
            return;
        }
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        for (stream, kept) in [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().zip(&KEPT) {
            kept.store(libc::fcntl(stream, libc::F_DUPFD_CLOEXEC, 10), Ordering::Relaxed);
            libc::dup2(null, stream);
        }
    }
}

/// In a guest, runs the one test and ends the process; on the host, returns.
pub(super) fn run() {
    let Some(request) = Request::take_from_env() else { return };
    // What libtest has begun to say goes where the rest went.
    let _ = io::stdout().flush();
    for (stream, kept) in [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().zip(&KEPT) {
        // SAFETY: descriptors that `hush` made.
        unsafe { libc::dup2(kept.load(Ordering::Relaxed), stream) };
    }
    let code = guest_mode::run(&request);
    let _ = io::stdout().flush();
    process::exit(i32::from(code));
}
