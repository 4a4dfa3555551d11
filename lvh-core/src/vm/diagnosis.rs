//! Why a guest did not come up, or is gone: what QEMU and the kernel say of it, as values.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::guest::client::handshake::Refused;
use crate::guest::protocol::{Failure, Part};
use crate::vm::qemu::command_line::LITTLE_MEMORY;
use crate::vm::qemu::console::Console;
use crate::vm::qemu::process::Qemu;
use crate::vm::qemu::qmp::Stop;
use crate::vm::qemu::version::OLDEST;

/// Why a guest did not come up, or is gone.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The kernel panicked; its words.
    Panic(String),
    /// The kernel panicked because its memory did not suffice; its words.
    OutOfMemory(String),
    /// The machine ended itself; QEMU's word for it, and the kernel's, where it had one.
    Shutdown { reason: String, said: Option<&'static str> },
    /// lvh-init could not go on, and ended the machine; its words.
    GaveUp(String),
    /// QEMU gave up on the guest.
    InternalError,
    /// QEMU ended.
    QemuEnded(ExitStatus),
    /// QEMU ended, and is older than lvh needs: its version's first two numbers.
    OldQemu(ExitStatus, (u32, u32)),
    /// QEMU ended because the host has not the memory that it asked for.
    NoHostMemory(ExitStatus),
    /// The kernel killed QEMU for want of memory; what bounds that.
    OomKilled(String),
    /// QEMU could not start a thread.
    NoThreads(ExitStatus),
    /// The guest took too long.
    Late { limit: Duration, reached: Progress },
    /// lvh-init could not do what it was told, and said why.
    Refused(Failure),
    /// The channel to lvh-init broke.
    Channel(io::Error),
}

/// How far a boot got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// QEMU was started.
    Nothing,
    /// Something stopped QEMU's process.
    Stopped,
    /// QEMU has made the machine.
    Machine,
    /// The console is not empty.
    Kernel,
    /// lvh-init has said hello.
    Hello,
}

/// What lvh-init says of a disk that it cannot mount.
const NO_FILE_SYSTEM: &str = "failed to mount `ext4 disk ";

/// What a kernel panic says when memory did not suffice (mm/oom_kill.c; init/initramfs.c warns before).
const OUT_OF_MEMORY: [&str; 2] = ["deadlocked on memory", "Out of memory"];

/// How a kernel ends that has too little memory at its very start.
const EARLY_DEATHS: [&str; 2] = ["Attempted to kill the idle task", "PANIC: early exception"];

/// What QEMU says when it does not get the guest's memory: `ENOMEM` in words.
const NO_HOST_MEMORY: &str = "Cannot allocate memory";

/// What QEMU says when it may start no more threads: `EAGAIN` in words.
const NO_THREADS: &str = "qemu_thread_create: Resource temporarily unavailable";

/// What a kernel says at last that ends its machine because it was asked to (kernel/reboot.c).
const ASKED_TO_END: [&str; 2] = ["reboot: Restarting system", "reboot: Power down"];

/// The best that is known of why QEMU ended or the guest fell silent.
pub(crate) fn diagnose(qemu: &Qemu, stop: Option<&Stop>, console: &Console) -> Option<Cause> {
    if let Some(line) = console.panic_line() {
        return Some(Cause::of_panic(line));
    }
    match (stop, qemu.status()) {
        (Some(Stop::Shutdown(reason)), _) => Some(Cause::of_shutdown(reason, console)),
        (Some(Stop::InternalError), _) => Some(Cause::InternalError),
        (None, Some(status)) if qemu.stderr().contains(NO_HOST_MEMORY) => Some(Cause::NoHostMemory(status)),
        (None, Some(status)) if qemu.stderr().contains(NO_THREADS) => Some(Cause::NoThreads(status)),
        (None, Some(status)) => Some(qemu.lack_of_memory().map_or(Cause::QemuEnded(status), Cause::OomKilled)),
        (None, None) => None,
    }
}

impl Cause {
    /// What the kernel's last line means.
    pub(crate) fn of_panic(line: String) -> Self {
        match OUT_OF_MEMORY.iter().any(|words| line.contains(words)) {
            true => Self::OutOfMemory(line),
            false => Self::Panic(line),
        }
    }

    /// What the end of the machine means, by what the console said before.
    fn of_shutdown(reason: &str, console: &Console) -> Self {
        match console.words_of_init() {
            Some(words) => Self::GaveUp(words),
            None => {
                let said = ASKED_TO_END.into_iter().find(|words| console.contains(words));
                Self::Shutdown { reason: reason.to_owned(), said }
            }
        }
    }

    /// What an error on the way to a guest that is ready means.
    pub(crate) fn of_handshake(error: io::Error) -> Self {
        match error.downcast::<Refused>() {
            Ok(Refused(failure)) => Self::Refused(failure),
            Err(error) => Self::Channel(error),
        }
    }

