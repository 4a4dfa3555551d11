//! What one try at a running guest is given.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;

use super::qemu::command_line::{GuestMemory, Hypervisor, Invocation};
use super::qemu::device::Device;
use super::root::initramfs::Initramfs;
use super::spec::VmSpec;
use super::transport::candidates::Transport;
use super::transport::{channel, share};
use crate::guest::kernel_log::log_file::LogFile;

/// What one try at a running guest is given.
pub(crate) struct Attempt<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) cpus: u32,
    pub(crate) transport: &'a Transport,
    pub(crate) initramfs: &'a Initramfs,
    /// Where gdb is waited for.
    pub(crate) gdb: Option<&'a UnixListener>,
}

impl Attempt<'_> {
    /// The devices that the VM will have, as they are before they are connected to the host.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let arch = self.spec.kernel.arch;
        let mut devices = vec![
            Device::Console { fd: 0, tty: arch.console() },
            Device::Qmp { fd: 0 },
            channel::prototype(self.transport.channel, arch),
        ];
        devices.extend(share::prototypes(self.transport.share, &self.spec.writable));
        devices.extend(self.spec.root.device());
        devices.extend(self.gdb.map(|_| Device::Gdb { fd: 0 }));
        devices
    }

    /// What QEMU is started with.
    pub(crate) fn invocation(&self, initrd: RawFd, devices: Vec<Device>, memory: GuestMemory) -> Invocation {
        let kernel = &self.spec.kernel;
        Invocation {
            arch: kernel.arch,
            accel: self.hypervisor,
            cpus: self.cpus,
            memory_mib: self.spec.memory.mib(),
            memory,
            kernel: kernel.vmlinux.clone().unwrap_or_else(|| kernel.image.clone()),
            initrd,
            kernel_args: self.spec.kernel_args.clone(),
            devices,
        }
    }

    /// The file of this name in the directory of the VM's logs, where it has one.
    pub(crate) fn log(&self, name: &str) -> io::Result<Option<LogFile>> {
        self.spec.log_dir.as_ref().map(|dir| LogFile::create(&dir.join(name))).transpose()
    }

    /// Such as `channel serial, share 9p, tcg`.
    pub(crate) fn on(&self) -> String {
        let Self { transport, hypervisor, .. } = self;
        format!("channel {}, share {}, {}", transport.channel, transport.share, hypervisor.as_str())
    }
}
