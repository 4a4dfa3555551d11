//! One test in a running guest.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lvh_core::HostContext;
use lvh_core::config::Channel;
use lvh_core::vm::{
    Command, Exit, Hypervisor, Process, ProcessEvent, REPORT_FD, RootFs, Stream as GuestStream, TCG_FACTOR, Vm,
};

use super::log_dir::LogDir;
use super::output::Output;
use crate::guest_mode::{KERNEL_LOG_VARIABLE, Launch};
use crate::job::Instance;
use crate::record::Record;
use crate::test_events::{OutputStream, TestEvents};
use crate::verdict::{Ending, Keeper, KernelLog, Ran, Status};

/// How long a killed test may take to be gone; then the guest hangs.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// How long the guest may take to tell where the test's threads are in its kernel.
const KERNEL_STACKS: Duration = Duration::from_secs(2);

/// How long the test may take to tell where they are in its code; [`TCG_FACTOR`] times that under TCG. It reads its debug
/// information first.
const OWN_STACKS: Duration = Duration::from_secs(3);

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
        Ok(mut process) => {
            let factor = if matches!(vm.info().hypervisor, Hypervisor::Tcg { .. }) { TCG_FACTOR } else { 1 };
            collected.until_end(&mut process, timeout, live, OWN_STACKS * factor).await
        }
        Err(_closed) => End::GuestGone,
    };
    let core = match &ended {
        End::Exited(Exit::Signal { signal, core }) if CORE_SIGNALS.contains(signal) => {
            Some(fetch_core(vm, logs, &instance.name, *core).await)
        }
        _ => None,
    };
    let (status, hint, vm_usable) = match ended {
        End::Exited(exit) => (status(exit), None, true),
        End::TimedOut => (Status::TimedOut(timeout), None, true),
        End::Stuck => {
            let by = collected.keeper(vm);
            (Status::Stuck { limit: timeout, patience: KILL_DEADLINE, by }, None, false)
        }
        End::GuestGone => {
            let death = vm.death().await;
            (Status::Lost(death.chain()), death.hint().map(str::to_owned), false)
        }
    };
    let console = if vm_usable { String::new() } else { vm.console_tail() };
    collected.kernel_log.watch_console(&if vm_usable { String::new() } else { vm.console() });
    let (output, output_file) = collected.output.finish(logs, &instance.name);
    let ending = Ending {
        console,
        hint,
        same_as: None,
        ran: Some(Ran {
            release: vm.info().release.clone(),
            vm: vm.info().summary(),
            kernel: vm.info().identity.clone(),
            logs: logs.map(|logs| logs.path().to_owned()),
            core,
            output: output_file,
            memory_mib: 0,
            before: Vec::new(),
            network: false,
        }),
        status,
        records: Record::decode_all(&collected.report),
        output,
        kernel_log: collected.kernel_log,
        changes: collected.changes,
        stacks: collected.stacks.unwrap_or_default().0,
        fail_on: Vec::new(),
        duration: collected.started.unwrap_or(started).elapsed(),
    };
    Run { ending, vm_usable }
}

/// The signals whose default action leaves a core: signal(7).
const CORE_SIGNALS: &[i32] = &[
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    libc::SIGSYS,
];

/// Brings the core of the test `name` home, if the kernel has `written` one; else why there is none.
async fn fetch_core(vm: &Vm, logs: Option<&LogDir>, name: &str, written: bool) -> Result<PathBuf, String> {
    const UNWRITTEN: &str = "the kernel wrote none: it would exceed RLIMIT_CORE, 256 MiB unless the test set it, or not fit the guest's memory";
    let logs = logs.ok_or("there is no target directory for it")?;
    if !written {
        return Err(UNWRITTEN.to_owned());
    }
    if vm.info().transport.channel == Channel::Serial {
        return Err("a serial line would take minutes for it".to_owned());
    }
    let unmade = |error| format!("its directory cannot be made: {error}");
    let dir = logs.for_test(name).map_err(unmade)?;
    let fetched = vm.fetch_cores(&dir).await.map_err(|error| format!("it cannot be fetched: {}", error.chain()))?;
    fetched.ok_or_else(|| UNWRITTEN.to_owned())
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
    output: Output,
    report: Vec<u8>,
    kernel_log: KernelLog,
    /// See [`Ending::changes`].
    changes: Vec<String>,
    /// See [`Ending::stacks`], and whether the test was asked too; none before the guest has answered.
    stacks: Option<(Vec<String>, bool)>,
}

