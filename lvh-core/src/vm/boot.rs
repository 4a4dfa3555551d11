//! One try at booting.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Share;
use crate::error::{Error, ErrorKind};
use crate::guest::client::{Greeted, Guest};
use crate::guest::initramfs;
use crate::guest::log_file::{self, LogFile};
use crate::guest::protocol::{Mount, MountSource, Setup};
use crate::guest::wire::Bytes;
use crate::kernel::KernelRelease;
use crate::process::install::install_qemu;
use crate::vm::failure::Failure;
use crate::vm::info::Facts;
use crate::vm::qemu::command_line::{self, Hypervisor, Invocation, Memory};
use crate::vm::qemu::console::Console;
use crate::vm::qemu::device::Device;
use crate::vm::qemu::machine::Arch;
use crate::vm::qemu::migration;
use crate::vm::qemu::process::Qemu;
use crate::vm::qemu::qmp::{Monitor, Stop};
use crate::vm::root::initramfs::{Initramfs, config_of};
use crate::vm::running::{CONSOLE_LINES, Vm, why_it_ended};
use crate::vm::snapshot::start::{self, Kept};
use crate::vm::spec::VmSpec;
use crate::vm::transport::candidates::Rungs;
use crate::vm::transport::channel::{self, Link};
use crate::vm::transport::share::{self, Shares, bytes};

/// One try at booting.
pub(crate) struct Attempt<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) arch: Arch,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) cpus: u32,
    pub(crate) rungs: &'a Rungs,
    pub(crate) initramfs: &'a Initramfs,
    /// Where gdb is waited for.
    pub(crate) gdb: Option<&'a UnixListener>,
}

