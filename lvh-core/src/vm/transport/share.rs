//! The devices and mounts by which a guest sees the host's files.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Share;
use crate::guest::protocol;
use crate::guest::wire::Bytes;
use crate::vm::qemu::device::Device;
use crate::vm::transport::served::{self, Served};

/// Tag of the host's root.
pub(crate) const HOST: &str = "host";

/// A share that waits for its guest.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// Its device.
    pub(crate) devices: Vec<Device>,
    /// QEMU's end of its socket.
    pub(crate) inherited: Option<OwnedFd>,
    /// The threads that serve it, where they are ours.
    pub(crate) served: Option<Served>,
    /// What the guest mounts.
    pub(crate) shares: Vec<protocol::Share>,
}

/// Prepares a share of the host's root, with the `visible` paths.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn prepare(share: Share, visible: &[PathBuf]) -> io::Result<Shares> {
    match share {
        Share::Virtiofs => {
            let (socket, served) = served::root_fs(visible)?;
            let device = virtiofs(socket.as_raw_fd());
            Ok(Shares { inherited: Some(socket), served: Some(served), ..Shares::of(device, "virtiofs") })
        }
        Share::NineP => Ok(Shares::of(nine_p(), "9p")),
        Share::Packed => Ok(Shares::default()),
    }
}

/// The devices of a share of that kind, as they are before they are connected to the host.
pub(crate) fn prototypes(share: Share) -> Vec<Device> {
    match share {
        Share::Virtiofs => vec![virtiofs(0)],
        Share::NineP => vec![nine_p()],
        Share::Packed => Vec::new(),
    }
}

impl Shares {
    fn of(device: Device, fstype: &str) -> Self {
        let share = protocol::Share { tag: HOST.to_owned(), fstype: fstype.to_owned() };
        Self { devices: vec![device], shares: vec![share], ..Self::default() }
    }
}

fn virtiofs(fd: RawFd) -> Device {
    Device::Virtiofs { tag: HOST.to_owned(), fd }
}

fn nine_p() -> Device {
    Device::NineP { tag: HOST.to_owned(), path: PathBuf::from("/") }
}

/// A path as it travels.
pub(crate) fn bytes(path: &Path) -> Bytes {
    Bytes(path.as_os_str().as_bytes().to_vec())
}
