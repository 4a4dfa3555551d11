//! A test on one kernel, and one root.

use std::time::Duration;

use lvh_core::config::{Accel, Init, KernelEventKind};
use serde::{Deserialize, Serialize};

use super::keywords;
use crate::case::{Options, TestCase};

/// One test as the harness lists and runs it: a case on one kernel and one root. The function itself is found by its path, in the
/// process that runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// What libtest would call it, with its place behind it where the case has several.
    pub(crate) name: String,
    /// What Rust's own harness calls it and its other instances, where that runs it.
    pub(crate) libtest: Option<String>,
    /// The case's path, which all its instances share.
    pub(crate) path: String,
    /// The kernel's name; `None`: the test runs on the host.
    pub(crate) kernel: Option<String>,
    /// What it runs on, in a word: the kernel, with the image behind it, such as `6.12+base`; `None`: the host.
    pub(crate) place: Option<String>,
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
    /// The image whose disk is the root; `None`: the host's own root.
    pub(crate) image: Option<String>,
    /// The first process.
    #[serde(with = "keywords::one")]
    pub(crate) init: Option<Init>,
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
    /// Whether it has a network.
    pub(crate) network: Option<bool>,
    /// Whether it has its kernel's headers.
    pub(crate) headers: Option<bool>,
    /// No other test runs in this test's VM.
    pub(crate) fresh_vm: bool,
    /// The VM boots, rather than resume from a snapshot.
    pub(crate) fresh_boot: bool,
}

impl Instance {
    /// `case` under `name`, on `kernel` and with the disk of `image`.
    pub(crate) fn of(case: &TestCase, name: String, kernel: Option<String>, image: Option<&str>) -> Self {
        let options = &case.options;
        let place = kernel.as_ref().map(|kernel| place(kernel, image));
        Self {
            name,
            libtest: None,
            path: case.path(),
            kernel,
            place,
            file: case.file.to_owned(),
            line: case.line,
            ignore: options.ignore.map(str::to_owned),
            should_panic: options.should_panic.map(str::to_owned),
            timeout: options.timeout_ms.map(Duration::from_millis),
            fail_on: options.fail_on.map(<[_]>::to_vec),
            breaks_harness: options.breaks_harness,
            vm: VmOptions::of(options, image),
        }
    }

    /// What the attribute may call its `#[test]` for this place, of several: `f::v6_12`, where ours is `f::6.12`, and
    /// `f::v6_12_base` or `f::on_base`, where ours is `f::6.12+base`.
    pub(crate) fn shadows(&self) -> Vec<String> {
        let word = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let of_place = self.place.as_deref().map(|place| {
            let digit = place.starts_with(|c: char| c.is_ascii_digit());
            format!("{}::{}{}", self.path, if digit { "v" } else { "" }, word(place))
        });
        let of_image = self.vm.image.as_deref().map(|image| format!("{}::on_{}", self.path, word(image)));
        of_place.into_iter().chain(of_image).collect()
    }

    /// Whether `name` is one of these.
    pub(crate) fn has_shadow(&self, name: &str) -> bool {
        name.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with("::"))
            && self.shadows().iter().any(|shadow| shadow == name)
    }

    /// Whether it runs at this place: `6.12`, `6.12+base`, or `+base` on any kernel.
    pub(crate) fn is_at(&self, place: &str) -> bool {
        match place.strip_prefix('+') {
            Some(image) => self.vm.image.as_deref() == Some(image),
            None => self.place.as_deref() == Some(place),
        }
    }
}

/// A kernel with an image behind it.
pub(crate) fn place(kernel: &str, image: Option<&str>) -> String {
    image.map_or_else(|| kernel.to_owned(), |image| format!("{kernel}+{image}"))
}

impl VmOptions {
    fn of(options: &Options, image: Option<&str>) -> Self {
        Self {
            image: image.map(str::to_owned),
            init: options.init,
            cpus: options.cpus,
            memory_mib: options.memory_mib,
            accel: options.accel,
            boot_timeout: options.boot_timeout_ms.map(Duration::from_millis),
            modules: options.modules.iter().map(|&module| module.to_owned()).collect(),
            kernel_args: options.kernel_args.to_owned(),
            network: options.network,
            headers: options.headers,
            fresh_vm: options.fresh_vm,
            fresh_boot: options.fresh_boot,
        }
    }
}
