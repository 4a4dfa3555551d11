//! Guest mode: the test binary, started to run one test and nothing else.
//!
//! Whoever starts it (lvh-init in the guest, or the harness itself for tests on the host) sets [`TEST_VARIABLE`] to the
//! case's path and [`REPORT_VARIABLE`] to an inherited descriptor. Standard output and standard error stay the test's
//! own; how the body ended goes to that descriptor, so that nothing the test prints or how it exits can be taken for a
//! verdict.

mod faults;
mod own_stacks;

use std::any::Any;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::{self, ExitCode};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::{env, fs, io};

use crate::case::TestCase;
use crate::record::{Payload, Record};

/// The path of the case to run.
const TEST_VARIABLE: &str = "LVH_GUEST_TEST";
/// The number of the descriptor to report on.
const REPORT_VARIABLE: &str = "LVH_GUEST_REPORT";
/// libtest's exit code for a failure.
pub(crate) const FAILURE: u8 = 101;

/// Set for a test binary whose `main` is libtest's.
pub(crate) const LIBTEST_VARIABLE: &str = "LVH_GUEST_LIBTEST";

/// Set where the kernel's log is the test's alone: it gets a mark where the test begins.
pub(crate) const KERNEL_LOG_VARIABLE: &str = "LVH_GUEST_KERNEL_LOG";

/// How this test binary is started again to run one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// What follows the program's name.
    pub(crate) arguments: Vec<OsString>,
    /// `main` is libtest's.
    pub(crate) libtest: bool,
}

impl Launch {
    /// With the arguments that this process has: tests may look at them.
    pub(crate) fn as_we_are() -> Self {
        Self { arguments: env::args_os().skip(1).collect(), libtest: false }
    }

    /// The variables that ask for the case at `path`, reporting on `fd`.
    pub(crate) fn variables(&self, path: &str, fd: RawFd) -> Vec<(&'static str, String)> {
        let mut variables = vec![(TEST_VARIABLE, path.to_owned()), (REPORT_VARIABLE, fd.to_string())];
        variables.extend(self.libtest.then(|| (LIBTEST_VARIABLE, "1".to_owned())));
        variables
    }
}

/// What guest mode writes to `/dev/kmsg` before the test at `path` begins: it tells the time on the kernel's clock, and
/// whoever reads a VM's whole log which test a line belongs to.
pub(crate) fn start_mark(path: &str) -> String {
    format!("lvh: test {path} begins")
}

/// The payload with which a skipped test unwinds.
struct Skipped;

/// What the process was started for.
#[derive(Debug)]
pub(crate) struct Request {
    path: String,
    report: Option<String>,
    marks_kernel_log: bool,
}

impl Request {
    /// Reads what the starter asks for, and removes it, so that children of the test are ordinary processes.
    pub(crate) fn take_from_env() -> Option<Self> {
        let path = env::var(TEST_VARIABLE).ok()?;
        let report = env::var(REPORT_VARIABLE).ok();
        let marks_kernel_log = env::var_os(KERNEL_LOG_VARIABLE).is_some();
        for variable in [TEST_VARIABLE, REPORT_VARIABLE, LIBTEST_VARIABLE, KERNEL_LOG_VARIABLE] {
            // SAFETY: `main` calls this first, or libtest's only thread does: the process has no second one.
            unsafe { env::remove_var(variable) };
        }
        Some(Self { path, report, marks_kernel_log })
    }
}

/// Runs the one test and reports how it ended.
pub(crate) fn run(request: &Request) -> u8 {
    if request.marks_kernel_log {
        // Only the times in the report get worse without it.
        let _ = fs::write("/dev/kmsg", format!("<6>{}\n", start_mark(&request.path)));
    }
    let case = inventory::iter::<TestCase>().find(|case| case.path() == request.path);
    match (case, Reporter::open(request.report.as_deref())) {
        (None, _) => refuse(&format!("this test binary has no test `{}`", request.path)),
        (_, Err(error)) => refuse(&error),
        (Some(case), Ok(reporter)) => run_case(case, REPORTER.get_or_init(|| reporter)),
    }
}

/// Ends the running test as skipped. The host hears it before anything unwinds: under `panic = "abort"` nothing does.
pub(crate) fn skip(reason: String) -> ! {
    let Some(reporter) = REPORTER.get() else {
        panic!("`lvh::skip!` was called outside an lvh test: {reason}");
    };
    reporter.send(&Record::Skip { reason });
    let on_test_thread = TEST_THREAD.get() == Some(&thread::current().id());
    if on_test_thread && cfg!(panic = "unwind") {
        panic::resume_unwind(Box::new(Skipped));
    }
    // From any other thread nobody could tell our unwinding from a panic.
    process::exit(0)
}

fn refuse(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "error: {why}");
    FAILURE
}

/// Keeps what the body returned, if that was no success.
pub(crate) fn returned(code: ExitCode) {
    if let Some(number) = number_of(code) {
        let _ = RETURNED.set(number);
    }
}

/// `ExitCode` tells its number in its `Debug` alone: `ExitCode(unix_exit_status(7))`.
fn number_of(code: ExitCode) -> Option<u8> {
    let text = format!("{code:?}");
    text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
}

