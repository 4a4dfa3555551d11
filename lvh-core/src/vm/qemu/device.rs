//! The devices of a VM. Each yields its own QEMU arguments and its own kernel arguments.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use crate::image::{DiskFormat, disk};

/// Where lvh-init connects to on vsock. The device is private to the VM, so the number can be fixed.
pub(crate) const VSOCK_PORT: u32 = 1024;

/// The name of the virtio-serial port that lvh-init looks for.
const PORT_NAME: &str = "lvh";

/// Where what a guest writes to a disk goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writes {
    /// To a file of QEMU's own, which has no name.
    Lost,
    /// To this file, which is empty, for a snapshot.
    Kept(PathBuf),
    /// To a file without a name over this one, which a snapshot holds.
    LostOver(PathBuf),
    /// To the disk itself, which is of no use to anybody when the VM is gone.
    Direct,
}

/// The serial number by which lvh-init finds the disk of that name.
pub(crate) fn serial(disk: &str) -> String {
    format!("lvh-{disk}")
}

/// One device; file descriptors are those that QEMU inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Device {
    /// The first serial port: the kernel's console, copied to `fd`.
    Console { fd: RawFd, tty: &'static str },
    /// QEMU's monitor.
    Qmp { fd: RawFd },
    /// QEMU's gdb stub, on a socket that listens. The CPUs wait for it.
    Gdb { fd: RawFd },
    /// vsock by the host's kernel. The guest connects to the port that has the number of its `cid`.
    VhostVsock { cid: u32 },
    /// vsock by our own process.
    VhostUserVsock { fd: RawFd },
    /// A virtio-serial port.
    VirtioSerial { fd: RawFd },
    /// The second serial port.
    Serial { fd: RawFd, tty: &'static str },
    /// A virtiofs share by our own process.
    Virtiofs { tag: String, fd: RawFd },
    /// A 9p share by QEMU, read-only.
    NineP { tag: String, path: PathBuf },
    /// A network card on QEMU's own network, in which the guest reaches the host and what the host reaches.
    Net,
    /// A disk.
    Disk { name: &'static str, path: PathBuf, format: DiskFormat, writes: Writes },
}

impl Device {
    /// Its QEMU arguments.
    pub(crate) fn qemu(&self) -> Vec<String> {
        match self {
            Self::Console { fd, .. } => [socket("console", *fd), pair("-serial", "chardev:console")].concat(),
            Self::Qmp { fd } => [socket("qmp", *fd), pair("-mon", "chardev=qmp,mode=control")].concat(),
            Self::Gdb { fd } => [
                pair("-chardev", format!("socket,id=gdb,fd={fd},server=on,wait=off")),
                pair("-gdb", "chardev:gdb"),
                vec!["-S".to_owned()],
            ]
            .concat(),
            Self::VhostVsock { cid } => pair("-device", format!("vhost-vsock-pci,guest-cid={cid}")),
            Self::VhostUserVsock { fd } => {
                [socket("vsock", *fd), pair("-device", "vhost-user-vsock-pci,chardev=vsock")].concat()
            }
            Self::VirtioSerial { fd } => [
                socket("channel", *fd),
                pair("-device", "virtio-serial-pci"),
                pair("-device", format!("virtserialport,chardev=channel,name={PORT_NAME}")),
            ]
            .concat(),
            Self::Serial { fd, .. } => [socket("channel", *fd), pair("-serial", "chardev:channel")].concat(),
            Self::Virtiofs { tag, fd } => [
                socket(tag, *fd),
                pair("-device", format!("vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024")),
            ]
            .concat(),
            Self::NineP { tag, path } => {
                let path = escape(&path.to_string_lossy());
                let fsdev = format!("local,id={tag},path={path},security_model=none,multidevs=remap,readonly=on");
                [pair("-fsdev", fsdev), pair("-device", format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"))].concat()
            }
            // No ROM: nothing boots from it, and a machine may lack the file. No IPv6: the host may have none to pass it on to.
            Self::Net => {
                [pair("-netdev", "user,id=net,ipv6=off"), pair("-device", "virtio-net-pci,netdev=net,romfile=")]
                    .concat()
            }
            Self::Disk { name, path, format, writes } => [
                pair("-drive", format!("if=none,id={name},{}", drive(path, *format, writes))),
                pair("-device", format!("virtio-blk-pci,drive={name},serial={}", serial(name))),
            ]
            .concat(),
        }
    }

    /// What it adds to the kernel's command line.
    pub(crate) fn kernel(&self) -> Option<String> {
        match self {
            Self::Console { tty, .. } => Some(format!("console={tty}")),
            // Symbols are where the file has them.
            Self::Gdb { .. } => Some("nokaslr".to_owned()),
            _ => None,
        }
    }

    /// What it adds to lvh-init's arguments: only the channel does.
    pub(crate) fn init(&self) -> Option<String> {
        match self {
            Self::VhostVsock { .. } => Some("channel=vsock:cid".to_owned()),
            Self::VhostUserVsock { .. } => Some(format!("channel=vsock:{VSOCK_PORT}")),
            Self::VirtioSerial { .. } => Some(format!("channel=port:{PORT_NAME}")),
            Self::Serial { tty, .. } => Some(format!("channel=tty:/dev/{tty}")),
            _ => None,
        }
    }

    /// The descriptor that QEMU inherits for it.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        self.clone().fd_mut().copied()
    }

    fn fd_mut(&mut self) -> Option<&mut RawFd> {
        match self {
            Self::Console { fd, .. }
            | Self::Qmp { fd }
            | Self::Gdb { fd }
            | Self::VhostUserVsock { fd }
            | Self::VirtioSerial { fd }
            | Self::Serial { fd, .. }
            | Self::Virtiofs { fd, .. } => Some(fd),
            Self::VhostVsock { .. } | Self::NineP { .. } | Self::Net | Self::Disk { .. } => None,
        }
    }

    /// Whether QEMU can take a snapshot of a VM that has it, and resume it with what it is then connected to.
    pub(crate) fn is_snapshot_safe(&self) -> bool {
        match self {
            // What nobody has mounted or opened yet has its whole state in QEMU.
            Self::Console { .. } | Self::Qmp { .. } | Self::VirtioSerial { .. } | Self::NineP { .. } => true,
            // On an image's root it is up, and nothing is under way. QEMU brings the state of its network.
            Self::Net => true,
            // What was written to it is in a file of the snapshot's, or in its own, which is another each time.
            Self::Disk { writes, .. } => *writes != Writes::Direct,
            // QEMU brings the queues, and resets all connections: the guest comes again
            // (hw/virtio/vhost-vsock-common.c, vhost_vsock_common_post_load).
            Self::VhostVsock { .. } => true,
            // Part of their state is in our process, and QEMU calls them unmigratable.
            Self::VhostUserVsock { .. } | Self::Virtiofs { .. } => false,
            // Not tried: it is taken where there is no virtio, and then there is no 9p either.
            Self::Serial { .. } => false,
            // The guest waits for its debugger before its first instruction.
            Self::Gdb { .. } => false,
        }
    }

    /// What the guest has seen of what it is connected to before a snapshot is taken: VMs resume from one snapshot only
    /// where that is the same.
    pub(crate) fn seen_by_guest(&self) -> Option<String> {
        match self {
            Self::Disk { path, .. } => Some(disk::stamp_of_all(path)),
            _ => None,
        }
    }

    /// The same device, whatever it is connected to on the host.
    pub(crate) fn unconnected(&self) -> Self {
        let mut device = self.clone();
        if let Some(fd) = device.fd_mut() {
            *fd = 0;
        }
        match &mut device {
            Self::NineP { path, .. } => path.clear(),
            Self::VhostVsock { cid } => *cid = 0,
            Self::Disk { writes, .. } => *writes = Writes::Lost,
            _ => {}
        }
        device
    }

    /// Whether it needs guest memory that another process can map.
    pub(crate) fn shares_memory(&self) -> bool {
        matches!(self, Self::VhostUserVsock { .. } | Self::Virtiofs { .. })
    }
}

/// The file of a disk, and what lies over it.
fn drive(path: &Path, format: DiskFormat, writes: &Writes) -> String {
    let file = |prefix: &str, path: &Path| {
        format!("{prefix}file.driver=file,{prefix}file.filename={}", escape(&path.to_string_lossy()))
    };
    let over =
        |top: &Path| format!("{},format=qcow2,backing.driver={format},{}", file("", top), file("backing.", path));
    match writes {
        Writes::Lost => format!("{},format={format},snapshot=on", file("", path)),
        // It is of use only when all of it is there: nobody waits for the host's disk.
        Writes::Kept(top) => format!("{},cache=unsafe", over(top)),
        Writes::LostOver(top) => format!("{},snapshot=on", over(top)),
        Writes::Direct => format!("{},format={format},cache=unsafe", file("", path)),
    }
}

/// A character device on an inherited socket: no path, no port, nothing to clean up.
fn socket(id: &str, fd: RawFd) -> Vec<String> {
    pair("-chardev", format!("socket,id={id},fd={fd}"))
}

fn pair(option: &str, value: impl Into<String>) -> Vec<String> {
    vec![option.to_owned(), value.into()]
}

/// QEMU takes a doubled comma for a comma in a value.
pub(crate) fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