    /// The same, given that the guest has so many MiB of memory.
    pub(crate) fn with_memory(self, mib: u32) -> Self {
        match self {
            Self::Panic(line) if mib < LITTLE_MEMORY && EARLY_DEATHS.iter().any(|words| line.contains(words)) => {
                Self::OutOfMemory(line)
            }
            cause => cause,
        }
    }

    /// The same, given the QEMU that was run.
    pub(crate) fn with_qemu(self, version: impl FnOnce() -> Option<(u32, u32)>) -> Self {
        match self {
            Self::QemuEnded(status) => match version().filter(|version| *version < OLDEST) {
                Some(version) => Self::OldQemu(status, version),
                None => Self::QemuEnded(status),
            },
            cause => cause,
        }
    }

    /// This, or what QEMU and the kernel know better.
    pub(crate) fn or(self, found: Option<Self>) -> Self {
        match self {
            // A guest that said why it ends, ends.
            Self::Refused(_) => self,
            _ => found.unwrap_or(self),
        }
    }

    /// How to mend it, where we know.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Late { reached: Progress::Stopped, .. } => None,
            Self::Late { .. } | Self::Refused(Failure { part: Part::Start {}, .. }) => {
                Some("`boot-timeout` of [vm] in lvh.toml, or `boot_timeout` of the test, gives it more time")
            }
            Self::OutOfMemory(_) => Some("`memory` of [vm] in lvh.toml, or of the test, gives it more"),
            Self::NoHostMemory(_) => {
                Some("`memory` of [vm] in lvh.toml, or of the test, asks for more than this machine can give")
            }
            Self::OomKilled(_) => {
                Some("`memory` of [vm] in lvh.toml, or of the test, asks for less; or raise the limit")
            }
            Self::OldQemu(..) => Some("lvh needs QEMU 5.2 or newer: `lvh doctor` tells how to install it"),
            Self::NoThreads(_) => {
                Some("`ulimit -u` and `pids.max` of control groups bound threads: `lvh doctor` shows them")
            }
            Self::QemuEnded(status) if was_killed(status) => {
                Some("something on this machine ended QEMU: not lvh, nor the kernel for want of memory")
            }
            Self::Refused(Failure { part: Part::Rootfs {}, message, .. }) if message.contains(NO_FILE_SYSTEM) => {
                Some("an image is a disk with one ext4 file system and no partitions: `file IMAGE` tells what it is")
            }
            Self::Refused(Failure { part: Part::Unit {}, .. }) => {
                Some("mend or mask them in the image, for they fail on this kernel or in every guest")
            }
            Self::Panic(_) | Self::Shutdown { .. } | Self::GaveUp(_) | Self::InternalError | Self::QemuEnded(_) => None,
            Self::Refused(_) | Self::Channel(_) => None,
        }
    }

    /// What programs of the guest say of it.
    pub(crate) fn output(&self) -> &str {
        match self {
            Self::Refused(failure) => &failure.output,
            _ => "",
        }
    }

    /// Whether the disk that guest memory was written to is full: QEMU finds out when the guest writes to its memory.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, Self::QemuEnded(status) if status.signal() == Some(libc::SIGBUS))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(line) | Self::OutOfMemory(line) => write!(f, "the kernel panicked: {line}"),
            Self::Shutdown { reason, said: None } if reason == "guest-reset" => {
                write!(
                    f,
                    "the machine was reset without a word of the kernel, as by SysRq-B or a triple fault ({reason})"
                )
            }
            Self::Shutdown { reason, said: None } => write!(f, "the machine ended ({reason})"),
            Self::Shutdown { reason, said: Some(said) } => {
                let what = if reason == "guest-reset" { "rebooted" } else { "powered off" };
                write!(f, "something in it {what} the machine; the kernel said `{said}`")
            }
            Self::GaveUp(words) => write!(f, "lvh-init could not go on: {words}"),
            Self::QemuEnded(status) if was_killed(status) => write!(f, "QEMU was killed ({status})"),
            Self::QemuEnded(status) if status.signal().is_some() => write!(f, "QEMU crashed ({status})"),
            Self::InternalError => f.write_str("QEMU reports an internal error"),
            Self::QemuEnded(status) | Self::NoHostMemory(status) => write!(f, "QEMU ended ({status})"),
            Self::OldQemu(status, (major, minor)) => {
                write!(f, "QEMU ended ({status}); it is version {major}.{minor}, which is too old")
            }
            Self::OomKilled(why) => write!(f, "the kernel killed QEMU for want of memory: {why}"),
            Self::NoThreads(status) => write!(f, "QEMU could not start a thread ({status})"),
            Self::Late { limit, reached } => {
                write!(f, "timed out after {limit:?} waiting for the guest: {}", reached.as_str())
            }
            Self::Refused(failure) => f.write_str(&failure.message),
            Self::Channel(error) => error.fmt(f),
        }
    }
}

