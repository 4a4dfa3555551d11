//! What is decided before a boot, and which accelerators are tried.

use std::os::unix::net::UnixListener;

use crate::config::Accel;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::store::Store;
use crate::vm::boot::Attempt;
use crate::vm::failure::Failure;
use crate::vm::qemu::accel::{self, Candidates, Memory, Verdict};
use crate::vm::qemu::command_line::Hypervisor;
use crate::vm::qemu::gdb;
use crate::vm::qemu::machine::Arch;
use crate::vm::root::initramfs::Initramfs;
use crate::vm::running::Vm;
use crate::vm::snapshot::start;
use crate::vm::spec::VmSpec;
use crate::vm::transport::candidates::{HostOffers, Ladders, Rungs};
use crate::vm::transport::drivers::Drivers;

/// All that a boot needs.
pub(crate) struct Plan<'a> {
    spec: &'a VmSpec,
    arch: Arch,
    rungs: Rungs,
    initramfs: Initramfs,
    candidates: Candidates,
    memory: Memory,
    store: Store,
}

impl<'a> Plan<'a> {
    /// Reads what host and guest offer and decides.
    pub(crate) fn make(spec: &'a VmSpec, store: &Store) -> Result<Self> {
        let arch = Arch::host();
        let drivers = Drivers::of(&spec.kernel)?;
        drivers.check(&spec.kernel, &spec.modules)?;
        let ladders = Ladders::survey(HostOffers::here(arch), |driver| drivers.find(driver));
        let rungs = ladders.choose(spec)?;
        let memory = Memory::open(&store.state(accel::STATE)?);
        let candidates = accel::candidates(spec.accel, &memory)?;
        let initramfs = Initramfs::prepare(spec, &drivers, &rungs, store)?;
        Ok(Self { spec, arch, rungs, initramfs, candidates, memory, store: store.clone() })
    }

    /// Boots under the first accelerator that can.
    pub(crate) async fn boot(&self, subject: &str, events: &Events) -> Result<Vm> {
        self.candidates.note.iter().for_each(|note| events.note(note));
        let gdb = self.wait_for_gdb(events)?;
        let mut hypervisors = self.candidates.hypervisors.iter().peekable();
        let mut broken = None;
        loop {
            let &hypervisor = hypervisors.next().expect("an attempt that has a successor falls through to it");
            events.step(subject, format!("booting ({})", hypervisor.as_str()));
            match self.start(&self.attempt(hypervisor, gdb.as_ref()), events).await {
                Ok(vm) => {
                    // Only now is it known that KVM was to blame, and not what another hypervisor needs as well.
                    let works = (hypervisor == Hypervisor::Kvm).then_some(Verdict::Works);
                    if let Some(verdict) = broken.map(Verdict::Broken).or(works) {
                        self.memory.keep(&verdict);
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

    /// Goes on with a VM that was kept, or boots one.
    async fn start(&self, attempt: &Attempt<'_>, events: &Events) -> std::result::Result<Vm, Failure> {
        let can_be_kept =
            self.spec.warm_start && attempt.gdb.is_none() && start::is_possible(self.rungs.channel, self.rungs.share);
        if can_be_kept && let Some(vm) = start::resume(attempt, &self.store, events).await? {
            return Ok(vm);
        }
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
        let Self { spec, arch, rungs, initramfs, .. } = self;
        let cpus = spec.cpus.unwrap_or(if matches!(hypervisor, Hypervisor::Tcg { .. }) { 1 } else { 2 });
        let hypervisor = accel::for_cpus(hypervisor, cpus, *arch);
        Attempt { spec, arch: *arch, hypervisor, cpus, rungs, initramfs, gdb }
    }
}
