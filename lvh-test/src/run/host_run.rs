//! Runs a test on the host: as a process of its own, in guest mode, like in a VM.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use lvh_core::Config;
use lvh_core::config::VmDefaults;

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
        let running = match Running::spawn(&instance.path, launch, self.nocapture) {
            Ok(running) => running,
            Err(error) => return Ending::lost(format!("failed to start the test's process: {error}")),
        };
        let Running { mut child, report, output } = running;
        let status = end_of(&mut child, timeout);
        let duration = started.elapsed();
        let mut report = collect(&report);
        report.truncate(REPORT_LIMIT);
        let output = output.map(|output| collect(&output)).unwrap_or_default();
        Ending { status, records: Record::decode_all(&report), output, duration, ..Ending::lost("") }
    }
}

/// A started test; its pipes are being drained.
struct Running {
    child: Child,
    report: Receiver<Vec<u8>>,
    output: Option<Receiver<Vec<u8>>>,
}

impl Running {
    fn spawn(path: &str, launch: &Launch, nocapture: bool) -> io::Result<Self> {
        let (report_reader, report_writer) = io::pipe()?;
        let mut command = guest_command(path, launch, &report_writer)?;
        let output_reader = if nocapture { None } else { Some(capture(&mut command)?) };
        let child = command.spawn()?;
        let report = drain(report_reader);
        Ok(Self { child, report, output: output_reader.map(drain) })
    }
}

/// The own executable, for one test.
fn guest_command(path: &str, launch: &Launch, report: &PipeWriter) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    let fd = report.as_raw_fd();
    command.args(&launch.arguments).envs(launch.variables(path, fd));
    command.stdin(Stdio::null()).process_group(0);
    let parent = std::process::id();
    // SAFETY: the closure makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(move || prepare_child(fd, parent)) };
    Ok(command)
}

/// Sends both streams into one pipe, so that what a test writes stays in order.
fn capture(command: &mut Command) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(reader)
}

/// Between fork and exec: lets the report pipe through to this child alone, and ties its life to ours.
fn prepare_child(report: RawFd, parent: u32) -> io::Result<()> {
    // SAFETY: fcntl takes a plain number.
    if unsafe { libc::fcntl(report, libc::F_SETFD, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    die_with_parent(parent)
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: prctl takes plain numbers here.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have died before the call; then no signal comes.
    match std::os::unix::process::parent_id() == parent {
        true => Ok(()),
        false => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_parent: u32) -> io::Result<()> {
    Ok(())
}

/// Waits for the child's end, or brings it about. Nothing of its process group is left afterwards.
fn end_of(child: &mut Child, timeout: Duration) -> Status {
    let pid = child.id().cast_signed();
    let ended = watch(pid);
    let in_time = ended.recv_timeout(timeout).is_ok();
    if !in_time {
        kill_group(pid, libc::SIGTERM);
        let _ = ended.recv_timeout(TERMINATION_GRACE);
    }
    // The child is not reaped yet, so the group's number is still ours.
    kill_group(pid, libc::SIGKILL);
    match child.wait() {
        Err(error) => Status::Lost(format!("failed to wait for the test's process: {error}")),
        Ok(_) if !in_time => Status::TimedOut(timeout),
        Ok(status) => status.into(),
    }
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Signaled(signal.unwrap_or_default()),
        }
    }
}

/// Says when the child has ended, without reaping it.
fn watch(pid: libc::pid_t) -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while wait_without_reaping(pid).is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
        let _ = sender.send(());
    });
    receiver
}

fn wait_without_reaping(pid: libc::pid_t) -> io::Result<()> {
    // SAFETY: all zeros is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = pid.cast_unsigned();
    // SAFETY: the pointer is to a live `siginfo_t`.
    match unsafe { libc::waitid(libc::P_PID, id, &raw mut info, libc::WEXITED | libc::WNOWAIT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn kill_group(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: kill takes plain numbers. It fails if the group is gone, which is what we want.
    unsafe { libc::kill(-pid, signal) };
}

/// Reads a pipe to its end on a thread of its own.
fn drain(mut pipe: PipeReader) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// All that came out of a pipe whose writers should be gone.
fn collect(chunks: &Receiver<Vec<u8>>) -> Vec<u8> {
    let deadline = Instant::now() + PIPE_GRACE;
    let mut bytes = Vec::new();
    while let Ok(chunk) = chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        bytes.extend(chunk);
    }
    bytes
}
