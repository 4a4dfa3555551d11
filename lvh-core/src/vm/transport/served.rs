//! The devices that our own process serves.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::vhost::{self, FsExports};
use crate::vm::qemu::device::VSOCK_PORT;

/// What a guest must not see of the host's root, because it speaks of the host's processes and devices: empty
/// directories, to be mounted over.
const HIDDEN: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// The threads behind a device.
pub(crate) type Served = vhost::Device;

/// A vsock device whose first connection to our port goes to `sender`; every other is refused.
pub(crate) fn vsock(sender: oneshot::Sender<UnixStream>) -> io::Result<(OwnedFd, Served)> {
    let sender = Mutex::new(Some(sender));
    let mut served = vhost::serve_vsock(GUEST_CID, move |port| {
        let sender = sender.lock().ok()?.take_if(|_| port == VSOCK_PORT)?;
        let (ours, theirs) = UnixStream::pair().ok()?;
        sender.send(ours).ok()?;
        Some(theirs)
    })
    .map_err(io::Error::other)?;
    Ok((served.take_socket(), served))
}

/// The host's root, read-only, with what the guest must see of it (a workspace in `/dev/shm`, say).
pub(crate) fn root_fs(visible: &[PathBuf]) -> io::Result<(OwnedFd, Served)> {
    let hidden = HIDDEN.iter().filter(|hidden| !visible.iter().any(|path| path.starts_with(hidden)));
    let exports = FsExports { root: "/".into(), hidden: hidden.map(PathBuf::from).collect() };
    let mut served = vhost::serve_fs(exports).map_err(io::Error::other)?;
    Ok((served.take_socket(), served))
}

/// The device is private to its VM, so every guest can have the first free address.
const GUEST_CID: u64 = 3;
