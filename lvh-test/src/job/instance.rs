//! A test on one kernel.

use std::time::Duration;

use lvh_core::config::{Accel, KernelEventKind};
use serde::{Deserialize, Serialize};

use super::keywords;
use crate::case::{Options, TestCase};

/// One test as the harness lists and runs it: a case on one kernel. The function itself is found by its path, in the
/// process that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// What libtest would call it, with the kernel's name behind it where the case has several.
    pub(crate) name: String,
    /// The case's path, which all its instances share.
    pub(crate) path: String,
    /// The kernel's name; `None`: the test runs on the host.
    pub(crate) kernel: Option<String>,
    /// The source file, as the compiler named it.
    pub(crate) file: String,
    /// The line of the attribute.
    pub(crate) line: u32,
    /// `#[ignore]`: `Some("")` where it gives no reason.
    pub(crate) ignore: Option<String>,
    /// `#[should_panic]`: `Some("")` where it expects no text.
    pub(crate) should_panic: Option<String>,
    /// How long it may run; `None`: as the configuration has it.
    pub(crate) timeout: Option<Duration>,
    /// What fails it if the kernel reports it; `None`: as the configuration has it.
    #[serde(with = "keywords::many")]
    pub(crate) fail_on: Option<Vec<KernelEventKind>>,
    /// See [`Options::breaks_harness`].
    pub(crate) breaks_harness: bool,
    /// What it asks of its VM.
    pub(crate) vm: VmOptions,
}

/// What a test's attribute asks of its VM; what it leaves out comes from the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VmOptions {
    /// The root image; `None`: the host's own root.
    pub(crate) image: Option<String>,
    /// Virtual CPUs.
    pub(crate) cpus: Option<u32>,
    /// Memory, in MiB.
    pub(crate) memory_mib: Option<u32>,
    /// The accelerator.
    #[serde(with = "keywords::one")]
    pub(crate) accel: Option<Accel>,
    /// How long the boot may take.
    pub(crate) boot_timeout: Option<Duration>,
    /// Kernel modules to load before the test, after those of the configuration.
    pub(crate) modules: Vec<String>,
    /// Appended to the kernel's command line.
    pub(crate) kernel_args: String,
    /// No other test runs in this test's VM.
    pub(crate) fresh_vm: bool,
    /// The VM boots, rather than resume from a snapshot.
    pub(crate) fresh_boot: bool,
}

impl Instance {
    /// `case` under `name`, on `kernel`.
    pub(crate) fn of(case: &TestCase, name: String, kernel: Option<String>) -> Self {
        let options = &case.options;
        Self {
            name,
            path: case.path(),
            kernel,
            file: case.file.to_owned(),
            line: case.line,
            ignore: options.ignore.map(str::to_owned),
            should_panic: options.should_panic.map(str::to_owned),
            timeout: options.timeout_ms.map(Duration::from_millis),
            fail_on: options.fail_on.map(<[_]>::to_vec),
            breaks_harness: options.breaks_harness,
            vm: VmOptions::of(options),
        }
    }

    /// What the attribute calls its `#[test]` for this kernel, of several: `f::v6_12`, where ours is `f::6.12`.
    pub(crate) fn shadow_name(&self) -> Option<String> {
        let kernel = self.kernel.as_ref()?.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let digit = kernel.starts_with(|c: char| c.is_ascii_digit());
        Some(format!("{}::{}{kernel}", self.path, if digit { "v" } else { "" }))
    }
}

impl VmOptions {
    fn of(options: &Options) -> Self {
        Self {
            image: options.image.map(str::to_owned),
            cpus: options.cpus,
            memory_mib: options.memory_mib,
            accel: options.accel,
            boot_timeout: options.boot_timeout_ms.map(Duration::from_millis),
            modules: options.modules.iter().map(|&module| module.to_owned()).collect(),
            kernel_args: options.kernel_args.to_owned(),
            fresh_vm: options.fresh_vm,
            fresh_boot: options.fresh_boot,
        }
    }
}
