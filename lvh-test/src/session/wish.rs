//! What VM a test wants.

use std::time::Duration;

use lvh_core::Config;
use lvh_core::config::{Accel, Memory};

use crate::harness::Job;

/// The VM that a test wants; tests that want the same share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) kernel: String,
    pub(crate) image: Option<&'static str>,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory: Memory,
    pub(crate) accel: Accel,
    pub(crate) boot_timeout: Option<Duration>,
    pub(crate) modules: Vec<String>,
    pub(crate) kernel_args: String,
    pub(crate) warm_start: bool,
    /// The place of a test that wants a VM for itself.
    alone: Option<usize>,
}

impl Wish {
    /// Whether no other test may share the VM.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// What the attribute says, and `lvh.toml` where it says nothing.
    ///
    /// # Panics
    /// If the job's test runs on the host.
    pub(crate) fn of(job: &Job, config: &Config) -> Self {
        let (options, vm) = (&job.instance.case.options, &config.vm);
        let named = options.modules.iter().map(|&module| module.to_owned());
        let args = [vm.kernel_args.as_str(), options.kernel_args];
        Self {
            kernel: job.instance.kernel.clone().expect("a test in a VM has a kernel"),
            image: options.image,
            cpus: options.cpus.or(vm.cpus),
            memory: options.memory_mib.map_or(vm.memory, Memory::from_mib),
            accel: options.accel.and_then(|accel| accel.parse().ok()).unwrap_or(vm.accel),
            boot_timeout: options.boot_timeout_ms.map(Duration::from_millis).or(vm.boot_timeout),
            modules: vm.modules.iter().cloned().chain(named).collect(),
            kernel_args: args.into_iter().filter(|args| !args.is_empty()).collect::<Vec<_>>().join(" "),
            warm_start: vm.warm_start && !options.fresh_boot,
            alone: options.fresh_vm.then_some(job.index),
        }
    }
}
