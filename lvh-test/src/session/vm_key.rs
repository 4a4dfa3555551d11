//! What tests must agree on to share a VM.

use std::time::Duration;

use lvh_core::Config;
use lvh_core::config::{Accel, Init, Memory};
use lvh_core::machine::memory_of_vm;

use crate::job::{Job, place};

/// The VM that a test needs; tests with equal keys share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VmKey {
    pub(crate) kernel: String,
    pub(crate) image: Option<String>,
    pub(crate) init: Init,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory: Memory,
    pub(crate) accel: Accel,
    pub(crate) boot_timeout: Option<Duration>,
    pub(crate) modules: Vec<String>,
    pub(crate) kernel_args: String,
    pub(crate) network: bool,
    pub(crate) headers: bool,
    pub(crate) warm_start: bool,
    /// The place in the plan of a test that wants a VM for itself.
    alone: Option<usize>,
}

impl VmKey {
    /// The kernel, with the image behind it.
    pub(crate) fn place(&self) -> String {
        place(&self.kernel, self.image.as_deref())
    }

    /// Whether no other test may share the VM.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// What the attribute says, and `lvh.toml` where it says nothing.
    ///
    /// # Panics
    /// If the job's test runs on the host.
    pub(crate) fn of(job: &Job, config: &Config) -> Self {
        let (test, vm) = (&job.instance.vm, &config.vm);
        let args = [vm.kernel_args.as_str(), &test.kernel_args];
        Self {
            kernel: job.instance.kernel.clone().expect("a test in a VM has a kernel"),
            image: test.image.clone(),
            init: test.init.unwrap_or(Init::Lvh),
            cpus: test.cpus.or(vm.cpus),
            memory: memory_of_vm(test.memory_mib.map(Memory::from_mib).or(vm.memory)),
            accel: test.accel.unwrap_or(vm.accel),
            boot_timeout: test.boot_timeout.or(vm.boot_timeout),
            modules: vm.modules.iter().chain(&test.modules).cloned().collect(),
            kernel_args: args.into_iter().filter(|args| !args.is_empty()).collect::<Vec<_>>().join(" "),
            network: test.network.unwrap_or(vm.network),
            headers: test.headers.unwrap_or(vm.headers),
            warm_start: vm.warm_start && !test.fresh_boot,
            alone: test.fresh_vm.then_some(job.index),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lvh_core::Config;
    use lvh_core::config::{Accel, Init, KernelEventKind, Memory};

    use super::VmKey;
    use crate::case::Options;
    use crate::job::Job;
    use crate::job::examples::instance;

    const PLAIN: Options = Options::DEFAULT;

    /// The key of the test at `index` on `kernel`.
    fn key_of(index: usize, kernel: &str, options: Options) -> VmKey {
        let instance = instance("t", "t", Some(kernel), options);
        VmKey::of(&Job { index, instance }, &Config::default())
    }

    /// Whether a test with these options shares the VM of one that asks for nothing, and two such tests share one.
    #[track_caller]
    fn check(options: Options, with_plain: bool, with_alike: bool) {
        let key = key_of(1, "6.1", options);
        assert_eq!(key == key_of(0, "6.1", PLAIN), with_plain, "{options:?}");
        assert_eq!(key == key_of(2, "6.1", options), with_alike, "{options:?}");
    }

    #[test]
    fn what_is_another_vm() {
        assert_ne!(key_of(0, "6.1", PLAIN), key_of(0, "6.12", PLAIN));
        check(Options { images: &["base"], ..PLAIN }, false, true);
        check(Options { init: Some(Init::Systemd), ..PLAIN }, false, true);
        check(Options { cpus: Some(2), ..PLAIN }, false, true);
        check(Options { memory_mib: Some(512), ..PLAIN }, false, true);
        check(Options { accel: Some(Accel::Tcg), ..PLAIN }, false, true);
        check(Options { boot_timeout_ms: Some(1), ..PLAIN }, false, true);
        check(Options { modules: &["tun"], ..PLAIN }, false, true);
        check(Options { kernel_args: "quiet", ..PLAIN }, false, true);
        check(Options { network: Some(true), ..PLAIN }, false, true);
        check(Options { headers: Some(true), ..PLAIN }, false, true);
        check(Options { fresh_boot: true, ..PLAIN }, false, true);
    }

    #[test]
    fn a_vm_to_itself_is_shared_with_nobody() {
        check(Options { fresh_vm: true, ..PLAIN }, false, false);
        assert!(key_of(0, "6.1", Options { fresh_vm: true, ..PLAIN }).is_alone());
        assert!(!key_of(0, "6.1", PLAIN).is_alone());
    }

    #[test]
    fn what_is_the_tests_own_parts_no_vm() {
        check(PLAIN, true, true);
        check(Options { kernels: &["6.1", "6.12"], ..PLAIN }, true, true);
        check(Options { timeout_ms: Some(1), ..PLAIN }, true, true);
        check(Options { fail_on: Some(&[KernelEventKind::Oom]), ..PLAIN }, true, true);
        check(Options { ignore: Some("why"), ..PLAIN }, true, true);
        check(Options { should_panic: Some("why"), ..PLAIN }, true, true);
    }

    #[test]
    fn saying_what_holds_anyway_is_no_difference() {
        let defaults = Options { network: Some(false), memory_mib: Some(1024), accel: Some(Accel::Auto), ..PLAIN };
        check(defaults, true, true);
    }

    #[test]
    fn the_attribute_goes_before_the_configuration_and_adds_to_its_lists() {
        let mut config = Config::default();
        config.vm.cpus = Some(4);
        config.vm.memory = Some(Memory::from_mib(256));
        config.vm.boot_timeout = Some(Duration::from_secs(5));
        config.vm.modules = vec!["tun".to_owned()];
        config.vm.kernel_args = "quiet".to_owned();
        let key = |options| VmKey::of(&Job { index: 0, instance: instance("t", "t", Some("6.1"), options) }, &config);
        let plain = key(PLAIN);
        assert_eq!((plain.cpus, plain.memory.mib(), plain.boot_timeout), (Some(4), 256, Some(Duration::from_secs(5))));
        assert_eq!((plain.modules.as_slice(), plain.kernel_args.as_str()), (["tun".to_owned()].as_slice(), "quiet"));
        let own = key(Options { cpus: Some(1), modules: &["nf_tables"], kernel_args: "lsm=bpf", ..PLAIN });
        assert_eq!(
            (own.cpus, own.modules.join(" "), own.kernel_args.as_str()),
            (Some(1), "tun nf_tables".to_owned(), "quiet lsm=bpf")
        );
    }
}
