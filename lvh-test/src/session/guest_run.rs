//! One test in a running guest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lvh_core::config::Channel;
use lvh_core::vm::{Command, Exit, Process, ProcessEvent, REPORT_FD, RootFs, Stream as GuestStream, Vm};
use lvh_core::{Error, HostContext};

use super::log_dir::LogDir;
use crate::guest_mode::{KERNEL_LOG_VARIABLE, Launch};
use crate::job::Instance;
use crate::record::Record;
use crate::test_events::{OutputStream, TestEvents};
use crate::verdict::{Ending, KernelLog, Ran, Status};

/// How long a killed test may take to be gone; then the guest hangs.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The most output of one test that is kept, in bytes: a test that floods is cut, not the machine filled.
const OUTPUT_LIMIT: usize = 16 << 20;

/// The most that is believed from the report pipe, in bytes.
const REPORT_LIMIT: usize = 1 << 20;

/// How a test ended, and whether its VM can run another.
pub(super) struct Run {
    pub(super) ending: Ending,
    pub(super) vm_usable: bool,
}

/// The command that runs `instance` in a guest.
pub(super) fn command(
    instance: &Instance,
    launch: &Launch,
    context: &HostContext,
    env: Vec<(OsString, OsString)>,
    captured: bool,
) -> Command {
    let mut command = Command::new(&context.exe);
    command.args(&launch.arguments).env_clear().envs(env).envs(launch.variables(&instance.path, REPORT_FD));
    command.env(KERNEL_LOG_VARIABLE, "1").current_dir(&context.cwd).report().core();
    // Nobody comes after a test that has a VM to itself.
    if !instance.vm.fresh_vm {
        command.changes();
    }
    if captured {
        command.merge_stderr();
    }
    command
}

/// A shell where [`command`] runs.
pub(super) fn shell(context: &HostContext, vm: &Vm, env: Vec<(OsString, OsString)>) -> Command {
    let shells = if *vm.root() == RootFs::Host { &["/bin/bash", "/bin/sh"][..] } else { &[] };
    let shell = shells.iter().find(|shell| Path::new(shell).exists());
    let mut command = Command::new(shell.unwrap_or(&"/bin/sh"));
    if shell.is_none() {
        // What an image has, it knows itself.
        command.args(["-c", "command -v bash >/dev/null && exec bash; exec sh"]);
    }
    command.env_clear().envs(env).current_dir(&context.cwd).stdin_piped();
    command
}

/// Runs `command` to its end, for at most `timeout`; what it writes goes to `live` where it is not captured.
pub(super) async fn run(
    vm: &Vm,
    instance: &Instance,
    command: &Command,
    timeout: Duration,
    live: Option<&TestEvents>,
    logs: Option<&LogDir>,
) -> Run {
    let started = Instant::now();
    let mut collected = Collected { path: instance.path.clone(), ..Collected::default() };
    let ended = match vm.spawn(command).await {
        Ok(mut process) => collected.until_end(&mut process, timeout, live).await,
        Err(_closed) => End::GuestGone,
    };
    let crashed = matches!(ended, End::Exited(Exit::Signal { core: true, .. }));
    let core = match logs.filter(|_| crashed) {
        // Without its core a failure is a failure all the same.
        Some(logs) => fetch_core(vm, logs, &instance.name).await.ok().flatten(),
        None => None,
    };
    let (status, vm_usable) = match ended {
        End::Exited(exit) => (status(exit), true),
        End::TimedOut => (Status::TimedOut(timeout), true),
        End::Stuck => (Status::Stuck { limit: timeout, patience: KILL_DEADLINE }, false),
        End::GuestGone => (Status::Lost(death(&vm.death().await)), false),
    };
    let ending = Ending {
        console: if vm_usable { String::new() } else { vm.console_tail() },
        ran: Some(Ran {
            vm: vm.info().summary(),
            kernel: vm.info().identity.clone(),
            logs: logs.map(|logs| logs.path().to_owned()),
            core,
        }),
        status,
        records: Record::decode_all(&collected.report),
        output: collected.output,
        kernel_log: collected.kernel_log,
        changes: collected.changes,
        fail_on: Vec::new(),
        duration: collected.started.unwrap_or(started).elapsed(),
    };
    Run { ending, vm_usable }
}

