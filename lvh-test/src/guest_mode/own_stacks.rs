//! Where a test's threads are in its own code, told when the host asks because the test's time is up.
//!
//! lvh-init sends a signal ([`STACKS_SIGNAL`]) that guest mode has a handler for. On the thread that waits for the test's, which
//! holds no lock, the handler sends the same signal to the others, one after the other. On those it takes a backtrace and
//! does not return: the process is about to be killed, and what a thread would do meanwhile is nothing of the test's. A thread that
//! holds the allocator's lock, or blocks the signal, cannot answer; the host's deadline ends that.

use std::backtrace::Backtrace;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, ptr, thread};

use lvh_core::vm::STACKS_SIGNAL;

use super::Reporter;
use crate::case::TestCase;
use crate::record::Record;

/// How long one thread may take to say where it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process that can be asked.
struct Asked {
    case: &'static TestCase,
    reporter: &'static Reporter,
    /// The thread that waits for the test's.
    waiter: i32,
}

static ASKED: OnceLock<Asked> = OnceLock::new();
/// The test's thread.
static TEST: AtomicI32 = AtomicI32::new(0);
/// The thread that is to answer now.
static NEXT: AtomicI32 = AtomicI32::new(0);
static ANSWER: AtomicPtr<Answer> = AtomicPtr::new(ptr::null_mut());

struct Answer {
    thread: i32,
    trace: Backtrace,
}

/// The thread that tells where it faulted.
static FAULTED: AtomicI32 = AtomicI32::new(0);

/// Makes the process answer; the calling thread is to wait for the test's.
pub(super) fn prepare(case: &'static TestCase, reporter: &'static Reporter) {
    let _ = ASKED.set(Asked { case, reporter, waiter: this_thread() });
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: zeros are a valid `sigaction`; the handler lives as long as the process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(STACKS_SIGNAL, &raw const action, ptr::null_mut());
    }
}

/// Has the calling thread tell where it is as soon as no handler of a signal runs on it.
pub(super) fn ask_for_fault() {
    let thread = this_thread();
    FAULTED.store(thread, Ordering::Relaxed);
    signal(thread, STACKS_SIGNAL);
}

/// The calling thread is the test's.
pub(super) fn this_is_the_test() {
    TEST.store(this_thread(), Ordering::Relaxed);
}

extern "C" fn on_signal(_signal: libc::c_int) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let Some(asked) = ASKED.get() else { return };
    let thread = this_thread();
    if FAULTED.load(Ordering::Relaxed) == thread {
        asked.tell(thread, &Backtrace::force_capture());
        return;
    }
    if NEXT.load(Ordering::Acquire) == thread {
        answer(thread);
    }
    if thread != asked.waiter {
        // The kernel chose a thread; it is not the one that can ask the others.
        send(asked.waiter);
    } else if !TOLD.swap(true, Ordering::Relaxed) {
        asked.tell_all();
    }
}

/// Keeps the backtrace of the thread, and the thread.
fn answer(thread: i32) -> ! {
    let answer = Box::new(Answer { thread, trace: Backtrace::force_capture() });
    ANSWER.store(Box::into_raw(answer), Ordering::Release);
    loop {
        // SAFETY: it only waits.
        unsafe { libc::pause() };
    }
}

impl Asked {
    /// The test's thread first.
    fn tell_all(&self) {
        let test = TEST.load(Ordering::Relaxed);
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let others = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
        let others = others.filter(|thread| ![test, self.waiter].contains(thread));
        for thread in std::iter::once(test).chain(others) {
            trace_of(thread).iter().for_each(|trace| self.tell(thread, trace));
        }
        self.reporter.send(&Record::Explained);
    }

    /// Says where a thread is, unless it is the one on which Rust's harness waits.
    fn tell(&self, thread: i32, trace: &Backtrace) {
        let trace = trace.to_string();
        if trace.contains("test::run_tests") {
            return;
        }
        let name = if thread == TEST.load(Ordering::Relaxed) { self.case.path() } else { name(thread) };
        let frames = frames(&trace, self.case.file);
        self.reporter.send(&Record::Stack { thread: format!("thread `{name}` ({thread})"), frames });
    }
}

