//! What a VM is made of: plain data.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::root::rootfs::{DISK_DRIVERS, RootFs};
use super::transport::drivers::{Driver, Drivers, PCI};
use crate::config::{Accel, Channel, Memory, Share, VmDefaults};
use crate::error::Result;
use crate::host_context::Watched;
use crate::image::Image;
use crate::kernel::{Headers, Kernel};
use crate::machine::memory_of_vm;
use crate::store::Lock;
use crate::{Config, HostContext, Moved};

/// Everything that tells one VM from another: made by [`VmSpec::new`], changed by the setters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VmSpec {
    pub(crate) kernel: Kernel,
    pub(crate) root: RootFs,
    /// What the user calls the disk that is the root, and its short digest.
    pub(crate) image: Option<String>,
    /// Keeps the disk from being removed.
    pub(crate) _in_use: Vec<Arc<Lock>>,
    pub(crate) init: Vec<OsString>,
    pub(crate) waits_for_systemd: bool,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory: Memory,
    /// Nobody asked for another.
    pub(crate) default_memory: bool,
    /// How many VMs may run on the machine at a time, where the user says so.
    pub(crate) vms: Option<usize>,
    pub(crate) accel: Accel,
    pub(crate) channel: Option<Channel>,
    pub(crate) share: Option<Share>,
    pub(crate) modules: Vec<String>,
    pub(crate) kernel_args: String,
    pub(crate) writable: Vec<PathBuf>,
    pub(crate) profiles: Option<PathBuf>,
    pub(crate) visible: Vec<PathBuf>,
    pub(crate) watched: Watched,
    pub(crate) replaced: Option<(PathBuf, PathBuf)>,
    pub(crate) moved: Vec<Moved>,
    pub(crate) packed: Vec<PathBuf>,
    pub(crate) packed_directories: Vec<PathBuf>,
    pub(crate) network: bool,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) headers: Option<Headers>,
    pub(crate) boot_timeout: Duration,
    pub(crate) warm_start: bool,
    pub(crate) gdb: Option<PathBuf>,
    pub(crate) log_dir: Option<PathBuf>,
}

/// systemd in an image.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Without KVM everything takes about ten times as long, and so may everything that sets no limit itself.
pub const TCG_FACTOR: u32 = 10;

impl VmSpec {
    /// A VM as the configuration has it, on the host's root, that shares nothing for writing.
    pub fn new(kernel: Kernel, config: &Config) -> Self {
        Self {
            kernel,
            root: RootFs::default(),
            image: None,
            _in_use: Vec::new(),
            init: Vec::new(),
            waits_for_systemd: false,
            cpus: config.vm.cpus,
            memory: memory_of_vm(config.vm.memory),
            default_memory: config.vm.memory.is_none(),
            vms: config.vms,
            accel: config.vm.accel,
            channel: config.channel,
            share: config.share,
            modules: config.vm.modules.clone(),
            kernel_args: config.vm.kernel_args.clone(),
            writable: Vec::new(),
            profiles: None,
            visible: Vec::new(),
            watched: Watched::default(),
            replaced: None,
            moved: Vec::new(),
            packed: Vec::new(),
            packed_directories: Vec::new(),
            network: config.vm.network,
            scratch: None,
            headers: None,
            // Who executes the guest is known only when it runs; a deadline that is too long costs nothing.
            boot_timeout: config.vm.boot_timeout.unwrap_or(VmDefaults::TIMEOUT * TCG_FACTOR),
            warm_start: config.vm.warm_start,
            gdb: None,
            log_dir: None,
        }
    }

    /// The kernel that it runs.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What its root file system is.
    pub fn root_fs(&self) -> &RootFs {
        &self.root
    }

    /// What its root file system is. Default: the host's.
    #[must_use]
    pub fn root(self, root: RootFs) -> Self {
        Self { root, image: None, _in_use: Vec::new(), ..self }
    }