impl Collected {
    async fn until_end(
        &mut self,
        process: &mut Process,
        timeout: Duration,
        live: Option<&TestEvents>,
        own_stacks: Duration,
    ) -> End {
        if let Ok(end) = tokio::time::timeout(timeout, self.follow(process, live)).await {
            return end;
        }
        // In this order: what is dead is nowhere.
        if process.explain().is_err() {
            return End::GuestGone;
        }
        let end = match self.until_explained(process, live, own_stacks).await {
            Some(end) => Ok(end),
            None if process.kill().is_err() => return End::GuestGone,
            None => tokio::time::timeout(KILL_DEADLINE, self.follow(process, live)).await,
        };
        match end {
            Ok(End::Exited(_)) => End::TimedOut,
            Ok(other) => other,
            Err(_elapsed) => End::Stuck,
        }
    }

    /// Takes what comes until guest and test have told where the test's threads are, or have taken too long; its end, if it
    /// ends meanwhile.
    async fn until_explained(
        &mut self,
        process: &mut Process,
        live: Option<&TestEvents>,
        own_stacks: Duration,
    ) -> Option<End> {
        let mut deadline = Instant::now() + KERNEL_STACKS;
        let mut in_kernel = true;
        loop {
            match &self.stacks {
                Some((_, true)) if in_kernel => {
                    (deadline, in_kernel) = (Instant::now() + own_stacks, false);
                }
                Some((_, asked)) if !asked || self.report.ends_with(&Record::Explained.encode()) => return None,
                _ => {}
            }
            match tokio::time::timeout_at(deadline.into(), self.step(process, live)).await {
                Ok(None) => {}
                Ok(end) => return end,
                Err(_elapsed) => return None,
            }
        }
    }

    /// What keeps a process that was told to die. A guest that goes on tells where its threads are, were it nothing.
    fn keeper(&self, vm: &Vm) -> Keeper {
        match &self.stacks {
            _ if vm.is_stopped() => Keeper::StoppedQemu,
            Some(_) => Keeper::Kernel,
            None => Keeper::Guest,
        }
    }

    async fn follow(&mut self, process: &mut Process, live: Option<&TestEvents>) -> End {
        loop {
            if let Some(end) = self.step(process, live).await {
                return end;
            }
        }
    }

    /// Takes the next of what happens; its end, if that is it.
    async fn step(&mut self, process: &mut Process, live: Option<&TestEvents>) -> Option<End> {
        match process.next().await {
            Some(ProcessEvent::Started) => self.started = Some(Instant::now()),
            Some(ProcessEvent::Output(GuestStream::Report, data)) => {
                let room = REPORT_LIMIT.saturating_sub(self.report.len());
                self.report.extend_from_slice(&data[..data.len().min(room)]);
            }
            Some(ProcessEvent::Output(stream, data)) => match live {
                Some(test_events) => test_events.wrote(live_stream(stream), data).await,
                None => self.output.append(&data),
            },
            Some(ProcessEvent::Kernel(record)) => self.kernel_log.push(&self.path, record),
            Some(ProcessEvent::KernelLost(records)) => self.kernel_log.lost(records),
            Some(ProcessEvent::Changed(changes)) => self.changes = changes,
            Some(ProcessEvent::Stacks { lines, asked }) => self.stacks = Some((lines, asked)),
            Some(ProcessEvent::Exited(exit)) => return Some(End::Exited(exit)),
            Some(_) => {}
            None => return Some(End::GuestGone),
        }
        None
    }
}

fn live_stream(stream: GuestStream) -> OutputStream {
    if stream == GuestStream::Stderr { OutputStream::Stderr } else { OutputStream::Stdout }
}
