//! From a QEMU that was started to a guest that is ready: booted, or resumed from a snapshot.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::attempt::Attempt;
use super::diagnosis::Cause;
use super::failure::Failure;
use super::host_changes::{HostChanges, Watch};
use super::info::{StartTimes, VmInfo};
use super::launch::{Launched, Machine, Start, launch};
use super::pulse;
use super::qemu::command_line::Hypervisor;
use super::qemu::migration;
use super::qemu::qmp::Stop;
use super::qemu::version::version;
use super::root::files::file_mounts;
use super::running::{CONSOLE_LINES, Vm};
use super::transport::channel::Link;
use super::transport::share::Shares;
use crate::config::{Channel, Share};
use crate::guest::client::guest::Guest;
use crate::guest::client::handshake::{Handshake, Ready};
use crate::guest::kernel_log::log_file::{self, LogFile};
use crate::guest::mirror::{Budget, Mirror};
use crate::guest::protocol::Setup;
use crate::guest::wire::Bytes;
use crate::kernel::KernelRelease;

/// How long a guest that waits for its snapshot goes on: what the kernel puts off, such as freeing what its modules needed
/// to start, would be done after each resume.
const SETTLING: Duration = Duration::from_millis(500);

/// How long a guest may take beyond the time that its init has: to say what systemd still waits for, or to come to rest.
const AFTER_INIT: Duration = Duration::from_secs(120);

/// How long a guest that resumes may take until it is ready, which is a third of a second: then another is booted.
const RESUME_DEADLINE: Duration = Duration::from_secs(60);

/// How much of what a writable directory holds goes to a guest. More is shown to it through its share, which takes longer for
/// each file but nothing at the start.
const MIRRORED: Budget = Budget { bytes: 4 << 20, names: 1000 };

/// As [`MIRRORED`], over a serial line, which carries 100 KiB a second.
const LEAST_MIRRORED: Budget = Budget { bytes: 64 << 10, names: 100 };

/// How much entropy a guest gets, in bytes: as much as its generator holds.
const SEED: usize = 32;

