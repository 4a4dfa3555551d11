//! How a test's process ended.

use std::path::PathBuf;
use std::time::Duration;

use lvh_core::config::KernelEventKind;

use super::kernel_log::KernelLog;
use crate::record::Record;

/// All that is known of a test's process once it is gone.
#[derive(Debug)]
pub(crate) struct Ending {
    /// How the process ended.
    pub(crate) status: Status,
    /// What guest mode reported, in order.
    pub(crate) records: Vec<Record>,
    /// What the test wrote, both streams in order; empty where it was shown live.
    pub(crate) output: Vec<u8>,
    /// What the kernel logged while the test ran.
    pub(crate) kernel_log: KernelLog,
    /// What of that fails a test that would pass.
    pub(crate) fail_on: Vec<KernelEventKind>,
    /// What of its VM the test changed for others, a line each in the guest's words.
    pub(crate) changes: Vec<String>,
    /// Where its threads were in the kernel when its time was up, in the guest's words.
    pub(crate) stacks: Vec<String>,
    /// The console's last words, where the guest died.
    pub(crate) console: String,
    /// What mends it, where whoever failed knows.
    pub(crate) hint: Option<String>,
    /// The test that tells more of what kept this one from running.
    pub(crate) same_as: Option<String>,
    /// What it ran in; `None` if there was no VM.
    pub(crate) ran: Option<Ran>,
    /// How long the test ran, without the VM's boot.
    pub(crate) duration: Duration,
}

/// The VM that a test ran in, as its failure tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// `uname -r`.
    pub(crate) release: String,
    /// Kernel, channel and share, in a line.
    pub(crate) vm: String,
    /// What exactly the kernel is.
    pub(crate) kernel: String,
    /// The directory of the VM's logs, where it has one.
    pub(crate) logs: Option<PathBuf>,
    /// The test's core, or why there is none, where a signal killed it that leaves one.
    pub(crate) core: Option<Result<PathBuf, String>>,
    /// The file of all that it wrote, where that is more than a failure shows.
    pub(crate) output: Option<PathBuf>,
    /// The VM's memory, in MiB.
    pub(crate) memory_mib: u32,
    /// The tests that ran before in the VM.
    pub(crate) before: Vec<String>,
    /// Whether the VM had a network.
    pub(crate) network: bool,
}

/// How a test's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// It was killed after this time.
    TimedOut(Duration),
    /// It was to be killed after its time, and did not die.
    Stuck {
        /// Its time.
        limit: Duration,
        /// How long its death was waited for.
        patience: Duration,
        /// What keeps it.
        by: Keeper,
    },
    /// It never ended, or never ran: why (the VM died, did not boot …).
    Lost(String),
}

/// What keeps a process from dying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The guest's kernel; the guest itself goes on.
    Kernel,
    /// The guest answers nothing at all.
    Guest,
    /// QEMU's process was stopped.
    StoppedQemu,
}

impl Ending {
    /// The ending of a test that could not run at all.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        let status = Status::Lost(why.into());
        Self {
            status,
            records: Vec::new(),
            output: Vec::new(),
            kernel_log: KernelLog::default(),
            fail_on: Vec::new(),
            changes: Vec::new(),
            stacks: Vec::new(),
            console: String::new(),
            hint: None,
            same_as: None,
            ran: None,
            duration: Duration::ZERO,
        }
    }
}

impl Status {
    /// What a failure says of it, by whether the body had ended before.
    pub(super) fn describe(&self, body_ended: bool) -> String {
        let when = if body_ended { "after the test had ended" } else { "before the test returned" };
        match self {
            Self::Exited(code) => format!("exited with code {code} {when}"),
            Self::Signaled(number) if body_ended => format!("killed by {} {when}", signal_name(*number)),
            Self::Signaled(number) => format!("killed by {}", signal_name(*number)),
            Self::TimedOut(limit) => format!("timed out after {limit:?}"),
            Self::Stuck { limit, patience, by: Keeper::Kernel } => {
                format!("timed out after {limit:?}, and could not be killed within {patience:?}")
            }
            Self::Stuck { limit, patience, by: Keeper::Guest } => {
                format!("timed out after {limit:?}, and the guest has not answered lvh for {patience:?} since")
            }
            Self::Stuck { limit, by: Keeper::StoppedQemu, .. } => {
                format!("timed out after {limit:?}: its VM stands still, for QEMU is stopped, as by SIGSTOP")
            }
            Self::Lost(why) => why.clone(),
        }
    }
}

/// The name by which people know a signal.
fn signal_name(number: i32) -> String {
    let known = match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGSTKFLT => "SIGSTKFLT",
        libc::SIGPWR => "SIGPWR",
        _ if (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number) => {
            return format!("SIGRTMIN+{}", number - libc::SIGRTMIN());
        }
        _ => return format!("signal {number}"),
    };
    known.to_owned()
}

/// A VM of 256 MiB on 6.1.
#[cfg(test)]
pub(super) fn example() -> Ran {
    Ran {
        release: "6.1.0-50-amd64".to_owned(),
        vm: "6.1.0-50-amd64 (6.1, tcg)".to_owned(),
        kernel: format!("linux-image 6.1-1 sha256:0123456789ab{}", "c".repeat(52)),
        logs: None,
        core: None,
        output: None,
        memory_mib: 256,
        before: Vec::new(),
        network: false,
    }
}