static RETURNED: OnceLock<u8> = OnceLock::new();
static REPORTER: OnceLock<Reporter> = OnceLock::new();
static TEST_THREAD: OnceLock<ThreadId> = OnceLock::new();
/// The thread that waits for that one, and has nothing to say.
static JOINER: OnceLock<ThreadId> = OnceLock::new();

/// The report pipe.
#[derive(Debug)]
struct Reporter {
    pipe: File,
    /// A child that the test forks has the pipe too, but must not speak for the test.
    process: u32,
    panics: Mutex<Panics>,
}

/// The panics of a test, which may catch any number of them: the host believes so much and no more.
#[derive(Debug, Default)]
struct Panics {
    /// What was sent of them, in bytes.
    sent: usize,
    /// The last, where it was not sent.
    held: Option<Vec<u8>>,
}

impl Panics {
    const LIMIT: usize = 256 << 10;

    /// What to send now of `panic`.
    fn admit(&mut self, panic: Vec<u8>) -> Vec<u8> {
        if self.sent + panic.len() > Self::LIMIT {
            self.held = Some(panic);
            return Vec::new();
        }
        self.sent += panic.len();
        panic
    }
}

impl Reporter {
    fn open(number: Option<&str>) -> Result<Self, String> {
        let number = number.ok_or_else(|| format!("`{REPORT_VARIABLE}` is not set"))?;
        let fd: RawFd = number.parse().map_err(|error| format!("`{REPORT_VARIABLE}` is `{number}`: {error}"))?;
        // SAFETY: fcntl checks the descriptor and touches no memory of ours.
        if fd <= 2 || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(format!("`{REPORT_VARIABLE}` is `{number}`, which is no open descriptor"));
        }
        // SAFETY: the descriptor is open, and the starter made it for us alone.
        let pipe = unsafe { File::from_raw_fd(fd) };
        Ok(Self { pipe, process: process::id(), panics: Mutex::default() })
    }

    /// Sends one record in one write. A host that has stopped listening has made up its mind already.
    fn send(&self, record: &Record) {
        if process::id() != self.process {
            return;
        }
        let mut bytes = record.encode();
        if let Record::Panic { .. } = record {
            bytes = self.panics().admit(bytes);
        } else if record.is_final() {
            let held = self.panics().held.take();
            bytes.splice(0..0, held.unwrap_or_default());
        }
        let closed = |error: io::Error| error.raw_os_error() == Some(libc::EBADF);
        if (&self.pipe).write_all(&bytes).is_err_and(closed) && record.is_final() {
            let fd = self.pipe.as_raw_fd();
            refuse(&format!("the test closed descriptor {fd}, on which it reports to lvh"));
        }
    }

    fn panics(&self) -> MutexGuard<'_, Panics> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run_case(case: &'static TestCase, reporter: &'static Reporter) -> u8 {
    report_panics(reporter);
    own_stacks::prepare(case, reporter);
    faults::watch();
    let thread = match thread::Builder::new().name(case.path()).spawn(move || run_body(case)) {
        Ok(thread) => thread,
        Err(error) => return refuse(&format!("failed to start the test's thread: {error}")),
    };
    let _ = JOINER.set(thread::current().id());
    // std panics over a thread that left no result: the kernel killed it, and not the process.
    let joined = panic::catch_unwind(AssertUnwindSafe(|| thread.join()));
    let ended = joined.map_or(Some(Record::Died), |ended| ended.unwrap_or_else(|payload| Some(unwound(&*payload))));
    let Some(record) = ended else { return 0 };
    reporter.send(&record);
    if record == Record::Passed { 0 } else { FAILURE }
}

/// Runs the body; `None` if it was skipped, which is reported already.
fn run_body(case: &TestCase) -> Option<Record> {
    let _ = TEST_THREAD.set(thread::current().id());
    own_stacks::this_is_the_test();
    match panic::catch_unwind(case.run) {
        Ok(true) => Some(Record::Passed),
        Ok(false) => Some(Record::Failed(RETURNED.get().copied())),
        Err(payload) if payload.is::<Skipped>() => None,
        Err(payload) => Some(unwound(&*payload)),
    }
}

/// Reports every panic before the default hook prints it: under `panic = "abort"` it is all that the host gets.
fn report_panics(reporter: &'static Reporter) {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if JOINER.get() == Some(&thread::current().id()) {
            return;
        }
        reporter.send(&panicked(info));
        print(info);
    }));
}

fn panicked(info: &PanicHookInfo<'_>) -> Record {
    let message = text_of(info.payload()).unwrap_or("Box<dyn Any>").to_owned();
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    Record::Panic { message, location }
}

fn unwound(payload: &(dyn Any + Send)) -> Record {
    Record::Unwound(match text_of(payload) {
        Some(text) => Payload::Text(text.to_owned()),
        None => Payload::Other(format!("{:?}", payload.type_id())),
    })
}

/// The text of `panic!`, which is one of two types.
fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    formatted.or_else(|| payload.downcast_ref::<&'static str>().copied())
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    #[test]
    fn an_exit_code_has_a_number() {
        assert_eq!(super::number_of(ExitCode::from(7)), Some(7));
        assert_eq!(super::number_of(ExitCode::FAILURE), Some(1));
    }
}
