//! The devices of a VM. Each yields its own QEMU arguments and its own kernel arguments.

use std::os::fd::RawFd;
use std::path::PathBuf;

/// Where lvh-init connects to on vsock. The device is private to the VM, so the number can be fixed.
pub(crate) const VSOCK_PORT: u32 = 1024;

/// The name of the virtio-serial port that lvh-init looks for.
const PORT_NAME: &str = "lvh";

/// One device; file descriptors are those that QEMU inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Device {
    /// The first serial port: the kernel's console, copied to `fd`.
    Console { fd: RawFd, tty: &'static str },
    /// QEMU's monitor.
    Qmp { fd: RawFd },
    /// QEMU's gdb stub, on a socket that listens. The CPUs wait for it.
    Gdb { fd: RawFd },
    /// vsock by the host's kernel.
    VhostVsock { cid: u32, port: u32 },
    /// vsock by our own process.
    VhostUserVsock { fd: RawFd },
    /// A virtio-serial port.
    VirtioSerial { fd: RawFd },
    /// The second serial port.
    Serial { fd: RawFd, tty: &'static str },
    /// A virtiofs share by our own process.
    Virtiofs { tag: String, fd: RawFd },
    /// A 9p share by QEMU.
    NineP { tag: String, path: PathBuf, writable: bool },
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
            Self::VhostVsock { cid, .. } => pair("-device", format!("vhost-vsock-pci,guest-cid={cid}")),
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
            Self::NineP { tag, path, writable } => {
                let readonly = if *writable { "" } else { ",readonly=on" };
                let path = escape(&path.to_string_lossy());
                let fsdev = format!("local,id={tag},path={path},security_model=none,multidevs=remap{readonly}");
                [pair("-fsdev", fsdev), pair("-device", format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"))].concat()
            }
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
            Self::VhostVsock { port, .. } => Some(format!("channel=vsock:{port}")),
            Self::VhostUserVsock { .. } => Some(format!("channel=vsock:{VSOCK_PORT}")),
            Self::VirtioSerial { .. } => Some(format!("channel=port:{PORT_NAME}")),
            Self::Serial { tty, .. } => Some(format!("channel=tty:/dev/{tty}")),
            _ => None,
        }
    }

    /// The descriptor that QEMU inherits for it.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        match self {
            Self::Console { fd, .. }
            | Self::Qmp { fd }
            | Self::Gdb { fd }
            | Self::VhostUserVsock { fd }
            | Self::VirtioSerial { fd }
            | Self::Serial { fd, .. }
            | Self::Virtiofs { fd, .. } => Some(*fd),
            Self::VhostVsock { .. } | Self::NineP { .. } => None,
        }
    }

    /// The same device, whatever it is connected to on the host.
    pub(crate) fn unconnected(&self) -> Self {
        let mut device = self.clone();
        match &mut device {
            Self::Console { fd, .. }
            | Self::Qmp { fd }
            | Self::Gdb { fd }
            | Self::VhostUserVsock { fd }
            | Self::VirtioSerial { fd }
            | Self::Serial { fd, .. }
            | Self::Virtiofs { fd, .. } => *fd = 0,
            Self::NineP { path, .. } => path.clear(),
            Self::VhostVsock { .. } => {}
        }
        device
    }

    /// Whether it needs guest memory that another process can map.
    pub(crate) fn shares_memory(&self) -> bool {
        matches!(self, Self::VhostUserVsock { .. } | Self::Virtiofs { .. })
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