/// Whether somebody else ended the process, by a signal that programs do not get from the kernel.
fn was_killed(status: &ExitStatus) -> bool {
    matches!(status.signal(), Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP))
}

impl Progress {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "QEMU is stopped, as by SIGSTOP or Ctrl-Z",
            Self::Nothing => "QEMU itself has not answered yet",
            Self::Machine => "QEMU runs, the kernel's console is empty",
            Self::Kernel => "the kernel runs, lvh-init has not said hello",
            Self::Hello => "lvh-init has said hello, and is not ready yet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_words_and_its_hint() {
        let check = |cause: Cause, words: &str, hint: Option<&str>| {
            assert_eq!(cause.to_string(), words);
            assert_eq!(cause.hint().map(|hint| hint.split('`').nth(1).unwrap()), hint, "{words}");
        };
        let (late, failed) = (Duration::from_secs(9), ExitStatus::from_raw(256));
        let limit = |reached| Cause::Late { limit: late, reached };
        let waiting = "timed out after 9s waiting for the guest: ";
        check(limit(Progress::Nothing), &format!("{waiting}QEMU itself has not answered yet"), Some("boot-timeout"));
        check(
            limit(Progress::Hello),
            &format!("{waiting}lvh-init has said hello, and is not ready yet"),
            Some("boot-timeout"),
        );
        let panic = "Kernel panic - not syncing: VFS";
        check(Cause::of_panic(panic.into()), &format!("the kernel panicked: {panic}"), None);
        let memory = "Kernel panic - not syncing: System is deadlocked on memory";
        check(Cause::of_panic(memory.into()), &format!("the kernel panicked: {memory}"), Some("memory"));
        check(Cause::QemuEnded(failed), "QEMU ended (exit status: 1)", None);
        let old = Cause::QemuEnded(failed).with_qemu(|| Some((4, 2)));
        check(old, "QEMU ended (exit status: 1); it is version 4.2, which is too old", Some("lvh doctor"));
        check(Cause::QemuEnded(failed).with_qemu(|| Some(OLDEST)), "QEMU ended (exit status: 1)", None);
        let early = || Cause::of_panic("Kernel panic - not syncing: Attempted to kill the idle task!".into());
        let words = early().to_string();
        check(early().with_memory(64), &words, Some("memory"));
        check(early().with_memory(LITTLE_MEMORY), &words, None);
        check(Cause::of_panic(panic.into()).with_memory(64), &format!("the kernel panicked: {panic}"), None);
        check(Cause::NoHostMemory(failed), "QEMU ended (exit status: 1)", Some("memory"));
        let killed = "the kernel killed QEMU for want of memory: the limit is 1 MiB (`f`)";
        check(Cause::OomKilled("the limit is 1 MiB (`f`)".into()), killed, Some("memory"));
        check(Cause::NoThreads(failed), "QEMU could not start a thread (exit status: 1)", Some("ulimit -u"));
        let shutdown = |reason: &str, said| Cause::Shutdown { reason: reason.into(), said };
        let reset = "the machine was reset without a word of the kernel, as by SysRq-B or a triple fault (guest-reset)";
        check(shutdown("guest-reset", None), reset, None);
        check(shutdown("host-signal", None), "the machine ended (host-signal)", None);
        let off = "something in it powered off the machine; the kernel said `reboot: Power down`";
        check(shutdown("guest-shutdown", Some("reboot: Power down")), off, None);
        check(Cause::GaveUp("no overlay".into()), "lvh-init could not go on: no overlay", None);
        let (killed, crashed) = (Cause::QemuEnded(ExitStatus::from_raw(9)), Cause::QemuEnded(ExitStatus::from_raw(11)));
        assert!(killed.hint().unwrap().starts_with("something on this machine ended QEMU"));
        assert_eq!(killed.to_string(), "QEMU was killed (signal: 9 (SIGKILL))");
        check(crashed, "QEMU crashed (signal: 11 (SIGSEGV))", None);
        check(limit(Progress::Stopped), &format!("{waiting}QEMU is stopped, as by SIGSTOP or Ctrl-Z"), None);
        check(Cause::InternalError, "QEMU reports an internal error", None);
        check(Cause::of_handshake(io::Error::other("no overlay")), "no overlay", None);
    }

    #[test]
    fn a_full_disk_is_a_bus_error() {
        assert!(Cause::QemuEnded(ExitStatus::from_raw(libc::SIGBUS)).is_full_disk());
        assert!(!Cause::QemuEnded(ExitStatus::from_raw(libc::SIGKILL)).is_full_disk());
        assert!(!Cause::InternalError.is_full_disk());
    }
}
