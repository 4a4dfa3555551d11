//! Starting QEMU with all that it is connected to, and watching it until its guest is up.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Ends};
use super::diagnosis::{Cause, Progress, diagnose};
use super::failure::Failure;
use super::qemu::command_line::{self, GuestMemory, Invocation};
use super::qemu::console::Console;
use super::qemu::device::{Device, Writes};
use super::qemu::migration;
use super::qemu::process::Qemu;
use super::qemu::qmp::{Monitor, Stop};
use super::transport::channel::{self, Link};
use super::transport::share::{self, Shares};
use crate::error::{Error, ErrorKind, Result as Checked};
use crate::guest::initramfs;
use crate::guest::kernel_log::log_file;
use crate::image::overlay;
use crate::machine::with_hint;
use crate::process::install::install_qemu;
use crate::{Arch, process};

/// How a VM begins.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Booted.
    Boot,
    /// Booted, to take a snapshot.
    Snapshot(&'a migration::Files),
    /// Resumed from one.
    Resume(&'a migration::Files),
}

/// A QEMU that runs, whose guest has not been heard of yet.
pub(crate) struct Launched {
    pub(crate) machine: Machine,
    pub(crate) link: Link,
    pub(crate) shares: Shares,
    /// The descriptor from which it reads the state to resume, by QEMU's number.
    pub(crate) state: Option<RawFd>,
    pub(crate) since: Instant,
}

/// QEMU, and what it and the kernel say.
pub(crate) struct Machine {
    pub(crate) qemu: Qemu,
    pub(crate) monitor: Monitor,
    pub(crate) console: Console,
}

/// Starts QEMU for this attempt.
///
/// # Errors
/// There is no QEMU; those of the operating system.
pub(crate) fn launch(attempt: &Attempt<'_>, start: Start<'_>) -> Result<Launched, Failure> {
    let Attempt { spec, transport, .. } = attempt;
    let (console, console_end) = UnixStream::pair()?;
    let (monitor, monitor_end) = UnixStream::pair()?;
    let mut link = channel::prepare(transport.channel, spec.kernel.arch)?;
    let mut shares = share::prepare(transport.share, &attempt.seen())?;
    let initrd = initramfs::memory_file(&attempt.initramfs.segments)?;
    let log = attempt.log(log_file::CONSOLE)?;

    let mut devices = attempt.devices_at(Ends {
        console: console_end.as_raw_fd(),
        monitor: monitor_end.as_raw_fd(),
        channel: link.device.clone(),
        shares: shares.devices.clone(),
    });
    devices.iter_mut().try_for_each(|device| write_where(device, start))?;
    let (memory, written, read) = match start {
        Start::Boot => (GuestMemory::Own, None, None),
        Start::Snapshot(files) => (GuestMemory::Snapshot(files.memory.clone()), Some(files.state.as_path()), None),
        Start::Resume(files) => {
            let state = migration::feed(File::open(&files.state)?)?;
            (GuestMemory::Resumed(files.memory.clone()), None, Some(state))
        }
    };
    let invocation = attempt.invocation(initrd.as_raw_fd(), devices, memory);
    let state = read.as_ref().map(AsRawFd::as_raw_fd);
    let fds = invocation.devices.iter().filter_map(Device::fd).chain([invocation.initrd]).chain(state).collect();
    let since = Instant::now();
    let qemu = spawn(&invocation, fds, written)?;
    // QEMU has them now: while we hold them too, nobody sees the other side close.
    link.inherited = None;
    shares.inherited = None;
    drop((console_end, monitor_end, read));

    monitor.set_nonblocking(true)?;
    let monitor = Monitor::follow(tokio::net::UnixStream::from_std(monitor)?);
    let machine = Machine { qemu, monitor, console: Console::read(console, log)? };
    Ok(Launched { machine, link, shares, state, since })
}

/// What the guest writes to its disks before a snapshot belongs to that.
fn write_where(device: &mut Device, start: Start<'_>) -> crate::Result<()> {
    if let Device::Disk { name, path, writes, .. } = device {
        match start {
            Start::Boot => {}
            Start::Snapshot(files) => {
                let over = files.disk(name);
                overlay::create(&over, path)?;
                *writes = Writes::Kept(over);
            }
            Start::Resume(files) => *writes = Writes::LostOver(files.disk(name)),
        }
    }
    Ok(())
}

/// Sees that there is a QEMU, before anything is said of how it will run guests.
pub(crate) fn check_qemu(arch: Arch) -> Checked<()> {
    process::find(arch.qemu()).map(drop).ok_or_else(|| not_found(arch.qemu()))
}

fn not_found(program: &str) -> Error {
    Error::new(ErrorKind::Missing, format!("`{program}` was not found in PATH")).with_hint(install_qemu())
}

/// Starts QEMU, which may write a VM's state to the file `written`.
fn spawn(invocation: &Invocation, fds: Vec<RawFd>, written: Option<&Path>) -> Result<Qemu, Failure> {
    let program = invocation.arch.qemu();
    let variable = written.map(|file| (migration::VARIABLE, file));
    Qemu::start(program, &command_line::arguments(invocation), variable, fds).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Host(not_found(program)),
        _ => Failure::Host(with_hint(Error::new(ErrorKind::Io, format!("failed to run `{program}`")), error)),
    })
}

impl Machine {
    /// Awaits `work`, unless the VM ends before or takes too long; `hello` tells whether lvh-init was heard.
    pub(crate) async fn watch<T>(
        &self,
        limit: Duration,
        hello: &Cell<bool>,
        work: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Cause> {
        let mut stop = self.monitor.stop.clone();
        tokio::select! {
            done = work => done.map_err(Cause::of_handshake),
            status = self.qemu.ended() => Err(Cause::QemuEnded(status)),
            _ = stop.wait_for(|stop| *stop == Some(Stop::InternalError)) => Err(Cause::InternalError),
            line = panicked(&self.console) => Err(Cause::of_panic(line)),
            () = tokio::time::sleep(limit) => Err(Cause::Late { limit, reached: self.progress(hello.get()) }),
        }
    }

    /// How far the boot got.
    fn progress(&self, hello: bool) -> Progress {
        match (hello, self.monitor.greeted.get().is_some()) {
            _ if self.qemu.is_stopped() => Progress::Stopped,
            (true, _) => Progress::Hello,
            (false, false) => Progress::Nothing,
            (false, true) if self.console.is_empty() => Progress::Machine,
            (false, true) => Progress::Kernel,
        }
    }

    /// Why the machine stopped, as QEMU tells it.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.monitor.stop.borrow().clone()
    }

    /// What is known now of why it ended.
    pub(crate) fn diagnose(&self) -> Option<Cause> {
        diagnose(&self.qemu, self.stop().as_ref(), &self.console)
    }
}

/// Waits until the console shows that the kernel died. It normally takes QEMU with it (`panic=-1`), unless the user
/// asked for another `panic=`.
async fn panicked(console: &Console) -> String {
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    loop {
        interval.tick().await;
        if let Some(line) = console.panic_line() {
            return line;
        }
    }
}