/// Why the guest died, and in the next line what helps.
fn death(error: &Error) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}\nhint: {hint}"))
}

/// Brings the core of the test `name` home; none where there is none, or where the channel would take minutes.
async fn fetch_core(vm: &Vm, logs: &LogDir, name: &str) -> lvh_core::Result<Option<PathBuf>> {
    if vm.info().transport.channel == Channel::Serial {
        return Ok(None);
    }
    let dir = logs.for_cores(name).map_err(|error| Error::io("make a directory for cores", error))?;
    vm.fetch_cores(&dir).await
}

/// What became of a guest process.
enum End {
    Exited(Exit),
    /// It was killed after its time.
    TimedOut,
    /// It was told to die after its time and did not.
    Stuck,
    GuestGone,
}

fn status(exit: Exit) -> Status {
    match exit {
        Exit::Code(code) => Status::Exited(code),
        Exit::Signal { signal, .. } => Status::Signaled(signal),
        Exit::NotStarted(error) => Status::Lost(format!("the test binary did not start in the guest: {error}")),
    }
}

/// What a test left behind, while it runs.
#[derive(Default)]
struct Collected {
    /// The test's.
    path: String,
    started: Option<Instant>,
    output: Vec<u8>,
    report: Vec<u8>,
    kernel_log: KernelLog,
    /// See [`Ending::changes`].
    changes: Vec<String>,
}

impl Collected {
    async fn until_end(&mut self, process: &mut Process, timeout: Duration, live: Option<&TestEvents>) -> End {
        if let Ok(end) = tokio::time::timeout(timeout, self.follow(process, live)).await {
            return end;
        }
        if process.kill().is_err() {
            return End::GuestGone;
        }
        match tokio::time::timeout(KILL_DEADLINE, self.follow(process, live)).await {
            Ok(End::Exited(_)) => End::TimedOut,
            Ok(other) => other,
            Err(_elapsed) => End::Stuck,
        }
    }

    async fn follow(&mut self, process: &mut Process, live: Option<&TestEvents>) -> End {
        loop {
            match process.next().await {
                Some(ProcessEvent::Started) => self.started = Some(Instant::now()),
                Some(ProcessEvent::Output(GuestStream::Report, data)) => append(&mut self.report, &data, REPORT_LIMIT),
                Some(ProcessEvent::Output(stream, data)) => match live {
                    Some(test_events) => test_events.wrote(live_stream(stream), data).await,
                    None => append(&mut self.output, &data, OUTPUT_LIMIT),
                },
                Some(ProcessEvent::Kernel(record)) => self.kernel_log.push(&self.path, record),
                Some(ProcessEvent::KernelLost(records)) => self.kernel_log.lost(records),
                Some(ProcessEvent::Changed(changes)) => self.changes = changes,
                Some(ProcessEvent::Exited(exit)) => return End::Exited(exit),
                Some(_) => {}
                None => return End::GuestGone,
            }
        }
    }
}

fn live_stream(stream: GuestStream) -> OutputStream {
    if stream == GuestStream::Stderr { OutputStream::Stderr } else { OutputStream::Stdout }
}

/// Appends what there is room for, and says once where it cut.
fn append(kept: &mut Vec<u8>, data: &[u8], limit: usize) {
    if kept.len() >= limit {
        return;
    }
    kept.extend_from_slice(&data[..data.len().min(limit - kept.len())]);
    if kept.len() == limit {
        kept.extend_from_slice(format!("\n[lvh: output cut after {} MiB]\n", limit >> 20).as_bytes());
    }
}
