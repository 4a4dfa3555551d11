//! QEMU as a child process.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::process::{Child, Start};

/// The most of QEMU's standard error that is kept, in bytes.
const STDERR_LIMIT: usize = 16 << 10;

/// A running or ended QEMU; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Qemu(Child);

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
        Start::new(command).inherit(fds).collect(stderr, STDERR_LIMIT).spawn().map(Self)
    }

    /// Kills it; harmless when it has ended.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }

    /// Waits until it has ended and is reaped.
    pub(crate) async fn ended(&self) -> ExitStatus {
        // Where the system cannot tell how, it has ended all the same.
        self.0.ended().await.unwrap_or(ExitStatus::from_raw(0))
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.0.status().unwrap_or(Some(ExitStatus::from_raw(0)))
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.output_so_far(0)).trim_end().to_owned()
    }
}
