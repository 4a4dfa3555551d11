//! One try at booting.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::console::Console;
use super::device::Device;
use super::facts::Facts;
use super::failure::Failure;
use super::initrd::{Initramfs, config_of};
use super::ladder::Rungs;
use super::link::{self, Link};
use super::log_file::{self, LogFile};
use super::machine::Arch;
use super::process::Qemu;
use super::qemu::{self, Hypervisor, Invocation};
use super::qmp::{self, Monitor, Stop};
use super::running::{CONSOLE_LINES, Vm, why_it_ended};
use super::shares::{self, Shares, bytes};
use super::spec::VmSpec;
use crate::config::Share;
use crate::doctor::install_qemu;
use crate::error::{Error, ErrorKind};
use crate::guest::client::{Greeted, Guest};
use crate::guest::initramfs;
use crate::guest::protocol::{Mount, MountSource, Setup};

/// One try at booting.
pub(super) struct Attempt<'a> {
    pub(super) spec: &'a VmSpec,
    pub(super) arch: Arch,
    pub(super) hypervisor: Hypervisor,
    pub(super) cpus: u32,
    pub(super) rungs: &'a Rungs,
    pub(super) initramfs: &'a Initramfs,
    /// Where gdb is waited for.
    pub(super) gdb: Option<&'a UnixListener>,
}

/// A QEMU that runs, whose guest has not been heard of yet.
struct Started {
    qemu: Qemu,
    stop: watch::Receiver<Option<Stop>>,
    greeted: Arc<AtomicBool>,
    console: Console,
    link: Link,
    shares: Shares,
    at: Instant,
}

