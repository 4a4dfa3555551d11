//! The devices and mounts by which a guest sees the host's files.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::Share;
use crate::guest::protocol::{Mount, MountSource, Root};
use crate::guest::wire::Bytes;
use crate::vm::qemu::device::Device;
use crate::vm::transport::served::{self, Served};

/// Tag of the host's root.
const ROOT: &str = "root";
/// Tag of the writable directories.
const WRITABLE: &str = "writable";

/// Shares that wait for their guest.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Their devices.
    pub(crate) devices: Vec<Device>,
    /// QEMU's ends of their sockets.
    pub(crate) inherited: Vec<OwnedFd>,
    /// The threads that serve them, where they are ours.
    pub(crate) served: Vec<Served>,
    /// What the guest makes its root of.
    pub(crate) root: Root,
    /// How it mounts the writable directories.
    pub(crate) mounts: Vec<Mount>,
}

/// Prepares a share of the host's root, read-only, with the `visible` paths, and of the `writable` directories.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn prepare(share: Share, visible: &[PathBuf], writable: &[PathBuf]) -> io::Result<Shares> {
    match share {
        Share::Virtiofs => virtiofs(visible, writable),
        Share::NineP => Ok(nine_p(writable)),
        Share::Packed => Ok(Shares {
            devices: Vec::new(),
            inherited: Vec::new(),
            served: Vec::new(),
            root: Root::Packed {},
            mounts: Vec::new(),
        }),
    }
}

fn virtiofs(visible: &[PathBuf], writable: &[PathBuf]) -> io::Result<Shares> {
    let mut shares = Shares {
        devices: Vec::new(),
        inherited: Vec::new(),
        served: Vec::new(),
        root: Root::Shared { tag: ROOT.to_owned(), fstype: "virtiofs".to_owned() },
        mounts: Vec::new(),
    };
    let mut add = |tag: &str, (socket, served): (OwnedFd, Served)| {
        shares.devices.push(Device::Virtiofs { tag: tag.to_owned(), fd: socket.as_raw_fd() });
        shares.inherited.push(socket);
        shares.served.push(served);
    };
    add(ROOT, served::root_fs(visible)?);
    if !writable.is_empty() {
        add(WRITABLE, served::writable_fs(writable)?);
    }
    shares.mounts = writable
        .iter()
        .enumerate()
        .map(|(number, path)| mount(path, WRITABLE.to_owned(), "virtiofs", number.to_string()))
        .collect();
    Ok(shares)
}

/// QEMU's 9p server has one directory a device.
pub(crate) fn nine_p(writable: &[PathBuf]) -> Shares {
    let tag = |number: usize| format!("{WRITABLE}{number}");
    let root = Device::NineP { tag: ROOT.to_owned(), path: "/".into(), writable: false };
    let others = writable.iter().enumerate();
    let others = others.map(|(number, path)| Device::NineP { tag: tag(number), path: path.clone(), writable: true });
    Shares {
        devices: std::iter::once(root).chain(others).collect(),
        inherited: Vec::new(),
        served: Vec::new(),
        root: Root::Shared { tag: ROOT.to_owned(), fstype: "9p".to_owned() },
        mounts: writable
            .iter()
            .enumerate()
            .map(|(number, path)| mount(path, tag(number), "9p", String::new()))
            .collect(),
    }
}

fn mount(target: &Path, tag: String, fstype: &str, dir: String) -> Mount {
    let source = MountSource::Writable { tag, fstype: fstype.to_owned(), dir: Bytes(dir.into_bytes()) };
    Mount { source, target: bytes(target) }
}

/// A path as it travels.
pub(crate) fn bytes(path: &Path) -> Bytes {
    Bytes(path.as_os_str().as_bytes().to_vec())
}
