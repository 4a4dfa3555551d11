//! What is decided before a boot, and which accelerators are tried.

use std::os::unix::net::UnixListener;

use super::attempt::Attempt;
use super::failure::Failure;
use super::info::VmInfo;
use super::launch;
use super::qemu::accel::{self, Choice, KvmState, Remembered};
use super::qemu::command_line::{self, Hypervisor};
use super::qemu::gdb;
use super::root::initramfs::Initramfs;
use super::root::kit::Kit;
use super::root::modules_disk::ModulesDisk;
use super::root::rootfs::RootFs;
use super::running::Vm;
use super::snapshot::start;
use super::spec::VmSpec;
use super::transport::candidates::{Candidates, HostOffers, Transport};
use super::transport::drivers::Drivers;
use crate::config::{Accel, Share};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Events};
use crate::machine::{self, Room, Slot};
use crate::store::Store;

impl Vm {
    /// Boots a VM, or resumes it from a snapshot of an equal one. Waits before, while the machine has no room for it.
    ///
    /// # Errors
    /// No QEMU; a transport or a root that cannot be had; a guest that does not come up, with what its console said.
    pub async fn boot(spec: &VmSpec, store: &Store, events: &Events) -> Result<Self> {
        let subject = format!("kernel `{}`", spec.kernel.name);
        let plan = Plan::make(spec, store, events);
        store.take_notes().into_iter().for_each(|note| events.note(note));
        let plan = plan?;
        plan.tell_of_memory(events);
        let room = Room::of_machine(spec.vms);
        let slot = Slot::take(machine::need_of_vm(spec.memory), room, &subject, events).await;
        let mut vm = plan.boot(&subject, events).await?;
        vm.slot = Some(slot);
        tell(vm.info(), subject, events);
        Ok(vm)
    }
}

/// Tells what a VM turned out to be.
fn tell(info: &VmInfo, subject: String, events: &Events) {
    let (result, times) = (info.to_string(), info.times.to_string());
    info.warnings.iter().for_each(|warning| events.note(format!("{subject}: {warning}")));
    events.send(match info.resumed && info.snapshot_after.is_none() {
        true => Event::Resumed { subject: subject.clone(), result },
        false => Event::Done { subject: subject.clone(), result },
    });
    events.send(Event::Times { subject, times });
}

/// All that a boot needs.
struct Plan<'a> {
    spec: &'a VmSpec,
    transport: Transport,
    initramfs: Initramfs,
    kit: Option<Kit>,
    modules: Option<ModulesDisk>,
    accelerators: Choice,
    remembered: Remembered,
    store: Store,
}

impl<'a> Plan<'a> {
    /// Reads what host and guest offer and decides.
    fn make(spec: &'a VmSpec, store: &Store, events: &Events) -> Result<Self> {
        launch::check_qemu(spec.kernel.arch)?;
        machine::check_room(spec.memory)?;
        command_line::check_words(&spec.kernel_args)?;
        let drivers = Drivers::of(&spec.kernel)?;
        drivers.check(&spec.kernel, &spec.modules)?;
        check_root(spec, &drivers)?;
        check_network(spec, &drivers)?;
        let offers = HostOffers::here(spec.kernel.arch);
        let transport = Candidates::survey(offers, |driver| drivers.find(driver)).choose(spec)?;
        check_headers(spec, transport.share)?;
        let remembered = Remembered::open(&store.state(accel::STATE)?);
        let accelerators = accel::candidates(spec.accel, spec.kernel.arch, &remembered)?;
        let kit = Kit::prepare(spec, store)?;
        let modules = ModulesDisk::prepare(spec, store, events)?;
        let initramfs = Initramfs::prepare(spec, &drivers, &transport, kit.as_ref(), store)?;
        Ok(Self { spec, transport, initramfs, kit, modules, accelerators, remembered, store: store.clone() })
    }

    /// That a VM has less memory than elsewhere is news once, as the lack of KVM is.
    fn tell_of_memory(&self, events: &Events) {
        let less = self.spec.default_memory.then(|| machine::less_memory(self.spec.memory)).flatten();
        less.filter(|why| self.remembered.is_news(why)).into_iter().for_each(|why| events.note(why));
    }

