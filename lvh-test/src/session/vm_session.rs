//! One VM after the other for tests that want the same.

use std::time::Duration;

use lvh_core::config::{KernelEventKind, VmDefaults};
use lvh_core::store::Store;
use lvh_core::vm::{Hypervisor, TCG_FACTOR, Vm, VmSpec};
use lvh_core::{Config, Error, ErrorKind, Events, Place, kernel};

use super::guest_run;
use super::wish::Wish;
use crate::guest_mode::Launch;
use crate::harness::{Ending, Instance, Reports};

/// What all sessions of a run share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) place: Place,
    pub(crate) nocapture: bool,
    pub(crate) reports: &'a Reports,
}

/// The VM that one wish is granted by, started when it is first needed and again when it died.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    shared: &'a Shared<'a>,
    wish: Wish,
    spec: Option<VmSpec>,
    vm: Option<Vm>,
}

impl<'a> Session<'a> {
    /// A session without a VM yet.
    pub(crate) fn new(shared: &'a Shared<'a>, wish: Wish) -> Self {
        Self { shared, wish, spec: None, vm: None }
    }

    /// Makes sure that a VM runs.
    ///
    /// # Errors
    /// The kernel cannot be had, or does not boot.
    pub(crate) async fn ready(&mut self) -> lvh_core::Result<()> {
        if self.vm.is_some() {
            return Ok(());
        }
        let spec = match self.spec.take() {
            Some(spec) => spec,
            None => self.specify().await?,
        };
        let booted = Vm::boot(&spec, &self.shared.store, &self.shared.events).await;
        self.spec = Some(spec);
        self.vm = Some(booted?);
        Ok(())
    }

    /// Runs one test in the VM, which must be ready; once more in a new VM if QEMU itself broke the guest.
    ///
    /// # Panics
    /// If no VM is ready.
    pub(crate) async fn run(&mut self, instance: &Instance, launch: &Launch) -> Ending {
        let (ending, bug) = self.run_once(instance, launch).await;
        let Some(bug) = bug else { return ending };
        self.shared.events.note(format!("`{}` runs again in a new VM: {bug}", instance.name));
        match self.ready().await {
            Ok(()) => self.run_once(instance, launch).await.0,
            Err(error) => Ending::lost(in_short(&error)),
        }
    }

    /// Runs one test; also tells the bug of QEMU's that killed the guest, where one did.
    async fn run_once(&mut self, instance: &Instance, launch: &Launch) -> (Ending, Option<&'static str>) {
        let Shared { config, place, nocapture, reports, .. } = self.shared;
        let vm = self.vm.as_ref().expect("the session is ready");
        let env = place.guest_env(&config.vm.env);
        let command = guest_run::command(instance, launch, place, env, !nocapture);
        let live = nocapture.then_some(*reports);
        let mut ran = guest_run::run(vm, instance, command, self.timeout(instance, vm), live).await;
        ran.ending.fail_on = self.fail_on(instance);
        if let Err(error) = vm.write_back().await
            && ran.vm_usable
        {
            self.shared.events.note(format!("files of `{}` may be missing on the host: {error}", instance.name));
        }
        if ran.vm_usable {
            return (ran.ending, None);
        }
        let bug = vm.bug_of_qemu();
        // Killed when dropped.
        self.vm = None;
        (ran.ending, bug)
    }

    /// Tells in full why there is no VM; a front end shows the same words once.
    pub(crate) fn tell(&self, error: &Error) {
        self.shared.events.note(format!("error: {}", error.report()));
    }

    /// Ends the VM.
    pub(crate) async fn end(self) {
        if let Some(vm) = self.vm
            && let Err(error) = vm.shutdown().await
        {
            self.shared.events.note(error.report());
        }
    }

    fn timeout(&self, instance: &Instance, vm: &Vm) -> Duration {
        let explicit =
            instance.case.options.timeout_ms.map(Duration::from_millis).or(self.shared.config.vm.test_timeout);
        explicit.unwrap_or_else(|| match vm.facts().hypervisor {
            Hypervisor::Tcg { .. } => VmDefaults::TIMEOUT * TCG_FACTOR,
            Hypervisor::Kvm | Hypervisor::Hvf => VmDefaults::TIMEOUT,
        })
    }

    /// The attribute's list replaces that of `lvh.toml`.
    fn fail_on(&self, instance: &Instance) -> Vec<KernelEventKind> {
        let kind = |name: &&str| name.parse().expect("the attribute takes the names of `KernelEventKind` alone");
        match instance.case.options.fail_on {
            Some(names) => names.iter().map(kind).collect(),
            None => self.shared.config.vm.fail_on.clone(),
        }
    }

    async fn specify(&self) -> lvh_core::Result<VmSpec> {
        let Self { shared: Shared { config, store, events, place, .. }, wish, .. } = self;
        if let Some(image) = wish.image {
            config.image(image)?;
        }
        let source = config.kernel(&wish.kernel)?;
        let kernel = kernel::resolve(&wish.kernel, &source, store, events).await?;
        let writable =
            place.writable().map_err(|error| Error::io("make a directory that tests may write to", error))?;
        let defaults = VmSpec::new(kernel, config);
        Ok(VmSpec {
            cpus: wish.cpus,
            memory_mib: wish.memory_mib,
            accel: wish.accel,
            modules: wish.modules.clone(),
            kernel_args: wish.kernel_args.clone(),
            visible: place.visible(&writable),
            writable,
            packed: vec![place.exe.clone()],
            packed_directories: vec![place.cwd.clone()],
            boot_timeout: wish.boot_timeout.unwrap_or(defaults.boot_timeout),
            ..defaults
        })
    }
}

/// One line for the tests that cannot run because of `error`; the whole of it is reported once.
pub(crate) fn in_short(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::Usage => "lvh is not set up right",
        ErrorKind::Missing => "this machine lacks something",
        ErrorKind::Artifact => "the kernel cannot be had",
        _ => "the VM did not start",
    };
    format!("{what}: {error}")
}
