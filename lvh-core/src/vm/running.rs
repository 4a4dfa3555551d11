//! A VM from its start to its end.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::diagnosis::diagnose;
use super::host_changes::HostChanges;
use super::info::VmInfo;
use super::qemu::command_line::Hypervisor;
use super::qemu::console::Console;
use super::qemu::process::Qemu;
use super::qemu::qmp::Stop;
use super::root::rootfs::RootFs;
use super::transport::served::Served;
use super::transport::share::bytes;
use crate::error::{Error, ErrorKind, Result};
use crate::guest::client::command::Command;
use crate::guest::client::guest::Guest;
use crate::guest::client::process::{Exit, Process, ProcessEvent, Stream, gone};
use crate::guest::mirror::{Arrived, Incoming, Mirror};
use crate::guest::protocol::{CORE, CORES, PROFILES};
use crate::kernel::Kernel;
use crate::machine::Slot;

/// How long a guest may take to write everything back when it is told to end.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(10);

/// How long signs of a guest's death may follow the first.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// How many console lines an error quotes.
pub(crate) const CONSOLE_LINES: usize = 30;

/// A running VM. Dropped, it is killed; [`Vm::shutdown`] ends it in order.
#[derive(Debug)]
#[must_use = "a dropped VM is killed"]
pub struct Vm {
    // In order of destruction: the guest's tasks end with its channel, QEMU is killed, then the threads that served
    // its devices find their sockets closed.
    pub(crate) guest: Guest,
    pub(crate) qemu: Qemu,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    pub(crate) console: Console,
    pub(crate) _served: Vec<Served>,
    pub(crate) root: RootFs,
    pub(crate) info: VmInfo,
    pub(crate) mirrors: Mutex<Vec<Mirror>>,
    /// None where the guest sees no files of the host.
    pub(crate) host_changes: Option<HostChanges>,
    pub(crate) profiles: Option<PathBuf>,
    /// Its files stay in the store as long as it runs.
    pub(crate) _kernel: Kernel,
    /// Its room on the machine.
    pub(crate) slot: Option<Slot>,
}

impl Vm {
    /// What the VM turned out to be.
    pub fn info(&self) -> &VmInfo {
        &self.info
    }

    /// What its root file system is.
    pub fn root(&self) -> &RootFs {
        &self.root
    }

    /// From now on other VMs count this one no more: it waits for a person, and tests would wait for both.
    pub fn give_up_room(&mut self) {
        self.slot = None;
    }

    /// Starts a command, which finds in the writable directories, and in those that are watched
    /// ([`VmSpec::watched`](super::VmSpec::watched)), what the host has there now.
    ///
    /// # Errors
    /// The guest is gone; a writable directory cannot be read.
    pub async fn spawn(&self, command: &Command) -> Result<Process> {
        for mirror in &mut *self.mirrors.lock().await {
            let changes = mirror.outgoing().map_err(|error| Error::path("read", mirror.directory(), error))?;
            self.guest.change(&changes).map_err(gone)?;
        }
        if self.host_changes.as_ref().is_some_and(HostChanges::take) {
            self.guest.refresh().map_err(gone)?;
        }
        self.guest.run(command.0.clone()).map_err(gone)
    }

    /// Runs a command to its end, and gives how it ended and what it wrote.
    ///
    /// # Errors
    /// The command cannot be started; the guest is gone, or dies meanwhile.
    pub async fn output(&self, command: &Command) -> Result<Output> {
        let mut process = self.spawn(command).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(event) = process.next().await {
            match event {
                ProcessEvent::Output(Stream::Stdout, data) => stdout.extend(data),
                ProcessEvent::Output(Stream::Stderr, data) => stderr.extend(data),
                ProcessEvent::Exited(exit) => {
                    let status = exit_status(exit).map_err(|why| not_started(command, &why))?;
                    return Ok(Output { status, stdout, stderr });
                }
                _ => {}
            }
        }
        Err(self.death().await)
    }

    /// As [`Vm::output`], without what it wrote: that is thrown away.
    ///
    /// # Errors
    /// As [`Vm::output`].
    pub async fn status(&self, command: &Command) -> Result<ExitStatus> {
        match self.spawn(command).await?.wait().await {
            Some(exit) => exit_status(exit).map_err(|why| not_started(command, &why)),
            None => Err(self.death().await),
        }
    }

    /// The error of a guest that died: why, and what the console said last. Waits until it is gone.
    pub async fn death(&self) -> Error {
        // A guest that is gone has closed its channel, or half of it.
        let closed = tokio::time::timeout(DEATH_DEADLINE, self.guest.closed()).await;
        let closed = closed.unwrap_or_else(|_elapsed| "it takes no requests any more".to_owned());
        // QEMU ends a moment after its channel; the guest may also have closed it alone.
        let _ = tokio::time::timeout(DEATH_DEADLINE, self.qemu.ended()).await;
        let stop = self.stop.borrow().clone();
        let cause = diagnose(&self.qemu, stop.as_ref(), &self.console);
        let why = match &cause {
            Some(cause) if self.guest.broke() => format!("{cause}; {closed}"),
            Some(cause) => cause.to_string(),
            None if self.guest.broke() => format!("something in it wrote to lvh's channel, or closed it ({closed})"),
            None => closed,
        };
        let error = Error::new(ErrorKind::Guest, format!("the guest died: {why}")).with_output(self.console_tail());
        cause.and_then(|cause| cause.hint()).into_iter().fold(error, Error::with_hint)
    }

