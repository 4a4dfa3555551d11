//! One VM after the other for tests that want the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lvh_core::config::{Init, KernelEventKind, Share, VmDefaults};
use lvh_core::machine::has_room;
use lvh_core::store::Store;
use lvh_core::vm::attach::Offer;
use lvh_core::vm::{Hypervisor, TCG_FACTOR, Vm, VmSpec};
use lvh_core::{Config, Error, Events, HostContext, Kernel, KernelSource, image, kernel};
use tokio::sync::{OnceCell, oneshot};

use super::guest_run;
use super::log_dir::LogDir;
use super::program::Program;
use super::retained::Retained;
use super::vm_key::VmKey;
use crate::guest_mode::Launch;
use crate::job::{Instance, Outcome};
use crate::settings::{HarnessSettings, Setup};
use crate::test_binary::moved;
use crate::test_events::TestEvents;
use crate::verdict::{Refusal, judge};

/// What all sessions of a run share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) config: &'a Config,
    pub(crate) settings: &'a HarnessSettings,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) context: HostContext,
    pub(crate) nocapture: bool,
    pub(crate) test_events: &'a TestEvents,
    pub(crate) retained: Retained,
    pub(crate) program: Program,
    kernels: Kernels,
}

impl<'a> Shared<'a> {
    /// What a run as `setup` has it shares; tests write to `test_events` at once where they are not captured.
    ///
    /// # Errors
    /// The data directory cannot be made, or the operating system does not tell where we are.
    pub(crate) fn new(setup: &'a Setup, nocapture: bool, test_events: &'a TestEvents) -> lvh_core::Result<Self> {
        let Setup { config, settings } = setup;
        let progress = test_events.clone();
        Ok(Self {
            config,
            settings,
            store: config.store()?,
            events: Events::new(move |event| progress.progress(event)).with_news_only(config.verbose),
            context: HostContext::here().map_err(|error| Error::io("find out where this test binary is", error))?,
            nocapture,
            test_events,
            retained: Retained::default(),
            program: Program::default(),
            kernels: Kernels::default(),
        })
    }
}

/// The kernels of a run by their names, each resolved once, or why it cannot be had: a build that failed takes as long again.
#[derive(Debug, Default)]
struct Kernels(Mutex<HashMap<String, Arc<OnceCell<lvh_core::Result<Kernel>>>>>);

impl Kernels {
    async fn get(
        &self,
        name: &str,
        resolve: impl Future<Output = lvh_core::Result<Kernel>>,
    ) -> lvh_core::Result<Kernel> {
        let cell = {
            let mut kernels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kernels.entry(name.to_owned()).or_default())
        };
        cell.get_or_init(|| resolve).await.clone()
    }
}

impl Shared<'_> {
    /// The kernel called `name`, fetched or built where that has not happened yet.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) async fn kernel(&self, name: &str, source: &KernelSource) -> lvh_core::Result<Kernel> {
        self.kernels.get(name, kernel::resolve(name, source, &self.store, &self.events)).await
    }

    /// Whether another VM of the kind `key` may start beside those that run: with gdb there is one at a time.
    pub(crate) fn may_start_further(&self, key: &VmKey) -> bool {
        !self.settings.gdb && has_room(key.memory, self.config.vms)
    }
}

/// The VM of one key, started when it is first needed, and again when it died or is not as a test must find it.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    shared: &'a Shared<'a>,
    key: VmKey,
    spec: Option<VmSpec>,
    vm: Option<Booted>,
    /// Whether nobody comes after its first test.
    is_for_one: bool,
    /// Wants to know how long a start takes.
    start: Option<oneshot::Sender<Duration>>,
}

/// A VM, and where its logs go.
#[derive(Debug)]
struct Booted {
    vm: Vm,
    logs: Option<LogDir>,
    /// It has a copy of the program in that one's place.
    shows_copy: bool,
    /// The tests that ran in it.
    before: Vec<String>,
}

impl<'a> Session<'a> {
    /// A session without a VM yet.
    pub(crate) fn new(shared: &'a Shared<'a>, key: VmKey) -> Self {
        Self { shared, key, spec: None, vm: None, is_for_one: false, start: None }
    }

    /// A session that runs one test.
    pub(crate) fn for_one(shared: &'a Shared<'a>, key: VmKey) -> Self {
        Self { is_for_one: true, ..Self::new(shared, key) }
    }

    /// What tells how long its first VM took to start, once it has; an error, if it never will.
    pub(crate) fn start(&mut self) -> oneshot::Receiver<Duration> {
        let (sender, start) = oneshot::channel();
        self.start = Some(sender);
        start
    }

