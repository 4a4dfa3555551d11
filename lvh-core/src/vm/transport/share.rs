//! The devices and mounts by which a guest sees the host's files.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Share;
use crate::guest::protocol::{self, FileMount, FileSource};
use crate::guest::wire::Bytes;
use crate::vm::qemu::device::Device;
use crate::vm::transport::served::{self, Served};

/// Tag of the host's root.
pub(crate) const HOST: &str = "host";
/// Tag of the writable directories.
const WRITABLE: &str = "writable";

/// Shares that wait for their guest.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// Their devices.
    pub(crate) devices: Vec<Device>,
    /// QEMU's ends of their sockets.
    pub(crate) inherited: Vec<OwnedFd>,
    /// The threads that serve them, where they are ours.
    pub(crate) served: Vec<Served>,
    /// What the guest mounts.
    pub(crate) shares: Vec<protocol::Share>,
    /// Where it shows the writable directories.
    pub(crate) mounts: Vec<FileMount>,
}

/// Prepares a share of the host's root, read-only, with the `visible` paths, and of the `writable` directories.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn prepare(share: Share, visible: &[PathBuf], writable: &[PathBuf]) -> io::Result<Shares> {
    match share {
        Share::Virtiofs => virtiofs(visible, writable),
        Share::NineP => Ok(nine_p(writable)),
        Share::Packed => Ok(Shares::default()),
    }
}

/// The devices of a share of that kind, as they are before they are connected to the host.
pub(crate) fn prototypes(share: Share, writable: &[PathBuf]) -> Vec<Device> {
    match share {
        Share::Virtiofs => {
            let tags = [Some(HOST), (!writable.is_empty()).then_some(WRITABLE)];
            tags.into_iter().flatten().map(|tag| Device::Virtiofs { tag: tag.to_owned(), fd: 0 }).collect()
        }
        Share::NineP => nine_p(writable).devices,
        Share::Packed => Vec::new(),
    }
}

fn virtiofs(visible: &[PathBuf], writable: &[PathBuf]) -> io::Result<Shares> {
    let mut shares = Shares::default();
    shares.add_virtiofs(HOST, false, served::root_fs(visible)?);
    if !writable.is_empty() {
        shares.add_virtiofs(WRITABLE, true, served::writable_fs(writable)?);
    }
    let numbered = writable.iter().enumerate();
    shares.mounts = numbered.map(|(number, path)| mount(path, WRITABLE.to_owned(), number.to_string())).collect();
    Ok(shares)
}

impl Shares {
    fn add_virtiofs(&mut self, tag: &str, writable: bool, (socket, served): (OwnedFd, Served)) {
        self.devices.push(Device::Virtiofs { tag: tag.to_owned(), fd: socket.as_raw_fd() });
        self.inherited.push(socket);
        self.served.push(served);
        self.shares.push(protocol::Share { tag: tag.to_owned(), fstype: "virtiofs".to_owned(), writable });
    }

    fn add_nine_p(&mut self, tag: String, path: &Path, writable: bool) {
        self.devices.push(Device::NineP { tag: tag.clone(), path: path.to_owned(), writable });
        self.shares.push(protocol::Share { tag, fstype: "9p".to_owned(), writable });
    }
}

/// QEMU's 9p server has one directory a device.
fn nine_p(writable: &[PathBuf]) -> Shares {
    let mut shares = Shares::default();
    shares.add_nine_p(HOST.to_owned(), Path::new("/"), false);
    for (number, path) in writable.iter().enumerate() {
        let tag = format!("{WRITABLE}{number}");
        shares.mounts.push(mount(path, tag.clone(), String::new()));
        shares.add_nine_p(tag, path, true);
    }
    shares
}

fn mount(target: &Path, tag: String, path: String) -> FileMount {
    FileMount { source: FileSource::Share { tag, path: Bytes(path.into_bytes()) }, target: bytes(target) }
}

/// A path as it travels.
pub(crate) fn bytes(path: &Path) -> Bytes {
    Bytes(path.as_os_str().as_bytes().to_vec())
}
