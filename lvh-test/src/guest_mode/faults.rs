//! Where a thread was when it touched memory that it must not, divided by zero, or came upon no instruction.
//!
//! A handler has little of a stack, and std's has the last word on what it says of a stack that overflowed. So ours gives way to
//! the handler before it, and only sends the thread the signal by which [`own_stacks`] asks: that is taken once ours has returned, on
//! the thread's own stack and above what it did. Then the same instruction faults anew, and the process dies of it as it would have.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{process, ptr};

use lvh_core::vm::STACKS_SIGNAL;

use super::own_stacks;

const FAULTS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
/// How far from the end of its stack an access may be that overflows it, in bytes. std and the compiler touch page after page.
const NEAR: usize = 64 << 10;
/// How long telling may take, in seconds: a thread that died within the allocator waits for itself.
const PATIENCE: libc::c_uint = 10;

/// What was to be done before, and by which process.
struct Before {
    process: u32,
    actions: [libc::sigaction; FAULTS.len()],
}

static BEFORE: OnceLock<Before> = OnceLock::new();

/// Has the threads of this process tell where they fault.
pub(super) fn watch() {
    let actions = FAULTS.map(|fault| {
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zeros are a valid `sigaction`, as which it was made; the call only writes to it.
        unsafe {
            libc::sigaction(fault, ptr::null(), before.as_mut_ptr());
            before.assume_init()
        }
    });
    if BEFORE.set(Before { process: process::id(), actions }).is_err() {
        return;
    }
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    for fault in FAULTS {
        // SAFETY: as above; the handler lives as long as the process.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaddset(&raw mut action.sa_mask, STACKS_SIGNAL);
            libc::sigaction(fault, &raw const action, ptr::null_mut());
        }
    }
}

extern "C" fn on_fault(fault: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else { return };
    for (fault, action) in FAULTS.into_iter().zip(&before.actions) {
        // SAFETY: they were there before.
        unsafe { libc::sigaction(fault, action, ptr::null_mut()) };
    }
    // SAFETY: the kernel gave both.
    let (was_sent, address, stack) =
        unsafe { ((*info).si_code <= 0, (*info).si_addr() as usize, stack_pointer(context.cast())) };
    if was_sent {
        // It would not come again.
        own_stacks::signal(own_stacks::this_thread(), fault);
    } else if process::id() == before.process && address.abs_diff(stack) > NEAR {
        bound(fault);
        own_stacks::ask_for_fault();
    }
}

/// Sees that the process dies of `fault`, even where telling of it does not end.
fn bound(fault: libc::c_int) {
    static FAULT: AtomicI32 = AtomicI32::new(0);
    extern "C" fn on_alarm(_signal: libc::c_int) {
        let fault = FAULT.load(Ordering::Relaxed);
        // SAFETY: plain numbers; by default each of the faults ends the process.
        unsafe {
            libc::signal(fault, libc::SIG_DFL);
            libc::kill(libc::getpid(), fault);
        }
    }
    let handler: extern "C" fn(libc::c_int) = on_alarm;
    FAULT.store(fault, Ordering::Relaxed);
    // SAFETY: plain numbers, and a handler that lives as long as the process.
    unsafe {
        libc::signal(libc::SIGALRM, handler as libc::sighandler_t);
        libc::alarm(PATIENCE);
    }
}

/// Where the stack of the thread ended.
unsafe fn stack_pointer(context: *const libc::ucontext_t) -> usize {
    // SAFETY: the caller has it from the kernel.
    let machine = unsafe { &(*context).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    return machine.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return machine.sp as usize;
    // lvh runs on no other machine.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return machine as *const _ as usize;
}