/// The backtrace of a thread that answers in time.
fn trace_of(thread: i32) -> Option<Backtrace> {
    let deadline = Instant::now() + PATIENCE;
    NEXT.store(thread, Ordering::Release);
    send(thread);
    while Instant::now() < deadline {
        let answer = ANSWER.swap(ptr::null_mut(), Ordering::Acquire);
        if !answer.is_null() {
            // SAFETY: it comes from a box, and was taken from there by us alone.
            let answer = unsafe { Box::from_raw(answer) };
            if answer.thread == thread {
                return Some(answer.trace);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

fn send(thread: i32) {
    signal(thread, STACKS_SIGNAL);
}

pub(super) fn signal(thread: i32, signal: libc::c_int) {
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
}

pub(super) fn this_thread() -> i32 {
    // SAFETY: it always succeeds.
    unsafe { libc::gettid() }
}

fn name(thread: i32) -> String {
    fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// The frames of a backtrace as std writes it that are the test's, innermost first: `NAME at FILE:LINE`, or `NAME` alone where the
/// file is std's. Paths begin where `file`, a source file of the test's as the compiler named it, does.
fn frames(trace: &str, file: &str) -> Vec<String> {
    let all = parse(trace);
    // Ours, then the kernel's return from a signal.
    let first = all.iter().rposition(|frame| frame.name.contains("::own_stacks::")).map_or(0, |ours| ours + 2);
    let end = all.iter().position(|frame| frame.name.contains("__rust_begin_short_backtrace")).unwrap_or(all.len());
    let frames = &all[first.min(end)..end];
    let root = frames.iter().find_map(|frame| frame.file()?.strip_suffix(file));
    // What std does on the way from one function of the test's to the other says nothing; what it waits in does.
    let outer = frames.iter().position(|frame| frame.file().is_some()).unwrap_or(frames.len());
    let told = frames.iter().enumerate().filter(|(index, frame)| *index < outer || frame.file().is_some());
    told.map(|(_, frame)| frame.text(root.unwrap_or_default())).collect()
}

/// One function, and `FILE:LINE:COLUMN` where that is known.
struct Frame<'a> {
    name: &'a str,
    place: Option<String>,
}

/// Reads lines such as `   3: NAME`, `      NAME` (a function that was inlined there) and `             at FILE:LINE:COLUMN`.
fn parse(trace: &str) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for line in trace.lines().map(str::trim_start) {
        match (line.strip_prefix("at "), frames.last_mut()) {
            (Some(place), Some(frame)) => frame.place = absolute(place),
            _ => frames.push(Frame { name: unnumbered(line), place: None }),
        }
    }
    frames
}

fn unnumbered(line: &str) -> &str {
    let numbered = line.split_once(": ").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    numbered.map_or(line, |(_, name)| name)
}

/// std shows what is below the working directory as `./FILE`; what else begins so was relative when the C library was compiled.
fn absolute(place: &str) -> Option<String> {
    match place.strip_prefix("./") {
        Some(below) if !below.contains("/../") => Some(env::current_dir().ok()?.join(below).display().to_string()),
        Some(_) => None,
        None => Some(place.to_owned()),
    }
}

impl Frame<'_> {
    /// The file, if it is none of std's.
    fn file(&self) -> Option<&str> {
        let file = self.place.as_deref()?.rsplitn(3, ':').nth(2)?;
        (!file.starts_with("/rustc/")).then_some(file)
    }

    fn text(&self, root: &str) -> String {
        let line = self.place.as_deref().and_then(|place| place.rsplit(':').nth(1));
        match (self.file(), line) {
            (Some(file), Some(line)) => format!("{} at {}:{line}", self.name, file.strip_prefix(root).unwrap_or(file)),
            _ => self.name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::frames;

    const TRACE: &str = "   0: lvh::guest_mode::own_stacks::answer
             at /lvh/lvh-test/src/guest_mode/own_stacks.rs:68:55
   1: lvh::guest_mode::own_stacks::on_signal
             at /lvh/lvh-test/src/guest_mode/own_stacks.rs:54:9
   2: <unknown>
   3: __futex_wait
             at ./misc/../sysdeps/x86_64/syscall.S:36
   4: std::sync::mutex::Mutex<T>::lock
             at /rustc/0123/library/std/src/sync/mutex.rs:9:1
      it::deeper::inlined
             at /w/other/src/lib.rs:7:3
   5: it::waits
             at /w/tests/it.rs:12:9
   6: core::ops::function::FnOnce::call_once
             at /rustc/0123/library/core/src/ops/function.rs:250:5
   7: lvh::__private::__rust_begin_short_backtrace
   8: lvh::guest_mode::run_body
";

    #[test]
    fn only_what_is_the_tests_is_left() {
        let expected =
            ["__futex_wait", "std::sync::mutex::Mutex<T>::lock", "it::deeper::inlined at other/src/lib.rs:7"];
        assert_eq!(frames(TRACE, "tests/it.rs"), [&expected[..], &["it::waits at tests/it.rs:12"]].concat());
        assert_eq!(frames(TRACE, "nowhere.rs")[3], "it::waits at /w/tests/it.rs:12");
        assert_eq!(frames("", "it.rs"), [""; 0]);
    }
}
