//! What a guest's root is, apart from what it sees of the host.

use std::path::PathBuf;

use crate::config::Share;
use crate::guest::protocol::{Disk, Root};
use crate::image::DiskFormat;
use crate::vm::qemu::device::{Device, Writes, serial};
use crate::vm::transport::drivers::{Driver, PCI};
use crate::vm::transport::share::HOST;

/// What a guest's root file system is. The files of the host that a command needs (its program, the workspace, writable
/// directories, the kernel's modules) are mounted on it at their own paths, whatever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootFs {
    /// The host's root, shared read-only, under an overlay in guest memory. Where the share is [`Share::Packed`] there is
    /// no more of it than was packed.
    #[default]
    Host,
    /// The ext4 file system on a disk image. What the guest writes goes to a throw-away overlay, and is gone with the VM.
    Disk {
        /// The image.
        path: PathBuf,
        /// How the image is written.
        format: DiskFormat,
    },
    /// Nothing but what the initramfs holds: lvh-init, and what is packed.
    Initramfs,
}

/// The file system of disks.
const FSTYPE: &str = "ext4";

/// The name of the disk that is the root.
const ROOT: &str = "root";

/// The file system on the disk of that name.
pub(crate) fn on_the_wire(name: &str) -> Disk {
    Disk { serial: serial(name), fstype: FSTYPE.to_owned() }
}

/// What a kernel needs for a disk, in load order.
pub(crate) const DISK_DRIVERS: [Driver; 3] =
    [PCI, Driver::new("virtio_blk", "VIRTIO_BLK", 1), Driver::new(FSTYPE, "EXT4_FS", 5)];

impl RootFs {
    /// The device that carries it, where it has one of its own.
    pub(crate) fn device(&self) -> Option<Device> {
        match self {
            Self::Disk { path, format } => {
                Some(Device::Disk { name: ROOT, path: path.clone(), format: *format, writes: Writes::Lost })
            }
            Self::Host | Self::Initramfs => None,
        }
    }

    /// What the guest's kernel needs for it, in load order.
    pub(crate) fn drivers(&self) -> Vec<Driver> {
        match self {
            Self::Disk { .. } => DISK_DRIVERS.to_vec(),
            Self::Host | Self::Initramfs => Vec::new(),
        }
    }

    /// What lvh-init makes the root of.
    pub(crate) fn on_the_wire(&self, share: Share) -> Root {
        match self {
            Self::Disk { .. } => Root::Disk { disk: on_the_wire(ROOT) },
            Self::Host if share != Share::Packed => Root::Share { tag: HOST.to_owned() },
            Self::Host | Self::Initramfs => Root::Initramfs {},
        }
    }
}
