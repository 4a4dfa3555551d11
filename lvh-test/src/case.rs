//! A test as the attribute registers it.

use lvh_core::BuildPlace;
use lvh_core::config::{Accel, Init, KernelEventKind};

/// One `#[lvh::test]` function. Built by the attribute; every field is plain data or a function pointer.
#[derive(Debug)]
pub struct TestCase {
    /// `module_path!()` of the function: the crate's name, then its modules.
    pub module: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// `file!()` of the attribute, as the compiler gave it.
    pub file: &'static str,
    /// `line!()` of the attribute.
    pub line: u32,
    /// What of the package holds it.
    pub target: CargoTarget,
    /// Where the compiler found it.
    pub built: BuildPlace,
    /// Runs the body and says whether it succeeded; it may panic.
    pub run: fn() -> bool,
    /// What the attribute asks for.
    pub options: Options,
}

/// What cargo builds the test's binary of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CargoTarget {
    /// The package's library.
    Library,
    /// A program of this name, or an example.
    Program(&'static str),
    /// An integration test, or a benchmark.
    Test,
}

impl CargoTarget {
    /// As cargo tells the compiler: `CARGO_BIN_NAME` is set for programs and examples, `CARGO_TARGET_TMPDIR` for integration
    /// tests and benchmarks (The Cargo Book, "Environment variables Cargo sets for crates").
    pub const fn of(program: Option<&'static str>, test: Option<&'static str>) -> Self {
        match (program, test) {
            (Some(name), _) => Self::Program(name),
            (None, Some(_)) => Self::Test,
            (None, None) => Self::Library,
        }
    }
}

/// What an attribute asks for; what it leaves out comes from `lvh.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `kernel = ".."` or `kernels = [..]`; empty: the default kernels.
    pub kernels: &'static [&'static str],
    /// `image = ".."` or `images = [..]`; empty: the host's own root.
    pub images: &'static [&'static str],
    /// `init = ".."`: `lvh` or `systemd`.
    pub init: Option<Init>,
    /// `cpus = N`.
    pub cpus: Option<u32>,
    /// `memory = ".."`, in MiB.
    pub memory_mib: Option<u32>,
    /// `accel = ".."`: `auto`, `kvm` or `tcg`.
    pub accel: Option<Accel>,
    /// `timeout = ".."`, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// `boot_timeout = ".."`, in milliseconds.
    pub boot_timeout_ms: Option<u64>,
    /// `modules = [..]`: kernel modules to load before the test.
    pub modules: &'static [&'static str],
    /// `kernel_args = ".."`: appended to the kernel's command line.
    pub kernel_args: &'static str,
    /// `network`: the guest has a network.
    pub network: Option<bool>,
    /// `headers`: the guest has its kernel's headers.
    pub headers: Option<bool>,
    /// `fail_on = [..]`: what fails the test if the kernel reports it.
    pub fail_on: Option<&'static [KernelEventKind]>,
    /// `fresh_vm`: no other test runs in this test's VM.
    pub fresh_vm: bool,
    /// `fresh_boot`: the VM boots, rather than resume from a snapshot.
    pub fresh_boot: bool,
    /// `host`: the test runs on the host, not in a VM.
    pub host: bool,
    /// `#[ignore]`: `Some("")` where it gives no reason.
    pub ignore: Option<&'static str>,
    /// `#[should_panic]`: `Some("")` where it expects no text.
    pub should_panic: Option<&'static str>,
    /// The harness panics when the test has run: for the tests of what it leaves behind. No attribute sets it.
    pub breaks_harness: bool,
}

impl Options {
    /// An attribute that asks for nothing.
    pub const DEFAULT: Self = Self {
        kernels: &[],
        images: &[],
        init: None,
        cpus: None,
        memory_mib: None,
        accel: None,
        timeout_ms: None,
        boot_timeout_ms: None,
        modules: &[],
        kernel_args: "",
        network: None,
        headers: None,
        fail_on: None,
        fresh_vm: false,
        fresh_boot: false,
        host: false,
        ignore: None,
        should_panic: None,
        breaks_harness: false,
    };
}

impl TestCase {
    /// The name that libtest would give the function: its path without the crate.
    pub fn path(&self) -> String {
        match self.module.split_once("::") {
            Some((_, modules)) => format!("{modules}::{}", self.name),
            None => self.name.to_owned(),
        }
    }
}

inventory::collect!(TestCase);
