//! What a VM is made of: plain data.

use std::path::PathBuf;
use std::time::Duration;

use crate::Config;
use crate::config::{Accel, Channel, Share, VmDefaults};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::vm::transport::drivers::Drivers;

/// Everything that tells one VM from another.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// The kernel it runs.
    pub kernel: Kernel,
    /// Virtual CPUs. Default: 2 with KVM, 1 under TCG.
    pub cpus: Option<u32>,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// What executes the guest.
    pub accel: Accel,
    /// The rung of the channel ladder; none: the first that host and guest offer.
    pub channel: Option<Channel>,
    /// The rung of the share ladder; none: the first that host and guest offer.
    pub share: Option<Share>,
    /// Kernel modules to load before the first command.
    pub modules: Vec<String>,
    /// Appended to the kernel's command line.
    pub kernel_args: String,
    /// Host directories that commands may write to, at their own paths.
    pub writable: Vec<PathBuf>,
    /// Host paths that must be visible although the guest has a mount of its own above them, such as a workspace in
    /// `/tmp`.
    pub visible: Vec<PathBuf>,
    /// Programs and files that a guest without a shared root gets (see [`Share::Packed`]).
    pub packed: Vec<PathBuf>,
    /// Directories that such a guest gets empty, beside the writable ones, such as the working directory.
    pub packed_directories: Vec<PathBuf>,
    /// How long the guest may take from QEMU's start until it is ready.
    pub boot_timeout: Duration,
    /// Go on with a VM that was kept where lvh-init waits, and keep one for next time. Default: true.
    pub warm_start: bool,
    /// Where QEMU's gdb stub listens: the path of a socket that is made. The guest then waits for gdb before its first
    /// instruction, for as long as it takes. Default: nowhere.
    pub gdb: Option<PathBuf>,
    /// An existing directory for the whole console (`console.log`) and the whole kernel log (`kernel.log`).
    /// Default: none; errors quote the console's end all the same.
    pub log_dir: Option<PathBuf>,
}

/// Without KVM everything takes about ten times as long, and so may everything that sets no limit itself.
pub const TCG_FACTOR: u32 = 10;

impl VmSpec {
    /// A VM as the configuration has it, that shares nothing for writing.
    pub fn new(kernel: Kernel, config: &Config) -> Self {
        Self {
            kernel,
            cpus: config.vm.cpus,
            memory_mib: config.vm.memory.mib(),
            accel: config.vm.accel,
            channel: config.channel,
            share: config.share,
            modules: config.vm.modules.clone(),
            kernel_args: config.vm.kernel_args.clone(),
            writable: Vec::new(),
            visible: Vec::new(),
            packed: Vec::new(),
            packed_directories: Vec::new(),
            // Who executes the guest is known only when it runs; a deadline that is too long costs nothing.
            boot_timeout: config.vm.boot_timeout.unwrap_or(VmDefaults::TIMEOUT * TCG_FACTOR),
            warm_start: config.vm.warm_start,
            gdb: None,
            log_dir: None,
        }
    }

    /// Whether the kernel has the modules that are to be loaded, as a boot would find out.
    ///
    /// # Errors
    /// It does not, or its files cannot be read.
    pub fn check_modules(&self) -> Result<()> {
        Drivers::of(&self.kernel)?.check(&self.kernel, &self.modules)
    }
}
