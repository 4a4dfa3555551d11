//! What one try at a running guest is given.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::qemu::command_line::{GuestMemory, Hypervisor, Invocation};
use super::qemu::device::{Device, Writes};
use super::qemu::machine;
use super::root::initramfs::Initramfs;
use super::root::kit::Kit;
use super::root::modules_disk::ModulesDisk;
use super::spec::VmSpec;
use super::transport::candidates::Transport;
use super::transport::{channel, share};
use crate::guest::kernel_log::log_file::LogFile;
use crate::guest::protocol::Preparation;
use crate::guest::wire::Bytes;
use crate::image::DiskFormat;

/// What one try at a running guest is given.
pub(crate) struct Attempt<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) cpus: u32,
    pub(crate) transport: &'a Transport,
    pub(crate) initramfs: &'a Initramfs,
    /// The programs that the guest's root may lack something for.
    pub(crate) kit: Option<&'a Kit>,
    /// The kernel's modules, where they are on a disk.
    pub(crate) modules: Option<&'a ModulesDisk>,
    /// Where gdb is waited for.
    pub(crate) gdb: Option<&'a UnixListener>,
}

/// What a VM's devices lead to on the host.
pub(crate) struct Ends {
    /// QEMU's end of the console.
    pub(crate) console: RawFd,
    /// QEMU's end of its monitor.
    pub(crate) monitor: RawFd,
    /// The device that carries the channel.
    pub(crate) channel: Device,
    /// Those that carry the shares.
    pub(crate) shares: Vec<Device>,
}

impl Attempt<'_> {
    /// The devices that the VM will have, as they are before they are connected to the host.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let channel = channel::prototype(self.transport.channel, self.spec.kernel.arch);
        let shares = share::prototypes(self.transport.share);
        self.devices_at(Ends { console: 0, monitor: 0, channel, shares })
    }

    /// The devices of the VM, those for console, monitor, channel and shares at these ends.
    pub(crate) fn devices_at(&self, ends: Ends) -> Vec<Device> {
        let Ends { console, monitor, channel, shares } = ends;
        let tty = self.spec.kernel.arch.console();
        let mut devices = vec![Device::Console { fd: console, tty }, Device::Qmp { fd: monitor }, channel];
        devices.extend(shares);
        devices.extend(self.spec.network.then_some(Device::Net));
        devices.extend(self.spec.root.device());
        devices.extend(self.modules.map(ModulesDisk::device));
        devices.extend(self.spec.scratch.as_deref().map(scratch));
        devices.extend(self.gdb.map(|gdb| Device::Gdb { fd: gdb.as_raw_fd() }));
        devices
    }

    /// What QEMU is started with.
    pub(crate) fn invocation(&self, initrd: RawFd, devices: Vec<Device>, memory: GuestMemory) -> Invocation {
        let kernel = &self.spec.kernel;
        Invocation {
            arch: kernel.arch,
            accel: self.hypervisor,
            on_tcg: machine::on_tcg(),
            cpus: self.cpus,
            memory_mib: self.spec.memory.mib(),
            memory,
            kernel: kernel.vmlinux.clone().unwrap_or_else(|| kernel.image.clone()),
            initrd,
            kernel_args: self.spec.kernel_args.clone(),
            devices,
        }
    }

    /// What the guest has before a snapshot is taken of it; `within` that time, where it waits for something. For a snapshot
    /// it `rests` before.
    pub(crate) fn preparation(&self, within: Duration, rests: bool) -> Preparation {
        let spec = self.spec;
        Preparation {
            hostname: "lvh".to_owned(),
            root: spec.root.on_the_wire(self.transport.share),
            disks: self.modules.map(ModulesDisk::mount).into_iter().collect(),
            network: spec.network,
            init: spec.init.iter().map(|word| Bytes(word.as_bytes().to_vec())).collect(),
            systemd_within: if spec.waits_for_systemd { within.as_millis().max(1) as u64 } else { 0 },
            rests,
        }
    }

    /// The paths of the host that its share must show.
    pub(crate) fn seen(&self) -> Vec<PathBuf> {
        let kit = self.kit.map(|kit| kit.directory().to_owned());
        [&self.spec.visible[..], &self.spec.writable[..]].concat().into_iter().chain(kit).collect()
    }

    /// The file of this name in the directory of the VM's logs, where it has one.
    pub(crate) fn log(&self, name: &str) -> io::Result<Option<LogFile>> {
        self.spec.log_dir.as_ref().map(|dir| LogFile::create(&dir.join(name))).transpose()
    }

    /// Such as `tcg`, and what else is started where that takes its time.
    pub(crate) fn booted(&self) -> String {
        let systemd = if self.spec.waits_for_systemd { ", the image's systemd" } else { "" };
        format!("{}{systemd}", self.hypervisor.as_str())
    }

    /// Such as `channel serial, share 9p, tcg`.
    pub(crate) fn on(&self) -> String {
        let Self { transport, hypervisor, .. } = self;
        format!("channel {}, share {}, {}", transport.channel, transport.share, hypervisor.as_str())
    }
}

/// The disk in the file `path` that is nothing but room.
fn scratch(path: &Path) -> Device {
    Device::Disk { name: "scratch", path: path.to_owned(), format: DiskFormat::Raw, writes: Writes::Direct }
}