impl Attempt<'_> {
    pub(super) async fn boot(&self) -> std::result::Result<Vm, Failure> {
        let mut started = self.start()?;
        let deadline = tokio::time::sleep(self.spec.boot_timeout);
        let (qemu, console) = (&started.qemu, &started.console);
        let mut stop = started.stop.clone();
        let mut progress = Progress::Kernel;
        let kernel_log = self.log(log_file::KERNEL)?;
        let greeting = greet(&mut started.link, self.setup(&started.shares), kernel_log, started.at, &mut progress);
        let outcome = tokio::select! {
            greeted = greeting => greeted.map_err(|error| error.to_string()),
            _ = qemu.ended() => Err("QEMU ended".to_owned()),
            _ = stop.wait_for(|stop| *stop == Some(Stop::InternalError)) => Err("QEMU stopped".to_owned()),
            line = panicked(console) => Err(line),
            () = deadline => Err(self.too_late(progress, started.greeted.load(Ordering::Relaxed), console)),
        };
        match outcome {
            Ok((guest, facts)) => Ok(self.vm(started, guest, facts)),
            Err(why) => Err(self.autopsy(&started, why).await),
        }
    }

    /// That time is up, and how far the guest got.
    fn too_late(&self, progress: Progress, greeted: bool, console: &Console) -> String {
        let far = match progress {
            Progress::Kernel if !greeted => "QEMU itself has not answered yet",
            Progress::Kernel if console.is_empty() => "QEMU runs, the kernel's console is empty",
            Progress::Kernel => "the kernel runs, lvh-init has not connected",
            Progress::Connected => "lvh-init has connected and said nothing",
            Progress::Greeted => "lvh-init has said hello, and is not ready yet",
        };
        format!("timed out after {:?} waiting for the guest: {far}", self.spec.boot_timeout)
    }

    fn start(&self) -> std::result::Result<Started, Failure> {
        let (console, console_end) = UnixStream::pair()?;
        let (monitor, monitor_end) = UnixStream::pair()?;
        let mut link = link::prepare(self.rungs.channel, self.arch)?;
        let mut shares = shares::prepare(self.rungs.share, &self.spec.visible, &self.spec.writable)?;
        let initrd = initramfs::memory_file(&self.initramfs.0)?;
        let log = self.log(log_file::CONSOLE)?;

        let mut devices = vec![
            Device::Console { fd: console_end.as_raw_fd(), tty: self.arch.console() },
            Device::Qmp { fd: monitor_end.as_raw_fd() },
            link.device.clone(),
        ];
        devices.extend(shares.devices.iter().cloned());
        devices.extend(self.gdb.map(|gdb| Device::Gdb { fd: gdb.as_raw_fd() }));
        let invocation = self.invocation(initrd.as_raw_fd(), devices);
        let fds = invocation.devices.iter().filter_map(Device::fd).chain([invocation.initrd]).collect();
        let at = Instant::now();
        let qemu = self.spawn(&invocation, fds)?;
        // QEMU has them now: while we hold them too, nobody sees the other side close.
        link.inherited = None;
        shares.inherited.clear();
        drop((console_end, monitor_end));

        monitor.set_nonblocking(true)?;
        let Monitor { stop, greeted } = qmp::follow(tokio::net::UnixStream::from_std(monitor)?);
        Ok(Started { qemu, stop, greeted, console: Console::read(console, log), link, shares, at })
    }

    fn log(&self, name: &str) -> io::Result<Option<LogFile>> {
        self.spec.log_dir.as_ref().map(|dir| LogFile::create(&dir.join(name))).transpose()
    }

    fn invocation(&self, initrd: RawFd, devices: Vec<Device>) -> Invocation {
        let kernel = &self.spec.kernel;
        Invocation {
            arch: self.arch,
            accel: self.hypervisor,
            cpus: self.cpus,
            memory_mib: self.spec.memory_mib,
            kernel: kernel.vmlinux.clone().unwrap_or_else(|| kernel.image.clone()),
            initrd,
            kernel_args: self.spec.kernel_args.clone(),
            devices,
        }
    }

    fn spawn(&self, invocation: &Invocation, fds: Vec<RawFd>) -> std::result::Result<Qemu, Failure> {
        let program = self.arch.qemu();
        Qemu::start(program, &qemu::arguments(invocation), fds).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let message = format!("`{program}` was not found in PATH");
                Failure::Host(Error::new(ErrorKind::Missing, message).with_hint(install_qemu()))
            }
            _ => Failure::Host(Error::new(ErrorKind::Io, format!("failed to run `{program}`")).with_source(error)),
        })
    }

    fn setup(&self, shares: &Shares) -> Setup {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Setup {
            hostname: "lvh".to_owned(),
            clock_ns: now.as_nanos() as u64,
            root: shares.root.clone(),
            mounts: self.mounts(shares),
        }
    }

    /// What is mounted over the shared root, parents before what lies in them.
    fn mounts(&self, shares: &Shares) -> Vec<Mount> {
        let from_root = |source: &Path, target: &Path| Mount {
            source: MountSource::Root { path: bytes(source) },
            target: bytes(target),
        };
        let mut mounts = shares.mounts.clone();
        if self.rungs.share != Share::Packed {
            let kernel = &self.spec.kernel;
            let modules = PathBuf::from("/lib/modules").join(kernel.release.as_str());
            mounts.extend(kernel.modules.iter().map(|tree| from_root(tree, &modules)));
            mounts.extend(kernel.config.iter().map(|config| from_root(config, &config_of(kernel))));
            mounts.extend(self.spec.visible.iter().map(|path| from_root(path, path)));
        }
        mounts.sort_by_key(|mount| mount.target.0.iter().filter(|&&byte| byte == b'/').count());
        mounts
    }

    fn vm(&self, started: Started, guest: Guest, greeting: Greeting) -> Vm {
        let served = started.link.served.into_iter().chain(started.shares.served).collect();
        let facts = Facts {
            kernel: self.spec.kernel.name.clone(),
            identity: self.spec.kernel.identity.clone(),
            release: greeting.release,
            cpus: self.cpus,
            hypervisor: self.hypervisor,
            rungs: self.rungs.clone(),
            warnings: greeting.warnings,
            hello_after: greeting.hello_after,
            ready_after: started.at.elapsed(),
        };
        Vm {
            guest,
            qemu: started.qemu,
            stop: started.stop,
            console: started.console,
            _served: served,
            facts,
            writable: self.spec.writable.clone(),
        }
    }

    /// Finds out why the guest did not come up, and ends it.
    async fn autopsy(&self, started: &Started, why: String) -> Failure {
        // What ends a guest shows on its channel first; QEMU follows in a moment.
        let _ = tokio::time::timeout(Duration::from_millis(300), started.qemu.ended()).await;
        let stop = started.stop.borrow().clone();
        let stderr = started.qemu.stderr();
        // A QEMU that fails over anything else fails under TCG again, and that error is then told. Who kills it says
        // nothing of KVM.
        let killed = |status: &ExitStatus| status.signal() == Some(libc::SIGKILL);
        let crashed = started.qemu.status().is_some_and(|status| !status.success() && !killed(&status));
        if self.hypervisor == Hypervisor::Kvm && (stop == Some(Stop::InternalError) || crashed) {
            started.qemu.kill();
            started.qemu.ended().await;
            let words = stderr.lines().next().unwrap_or("QEMU reports an internal error");
            let words = words.trim_start_matches(self.arch.qemu()).trim_start_matches(": ");
            return Failure::Accelerator(format!("KVM does not work on this machine ({words})"));
        }
        let why = why_it_ended(&started.qemu, stop.as_ref(), &started.console).unwrap_or(why);
        let console = started.console.tail(CONSOLE_LINES);
        started.qemu.kill();
        started.qemu.ended().await;
        let whole =
            self.spec.log_dir.as_ref().map(|dir| format!("[all of it: {}]", dir.join(log_file::CONSOLE).display()));
        let lines = [self.rungs.passed_over.join("\n"), stderr, console, whole.unwrap_or_default()];
        let said = lines.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>().join("\n");
        Failure::Boot {
            why: format!(
                "{why} (channel {}, share {}, {})",
                self.rungs.channel,
                self.rungs.share,
                self.hypervisor.as_str()
            ),
            output: said,
        }
    }
}

/// What a guest told while it came up.
struct Greeting {
    release: String,
    hello_after: Duration,
    warnings: Vec<String>,
}

/// How far a guest got that is not ready.
#[derive(Debug, Clone, Copy)]
enum Progress {
    Kernel,
    Connected,
    Greeted,
}

async fn greet(
    link: &mut Link,
    setup: Setup,
    kernel_log: Option<LogFile>,
    since: Instant,
    progress: &mut Progress,
) -> io::Result<(Guest, Greeting)> {
    let stream = (&mut link.stream).await.map_err(io::Error::other)?;
    *progress = Progress::Connected;
    stream.set_nonblocking(true)?;
    let greeted = Greeted::meet(tokio::net::UnixStream::from_std(stream)?).await?;
    *progress = Progress::Greeted;
    let (release, hello_after) = (greeted.release.to_string(), since.elapsed());
    let (guest, warnings) = greeted.set_up(setup, kernel_log).await?;
    Ok((guest, Greeting { release, hello_after, warnings }))
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