/// How a VM begins.
#[derive(Clone, Copy)]
enum Start<'a> {
    /// Booted.
    Boot,
    /// Booted, with what is to be kept in this directory.
    Keep(&'a Path),
    /// Where this one was kept.
    Resume(&'a Kept),
}

/// How long a guest that was kept may take until it is ready, which is a third of a second: then another is booted.
const RESUME_DEADLINE: Duration = Duration::from_secs(60);

/// A QEMU that runs, whose guest has not been heard of yet.
struct Started {
    qemu: Qemu,
    monitor: Monitor,
    /// The descriptor from which it reads the state to go on from, by QEMU's number.
    state: Option<RawFd>,
    console: Console,
    link: Link,
    shares: Shares,
    at: Instant,
}

impl Attempt<'_> {
    pub(crate) async fn boot(&self) -> std::result::Result<Vm, Failure> {
        let mut started = self.start(Start::Boot)?;
        let (kernel_log, hello) = (self.log(log_file::KERNEL)?, Cell::new(false));
        let Started { qemu, monitor, console, link, shares, at, .. } = &mut started;
        let greeting = greet(link, self.setup(shares)?, kernel_log, *at, &hello);
        match self.watch(qemu, monitor, console, &hello, greeting).await {
            Ok((guest, greeting)) => Ok(self.vm(started, guest, greeting)),
            Err(why) => Err(self.autopsy(&started, why).await),
        }
    }

    /// Boots up to where lvh-init waits, and keeps that in the directory `dir`: the guest's release, or why QEMU cannot.
    pub(crate) async fn keep(&self, dir: &Path) -> std::result::Result<io::Result<KernelRelease>, Failure> {
        let mut started = self.start(Start::Keep(dir))?;
        let hello = Cell::new(false);
        let Started { qemu, monitor, console, link, .. } = &mut started;
        let meeting = meet(link, &hello);
        let greeted = match self.watch(qemu, monitor, console, &hello, meeting).await {
            Ok(greeted) => greeted,
            Err(why) => return Err(self.autopsy(&started, why).await),
        };
        let saved = migration::save(&started.monitor).await;
        // It must not run on: its memory is what is kept.
        started.qemu.kill();
        started.qemu.ended().await;
        Ok(saved.map(|()| greeted.release))
    }

    /// Goes on with what was kept.
    pub(crate) async fn resume(&self, kept: &Kept) -> std::result::Result<Vm, Failure> {
        let mut started = self.start(Start::Resume(kept))?;
        let (kernel_log, hello) = (self.log(log_file::KERNEL)?, Cell::new(true));
        let Started { qemu, monitor, state, console, link, shares, at } = &mut started;
        let state = state.expect("what resumes has a state");
        let setup = self.setup(shares)?;
        let greeting = async {
            migration::load(monitor, state).await?;
            let greeted = Greeted::resumed(connected(link).await?, kept.release.clone());
            set_up(greeted, setup, kernel_log, *at).await
        };
        let late =
            |_elapsed| io::Error::other(format!("timed out after {RESUME_DEADLINE:?} waiting for the kept guest"));
        let greeting = async { tokio::time::timeout(RESUME_DEADLINE, greeting).await.map_err(late)? };
        match self.watch(qemu, monitor, console, &hello, greeting).await {
            Ok((guest, greeting)) => Ok(self.vm(started, guest, greeting)),
            Err(why) => Err(self.autopsy(&started, why).await),
        }
    }

    /// What QEMU is started with to boot, without what it is connected to.
    pub(crate) fn unconnected(&self) -> Invocation {
        let channel = Device::VirtioSerial { fd: 0 };
        let shares = share::nine_p(&self.spec.writable).devices;
        let ends = [Device::Console { fd: 0, tty: self.arch.console() }, Device::Qmp { fd: 0 }, channel];
        let devices = ends.into_iter().chain(shares).map(|device| device.unconnected()).collect();
        self.invocation(0, devices, Memory::Own)
    }

    /// Awaits `work`, unless the VM ends before or takes too long.
    async fn watch<T>(
        &self,
        qemu: &Qemu,
        monitor: &Monitor,
        console: &Console,
        hello: &Cell<bool>,
        work: impl Future<Output = io::Result<T>>,
    ) -> std::result::Result<T, String> {
        let mut stop = monitor.stop.clone();
        tokio::select! {
            done = work => done.map_err(|error| error.to_string()),
            _ = qemu.ended() => Err("QEMU ended".to_owned()),
            _ = stop.wait_for(|stop| *stop == Some(Stop::InternalError)) => Err("QEMU stopped".to_owned()),
            line = panicked(console) => Err(line),
            () = tokio::time::sleep(self.spec.boot_timeout) => {
                Err(self.too_late(hello.get(), monitor.greeted.load(Ordering::Relaxed), console))
            }
        }
    }

    /// That time is up, and how far the guest got.
    fn too_late(&self, hello: bool, greeted: bool, console: &Console) -> String {
        let far = match (hello, greeted) {
            (true, _) => "lvh-init has said hello, and is not ready yet",
            (false, false) => "QEMU itself has not answered yet",
            (false, true) if console.is_empty() => "QEMU runs, the kernel's console is empty",
            (false, true) => "the kernel runs, lvh-init has not said hello",
        };
        format!("timed out after {:?} waiting for the guest: {far}", self.spec.boot_timeout)
    }

    fn start(&self, start: Start<'_>) -> std::result::Result<Started, Failure> {
        let (console, console_end) = UnixStream::pair()?;
        let (monitor, monitor_end) = UnixStream::pair()?;
        let mut link = channel::prepare(self.rungs.channel, self.arch)?;
        let mut shares = share::prepare(self.rungs.share, &self.spec.visible, &self.spec.writable)?;
        let initrd = initramfs::memory_file(&self.initramfs.segments)?;
        let log = self.log(log_file::CONSOLE)?;

        let mut devices = vec![
            Device::Console { fd: console_end.as_raw_fd(), tty: self.arch.console() },
            Device::Qmp { fd: monitor_end.as_raw_fd() },
            link.device.clone(),
        ];
        devices.extend(shares.devices.iter().cloned());
        devices.extend(self.gdb.map(|gdb| Device::Gdb { fd: gdb.as_raw_fd() }));
        let (memory, written, read) = match start {
            Start::Boot => (Memory::Own, None, None),
            Start::Keep(dir) => (Memory::Kept(start::memory_in(dir)), Some(start::state_in(dir)), None),
            Start::Resume(kept) => {
                (Memory::Resumed(kept.memory()), None, Some(migration::feed(File::open(kept.state())?)?))
            }
        };
        let invocation = self.invocation(initrd.as_raw_fd(), devices, memory);
        let state = read.as_ref().map(AsRawFd::as_raw_fd);
        let fds = invocation.devices.iter().filter_map(Device::fd).chain([invocation.initrd]).chain(state).collect();
        let at = Instant::now();
        let qemu = self.spawn(&invocation, fds, written.as_deref())?;
        // QEMU has them now: while we hold them too, nobody sees the other side close.
        link.inherited = None;
        shares.inherited.clear();
        drop((console_end, monitor_end, read));

        monitor.set_nonblocking(true)?;
        let monitor = Monitor::follow(tokio::net::UnixStream::from_std(monitor)?);
        Ok(Started { qemu, monitor, state, console: Console::read(console, log), link, shares, at })
    }

    fn log(&self, name: &str) -> io::Result<Option<LogFile>> {
        self.spec.log_dir.as_ref().map(|dir| LogFile::create(&dir.join(name))).transpose()
    }

    fn invocation(&self, initrd: RawFd, devices: Vec<Device>, memory: Memory) -> Invocation {
        let kernel = &self.spec.kernel;
        Invocation {
            arch: self.arch,
            accel: self.hypervisor,
            cpus: self.cpus,
            memory_mib: self.spec.memory_mib,
            memory,
            kernel: kernel.vmlinux.clone().unwrap_or_else(|| kernel.image.clone()),
            initrd,
            kernel_args: self.spec.kernel_args.clone(),
            devices,
        }
    }

    /// Starts QEMU, which may write a VM's state to the file `written`.
    fn spawn(
        &self,
        invocation: &Invocation,
        fds: Vec<RawFd>,
        written: Option<&Path>,
    ) -> std::result::Result<Qemu, Failure> {
        let program = self.arch.qemu();
        let variable = written.map(|file| (migration::VARIABLE, file));
        Qemu::start(program, &command_line::arguments(invocation), variable, fds).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let message = format!("`{program}` was not found in PATH");
                Failure::Host(Error::new(ErrorKind::Missing, message).with_hint(install_qemu()))
            }
            _ => Failure::Host(Error::new(ErrorKind::Io, format!("failed to run `{program}`")).with_source(error)),
        })
    }

    fn setup(&self, shares: &Shares) -> io::Result<Setup> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut seed = vec![0; SEED];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Setup {
            hostname: "lvh".to_owned(),
            clock_ns: now.as_nanos() as u64,
            seed: Bytes(seed),
            root: shares.root.clone(),
            mounts: self.mounts(shares),
        })
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
            resumed: started.state.is_some(),
            hello_after: greeting.hello_after,
            ready_after: started.at.elapsed(),
        };
        Vm {
            guest,
            qemu: started.qemu,
            stop: started.monitor.stop.clone(),
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
        let stop = started.monitor.stop.borrow().clone();
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

async fn greet(
    link: &mut Link,
    setup: Setup,
    kernel_log: Option<LogFile>,
    since: Instant,
    hello: &Cell<bool>,
) -> io::Result<(Guest, Greeting)> {
    let greeted = meet(link, hello).await?;
    set_up(greeted, setup, kernel_log, since).await
}

async fn meet(link: &mut Link, hello: &Cell<bool>) -> io::Result<Greeted> {
    let stream = connected(link).await?;
    let greeted = Greeted::meet(stream).await?;
    hello.set(true);
    Ok(greeted)
}

async fn connected(link: &mut Link) -> io::Result<tokio::net::UnixStream> {
    let stream = (&mut link.stream).await.map_err(io::Error::other)?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

async fn set_up(
    greeted: Greeted,
    setup: Setup,
    kernel_log: Option<LogFile>,
    since: Instant,
) -> io::Result<(Guest, Greeting)> {
    let (release, hello_after) = (greeted.release.to_string(), since.elapsed());
    let (guest, warnings) = greeted.set_up(setup, kernel_log).await?;
    Ok((guest, Greeting { release, hello_after, warnings }))
}

/// How much entropy a guest gets, in bytes: as much as its generator holds.
const SEED: usize = 32;

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