    /// Does on the host what commands did in the writable directories, and brings home the coverage profiles that they
    /// left: to be called when a command has ended. Gives what did not come home as it is in the guest, a line each.
    ///
    /// # Errors
    /// The guest is gone, or falls silent; a directory cannot be opened.
    pub async fn write_back(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for mirror in &mut *self.mirrors.lock().await {
            let directory = mirror.directory().to_owned();
            let incoming = mirror.incoming().map_err(|error| Error::path("open", &directory, error))?;
            problems.extend(self.fetch(&bytes(&directory).0, false, incoming, &directory).await?);
        }
        if let Some(profiles) = &self.profiles {
            problems.extend(self.take(PROFILES, profiles).await?);
        }
        Ok(problems)
    }

    /// Brings the cores that the last command left (see [`Command::core`]) into the existing directory `into`; gives its
    /// own, where that is among them.
    ///
    /// # Errors
    /// As [`Vm::write_back`].
    pub async fn fetch_cores(&self, into: &Path) -> Result<Option<PathBuf>> {
        self.take(CORES, into).await?;
        Ok(Some(into.join(CORE)).filter(|core| core.is_file()))
    }

    /// Moves what is in the guest's `directory` home.
    async fn take(&self, directory: &str, into: &Path) -> Result<Vec<String>> {
        let mut arrived = Arrived::default();
        let incoming = Incoming::new(into, &mut arrived).map_err(|error| Error::path("open", into, error))?;
        self.fetch(directory.as_bytes(), true, incoming, into).await
    }

    async fn fetch(&self, directory: &[u8], take: bool, mut to: Incoming<'_>, into: &Path) -> Result<Vec<String>> {
        let fetched = self.guest.collect(directory, take, |change| to.take(change)).await;
        let mut problems = fetched.map_err(|error| {
            let message = format!("failed to bring files of the guest to `{}`", into.display());
            Error::new(ErrorKind::Guest, message).with_source(error)
        })?;
        problems.extend(to.finish());
        Ok(problems)
    }

    /// The bug of QEMU's that killed the guest, if the console shows one: under TCG with several CPUs, QEMU before 8.1
    /// loses track of code that the kernel patches, and a CPU runs into the breakpoint of a patch long done.
    pub fn bug_of_qemu(&self) -> Option<&'static str> {
        let several = matches!(self.info.hypervisor, Hypervisor::Tcg { .. }) && self.info.cpus > 1;
        (several && self.console.contains("int3: 0000 [#"))
            .then_some("the guest died of an `Oops: int3`, which QEMU causes under TCG with several CPUs")
    }

    /// Whether something stopped QEMU's process, as SIGSTOP does: nothing in the guest goes on then.
    pub fn is_stopped(&self) -> bool {
        self.qemu.is_stopped()
    }

    /// What is kept of all that the console said.
    pub fn console(&self) -> String {
        self.console.text()
    }

    /// The console's last lines, and those where trouble of the kernel's began.
    pub fn console_tail(&self) -> String {
        self.console.tail(CONSOLE_LINES)
    }

    /// Ends the VM: everything is written back, then QEMU is ended.
    ///
    /// # Errors
    /// The guest was gone before, or did not answer in time; QEMU is ended all the same.
    pub async fn shutdown(self) -> Result<()> {
        let goodbye = tokio::time::timeout(GOODBYE_DEADLINE, self.guest.say_goodbye()).await;
        let ended = self.qemu.end().await;
        match goodbye {
            Ok(Ok(())) => {
                ended.map_err(|error| Error::new(ErrorKind::Guest, "failed to end the VM").with_source(error))
            }
            Ok(Err(error)) => {
                Err(Error::new(ErrorKind::Guest, "the guest was gone before it was shut down").with_source(error))
            }
            Err(_elapsed) => {
                Err(Error::new(ErrorKind::Guest, format!("the guest did not shut down within {GOODBYE_DEADLINE:?}")))
            }
        }
    }
}

/// As `wait(2)` gives it; why, where the command could not be started.
fn exit_status(exit: Exit) -> std::result::Result<ExitStatus, String> {
    match exit {
        Exit::Code(code) => Ok(ExitStatus::from_raw((code & 0xff) << 8)),
        Exit::Signal { signal, core } => Ok(ExitStatus::from_raw(signal & 0x7f | if core { 0x80 } else { 0 })),
        Exit::NotStarted(why) => Err(why),
    }
}

fn not_started(command: &Command, why: &str) -> Error {
    let program = command.get_program().display();
    Error::new(ErrorKind::Guest, format!("failed to start `{program}` in the guest: {why}"))
}