    /// Boots under the first accelerator that can.
    async fn boot(&self, subject: &str, events: &Events) -> Result<Vm> {
        if let Some(news) = &self.accelerators.news {
            news.fault().into_iter().for_each(|why| events.note(accel::slow(why)));
            self.remembered.keep(news);
        }
        let gdb = self.wait_for_gdb(events)?;
        let mut hypervisors = self.accelerators.hypervisors.iter().peekable();
        let mut broken = None;
        loop {
            let &hypervisor = hypervisors.next().expect("an attempt that has a successor falls through to it");
            match self.start(&self.attempt(hypervisor, gdb.as_ref()), subject, events).await {
                Ok(vm) => {
                    // Only now is it known that KVM was to blame, and not what another hypervisor needs as well.
                    let works = (hypervisor == Hypervisor::Kvm).then_some(KvmState::Works);
                    if let Some(state) = broken.map(KvmState::Broken).or(works) {
                        self.remembered.keep(&state);
                    }
                    return Ok(vm);
                }
                Err(Failure::Accelerator(why)) if self.spec.accel == Accel::Auto && hypervisors.peek().is_some() => {
                    events.note(accel::slow(&why));
                    broken = Some(why);
                }
                Err(failure) => return Err(failure.into_error(self.spec)),
            }
        }
    }

    /// Resumes from a snapshot, or boots.
    async fn start(&self, attempt: &Attempt<'_>, subject: &str, events: &Events) -> std::result::Result<Vm, Failure> {
        if self.spec.warm_start
            && let Some(vm) = start::resume(attempt, &self.store, subject, events).await?
        {
            return Ok(vm);
        }
        events.step(subject, format!("booting ({})", attempt.booted()));
        attempt.boot().await
    }

    /// The socket that gdb may come to already, where the user wants it.
    fn wait_for_gdb(&self, events: &Events) -> Result<Option<UnixListener>> {
        let Some(path) = &self.spec.gdb else { return Ok(None) };
        let listener = gdb::listen(path).map_err(|error| Error::path("listen for gdb on", path, error))?;
        events.note(gdb::invitation(&self.spec.kernel, path));
        Ok(Some(listener))
    }

    fn attempt<'b>(&'b self, hypervisor: Hypervisor, gdb: Option<&'b UnixListener>) -> Attempt<'b> {
        let Self { spec, transport, initramfs, .. } = self;
        let cpus = spec.cpus.unwrap_or(if matches!(hypervisor, Hypervisor::Tcg { .. }) { 1 } else { 2 });
        let hypervisor = accel::for_cpus(hypervisor, cpus, spec.kernel.arch);
        let (kit, modules) = (self.kit.as_ref(), self.modules.as_ref());
        Attempt { spec, hypervisor, cpus, transport, initramfs, kit, modules, gdb }
    }
}

/// Whether the root is there, and whether the kernel has what it needs.
fn check_root(spec: &VmSpec, drivers: &Drivers) -> Result<()> {
    let RootFs::Disk { path, .. } = &spec.root else { return Ok(()) };
    std::fs::File::open(path).map_err(|error| Error::path("open the disk", path, error))?;
    match spec.root.drivers().iter().find_map(|driver| drivers.find(driver).err()) {
        None => Ok(()),
        Some(why) => {
            let (kernel, path) = (&spec.kernel.name, path.display());
            Err(Error::new(ErrorKind::Boot, format!("kernel `{kernel}` cannot mount the disk `{path}`: {why}")))
        }
    }
}

/// Whether the guest can see the kernel's headers, which are too many to be packed.
fn check_headers(spec: &VmSpec, share: Share) -> Result<()> {
    match spec.headers.is_some() && share == Share::Packed {
        false => Ok(()),
        true => {
            let message = format!("kernel `{}` cannot be shown its headers: the share is `packed`", spec.kernel.name);
            Err(Error::new(ErrorKind::Boot, message).with_hint("they need a kernel with virtiofs or 9p"))
        }
    }
}

/// Whether the kernel has what a network needs.
fn check_network(spec: &VmSpec, drivers: &Drivers) -> Result<()> {
    match spec.drivers().iter().filter(|_| spec.network).find_map(|driver| drivers.find(driver).err()) {
        None => Ok(()),
        Some(why) => {
            let message = format!("kernel `{}` cannot have a network: {why}", spec.kernel.name);
            Err(Error::new(ErrorKind::Boot, message)
                .with_hint("`network` of the test or of [vm], or `--network`, asks for it"))
        }
    }
}