    /// The image whose disk is its root. Default: none.
    #[must_use]
    pub fn image(self, image: &Image) -> Self {
        let root = RootFs::Disk { path: image.path.clone(), format: image.format };
        Self { root, image: Some(image.label()), _in_use: image.in_use.clone(), ..self }
    }

    /// The program of the root, and its arguments, that is the guest's first process. lvh's agent is then a child of it.
    /// Default: none, lvh-init is the first process.
    #[must_use]
    pub fn init(self, argv: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { init: argv.into_iter().map(Into::into).collect(), ..self }
    }

    /// The root's systemd is the guest's first process, and has started all that it is to start before the VM is there.
    /// Default: no.
    #[must_use]
    pub fn systemd(self) -> Self {
        Self { waits_for_systemd: true, ..self.init([SYSTEMD]) }
    }

    /// Virtual CPUs. Default: `cpus` of `[vm]`, else 2 with KVM and 1 under TCG.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus: Some(cpus), ..self }
    }

    /// Guest memory. Default: `memory` of `[vm]`, else 1G, or less in a small container.
    #[must_use]
    pub fn memory(self, memory: Memory) -> Self {
        Self { memory, default_memory: self.default_memory && memory == self.memory, ..self }
    }

    /// What executes the guest. Default: `accel` of `[vm]`.
    #[must_use]
    pub fn accel(self, accel: Accel) -> Self {
        Self { accel, ..self }
    }

    /// How host and guest talk. Default: the best that both offer, unless `LVH_CHANNEL` says.
    #[must_use]
    pub fn channel(self, channel: Channel) -> Self {
        Self { channel: Some(channel), ..self }
    }

    /// How the guest sees the host's files. Default: the best that both offer, unless `LVH_SHARE` says.
    #[must_use]
    pub fn share(self, share: Share) -> Self {
        Self { share: Some(share), ..self }
    }

    /// Kernel modules to load before the first command. Default: `modules` of `[vm]`.
    #[must_use]
    pub fn modules(self, modules: Vec<String>) -> Self {
        Self { modules, ..self }
    }

    /// Appended to the kernel's command line. Default: `kernel-args` of `[vm]`.
    #[must_use]
    pub fn kernel_args(self, kernel_args: impl Into<String>) -> Self {
        Self { kernel_args: kernel_args.into(), ..self }
    }

    /// Host directories that commands may write to, at their own paths: in guest memory, from which
    /// [`Vm::write_back`](super::Vm::write_back) brings the changes home. Default: none.
    #[must_use]
    pub fn writable(self, writable: Vec<PathBuf>) -> Self {
        Self { writable, ..self }
    }

    /// The host directory to which [`Vm::write_back`](super::Vm::write_back) brings coverage profiles
    /// ([`HostContext::profiles`](crate::HostContext::profiles)). Default: none.
    #[must_use]
    pub fn profiles(self, profiles: Option<PathBuf>) -> Self {
        Self { profiles, ..self }
    }

    /// Host paths that the guest sees at the same paths, although its root does not have them or something that it mounts
    /// hides them, such as a workspace in `/tmp`. Default: none.
    #[must_use]
    pub fn visible(self, visible: Vec<PathBuf>) -> Self {
        Self { visible, ..self }
    }

    /// As [`VmSpec::visible`]: what a guest with this root must be shown of the surroundings of a program, and as
    /// [`VmSpec::watched`]: what of it may change.
    #[must_use]
    pub fn shows(self, context: &HostContext) -> Self {
        let visible = context.visible(&self.root);
        self.visible(visible).watched(context.watched())
    }

    /// Where the guest notices what changes on the host while it runs; elsewhere it may see a file as it was when it first
    /// looked at it. Default: nowhere.
    #[must_use]
    pub fn watched(self, watched: Watched) -> Self {
        Self { watched, ..self }
    }

    /// A file of the host, `copy`, that the guest sees in the place of another, `original`. Default: none.
    #[must_use]
    pub fn replaced(self, original: PathBuf, copy: PathBuf) -> Self {
        Self { replaced: Some((original, copy)), ..self }
    }

    /// Paths of the machine that built the programs, each a link in the guest to where it is here. Default: none.
    #[must_use]
    pub fn moved(self, moved: Vec<Moved>) -> Self {
        Self { moved, ..self }
    }

    /// Programs of the host that the guest is to run. Where it cannot see the host's files (see [`Share::Packed`]), it gets
    /// each with the libraries that it needs, and files; on an image's root that lacks what they need, each with a loader and
    /// libraries of the host. Default: none.
    #[must_use]
    pub fn packed(self, packed: Vec<PathBuf>) -> Self {
        Self { packed, ..self }
    }

    /// Directories that such a guest gets empty, such as the working directory. Default: none.
    #[must_use]
    pub fn packed_directories(self, packed_directories: Vec<PathBuf>) -> Self {
        Self { packed_directories, ..self }
    }

    /// A network card on a network of QEMU's own, through which the guest reaches the host, also what listens on its loopback
    /// alone (10.0.2.2), and what the host reaches; nothing reaches the guest. Default: `network` of `[vm]`.
    #[must_use]
    pub fn network(self, network: bool) -> Self {
        Self { network, ..self }
    }

    /// A file that the guest has as its first disk beside those of images, `/dev/vda` where there are none, and writes to: nothing but
    /// room for one VM. Default: none.
    #[must_use]
    pub(crate) fn scratch(self, scratch: PathBuf) -> Self {
        Self { scratch: Some(scratch), ..self }
    }

    /// The headers of the kernel, at the paths where builds of modules look for them: `/lib/modules/RELEASE/build`, and where that leads.
    /// Default: none.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.kernel.in_use.extend(headers.in_use.clone());
        Self { headers: Some(headers), ..self }
    }

    /// What the guest's kernel needs for what is asked for beside a transport, in load order.
    pub(crate) fn drivers(&self) -> Vec<Driver> {
        let network = [PCI, Driver::new("virtio_net", "VIRTIO_NET", 3)].into_iter().filter(|_| self.network);
        let disk = DISK_DRIVERS.into_iter().filter(|_| self.scratch.is_some());
        self.root.drivers().into_iter().chain(disk).chain(network).collect()
    }

    /// The kernel's modules, where they are to be on a disk: an init of an image's may load some before it sees the host's files.
    pub(crate) fn modules_on_disk(&self) -> Option<&Path> {
        let has_init = matches!(self.root, RootFs::Disk { .. }) && !self.init.is_empty();
        self.kernel.modules.as_deref().filter(|_| has_init)
    }

    /// How long the guest may take from QEMU's start until it is ready. Default: `boot-timeout` of `[vm]`, else ten minutes.
    #[must_use]
    pub fn boot_timeout(self, boot_timeout: Duration) -> Self {
        Self { boot_timeout, ..self }
    }

    /// Resume from a snapshot that was taken where lvh-init waits, and take one for next time. Default: `warm-start` of
    /// `[vm]`.
    #[must_use]
    pub fn warm_start(self, warm_start: bool) -> Self {
        Self { warm_start, ..self }
    }

    /// Where QEMU's gdb stub listens: the path of a socket that is made. The guest then waits for gdb before its first
    /// instruction, for as long as it takes. Default: nowhere.
    #[must_use]
    pub fn gdb(self, socket: Option<PathBuf>) -> Self {
        Self { gdb: socket, ..self }
    }

    /// An existing directory for the whole console (`console.log`) and the whole kernel log (`kernel.log`). Default: none;
    /// errors quote the console's end all the same.
    #[must_use]
    pub fn log_dir(self, log_dir: Option<PathBuf>) -> Self {
        Self { log_dir, ..self }
    }

    /// Whether the kernel has the modules that are to be loaded, as a boot would find out.
    ///
    /// # Errors
    /// It does not, or its files cannot be read.
    pub fn check_modules(&self) -> Result<()> {
        Drivers::of(&self.kernel)?.check(&self.kernel, &self.modules)
    }
}
