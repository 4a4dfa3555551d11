//! QEMU as a child process.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::machine::OomWatch;
use crate::process::{Child, Start};

/// The most of QEMU's standard error that is kept, in bytes.
const STDERR_LIMIT: usize = 16 << 10;

/// How long a killed QEMU may take to be gone, which is some milliseconds. One that waits in the host's kernel, for KVM or
/// for a file of a server that does not answer, takes as long as that does.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// A running or ended QEMU; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    /// We ended it.
    killed: AtomicBool,
    oom: OomWatch,
}

impl Qemu {
    /// Starts `program`, with one more variable where there is one; it inherits the descriptors `fds` and nothing else,
    /// least of all our stdin, stdout and stderr.
    ///
    /// # Errors
    /// Those of starting a program.
    pub(crate) fn start(
        program: &str,
        args: &[String],
        variable: Option<(&str, &Path)>,
        fds: Vec<RawFd>,
    ) -> io::Result<Self> {
        let (stderr, to_stderr) = io::pipe()?;
        let mut command = Command::new(program);
        command.envs(variable).args(args).stdout(Stdio::null()).stderr(to_stderr);
        let oom = OomWatch::begin();
        let child = Start::new(command).inherit(fds).collect(stderr, STDERR_LIMIT).first_to_die().spawn()?;
        Ok(Self { child, killed: AtomicBool::new(false), oom })
    }

    /// Kills it; harmless when it has ended.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.child.kill();
    }

    /// Whether something stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        self.child.is_stopped()
    }

    /// Why there was not enough memory for it, if the kernel killed it for that.
    pub(crate) fn lack_of_memory(&self) -> Option<String> {
        let foreign = !self.killed.load(Ordering::Relaxed);
        let killed = self.status().is_some_and(|status| status.signal() == Some(libc::SIGKILL));
        (foreign && killed).then(|| self.oom.verdict())?
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// It is still there after a while: the host's kernel does not let go of it.
    pub(crate) async fn end(&self) -> io::Result<()> {
        self.kill();
        let late = |_elapsed| io::Error::other(format!("QEMU was killed, and is still there after {DEATH_DEADLINE:?}"));
        tokio::time::timeout(DEATH_DEADLINE, self.ended()).await.map(drop).map_err(late)
    }

    /// Waits until it has ended and is reaped.
    pub(crate) async fn ended(&self) -> ExitStatus {
        // Where the system cannot tell how, it has ended all the same.
        self.child.ended().await.unwrap_or(ExitStatus::from_raw(0))
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.child.status().unwrap_or(Some(ExitStatus::from_raw(0)))
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.child.output_so_far(0)).trim_end().to_owned()
    }
}
