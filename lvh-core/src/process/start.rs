//! What is started, and how it is tied to us.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};

use super::{Child, keeper};

/// A program that is to be started: with nothing to read, in a session of its own, dead when we are.
///
/// A session has its own process group, and no terminal: what would ask there fails at once.
#[derive(Debug)]
pub struct Start {
    command: Command,
    inherited: Vec<RawFd>,
    pipes: Vec<Pipe>,
    first_to_die: bool,
    death: Signal,
}

/// Where output of a program comes from.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) reader: PipeReader,
    /// The most that is kept, in bytes; what comes after is read and dropped.
    pub(super) limit: usize,
}

impl Start {
    /// Starts what `command` says; its standard input is empty.
    pub fn new(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self { command, inherited: Vec::new(), pipes: Vec::new(), first_to_die: false, death: Signal::KILL }
    }

    /// The program, and no other, inherits the descriptors `fds`, which stay open until [`Start::spawn`] returns.
    #[must_use]
    pub fn inherit(mut self, fds: impl IntoIterator<Item = RawFd>) -> Self {
        self.inherited.extend(fds);
        self
    }

    /// When we die, it is asked to end by SIGTERM instead of killed: for programs that clean up, and that pass it on to
    /// what they started themselves.
    #[must_use]
    pub fn cleans_up(self) -> Self {
        Self { death: Signal::TERM, ..self }
    }

    /// It reads `input` as its standard input, which else is empty.
    #[must_use]
    pub fn input(mut self, input: File) -> Self {
        self.command.stdin(input);
        self
    }

    /// Reads the pipe from now on and keeps the first `limit` bytes, as the child's next output.
    #[must_use]
    pub fn collect(mut self, reader: PipeReader, limit: usize) -> Self {
        self.pipes.push(Pipe { reader, limit });
        self
    }

    /// Has the kernel kill it before us where memory is short (`oom_score_adj` in proc(5)): somebody must tell of it.
    #[must_use]
    pub fn first_to_die(self) -> Self {
        Self { first_to_die: true, ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// Those of starting a program.
    pub fn spawn(self) -> io::Result<Child> {
        keeper::start(self)
    }

    /// Starts it from the calling thread; with that thread it dies.
    pub(super) fn spawn_here(self) -> io::Result<(process::Child, Vec<Pipe>)> {
        let Self { mut command, inherited, pipes, first_to_die, death } = self;
        pipes.iter().try_for_each(|pipe| ioctl_fionbio(&pipe.reader, true))?;
        let parent = getpid();
        let prepare = move || {
            setsid()?;
            die_with(parent, death)?;
            if first_to_die {
                // Where it cannot be had, nothing is lost but words.
                let _ = volunteer();
            }
            inherited.iter().try_for_each(|&fd| survive_exec(fd))
        };
        // SAFETY: between fork and exec only system calls are made.
        unsafe { command.pre_exec(prepare) };
        // Dropped with the command are our writing ends of its pipes.
        command.spawn().map(|child| (child, pipes))
    }
}

/// Asks for `signal` when the thread that spawned us ends, and checks that it has not ended before.
fn die_with(parent: Pid, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
}

/// Half of what makes a process the first in any case; whoever has more keeps it.
fn volunteer() -> rustix::io::Result<()> {
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; 8];
    let length = rustix::io::read(&file, &mut text)?;
    let is_ordinary = text[..length].first() == Some(&b'-') || length <= "99\n".len();
    if is_ordinary {
        rustix::io::write(&file, b"500")?;
    }
    Ok(())
}

fn survive_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the caller of `inherit` keeps it open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}