    /// Makes sure that a VM runs.
    ///
    /// # Errors
    /// The kernel cannot be had, or does not boot.
    pub(crate) async fn ready(&mut self) -> lvh_core::Result<()> {
        let Shared { program, context, .. } = self.shared;
        let copy = match program.is_replaced(context) {
            true => program.copy(context).map_err(|error| Error::io("copy the test binary", error))?,
            false => None,
        };
        // Killed when dropped: it shows what took the program's place. What is packed is what it was.
        let is_wrong = |booted: &mut Booted| copy.is_some() && !booted.shows_copy && !is_packed(&booted.vm);
        drop(self.vm.take_if(is_wrong));
        if self.vm.is_some() {
            return Ok(());
        }
        let mut spec = match self.spec.take() {
            Some(spec) => spec,
            None => self.specify().await?,
        };
        if let Some(copy) = copy {
            self.shared.events.note(REPLACED);
            spec = spec.replaced(context.exe.clone(), copy.to_owned());
        }
        let mut logs = self.claim_logs();
        let log_dir = logs.as_ref().map(|logs| logs.path().to_owned());
        let gdb = log_dir.as_ref().filter(|_| self.shared.settings.gdb).map(|dir| dir.join("gdb"));
        let spec = spec.log_dir(log_dir).gdb(gdb);
        let booted = Vm::boot(&spec, &self.shared.store, &self.shared.events).await;
        self.spec = Some(spec);
        if booted.is_err() {
            // The error names the console's file.
            logs.iter_mut().for_each(LogDir::keep);
        }
        let vm = booted?;
        // Who asked may have gone.
        if let Some(start) = self.start.take() {
            let _ = start.send(vm.info().times.total());
        }
        self.vm = Some(Booted { vm, logs, shows_copy: copy.is_some(), before: Vec::new() });
        Ok(())
    }

    /// Tests run without logs too.
    fn claim_logs(&self) -> Option<LogDir> {
        LogDir::claim(&self.shared.context, &self.key.place()).unwrap_or_else(|error| {
            self.shared.events.note(format!("VMs leave no logs in the target directory: {error}"));
            None
        })
    }

    /// Runs one test in the VM, which must be ready; once more in a new VM if QEMU itself broke the guest, or if another
    /// program took the place of this one just before it was started.
    ///
    /// # Panics
    /// If no VM is ready.
    pub(crate) async fn run(&mut self, instance: &Instance, launch: &Launch) -> Outcome {
        let (outcome, bug) = self.run_once(instance, launch).await;
        let Some(bug) = bug else { return outcome };
        self.shared.events.note(format!("`{}` runs again in a new VM: {bug}", instance.name));
        match self.ready().await {
            Ok(()) => self.run_once(instance, launch).await.0,
            Err(error) => judge(instance, Refusal::of(&error).ending(&instance.name)),
        }
    }

    /// Runs one test; also tells what has it run again, where something does.
    async fn run_once(&mut self, instance: &Instance, launch: &Launch) -> (Outcome, Option<&'static str>) {
        let Shared { config, settings, context, nocapture, test_events, program, .. } = self.shared;
        let Booted { vm, logs, shows_copy, before } = self.vm.as_mut().expect("the session is ready");
        let mut command =
            guest_run::command(instance, launch, context, context.guest_env(vm.root(), &config.vm.env), !nocapture);
        // Nobody looks at what it changes.
        if !self.is_for_one {
            command.changes();
        }
        let live = nocapture.then_some(*test_events);
        let timeout = timeout(config, settings, instance, vm);
        let mut run = guest_run::run(vm, instance, &command, timeout, live, logs.as_ref()).await;
        assert!(!instance.breaks_harness, "`{}` breaks the harness", instance.name);
        run.ending.fail_on = fail_on(config, instance);
        if let Some(ran) = &mut run.ending.ran {
            (ran.memory_mib, ran.network) = (self.key.memory.mib(), self.key.network);
            ran.before.clone_from(before);
        }
        before.push(instance.name.clone());
        let problems = write_back(vm, run.vm_usable).await;
        problems
            .iter()
            .for_each(|problem| self.shared.events.note(format!("a file of `{}`: {problem}", instance.name)));
        let is_another =
            !*shows_copy && run.ending.records.is_empty() && !is_packed(vm) && program.is_replaced(context);
        let changed = !run.ending.changes.is_empty();
        let outcome = judge(instance, run.ending);
        let bug = match run.vm_usable {
            true => is_another.then_some("its program was replaced before it began"),
            false => vm.bug_of_qemu(),
        };
        if outcome.failed() && bug.is_none() {
            logs.iter_mut().for_each(LogDir::keep);
        }
        match run.vm_usable {
            true if outcome.failed() && settings.retain => self.retain(instance),
            true if !changed => {}
            // Killed when dropped.
            _ => self.vm = None,
        }
        (outcome, bug)
    }

