//! Runs a test on the host: as a process of its own, in guest mode, like in a VM.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use lvh_core::Config;
use lvh_core::config::VmDefaults;
use lvh_core::process::{Child, Start};

use crate::guest_mode::Launch;
use crate::job::Instance;
use crate::record::Record;
use crate::verdict::{Ending, Status};

/// How long a test that overran its time may take to end on SIGTERM.
const TERMINATION_GRACE: Duration = Duration::from_millis(500);
/// How long a pipe may stay open after the test: only a process that left the test's group can hold it.
const PIPE_GRACE: Duration = Duration::from_millis(500);
/// More than this on the report pipe is not ours.
const REPORT_LIMIT: usize = 1 << 20;

/// How tests on the host are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostRun {
    /// Leave the test's streams alone.
    nocapture: bool,
    /// The limit of tests that set none.
    default_timeout: Duration,
}

impl HostRun {
    /// As the configuration has it.
    pub(crate) fn new(config: &Config, nocapture: bool) -> Self {
        Self { nocapture, default_timeout: config.vm.test_timeout.unwrap_or(VmDefaults::TIMEOUT) }
    }

    /// Runs one test to its end.
    pub(crate) fn run(self, instance: &Instance, launch: &Launch) -> Ending {
        let timeout = instance.timeout.unwrap_or(self.default_timeout);
        let started = Instant::now();
        let child = match spawn(&instance.path, launch, self.nocapture) {
            Ok(child) => child,
            Err(error) => return Ending::lost(format!("failed to start the test's process: {error}")),
        };
        let status = end_of(&child, timeout);
        let duration = started.elapsed();
        let report = child.output(REPORT, PIPE_GRACE);
        let output = if self.nocapture { Vec::new() } else { child.output(OUTPUT, PIPE_GRACE) };
        Ending { status, records: Record::decode_all(&report), output, duration, ..Ending::lost("") }
    }
}

/// The pipes of a test's process: its report, and both its streams where they are captured.
const REPORT: usize = 0;
const OUTPUT: usize = 1;

fn spawn(path: &str, launch: &Launch, nocapture: bool) -> io::Result<Child> {
    let (report, to_report) = io::pipe()?;
    let mut command = guest_command(path, launch, to_report.as_raw_fd())?;
    if nocapture {
        return Start::new(command).inherit([to_report.as_raw_fd()]).collect(report, REPORT_LIMIT).spawn();
    }
    // Both streams go into one pipe, so that what a test writes stays in order.
    let (output, to_output) = io::pipe()?;
    command.stdout(to_output.try_clone()?).stderr(to_output);
    let start = Start::new(command).inherit([to_report.as_raw_fd()]);
    start.collect(report, REPORT_LIMIT).collect(output, usize::MAX).spawn()
}

/// The own executable, for one test.
fn guest_command(path: &str, launch: &Launch, report: RawFd) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&launch.arguments).envs(launch.variables(path, report));
    Ok(command)
}

/// Waits for the child's end, or brings it about.
fn end_of(child: &Child, timeout: Duration) -> Status {
    let ended = match child.wait(timeout) {
        Ok(None) => child.end(TERMINATION_GRACE).map(|_killed| Status::TimedOut(timeout)),
        ended => ended.map(|status| status.expect("it has ended").into()),
    };
    ended.unwrap_or_else(|error| Status::Lost(format!("failed to wait for the test's process: {error}")))
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signaled(signal.unwrap_or_default()),
        }
    }
}