impl Attempt<'_> {
    /// Boots.
    pub(crate) async fn boot(&self) -> Result<Vm, Failure> {
        let mut launched = launch(self, Start::Boot)?;
        let (mut kernel_log, hello) = (self.log(log_file::KERNEL)?, Cell::new(false));
        let (mirrors, watch) = (self.mirrors()?, self.begin_watch());
        let setup = self.setup(&launched.shares, &mirrors)?;
        let Launched { machine, link, since, .. } = &mut launched;
        let work = async {
            let handshake = self.prepared(link, &hello, *since, &mut kernel_log, false).await?;
            finish(handshake, setup, kernel_log, watch).await
        };
        let ready = machine.watch(self.boot_deadline(), &hello, work).await;
        self.finish(launched, ready, mirrors).await
    }

    /// Boots a guest up to where it is prepared, and writes the snapshot there: the guest's release, or why QEMU cannot.
    pub(crate) async fn take_snapshot(&self, files: &migration::Files) -> Result<io::Result<KernelRelease>, Failure> {
        let mut launched = launch(self, Start::Snapshot(files))?;
        let (mut kernel_log, hello) = (self.log(log_file::KERNEL)?, Cell::new(false));
        let Launched { machine, link, since, .. } = &mut launched;
        let work = async {
            let handshake = self.prepared(link, &hello, *since, &mut kernel_log, true).await?;
            tokio::time::sleep(SETTLING).await;
            Ok(handshake)
        };
        let handshake = match machine.watch(self.boot_deadline(), &hello, work).await {
            Ok(handshake) => handshake,
            Err(cause) => return Err(self.give_up(machine, cause).await),
        };
        let saved = migration::save(&machine.monitor, &files.state).await;
        // It must not run on: its memory is part of the snapshot.
        let ended = machine.qemu.end().await;
        Ok(saved.and(ended).map(|()| handshake.release))
    }

    /// Resumes from a snapshot of a guest with this release.
    pub(crate) async fn resume(&self, files: &migration::Files, release: &KernelRelease) -> Result<Vm, Failure> {
        let mut launched = launch(self, Start::Resume(files))?;
        let (kernel_log, hello) = (self.log(log_file::KERNEL)?, Cell::new(true));
        let (mirrors, watch) = (self.mirrors()?, self.begin_watch());
        let setup = self.setup(&launched.shares, &mirrors)?;
        let Launched { machine, link, state, .. } = &mut launched;
        let state = state.expect("what resumes has a state");
        let work = async {
            migration::load(&machine.monitor, state).await?;
            let up = Instant::now();
            let mut handshake = match self.transport.channel {
                // QEMU resets the connections of a guest that resumes; lvh-init connects again, and says hello again.
                Channel::VhostVsock => begin(link, &hello).await?,
                _ => Handshake::resumed(connected(link).await?, release.clone()),
            };
            handshake.up = up;
            finish(handshake, setup, kernel_log, watch).await
        };
        let late =
            |_elapsed| io::Error::other(format!("timed out after {RESUME_DEADLINE:?} waiting for the resumed guest"));
        let work = async { tokio::time::timeout(RESUME_DEADLINE, work).await.map_err(late)? };
        let ready = machine.watch(self.spec.boot_timeout, &hello, work).await;
        self.finish(launched, ready, mirrors).await
    }

    /// A guest that has all that a snapshot holds; where one is taken, it `rests` before.
    async fn prepared(
        &self,
        link: &mut Link,
        hello: &Cell<bool>,
        since: Instant,
        kernel_log: &mut Option<LogFile>,
        rests: bool,
    ) -> io::Result<Handshake> {
        let mut handshake = begin(link, hello).await?;
        let left = self.spec.boot_timeout.saturating_sub(since.elapsed());
        handshake.prepare(self.preparation(left, rests), kernel_log).await?;
        Ok(handshake)
    }

    /// A guest that waits for systemd keeps the limit itself.
    fn boot_deadline(&self) -> Duration {
        let more = if self.spec.init.is_empty() { Duration::ZERO } else { AFTER_INIT };
        self.spec.boot_timeout + more
    }

    /// The VM of a guest that is ready, or why it is not.
    async fn finish(
        &self,
        launched: Launched,
        ready: Result<(Guest, Greeting), Cause>,
        mirrors: Vec<Mirror>,
    ) -> Result<Vm, Failure> {
        match ready {
            Ok((guest, greeting)) => Ok(self.vm(launched, guest, greeting, mirrors)),
            Err(cause) => Err(self.give_up(&launched.machine, cause).await),
        }
    }

    /// From now on what changes on the host is noticed, and the guest has not looked yet. What is packed is what it was.
    fn begin_watch(&self) -> Option<Watch> {
        (self.transport.share != Share::Packed).then(|| Watch::begin(&self.spec.watched))
    }

    /// The host's ends of the directories that commands may write to.
    fn mirrors(&self) -> io::Result<Vec<Mirror>> {
        let budget = if self.transport.channel == Channel::Serial { LEAST_MIRRORED } else { MIRRORED };
        let mut mirrors =
            self.spec.writable.iter().map(|dir| Mirror::of(dir, budget)).collect::<io::Result<Vec<_>>>()?;
        if self.transport.share == Share::Packed {
            mirrors.iter_mut().filter(|mirror| mirror.is_shown()).for_each(Mirror::forget);
        }
        Ok(mirrors)
    }

    fn setup(&self, shares: &Shares, mirrors: &[Mirror]) -> io::Result<Setup> {
        let mut seed = vec![0; SEED];
        File::open("/dev/urandom")?.read_exact(&mut seed)?;
        let share = self.transport.share;
        Ok(Setup {
            seed: Bytes(seed),
            shares: shares.shares.clone(),
            mounts: file_mounts(self.spec, share, self.kit, mirrors),
            kit: self.kit.map(|kit| kit.on_the_wire(share)),
        })
    }

    fn vm(&self, launched: Launched, guest: Guest, greeting: Greeting, mirrors: Vec<Mirror>) -> Vm {
        let Launched { machine: Machine { qemu, monitor, console }, link, shares, state, since } = launched;
        let (machine_made, ready) = (*monitor.greeted.get().unwrap_or(&since), Instant::now());
        // Whoever debugs a kernel stops it, and may want to look at one that died.
        if let Some(pulse) = guest.pulse().filter(|_| self.gdb.is_none()) {
            tokio::spawn(pulse::watch(console.clone(), pulse));
        }
        let info = VmInfo {
            kernel: self.spec.kernel.name.clone(),
            identity: self.spec.kernel.identity.clone(),
            image: self.spec.image.clone(),
            release: greeting.release,
            cpus: self.cpus,
            hypervisor: self.hypervisor,
            transport: self.transport.clone(),
            warnings: greeting.warnings,
            resumed: state.is_some(),
            snapshot_after: None,
            ready_after: ready.saturating_duration_since(since),
            times: StartTimes::between([since, machine_made, greeting.up, greeting.answered, ready]),
        };
        Vm {
            guest,
            qemu,
            stop: monitor.stop.clone(),
            console,
            _served: link.served.into_iter().chain(shares.served).collect(),
            root: self.spec.root.clone(),
            info,
            mirrors: Mutex::new(mirrors),
            host_changes: greeting.host_changes,
            profiles: self.spec.profiles.clone(),
            _kernel: self.spec.kernel.clone(),
            slot: None,
        }
    }

    /// Finds out why the guest did not come up, and ends it.
    async fn give_up(&self, machine: &Machine, cause: Cause) -> Failure {
        // What ends a guest shows on its channel first; QEMU follows in a moment.
        let _ = tokio::time::timeout(Duration::from_millis(300), machine.qemu.ended()).await;
        let (found, stderr) = (machine.diagnose(), machine.qemu.stderr());
        let is_kvms_fault =
            self.hypervisor == Hypervisor::Kvm && (machine.stop() == Some(Stop::InternalError) || crashed(machine));
        let console = machine.console.tail(CONSOLE_LINES);
        // One that stays is killed again when it is dropped: no boot waits for it.
        let _ = machine.qemu.end().await;
        if is_kvms_fault {
            let words = stderr.lines().next().unwrap_or("QEMU reports an internal error");
            let words = words.trim_start_matches(self.spec.kernel.arch.qemu()).trim_start_matches(": ");
            return Failure::Accelerator(format!("KVM does not work on this machine ({words})"));
        }
        let version = || version(self.spec.kernel.arch.qemu());
        let cause = cause.or(found).with_memory(self.spec.memory.mib()).with_qemu(version);
        let output = self.last_words(cause.output(), stderr, console);
        Failure::Boot { cause, on: self.on(), output }
    }

    /// All that is known of a boot that failed.
    fn last_words(&self, of_guest: &str, stderr: String, console: String) -> String {
        let whole =
            self.spec.log_dir.as_ref().map(|dir| format!("[all of it: {}]", dir.join(log_file::CONSOLE).display()));
        let parts =
            [of_guest.to_owned(), self.transport.passed_over.join("\n"), stderr, console, whole.unwrap_or_default()];
        parts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// Whether QEMU failed by itself. One that fails over anything else but KVM fails under TCG again, and that error is then
/// told; who kills it says nothing of KVM.
fn crashed(machine: &Machine) -> bool {
    let killed = |status: &ExitStatus| status.signal() == Some(libc::SIGKILL);
    machine.qemu.status().is_some_and(|status| !status.success() && !killed(&status))
}

/// What a guest told while it came up.
struct Greeting {
    release: String,
    /// When the guest had booted or resumed.
    up: Instant,
    /// When lvh-init was prepared and began with the root.
    answered: Instant,
    warnings: Vec<String>,
    host_changes: Option<HostChanges>,
}

async fn begin(link: &mut Link, hello: &Cell<bool>) -> io::Result<Handshake> {
    let stream = connected(link).await?;
    let handshake = Handshake::begin(stream).await?;
    hello.set(true);
    Ok(handshake)
}

async fn connected(link: &mut Link) -> io::Result<tokio::net::UnixStream> {
    let stream = (&mut link.stream).await.map_err(io::Error::other)?;
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

async fn finish(
    handshake: Handshake,
    setup: Setup,
    kernel_log: Option<LogFile>,
    watch: Option<Watch>,
) -> io::Result<(Guest, Greeting)> {
    let (release, up) = (handshake.release.to_string(), handshake.up);
    let Ready { guest, warnings, answered } = handshake.finish(setup, kernel_log).await?;
    let host_changes = watch.map(|watch| HostChanges::tell(&guest, watch)).transpose()?;
    Ok((guest, Greeting { release, up, answered, warnings, host_changes }))
}