    /// Leaves the VM to whoever wants to look into it; the next test gets another.
    fn retain(&mut self, instance: &Instance) {
        let Shared { config, context, retained, events, .. } = self.shared;
        let Some(Booted { vm, .. }) = self.vm.take() else { return };
        let title = format!("{} on {}", instance.name, vm.info().summary());
        let shell = guest_run::shell(context, &vm, context.guest_env(vm.root(), &config.vm.env));
        if let Err(error) = retained.retain(vm, Offer { title, shell }) {
            events.note(format!("the VM of `{}` cannot be retained: {error}", instance.name));
        }
    }

    /// Ends the VM.
    pub(crate) async fn end(self) {
        // The logs last longer than the VM that writes them.
        if let Some(Booted { vm, logs: _logs, .. }) = self.vm
            && let Err(error) = vm.shutdown().await
        {
            self.shared.events.note(error.report());
        }
    }

    async fn specify(&self) -> lvh_core::Result<VmSpec> {
        let Self { shared: Shared { config, settings, store, events, context, .. }, key, .. } = self;
        // A name that nothing knows need not wait for a kernel.
        let image = key.image.as_deref().map(|name| config.image(name).map(|source| (name, source))).transpose()?;
        let source = config.kernel(&key.kernel)?;
        let kernel = self.shared.kernel(&key.kernel, &source).await?;
        let unwritable = |error| Error::io("make a directory that tests may write to", error);
        let headers = match key.headers {
            true => Some(kernel::headers(&kernel, &source, store, events).await?),
            false => None,
        };
        let mut spec = headers.into_iter().fold(VmSpec::new(kernel, config), VmSpec::headers);
        if let Some((name, source)) = image {
            spec = spec.image(&image::resolve(name, &source, store, events).await?);
        }
        if key.init == Init::Systemd {
            spec = spec.systemd();
        }
        let programs = context.programs(spec.root_fs());
        spec = spec
            .memory(key.memory)
            .accel(key.accel)
            .modules(key.modules.clone())
            .kernel_args(key.kernel_args.clone())
            .network(key.network)
            .warm_start(key.warm_start)
            .shows(context)
            .writable(context.writable().map_err(unwritable)?)
            .moved(moved(context))
            .profiles(context.profiles().map_err(unwritable)?)
            .packed(programs)
            .packed_directories(vec![context.cwd.clone()]);
        if let Some(cpus) = key.cpus {
            spec = spec.cpus(cpus);
        }
        let boot_timeout = if settings.gdb { Some(UNLIMITED) } else { key.boot_timeout };
        Ok(match boot_timeout {
            Some(boot_timeout) => spec.boot_timeout(boot_timeout),
            None => spec,
        })
    }
}

/// What is told once.
const REPLACED: &str = "another test binary is in the place of this one, which goes on with a copy of itself";

fn is_packed(vm: &Vm) -> bool {
    vm.info().transport.share == Share::Packed
}

/// Brings home what the test wrote; what of it did not come home as it was. A guest that is not `usable` may not answer, and
/// has nothing to tell.
async fn write_back(vm: &Vm, usable: bool) -> Vec<String> {
    if !usable {
        let _ = tokio::time::timeout(LAST_FILES, vm.write_back()).await;
        return Vec::new();
    }
    vm.write_back().await.unwrap_or_else(|error| vec![format!("it may be missing on the host: {error}")])
}

/// How long a guest whose test cannot be killed may take to send what that wrote.
const LAST_FILES: Duration = Duration::from_secs(10);

/// Who works with gdb takes the time that it takes.
const UNLIMITED: Duration = Duration::MAX;

fn timeout(config: &Config, settings: &HarnessSettings, instance: &Instance, vm: &Vm) -> Duration {
    if settings.gdb {
        return UNLIMITED;
    }
    let explicit = instance.timeout.or(config.vm.test_timeout);
    explicit.unwrap_or_else(|| match vm.info().hypervisor {
        Hypervisor::Tcg { .. } => VmDefaults::TIMEOUT * TCG_FACTOR,
        _ => VmDefaults::TIMEOUT,
    })
}

/// The attribute's list replaces that of `lvh.toml`.
fn fail_on(config: &Config, instance: &Instance) -> Vec<KernelEventKind> {
    instance.fail_on.as_ref().unwrap_or(&config.vm.fail_on).clone()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use lvh_core::ErrorKind;

    use super::*;

    #[test]
    fn a_kernel_that_cannot_be_had_is_not_asked_for_again() {
        let (kernels, asked) = (Kernels::default(), Cell::new(0));
        let resolve = || async {
            asked.set(asked.get() + 1);
            tokio::task::yield_now().await;
            Err(Error::new(ErrorKind::Artifact, "the build failed"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let both = async { tokio::join!(kernels.get("k", resolve()), kernels.get("k", resolve())) };
        let (one, two) = runtime.block_on(both);
        assert_eq!([one, two].map(|kernel| kernel.unwrap_err().report()), ["the build failed"; 2]);
        assert_eq!(asked.get(), 1);
    }
}
